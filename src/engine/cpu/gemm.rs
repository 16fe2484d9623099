//! Matrix products `C = A·Bᵀ`, `A·B` and `Aᵀ·B` of row-major `f32`, in blocks of rows or columns of `C`
//! ([`Gemm::split`]), which the threads of a [`Pool`](crate::engine::cpu::pool::Pool) compute in parallel.
//!
//! The crate `gemm` computes a block, on one thread (feature `x86-v4`: AVX-512, detected at run time). Products of few
//! rows or narrow matrices have their own code (`small`).

use std::ops::Range;

use crate::engine::cpu::form::Form;
use crate::engine::cpu::{math, small};

/// Largest number of rows or columns for which `A·Bᵀ` is computed in small tiles.
///
/// `gemm` computes a small tile by dot products. That is faster than packing a transposed `B`: 1.3 times at 32 rows, 2
/// times at 16, 6 times at 2.
const MAX_TILED: usize = 32;
/// Largest tile of `C` that `gemm` computes by dot products, in elements.
const TILE: usize = 256;
/// Largest shorter side of such a tile.
const TILE_SIDE: usize = 16;

/// Largest number of rows for which `A·B` is computed row by row, each with a pass over `B`.
const MAX_ROW_BY_ROW: usize = 2;

/// Longest sum in single precision. In longer ones, a million equal terms would have a relative error of 1e-3.
const MAX_SINGLE: usize = 16_384;
/// Terms of a longer sum that are added in single precision. Their sums are added in double precision.
const PART: usize = 64;
/// Rows and columns of a tile of `C` with long sums.
const LONG_ROWS: usize = 64;
const LONG_COLS: usize = 256;

/// Division of a product among threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// By rows of `C`, in multiples of this grain.
    Rows(usize),
    /// By columns of `C`, in multiples of this grain.
    Cols(usize),
}

/// Shape and layout of a product of row-major matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gemm {
    /// Transposed operand.
    pub form: Form,
    /// Rows of `C`.
    pub m: usize,
    /// Columns of `C`.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// Elements from one stored row of `A` to the next.
    pub lda: usize,
    /// Elements from one stored row of `B` to the next.
    pub ldb: usize,
    /// Elements from one row of `C` to the next.
    pub ldc: usize,
}

impl Gemm {
    /// Division among threads that suits the shape.
    ///
    /// By columns of `C`, since each thread then packs only its part of `B`; by rows if `C` is tall or narrow.
    pub fn split(&self) -> Split {
        if self.m < 16 || (self.n >= 32 && 4 * self.n >= self.m) { Split::Cols(16) } else { Split::Rows(8) }
    }

    /// True if a block of `rows` rows is faster row by row, each with a pass over `B`, than packed.
    fn is_small(&self, rows: usize) -> bool {
        let outer = self.k <= 2 && self.n <= 512;
        match self.form {
            Form::Nn => rows <= MAX_ROW_BY_ROW || outer,
            // With long sums and many rows of `B`, the library is faster, even for one row of `A`.
            Form::Nt => (self.n <= 2 && self.k <= 256) || (self.k == 1 && outer),
            Form::Tn => self.k <= 2,
        }
    }

    /// Computes `C`; with `add`, adds the product to it. Elements between the rows of `C` are left unchanged.
    ///
    /// # Panics
    ///
    /// If a matrix is too short.
    pub fn multiply(&self, a: &[f32], b: &[f32], c: &mut [f32], add: bool) {
        let Self { m, n, ldc, .. } = *self;
        assert!(m == 0 || (n <= ldc && (m - 1) * ldc + n <= c.len()), "C is too short");
        // SAFETY: C holds all rows, as just checked, and is borrowed exclusively.
        unsafe { self.block(a, b, c.as_mut_ptr(), 0..m, 0..n, add) }
    }

    /// Computes the block `rows × cols` of `C`. Other elements are neither read nor written.
    ///
    /// # Panics
    ///
    /// If `a` or `b` is too short, or the block is not inside `C`.
    ///
    /// # Safety
    ///
    /// `c` must be valid for writes of `(m - 1) * ldc + n` elements, `ldc >= n`, and nothing else may access the
    /// block (elements `c[i * ldc + j]` for `i` in `rows`, `j` in `cols`) during the call.
    pub unsafe fn part(&self, a: &[f32], b: &[f32], c: *mut f32, rows: Range<usize>, cols: Range<usize>) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.block(a, b, c, rows, cols, false) }
    }

    /// Computes a block as [`Gemm::part`] does; with `add`, adds the product to it.
    ///
    /// # Safety
    ///
    /// As for [`Gemm::part`]. With `add`, the block must also be valid for reads.
    unsafe fn block(
        &self,
        a: &[f32],
        b: &[f32],
        c: *mut f32,
        rows: Range<usize>,
        cols: Range<usize>,
        add: bool,
    ) {
        let Self { form, m, n, k, lda, ldb, .. } = *self;
        assert!(rows.end <= m && cols.end <= n, "block {rows:?} x {cols:?} outside C ({m} x {n})");
        if rows.is_empty() || cols.is_empty() {
            return;
        }
        let (a_rows, a_cols) = if form == Form::Tn { (k, m) } else { (m, k) };
        let (b_rows, b_cols) = if form == Form::Nt { (n, k) } else { (k, n) };
        assert!(k == 0 || (a_rows - 1) * lda + a_cols <= a.len(), "A is too short");
        assert!(k == 0 || (b_rows - 1) * ldb + b_cols <= b.len(), "B is too short");
        if k > MAX_SINGLE {
            for i in rows.clone().step_by(LONG_ROWS) {
                for j in cols.clone().step_by(LONG_COLS) {
                    let tile = (i..rows.end.min(i + LONG_ROWS), j..cols.end.min(j + LONG_COLS));
                    // SAFETY: the tile is inside the block.
                    unsafe { self.long(a, b, c, tile, add) };
                }
            }
            return;
        }
        if self.is_small(rows.len()) {
            let (a_row, a_step) = if form == Form::Tn { (1, lda) } else { (lda, 1) };
            let b = if k == 0 { b } else { &b[cols.start * if form == Form::Nt { ldb } else { 1 }..] };
            math::vectorise(
                #[inline(always)]
                || {
                    for i in rows.clone() {
                        // SAFETY: these elements of C are valid and accessed by this call alone. They are initialised,
                        // since `c` points into a slice or a zeroed buffer.
                        let to = unsafe {
                            std::slice::from_raw_parts_mut(c.add(i * self.ldc + cols.start), cols.len())
                        };
                        let a = if k == 0 { a } else { &a[i * a_row..] };
                        small::row(form, k, (a, a_step), (b, ldb), to, add);
                    }
                },
            );
            return;
        }
        let narrow = rows.len().min(cols.len());
        let (high, wide) = if form != Form::Nt || narrow > MAX_TILED {
            (rows.len(), cols.len())
        } else if rows.len() == narrow {
            (narrow.min(TILE_SIDE), TILE / narrow.min(TILE_SIDE))
        } else {
            (TILE / narrow.min(TILE_SIDE), narrow.min(TILE_SIDE))
        };
        for j in cols.clone().step_by(wide) {
            for i in rows.clone().step_by(high) {
                // SAFETY: the tile is inside the block, which is inside C. The lengths of A and B were checked above.
                unsafe { self.tile(a, b, c, i..rows.end.min(i + high), j..cols.end.min(j + wide), add) };
            }
        }
    }

    /// Computes a tile of `C` with long sums.
    ///
    /// # Safety
    ///
    /// As for [`Gemm::block`].
    unsafe fn long(
        &self,
        a: &[f32],
        b: &[f32],
        c: *mut f32,
        (rows, cols): (Range<usize>, Range<usize>),
        add: bool,
    ) {
        let Self { form, k, lda, ldb, ldc, .. } = *self;
        let (m, n) = (rows.len(), cols.len());
        let (a_row, a_step) = if form == Form::Tn { (1, lda) } else { (lda, 1) };
        let (b_col, b_step) = if form == Form::Nt { (ldb, 1) } else { (1, ldb) };
        let (mut part, mut totals) = (vec![0.0_f32; m * n], vec![0.0_f64; m * n]);
        for first in (0..k).step_by(PART) {
            let some = Self { m, n, k: PART.min(k - first), ldc: n, ..*self };
            let (a, b) =
                (&a[rows.start * a_row + first * a_step..], &b[cols.start * b_col + first * b_step..]);
            some.multiply(a, b, &mut part, false);
            totals.iter_mut().zip(&part).for_each(|(total, x)| *total += f64::from(*x));
        }
        for (i, totals) in rows.zip(totals.chunks_exact(n)) {
            // SAFETY: these elements of C are valid, initialised and accessed by this call alone.
            let to = unsafe { std::slice::from_raw_parts_mut(c.add(i * ldc + cols.start), n) };
            for (to, total) in to.iter_mut().zip(totals) {
                *to = (if add { f64::from(*to) + total } else { *total }) as f32;
            }
        }
    }

    /// Computes a tile of `C` with one call of the library.
    ///
    /// # Safety
    ///
    /// As for [`Gemm::block`]. Also, `a` and `b` must be long enough, and the tile must be inside `C`.
    unsafe fn tile(
        &self,
        a: &[f32],
        b: &[f32],
        c: *mut f32,
        rows: Range<usize>,
        cols: Range<usize>,
        add: bool,
    ) {
        let (a_row, a_col) = if self.form == Form::Tn { (1, self.lda) } else { (self.lda, 1) };
        let (b_row, b_col) = if self.form == Form::Nt { (1, self.ldb) } else { (self.ldb, 1) };
        // SAFETY: the caller guarantees that A and B hold all elements that are read (none if k is 0), and that the
        // tile of C is valid for writes. Strides inside of slices fit into isize.
        unsafe {
            gemm::gemm(
                rows.len(),
                cols.len(),
                self.k,
                c.add(rows.start * self.ldc + cols.start),
                1,
                self.ldc as isize,
                add,
                a.as_ptr().wrapping_add(rows.start * a_row),
                a_col as isize,
                a_row as isize,
                b.as_ptr().wrapping_add(cols.start * b_col),
                b_col as isize,
                b_row as isize,
                if add { 1.0 } else { 0.0 },
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(len: usize, seed: u32) -> Vec<f32> {
        let mut s = seed;
        let mut next = || {
            s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (s >> 8) as f32 / 16_777_216.0 - 0.5
        };
        (0..len).map(|_| next()).collect()
    }

    /// Computes a product in blocks of the given size, and compares every element with a sum in `f64`.
    fn check(form: Form, [m, n, k]: [usize; 3], pad: usize, block: [usize; 2]) {
        let (ar, ac) = if form == Form::Tn { (k, m) } else { (m, k) };
        let (br, bc) = if form == Form::Nt { (n, k) } else { (k, n) };
        let g = Gemm { form, m, n, k, lda: ac + pad, ldb: bc + 2 * pad, ldc: n + 3 * pad };
        let (a, b) =
            (values((ar * g.lda).saturating_sub(pad), 1), values((br * g.ldb).saturating_sub(2 * pad), 2));
        let mut c = vec![f32::NAN; m * g.ldc];
        for i in (0..m).step_by(block[0]) {
            for j in (0..n).step_by(block[1]) {
                // SAFETY: C is m × ldc, and only this thread uses it.
                unsafe { g.part(&a, &b, c.as_mut_ptr(), i..m.min(i + block[0]), j..n.min(j + block[1])) };
            }
        }
        let mut added: Vec<f32> = c.iter().map(|x| if x.is_nan() { *x } else { 0.5 }).collect();
        g.multiply(&a, &b, &mut added, true);
        for i in 0..m {
            for j in 0..n {
                let want: f64 = (0..k)
                    .map(|p| {
                        let a = if form == Form::Tn { a[p * g.lda + i] } else { a[i * g.lda + p] };
                        let b = if form == Form::Nt { b[j * g.ldb + p] } else { b[p * g.ldb + j] };
                        f64::from(a) * f64::from(b)
                    })
                    .sum();
                let got = f64::from(c[i * g.ldc + j]);
                assert!(
                    (got - want).abs() <= 1e-6 * (k as f64 + 1.0),
                    "{g:?} {block:?} [{i}, {j}]: {got} != {want}"
                );
                let got = f64::from(added[i * g.ldc + j]) - 0.5;
                assert!(
                    (got - want).abs() <= 1e-6 * (k as f64 + 1.0),
                    "{g:?} [{i}, {j}] added: {got} != {want}"
                );
            }
            assert!(c[i * g.ldc + n..(i + 1) * g.ldc].iter().all(|x| x.is_nan()), "padding was written");
        }
    }

    #[test]
    fn products_of_every_form_size_and_block_equal_sums_in_f64() {
        for form in [Form::Nt, Form::Nn, Form::Tn] {
            for m in [1, 2, 3, 10, 17, 64] {
                for n in [1, 2, 5, 10, 16, 33, 100] {
                    for k in [0, 1, 2, 7, 8, 10, 31, 32, 70] {
                        for pad in [0, 3] {
                            check(form, [m, n, k], pad, [m, n]);
                            check(form, [m, n, k], pad, [m.div_ceil(2), n.div_ceil(3)]);
                        }
                    }
                }
            }
            check(form, [150, 600, 1100], 1, [150, 300]);
            check(form, [700, 40, 300], 0, [350, 40]);
        }
    }

    #[test]
    fn split_depends_on_the_shape() {
        let split = |m, n| Gemm { form: Form::Nt, m, n, k: 8, lda: 8, ldb: 8, ldc: n }.split();
        assert_eq!(split(1, 1000), Split::Cols(16));
        assert_eq!(split(128, 256), Split::Cols(16));
        assert_eq!(split(128, 10), Split::Rows(8));
        assert_eq!(split(10_000, 64), Split::Rows(8));
    }
}
