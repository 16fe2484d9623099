//! What is recorded.

use super::{ObjectId, Synapse};

/// What a probe reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The output of an object at each step, through a filter if there is one.
    Output(ObjectId, Option<Synapse>),
    /// A parameter, by its name.
    Parameter(String),
    /// The L2 norm of a parameter, by its name.
    Norm(String),
}
