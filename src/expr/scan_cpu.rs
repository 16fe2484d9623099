//! The loop over time of a scan on the CPU: some columns at once go through all of time, with their states in the first-level
//! cache.

use std::ops::Range;

use crate::engine::cpu::Io;
use crate::expr::operands::Operands;
use crate::expr::run::Lane;
use crate::expr::system::{Block, Given, WIDE, Wide};
use crate::shape::Extent;

/// Blocks of columns that a compiled step takes through time together: with their states they stay in the first-level cache.
const INTERLEAVE: usize = 8;

/// One operand as a walk reads it.
#[derive(Clone, Copy, Default)]
pub(super) struct Line<'a> {
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
    pub(super) fn lane(&self, t: usize, from: usize, n: usize) -> Lane<'a> {
        let at = self.start + t * self.stride;
        if self.one { Lane::Splat(self.data[at]) } else { Lane::Slice(&self.data[at + from..at + from + n]) }
    }
}

/// Columns whose operands lie side by side, on their way through time.
pub(super) struct Way<'a> {
    /// Their operands.
    pub(super) lines: [Line<'a>; MAX_OPERANDS],
    /// Their places in this thread's part of each block.
    pub(super) place: Range<usize>,
    /// The first step.
    pub(super) t0: usize,
    /// The block of the states before it.
    pub(super) now: usize,
}

/// Operands of a scan at most: with an output and a buffer of states, as many as every adapter can bind.
pub const MAX_OPERANDS: usize = 6;

/// Bindings of a scan: binding 0 takes the output, binding 1 the states if there are any, operands follow.
#[derive(Clone, Copy)]
pub struct ScanLoop<'a> {
    /// Its inputs.
    pub operands: &'a Operands,
    /// Number of states.
    pub states: usize,
    /// Examples, of which each row of the output is one.
    pub batch: usize,
    /// Steps to go.
    pub steps: usize,
    /// Blocks of each state: one, or one for each border between steps where its history is kept.
    pub blocks: usize,
    /// The history of states is kept.
    pub kept: bool,
    /// The output is that of the step before.
    pub delayed: bool,
    /// The output has room for one step only.
    pub rolls: bool,
    /// Time runs from the last step to the first.
    pub backward: bool,
    /// Rows do not matter: every operand has an element for each of the output's, or is one number.
    pub flat: bool,
}

impl ScanLoop<'_> {
    /// Walks through time with a compiled step, which reads the scan's operands as those of its own.
    #[inline(always)]
    pub(super) fn run_compiled<S: Wide>(
        &self,
        system: &S,
        operands: &Given,
        io: &mut Io<'_>,
        units: Range<usize>,
        row0: usize,
    ) {
        // A copy that nothing else can change: what follows from its constants is computed once.
        let system = system.clone();
        let (mut x, mut next) = ([Block::ZERO; INTERLEAVE], Block::ZERO);
        self.ways(
            io,
            units,
            row0,
            #[inline(always)]
            |io, way| {
                // Over a few steps, lines are in the cache as it is.
                let abreast = if self.steps < INTERLEAVE { WIDE } else { INTERLEAVE * WIDE };
                for from in (0..way.place.len()).step_by(abreast) {
                    let columns = from..way.place.len().min(from + abreast);
                    self.run_wide(&system, io, (way, operands), columns, &mut x, &mut next);
                }
            },
        );
    }

    /// Some blocks of columns go through time together, each step of all before the next step: what they read and write of a
    /// step lies side by side.
    #[inline(always)]
    fn run_wide<S: Wide>(
        &self,
        system: &S,
        io: &mut Io<'_>,
        (way, operands): (&Way<'_>, &Given),
        columns: Range<usize>,
        x: &mut [Block; INTERLEAVE],
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
                    if self.kept {
                        store(&next[1 + k], &mut io.output(1, self.block(k, after)).0[place.clone()]);
                    }
                }
            }
        }
        if !self.kept {
            for (x, from) in x.iter().zip(blocks()) {
                for k in 0..S::STATES {
                    store(&x[S::OPERANDS + k], &mut io.output(1, k).0[place(from).1]);
                }
            }
        }
    }

    /// Calls `f` with the columns `units`, all at once or, where rows differ, one row at a time.
    #[inline(always)]
    pub(super) fn ways<'a>(
        &self,
        io: &mut Io<'a>,
        units: Range<usize>,
        row0: usize,
        mut f: impl FnMut(&mut Io<'a>, &Way<'a>),
    ) {
        let (cols, t0) = (self.operands.cols, row0 / self.batch);
        let now = if self.backward { t0 + self.steps } else { t0 };
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
    pub(super) fn time(&self, t0: usize, k: usize) -> (usize, usize) {
        if self.backward {
            let t = t0 + self.steps - 1 - k;
            (t, t)
        } else {
            (t0 + k, t0 + k + 1)
        }
    }

    /// The block of state `k` that stands at border `at` between steps.
    pub(super) fn block(&self, k: usize, at: usize) -> usize {
        if self.kept { k * self.blocks + at } else { k }
    }

    /// The block of a delayed output that stands at border `at` between steps.
    pub(super) fn border(&self, at: usize) -> usize {
        if self.rolls { 0 } else { at }
    }

    /// The block that takes the output of step `t`, with the block `after` for the states after it.
    pub(super) fn output_block(&self, t: usize, after: usize) -> usize {
        self.border(if self.delayed { after } else { t })
    }

    /// The operands of the columns from `own` on, an element of a step.
    fn lines<'a>(&self, io: &Io<'a>, own: usize) -> [Line<'a>; MAX_OPERANDS] {
        let (binding, cols) = (1 + usize::from(self.states > 0), self.operands.cols);
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
