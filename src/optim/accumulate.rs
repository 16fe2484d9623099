//! Addition of one buffer to another, for the gradients of a run's windows.

use std::ops::Range;

use crate::engine::cpu::{Io, math};
use crate::engine::shader::{self, Source};
use crate::engine::{Access, Binding, Dispatch, Family, Kernel, Part, Split, fold};

/// Creates the dispatch of `sum += part`. Both bindings have the same length, a multiple of four.
pub fn accumulate(sum: Binding, part: Binding, family: Family) -> Dispatch {
    Dispatch::new(AccumulateKernel { len: sum.len, family }, vec![sum, part])
}

/// A dispatch of `shaders/accumulate.wgsl`.
#[derive(Clone, Debug)]
struct AccumulateKernel {
    len: usize,
    family: Family,
}

impl Kernel for AccumulateKernel {
    fn source(&self) -> Source {
        Source::new("accumulate", "main", &[("vector", shader::vector(self.family))])
    }

    fn access(&self) -> Vec<Access> {
        vec![Access::Write, Access::Read]
    }

    fn params(&self) -> Vec<u32> {
        vec![0, (self.len / 4) as u32]
    }

    fn grid(&self) -> [u32; 3] {
        fold((self.len / 4).div_ceil(64))
    }

    fn turns(&self) -> usize {
        0
    }

    fn split(&self, _: usize) -> Split {
        Split { units: self.len, grain: 4096, parts: vec![Part::rows(0, 1)] }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, _: usize) {
        let part = &io.read(1)[units];
        let sum = io.output(0, 0).0;
        math::vectorise(
            #[inline(always)]
            || sum.iter_mut().zip(part).for_each(|(s, x)| *s += x),
        );
    }
}
