//! Products in groups of which one side is a single column: ensembles of one dimension, encoded and decoded.
//!
//! Group by group they would be as many calls as there are groups, each with next to nothing to do.

use crate::engine::cpu::small::dot;

/// Sums over rows are made of parts of so many rows.
const ROWS: usize = 64;

/// `to[g * width + j] = a[g] * b[g * width + j]`: one row of numbers, each times a row of weights of its own.
#[inline(always)]
pub(crate) fn outer(width: usize, a: &[f32], b: &[f32], to: &mut [f32]) {
    for ((to, b), &a) in to.chunks_exact_mut(width).zip(b.chunks_exact(width)).zip(a) {
        for (to, b) in to.iter_mut().zip(b) {
            *to = a * b;
        }
    }
}

/// `to[g]` is the sum over j of `a[g * width + j] * b[g * width + j]`.
#[inline(always)]
pub(crate) fn inner(width: usize, a: &[f32], b: &[f32], to: &mut [f32]) {
    for ((to, a), b) in to.iter_mut().zip(a.chunks_exact(width)).zip(b.chunks_exact(width)) {
        *to = dot(a, b);
    }
}

/// `to[g * width + j]` is the sum over rows of `a[row, g] * b[row, g * width + j]`, or that is added to it; each side's rows
/// lie so far apart.
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
    // What rounding takes from the sum of the parts stands behind the part.
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
    // Of an infinite sum nothing is lost.
    to.iter_mut().zip(&*lost).for_each(|(to, lost)| *to += if lost.is_finite() { *lost } else { 0.0 });
}
