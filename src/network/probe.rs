//! What is recorded.

use super::{ConnectionId, ObjectId, Synapse};
use crate::error::{Error, Result};

/// What a probe reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The output of an object at each step, through a filter if there is one.
    Output(ObjectId, Option<Synapse>),
    /// The sum of what comes into an object at each step; of neurons their current `gain * input + bias`.
    Input(ObjectId),
    /// A state of an object's neurons after each step, by its name.
    State(ObjectId, String),
    /// A signal of a connection's learning rule at each step, by its name (see [`super::LearningRule`]); a matrix as one row,
    /// row by row.
    Rule(ConnectionId, String),
    /// A parameter, by its name.
    Parameter(String),
    /// The L2 norm of a parameter, by its name.
    Norm(String),
}

/// A probe of a network.
#[derive(Clone)]
pub(crate) struct ProbeSpec {
    pub name: String,
    pub target: Target,
    /// Seconds from one row to the next, if not every step is recorded.
    pub every: Option<f64>,
}

/// Most steps from one row to the next: up to here a 32-bit float counts exactly.
const MOST_BETWEEN: f64 = 16_777_216.0;

impl ProbeSpec {
    /// Steps of `dt` seconds from one row to the next.
    pub fn steps_between(&self, dt: f64) -> Result<usize> {
        let Some(every) = self.every else { return Ok(1) };
        let steps = (every / dt).round();
        let what = || format!("probe '{}'", self.name);
        if steps > MOST_BETWEEN {
            let problem =
                format!("it samples every {every} s, which is {steps} steps; at most {MOST_BETWEEN}");
            return Err(Error::invalid(what(), problem));
        }
        if steps < 1.0 || (every / dt - steps).abs() > 1e-6 {
            let problem = format!(
                "it samples every {every} s, but that must be a multiple of the time step of {dt} s; the nearest is {} s",
                steps.max(1.0) * dt
            );
            return Err(Error::invalid(what(), problem));
        }
        Ok(steps as usize)
    }
}

impl Target {
    /// Whether it is of a parameter, and so has no steps.
    pub(crate) fn is_parameter(&self) -> bool {
        matches!(self, Target::Parameter(_) | Target::Norm(_))
    }
}
