//! Random numbers at each step, from a counter-based generator.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use crate::engine::cpu::{Io, math};
use crate::engine::shader::Source;
use crate::engine::{Access, Dispatch, Kernel, Part, Split, fold, turns};
use crate::error::Result;
use crate::graph::{Adjoint, Identity, Lower, Operator, Placed, Reference, Tensor, Type};
use crate::op::dropout::philox;

/// `offset + factor * draw`, with a standard normal number or a uniform one in `0 <= draw < 1` for each element.
///
/// Input: the clock (`[1, 5]`, as bits: two words of a key, two of the first step since the last reset, the first
/// example). An element's number depends on these, its step, example and column alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Columns.
    pub cols: usize,
    /// Normal, else uniform.
    pub normal: bool,
    /// Summand.
    pub offset: f32,
    /// Factor.
    pub factor: f32,
}

impl Hash for Noise {
    fn hash<H: Hasher>(&self, to: &mut H) {
        let Self { cols, normal, offset, factor } = self;
        (cols, normal, offset.to_bits(), factor.to_bits()).hash(to);
    }
}

/// Words of the clock.
pub const CLOCK: usize = 5;

impl Operator for Noise {
    fn name(&self) -> &'static str {
        "noise"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        if inputs[0] == Type::fixed(1, CLOCK) {
            Ok(Type::sequence(self.cols))
        } else {
            Err(format!("its clock is {}, but must be [1, {CLOCK}]", inputs[0]))
        }
    }

    fn gradient<'s>(&self, _: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        Some(vec![None])
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let width = at.dims.batch * self.cols;
        let kernel = NoiseKernel { op: *self, output: at.output.clone(), width, steps: at.steps() };
        Ok(vec![Dispatch::new(kernel, vec![at.output.binding, at.inputs[0].binding])])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let clock = [0, 1, 2, 3, 4].map(|i| (at.inputs[0][i] as f32).to_bits());
        let mut values = vec![0.0; at.rows * self.cols];
        self.fill(&mut values, 0, at.step, clock);
        values.into_iter().map(f64::from).collect()
    }
}

impl Noise {
    /// The elements from `first` on of a step of the window.
    fn fill(&self, to: &mut [f32], first: usize, step: usize, clock: [u32; CLOCK]) {
        let [key0, key1, low, high, example] = clock;
        let time = (u64::from(high) << 32 | u64::from(low)).wrapping_add(step as u64);
        let begin = u64::from(example) * self.cols as u64 + first as u64;
        let mut drawn = [0.0; 4];
        for (e, to) in (begin..).zip(to) {
            if e == begin || e.is_multiple_of(4) {
                let four = e / 4;
                let counter = [four as u32, (four >> 32) as u32, time as u32, (time >> 32) as u32];
                drawn = self.draw(philox(counter, [key0, key1]));
            }
            *to = self.offset + self.factor * drawn[(e % 4) as usize];
        }
    }

    fn draw(&self, words: [u32; 4]) -> [f32; 4] {
        if self.normal {
            let ([a, b], [c, d]) = (normal_pair(words[0], words[1]), normal_pair(words[2], words[3]));
            [a, b, c, d]
        } else {
            words.map(|w| (w >> 8) as f32 * 5.960_464_5e-8)
        }
    }
}

/// Two normal numbers from two words (Box and Muller 1958), the twin of the function in `shaders/noise.wgsl`.
///
/// The radius has 24 bits, so no number is further from zero than 5.77.
fn normal_pair(a: u32, b: u32) -> [f32; 2] {
    let radius = (-2.0 * math::ln(((a >> 8) + 1) as f32 * 5.960_464_5e-8).min(0.0)).sqrt();
    let x = (((b >> 8) & 0x3f_ffff) as f32 * 2.384_185_8e-7 - 0.5) * std::f32::consts::FRAC_PI_2;
    let z = x * x;
    let c = 1.0 + z * (-0.5 + z * (0.041_666_668 + z * (-0.001_388_888_9 + z * 2.480_158_8e-5)));
    let s = x + x * z * (-0.166_666_67 + z * (0.008_333_333 + z * (-1.984_127e-4 + z * 2.755_731_9e-6)));
    let (c, s) = (radius * c, radius * s);
    match b >> 30 {
        0 => [c, s],
        1 => [-s, c],
        2 => [-c, -s],
        _ => [s, -c],
    }
}

/// One dispatch of `shaders/noise.wgsl`.
#[derive(Clone, Debug)]
struct NoiseKernel {
    op: Noise,
    output: Placed,
    width: usize,
    steps: usize,
}

impl Kernel for NoiseKernel {
    fn source(&self) -> Source {
        Source::new("noise", "main", &[])
    }

    fn access(&self) -> Vec<Access> {
        vec![Access::Write, Access::Read]
    }

    fn params(&self) -> Vec<u32> {
        let sizes = [0, self.steps, self.width, self.op.cols, self.output.start];
        let mut words: Vec<u32> = sizes.iter().map(|&n| n as u32).collect();
        words.extend([u32::from(self.op.normal), self.op.offset.to_bits(), self.op.factor.to_bits()]);
        words
    }

    fn grid(&self) -> [u32; 3] {
        fold(((self.width / 4 + 2) * self.steps).div_ceil(64))
    }

    fn turns(&self) -> usize {
        // Rounds of the generator, and the elements that one call of it gives.
        turns::of(10, 0) + turns::of(4, 0)
    }

    fn split(&self, row0: usize) -> Split {
        let start = self.output.start + row0 * self.op.cols;
        let part = Part { start, outer: self.steps, stride: self.width, inner: 1 };
        Split {
            units: self.width,
            grain: 256_usize.div_ceil(self.steps).next_multiple_of(4),
            parts: vec![part],
        }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let clock = io.read(1);
        let clock = [0, 1, 2, 3, 4].map(|i| clock[i].to_bits());
        let first = row0 * self.op.cols / self.width;
        for t in 0..self.steps {
            self.op.fill(io.output(0, t).0, units.start, first + t, clock);
        }
    }
}
