//! A handle on a value under construction, with which operators are written as expressions.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::graph::{Dims, Graph, NodeId, Operator, Source, Type, ValueId};

/// A graph under construction.
///
/// Methods of [`Tensor`] cannot fail one by one, so that `(x.dot(w) + b).relu()` can be written: the first
/// mistake is kept, with the object that it belongs to, and [`Scope::finish`] returns it.
pub struct Scope {
    graph: RefCell<Graph>,
    owner: RefCell<Arc<str>>,
    error: RefCell<Option<Error>>,
    dropouts: Cell<u32>,
    backward: Cell<bool>,
}

impl Scope {
    /// An empty graph for runs of `dims`.
    pub fn new(dims: Dims) -> Self {
        Self {
            graph: RefCell::new(Graph::new(dims)),
            owner: RefCell::new("".into()),
            error: RefCell::new(None),
            dropouts: Cell::new(0),
            backward: Cell::new(false),
        }
    }

    /// A graph to which operators are added.
    pub fn of(graph: Graph) -> Self {
        Self { graph: RefCell::new(graph), ..Self::new(Dims { batch: 1, steps: 1 }) }
    }

    /// Size of the run that the graph is built for.
    pub fn dims(&self) -> Dims {
        self.graph.borrow().dims
    }

    /// Operators from here on belong to the user's object `name`.
    pub fn set_owner(&self, name: &str) {
        *self.owner.borrow_mut() = name.into();
    }

    /// Operators that `f` appends belong to a gradient.
    pub(crate) fn backward<R>(&self, f: impl FnOnce() -> R) -> R {
        let before = self.backward.replace(true);
        let made = f();
        self.backward.set(before);
        made
    }

    /// The graph, or the first mistake that was made in building it.
    ///
    /// # Errors
    /// The first mistake.
    pub fn finish(self) -> Result<Graph> {
        match self.error.into_inner() {
            Some(error) => Err(error),
            None => Ok(self.graph.into_inner()),
        }
    }

    /// Puts another graph in the place of this one, unless a mistake was made. Handles of values count for the old one.
    pub(crate) fn replace<R>(&self, f: impl FnOnce(&Graph) -> Result<(Graph, R)>) -> Result<Option<R>> {
        if self.error.borrow().is_some() {
            return Ok(None);
        }
        let (graph, found) = f(&self.graph.borrow())?;
        *self.graph.borrow_mut() = graph;
        Ok(Some(found))
    }

    /// Looks at the graph as far as it is built.
    pub fn read<R>(&self, f: impl FnOnce(&Graph) -> R) -> R {
        f(&self.graph.borrow())
    }

    /// Keeps the first mistake.
    pub fn fail(&self, error: Error) {
        self.error.borrow_mut().get_or_insert(error);
    }

    /// A handle on a value of this graph.
    pub fn tensor(&self, id: ValueId) -> Tensor<'_> {
        Tensor { scope: self, id }
    }

    /// A `1 x 1` constant.
    pub fn constant(&self, value: f32) -> Tensor<'_> {
        self.source(Type::fixed(1, 1), Source::Constant(value))
    }

    /// A value that no operator makes.
    pub fn source(&self, ty: Type, source: Source) -> Tensor<'_> {
        let id = self.graph.borrow_mut().source(ty, source);
        self.tensor(id)
    }

    /// Appends an operator; a mismatch of shapes is kept for [`Scope::finish`].
    pub fn apply(&self, op: impl Operator, inputs: &[Tensor<'_>]) -> Tensor<'_> {
        let types: Vec<Type> = inputs.iter().map(Tensor::ty).collect();
        match op.infer(&types) {
            Ok(ty) => self.push(Arc::new(op), inputs.iter().map(|t| t.id).collect(), ty),
            Err(problem) => {
                let owner = self.owner.borrow();
                self.fail(Error::invalid(format!("{} in '{owner}'", op.name()), problem));
                self.constant(0.0)
            }
        }
    }

    /// A delaying operator whose input is not known yet; [`Scope::close`] gives it.
    pub fn open(&self, op: Arc<dyn Operator>, ty: Type) -> Tensor<'_> {
        self.push(op, Vec::new(), ty)
    }

    /// Gives the operator made by [`Scope::open`] its input.
    pub fn close(&self, opened: Tensor<'_>, input: Tensor<'_>) {
        let (want, got) = (opened.ty(), input.ty());
        let input = input.repeat(want.with_cols(got.cols));
        if want.cols != got.cols {
            let owner = self.owner.borrow().to_string();
            return self.fail(Error::shape(format!("the state of '{owner}'"), want, "its input", got));
        }
        let mut graph = self.graph.borrow_mut();
        if let Some(NodeId(node)) = graph.producer(opened.id) {
            graph.nodes[node].inputs = vec![input.id];
        }
    }

    /// A number for each dropout, so that no two of them draw the same mask.
    pub(crate) fn next_dropout(&self) -> u32 {
        self.dropouts.replace(self.dropouts.get() + 1)
    }

    fn push(&self, op: Arc<dyn Operator>, inputs: Vec<ValueId>, ty: Type) -> Tensor<'_> {
        let owner = self.owner.borrow().clone();
        let mut graph = self.graph.borrow_mut();
        let id = graph.push(op, inputs, ty, owner);
        if let Some(node) = graph.nodes.last_mut().filter(|_| self.backward.get()) {
            node.backward = true;
        }
        Tensor { scope: self, id }
    }
}

/// A value of a [`Scope`]. Methods that compute with it stand beside their operators in `op/`.
#[derive(Clone, Copy)]
pub struct Tensor<'s> {
    /// The graph it belongs to.
    pub scope: &'s Scope,
    /// Its place there.
    pub id: ValueId,
}

impl<'s> Tensor<'s> {
    /// Shape and extent.
    pub fn ty(&self) -> Type {
        self.scope.graph.borrow().ty(self.id)
    }

    /// State `index` of the operator that makes this value, as it is before each step or after it. A value without
    /// that state is a mistake, which [`Scope::finish`] returns.
    pub fn state(&self, index: usize, after: bool) -> Tensor<'s> {
        let mut graph = self.scope.graph.borrow_mut();
        match graph.producer(self.id).filter(|n| index < graph.nodes[n.0].op.states().len()) {
            Some(node) => self.scope.tensor(graph.state(node, index, after)),
            None => {
                self.scope
                    .fail(Error::invalid("a state", format!("the value {:?} has no state {index}", self.id)));
                *self
            }
        }
    }
}
