//! Some steps of a sequence, for probes that do not record each.

use std::ops::Range;

use crate::engine::cpu::Io;
use crate::engine::shader::Source;
use crate::engine::{Access, Dispatch, Kernel, Part, Split, fold, turns};
use crate::error::Result;
use crate::graph::{Adjoint, Dims, Extent, Identity, Lower, Operator, Placed, Reference, Tensor, Type};

/// The rows of every k-th step, one after the other as a fixed matrix: row `j * batch + b` is that of example `b` at the
/// sample `j`. Where the window holds one sample less than it may, the last rows are zero.
///
/// Inputs: the sequence, and the phase (`[1, 1]`): how many steps before the window the last sample was, below k.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct Sample {
    /// Steps from one sample to the next.
    pub every: usize,
    /// Size of the run.
    pub dims: Dims,
}

impl Operator for Sample {
    fn name(&self) -> &'static str {
        "sample"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        if inputs[0].extent != Extent::Sequence || inputs[1] != Type::fixed(1, 1) || self.every == 0 {
            return Err(format!("every {} steps of {}, phase {}", self.every, inputs[0], inputs[1]));
        }
        Ok(Type::fixed(self.dims.steps.div_ceil(self.every) * self.dims.batch, inputs[0].cols))
    }

    fn gradient<'s>(&self, _: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        None
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let kernel = SampleKernel { op: *self, input: at.inputs[0].clone(), output: at.output.clone() };
        Ok(vec![Dispatch::new(kernel, vec![at.output.binding, at.inputs[0].binding, at.inputs[1].binding])])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let step = self.dims.batch * at.ty.cols;
        let first = self.every - 1 - at.inputs[1][0] as usize;
        let from = |e: usize| (first + e / step * self.every) * step + e % step;
        (0..at.rows * at.ty.cols).map(|e| at.inputs[0].get(from(e)).copied().unwrap_or(0.0)).collect()
    }
}

/// One dispatch of `shaders/sample.wgsl`.
#[derive(Clone, Debug)]
struct SampleKernel {
    op: Sample,
    input: Placed,
    output: Placed,
}

impl SampleKernel {
    /// Elements of a step.
    fn step(&self) -> usize {
        self.op.dims.batch * self.output.ty.cols
    }

    fn samples(&self) -> usize {
        self.op.dims.steps.div_ceil(self.op.every)
    }
}

impl Kernel for SampleKernel {
    fn source(&self) -> Source {
        Source::new("sample", "main", &[])
    }

    fn access(&self) -> Vec<Access> {
        vec![Access::Write, Access::Read, Access::Read]
    }

    fn params(&self) -> Vec<u32> {
        let elements = self.samples() * self.step();
        let Sample { every, dims } = self.op;
        [0, elements, self.output.start, self.input.start, self.step(), dims.steps, every]
            .map(|n| n as u32)
            .to_vec()
    }

    fn grid(&self) -> [u32; 3] {
        fold((self.samples() * self.step()).div_ceil(512))
    }

    fn turns(&self) -> usize {
        turns::of(8, 0)
    }

    fn split(&self, _: usize) -> Split {
        let part = Part::rows(self.output.start, self.step());
        Split { units: self.samples(), grain: 4096_usize.div_ceil(self.step()), parts: vec![part] }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, _: usize) {
        let (input, phase) = (io.read(1), io.read(2)[0] as usize);
        let (to, _) = io.output(0, 0);
        for (sample, to) in units.zip(to.chunks_exact_mut(self.step())) {
            let step = self.op.every - 1 - phase + sample * self.op.every;
            match step < self.op.dims.steps {
                true => {
                    let at = self.input.start + step * self.step();
                    to.copy_from_slice(&input[at..at + self.step()]);
                }
                false => to.fill(0.0),
            }
        }
    }
}

impl Tensor<'_> {
    /// Every k-th step, see [`Sample`].
    pub fn sample(self, every: usize, phase: Self) -> Self {
        self.scope.apply(Sample { every, dims: self.scope.dims() }, &[self, phase])
    }
}
