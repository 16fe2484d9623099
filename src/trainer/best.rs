//! The best epoch of a training with early stopping.

use serde::{Deserialize, Serialize};

/// The epoch with the lowest loss so far.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct BestMark {
    pub epoch: u64,
    /// Bits of its loss, since JSON may change the last digit of a number.
    pub loss: u64,
    /// Bits of the loss after the last fall by more than `least`, from which the next fall is measured. In older files it is missing,
    /// and the lowest loss is used.
    #[serde(default)]
    pub fallen: Option<u64>,
    /// Number of epochs since the last fall.
    pub waited: u64,
}

/// The best epoch, and the parameters after it.
pub(crate) struct Best {
    pub mark: BestMark,
    pub values: Vec<f32>,
}
