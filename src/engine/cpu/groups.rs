//! Grouped matrix products in which one operand is a single column per group: encoders and decoders of one dimension.
//!
//! One loop computes all groups. A call of `gemm` per group would cost more than its arithmetic.

use crate::engine::cpu::small::dot;

/// Rows that are summed in single precision.
const ROWS: usize = 64;

/// Computes `to[g * width + j] = a[g] * b[g * width + j]`: each number of a row times its own row of weights.
#[inline(always)]
pub(crate) fn outer(width: usize, a: &[f32], b: &[f32], to: &mut [f32]) {
    for ((to, b), &a) in to.chunks_exact_mut(width).zip(b.chunks_exact(width)).zip(a) {
        for (to, b) in to.iter_mut().zip(b) {
            *to = a * b;
        }
    }
}

/// Computes `to[g]`, the sum over `j` of `a[g * width + j] * b[g * width + j]`.
#[inline(always)]
pub(crate) fn inner(width: usize, a: &[f32], b: &[f32], to: &mut [f32]) {
    for ((to, a), b) in to.iter_mut().zip(a.chunks_exact(width)).zip(b.chunks_exact(width)) {
        *to = dot(a, b);
    }
}

/// Computes `to[g * width + j]`, the sum over rows of `a[row, g] * b[row, g * width + j]`; with `add`, adds it.
///
/// Rows of `a` and `b` are `lda` and `ldb` elements apart. `part` is scratch memory.
#[inline(always)]
pub(crate) fn over_rows(
    (rows, width): (usize, usize),
    (a, lda): (&[f32], usize),
    (b, ldb): (&[f32], usize),
    to: &mut [f32],
    add: bool,
    part: &mut Vec<f32>,
) {
    let groups = to.len() / width;
    if !add {
        to.fill(0.0);
    }
    // The rounding errors of the compensated sum are stored behind the sums of a part.
    let long = rows > ROWS;
    part.clear();
    part.resize(if long { 2 } else { 1 } * to.len(), 0.0);
    let (part, lost) = part.split_at_mut(to.len());
    for first in (0..rows).step_by(ROWS) {
        part.fill(0.0);
        for row in first..rows.min(first + ROWS) {
            let (a, b) = (&a[row * lda..][..groups], &b[row * ldb..][..to.len()]);
            for ((sums, b), &a) in part.chunks_exact_mut(width).zip(b.chunks_exact(width)).zip(a) {
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = a.mul_add(*b, *sum);
                }
            }
        }
        if !long {
            to.iter_mut().zip(&*part).for_each(|(to, part)| *to += part);
            continue;
        }
        for ((to, part), lost) in to.iter_mut().zip(&*part).zip(&mut *lost) {
            let next = *to + part;
            *lost += part - (next - *to);
            *to = next;
        }
    }
    // An infinite sum has no rounding error to add.
    to.iter_mut().zip(&*lost).for_each(|(to, lost)| *to += if lost.is_finite() { *lost } else { 0.0 });
}
