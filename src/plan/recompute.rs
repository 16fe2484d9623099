//! Values that are cheaper to compute again than to keep.
//!
//! A population's currents are wide, and follow from a narrow signal by a product over few columns. In a loop, such a value
//! need only exist at the current step; what reads it later, in the gradient, computes it again from the narrow signal,
//! whose history is kept. So a step of back-propagation keeps what is narrow.

use std::collections::{HashMap, HashSet};

use super::stages::live;
use super::{Output, Stage};
use crate::engine::cpu::gemm::Form;
use crate::graph::{Extent, Graph, Node, NodeId, ValueId};
use crate::op::{Map, Matmul};

/// A value is wide beside an input if it has at least so many times its columns.
const WIDE: usize = 4;
/// Products over more columns than this are kept.
const DEPTH: usize = 16;

/// Gives readers outside of a loop copies of what they can compute themselves. True if anything has changed.
pub fn recompute(graph: &mut Graph, outputs: &[Output], stages: &[Stage]) -> bool {
    let nodes = stages.iter().enumerate().flat_map(|(s, stage)| stage.nodes().iter().map(move |n| (*n, s)));
    let stage_of: HashMap<NodeId, usize> = nodes.collect();
    let mut copies: HashMap<(ValueId, usize), ValueId> = HashMap::new();
    for stage in stages.iter().filter(|s| matches!(s, Stage::Loop { .. })) {
        let own = |n: NodeId| stage.nodes().contains(&n);
        for &NodeId(n) in stage.nodes() {
            let value = graph.nodes[n].output;
            if outputs.iter().any(|o| o.value == value) || !follows(graph, value, &own, 0) {
                continue;
            }
            let reads = |r: &NodeId| graph.nodes[r.0].inputs.contains(&value);
            let readers: Vec<NodeId> = stage_of.keys().copied().filter(|r| !own(*r)).filter(reads).collect();
            for reader in readers {
                let copy = again(graph, value, stage_of[&reader], &own, &mut copies);
                let inputs = &mut graph.nodes[reader.0].inputs;
                inputs.iter_mut().filter(|v| **v == value).for_each(|v| *v = copy);
            }
        }
    }
    !copies.is_empty()
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
    let mut readers: HashMap<ValueId, Vec<NodeId>> = HashMap::new();
    for (n, node) in graph.nodes.iter().enumerate().filter(|(n, _)| live[*n]) {
        node.inputs.iter().for_each(|&v| readers.entry(v).or_default().push(NodeId(n)));
    }
    let wanted = |v: ValueId| outputs.iter().any(|o| o.value == v);
    for home in 0..stages.len() {
        let Stage::Loop { nodes, .. } = &stages[home] else { continue };
        let own: HashSet<NodeId> = nodes.iter().copied().collect();
        let mut moved: HashSet<NodeId> = stages
            .iter()
            .filter_map(|s| match s {
                Stage::Batched(n) if cheap(graph, graph.node(*n)) && !wanted(graph.node(*n).output) => {
                    Some(*n)
                }
                _ => None,
            })
            .collect();
        // Of all that could be moved, those stay whose readers and wide inputs come along.
        loop {
            let stays = |n: &NodeId| {
                let node = graph.node(*n);
                let wide = |v: ValueId| {
                    let ty = graph.ty(v);
                    ty.extent == Extent::Sequence && WIDE * ty.cols > graph.ty(node.output).cols
                };
                readers
                    .get(&node.output)
                    .is_some_and(|r| r.iter().all(|r| own.contains(r) || moved.contains(r)))
                    && node
                        .inputs
                        .iter()
                        .all(|&v| !wide(v) || graph.producer(v).is_some_and(|p| moved.contains(&p)))
            };
            let kept: HashSet<NodeId> = moved.iter().copied().filter(stays).collect();
            if kept.len() == moved.len() {
                break;
            }
            moved = kept;
        }
        let first: Vec<NodeId> =
            stages.iter().flat_map(Stage::nodes).copied().filter(|n| moved.contains(n)).collect();
        if let Stage::Loop { nodes, .. } = &mut stages[home] {
            nodes.splice(0..0, first);
        }
    }
    let inside: HashSet<NodeId> =
        stages.iter().filter(|s| matches!(s, Stage::Loop { .. })).flat_map(Stage::nodes).copied().collect();
    stages.retain(|s| !matches!(s, Stage::Batched(n) if inside.contains(n)));
    stages
}
