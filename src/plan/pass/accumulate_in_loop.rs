//! Moves sums over time into the loop that makes what they sum.
//!
//! The gradient of a population's encoders, biases and decoders is a sum over all steps of something wide that a loop of
//! the gradient makes, times something narrow. Added up within the loop, while it is in the cache, the wide value need
//! exist at the current step only. It pays for sums that are bound by memory: a dense product over all steps at once is
//! faster than its parts. An adapter would pay with dispatches at each step.
//!
//! - Before: stages, each after those it reads from.
//! - After: on the CPU, each loop adds up the sums it can, and computes what only they read.
//! - Keeps: graph and outputs; each stage comes after those it reads from.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::engine::{Family, Target};
use crate::error::Result;
use crate::graph::{Graph, NodeId, Type, ValueId};
use crate::plan::pass::Ir;
use crate::plan::pass::rematerialize::cheap;
use crate::plan::stages::stage_of;
use crate::plan::{Output, Stage};

/// Most steps of a sum in a loop; more of them, added up one by one, would lose digits.
const MOST_STEPS: usize = 1024;

/// Moves sums over time into loops. Never fails.
pub fn accumulate_in_loop(mut ir: Ir, target: &Target) -> Result<Ir> {
    if target.family == Family::Cpu && (2..=MOST_STEPS).contains(&ir.graph.dims.steps) {
        ir.stages = accumulate(&ir.graph, &ir.outputs, ir.stages);
    }
    Ok(ir)
}

fn accumulate(graph: &Graph, outputs: &[Output], mut stages: Vec<Stage>) -> Vec<Stage> {
    let stage_of = stage_of(graph, &stages);
    let staged: Vec<bool> = stage_of.iter().map(Option::is_some).collect();
    let readers = graph.readers(&staged);
    let wanted = outputs.iter().map(|o| o.value).collect();
    let mut walk = Walk { graph, stages: &stages, stage_of, readers, wanted };
    let mut last: Vec<(usize, Vec<NodeId>)> = Vec::new();
    for home in (0..stages.len()).filter(|&s| matches!(stages[s], Stage::Loop { .. })) {
        let mut moved: Vec<NodeId> = walk.movable(home).into_iter().collect();
        // In the order in which they stood, which was behind the loop.
        moved.sort_by_key(|n| walk.stage_of[n.0]);
        moved.iter().for_each(|n| walk.stage_of[n.0] = Some(home));
        last.push((home, moved));
    }
    let mut goes = vec![false; graph.nodes.len()];
    for (home, moved) in last {
        moved.iter().for_each(|n| goes[n.0] = true);
        if let Stage::Loop { nodes, .. } = &mut stages[home] {
            nodes.extend(moved);
        }
    }
    stages.retain(|s| !matches!(s, Stage::Batched(n) if goes[n.0]));
    stages
}

struct Walk<'a> {
    graph: &'a Graph,
    stages: &'a [Stage],
    /// Number of each operator's stage, of moved operators that of their new loop.
    stage_of: Vec<Option<usize>>,
    readers: Vec<Vec<NodeId>>,
    wanted: HashSet<ValueId>,
}

impl Walk<'_> {
    fn producers(&self, n: NodeId) -> impl Iterator<Item = NodeId> {
        self.graph.node(n).inputs.iter().filter_map(|&v| self.graph.producer(v))
    }

    /// The operators that read what `n` makes.
    fn readers(&self, n: NodeId) -> &[NodeId] {
        &self.readers[self.graph.node(n).output.0]
    }

    /// True if it runs all steps at once, after loop `home`.
    fn behind(&self, n: NodeId, home: usize) -> bool {
        self.stage_of[n.0].is_some_and(|s| s > home && matches!(self.stages[s], Stage::Batched(_)))
    }

    fn made_at(&self, v: ValueId, home: usize) -> bool {
        self.graph.producer(v).is_some_and(|p| self.stage_of[p.0] == Some(home))
    }

    /// True for a sum over a value of the loop.
    fn sums(&self, n: NodeId, home: usize) -> bool {
        let node = self.graph.node(n);
        let types: Vec<Type> = node.inputs.iter().map(|&v| self.graph.ty(v)).collect();
        node.op.totals(&types) && node.inputs.iter().any(|&v| self.made_at(v, home))
    }

    /// The sums that loop `home` can make, and what only they read.
    fn movable(&self, home: usize) -> HashSet<NodeId> {
        let sums = self.stages[home].nodes().iter().flat_map(|&n| self.readers(n)).copied();
        let mut moved: HashSet<NodeId> =
            sums.filter(|&n| self.behind(n, home) && self.sums(n, home)).collect();
        // Cheap operators that nothing else reads.
        let mut outside: HashMap<NodeId, usize> = HashMap::new();
        let mut open: Vec<NodeId> = moved.iter().copied().collect();
        while let Some(n) = open.pop() {
            for p in self.producers(n).collect::<BTreeSet<_>>() {
                let node = self.graph.node(p);
                let fits = self.behind(p, home) && !self.wanted.contains(&node.output);
                if fits && cheap(self.graph, node) && !moved.contains(&p) {
                    let left = outside.entry(p).or_insert_with(|| self.readers(p).len());
                    *left -= 1;
                    if *left == 0 {
                        moved.insert(p);
                        open.push(p);
                    }
                }
            }
        }
        // Operators whose inputs do not exist in time, or that spare no value, stay outside.
        let mut open: Vec<NodeId> = moved.iter().copied().collect();
        let mut kept: HashSet<ValueId> = HashSet::new();
        while let Some(n) = open.pop() {
            if moved.contains(&n) && !self.stays(n, home, &moved) {
                moved.remove(&n);
                open.extend(self.readers(n).iter().copied().chain(self.producers(n)));
                // The other readers of its inputs spare them no more.
                let inputs = self.graph.node(n).inputs.iter().filter(|v| kept.insert(**v));
                open.extend(inputs.flat_map(|v| &self.readers[v.0]));
            }
        }
        moved
    }

    fn stays(&self, n: NodeId, home: usize, moved: &HashSet<NodeId>) -> bool {
        let node = self.graph.node(n);
        let there = |v: ValueId| {
            let producer = self.graph.producer(v);
            producer.is_none_or(|p| moved.contains(&p) || self.stage_of[p.0].is_some_and(|s| s <= home))
        };
        // Nobody else reads it later.
        let spared = |v: ValueId| {
            let inside = |r: &NodeId| moved.contains(r) || self.stage_of[r.0] == Some(home);
            let readers = &self.readers[v.0];
            !self.wanted.contains(&v) && !readers.is_empty() && readers.iter().all(inside)
        };
        let spares = |v: ValueId| {
            let here = self.made_at(v, home) || self.graph.producer(v).is_some_and(|p| moved.contains(&p));
            here && spared(v)
        };
        let useful = match self.sums(n, home) {
            true => node.inputs.iter().any(|&v| spares(v)),
            false => spared(node.output),
        };
        useful && node.inputs.iter().all(|&v| there(v))
    }
}
