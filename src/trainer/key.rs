//! Keys of training programs.

use crate::graph::Dims;
use crate::network::ObjectId;
use crate::sim::states::StateKey;

/// Key of a training or evaluation program of one objective.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TrainKey {
    pub dims: Dims,
    pub held: Vec<ObjectId>,
    /// Targets by probe.
    pub targets: Vec<TargetKey>,
    /// True with gradient and update, false for the loss alone.
    pub update: bool,
    pub pass: Pass,
}

/// Work of a training program on a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pass {
    /// Loss, gradient and update of a run in one window.
    Whole,
    /// Loss and gradient of one window of several.
    Window,
    /// States up to the end of a window, without loss and gradient.
    Forward,
}

impl TrainKey {
    /// Key of its states.
    pub fn states(&self) -> StateKey {
        let batch = self.dims.batch;
        if self.update { StateKey::Train(batch) } else { StateKey::Evaluate(batch) }
    }
}

/// Key of a probe's targets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TargetKey {
    pub name: String,
    /// True for one row for each example, false for a row for each step.
    pub held: bool,
    pub cols: usize,
    /// True if some are NaN.
    pub gaps: bool,
}
