//! Makes one loop of loops that run in the same direction of time and do not read from each other.
//!
//! The overhead of a step is paid once. A loop joins the first loop of its direction with the same number of loops before
//! it.
//!
//! - Before: stages, each after those it reads from.
//! - After: no two loops of a direction have the same number of loops before them.
//! - Keeps: graph and outputs; each stage comes after those it reads from.

use std::collections::{HashMap, HashSet};

use crate::engine::Target;
use crate::error::Result;
use crate::graph::Graph;
use crate::plan::Stage;
use crate::plan::pass::Ir;

/// Merges loops of the same depth and direction. Never fails.
pub fn merge_loops(mut ir: Ir, _: &Target) -> Result<Ir> {
    ir.stages = merge(&ir.graph, ir.stages);
    Ok(ir)
}

fn merge(graph: &Graph, stages: Vec<Stage>) -> Vec<Stage> {
    let depths = depths(graph, &stages);
    // Loops with the same can be one.
    let kind = |at: usize| match &stages[at] {
        Stage::Loop { backward, .. } => Some((depths[at], *backward)),
        _ => None,
    };
    let mut kinds = HashSet::new();
    if (0..stages.len()).filter_map(kind).all(|kind| kinds.insert(kind)) {
        return stages;
    }
    // Stages with the same number of loops before them as a loop do not wait for that loop: they may come before it.
    let mut order: Vec<usize> = (0..stages.len()).collect();
    order.sort_by_key(|&at| (depths[at], kind(at).is_some()));
    let mut first: HashMap<(usize, bool), usize> = HashMap::new();
    let mut joined: Vec<Stage> = Vec::with_capacity(stages.len());
    for at in order {
        if let Some(kind) = kind(at) {
            let place = *first.entry(kind).or_insert(joined.len());
            if let Some(Stage::Loop { nodes, .. }) = joined.get_mut(place) {
                nodes.extend_from_slice(stages[at].nodes());
                continue;
            }
        }
        joined.push(stages[at].clone());
    }
    joined
}

/// For each stage the length of the longest chain of loops before it.
fn depths(graph: &Graph, stages: &[Stage]) -> Vec<usize> {
    let mut stage_of = vec![usize::MAX; graph.nodes.len()];
    let mut depths: Vec<usize> = Vec::with_capacity(stages.len());
    for (at, stage) in stages.iter().enumerate() {
        stage.nodes().iter().for_each(|n| stage_of[n.0] = at);
        let inputs = stage.nodes().iter().flat_map(|n| &graph.nodes[n.0].inputs);
        let before = inputs.filter_map(|&v| graph.producer(v)).map(|p| stage_of[p.0]).filter(|&s| s < at);
        let depth = before.map(|s| depths[s] + usize::from(matches!(stages[s], Stage::Loop { .. }))).max();
        depths.push(depth.unwrap_or(0));
    }
    depths
}
