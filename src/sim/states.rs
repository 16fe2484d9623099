//! Kinds of states, where they lie, and the buffers and programs that carry them from window to window.

use std::sync::Arc;

use crate::engine::{Engine, Program};
use crate::graph::Graph;
use crate::plan::Carry;

/// Who carries states from window to window. Each has a buffer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum StateKey {
    /// Runs, which go on where the last one ended.
    Run,
    /// Predictions for minibatches of this many examples, each from the start.
    Predict(usize),
    /// Training on minibatches of this many examples.
    Train(usize),
    /// Evaluations of the objective on minibatches of this many examples.
    Evaluate(usize),
}

/// Where the states of a graph lie, and what they start from.
pub(crate) struct StateLayout {
    pub carry: Carry,
    pub start: Vec<f32>,
    /// Floats of the network's own states; those of its gradient follow.
    pub forward: usize,
    pub named: Vec<Named>,
}

/// Where the states of an operator lie.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    pub first: usize,
    pub len: usize,
    pub cols: usize,
    pub what: &'static str,
    /// The objects whose states they are, each with as many columns.
    pub owners: Vec<Arc<str>>,
}

impl Named {
    /// What an element is: `the voltage of 'ens'`, its example, and its number.
    pub fn element(&self, i: usize) -> (String, usize, usize) {
        let (example, column, own) = (i / self.cols, i % self.cols, self.cols / self.owners.len());
        (format!("the {} of '{}'", self.what, self.owners[column / own]), example, column % own)
    }
}

/// States that were read, by where they lie.
pub(crate) type Values = Vec<((StateKey, usize), Vec<f32>)>;

/// A state that is not finite.
pub(crate) struct NonFiniteState {
    /// `the voltage of 'ens'`
    pub what: String,
    pub value: f32,
    /// Its example and its number.
    pub place: String,
}

impl std::fmt::Display for NonFiniteState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {} at {}", self.what, self.value, self.place)
    }
}

impl StateKey {
    /// Whether training or an evaluation carries them.
    pub fn is_training(self) -> bool {
        matches!(self, StateKey::Train(_) | StateKey::Evaluate(_))
    }
}

impl StateLayout {
    /// Of a graph whose first `nodes` operators are the network and its losses.
    pub fn new(graph: &Graph, nodes: usize) -> Self {
        let carry = Carry::of(graph);
        let (start, forward) = (carry.start(graph), carry.first(graph, nodes));
        let mut named = Vec::new();
        for node in &graph.nodes[..nodes] {
            let Some(place) = carry.place(node.output) else { continue };
            let mut add = |first, cols, what| {
                let alone = node.shares.is_empty().then(|| node.owner.clone());
                let owners = node.shares.iter().cloned().chain(alone).collect();
                named.push(Named { first, len: graph.dims.batch * cols, cols, what, owners });
            };
            if let Some(first) = place.output {
                add(first, graph.ty(node.output).cols, node.op.name());
            }
            let cols = graph.state_cols(node);
            for (k, state) in node.op.states().iter().enumerate() {
                if let Some(first) = place.states {
                    add(first + k * graph.dims.batch * cols, cols, state.name);
                }
            }
        }
        Self { carry, start, forward, named }
    }
}

/// The states of a network and of its gradient, on the device.
pub(crate) struct States {
    /// The shared buffer with the states as they are.
    pub current: usize,
    /// The shared buffer with the states as they start.
    pub initial: usize,
    /// Floats of the network's own states; those of its gradient follow.
    pub forward: usize,
    pub len: usize,
    /// Sets them to their start.
    pub reset: Program,
    pub named: Vec<Named>,
    /// A copy for windows that may fail, and its programs.
    pub backup: Option<Backup>,
    /// What windows of a training need besides.
    pub borders: Option<Borders>,
}

/// A copy of states.
#[derive(Clone)]
pub(crate) struct Backup {
    /// The shared buffer.
    pub buffer: usize,
    pub save: Program,
    pub restore: Program,
}

/// States at the borders of windows, and the programs that save and restore them.
pub(crate) struct Borders {
    /// The shared buffer, if there is more than one window to come back to.
    pub buffer: Option<usize>,
    /// Sets the network's own states to their start.
    pub reset_forward: Program,
    /// Sets the gradient's states to zero.
    pub reset_adjoint: Program,
    /// Of the border before window `1 + i`.
    pub save: Vec<Program>,
    pub restore: Vec<Program>,
}

impl Borders {
    /// Frees its programs; gives the shared buffer that is to be freed.
    pub fn unload(self, engine: &mut dyn Engine) -> Option<usize> {
        let programs = self.save.into_iter().chain(self.restore);
        programs.chain([self.reset_forward, self.reset_adjoint]).for_each(|p| engine.unload(p));
        self.buffer
    }
}
