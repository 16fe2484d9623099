//! Early stopping: the best epoch so far, and its parameters.

use crate::error::Result;
use crate::sim::core::Core;
use crate::sim::shared::Shared;
use crate::trainer::best::{Best, BestMark};
use crate::trainer::compiled::Trainer;
use crate::trainer::reports::EarlyStopping;

impl Trainer {
    /// Forgets the best epoch at the start of a fit, unless the fit continues from a checkpoint.
    pub(crate) fn begin_stopping(&mut self, early: Option<EarlyStopping>) {
        let continues = std::mem::take(&mut self.continues);
        self.best = self.best.take().filter(|_| continues && early.is_some());
    }

    /// True if the loss has not fallen for `patience` epochs.
    pub(crate) fn waited_enough(&self, early: Option<EarlyStopping>) -> bool {
        let best = self.best.as_ref();
        early.zip(best).is_some_and(|(early, best)| best.mark.waited >= early.patience.max(1))
    }

    /// Updates the best epoch with the loss of an epoch.
    pub(crate) fn judge(
        &mut self,
        core: &mut Core,
        epoch: u64,
        loss: f64,
        early: EarlyStopping,
    ) -> Result<()> {
        let old = self.best.as_ref().map(|best| best.mark);
        let lowest = old.map_or(f64::INFINITY, |mark| f64::from_bits(mark.loss));
        let before = old.and_then(|mark| mark.fallen).map_or(lowest, f64::from_bits);
        // A loss of NaN, where no target counted, is not a fall.
        let (fell, better) = (loss < before - early.least, loss < lowest);
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

    /// Sets the parameters to those of the best epoch, if any, and returns that epoch (from 1) and its loss.
    pub(crate) fn restore_best(&self, core: &mut Core) -> Result<Option<(u64, f64)>> {
        let Some(best) = self.best.as_ref() else { return Ok(None) };
        core.engine.write(core.shared.get(Shared::Parameters), 0, &best.values)?;
        Ok(Some((best.mark.epoch, f64::from_bits(best.mark.loss))))
    }
}
