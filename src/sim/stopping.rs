//! Early stopping: the best epoch so far, and its parameters.

use serde::{Deserialize, Serialize};

use super::Simulator;
use super::programs::PARAMETERS;
use super::reports::EarlyStopping;
use crate::error::Result;

/// The epoch with the lowest loss so far.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Mark {
    pub epoch: u64,
    /// The bits of its loss, as JSON may change the last digit of a number.
    loss: u64,
    /// The bits of the loss from which the next fall is measured: after the last one by `least`. The lowest where it is not known.
    #[serde(default)]
    fallen: Option<u64>,
    /// Epochs since the loss fell.
    waited: u64,
}

/// The best epoch, and the parameters after it.
pub(super) struct Best {
    pub mark: Mark,
    pub values: Vec<f32>,
}

impl Simulator {
    /// A fit starts to look for its best epoch; one that goes on from a checkpoint has begun already.
    pub(super) fn begin_stopping(&mut self, early: Option<EarlyStopping>) {
        if let Some(compiled) = &mut self.compiled {
            let goes_on = std::mem::take(&mut compiled.goes_on);
            compiled.best = compiled.best.take().filter(|_| goes_on && early.is_some());
        }
    }

    /// Whether the loss has not fallen for too long.
    pub(super) fn waited_enough(&self, early: Option<EarlyStopping>) -> bool {
        let best = self.compiled.as_ref().and_then(|c| c.best.as_ref());
        early.zip(best).is_some_and(|(early, best)| best.mark.waited >= early.patience.max(1))
    }

    /// Takes in the loss after an epoch.
    pub(super) fn judge(&mut self, epoch: u64, loss: f64, early: Option<EarlyStopping>) -> Result<()> {
        let least = early.map_or(0.0, |early| early.least);
        let old = self.compiled()?.best.as_ref().map(|best| best.mark);
        let lowest = old.map_or(f64::INFINITY, |mark| f64::from_bits(mark.loss));
        let before = old.and_then(|mark| mark.fallen).map_or(lowest, f64::from_bits);
        // A loss that is none, as no target counted, is no fall.
        let (fell, better) = (loss < before - least, loss < lowest);
        let fallen = Some(if fell { loss } else { before }.to_bits());
        let waited = if fell { 0 } else { old.map_or(0, |mark| mark.waited) + 1 };
        let values = if better { Some(self.read_all(PARAMETERS)?) } else { None };
        let Some(compiled) = &mut self.compiled else { return Ok(()) };
        match (values, &mut compiled.best) {
            (Some(values), best) => {
                *best = Some(Best { mark: Mark { epoch, loss: loss.to_bits(), fallen, waited }, values });
            }
            (None, Some(best)) => (best.mark.waited, best.mark.fallen) = (waited, fallen),
            (None, None) => {}
        }
        Ok(())
    }

    /// Takes the parameters of the best epoch of a fit with early stopping; gives that epoch, from 1, and its loss. A fit that
    /// early stopping ended has done so already, one that came to its last epoch has not. The optimiser stays where it is.
    /// Nothing happens where there is no such epoch.
    ///
    /// # Errors
    /// A lost device.
    pub fn restore_best(&mut self) -> Result<Option<(u64, f64)>> {
        let Some(best) = self.compiled.as_ref().and_then(|c| c.best.as_ref()) else { return Ok(None) };
        self.engine.write(self.shared[PARAMETERS], 0, &best.values)?;
        Ok(Some((best.mark.epoch, f64::from_bits(best.mark.loss))))
    }
}
