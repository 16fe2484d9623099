//! Matrix products `C = A·Bᵀ`, `A·B` and `Aᵀ·B` on row-major `f32`, computed block by block so that the threads of a
//! [`Pool`](crate::engine::cpu::pool::Pool) can share one: each takes rows or columns of `C`, as [`Gemm::split`] says.
//!
//! The crate `gemm` does the work, one thread at a time (feature `x86-v4`: AVX-512, found at run time), but for products
//! of few rows or narrow matrices (`small`).

use std::ops::Range;

use crate::engine::cpu::form::Form;
use crate::engine::cpu::{math, small};

/// Up to so many rows or columns, `A·Bᵀ` is faster in small tiles, which `gemm` computes by dot products, than by
/// packing a transposed `B`: 1.3 times at 32 rows, 2 at 16, 6 at 2.
const FEW: usize = 32;
/// The largest tile of `C`, in elements, for which `gemm` does so.
const TILE: usize = 256;
/// The shorter side of such a tile is at most this.
const SIDE: usize = 16;

/// Up to so many rows, a product reads `B` once a row.
const FEWEST: usize = 2;

/// Longer sums are made in parts of [`PART`] terms, which are added up in double precision: in single precision alone, a
/// million equal terms lose a thousandth.
const LONG: usize = 16_384;
const PART: usize = 64;
/// Rows and columns of `C` whose long sums are made together.
const LONG_ROWS: usize = 64;
const LONG_COLS: usize = 256;

/// How threads divide a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// By rows of `C`, in multiples of this grain.
    Rows(usize),
    /// By columns of `C`, in multiples of this grain.
    Cols(usize),
}

/// A product of row-major matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gemm {
    /// Which operand is transposed.
    pub form: Form,
    /// Rows of `C`.
    pub m: usize,
    /// Columns of `C`.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// Elements from one row of `A` to the next, as stored.
    pub lda: usize,
    /// Elements from one row of `B` to the next, as stored.
    pub ldb: usize,
    /// Elements from one row of `C` to the next.
    pub ldc: usize,
}

impl Gemm {
    /// How threads should divide this product: by columns of `C` (each thread then packs only its part of `B`)
    /// unless `C` is tall or narrow.
    pub fn split(&self) -> Split {
        if self.m < 16 || (self.n >= 32 && 4 * self.n >= self.m) { Split::Cols(16) } else { Split::Rows(8) }
    }

    /// Whether `rows` rows are faster one by one, each beside the whole of `B`, than packed.
    fn is_small(&self, rows: usize) -> bool {
        let outer = self.k <= 2 && self.n <= 512;
        match self.form {
            Form::Nn => rows <= FEWEST || outer,
            // Long sums of many rows of `B` are faster in the library, also for one row of `A`.
            Form::Nt => (self.n <= 2 && self.k <= 256) || (self.k == 1 && outer),
            Form::Tn => self.k <= 2,
        }
    }

    /// Computes `C`, or adds the product to it; elements between its rows stay as they are.
    ///
    /// # Panics
    ///
    /// If a matrix is too short.
    pub fn multiply(&self, a: &[f32], b: &[f32], c: &mut [f32], add: bool) {
        let Self { m, n, ldc, .. } = *self;
        assert!(m == 0 || (n <= ldc && (m - 1) * ldc + n <= c.len()), "C is too short");
        // SAFETY: C holds all rows, as just checked, and is borrowed for us alone.
        unsafe { self.block(a, b, c.as_mut_ptr(), 0..m, 0..n, add) }
    }

    /// Computes the block `rows × cols` of `C`, overwriting it; other elements are neither read nor written.
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
        // SAFETY: the caller's promise.
        unsafe { self.block(a, b, c, rows, cols, false) }
    }

    /// [`Gemm::part`], or the block plus the product.
    ///
    /// # Safety
    ///
    /// As for [`Gemm::part`]; besides, if the product is added, the block must be valid for reads.
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
        if k > LONG {
            for i in rows.clone().step_by(LONG_ROWS) {
                for j in cols.clone().step_by(LONG_COLS) {
                    let tile = (i..rows.end.min(i + LONG_ROWS), j..cols.end.min(j + LONG_COLS));
                    // SAFETY: the tile is inside the block, which is ours.
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
                        // SAFETY: these elements of C are valid, and ours alone; where the product is not added, they were
                        // written before, by whoever made the slice or buffer that `c` points into.
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
        let (high, wide) = if form != Form::Nt || narrow > FEW {
            (rows.len(), cols.len())
        } else if rows.len() == narrow {
            (narrow.min(SIDE), TILE / narrow.min(SIDE))
        } else {
            (TILE / narrow.min(SIDE), narrow.min(SIDE))
        };
        for j in cols.clone().step_by(wide) {
            for i in rows.clone().step_by(high) {
                // SAFETY: the tile is inside the block, which is inside C and ours; A and B were checked above.
                unsafe { self.tile(a, b, c, i..rows.end.min(i + high), j..cols.end.min(j + wide), add) };
            }
        }
    }

    /// Computes a tile of `C` part by part.
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
            // SAFETY: these elements of C are valid, and ours alone; where the product is not added, they were written before.
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
    /// As for [`Gemm::block`]; besides, `a` and `b` must be long enough and the tile inside `C`.
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
        // SAFETY: by the contract A and B hold everything that is read (nothing where k is 0), the tile of C is valid
        // for writes, and strides inside slices fit isize.
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

    /// Computes a product in blocks of the given size and compares every element with a sum in f64.
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
    fn every_form_size_and_block() {
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
    fn splits_follow_the_shape() {
        let split = |m, n| Gemm { form: Form::Nt, m, n, k: 8, lda: 8, ldb: 8, ldc: n }.split();
        assert_eq!(split(1, 1000), Split::Cols(16));
        assert_eq!(split(128, 256), Split::Cols(16));
        assert_eq!(split(128, 10), Split::Rows(8));
        assert_eq!(split(10_000, 64), Split::Rows(8));
    }
}
