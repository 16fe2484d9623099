//! A step of a system in time, in any kind of numbers, and blocks of elements for which it is compiled.

use std::ops::{Deref, DerefMut};

use crate::expr::real::Real;

/// One step of a system in any kind of numbers.
pub trait System: Clone + Send + Sync + 'static {
    /// Number of operands.
    const OPERANDS: usize;
    /// Number of states.
    const STATES: usize;
    /// The output is delayed, and the one before is the last input.
    const DELAYED: bool = false;
    /// Number of inputs.
    const INPUTS: usize = Self::OPERANDS + Self::STATES + Self::DELAYED as usize;

    /// From the operands, then the states and perhaps the output before in `x` to the output and then the next states in
    /// `next`.
    ///
    /// Mark it `#[inline(always)]`: only then is the loop over it vectorised.
    fn step<T: Real>(&self, x: &[T], next: &mut [T]);

    /// [`System::step`] for a block of elements, for systems that know a faster way.
    #[inline(always)]
    fn block(&self, x: &Block, next: &mut Block) {
        each(self, x, next);
    }
}

/// [`System::step`] of each element of a block.
#[inline(always)]
pub(crate) fn each<S: System>(system: &S, x: &Block, next: &mut Block) {
    for i in 0..WIDE {
        let inputs: [f32; MOST] = std::array::from_fn(|k| x[k][i]);
        let mut results = [0.0_f32; MOST];
        system.step(&inputs[..S::INPUTS], &mut results[..1 + S::STATES]);
        for k in 0..1 + S::STATES {
            next[k][i] = results[k];
        }
    }
}

/// The most inputs or results of a system.
pub const MOST: usize = 8;
/// Elements at once: enough for several vectors to be on their way, few enough to stay in registers.
pub const WIDE: usize = 64;
/// Inputs or results of [`WIDE`] elements. Arrays of their own, so that the compiler knows that they do not overlap; on
/// the borders of cache lines, or each vector in them would lie across two, and LIF neurons would take half as long again.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Block([[f32; WIDE]; MOST]);

impl Block {
    /// All zero.
    pub(crate) const ZERO: Self = Self([[0.0; WIDE]; MOST]);
}

impl Deref for Block {
    type Target = [[f32; WIDE]; MOST];

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Block {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// A system, or the adjoint of one.
pub(crate) trait Wide: Clone + Send + Sync + 'static {
    /// Number of operands.
    const OPERANDS: usize;
    /// Number of states.
    const STATES: usize;
    /// See [`System::DELAYED`].
    const DELAYED: bool;
    /// A scan always has all of its operands.
    const WHOLE: bool;

    /// The step of each element of a block.
    fn step_all(&self, x: &Block, next: &mut Block);
}

impl<S: System> Wide for S {
    const OPERANDS: usize = S::OPERANDS;
    const STATES: usize = S::STATES;
    const DELAYED: bool = S::DELAYED;
    const WHOLE: bool = true;

    #[inline(always)]
    fn step_all(&self, x: &Block, next: &mut Block) {
        self.block(x, next);
    }
}

/// For each operand of a system, the index among the scan's operands; `None` reads as zero.
pub(crate) type Given = [Option<usize>; MOST];
