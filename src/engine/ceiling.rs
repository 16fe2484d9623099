//! What a device can do at best: multiplications and additions in registers, and copies of memory. The benchmarks
//! measure themselves against it.

use std::ops::Range;

use crate::engine::cpu::Io;
use crate::engine::shader::Source;
use crate::engine::{Access, Binding, Dispatch, Kernel, Part, Split, turns};

/// Chains of dependent operations that run side by side in a lane.
const CHAINS: usize = 16;
/// The same in the shader.
const SHADER_CHAINS: usize = 8;
/// Invocations on an adapter, or units on the CPU.
const UNITS: usize = 1 << 14;
/// Multiplies and adds in registers; writes one float a unit.
#[derive(Clone, Copy, Debug)]
struct Arithmetic {
    rounds: usize,
}

/// A dispatch of `rounds` rounds on an output of [`arithmetic_len`] floats, and the operations that it makes on an
/// adapter and on the CPU.
pub fn arithmetic(output: Binding, rounds: usize) -> (Dispatch, f64, f64) {
    let per = |floats: usize| 2.0 * (floats * UNITS * rounds) as f64;
    (
        Dispatch::new(Arithmetic { rounds }, vec![output]),
        per(4 * SHADER_CHAINS),
        per(pulp::Arch::new().dispatch(Lanes) * CHAINS),
    )
}

/// Floats that [`arithmetic`] writes.
pub fn arithmetic_len() -> usize {
    UNITS
}

impl Kernel for Arithmetic {
    fn source(&self) -> Source {
        Source::new("ceiling", "main", &[])
    }

    fn access(&self) -> Vec<Access> {
        vec![Access::Write]
    }

    fn params(&self) -> Vec<u32> {
        vec![0, self.rounds as u32]
    }

    fn grid(&self) -> [u32; 3] {
        [(UNITS / 64) as u32, 1, 1]
    }

    fn turns(&self) -> usize {
        turns::of(self.rounds, 0)
    }

    fn split(&self, _: usize) -> Split {
        Split { units: UNITS, grain: 64, parts: vec![Part::rows(0, 1)] }
    }

    fn run(&self, io: &mut Io<'_>, _: Range<usize>, _: usize) {
        for to in io.output(0, 0).0 {
            *to = pulp::Arch::new().dispatch(Chains { rounds: self.rounds });
        }
    }
}

/// The twin's chains: registers of the widest kind, enough of them to hide the latency.
struct Chains {
    rounds: usize,
}

impl pulp::WithSimd for Chains {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> f32 {
        let (factor, small) = (simd.splat_f32s(0.999_999), simd.splat_f32s(1e-9));
        let mut chains = [simd.splat_f32s(1.0); CHAINS];
        for _ in 0..self.rounds {
            for chain in &mut chains {
                *chain = simd.mul_add_f32s(*chain, factor, small);
            }
        }
        chains.into_iter().map(|c| simd.reduce_sum_f32s(c)).sum()
    }
}

/// Floats of a register in [`Chains`].
struct Lanes;

impl pulp::WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}
