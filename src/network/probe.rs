//! What is recorded.

use super::{ObjectId, Synapse};

/// What a probe reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The output of an object at each step, through a filter if there is one.
    Output(ObjectId, Option<Synapse>),
    /// The sum of what comes into an object at each step; of neurons their current `gain * input + bias`.
    Input(ObjectId),
    /// A state of an object's neurons after each step, by its name.
    State(ObjectId, String),
    /// A parameter, by its name.
    Parameter(String),
    /// The L2 norm of a parameter, by its name.
    Norm(String),
}

impl Target {
    /// Whether it is of a parameter, and so has no steps.
    pub(crate) fn is_parameter(&self) -> bool {
        matches!(self, Target::Parameter(_) | Target::Norm(_))
    }
}
