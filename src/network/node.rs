//! Signals that come from outside of a network.

use std::fmt;
use std::sync::Arc;

use ndarray::Array2;

use super::Process;

/// A function of time, in seconds, evaluated on the host ahead of a run.
pub type TimeFunction = Arc<dyn Fn(f64) -> Vec<f32> + Send + Sync>;

/// Where a signal comes from that the network does not compute.
#[derive(Clone)]
pub enum Node {
    /// Always the same values.
    Constant(Vec<f32>),
    /// Values given to each run, this many.
    Input(usize),
    /// A row for each time step; a run may not be longer.
    Array(Array2<f32>),
    /// A function of time that gives this many values.
    Function(usize, TimeFunction),
    /// A signal that follows a rule, or noise.
    Process(Process),
    /// The sum of what comes in, this many values.
    Passthrough(usize),
}

impl Node {
    /// A function of time in seconds that gives `size` values.
    pub fn function(size: usize, f: impl Fn(f64) -> Vec<f32> + Send + Sync + 'static) -> Self {
        Self::Function(size, Arc::new(f))
    }

    /// A signal that follows a rule, or noise.
    pub fn process(process: impl Into<Process>) -> Self {
        Self::Process(process.into())
    }

    pub(super) fn size(&self) -> usize {
        match self {
            Node::Constant(values) => values.len(),
            Node::Array(rows) => rows.ncols(),
            Node::Process(process) => process.size(),
            Node::Input(n) | Node::Function(n, _) | Node::Passthrough(n) => *n,
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Constant(values) => write!(f, "Constant({values:?})"),
            Node::Input(n) => write!(f, "Input({n})"),
            Node::Array(rows) => write!(f, "Array({} x {})", rows.nrows(), rows.ncols()),
            Node::Function(n, _) => write!(f, "Function({n})"),
            Node::Process(process) => write!(f, "Process({process:?})"),
            Node::Passthrough(n) => write!(f, "Passthrough({n})"),
        }
    }
}
