//! Sums over time that a loop adds up on its way.
//!
//! The gradient of a population's encoders, biases and decoders is a sum over all steps of something wide that a loop of
//! the gradient makes, times something narrow. Added up within the loop, while it is in the cache, the wide value need
//! exist at the current step only. It pays for sums that are bound by memory: a dense product over all steps at once is
//! faster than its parts.

use std::collections::{HashMap, HashSet};

use super::recompute::cheap;
use super::{Output, Stage};
use crate::engine::{Family, Target};
use crate::graph::{Graph, Node, NodeId, Type, ValueId};

/// Moves into loops what can be summed there, with what is computed for these sums alone. `stages` are in an order in
/// which each comes after those it reads from, and stay so. For the CPU: an adapter would pay with dispatches at each
/// step.
pub fn totals(graph: &Graph, outputs: &[Output], mut stages: Vec<Stage>, target: &Target) -> Vec<Stage> {
    if target.family != Family::Cpu || graph.dims.steps < 2 {
        return stages;
    }
    let mut home = 0;
    while home < stages.len() {
        if matches!(stages[home], Stage::Loop { .. }) {
            let moved = movable(graph, outputs, &stages, home);
            let goes = |n: &NodeId| moved.contains(n);
            // In the order in which they stood, which was behind the loop.
            let last: Vec<NodeId> = stages.iter().flat_map(Stage::nodes).copied().filter(goes).collect();
            stages.retain(|s| !matches!(s, Stage::Batched(n) if goes(n)));
            if let Stage::Loop { nodes, .. } = &mut stages[home] {
                nodes.extend(last);
            }
        }
        home += 1;
    }
    stages
}

/// The sums that loop `home` can make, and what only they read.
fn movable(graph: &Graph, outputs: &[Output], stages: &[Stage], home: usize) -> HashSet<NodeId> {
    let mut stage_of: HashMap<NodeId, usize> = HashMap::new();
    let mut readers: HashMap<ValueId, Vec<NodeId>> = HashMap::new();
    for (s, stage) in stages.iter().enumerate() {
        for &n in stage.nodes() {
            stage_of.insert(n, s);
            graph.node(n).inputs.iter().for_each(|&v| readers.entry(v).or_default().push(n));
        }
    }
    let wanted = |v: ValueId| outputs.iter().any(|o| o.value == v);
    let behind = stages[home + 1..].iter().filter_map(|s| match s {
        Stage::Batched(n) => Some(*n),
        _ => None,
    });
    let from_home = |v: ValueId| graph.producer(v).is_some_and(|p| stage_of.get(&p) == Some(&home));
    let sums = |node: &Node| {
        let types: Vec<Type> = node.inputs.iter().map(|&v| graph.ty(v)).collect();
        node.op.totals(&types) && node.inputs.iter().any(|&v| from_home(v))
    };
    let mut moved: HashSet<NodeId> = behind
        .filter(|&n| {
            let node = graph.node(n);
            sums(node) || (cheap(graph, node) && !wanted(node.output))
        })
        .collect();
    // Of all that could be moved, those stay whose inputs are there in time, and that spare a value.
    loop {
        let there = |v: ValueId| graph.producer(v).is_none_or(|p| moved.contains(&p) || stage_of[&p] <= home);
        // Nobody else reads it later.
        let spared = |v: ValueId| {
            let inside = |r: &NodeId| moved.contains(r) || stage_of[r] == home;
            !wanted(v) && readers.get(&v).is_some_and(|r| r.iter().all(inside))
        };
        let spares = |v: ValueId| {
            let here = from_home(v) || graph.producer(v).is_some_and(|p| moved.contains(&p));
            here && spared(v)
        };
        let stays = |n: &NodeId| {
            let node = graph.node(*n);
            let useful =
                if sums(node) { node.inputs.iter().any(|&v| spares(v)) } else { spared(node.output) };
            useful && node.inputs.iter().all(|&v| there(v))
        };
        let kept: HashSet<NodeId> = moved.iter().copied().filter(stays).collect();
        if kept.len() == moved.len() {
            return kept;
        }
        moved = kept;
    }
}
