//! First-order lowpass filter over time, as a scan.

use std::ops::Range;
use std::sync::Arc;

use super::operands::Operands;
use crate::engine::cpu::{Io, math};
use crate::engine::shader::Source;
use crate::engine::{Access, Dispatch, Family, Kernel, Part, Split};
use crate::error::Result;
use crate::graph::{Adjoint, Extent, Lower, Memory, Operator, Placed, Reference, Tensor, Type};

/// `s <- a s + b x` at each step, starting at zero.
///
/// With `delays`, the output of a step is `s` before it (a synapse on a connection: it depends on inputs up to the
/// step before), else `s` after it. The adjoint is the same filter with time running the other way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lowpass {
    /// Decay per step, `exp(-dt / tau)`.
    pub a: f32,
    /// Gain of the input, `1 - a` for a filter that passes constants unchanged.
    pub b: f32,
    /// The output is the state before the step.
    pub delays: bool,
    /// Time runs from the last step to the first.
    pub backward: bool,
}

impl Lowpass {
    /// Zero-order hold of `1 / (tau s + 1)` at a time step of `dt` seconds, on a connection (delaying).
    pub fn synapse(tau: f64, dt: f64) -> Self {
        let a = if tau > 0.0 { (-dt / tau).exp() } else { 0.0 };
        Self { a: a as f32, b: (1.0 - a) as f32, delays: true, backward: false }
    }
}

impl Operator for Lowpass {
    fn name(&self) -> &'static str {
        "lowpass"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        Ok(Type::sequence(inputs[0].cols))
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let dy = at.adjoint.expand(at.output.ty());
        at.each(|i| {
            let reversed = Self { backward: !self.backward, ..*self };
            dy.scope.apply(reversed, &[dy]).reduce_to(at.inputs[i].ty())
        })
    }

    fn memory(&self) -> Memory {
        Memory::State { delays: self.delays, backward: self.backward }
    }

    fn reversed(&self) -> Option<Arc<dyn Operator>> {
        self.delays.then(|| Arc::new(Self { backward: !self.backward, ..*self }) as Arc<dyn Operator>)
    }

    fn rolls(&self) -> bool {
        true
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let input = at.inputs[0].clone();
        let width = at.dims.batch * at.output.ty.cols;
        let held = input.ty.extent != Extent::Sequence;
        let (output, steps) = (at.output.clone(), at.steps());
        let kernel = LowpassKernel {
            op: *self,
            input,
            output,
            width,
            tile: if at.in_loop { at.tile * at.output.ty.cols } else { width },
            steps,
            all_steps: at.dims.steps,
            held,
            family: at.target.family,
        };
        Ok(vec![Dispatch::new(kernel, vec![at.output.binding, at.inputs[0].binding])])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let step = |(i, s): (usize, &f64)| {
            f64::from(self.a) * s + f64::from(self.b) * at.at(0, i / at.ty.cols, i % at.ty.cols)
        };
        at.state.iter().enumerate().map(step).collect()
    }
}

/// One dispatch of `shaders/lowpass.wgsl`.
#[derive(Clone, Debug)]
struct LowpassKernel {
    op: Lowpass,
    input: Placed,
    output: Placed,
    /// Columns of a block, and of those that are walked through: all, or those of a tile.
    width: usize,
    tile: usize,
    steps: usize,
    all_steps: usize,
    held: bool,
    family: Family,
}

impl LowpassKernel {
    fn vec4(&self) -> bool {
        [self.width, self.input.start, self.output.start].iter().all(|n| n.is_multiple_of(4))
    }
}

impl Kernel for LowpassKernel {
    fn source(&self) -> Source {
        Source::new("lowpass", "main", &[("element", Operands::element(self.vec4(), self.family))])
    }

    fn access(&self) -> Vec<Access> {
        vec![Access::Write, Access::Read]
    }

    fn params(&self) -> Vec<u32> {
        let stride = if self.held { 0 } else { self.width };
        let cols = self.output.ty.cols;
        let sizes = [0, self.steps, self.width, cols, self.output.start, self.input.start, stride];
        let mut words: Vec<u32> = sizes.iter().map(|&n| n as u32).collect();
        words.extend([u32::from(self.op.backward), self.op.a.to_bits(), self.op.b.to_bits()]);
        words
    }

    fn grid(&self) -> [u32; 3] {
        let lanes = if self.vec4() { self.width / 4 } else { self.width };
        [lanes.div_ceil(64) as u32, 1, 1]
    }

    fn split(&self, row0: usize) -> Split {
        let start = self.output.start + row0 * self.output.ty.cols % self.width;
        let part = Part { start, outer: self.all_steps + 1, stride: self.width, inner: 1 };
        Split { units: self.tile, grain: 1024_usize.div_ceil(self.steps), parts: vec![part] }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let (t0, skipped) =
            (row0 * self.output.ty.cols / self.width, row0 * self.output.ty.cols % self.width);
        let Lowpass { a, b, backward, .. } = self.op;
        let now = if backward { t0 + self.steps } else { t0 };
        let mut state = std::mem::take(&mut io.work.totals);
        state.clear();
        state.extend_from_slice(io.output(0, now).0);
        for k in 0..self.steps {
            let t = t0 + if backward { self.steps - 1 - k } else { k };
            let at = self.input.start + skipped + units.start + if self.held { 0 } else { t * self.width };
            let x = &io.read(1)[at..at + units.len()];
            let to = io.output(0, if backward { t } else { t + 1 }).0;
            for ((s, x), to) in state.iter_mut().zip(x).zip(to) {
                *s = math::flush(a * *s + b * x);
                *to = *s;
            }
        }
        io.work.totals = state;
    }
}

impl Tensor<'_> {
    /// Filters each column over time; see [`Lowpass`].
    pub fn lowpass(self, filter: Lowpass) -> Self {
        // An input with fewer rows than the minibatch has no row for each example.
        let x =
            if self.ty().extent == Extent::Fixed { self.expand(Type::example(self.ty().cols)) } else { self };
        x.scope.apply(filter, &[x])
    }
}
