//! States between windows: their kinds, layout, buffers and programs.

use std::sync::Arc;

use crate::engine::{Engine, Program};
use crate::graph::Graph;
use crate::plan::Carry;

/// Kind of run that states belong to. Each has a buffer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum StateKey {
    /// Runs, each of which continues from the last one.
    Run,
    /// Predictions on minibatches of this many examples, each from the initial states.
    Predict(usize),
    /// Training on minibatches of this many examples.
    Train(usize),
    /// Evaluations of the objective on minibatches of this many examples.
    Evaluate(usize),
}

/// Layout and initial values of the states of a graph.
pub(crate) struct StateLayout {
    pub carry: Carry,
    pub start: Vec<f32>,
    /// Number of floats of the network's own states; those of its gradient follow.
    pub forward: usize,
    pub named: Vec<Named>,
}

/// Place and owners of one state of an operator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    pub first: usize,
    pub len: usize,
    pub cols: usize,
    pub what: &'static str,
    /// Objects that the state belongs to, each with the same number of columns.
    pub owners: Vec<Arc<str>>,
}

impl Named {
    /// Description (`the voltage of 'ens'`), example and number of the element `i`.
    pub fn element(&self, i: usize) -> (String, usize, usize) {
        let (example, column, own) = (i / self.cols, i % self.cols, self.cols / self.owners.len());
        (format!("the {} of '{}'", self.what, self.owners[column / own]), example, column % own)
    }
}

/// Values of states that were read, by key and number of floats.
pub(crate) type StateValues = Vec<((StateKey, usize), Vec<f32>)>;

/// A state that is not finite.
pub(crate) struct NonFiniteState {
    /// Description, such as `the voltage of 'ens'`.
    pub what: String,
    pub value: f32,
    /// Its example and element, in words.
    pub place: String,
}

impl std::fmt::Display for NonFiniteState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {} at {}", self.what, self.value, self.place)
    }
}

impl StateKey {
    /// True for training and evaluation.
    pub fn is_training(self) -> bool {
        matches!(self, StateKey::Train(_) | StateKey::Evaluate(_))
    }
}

impl StateLayout {
    /// The layout for a graph whose first `nodes` operators are the network and its losses.
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
    /// Shared buffer of the current states.
    pub current: usize,
    /// Shared buffer of the initial states.
    pub initial: usize,
    /// Number of floats of the network's own states; those of its gradient follow.
    pub forward: usize,
    pub len: usize,
    /// Sets them to their initial values.
    pub reset: Program,
    pub named: Vec<Named>,
    /// A copy to restore them after a host callback fails.
    pub backup: Option<Backup>,
    /// Saved states at the borders of training windows.
    pub borders: Option<Borders>,
}

/// A copy of states.
#[derive(Clone)]
pub(crate) struct Backup {
    /// Shared buffer of the copy.
    pub buffer: usize,
    pub save: Program,
    pub restore: Program,
}

/// States at the borders of windows, and the programs that save and restore them.
pub(crate) struct Borders {
    /// Shared buffer of the saved states, if any are saved.
    pub buffer: Option<usize>,
    /// Sets the network's own states to their initial values.
    pub reset_forward: Program,
    /// Sets the gradient's states to zero.
    pub reset_adjoint: Program,
    /// Saves the states before window `1 + i`.
    pub save: Vec<Program>,
    /// Restores the states before window `1 + i`.
    pub restore: Vec<Program>,
}

impl Borders {
    /// Frees its programs and returns its shared buffer, for the caller to free.
    pub fn unload(self, engine: &mut dyn Engine) -> Option<usize> {
        let programs = self.save.into_iter().chain(self.restore);
        programs.chain([self.reset_forward, self.reset_adjoint]).for_each(|p| engine.unload(p));
        self.buffer
    }
}
