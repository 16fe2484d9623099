//! Computes values again where that is cheaper than keeping them.
//!
//! A population's currents are wide, and follow from a narrow signal by a product over few columns. In a loop, such a value
//! need only exist at the current step; what reads it later, in the gradient, computes it again from the narrow signal,
//! whose history is kept. So a step of back-propagation keeps what is narrow.
//!
//! - Before: stages of the graph.
//! - After: no reader outside of a loop keeps its cheap values; cheap operators that a loop alone reads are in it.
//! - Keeps: values and outputs; each stage comes after those it reads from.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::engine::Target;
use crate::error::Result;
use crate::graph::{Extent, Graph, Node, NodeId, Type, ValueId};
use crate::plan::pass::Ir;
use crate::plan::pass::fuse_elementwise::fuse_elementwise;
use crate::plan::pass::schedule::schedule;
use crate::plan::stages::{live, stage_of};
use crate::plan::{Output, Stage};

/// Ratio of columns from which on a value is wide compared with an input.
const WIDE: usize = 4;
/// Values with more terms an element than this are kept.
const MOST_TERMS: usize = 16;

/// Copies and moves operators so that loops keep narrow values alone.
///
/// # Errors
/// A cycle without a delay.
pub fn rematerialize(mut ir: Ir, target: &Target) -> Result<Ir> {
    if copy_for_readers(&mut ir.graph, &ir.outputs, &ir.stages) {
        ir = schedule(fuse_elementwise(ir, target)?, target)?;
    }
    ir.stages = sink(&ir.graph, &ir.outputs, ir.stages);
    Ok(ir)
}

/// Gives readers outside of a loop copies of what they can compute themselves. True if the graph has changed.
fn copy_for_readers(graph: &mut Graph, outputs: &[Output], stages: &[Stage]) -> bool {
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

/// True if a value of a loop follows cheaply from narrow values and from values that exist for the whole window.
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

/// True for a step's value that takes few terms an element.
pub(super) fn cheap(graph: &Graph, node: &Node) -> bool {
    let types: Vec<Type> = node.inputs.iter().map(|&v| graph.ty(v)).collect();
    graph.ty(node.output).extent == Extent::Sequence
        && node.op.terms(&types).is_some_and(|terms| terms <= MOST_TERMS)
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

/// Moves operators into the loop that alone reads them, if they follow cheaply from narrow inputs: their values need not be
/// kept there.
pub(super) fn sink(graph: &Graph, outputs: &[Output], mut stages: Vec<Stage>) -> Vec<Stage> {
    let live = live(graph, outputs);
    let readers = graph.readers(&live);
    let stage_of = stage_of(graph, &stages);
    let wanted: HashSet<ValueId> = outputs.iter().map(|o| o.value).collect();
    // Operators that can be moved into a loop, if all their readers are there.
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
        // Operators whose wide inputs stay outside do so as well, with the operators that they read.
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
                // Its inputs are now read outside, and its readers lack it.
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
