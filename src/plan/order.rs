//! The order of stages in which the least memory is taken at once.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::graph::{Extent, Graph, Memory, ValueId};
use crate::plan::recompute::stage_of;
use crate::plan::{Output, Stage};

/// Stages in an order that keeps few values at once: of those that are ready and whose result can be used, the one after
/// which the least memory is taken comes next, the first of several. Each stays after those it reads from.
pub fn order(graph: &Graph, outputs: &[Output], stages: Vec<Stage>) -> Vec<Stage> {
    let mut queue = Queue::new(graph, outputs, &stages);
    let mut order = Vec::with_capacity(stages.len());
    while let Some((.., next)) = queue.ready.pop_first() {
        queue.finish(next);
        order.push(next);
    }
    let mut stages: Vec<Option<Stage>> = stages.into_iter().map(Some).collect();
    order.into_iter().filter_map(|s| stages[s].take()).collect()
}

/// The stages that are ready, the best first: what nobody could read yet, while memory grows, comes later; then by how many
/// floats more are taken after it.
struct Queue {
    ready: BTreeSet<(bool, i64, usize)>,
    done: Vec<bool>,
    /// By stage: those it reads from, those that read from it, and the values of others that it reads.
    waits: Vec<BTreeSet<usize>>,
    after: Vec<BTreeSet<usize>>,
    reads: Vec<BTreeSet<ValueId>>,
    /// Stages that read a value, and how many of them are not done.
    readers: HashMap<ValueId, (Vec<usize>, usize)>,
    /// Floats of each value that need not be kept.
    sizes: HashMap<ValueId, i64>,
    /// By stage: how many of those it reads from are not done, floats taken after it, and how many that read from it wait for
    /// it alone.
    left: Vec<usize>,
    grows: Vec<i64>,
    next: Vec<usize>,
}

impl Queue {
    fn new(graph: &Graph, outputs: &[Output], stages: &[Stage]) -> Self {
        let stage_of = stage_of(graph, stages);
        let none = || vec![BTreeSet::new(); stages.len()];
        let (mut waits, mut after, mut reads) = (none(), none(), vec![BTreeSet::new(); stages.len()]);
        let mut readers: HashMap<ValueId, (Vec<usize>, usize)> = HashMap::new();
        for (s, stage) in stages.iter().enumerate() {
            for &v in stage.nodes().iter().flat_map(|n| &graph.node(*n).inputs) {
                let Some(from) = graph.producer(v).and_then(|p| stage_of[p.0]).filter(|p| *p != s) else {
                    continue;
                };
                waits[s].insert(from);
                after[from].insert(s);
                if reads[s].insert(v) {
                    let (all, left) = readers.entry(v).or_default();
                    all.push(s);
                    *left += 1;
                }
            }
        }
        let rolling = rolling(graph, outputs, stages);
        let size = |v: ValueId| match rolling.contains(&v) {
            true => 0,
            false => graph.ty(v).elements(graph.dims) as i64,
        };
        let kept: HashSet<ValueId> = outputs.iter().map(|o| o.value).collect();
        let sizes = readers.keys().filter(|v| !kept.contains(v)).map(|&v| (v, size(v))).collect();
        let made = |s: &Stage| s.nodes().iter().map(|n| size(graph.node(*n).output)).sum();
        let mut queue = Self {
            ready: BTreeSet::new(),
            done: vec![false; stages.len()],
            left: waits.iter().map(BTreeSet::len).collect(),
            grows: stages.iter().map(made).collect(),
            next: vec![0; stages.len()],
            waits,
            after,
            reads,
            readers,
            sizes,
        };
        let alone: Vec<ValueId> = queue.readers.iter().filter(|(_, r)| r.1 == 1).map(|(v, _)| *v).collect();
        alone.into_iter().for_each(|v| queue.last_reader(v));
        (0..stages.len())
            .filter(|&s| queue.left[s] == 1)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|s| queue.last_wait(s));
        queue.ready = (0..stages.len()).filter(|&s| queue.left[s] == 0).map(|s| queue.key(s)).collect();
        queue
    }

    fn key(&self, s: usize) -> (bool, i64, usize) {
        let early = !self.after[s].is_empty() && self.next[s] == 0;
        (self.grows[s] > 0 && early, self.grows[s], s)
    }

    /// Changes what a stage's place among the others follows from.
    fn change(&mut self, s: usize, change: impl FnOnce(&mut Self)) {
        let old = self.key(s);
        change(self);
        if self.ready.remove(&old) {
            self.ready.insert(self.key(s));
        }
    }

    /// One stage alone has still to read a value: after it, the value is free.
    fn last_reader(&mut self, v: ValueId) {
        let reader = self.readers[&v].0.iter().copied().find(|&s| !self.done[s]);
        if let (Some(s), Some(&size)) = (reader, self.sizes.get(&v)) {
            self.change(s, |queue| queue.grows[s] -= size);
        }
    }

    /// A stage waits for one other alone.
    fn last_wait(&mut self, s: usize) {
        if let Some(before) = self.waits[s].iter().copied().find(|&w| !self.done[w]) {
            self.change(before, |queue| queue.next[before] += 1);
        }
    }

    /// Stage `s` comes next.
    fn finish(&mut self, s: usize) {
        self.done[s] = true;
        for v in std::mem::take(&mut self.reads[s]) {
            if let Some((_, left)) = self.readers.get_mut(&v) {
                *left -= 1;
                if *left == 1 {
                    self.last_reader(v);
                }
            }
        }
        for r in std::mem::take(&mut self.after[s]) {
            self.left[r] -= 1;
            match self.left[r] {
                0 => _ = self.ready.insert(self.key(r)),
                1 => self.last_wait(r),
                _ => {}
            }
        }
    }
}

/// Values of a loop that nothing outside of it reads: only the current step's rows of them exist. What is delayed is written
/// for the next step, and may lie where it lay before if all that read it in a step come first.
pub fn rolling(graph: &Graph, outputs: &[Output], stages: &[Stage]) -> HashSet<ValueId> {
    let mut outside: HashSet<ValueId> = outputs.iter().map(|o| o.value).collect();
    let stage_of = stage_of(graph, stages);
    // The last place within a loop at which a value is read.
    let mut last: HashMap<ValueId, usize> = HashMap::new();
    for (s, stage) in stages.iter().enumerate() {
        for (at, node) in stage.nodes().iter().enumerate() {
            // A reader that needs the whole history at once, or is in another stage.
            let node = graph.node(*node);
            let totals = graph.ty(node.output).extent == Extent::Fixed;
            let whole = !(node.op.rolls() || totals) || !matches!(stage, Stage::Loop { .. });
            let own = |v: ValueId| graph.producer(v).is_some_and(|p| stage_of[p.0] == Some(s));
            for &v in &node.inputs {
                if whole || !own(v) {
                    outside.insert(v);
                } else {
                    last.insert(v, at);
                }
            }
        }
    }
    let loops = stages.iter().filter(|s| matches!(s, Stage::Loop { .. })).map(Stage::nodes);
    let places = loops.flat_map(|nodes| nodes.iter().enumerate());
    let own = places.filter_map(|(at, &node)| {
        let node = graph.node(node);
        let in_time = match node.op.memory() {
            Memory::State { .. } => {
                node.op.memory().delays() && last.get(&node.output).is_none_or(|last| *last < at)
            }
            _ => true,
        };
        let stays = in_time && node.op.rolls() && graph.ty(node.output).extent == Extent::Sequence;
        (stays && !outside.contains(&node.output)).then_some(node.output)
    });
    own.collect()
}
