//! Operators in single-assignment form on values that have a shape and an extent.
//!
//! A [`Value`] is a matrix. Its [`Extent`] gives the number of its rows: a `Fixed` value (a constant or
//! parameter) has rows of its own, an `Example` value one row per item of the minibatch, and a `Sequence`
//! value one row per time step and item, row `t * batch + b`. An operator with inputs of several extents gives
//! the largest of them, so that a value that is constant in time is not computed at each step.
//!
//! The only way back in time is an operator that [delays](Memory): its output at a step does not depend
//! on its input at that step. Every cycle must hold one.

mod host;
mod identity;
mod lower;
mod memory;
pub mod reference;
mod rewrite;
mod table;
mod tensor;

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use host::{Callback, CallbackFactory, HostFunction};
pub use identity::Identity;
pub use lower::Lower;
pub use memory::Memory;
pub use rewrite::{Batchable, Batching, Columns, Fusible, Fusion, Relaid};
pub use table::Table;
pub use tensor::{Scope, Tensor};

use crate::engine::Dispatch;
use crate::error::Result;
pub use crate::shape::{Dims, Extent, Operand, Placed, PlacedStates, Type};

/// A value's place in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) usize);

/// A node's place in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) usize);

/// Origin of a value.
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
        /// Index into its [`Operator::states`].
        index: usize,
        /// After the step, not before it.
        after: bool,
    },
}

/// A value that an operator carries from step to step in addition to its output: a row of [`Operator::state_cols`] columns
/// for each example.
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
    /// Its origin.
    pub source: Source,
}

/// An operator at its place in the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its operator.
    pub op: Arc<dyn Operator>,
    /// Its inputs.
    pub inputs: Vec<ValueId>,
    /// Its output.
    pub output: ValueId,
    /// The object of the user's network that it belongs to.
    pub owner: Arc<str>,
    /// The objects whose work it does, each on an equal share of its columns; empty for one object.
    pub shares: Vec<Arc<str>>,
    /// True for a part of the gradient, or an operator that reads one.
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
    /// Values of states by operator, number, and true for after the step.
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

    /// The operator that makes a value; `None` for a parameter, feed or constant.
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

    /// Readers of each value: operators in order, each once, without those that `live` leaves out.
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

    /// The number of a constant; `None` for other values.
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
    /// `None` if the operator has no gradient.
    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>>;

    /// Advice for the message that it has no gradient: empty, or starting with `; `.
    fn instead_of_gradient(&self) -> &'static str {
        ""
    }

    /// Identity among all operators. Operators with equal identities and the same inputs are computed once. An operator
    /// without one, such as a call of a user's function, is equal to no other.
    fn identity(&self) -> Option<Identity> {
        None
    }

    /// Its dependence on time. An operator with a state walks through time in order.
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

    /// True if, in a loop, it can write its output and read its inputs with only the current step's rows of them.
    fn rolls(&self) -> bool {
        false
    }

    /// True for a sum over time that a loop on the CPU can make step by step ([`Lower::total`]), and that is bound by memory
    /// if it is made at once.
    fn totals(&self, _: &[Type]) -> bool {
        false
    }

    /// Values that it carries from step to step in addition to its output.
    fn states(&self) -> &[State] {
        &[]
    }

    /// Columns of each of its [`Operator::states`], for an output of `cols` columns.
    fn state_cols(&self, cols: usize) -> usize {
        cols
    }

    /// True if its gradient is the derivative of its output, so that differences of outputs can check it. False for a
    /// surrogate, such as that of a spike.
    fn own_derivative(&self) -> bool {
        true
    }

    /// For an operator that [delays](Memory): the same operator with time running the other way. It is its adjoint.
    fn reversed(&self) -> Option<Arc<dyn Operator>> {
        None
    }

    /// The function that the host calls in this operator's place.
    fn host_call(&self) -> Option<&Callback> {
        None
    }

    /// This operator, if it evaluates an elementwise expression that others can be fused with.
    fn fuse(&self) -> Option<&dyn Fusible> {
        None
    }

    /// This operator, if it can run as one with alike operators.
    fn batch(&self) -> Option<&dyn Batchable> {
        None
    }

    /// The output's columns in order, if each is a column of an input.
    fn columns(&self, _: &[Type]) -> Option<Vec<Columns>> {
        None
    }

    /// Terms behind an element of the output, which is worth computing again if they are few. `None` if a row of the output
    /// depends on more than the same row of the inputs, or if the operator is never computed again.
    fn terms(&self, _: &[Type]) -> Option<usize> {
        None
    }

    /// The same product on transposed weights, if it reads its weights (input 1) across their rows.
    fn with_transposed_weights(&self) -> Option<Relaid> {
        None
    }
}

impl dyn Operator {
    /// This operator as its family's struct.
    pub fn downcast<T: Operator>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// Input of [`Operator::gradient`].
pub struct Adjoint<'s> {
    /// The operator's inputs.
    pub inputs: Vec<Tensor<'s>>,
    /// Its output.
    pub output: Tensor<'s>,
    /// The adjoint of its output, of the output's type or of one that is repeated to it.
    pub adjoint: Tensor<'s>,
    /// For each input, true if its adjoint is wanted.
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
    /// steps if the output has a smaller extent).
    pub inputs: Vec<&'a [f64]>,
    /// Values carried to the step: `batch` rows of the output's columns of the previous output, then those of each
    /// state; empty without a memory. The result holds the same after the step.
    pub state: &'a [f64],
    /// The step if the output is a sequence; else 0.
    pub step: usize,
    /// Examples at once.
    pub dims: Dims,
    /// True if results are rounded to 32 bits; differences inside of an operator are then rounded as well.
    pub single: bool,
}

impl Reference<'_> {
    /// A number, rounded to 32 bits if results are.
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
