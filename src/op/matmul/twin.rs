//! The CPU twin of products.

use std::ops::Range;

use crate::engine::cpu::form::Form;
use crate::engine::cpu::gemm::{self, Gemm};
use crate::engine::cpu::{Io, groups, math};
use crate::engine::{Part, Split};
use crate::expr::Lane;
use crate::graph::{Extent, Placed};
use crate::op::matmul::{Matmul, MatmulKernel};

/// Multiplications that take about as long as threads need to meet.
const LEAST_PRODUCTS: usize = 4096;

impl MatmulKernel {
    /// Shares of the threads.
    pub(super) fn shares(&self, row0: usize) -> Split {
        let Gemm { m, n, k, ldc, .. } = self.gemm;
        let start = self.c.start + if self.gemm.form == Form::Tn { 0 } else { row0 * ldc };
        if self.groups > 1 {
            // Whole groups: columns of the result, or rows of it where they are sums over rows.
            let part = match self.gemm.form {
                Form::Tn => Part::rows(start, self.distances[2]),
                _ => Part { start, outer: m, stride: ldc, inner: n },
            };
            let grain = LEAST_PRODUCTS.div_ceil((m * n * k).max(1));
            return Split { units: self.groups, grain, parts: vec![part] };
        }
        match self.gemm.split() {
            gemm::Split::Rows(grain) => {
                let grain = grain.max(LEAST_PRODUCTS.div_ceil((n * k).max(1)).next_multiple_of(grain));
                Split { units: m, grain, parts: vec![Part::rows(start, ldc)] }
            }
            gemm::Split::Cols(grain) => {
                let grain = grain.max(LEAST_PRODUCTS.div_ceil((m * k).max(1)).next_multiple_of(grain));
                Split { units: n, grain, parts: vec![Part { start, outer: m, stride: ldc, inner: 1 }] }
            }
        }
    }

    /// Each group's product, with the epilogue on what this thread has of it.
    pub(super) fn multiply(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let Gemm { form, n, lda, ldb, .. } = self.gemm;
        let row = |placed: &Placed| match placed.ty.extent {
            Extent::Sequence => row0,
            // Where a loop has the current step's rows only, they have the extent of an example.
            Extent::Example => row0 % self.batch,
            Extent::Fixed => 0,
        };
        let a = &io.read(0)[self.a.start + row(&self.a) * lda..];
        let b = &io.read(1)[self.b.start + row(&self.b) * ldb..];
        if self.groups > 1 && self.is_narrow() {
            let adds = self.total.is_some_and(|first| row0 / self.batch != first);
            self.run_narrow(io, units.clone(), (a, b), adds);
        } else if self.groups > 1 {
            for (i, group) in units.clone().enumerate() {
                let [da, db, _] = self.distances.map(|d| d * group);
                let own = if form == Form::Tn { self.distances[2] } else { n };
                io.gemm(0, i * own, &self.gemm, &a[da..], &b[db..]);
            }
        } else if !self.by_rows() {
            let from = units.start * if form == Form::Nt { ldb } else { 1 };
            io.gemm(0, 0, &Gemm { n: units.len(), ..self.gemm }, a, &b[from..]);
        } else {
            let from = units.start * if form == Form::Tn { 1 } else { lda };
            io.gemm(0, 0, &Gemm { m: units.len(), ..self.gemm }, &a[from..], b);
        }
        if self.has_epilogue() {
            self.finish(io, units, row0);
        }
    }

    /// True if threads share the rows of a product, not its columns or groups.
    fn by_rows(&self) -> bool {
        let rows = |split| matches!(split, gemm::Split::Rows(_));
        self.groups == 1 && self.gemm.m > 1 && rows(self.gemm.split())
    }

    /// True if one side of each group's product is a single column.
    fn is_narrow(&self) -> bool {
        let Gemm { form, m, n, k, .. } = self.gemm;
        if form == Form::Tn { m == 1 || n == 1 } else { k == 1 || n == 1 }
    }

    /// The products of some groups, one side of which is a single column; in any form the weights of all lie side by side.
    /// Of sums over rows that are made step by step, those of all steps but the first `adds`.
    fn run_narrow(&self, io: &mut Io<'_>, units: Range<usize>, (a, b): (&[f32], &[f32]), adds: bool) {
        let Gemm { form, m, n, k, lda, ldb, .. } = self.gemm;
        let a = &a[self.distances[0] * units.start..];
        let b = &b[self.distances[1] * units.start..];
        let count = units.len();
        math::vectorise(
            #[inline(always)]
            || match form {
                Form::Tn => {
                    let (width, one, wide) =
                        if m == 1 { (n, (a, lda), (b, ldb)) } else { (m, (b, ldb), (a, lda)) };
                    let (to, part) = io.output(0, 0);
                    groups::over_rows((k, width), one, wide, to, adds, part);
                }
                _ if k == 1 => {
                    for row in 0..m {
                        groups::outer(n, &a[row * lda..][..count], b, io.output(0, row).0);
                    }
                }
                _ => {
                    for row in 0..m {
                        groups::inner(k, &a[row * lda..][..count * k], b, io.output(0, row).0);
                    }
                }
            },
        );
    }

    /// Applies the epilogue to this thread's part of the result, while it is in its cache.
    fn finish(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let Gemm { m, n, ldc, .. } = self.gemm;
        let by_rows = self.by_rows();
        let (rows, cols) = match (by_rows, self.groups) {
            (true, _) => (units.clone(), 0..ldc),
            (_, 1) => (0..m, units.clone()),
            _ => (0..m, units.start * n..units.end * n),
        };
        let mut lanes = [Lane::Splat(0.0); Matmul::MAX_OPERANDS];
        let count = self.epilogue.list.len();
        let mut row = rows.start;
        while row < rows.end {
            // Whole rows lie side by side.
            let some = if by_rows { self.epilogue.rows_at_once(row0 + row, rows.end - row) } else { 1 };
            let end = cols.end + (some - 1) * ldc;
            for (i, lane) in lanes.iter_mut().enumerate().take(count) {
                *lane = self.epilogue.lane(io, 3, i, row0 + row, cols.start, end);
            }
            let k = row - rows.start;
            let (outer, from) = if by_rows { (0, k * ldc) } else { (k, 0) };
            let (own, scratch) = io.output(0, outer);
            let to = &mut own[from..from + end - cols.start];
            self.epilogue.expr.run_in_place(&lanes[..count], to, scratch);
            row += some;
        }
    }
}
