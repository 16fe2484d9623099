//! Operators in single-assignment form on values that have a shape and an extent.
//!
//! A [`Value`] is a matrix. How many rows it has depends on its [`Extent`]: a `Fixed` value (a constant or
//! parameter) has rows of its own, an `Example` value one row per item of the minibatch, and a `Sequence`
//! value one row per time step and item, row `t * batch + b`. An operator with inputs of several extents gives
//! the largest of them, so that what does not change in time is not computed at each step.
//!
//! The only way back in time is an operator that [delays](Memory): its output at a step does not depend
//! on its input at that step. Every cycle must hold one.

mod identity;
mod lower;
pub mod reference;
mod table;
mod tensor;

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use identity::Identity;
pub use lower::{Lower, Operand, Placed, PlacedStates};
pub use table::Table;
pub use tensor::{Scope, Tensor};

use crate::engine::Dispatch;
use crate::error::Result;

/// How often a value exists in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extent {
    /// Once.
    Fixed,
    /// Once per item of the minibatch.
    Example,
    /// Once per time step and item.
    Sequence,
}

/// Extent and size of a value. `rows` counts for `Fixed` values only and is 1 for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Type {
    /// How often it exists.
    pub extent: Extent,
    /// Rows of a fixed matrix; 1 for an example or a step.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

impl Type {
    /// A matrix that exists once.
    pub fn fixed(rows: usize, cols: usize) -> Self {
        Self { extent: Extent::Fixed, rows, cols }
    }

    /// One row of `cols` per example.
    pub fn example(cols: usize) -> Self {
        Self { extent: Extent::Example, rows: 1, cols }
    }

    /// One row of `cols` per time step and example.
    pub fn sequence(cols: usize) -> Self {
        Self { extent: Extent::Sequence, rows: 1, cols }
    }

    /// The same with another number of columns.
    pub fn with_cols(self, cols: usize) -> Self {
        Self { cols, ..self }
    }

    /// Rows of the whole matrix in a run of `dims`.
    pub fn total_rows(&self, dims: Dims) -> usize {
        match self.extent {
            Extent::Fixed => self.rows,
            Extent::Example => dims.batch,
            Extent::Sequence => dims.batch * dims.steps,
        }
    }

    /// Elements of the whole matrix in a run of `dims`.
    pub fn elements(&self, dims: Dims) -> usize {
        self.total_rows(dims) * self.cols
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.extent {
            Extent::Fixed => write!(f, "[{}, {}]", self.rows, self.cols),
            Extent::Example => write!(f, "[example, {}]", self.cols),
            Extent::Sequence => write!(f, "[step, example, {}]", self.cols),
        }
    }
}

/// Examples at once and time steps of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dims {
    /// Items of the minibatch.
    pub batch: usize,
    /// Time steps.
    pub steps: usize,
}

/// A value's place in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) usize);

/// A node's place in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) usize);

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A trainable array: its index in the network's parameter table.
    Parameter(usize),
    /// An array uploaded before the run: its index among the plan's feeds.
    Feed(usize),
    /// A matrix of one number.
    Constant(f32),
    /// The output of an operator.
    Node(NodeId),
    /// A state of an operator, by its number: at each step as it was before the step, or after it.
    State {
        /// The operator.
        node: NodeId,
        /// Which of its [`Operator::states`].
        index: usize,
        /// After the step, not before it.
        after: bool,
    },
}

/// What an operator carries from step to step besides its output: a row for each example, as wide as
/// [`Operator::state_cols`] says.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Its name, for probes.
    pub name: &'static str,
    /// Its values before the first step: one for each column, or one for all.
    pub start: Vec<f32>,
}

impl State {
    /// A state that starts at the same value everywhere.
    pub fn at(name: &'static str, start: f32) -> Self {
        Self { name, start: vec![start] }
    }

    /// The value of column `col` before the first step.
    pub fn start(&self, col: usize) -> f32 {
        self.start[if self.start.len() == 1 { 0 } else { col }]
    }
}

/// One value of the graph.
#[derive(Clone, Debug)]
pub struct Value {
    /// Shape and extent.
    pub ty: Type,
    /// Where it comes from.
    pub source: Source,
}

/// An operator at its place in the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it computes.
    pub op: Arc<dyn Operator>,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it makes.
    pub output: ValueId,
    /// The object of the user's network that it belongs to.
    pub owner: Arc<str>,
    /// The objects that it does the work of, each on as many of its columns, where it is more than one.
    pub shares: Vec<Arc<str>>,
    /// It is a part of the gradient, or reads one.
    pub backward: bool,
}

/// Operators and the values between them.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Size of the run it is built for.
    pub dims: Dims,
    /// All values; a [`ValueId`] is an index here.
    pub values: Vec<Value>,
    /// All operators; a [`NodeId`] is an index here.
    pub nodes: Vec<Node>,
    /// The values of states: by operator, number, and whether after the step.
    states: HashMap<(NodeId, usize, bool), ValueId>,
}

impl Graph {
    /// An empty graph for runs of `dims`.
    pub fn new(dims: Dims) -> Self {
        Self { dims, values: Vec::new(), nodes: Vec::new(), states: HashMap::new() }
    }

    /// Shape and extent of a value.
    pub fn ty(&self, id: ValueId) -> Type {
        self.values[id.0].ty
    }

    /// An operator at its place.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The node that makes a value, where it is one.
    pub fn producer(&self, id: ValueId) -> Option<NodeId> {
        match self.values[id.0].source {
            Source::Node(node) | Source::State { node, .. } => Some(node),
            _ => None,
        }
    }

    /// The value of an operator's state.
    pub fn state(&mut self, node: NodeId, index: usize, after: bool) -> ValueId {
        let ty = Type::sequence(self.state_cols(&self.nodes[node.0]));
        let found = self.states.get(&(node, index, after)).copied();
        found.unwrap_or_else(|| {
            let value = self.source(ty, Source::State { node, index, after });
            self.states.insert((node, index, after), value);
            value
        })
    }

    /// Columns of each of an operator's states.
    pub fn state_cols(&self, node: &Node) -> usize {
        node.op.state_cols(self.ty(node.output).cols)
    }

    /// Which operators read each value, once each and in order. Of operators that `live` leaves out, none.
    pub(crate) fn readers(&self, live: &[bool]) -> Vec<Vec<NodeId>> {
        let mut readers: Vec<Vec<NodeId>> = vec![Vec::new(); self.values.len()];
        for (n, node) in self.nodes.iter().enumerate().filter(|(n, _)| live[*n]) {
            for &v in &node.inputs {
                if readers[v.0].last() != Some(&NodeId(n)) {
                    readers[v.0].push(NodeId(n));
                }
            }
        }
        readers
    }

    /// A value that no operator makes.
    pub fn source(&mut self, ty: Type, source: Source) -> ValueId {
        self.values.push(Value { ty, source });
        ValueId(self.values.len() - 1)
    }

    /// Appends an operator whose output has type `ty`.
    pub fn push(
        &mut self,
        op: Arc<dyn Operator>,
        inputs: Vec<ValueId>,
        ty: Type,
        owner: Arc<str>,
    ) -> ValueId {
        let output = self.source(ty, Source::Node(NodeId(self.nodes.len())));
        let backward = inputs.iter().any(|v| match self.values[v.0].source {
            Source::Node(NodeId(n)) => self.nodes[n].backward,
            _ => false,
        });
        self.nodes.push(Node { op, inputs, output, owner, shares: Vec::new(), backward });
        output
    }

    /// The value of a `1 x 1` constant, where it is one.
    pub fn constant(&self, id: ValueId) -> Option<f32> {
        match self.values[id.0].source {
            Source::Constant(c) => Some(c),
            _ => None,
        }
    }
}

/// The contract of an operator family: shapes, memory, gradient and dispatch. Plain data; one file each.
pub trait Operator: Any + fmt::Debug + Send + Sync {
    /// The family's name, the stem of its file and shader.
    fn name(&self) -> &'static str;

    /// The output's type for inputs of the given types, or what is wrong with them.
    ///
    /// # Errors
    /// A message that names the inputs' shapes.
    fn infer(&self, inputs: &[Type]) -> Result<Type, String>;

    /// Adjoints of the inputs that `adjoint.wanted` asks for, as new operators.
    ///
    /// # Errors
    /// `None` where the operator has no gradient.
    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>>;

    /// What may be done about it where it has no gradient, for messages: empty, or starting with `; `.
    fn instead_of_gradient(&self) -> &'static str {
        ""
    }

    /// What tells it apart from all other operators. Those with equal identities and the same inputs are computed once; an
    /// operator without one, as one that calls a function of the user's, is never taken for another, whatever it prints.
    fn identity(&self) -> Option<Identity> {
        None
    }

    /// Whether it carries a state from step to step, and so walks through time in order.
    fn memory(&self) -> Memory {
        Memory::None
    }

    /// Constant words that its kernels read, in the order of [`Lower::tables`].
    fn tables(&self) -> Vec<Table> {
        Vec::new()
    }

    /// The dispatches that compute it, on one step's rows or on all.
    ///
    /// # Errors
    /// When the device cannot run it at this size.
    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>>;

    /// The output in f64 from inputs in f64: slow and obviously right, for the tests and the gradient check.
    fn reference(&self, at: &Reference) -> Vec<f64>;

    /// In a loop, whether it can write its output, and read its inputs, where only the current step's rows exist.
    fn rolls(&self) -> bool {
        false
    }

    /// On the CPU, whether it is a sum over time that a loop can make step by step ([`Lower::total`]), and that is bound by
    /// memory if it is made at once.
    fn totals(&self, _: &[Type]) -> bool {
        false
    }

    /// What it carries from step to step besides its output.
    fn states(&self) -> &[State] {
        &[]
    }

    /// Columns of each of its [`Operator::states`], for an output of `cols` columns.
    fn state_cols(&self, cols: usize) -> usize {
        cols
    }

    /// Whether its gradient is the derivative of its output: not where it is another function's, as of a spike. Only then
    /// can differences of outputs tell whether it is right.
    fn own_derivative(&self) -> bool {
        true
    }

    /// For an operator that [delays](Memory): the same operator with time running the other way. It is its adjoint.
    fn reversed(&self) -> Option<Arc<dyn Operator>> {
        None
    }
}

impl dyn Operator {
    /// This operator as its family's struct.
    pub fn downcast<T: Operator>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// How an operator depends on time.
///
/// An operator whose output is its state stores its history in `steps + 1` blocks of `batch` rows: forward in time, block
/// `t + 1` is computed from block `t` and the input of step `t`, and block 0 is the state that a window
/// starts from. Backward in time, block `t` comes from block `t + 1`, and block `steps` is the start.
/// A delaying operator's output at step `t` is the block that was there *before* the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Each step for itself.
    None,
    /// A state that is carried from one step to the next.
    State {
        /// The output at a step does not depend on the input at that step.
        delays: bool,
        /// Time runs from the last step to the first (adjoints).
        backward: bool,
    },
    /// The output is that of each step, without delay; what is carried are the operator's [`Operator::states`] alone.
    Scan {
        /// Time runs from the last step to the first (adjoints).
        backward: bool,
    },
}

impl Memory {
    /// The output at a step does not depend on the input at that step.
    pub fn delays(self) -> bool {
        matches!(self, Memory::State { delays: true, .. })
    }

    /// Carries a state.
    pub fn is_state(self) -> bool {
        self != Memory::None
    }

    /// First block of the `steps` blocks that are the output; the history has one more.
    pub fn output_block(self) -> usize {
        match self {
            Memory::None | Memory::Scan { .. } => 0,
            // Forward, the block before a step is `t`, the one after it `t + 1`; backward it is the other way.
            Memory::State { delays, backward } => usize::from(delays == backward),
        }
    }

    /// Time runs from the last step to the first.
    pub fn backward(self) -> bool {
        matches!(self, Memory::State { backward: true, .. } | Memory::Scan { backward: true })
    }

    /// The block that a window starts from, given the number of steps.
    pub fn start_block(self, steps: usize) -> usize {
        if self.backward() { steps } else { 0 }
    }

    /// The first of the `steps` blocks that a state's history holds as it was before, or after, each step.
    pub fn state_block(self, after: bool) -> usize {
        usize::from(after != self.backward())
    }
}

/// What an operator's gradient is built from.
pub struct Adjoint<'s> {
    /// The operator's inputs.
    pub inputs: Vec<Tensor<'s>>,
    /// Its output.
    pub output: Tensor<'s>,
    /// The adjoint of its output, of the output's type or of one that is repeated to it.
    pub adjoint: Tensor<'s>,
    /// Which inputs' adjoints are wanted.
    pub wanted: Vec<bool>,
}

impl<'s> Adjoint<'s> {
    /// `f(i)` for each wanted input, nothing for the others.
    pub fn each(&self, mut f: impl FnMut(usize) -> Tensor<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        Some(self.wanted.iter().enumerate().map(|(i, &wanted)| wanted.then(|| f(i))).collect())
    }
}

/// One step's inputs of an operator for [`Operator::reference`].
pub struct Reference<'a> {
    /// Types of the inputs.
    pub types: Vec<Type>,
    /// Type of the output.
    pub ty: Type,
    /// Rows of this evaluation: all rows of a fixed output, else `batch`.
    pub rows: usize,
    /// Each input's rows at this step (fixed: all; example: `batch`; sequence: those of this step, or of all
    /// steps where the output has a smaller extent).
    pub inputs: Vec<&'a [f64]>,
    /// What was carried to the step: `batch` rows of the output's columns of the previous output, then those of each
    /// state; empty without a memory. The result holds the same after the step.
    pub state: &'a [f64],
    /// The step, where the output is a sequence; else 0.
    pub step: usize,
    /// Examples at once.
    pub dims: Dims,
    /// Whether results are rounded to 32 bits, so that what cancels inside of an operator is to be as well.
    pub single: bool,
}

impl Reference<'_> {
    /// A number as a device holds it, where results are rounded.
    pub fn held(&self, x: f64) -> f64 {
        if self.single { f64::from(x as f32) } else { x }
    }

    /// Element of input `i` at `(row, col)` with broadcasting.
    pub fn at(&self, i: usize, row: usize, col: usize) -> f64 {
        let cols = self.types[i].cols;
        let rows = self.inputs[i].len() / cols;
        self.inputs[i][(row % rows) * cols + if cols == 1 { 0 } else { col }]
    }
}
