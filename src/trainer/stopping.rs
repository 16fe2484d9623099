//! Early stopping: the best epoch so far, and its parameters.

use crate::error::Result;
use crate::sim::core::Core;
use crate::sim::shared::Shared;
use crate::trainer::best::{Best, BestMark};
use crate::trainer::compiled::Trainer;
use crate::trainer::reports::EarlyStopping;

impl Trainer {
    /// A fit starts to look for its best epoch; one that goes on from a checkpoint has begun already.
    pub(crate) fn begin_stopping(&mut self, early: Option<EarlyStopping>) {
        let goes_on = std::mem::take(&mut self.goes_on);
        self.best = self.best.take().filter(|_| goes_on && early.is_some());
    }

    /// Whether the loss has not fallen for too long.
    pub(crate) fn waited_enough(&self, early: Option<EarlyStopping>) -> bool {
        let best = self.best.as_ref();
        early.zip(best).is_some_and(|(early, best)| best.mark.waited >= early.patience.max(1))
    }

    /// Takes in the loss after an epoch.
    pub(crate) fn judge(
        &mut self,
        core: &mut Core,
        epoch: u64,
        loss: f64,
        early: Option<EarlyStopping>,
    ) -> Result<()> {
        let least = early.map_or(0.0, |early| early.least);
        let old = self.best.as_ref().map(|best| best.mark);
        let lowest = old.map_or(f64::INFINITY, |mark| f64::from_bits(mark.loss));
        let before = old.and_then(|mark| mark.fallen).map_or(lowest, f64::from_bits);
        // A loss that is none, as no target counted, is no fall.
        let (fell, better) = (loss < before - least, loss < lowest);
        let fallen = Some(if fell { loss } else { before }.to_bits());
        let waited = if fell { 0 } else { old.map_or(0, |mark| mark.waited) + 1 };
        let values = if better { Some(core.read_all(Shared::Parameters)?) } else { None };
        match (values, &mut self.best) {
            (Some(values), best) => {
                *best = Some(Best { mark: BestMark { epoch, loss: loss.to_bits(), fallen, waited }, values });
            }
            (None, Some(best)) => (best.mark.waited, best.mark.fallen) = (waited, fallen),
            (None, None) => {}
        }
        Ok(())
    }

    /// Takes the parameters of the best epoch of a fit with early stopping; gives that epoch, from 1, and its loss. A fit that
    /// early stopping ended has done so already, one that came to its last epoch has not. The optimiser stays where it is.
    /// Nothing happens where there is no such epoch.
    pub(crate) fn restore_best(&mut self, core: &mut Core) -> Result<Option<(u64, f64)>> {
        let Some(best) = self.best.as_ref() else { return Ok(None) };
        core.engine.write(core.shared.get(Shared::Parameters), 0, &best.values)?;
        Ok(Some((best.mark.epoch, f64::from_bits(best.mark.loss))))
    }
}
