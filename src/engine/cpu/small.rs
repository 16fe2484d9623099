//! Products of few rows, or with narrow matrices: a matrix times a vector, an encoder of one dimension, a decoder.
//!
//! Nothing is packed and every element is one chain of sums from the first term to the last (16 chains for a row times a
//! row), so that it is the same however a product is divided.

use crate::engine::cpu::form::Form;

/// Columns that are summed in registers together.
const WIDE: usize = 64;
/// Floats of the widest vector.
const LANES: usize = 16;
/// Terms that are added between two stores of a sum.
const TERMS: usize = 8;

/// One row of `C`: `to[j]`, or what is added to it, is the product of `a` (elements `step` apart) with column `j` of `B`,
/// or with row `j` in [`Form::Nt`]. `b` starts at the first of these; its rows are `ldb` apart, and the sums `k` long.
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
    // A column of rows of one element each is a row.
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

/// `N` columns, of which the first `to.len()` count.
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
    // What stands behind the last column is read where it exists, since whole vectors are faster; nobody uses it.
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

/// Terms of a product of rows that are summed in single precision.
const SINGLE: usize = 1024;

#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    if a.len() <= SINGLE {
        return chains(a, b);
    }
    // A loop, as what an iterator calls would not be compiled for this processor.
    let (mut sum, mut from) = (0.0, 0);
    while from < a.len() {
        let own = from..a.len().min(from + SINGLE);
        sum += f64::from(chains(&a[own.clone()], &b[own]));
        from += SINGLE;
    }
    sum as f32
}

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
