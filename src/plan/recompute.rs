//! Values that are cheaper to compute again than to keep.
//!
//! A population's currents are wide, and follow from a narrow signal by a product over few columns. In a loop, such a value
//! need only exist at the current step; what reads it later, in the gradient, computes it again from the narrow signal,
//! whose history is kept. So a step of back-propagation keeps what is narrow.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::engine::cpu::form::Form;
use crate::graph::{Extent, Graph, Node, NodeId, ValueId};
use crate::op::{Map, Matmul};
use crate::plan::stages::live;
use crate::plan::{Output, Stage};

/// A value is wide beside an input if it has at least so many times its columns.
const WIDE: usize = 4;
/// Products over more columns than this are kept.
const DEPTH: usize = 16;

/// Gives readers outside of a loop copies of what they can compute themselves. True if anything has changed.
pub fn recompute(graph: &mut Graph, outputs: &[Output], stages: &[Stage]) -> bool {
    let stage_of = stage_of(graph, stages);
    let staged: Vec<bool> = stage_of.iter().map(Option::is_some).collect();
    let readers = graph.readers(&staged);
    let wanted: HashSet<ValueId> = outputs.iter().map(|o| o.value).collect();
    let mut copies: HashMap<(ValueId, usize), ValueId> = HashMap::new();
    for (s, stage) in stages.iter().enumerate().filter(|(_, s)| matches!(s, Stage::Loop { .. })) {
        let own = |n: NodeId| stage_of.get(n.0) == Some(&Some(s));
        for &NodeId(n) in stage.nodes() {
            let value = graph.nodes[n].output;
            let mut outside = readers[value.0].iter().filter(|r| !own(**r)).peekable();
            if outside.peek().is_none() || wanted.contains(&value) || !follows(graph, value, &own, 0) {
                continue;
            }
            for reader in outside {
                let Some(at) = stage_of[reader.0] else { continue };
                let copy = again(graph, value, at, &own, &mut copies);
                let inputs = &mut graph.nodes[reader.0].inputs;
                inputs.iter_mut().filter(|v| **v == value).for_each(|v| *v = copy);
            }
        }
    }
    !copies.is_empty()
}

/// The stage of each operator, if it is in one.
pub(super) fn stage_of(graph: &Graph, stages: &[Stage]) -> Vec<Option<usize>> {
    let mut of = vec![None; graph.nodes.len()];
    for (s, stage) in stages.iter().enumerate() {
        stage.nodes().iter().for_each(|n| of[n.0] = Some(s));
    }
    of
}

/// Whether a value of a loop follows cheaply from narrow values and from what is there anyway.
fn follows(graph: &Graph, value: ValueId, own: &impl Fn(NodeId) -> bool, depth: usize) -> bool {
    let Some(producer) = graph.producer(value).filter(|n| own(*n) && depth < 8) else { return false };
    let node = graph.node(producer);
    cheap(graph, node)
        && node.inputs.iter().all(|&v| {
            graph.ty(v).extent != Extent::Sequence
                || WIDE * graph.ty(v).cols <= graph.ty(value).cols
                || follows(graph, v, own, depth + 1)
        })
}

pub(super) fn cheap(graph: &Graph, node: &Node) -> bool {
    let product = |m: &Matmul| match m.form {
        Form::Nt => graph.ty(node.inputs[1]).cols <= DEPTH,
        Form::Nn => graph.ty(node.inputs[1]).rows / m.groups <= DEPTH,
        Form::Tn => false,
    };
    graph.ty(node.output).extent == Extent::Sequence
        && (node.op.downcast::<Map>().is_some() || node.op.downcast::<Matmul>().is_some_and(product))
}

/// A copy of a value's computation for the readers of one stage.
fn again(
    graph: &mut Graph,
    value: ValueId,
    stage: usize,
    own: &impl Fn(NodeId) -> bool,
    copies: &mut HashMap<(ValueId, usize), ValueId>,
) -> ValueId {
    if let Some(&copy) = copies.get(&(value, stage)) {
        return copy;
    }
    let Some(node) = graph.producer(value).map(|n| graph.node(n).clone()) else { return value };
    let wide = graph.ty(value).cols;
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for &v in &node.inputs {
        let ty = graph.ty(v);
        let kept = ty.extent != Extent::Sequence || WIDE * ty.cols <= wide || !follows(graph, v, own, 0);
        inputs.push(if kept { v } else { again(graph, v, stage, own, copies) });
    }
    let ty = graph.ty(value);
    let copy = graph.push(node.op, inputs, ty, node.owner);
    copies.insert((value, stage), copy);
    copy
}

/// Moves what a loop alone reads, and what follows cheaply from narrow inputs, into the loop: there it need not be kept.
pub fn sink(graph: &Graph, outputs: &[Output], mut stages: Vec<Stage>) -> Vec<Stage> {
    let live = live(graph, outputs);
    let readers = graph.readers(&live);
    let stage_of = stage_of(graph, &stages);
    let wanted: HashSet<ValueId> = outputs.iter().map(|o| o.value).collect();
    // What can be moved into a loop, if all that reads it is there.
    let movable = |n: NodeId| {
        let batched = stage_of[n.0].is_some_and(|s| matches!(stages[s], Stage::Batched(_)));
        batched && cheap(graph, graph.node(n)) && !wanted.contains(&graph.node(n).output)
    };
    let producers = |n: NodeId| graph.node(n).inputs.iter().filter_map(|&v| graph.producer(v));
    let mut gone = vec![false; stages.len()];
    let mut first: Vec<Vec<NodeId>> = vec![Vec::new(); stages.len()];
    for home in 0..stages.len() {
        let Stage::Loop { nodes, .. } = &stages[home] else { continue };
        let mut moved: HashSet<NodeId> = HashSet::new();
        // How many readers of a value are neither in the loop nor moved there.
        let mut outside: HashMap<NodeId, usize> = HashMap::new();
        let mut open: Vec<NodeId> = nodes.clone();
        while let Some(n) = open.pop() {
            for p in producers(n).collect::<BTreeSet<_>>() {
                if stage_of[p.0] != Some(home) && movable(p) {
                    let left = outside.entry(p).or_insert_with(|| readers[graph.node(p).output.0].len());
                    *left -= 1;
                    if *left == 0 {
                        moved.insert(p);
                        open.push(p);
                    }
                }
            }
        }
        // Of these, those stay outside whose wide inputs do, and what they read.
        let wide = |n: NodeId, v: ValueId| {
            let (ty, cols) = (graph.ty(v), graph.ty(graph.node(n).output).cols);
            ty.extent == Extent::Sequence && WIDE * ty.cols > cols
        };
        let mut open: Vec<NodeId> = moved.iter().copied().collect();
        while let Some(n) = open.pop() {
            let inputs = &graph.node(n).inputs;
            let there = |v: ValueId| graph.producer(v).is_some_and(|p| moved.contains(&p));
            if moved.contains(&n) && inputs.iter().any(|&v| wide(n, v) && !there(v)) {
                moved.remove(&n);
                // What it reads is now read outside, and what reads it may lack it.
                let mut out: Vec<NodeId> = producers(n).filter(|p| moved.contains(p)).collect();
                open.extend(&readers[graph.node(n).output.0]);
                while let Some(p) = out.pop() {
                    if moved.remove(&p) {
                        out.extend(producers(p));
                        open.extend(&readers[graph.node(p).output.0]);
                    }
                }
            }
        }
        let mut moved: Vec<(Option<usize>, NodeId)> = moved.into_iter().map(|n| (stage_of[n.0], n)).collect();
        moved.sort();
        for (s, n) in moved {
            gone[s.unwrap_or(home)] = true;
            first[home].push(n);
        }
    }
    for (stage, first) in stages.iter_mut().zip(first) {
        if let Stage::Loop { nodes, .. } = stage {
            nodes.splice(0..0, first);
        }
    }
    let mut gone = gone.into_iter();
    stages.retain(|_| !gone.next().unwrap_or(false));
    stages
}
