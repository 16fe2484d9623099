//! The CPU twin of sums.

use std::ops::Range;

use crate::engine::cpu::{Io, Work, sums};
use crate::expr::Lane;
use crate::op::map::MAX_INPUTS;
use crate::op::reduce::{ReduceKernel, View};

impl ReduceKernel {
    /// Calls `f(offset, lanes)` for pieces of elements `from..to` that lie in one row.
    fn pieces<'a>(
        &self,
        io: &Io<'a>,
        from: usize,
        to: usize,
        row0: usize,
        mut f: impl FnMut(usize, &[Lane<'a>]),
    ) {
        let cols = self.cols();
        let mut lanes = [Lane::Splat(0.0); MAX_INPUTS];
        let n = self.operands.list.len();
        let mut at = from;
        while at < to {
            let (row, col) = (at / cols, at % cols);
            let end = to.min((row + 1) * cols);
            for (i, lane) in lanes.iter_mut().enumerate().take(n) {
                *lane = self.operands.lane(io, 1, i, row0 + row, col, col + end - at);
            }
            f(end - at, &lanes[..n]);
            at = end;
        }
    }

    /// The sums of some units.
    pub(super) fn add_up(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let View { n, inner, splits, limit, .. } = self.view;
        let chunk = self.chunk();
        let Work { mut own, mut terms, mut totals, mut longs } = std::mem::take(&mut io.work);
        let mut add = |range: Range<usize>, io: &Io<'_>, each: &mut dyn FnMut(&[f32])| {
            let plain = self.operands.expr.is_identity();
            self.pieces(io, range.start, range.end, row0, |len, lanes| {
                if let (true, [Lane::Slice(lane)]) = (plain, lanes) {
                    return each(lane);
                }
                terms.resize(len, 0.0);
                self.operands.expr.run(lanes, &mut terms, &mut own);
                each(&terms);
            });
        };
        let adds = self.total.is_some_and(|first| row0 / self.batch != first);
        let first = units.start;
        let mut at = units.start;
        while at < units.end {
            // Units of one chunk are neighbours in `inner`.
            let (part, i) = (at / inner, at % inner);
            let end = units.end.min((part + 1) * inner);
            let (o, split) = (part / splits, part % splits);
            let (from, to) = (split * chunk, ((split + 1) * chunk).min(n));
            totals.clear();
            totals.resize(end - at, 0.0);
            if inner == 1 || self.tree {
                let range = if self.tree { 0..limit } else { o * n + from..o * n + to };
                let mut total = 0.0;
                add(range, io, &mut |terms| total += sums::sum(terms));
                totals[0] = total as f32;
            } else {
                longs.clear();
                for k in from..to {
                    if k > from && (k - from).is_multiple_of(sums::BLOCK) {
                        sums::settle(&mut totals, &mut longs);
                    }
                    let e = (o * n + k) * inner + i;
                    let mut done = 0;
                    add(e.min(limit)..(e + end - at).min(limit), io, &mut |terms| {
                        sums::add_to(&mut totals[done..done + terms.len()], terms);
                        done += terms.len();
                    });
                }
                if !longs.is_empty() {
                    sums::settle(&mut totals, &mut longs);
                    totals.iter_mut().zip(&longs).for_each(|(total, long)| *total = *long as f32);
                }
            }
            let to = &mut io.output(0, 0).0[at - first..end - first];
            if adds {
                to.iter_mut().zip(&totals).for_each(|(to, t)| *to += self.scale * t);
            } else {
                to.iter_mut().zip(&totals).for_each(|(to, t)| *to = self.scale * t);
            }
            at = end;
        }
        io.work = Work { own, terms, totals, longs };
    }
}
