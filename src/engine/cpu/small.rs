//! Products of few rows, or with narrow matrices: a matrix times a vector, an encoder of one dimension, a decoder.
//!
//! Nothing is packed. Each element is one chain of additions from the first term to the last, or 32 chains in a dot
//! product, so its bits do not depend on the division of the product.

use crate::engine::cpu::form::Form;

/// Columns that are summed in registers at once.
const WIDE: usize = 64;
/// Number of floats in the widest vector register.
const LANES: usize = 16;
/// Terms that are added between two stores of a sum.
const TERMS: usize = 8;

/// Computes a row of `C`: `to[j]` is the product of `a` with column `j` of `B`, or with row `j` in [`Form::Nt`]. With
/// `add`, adds it.
///
/// Sums have `k` terms. Elements of `a` are `step` apart, rows of `b` are `ldb` apart. `b` starts at column (row) 0.
#[inline(always)]
pub(super) fn row(
    form: Form,
    k: usize,
    (a, step): (&[f32], usize),
    (b, ldb): (&[f32], usize),
    to: &mut [f32],
    add: bool,
) {
    if k == 0 {
        if !add {
            to.fill(0.0);
        }
        return;
    }
    if form == Form::Nt && k != 1 {
        for (j, to) in to.iter_mut().enumerate() {
            let sum = dot(&a[..k], &b[j * ldb..j * ldb + k]);
            *to = if add { *to + sum } else { sum };
        }
        return;
    }
    // With rows of one element and without gaps, the transposed `B` is a row.
    if form == Form::Nt && ldb != 1 {
        for (j, to) in to.iter_mut().enumerate() {
            let product = a[0] * b[j * ldb];
            *to = if add { *to + product } else { product };
        }
        return;
    }
    let mut from = 0;
    while from + WIDE <= to.len() {
        columns::<WIDE>(k, (a, step), (&b[from..], ldb), &mut to[from..from + WIDE], add);
        from += WIDE;
    }
    if from + LANES < to.len() {
        return columns::<WIDE>(k, (a, step), (&b[from..], ldb), &mut to[from..], add);
    }
    if from < to.len() {
        columns::<LANES>(k, (a, step), (&b[from..], ldb), &mut to[from..], add);
    }
}

/// Computes the first `to.len()` of `N` columns.
#[inline(always)]
fn columns<const N: usize>(
    k: usize,
    (a, step): (&[f32], usize),
    (b, ldb): (&[f32], usize),
    to: &mut [f32],
    add: bool,
) {
    let mut sums = [0.0_f32; N];
    let mut p = 0;
    // Elements behind the last column are read where they exist, since whole vectors are faster. Their sums are
    // discarded.
    while p + TERMS <= k && b.len() >= (p + TERMS - 1) * ldb + N {
        let factors: [f32; TERMS] = std::array::from_fn(|q| a[(p + q) * step]);
        let rows: [&[f32; N]; TERMS] =
            std::array::from_fn(|q| b[(p + q) * ldb..].first_chunk().unwrap_or(&[0.0; N]));
        for l in 0..N {
            let mut sum = sums[l];
            for q in 0..TERMS {
                sum = factors[q].mul_add(rows[q][l], sum);
            }
            sums[l] = sum;
        }
        p += TERMS;
    }
    for p in p..k {
        let (factor, b) = (a[p * step], &b[p * ldb..][..to.len()]);
        for (sum, b) in sums.iter_mut().zip(b) {
            *sum = factor.mul_add(*b, *sum);
        }
    }
    if let (false, Some(to)) = (add, to.first_chunk_mut::<N>()) {
        *to = sums;
        return;
    }
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = if add { *to + sum } else { sum };
    }
}

/// Longest dot product in single precision.
const MAX_SINGLE: usize = 1024;

/// Dot product; parts of [`MAX_SINGLE`] terms in single precision, their sum in double precision.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    if a.len() <= MAX_SINGLE {
        return chains(a, b);
    }
    // A plain loop: closures of an iterator would be compiled for the baseline processor.
    let (mut sum, mut from) = (0.0, 0);
    while from < a.len() {
        let own = from..a.len().min(from + MAX_SINGLE);
        sum += f64::from(chains(&a[own.clone()], &b[own]));
        from += MAX_SINGLE;
    }
    sum as f32
}

/// Dot product in interleaved chains of additions.
#[inline(always)]
fn chains(a: &[f32], b: &[f32]) -> f32 {
    let (mut sums, mut rest) = ([[0.0_f32; LANES]; 2], 0.0_f32);
    let (pairs_a, tail_a) = a.as_chunks::<{ 2 * LANES }>();
    let (pairs_b, tail_b) = b.as_chunks::<{ 2 * LANES }>();
    for (a, b) in pairs_a.iter().zip(pairs_b) {
        for l in 0..LANES {
            sums[0][l] = a[l].mul_add(b[l], sums[0][l]);
            sums[1][l] = a[LANES + l].mul_add(b[LANES + l], sums[1][l]);
        }
    }
    let (one_a, tail_a) = tail_a.as_chunks::<LANES>();
    let (one_b, tail_b) = tail_b.as_chunks::<LANES>();
    for (a, b) in one_a.iter().zip(one_b) {
        for l in 0..LANES {
            sums[0][l] = a[l].mul_add(b[l], sums[0][l]);
        }
    }
    for (a, b) in tail_a.iter().zip(tail_b) {
        rest = a.mul_add(*b, rest);
    }
    let mut all = [0.0_f32; LANES];
    for l in 0..LANES {
        all[l] = sums[0][l] + sums[1][l];
    }
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            all[l] += all[l + half];
        }
        half /= 2;
    }
    all[0] + rest
}
