//! Memory that a kernel's CPU twin reads, writes and works in.

use crate::engine::cpu::gemm::Gemm;
use crate::engine::cpu::memory::{Own, View};

/// Scratch memory of a thread, reused from kernel to kernel.
#[derive(Default)]
pub struct Work {
    /// Registers of an expression, a block of elements each.
    pub own: Vec<f32>,
    /// Terms of a sum.
    pub terms: Vec<f32>,
    /// Sums, or states.
    pub totals: Vec<f32>,
    /// Long sums, in double precision.
    pub longs: Vec<f64>,
}

/// Bindings and scratch memory of a CPU twin, for one thread's share of a dispatch.
pub struct Io<'a> {
    pub(super) views: Vec<View<'a>>,
    pub(super) outputs: Vec<Own<'a>>,
    /// Scratch memory of the thread.
    pub work: Work,
}

impl<'a> Io<'a> {
    /// Returns a binding that the dispatch only reads.
    pub fn read(&self, binding: usize) -> &'a [f32] {
        self.views[binding].read()
    }

    /// Returns this thread's units in repetition `outer` of the `n`-th written binding, and [`Work::own`].
    pub fn output(&mut self, n: usize, outer: usize) -> (&mut [f32], &mut Vec<f32>) {
        (self.outputs[n].block(outer), &mut self.work.own)
    }

    /// Returns this thread's units of the first four written bindings, whose parts have a single repetition.
    pub fn outputs4(&mut self) -> [&mut [f32]; 4] {
        let mut blocks = self.outputs.iter_mut().map(|o| o.block(0));
        std::array::from_fn(|_| blocks.next().unwrap_or_default())
    }

    /// Writes a matrix product into this thread's units of the `n`-th written binding, from element `at` on.
    pub fn gemm(&mut self, n: usize, at: usize, gemm: &Gemm, a: &[f32], b: &[f32]) {
        self.outputs[n].gemm(at, gemm, a, b);
    }
}
