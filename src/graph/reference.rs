//! The values of a graph in f64: slow and obviously right, for the tests and the check of gradients.
//!
//! Nothing is scheduled. Each operator is evaluated by its [`Operator::reference`](crate::graph::Operator::reference), one
//! step at a time, as soon as what that step reads is there; so operators that walk back in time need no rule of
//! their own.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::graph::{Extent, Graph, Memory, NodeId, Reference, Source, ValueId};

/// The values `wanted` of a graph, each as a whole: row `t * batch + b` of a sequence.
///
/// `source` gives the whole of a parameter or feed. States start at the values of their operators, outputs at zero.
///
/// # Errors
/// [`Error::CycleWithoutDelay`] if a step needs its own result, [`Error::Shape`] if a source does not have the size of
/// its type.
pub fn evaluate(
    graph: &Graph,
    wanted: &[ValueId],
    source: impl Fn(&Source) -> Vec<f64>,
) -> Result<Vec<Vec<f64>>> {
    evaluate_with(graph, wanted, None, source)
}

/// Random errors of an evaluation, like those of rounding: they show the effect of another order of arithmetic.
#[derive(Clone, Copy, Debug)]
pub struct Noise<'a> {
    /// Other seeds draw other errors.
    pub seed: u64,
    /// Each number that an operator reads is off by up to this share of it. Feeds are exact, but for those that follow.
    pub share: f64,
    /// Feeds that are read with errors: not those that hold classes, keys or words.
    pub feeds: &'a [usize],
    /// True if results are rounded to 32 bits, so that numbers beyond their range become infinite.
    pub single: bool,
}

/// Like [`evaluate`], with errors if there are any.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_with(
    graph: &Graph,
    wanted: &[ValueId],
    noise: Option<Noise<'_>>,
    source: impl Fn(&Source) -> Vec<f64>,
) -> Result<Vec<Vec<f64>>> {
    let mut sources = Vec::with_capacity(graph.values.len());
    for value in &graph.values {
        let values = match value.source {
            Source::Node(_) | Source::State { .. } => Vec::new(),
            Source::Constant(c) => vec![f64::from(c)],
            ref other => source(other),
        };
        let want = value.ty.elements(graph.dims);
        if !matches!(value.source, Source::Node(_) | Source::State { .. }) && values.len() != want {
            let got = format!("{} values", values.len());
            return Err(Error::shape(format!("{:?}", value.source), value.ty, "what was given", got));
        }
        sources.push(values);
    }
    let steps = graph.dims.steps;
    let blocks = graph.nodes.iter().map(|node| match graph.ty(node.output).extent {
        _ if node.op.memory().is_state() => steps + 1,
        Extent::Sequence => steps,
        _ => 1,
    });
    let cells = blocks.map(|n| vec![None; n]).collect();
    let drawn = std::cell::Cell::new(noise.map_or(0, |n| n.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let mut walk = Walk { graph, sources, cells, noise, drawn };
    let mut results = Vec::with_capacity(wanted.len());
    for &value in wanted {
        for cell in walk.cells_of(value, None) {
            walk.evaluate(cell)?;
        }
        results.push(walk.rows(value, None));
    }
    Ok(results)
}

/// An operator and which block of its results is meant: of its history if it has a state, else the step; 0 where
/// it gives no sequence.
type Cell = (usize, usize);

struct Walk<'g> {
    graph: &'g Graph,
    noise: Option<Noise<'g>>,
    /// The state of the random numbers.
    drawn: std::cell::Cell<u64>,
    /// By value; empty for those that operators make.
    sources: Vec<Vec<f64>>,
    /// By node and block.
    cells: Vec<Vec<Option<Vec<f64>>>>,
}

impl Walk<'_> {
    /// The cells of a value at step `t`, or at all steps.
    fn cells_of(&self, value: ValueId, t: Option<usize>) -> Vec<Cell> {
        let Some(NodeId(n)) = self.graph.producer(value) else { return Vec::new() };
        if self.graph.ty(value).extent != Extent::Sequence {
            return vec![(n, 0)];
        }
        let memory = self.graph.nodes[n].op.memory();
        let first = match (&self.graph.values[value.0].source, memory) {
            (Source::State { after, .. }, _) => memory.state_block(*after),
            (_, Memory::Scan { .. }) => memory.state_block(true),
            _ => memory.output_block(),
        };
        let steps = t.map_or(0..self.graph.dims.steps, |t| t..t + 1);
        steps.map(|t| (n, first + t)).collect()
    }

    /// Rows of a value at step `t`, or at all steps; their cells must have been computed.
    fn rows(&self, value: ValueId, t: Option<usize>) -> Vec<f64> {
        let ty = self.graph.ty(value);
        if self.graph.producer(value).is_some() {
            // Of an operator with states the output comes first in its cells, then each state.
            let rows = |&(n, b): &Cell| {
                let cell = self.cells[n][b].as_deref().unwrap_or_default();
                let node = &self.graph.nodes[n];
                let states = node.op.states().len() * self.graph.dims.batch * self.graph.state_cols(node);
                let (output, states) = cell.split_at(cell.len() - states);
                match self.graph.values[value.0].source {
                    Source::State { index, .. } => {
                        let len = states.len() / node.op.states().len();
                        states[index * len..(index + 1) * len].to_vec()
                    }
                    _ => output.to_vec(),
                }
            };
            return self.cells_of(value, t).iter().flat_map(rows).collect();
        }
        let all = &self.sources[value.0];
        let step = self.graph.dims.batch * ty.cols;
        match t.filter(|_| ty.extent == Extent::Sequence) {
            Some(t) => all[t * step..(t + 1) * step].to_vec(),
            None => all.clone(),
        }
    }

    /// Rows of a value that an operator reads at step `t`, with errors.
    fn read(&self, value: ValueId, t: Option<usize>) -> Vec<f64> {
        let mut rows = self.rows(value, t);
        let exact = |noise: &Noise<'_>| match self.graph.values[value.0].source {
            Source::Feed(feed) => !noise.feeds.contains(&feed),
            Source::Constant(_) => true,
            _ => false,
        };
        if let Some(noise) = self.noise.filter(|noise| !exact(noise)) {
            rows.iter_mut().for_each(|x| *x *= 1.0 + noise.share * self.draw());
        }
        rows
    }

    /// A random number between -1 and 1 (Steele et al. 2014).
    fn draw(&self) -> f64 {
        let state = self.drawn.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.drawn.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// The state's block before this one, if it is not the start; and the step whose inputs this block comes from.
    fn origin(&self, (n, block): Cell) -> (Option<usize>, Option<usize>) {
        let node = &self.graph.nodes[n];
        match node.op.memory() {
            Memory::None if self.graph.ty(node.output).extent == Extent::Sequence => (None, Some(block)),
            Memory::None => (None, None),
            memory if memory.backward() => (Some(block + 1), Some(block)),
            _ => (Some(block - 1), Some(block - 1)),
        }
    }

    fn is_start(&self, (n, block): Cell) -> bool {
        let memory = self.graph.nodes[n].op.memory();
        memory.is_state() && block == memory.start_block(self.graph.dims.steps)
    }

    /// Cells that a cell is computed from.
    fn needs(&self, cell: Cell) -> Vec<Cell> {
        if self.is_start(cell) {
            return Vec::new();
        }
        let (before, t) = self.origin(cell);
        let inputs = self.graph.nodes[cell.0].inputs.iter().flat_map(|&v| self.cells_of(v, t));
        inputs.chain(before.map(|b| (cell.0, b))).collect()
    }

    /// A cell and all that it needs, without recursion.
    fn evaluate(&mut self, root: Cell) -> Result<()> {
        let mut open: HashSet<Cell> = HashSet::new();
        let mut stack = vec![(root, false)];
        while let Some((cell, ready)) = stack.pop() {
            if self.cells[cell.0][cell.1].is_some() {
                continue;
            }
            if ready {
                self.cells[cell.0][cell.1] = Some(self.compute(cell));
                open.remove(&cell);
                continue;
            }
            if !open.insert(cell) {
                let objects = open.iter().map(|&(n, _)| self.graph.nodes[n].owner.to_string());
                return Err(Error::CycleWithoutDelay { objects: objects.collect() });
            }
            stack.push((cell, true));
            stack.extend(self.needs(cell).into_iter().map(|c| (c, false)));
        }
        Ok(())
    }

    fn compute(&self, cell: Cell) -> Vec<f64> {
        let node = &self.graph.nodes[cell.0];
        let (ty, dims) = (self.graph.ty(node.output), self.graph.dims);
        let rows = if ty.extent == Extent::Fixed { ty.rows } else { dims.batch };
        if self.is_start(cell) {
            let mut start = vec![0.0; rows * ty.cols];
            for state in node.op.states() {
                let cols = self.graph.state_cols(node);
                start.extend((0..rows * cols).map(|e| f64::from(state.start(e % cols))));
            }
            return start;
        }
        let (before, t) = self.origin(cell);
        let inputs: Vec<Vec<f64>> = node.inputs.iter().map(|&v| self.read(v, t)).collect();
        let single = self.noise.is_some_and(|noise| noise.single);
        let mut results = node.op.reference(&Reference {
            types: node.inputs.iter().map(|&v| self.graph.ty(v)).collect(),
            ty,
            rows,
            inputs: inputs.iter().map(Vec::as_slice).collect(),
            step: t.unwrap_or(0),
            state: before.and_then(|b| self.cells[cell.0][b].as_deref()).unwrap_or_default(),
            dims,
            single,
        });
        if single {
            results.iter_mut().for_each(|x| *x = f64::from(*x as f32));
        }
        results
    }
}
