//! The CPU twin of scans: some columns at once walk through all of time, with their states in the first-level cache.

use std::ops::Range;

use super::{MAX_OPERANDS, ScanKernel};
use crate::engine::cpu::{Io, math};
use crate::graph::Extent;
use crate::op::compiled::{Block, Given, WIDE, Wide};
use crate::op::expr::{BLOCK, Lane};

/// Blocks of columns that a compiled step takes through time together: with their states they stay in the first-level cache.
const ABREAST: usize = 8;

/// One operand as a walk reads it.
#[derive(Clone, Copy, Default)]
struct Line<'a> {
    data: &'a [f32],
    /// The element of the first column at step 0.
    start: usize,
    /// Elements from one step to the next.
    stride: usize,
    /// One number for all columns.
    one: bool,
}

impl<'a> Line<'a> {
    /// At step `t`, `n` columns from the one numbered `from` on.
    #[inline(always)]
    fn lane(&self, t: usize, from: usize, n: usize) -> Lane<'a> {
        let at = self.start + t * self.stride;
        if self.one { Lane::Splat(self.data[at]) } else { Lane::Slice(&self.data[at + from..at + from + n]) }
    }
}

/// Columns whose operands lie side by side, on their way through time.
struct Way<'a> {
    /// Their operands.
    lines: [Line<'a>; MAX_OPERANDS],
    /// Where they stand in this thread's part of each block.
    place: Range<usize>,
    /// The first step.
    t0: usize,
    /// The block of the states before it.
    now: usize,
}

impl ScanKernel {
    /// Walks through time instruction by instruction.
    pub(super) fn walk(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let mut memory = std::mem::take(&mut io.work.totals);
        memory.resize(self.step.floats() + 2 * (1 + self.op.states.len()) * BLOCK, 0.0);
        self.ways(io, units, row0, |io, way| {
            for from in (0..way.place.len()).step_by(BLOCK) {
                math::vectorise(
                    #[inline(always)]
                    || self.walk_block(io, way, from, &mut memory),
                );
            }
        });
        io.work.totals = memory;
    }

    /// Walks through time with a compiled step, which reads the scan's operands as those of its own.
    #[inline(always)]
    pub(in crate::op) fn walk_compiled<S: Wide>(
        &self,
        system: &S,
        operands: &Given,
        io: &mut Io<'_>,
        units: Range<usize>,
        row0: usize,
    ) {
        // A copy that nothing else can change: what follows from its constants is computed once.
        let system = system.clone();
        let (mut x, mut next) = ([Block::ZERO; ABREAST], Block::ZERO);
        self.ways(
            io,
            units,
            row0,
            #[inline(always)]
            |io, way| {
                // Over a few steps, lines are in the cache as it is.
                let abreast = if self.steps < ABREAST { WIDE } else { ABREAST * WIDE };
                for from in (0..way.place.len()).step_by(abreast) {
                    let columns = from..way.place.len().min(from + abreast);
                    self.walk_wide(&system, io, (way, operands), columns, &mut x, &mut next);
                }
            },
        );
    }

    /// Some blocks of columns go through time together, each step of all before the next step: what they read and write of a
    /// step lies side by side.
    #[inline(always)]
    fn walk_wide<S: Wide>(
        &self,
        system: &S,
        io: &mut Io<'_>,
        (way, operands): (&Way<'_>, &Given),
        columns: Range<usize>,
        x: &mut [Block; ABREAST],
        next: &mut Block,
    ) {
        let previous = S::OPERANDS + S::STATES;
        let place = |from: usize| {
            let n = WIDE.min(columns.end - from);
            (n, way.place.start + from..way.place.start + from + n)
        };
        let blocks = || columns.clone().step_by(WIDE);
        for (x, from) in x.iter_mut().zip(blocks()) {
            let (_, place) = place(from);
            for k in 0..S::STATES {
                fill(&mut x[S::OPERANDS + k], &io.output(1, self.block(k, way.now)).0[place.clone()]);
            }
            if S::DELAYED {
                fill(&mut x[previous], &io.output(0, self.border(way.now)).0[place]);
            }
        }
        for k in 0..self.steps {
            let (t, after) = self.time(way.t0, k);
            for (x, from) in x.iter_mut().zip(blocks()) {
                let (n, place) = place(from);
                for (k, x) in x.iter_mut().enumerate().take(S::OPERANDS) {
                    // Which line it is must be known to the compiler where it can be.
                    let line =
                        if S::WHOLE { Some(&way.lines[k]) } else { operands[k].map(|i| &way.lines[i]) };
                    match line.map(|line| line.lane(t, from, n)) {
                        Some(Lane::Slice(s)) => fill(x, s),
                        Some(Lane::Splat(c)) => x.fill(c),
                        None => {}
                    }
                }
                // Always all of them: with another number, the last ones would not be in vectors.
                system.step_all(x, next);
                store(&next[0], &mut io.output(0, self.output_block(t, after)).0[place.clone()]);
                if S::DELAYED && k + 1 < self.steps {
                    x[previous] = next[0];
                }
                for k in 0..S::STATES {
                    x[S::OPERANDS + k] = next[1 + k];
                    if self.kept() {
                        store(&next[1 + k], &mut io.output(1, self.block(k, after)).0[place.clone()]);
                    }
                }
            }
        }
        if !self.kept() {
            for (x, from) in x.iter().zip(blocks()) {
                for k in 0..S::STATES {
                    store(&x[S::OPERANDS + k], &mut io.output(1, k).0[place(from).1]);
                }
            }
        }
    }

    /// Calls `f` with the columns `units`, all at once or, where rows differ, one row at a time.
    #[inline(always)]
    fn ways<'a>(
        &self,
        io: &mut Io<'a>,
        units: Range<usize>,
        row0: usize,
        mut f: impl FnMut(&mut Io<'a>, &Way<'a>),
    ) {
        let (cols, t0) = (self.output.ty.cols, row0 / self.batch);
        let now = if self.op.backward { t0 + self.steps } else { t0 };
        let mut from = units.start;
        while from < units.end {
            let to = if self.flat { units.end } else { units.end.min((from / cols + 1) * cols) };
            let place = from - units.start..to - units.start;
            let lines = self.lines(io, row0 % self.batch * cols + from);
            f(io, &Way { lines, place, t0, now });
            from = to;
        }
    }

    /// Step `k` of the walk, and the block of the states after it.
    fn time(&self, t0: usize, k: usize) -> (usize, usize) {
        if self.op.backward {
            let t = t0 + self.steps - 1 - k;
            (t, t)
        } else {
            (t0 + k, t0 + k + 1)
        }
    }

    /// The block of state `k` that stands at border `at` between steps.
    fn block(&self, k: usize, at: usize) -> usize {
        if self.kept() { k * self.blocks() + at } else { k }
    }

    /// The block of a delayed output that stands at border `at` between steps.
    fn border(&self, at: usize) -> usize {
        if self.rolls { 0 } else { at }
    }

    /// The block that takes the output of step `t`, with the block `after` for the states after it.
    fn output_block(&self, t: usize, after: usize) -> usize {
        self.border(if self.delayed() { after } else { t })
    }

    /// The operands of the columns from `own` on, an element of a step.
    fn lines<'a>(&self, io: &Io<'a>, own: usize) -> [Line<'a>; MAX_OPERANDS] {
        let (binding, cols) = (1 + usize::from(self.states.is_some()), self.output.ty.cols);
        let mut lines = [Line::default(); MAX_OPERANDS];
        for (i, (line, operand)) in lines.iter_mut().zip(&self.operands.list).enumerate() {
            let (ty, data) = (operand.placed.ty, io.read(binding + i));
            let one = ty.cols == 1 && cols > 1;
            let (row, col) = (own / cols % operand.period, if one { 0 } else { own % cols });
            // The next rows of a sequence, or the same ones again.
            let stride = if ty.extent == Extent::Sequence { self.batch * ty.cols } else { 0 };
            *line = Line { data, start: operand.placed.start + row * ty.cols + col, stride, one };
        }
        lines
    }

    #[inline(always)]
    fn walk_block(&self, io: &mut Io<'_>, way: &Way<'_>, from: usize, memory: &mut [f32]) {
        let n = BLOCK.min(way.place.len() - from);
        let place = way.place.start + from..way.place.start + from + n;
        let (count, operands) = (self.op.states.len(), self.operands.list.len());
        let (scratch, memory) = memory.split_at_mut(self.step.floats());
        // Element 0 is the output, the states follow; before a step and after it.
        let (mut before, mut after) = memory.split_at_mut((1 + count) * BLOCK);
        for k in 0..count {
            before[(1 + k) * BLOCK..][..n]
                .copy_from_slice(&io.output(1, self.block(k, way.now)).0[place.clone()]);
        }
        if self.delayed() {
            before[..n].copy_from_slice(&io.output(0, self.border(way.now)).0[place.clone()]);
        }
        for k in 0..self.steps {
            let (t, next) = self.time(way.t0, k);
            let lane = |i: usize| match i {
                i if i < operands => way.lines[i].lane(t, from, n),
                i if i < operands + count => Lane::Slice(&before[(1 + i - operands) * BLOCK..][..n]),
                _ => Lane::Slice(&before[..n]),
            };
            self.step.run(n, lane, scratch, |k, result| result.copy_to(&mut after[k * BLOCK..][..n]));
            io.output(0, self.output_block(t, next)).0[place.clone()].copy_from_slice(&after[..n]);
            if self.kept() {
                for k in 0..count {
                    io.output(1, self.block(k, next)).0[place.clone()]
                        .copy_from_slice(&after[(1 + k) * BLOCK..][..n]);
                }
            }
            std::mem::swap(&mut before, &mut after);
        }
        if !self.kept() {
            for k in 0..count {
                io.output(1, k).0[place.clone()].copy_from_slice(&before[(1 + k) * BLOCK..][..n]);
            }
        }
    }
}

/// Of a length that the compiler knows, a copy is a few instructions.
#[inline(always)]
fn fill(to: &mut [f32; WIDE], from: &[f32]) {
    match from.first_chunk() {
        Some(all) if from.len() == WIDE => *to = *all,
        _ => to[..from.len()].copy_from_slice(from),
    }
}

/// Results of a block of columns, of which there may be fewer at the end.
#[inline(always)]
fn store(from: &[f32; WIDE], to: &mut [f32]) {
    match to.first_chunk_mut() {
        Some(all) => *all = *from,
        None => to.copy_from_slice(&from[..to.len()]),
    }
}
