//! Steps as machine code for the CPU twin: the same definition as everywhere, compiled for `f32`.
//!
//! Run instruction by instruction (see [`super::expr`]), a step writes each intermediate result to memory. Compiled as a
//! whole it keeps them in registers, which makes neurons several times as fast.

use std::fmt;
use std::sync::Arc;

use super::expr::{BLOCK, Lane};
use super::real::Real;
use crate::engine::cpu::math;

/// One step of a system in any kind of numbers.
pub trait System: Clone + Send + Sync + 'static {
    /// Number of operands.
    const OPERANDS: usize;
    /// Number of states.
    const STATES: usize;

    /// From the operands and then the states in `x` to the output and then the next states in `next`.
    ///
    /// Mark it `#[inline(always)]`: only then is the loop over it vectorised.
    fn step<T: Real>(&self, x: &[T], next: &mut [T]);
}

/// A system compiled for `f32`.
#[derive(Clone)]
pub struct Compiled(Arc<dyn Run>);

trait Run: Send + Sync {
    /// Steps `n` elements; `lanes` has one for each input, and result `k` goes to `to[k * BLOCK..]`.
    fn run(&self, n: usize, lanes: &[Lane<'_>], to: &mut [f32]);
}

/// The most inputs or results of a system.
const MOST: usize = 8;
/// Elements at once: their inputs and results are arrays of their own, so the compiler knows that they do not overlap.
const WIDE: usize = 64;

impl Compiled {
    pub(super) fn new<S: System>(system: S) -> Self {
        const { assert!(S::OPERANDS + S::STATES <= MOST && S::STATES < MOST) };
        Self(Arc::new(Native(system)))
    }

    /// Steps `n` elements, at most [`BLOCK`]; result `k` goes to `to[k * BLOCK..]`.
    pub fn run<'a>(&self, n: usize, lane: impl Fn(usize) -> Lane<'a>, to: &mut [f32]) {
        self.0.run(n, &std::array::from_fn::<_, MOST, _>(lane), to);
    }
}

/// It follows from the instructions beside it.
impl PartialEq for Compiled {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compiled")
    }
}

struct Native<S>(S);

impl<S: System> Run for Native<S> {
    fn run(&self, n: usize, lanes: &[Lane<'_>], to: &mut [f32]) {
        math::vectorise(
            #[inline(always)]
            || self.blocks(n, lanes, to),
        );
    }
}

impl<S: System> Native<S> {
    #[inline(always)]
    fn blocks(&self, n: usize, lanes: &[Lane<'_>], to: &mut [f32]) {
        let mut x = [[0.0_f32; WIDE]; MOST];
        let mut next = [[0.0_f32; WIDE]; MOST];
        let mut from = 0;
        while from < n {
            let own = WIDE.min(n - from);
            for (x, lane) in x.iter_mut().zip(lanes).take(S::OPERANDS + S::STATES) {
                match lane {
                    // Of a length that the compiler knows, a copy is a few instructions.
                    Lane::Slice(s) if own == WIDE => x.copy_from_slice(&s[from..from + WIDE]),
                    Lane::Slice(s) => x[..own].copy_from_slice(&s[from..from + own]),
                    Lane::Splat(c) => x.fill(*c),
                }
            }
            // Always all of them: with another number, the last ones would not be in vectors.
            for i in 0..WIDE {
                let inputs: [f32; MOST] = std::array::from_fn(|k| x[k][i]);
                let mut results = [0.0_f32; MOST];
                self.0.step(&inputs[..S::OPERANDS + S::STATES], &mut results[..1 + S::STATES]);
                for k in 0..1 + S::STATES {
                    next[k][i] = results[k];
                }
            }
            for (k, next) in next.iter().enumerate().take(1 + S::STATES) {
                let to = &mut to[k * BLOCK + from..];
                if own == WIDE {
                    to[..WIDE].copy_from_slice(next);
                } else {
                    to[..own].copy_from_slice(&next[..own]);
                }
            }
            from += own;
        }
    }
}
