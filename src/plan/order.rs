//! The order of stages in which the least memory is taken at once.

use std::collections::{HashMap, HashSet};

use super::{Output, Stage};
use crate::graph::{Extent, Graph, Memory, NodeId, ValueId};

/// Stages in an order that keeps few values at once: of those that are ready and whose result can be used, the one after
/// which the least memory is taken comes next, the first of several. Each stays after those it reads from.
pub fn order(graph: &Graph, outputs: &[Output], stages: Vec<Stage>) -> Vec<Stage> {
    let nodes = stages.iter().enumerate().flat_map(|(s, stage)| stage.nodes().iter().map(move |n| (*n, s)));
    let stage_of: HashMap<NodeId, usize> = nodes.collect();
    let mut waits: Vec<HashSet<usize>> = vec![HashSet::new(); stages.len()];
    let mut reads: Vec<HashSet<ValueId>> = vec![HashSet::new(); stages.len()];
    let mut readers: HashMap<ValueId, HashSet<usize>> = HashMap::new();
    let mut after: Vec<HashSet<usize>> = vec![HashSet::new(); stages.len()];
    for (s, stage) in stages.iter().enumerate() {
        for &v in stage.nodes().iter().flat_map(|n| &graph.node(*n).inputs) {
            let Some(from) = graph.producer(v).and_then(|p| stage_of.get(&p)).filter(|p| **p != s) else {
                continue;
            };
            waits[s].insert(*from);
            after[*from].insert(s);
            reads[s].insert(v);
            readers.entry(v).or_default().insert(s);
        }
    }
    let rolling = rolling(graph, outputs, &stages);
    let size = |v: ValueId| match rolling.contains(&v) {
        true => 0,
        false => graph.ty(v).elements(graph.dims) as i64,
    };
    let kept = |v: ValueId| outputs.iter().any(|o| o.value == v);
    let made: Vec<i64> =
        stages.iter().map(|s| s.nodes().iter().map(|n| size(graph.node(*n).output)).sum()).collect();
    let (mut done, mut order) = (vec![false; stages.len()], Vec::with_capacity(stages.len()));
    while order.len() < stages.len() {
        let ready = (0..stages.len()).filter(|&s| !done[s] && waits[s].iter().all(|w| done[*w]));
        let freed = |s: usize| -> i64 {
            let last = |v: &&ValueId| !kept(**v) && readers[*v].iter().all(|r| *r == s || done[*r]);
            reads[s].iter().filter(last).map(|v| size(*v)).sum()
        };
        // What nobody could read yet comes later.
        let early = |s: usize| {
            let blocked = |r: &usize| waits[*r].iter().any(|w| *w != s && !done[*w]);
            !after[s].is_empty() && after[s].iter().all(blocked)
        };
        let key = |&s: &usize| {
            let grows = made[s] - freed(s);
            (grows > 0 && early(s), grows, s)
        };
        let Some(next) = ready.min_by_key(key) else { break };
        done[next] = true;
        order.push(next);
    }
    let mut stages: Vec<Option<Stage>> = stages.into_iter().map(Some).collect();
    order.into_iter().filter_map(|s| stages[s].take()).collect()
}

/// Values of a loop that nothing outside of it reads: only the current step's rows of them exist. What is delayed is written
/// for the next step, and may lie where it lay before if all that read it in a step come first.
pub fn rolling(graph: &Graph, outputs: &[Output], stages: &[Stage]) -> HashSet<ValueId> {
    let mut outside: HashSet<ValueId> = outputs.iter().map(|o| o.value).collect();
    for (s, stage) in stages.iter().enumerate() {
        for node in stage.nodes() {
            // A reader that needs the whole history at once, or is in another stage.
            let node = graph.node(*node);
            let totals = graph.ty(node.output).extent == Extent::Fixed;
            let whole = !(node.op.rolls() || totals) || !matches!(stage, Stage::Loop { .. });
            let own = |v: &ValueId| graph.producer(*v).is_some_and(|p| stages[s].nodes().contains(&p));
            outside.extend(node.inputs.iter().copied().filter(|v| whole || !own(v)));
        }
    }
    let loops = stages.iter().filter(|s| matches!(s, Stage::Loop { .. })).map(Stage::nodes);
    let places = loops.flat_map(|nodes| (0..nodes.len()).map(move |at| (nodes, at)));
    let own = places.filter_map(|(nodes, at)| {
        let node = graph.node(nodes[at]);
        let in_time = match node.op.memory() {
            Memory::State { .. } => {
                let reads = |n: &NodeId| graph.node(*n).inputs.contains(&node.output);
                node.op.memory().delays() && !nodes[at..].iter().any(reads)
            }
            _ => true,
        };
        let stays = in_time && node.op.rolls() && graph.ty(node.output).extent == Extent::Sequence;
        (stays && !outside.contains(&node.output)).then_some(node.output)
    });
    own.collect()
}
