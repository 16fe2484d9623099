//! The best epoch of a training with early stopping.

use serde::{Deserialize, Serialize};

/// The epoch with the lowest loss so far.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct BestMark {
    pub epoch: u64,
    /// The bits of its loss, as JSON may change the last digit of a number.
    pub loss: u64,
    /// The bits of the loss from which the next fall is measured: after the last one by `least`. The lowest where it is not known.
    #[serde(default)]
    pub fallen: Option<u64>,
    /// Epochs since the loss fell.
    pub waited: u64,
}

/// The best epoch, and the parameters after it.
pub(crate) struct Best {
    pub mark: BestMark,
    pub values: Vec<f32>,
}
