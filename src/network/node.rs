//! Signals that come from outside of a network.

use std::fmt;
use std::sync::Arc;

use ndarray::Array2;

use crate::error::Result;
use crate::network::{Process, TimeExpressions, TimeFunction};
use crate::op::callback::CallbackFactory;

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
    /// A function of time and of what comes in: values in, values out, and the function; see [`Node::callback`].
    Callback(usize, usize, CallbackFactory),
}

impl Node {
    /// A function of time in seconds that gives `size` values.
    pub fn function(size: usize, f: impl Fn(f64) -> Vec<f32> + Send + Sync + 'static) -> Self {
        Self::Function(size, Arc::new(f))
    }

    /// A function of time by an expression of `t`, in seconds, for each value: `"sin(2*pi*t)"`, `"t; max(1 - t, 0)"`.
    ///
    /// Expressions are those of [`Function::parse`](crate::network::Function::parse), with `t` in place of dimensions.
    ///
    /// # Errors
    /// What is wrong and in which column, with the names there are.
    pub fn parse(text: &str) -> Result<Self> {
        TimeExpressions::parse(text).map(|expressions| expressions.node())
    }

    /// A function of time in seconds and of the `size_in` values that come in at a step; it gives `size_out` values. It is
    /// called on the host for each step and example, the examples of a step one after the other.
    ///
    /// Each example has a copy of its own, made before its first step and again when the run is reset. So a function may keep
    /// what it owns from step to step:
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
    /// What is behind an [`Arc`] is one for all examples, and is not reset. See [`Node::callback_with`] for functions that
    /// depend on the example.
    ///
    /// Outside of cycles it is called for a whole window at once, between two parts of the run. Where its output comes
    /// back to its input, the network runs one step at a time. It has no gradient, so nothing before it can be trained.
    pub fn callback(
        size_in: usize,
        size_out: usize,
        f: impl FnMut(f64, &[f32]) -> Vec<f32> + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::Callback(size_in, size_out, Arc::new(move |_| Box::new(f.clone())))
    }

    /// Like [`Node::callback`], with a function for each example, made from the example's number in the data of the run. It
    /// is made before the example's first step, and again when the run is reset.
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

    /// Dimensions of the input.
    pub(super) fn size_in(&self) -> usize {
        match self {
            Node::Passthrough(n) | Node::Callback(n, ..) => *n,
            _ => 0,
        }
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
            Node::Input(n) | Node::Function(n, _) | Node::Passthrough(n) | Node::Callback(_, n, _) => *n,
        }
    }
}

impl TimeExpressions {
    /// The node that gives them.
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
