//! Lays out the states that are carried from one replay to the next in one shared buffer.
//!
//! - Before: the graph as it is built, so that all programs of a network agree.
//! - After: an offset for each operator with a state.
//! - Keeps: graph.

use std::collections::HashMap;

use crate::engine::ALIGN;
use crate::graph::{Graph, Memory, ValueId};

/// Places of all states of a graph in one buffer, in the order of its operators.
///
/// The order and the sizes do not depend on the number of steps, so programs of the same network with windows of
/// different lengths share the buffer; and a network's own states come before those of its gradient.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Carry {
    places: HashMap<ValueId, Place>,
    len: usize,
}

/// Place of one operator's states: its output, if that is carried, then its other states.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// First float of the last output.
    pub output: Option<usize>,
    /// First float of the first state.
    pub states: Option<usize>,
}

impl Carry {
    /// The states of all of a graph's operators.
    pub fn of(graph: &Graph) -> Self {
        let mut carry = Self::default();
        for node in graph.nodes.iter().filter(|n| n.op.memory().is_state()) {
            let mut take = |cols: usize| {
                let at = carry.len;
                carry.len += (graph.dims.batch * cols).next_multiple_of(ALIGN);
                (cols > 0).then_some(at)
            };
            let carried = matches!(node.op.memory(), Memory::State { .. });
            let output = take(if carried { graph.ty(node.output).cols } else { 0 });
            let states = take(node.op.states().len() * graph.state_cols(node));
            carry.places.insert(node.output, Place { output, states });
        }
        carry
    }

    /// Floats of the states of the graph's first `nodes` operators.
    pub fn first(&self, graph: &Graph, nodes: usize) -> usize {
        let later = graph.nodes[nodes..].iter().filter_map(|n| self.place(n.output));
        later.filter_map(|p| p.output.or(p.states)).min().unwrap_or(self.len)
    }

    /// Floats of the buffer.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing is carried.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The place of the operator that makes a value.
    pub fn place(&self, output: ValueId) -> Option<Place> {
        self.places.get(&output).copied()
    }

    /// The buffer's contents before the first step.
    pub fn start(&self, graph: &Graph) -> Vec<f32> {
        let mut image = vec![0.0; self.len];
        for node in &graph.nodes {
            let Some(at) = self.place(node.output).and_then(|p| p.states) else { continue };
            let cols = graph.state_cols(node);
            let rows = image[at..].chunks_exact_mut(cols);
            let states = node.op.states().iter().flat_map(|s| std::iter::repeat_n(s, graph.dims.batch));
            for (row, state) in rows.zip(states) {
                row.iter_mut().enumerate().for_each(|(col, x)| *x = state.start(col));
            }
        }
        image
    }
}
