//! Histories of what is carried from one step to the next: their first and last blocks, and how their readers see them.
//!
//! - Before: the places of values and states.
//! - After: copies of first blocks before a replay and of last blocks after it.
//! - Keeps: places, graph and stages.

use std::collections::{HashMap, HashSet};

use crate::engine::{Binding, BufferRef, Command};
use crate::graph::{Dims, Graph, NodeId, Placed, PlacedStates, Source, ValueId};
use crate::plan::Stage;
use crate::plan::pass::state_layout::Carry;

/// Places of values that are carried through time.
pub(super) struct Histories<'a> {
    pub graph: &'a Graph,
    pub placed: &'a HashMap<ValueId, Placed>,
    pub states: &'a HashMap<ValueId, PlacedStates>,
    pub rolling: &'a HashSet<ValueId>,
}

impl Histories<'_> {
    /// Commands before and after a replay: copies of all histories' first blocks from the shared buffer, and of their last
    /// blocks to it. States without a history lie in the shared buffer itself.
    pub fn borders(&self, stages: &[Stage], carry: Option<&(usize, Carry)>) -> (Vec<Command>, Vec<Command>) {
        let Dims { steps, batch } = self.graph.dims;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let Some((buffer, carry)) = carry else { return (before, after) };
        for &NodeId(n) in stages.iter().flat_map(Stage::nodes) {
            let node = &self.graph.nodes[n];
            let Some(place) = carry.place(node.output) else { continue };
            let start = node.op.memory().start_block(steps);
            let mut add = |history: Binding, (first, last): (usize, usize), carried: usize, len: usize| {
                let block = |b: usize| Binding { offset: history.offset + b * len, len, ..history };
                let carried = Binding { buffer: BufferRef::Shared(*buffer), offset: carried, len };
                before.push(Command::Copy { from: carried, to: block(first) });
                after.push(Command::Copy { from: block(last), to: carried });
            };
            if let Some(carried) = place.output {
                let rolls = self.rolling.contains(&node.output);
                let borders = if rolls { (0, 0) } else { (start, steps - start) };
                let len = batch * self.graph.ty(node.output).cols;
                add(self.placed[&node.output].binding, borders, carried, len);
            }
            if let (Some(carried), Some(PlacedStates { placed, kept: true })) =
                (place.states, self.states.get(&node.output))
            {
                let len = batch * self.graph.state_cols(node);
                for k in 0..node.op.states().len() {
                    let first = k * (steps + 1);
                    let borders = (first + start, first + steps - start);
                    add(placed.binding, borders, carried + k * len, len);
                }
            }
        }
        (before, after)
    }

    /// A value as its readers see it: of a history, the blocks that are the output, or the state before or after each step.
    pub fn view(&self, value: ValueId) -> Placed {
        let graph = self.graph;
        let ty = graph.ty(value);
        let block = graph.dims.batch * ty.cols;
        if let Source::State { node, index, after } = graph.values[value.0].source {
            let node = &graph.nodes[node.0];
            let mut view = Placed { ty, ..self.states[&node.output].placed.clone() };
            let first = node.op.memory().state_block(after);
            view.start += (index * (graph.dims.steps + 1) + first) * block;
            return view;
        }
        let mut view = self.placed[&value].clone();
        if let Some(node) = graph.producer(value).filter(|_| !self.rolling.contains(&value)) {
            view.start += graph.nodes[node.0].op.memory().output_block() * block;
        }
        view
    }
}
