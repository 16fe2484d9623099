//! Steps as machine code for the CPU twin: the same definition as everywhere, compiled for `f32`.
//!
//! Run instruction by instruction (see `expr`), a step writes each intermediate result to memory. Compiled as a
//! whole it keeps them in registers, which makes neurons several times as fast.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::engine::cpu::{Io, math};
use crate::expr::dual::AdjointOf;
use crate::expr::scan_cpu::ScanLoop;
use crate::expr::system::{Given, MOST, System, Wide};

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
    fn walk(&self, scan: &ScanLoop<'_>, operands: &Given, io: &mut Io<'_>, units: Range<usize>, row0: usize);
    /// The adjoint step for one of the operands, where it is compiled.
    fn adjoint(&self, wrt: usize) -> Option<Compiled>;
}

impl Compiled {
    pub(super) fn new<S: System>(system: S) -> Self {
        const { assert!(S::INPUTS <= MOST && S::STATES < MOST) };
        Self { run: Arc::new(Native(system)), operands: all(S::OPERANDS) }
    }

    /// See [`Step::adjoint`](crate::expr::step::Step::adjoint).
    pub(super) fn adjoint(&self, wrt: usize) -> Option<Self> {
        self.run.adjoint(wrt)
    }

    /// The same for a scan that has only these of its operands.
    pub(super) fn with_operands(&self, used: &[usize]) -> Self {
        let place = |operand: usize| used.iter().position(|&i| i == operand);
        Self { operands: std::array::from_fn(|k| self.operands[k].and_then(place)), ..self.clone() }
    }

    /// Walks a scan's columns `units` through time.
    pub(crate) fn walk(&self, scan: &ScanLoop<'_>, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
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
    fn walk(&self, scan: &ScanLoop<'_>, operands: &Given, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
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
    fn walk(&self, scan: &ScanLoop<'_>, operands: &Given, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        walk(&self.0, scan, operands, io, units, row0);
    }

    fn adjoint(&self, _: usize) -> Option<Compiled> {
        None
    }
}

fn walk(
    step: &impl Wide,
    scan: &ScanLoop<'_>,
    operands: &Given,
    io: &mut Io<'_>,
    units: Range<usize>,
    row0: usize,
) {
    math::vectorise(
        #[inline(always)]
        || scan.run_compiled(step, operands, io, units.clone(), row0),
    );
}
