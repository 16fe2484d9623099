//! Nodes: inputs, signals and functions outside the neural model.

use std::fmt;
use std::sync::Arc;

use ndarray::Array2;

use crate::error::Result;
use crate::network::{Process, TimeExpressions, TimeFunction};
use crate::op::callback::CallbackFactory;

/// Source of a node's output.
#[derive(Clone)]
#[non_exhaustive]
pub enum Node {
    /// The same values at each step.
    Constant(Vec<f32>),
    /// Input of a run, with this many dimensions.
    Input(usize),
    /// A row per time step; a run may not be longer.
    Array(Array2<f32>),
    /// A function of time, with this many dimensions.
    Function(usize, TimeFunction),
    /// A signal over time, or noise.
    Process(Process),
    /// The sum of the node's inputs, with this many dimensions.
    Passthrough(usize),
    /// A function of time and input: input size, output size and the function; see [`Node::callback`].
    Callback(usize, usize, CallbackFactory),
}

impl Node {
    /// A function of time in seconds that returns `size` values.
    pub fn function(size: usize, f: impl Fn(f64) -> Vec<f32> + Send + Sync + 'static) -> Self {
        Self::Function(size, Arc::new(f))
    }

    /// A function of time as text, one expression of `t` (in seconds) per value: `"sin(2*pi*t)"`, `"t; max(1 - t, 0)"`.
    ///
    /// The syntax is that of [`Function::parse`](crate::network::Function::parse), with `t` in place of dimensions.
    ///
    /// # Errors
    /// A syntax error with its column, or an unknown name with the valid names.
    pub fn parse(text: &str) -> Result<Self> {
        TimeExpressions::parse(text).map(|expressions| expressions.node())
    }

    /// A function of the time in seconds and of `size_in` input values that returns `size_out` values. The host calls it for
    /// each step and example, one example after the other.
    ///
    /// Each example has its own copy, made before its first step and again on a reset. The function may therefore keep state
    /// that it owns:
    ///
    /// ```
    /// use std::collections::VecDeque;
    /// use nengo_wgpu::network::Node;
    ///
    /// let mut history = VecDeque::from([0.0; 50]);
    /// let delay = Node::callback(1, 1, move |_, x| {
    ///     history.push_back(x[0]);
    ///     vec![history.pop_front().unwrap_or(0.0)]
    /// });
    /// ```
    ///
    /// State behind an [`Arc`] is shared by all examples and is not reset. See [`Node::callback_with`] for functions that
    /// depend on the example.
    ///
    /// Outside of cycles it is called for a whole window of steps at once, between two parts of the run. Inside a cycle the
    /// network runs one step at a time. It has no gradient, so objects before it cannot be trained.
    pub fn callback(
        size_in: usize,
        size_out: usize,
        f: impl FnMut(f64, &[f32]) -> Vec<f32> + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::Callback(size_in, size_out, Arc::new(move |_| Box::new(f.clone())))
    }

    /// Like [`Node::callback`], with a function per example: `factory` gets the example's index in the data of the run. It is
    /// called before the example's first step, and again on a reset.
    pub fn callback_with<F>(
        size_in: usize,
        size_out: usize,
        factory: impl Fn(usize) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: FnMut(f64, &[f32]) -> Vec<f32> + Clone + Send + 'static,
    {
        Self::Callback(size_in, size_out, Arc::new(move |example| Box::new(factory(example))))
    }

    /// Number of input dimensions.
    pub(super) fn size_in(&self) -> usize {
        match self {
            Node::Passthrough(n) | Node::Callback(n, ..) => *n,
            _ => 0,
        }
    }

    /// A signal over time, or noise.
    pub fn process(process: impl Into<Process>) -> Self {
        Self::Process(process.into())
    }

    pub(super) fn size(&self) -> usize {
        match self {
            Node::Constant(values) => values.len(),
            Node::Array(rows) => rows.ncols(),
            Node::Process(process) => process.size(),
            Node::Input(n) | Node::Function(n, _) | Node::Passthrough(n) | Node::Callback(_, n, _) => *n,
        }
    }
}

impl TimeExpressions {
    /// The node that outputs their values.
    pub fn node(&self) -> Node {
        Node::Function(self.size(), self.function())
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
            Node::Callback(n, m, _) => write!(f, "Callback({n}, {m})"),
        }
    }
}
