//! Steps as machine code for the CPU twin: the same definition as everywhere, compiled for `f32`.
//!
//! Run instruction by instruction (see [`super::expr`]), a step writes each intermediate result to memory. Compiled as a
//! whole it keeps them in registers, which makes neurons several times as fast.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use super::dual::{self, AdjointOf};
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
/// Inputs or results of [`WIDE`] elements. Arrays of their own, so that the compiler knows that they do not overlap; on
/// the borders of cache lines, or each vector in them would lie across two, and LIF neurons would take half as long again.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Block([[f32; WIDE]; MOST]);

impl Block {
    /// All zero.
    pub(super) const ZERO: Self = Self([[0.0; WIDE]; MOST]);
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

/// What is compiled: a system, or the adjoint of one.
pub(super) trait Wide: Clone + Send + Sync + 'static {
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

impl<S: System> Wide for AdjointOf<S> {
    const OPERANDS: usize = S::OPERANDS + S::STATES + 1;
    const STATES: usize = S::STATES;
    const DELAYED: bool = false;
    const WHOLE: bool = false;

    #[inline(always)]
    fn step_all(&self, x: &Block, next: &mut Block) {
        for i in 0..WIDE {
            let mut results = [0.0; MOST];
            dual::adjoint(&self.0, &std::array::from_fn(|k| x[k][i]), &mut results);
            for k in 0..1 + S::STATES {
                next[k][i] = results[k];
            }
        }
    }
}

/// Which of a scan's operands each of a system's is; those that it lacks are zero.
pub(super) type Given = [Option<usize>; MOST];

/// All of the first `operands`, in order.
fn all(operands: usize) -> Given {
    std::array::from_fn(|k| (k < operands).then_some(k))
}

/// A system compiled for `f32`.
#[derive(Clone)]
pub struct Compiled {
    run: Arc<dyn Run>,
    operands: Given,
}

trait Run: Send + Sync {
    /// Walks a scan's columns `units` through time.
    fn walk(&self, scan: &ScanKernel, operands: &Given, io: &mut Io<'_>, units: Range<usize>, row0: usize);
    /// The adjoint step for one of the operands, where it is compiled.
    fn adjoint(&self, wrt: usize) -> Option<Compiled>;
}

impl Compiled {
    pub(super) fn new<S: System>(system: S) -> Self {
        const { assert!(S::INPUTS <= MOST && S::STATES < MOST) };
        Self { run: Arc::new(Native(system)), operands: all(S::OPERANDS) }
    }

    /// See [`Step::adjoint`](super::step::Step::adjoint).
    pub(super) fn adjoint(&self, wrt: usize) -> Option<Self> {
        self.run.adjoint(wrt)
    }

    /// The same for a scan that has only these of its operands.
    pub(super) fn with_operands(&self, used: &[usize]) -> Self {
        let place = |operand: usize| used.iter().position(|&i| i == operand);
        Self { operands: std::array::from_fn(|k| self.operands[k].and_then(place)), ..self.clone() }
    }

    /// Walks a scan's columns `units` through time.
    pub(super) fn walk(&self, scan: &ScanKernel, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        self.run.walk(scan, &self.operands, io, units, row0);
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
    fn walk(&self, scan: &ScanKernel, operands: &Given, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        walk(&self.0, scan, operands, io, units, row0);
    }

    fn adjoint(&self, wrt: usize) -> Option<Compiled> {
        if wrt > 0 || !AdjointOf::<S>::FITS {
            return None;
        }
        let run = Arc::new(NativeAdjoint(AdjointOf(self.0.clone())));
        Some(Compiled { run, operands: all(<AdjointOf<S> as Wide>::OPERANDS) })
    }
}

struct NativeAdjoint<S>(AdjointOf<S>);

impl<S: System> Run for NativeAdjoint<S> {
    fn walk(&self, scan: &ScanKernel, operands: &Given, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        walk(&self.0, scan, operands, io, units, row0);
    }

    fn adjoint(&self, _: usize) -> Option<Compiled> {
        None
    }
}

fn walk(
    step: &impl Wide,
    scan: &ScanKernel,
    operands: &Given,
    io: &mut Io<'_>,
    units: Range<usize>,
    row0: usize,
) {
    math::vectorise(
        #[inline(always)]
        || scan.walk_compiled(step, operands, io, units.clone(), row0),
    );
}
