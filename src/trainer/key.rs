//! What distinguishes the programs of a training.

use crate::graph::Dims;
use crate::network::ObjectId;
use crate::sim::states::StateKey;

/// What distinguishes training programs of one objective.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TrainKey {
    pub dims: Dims,
    pub held: Vec<ObjectId>,
    /// Each probe's targets.
    pub targets: Vec<TargetKey>,
    /// With gradient and update, or the loss alone.
    pub update: bool,
    /// What of a run it does.
    pub part: Part,
}

/// What of a run a training program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// All: loss, gradient and update of a run in one window.
    Whole,
    /// A window's loss and gradient, its part of the run's.
    Window,
    /// A window's states, up to its end.
    Forward,
}

impl TrainKey {
    /// Who carries its states.
    pub fn states(&self) -> StateKey {
        let batch = self.dims.batch;
        if self.update { StateKey::Train(batch) } else { StateKey::Evaluate(batch) }
    }
}

/// What distinguishes training programs by a probe's targets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TargetKey {
    pub name: String,
    /// One row an example, and none for each step.
    pub held: bool,
    pub cols: usize,
    /// Some are NaN.
    pub gaps: bool,
}
