//! Orders stages so that few values exist at once.
//!
//! Of the stages that are ready and whose result can be used, the one after which the least memory is taken comes next, the
//! first of several.
//!
//! - Before: stages, each after those it reads from.
//! - After: the order in which the stages run.
//! - Keeps: graph and outputs; each stage comes after those it reads from.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::engine::Target;
use crate::error::Result;
use crate::graph::{Graph, ValueId};
use crate::plan::pass::Ir;
use crate::plan::rolling::rolling;
use crate::plan::stages::stage_of;
use crate::plan::{Output, Stage};

/// Orders the stages by the memory that they take. Never fails.
pub fn order_stages(mut ir: Ir, _: &Target) -> Result<Ir> {
    ir.stages = order(&ir.graph, &ir.outputs, ir.stages);
    Ok(ir)
}

fn order(graph: &Graph, outputs: &[Output], stages: Vec<Stage>) -> Vec<Stage> {
    let mut queue = Queue::new(graph, outputs, &stages);
    let mut order = Vec::with_capacity(stages.len());
    while let Some((.., next)) = queue.ready.pop_first() {
        queue.finish(next);
        order.push(next);
    }
    let mut stages: Vec<Option<Stage>> = stages.into_iter().map(Some).collect();
    order.into_iter().filter_map(|s| stages[s].take()).collect()
}

/// Stages that are ready, the best first: those that shrink memory or whose result a stage can read next, then by the
/// floats that they add.
struct Queue {
    ready: BTreeSet<(bool, i64, usize)>,
    done: Vec<bool>,
    /// By stage: those it reads from, those that read from it, and the values of others that it reads.
    waits: Vec<BTreeSet<usize>>,
    after: Vec<BTreeSet<usize>>,
    reads: Vec<BTreeSet<ValueId>>,
    /// Stages that read a value, and the number of those that are not done.
    readers: HashMap<ValueId, (Vec<usize>, usize)>,
    /// Floats of each value that need not be kept.
    sizes: HashMap<ValueId, i64>,
    /// By stage: the number of stages it waits for, the floats that it adds, and the number of stages that wait for it
    /// alone.
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

    /// Changes what a stage's key depends on.
    fn change(&mut self, s: usize, change: impl FnOnce(&mut Self)) {
        let old = self.key(s);
        change(self);
        if self.ready.remove(&old) {
            self.ready.insert(self.key(s));
        }
    }

    /// One stage is left that reads a value: after it, the value is free.
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
