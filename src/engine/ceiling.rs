//! Peak arithmetic throughput of a device: multiplications and additions in registers. Benchmarks report their share of
//! it.

use std::ops::Range;

use crate::engine::cpu::Io;
use crate::engine::shader::Source;
use crate::engine::{Access, Binding, Dispatch, Kernel, Part, Split, turns};

/// Independent chains of operations in a unit of the CPU twin.
const CHAINS: usize = 16;
/// Independent chains of operations in an invocation of the shader.
const SHADER_CHAINS: usize = 8;
/// Invocations on an adapter, or units on the CPU.
const UNITS: usize = 1 << 14;

/// Kernel that multiplies and adds in registers, and writes one float per unit.
#[derive(Clone, Copy, Debug)]
struct Arithmetic {
    rounds: usize,
}

/// Dispatch of `rounds` rounds with an output of [`arithmetic_len`] floats, and its number of operations on an adapter
/// and on the CPU.
pub fn arithmetic(output: Binding, rounds: usize) -> (Dispatch, f64, f64) {
    let per = |floats: usize| 2.0 * (floats * UNITS * rounds) as f64;
    (
        Dispatch::new(Arithmetic { rounds }, vec![output]),
        per(4 * SHADER_CHAINS),
        per(pulp::Arch::new().dispatch(Lanes) * CHAINS),
    )
}

/// Number of floats that [`arithmetic`] writes.
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

/// Loop of the CPU twin over vector registers, with enough chains to hide the latency.
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

/// Number of floats in a vector register.
struct Lanes;

impl pulp::WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}
