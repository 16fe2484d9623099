//! Long sums: blocks of terms in single precision, sums of blocks in double precision.
//!
//! In single precision alone, the sum of a million equal terms has a relative error of 1e-3.

use crate::engine::cpu::math;

/// Terms of a block. With this many equal terms, the rounding error is below 1e-6 of the sum.
pub const BLOCK: usize = 32;

/// Sum in the order of the terms, in double precision.
#[inline(always)]
pub fn in_order(terms: impl Iterator<Item = f32>) -> f32 {
    terms.map(f64::from).sum::<f64>() as f32
}

/// Sums of the first and of the second numbers of pairs, in double precision, each in eight interleaved parts.
pub fn of_pairs(pairs: &[f32]) -> [f32; 2] {
    math::vectorise(
        #[inline(always)]
        || {
            let mut parts = [0.0_f64; 16];
            let chunks = pairs.chunks_exact(16);
            parts.iter_mut().zip(chunks.remainder()).for_each(|(part, x)| *part = f64::from(*x));
            for chunk in chunks {
                for i in 0..16 {
                    parts[i] += f64::from(chunk[i]);
                }
            }
            [0, 1].map(|first| parts.iter().skip(first).step_by(2).sum::<f64>() as f32)
        },
    )
}

/// Adds a row of terms to the sums of the current block.
pub fn add_to(totals: &mut [f32], terms: &[f32]) {
    math::vectorise(
        #[inline(always)]
        || totals.iter_mut().zip(terms).for_each(|(t, x)| *t += x),
    );
}

/// Adds the sums of a block to `longs`, and resets the block to zeros.
pub fn settle(block: &mut [f32], longs: &mut Vec<f64>) {
    longs.resize(block.len(), 0.0);
    math::vectorise(
        #[inline(always)]
        || longs.iter_mut().zip(&*block).for_each(|(long, x)| *long += f64::from(*x)),
    );
    block.fill(0.0);
}

/// Sum in blocks of 16 interleaved parts: vectorised, in an order that does not depend on the processor.
pub fn sum(x: &[f32]) -> f64 {
    let block = |x: &[f32]| {
        let mut parts = [0.0_f32; 16];
        let chunks = x.chunks_exact(16);
        let rest = chunks.remainder();
        for chunk in chunks {
            parts.iter_mut().zip(chunk).for_each(|(p, x)| *p += x);
        }
        parts.iter_mut().zip(rest).for_each(|(p, x)| *p += x);
        f64::from(parts.iter().sum::<f32>())
    };
    x.chunks(16 * BLOCK).map(block).sum()
}
