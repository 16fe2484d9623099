//! Steps as machine code for the CPU twin: the same definition as everywhere, compiled for `f32`.
//!
//! Run instruction by instruction (see [`super::expr`]), a step writes each intermediate result to memory. Compiled as a
//! whole it keeps them in registers, which makes neurons several times as fast.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::real::Real;
use super::scan::ScanKernel;
use crate::engine::cpu::{Io, math};

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
pub(super) fn each<S: System>(system: &S, x: &Block, next: &mut Block) {
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
/// Inputs or results of [`WIDE`] elements. Arrays of their own, so that the compiler knows that they do not overlap.
pub type Block = [[f32; WIDE]; MOST];

/// A system compiled for `f32`.
#[derive(Clone)]
pub struct Compiled(Arc<dyn Run>);

trait Run: Send + Sync {
    /// Walks a scan's columns `units` through time.
    fn walk(&self, scan: &ScanKernel, io: &mut Io<'_>, units: Range<usize>, row0: usize);
}

impl Compiled {
    pub(super) fn new<S: System>(system: S) -> Self {
        const { assert!(S::INPUTS <= MOST && S::STATES < MOST) };
        Self(Arc::new(Native(system)))
    }

    /// Walks a scan's columns `units` through time.
    pub(super) fn walk(&self, scan: &ScanKernel, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        self.0.walk(scan, io, units, row0);
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
    fn walk(&self, scan: &ScanKernel, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        math::vectorise(
            #[inline(always)]
            || scan.walk_compiled(&self.0, io, units.clone(), row0),
        );
    }
}
