//! Dropout with a counter-based random generator.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use crate::engine::cpu::Io;
use crate::engine::shader::Source;
use crate::engine::{Access, Dispatch, Kernel, Part, Split, fold, turns};
use crate::error::Result;
use crate::graph::{Adjoint, Extent, Identity, Lower, Operator, Placed, Reference, Tensor, Type};

/// Sets a share `rate` of the elements to zero and divides the others by `1 - rate` (Srivastava et al. 2014).
///
/// Inputs: the values, and the words of the random state (`[1, 4]`, as bits: seed low and high, training step, and the time
/// step that the window starts with). The mask of a time step depends on its number in the run alone, so a run has the
/// same masks in whatever windows it is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Share of elements that are dropped, in `0 <= rate < 1`.
    pub rate: f32,
    /// Number of this dropout in its network: no two draw the same mask.
    pub stream: u32,
}

impl Hash for Dropout {
    fn hash<H: Hasher>(&self, to: &mut H) {
        let Self { rate, stream } = self;
        (rate.to_bits(), stream).hash(to);
    }
}

impl Dropout {
    /// Random words below it are dropped.
    fn threshold(&self) -> u32 {
        (f64::from(self.rate) * 4_294_967_296.0) as u32
    }

    fn scale(&self) -> f32 {
        1.0 / (1.0 - self.rate)
    }
}

impl Operator for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        if (0.0..1.0).contains(&self.rate) {
            Ok(inputs[0])
        } else {
            Err(format!("its rate is {}, but must be at least 0 and below 1", self.rate))
        }
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let dy = at.adjoint.expand(at.output.ty());
        Some(vec![Some(dy.scope.apply(*self, &[dy, at.inputs[1]])), None])
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let output = at.output.clone();
        let elements = at.rows(output.ty) * output.ty.cols;
        let timed = output.ty.extent == Extent::Sequence;
        let block = if timed { at.dims.batch * output.ty.cols } else { elements };
        let kernel = DropoutKernel { op: *self, input: at.inputs[0].clone(), output, elements, block, timed };
        Ok(vec![Dispatch::new(kernel, vec![at.output.binding, at.inputs[0].binding, at.inputs[1].binding])])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let word = |i: usize| (at.inputs[1][i] as f32).to_bits();
        let first = if at.ty.extent == Extent::Sequence { word(3) } else { 0 };
        let random = [word(0), word(1), word(2), first.wrapping_add(at.step as u32)];
        let dropped = |e: usize| mask_words(e, self.stream, random)[e % 4] < self.threshold();
        let value = |(e, x): (usize, &f64)| if dropped(e) { 0.0 } else { x * f64::from(self.scale()) };
        at.inputs[0].iter().enumerate().map(value).collect()
    }
}

/// One dispatch of `shaders/dropout.wgsl`.
#[derive(Clone, Debug)]
struct DropoutKernel {
    op: Dropout,
    input: Placed,
    output: Placed,
    elements: usize,
    /// Elements of one time step.
    block: usize,
    /// There is a mask for each time step.
    timed: bool,
}

impl Kernel for DropoutKernel {
    fn source(&self) -> Source {
        Source::new("dropout", "main", &[])
    }

    fn access(&self) -> Vec<Access> {
        vec![Access::Write, Access::Read, Access::Read]
    }

    fn params(&self) -> Vec<u32> {
        let sizes = [self.elements, self.output.ty.cols, self.output.start, self.input.start, self.block];
        let mut words = vec![0];
        words.extend(sizes.iter().map(|&n| n as u32));
        words.push(u32::from(self.timed));
        words.extend([self.op.stream, self.op.threshold(), self.op.scale().to_bits()]);
        words
    }

    fn grid(&self) -> [u32; 3] {
        fold((self.elements / self.block * self.block.div_ceil(4)).div_ceil(64))
    }

    fn turns(&self) -> usize {
        // Rounds of the generator, and the elements that one call of it gives.
        turns::of(10, 0) + turns::of(4, 0)
    }

    fn split(&self, row0: usize) -> Split {
        let start = self.output.start + row0 * self.output.ty.cols;
        Split { units: self.elements, grain: 1024, parts: vec![Part::rows(start, 1)] }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let begin = row0 * self.output.ty.cols;
        let (threshold, scale) = (self.op.threshold(), self.op.scale());
        let random = io.read(2);
        let random = [0, 1, 2, 3].map(|i| random[i].to_bits());
        let first = if self.timed { random[3] } else { 0 };
        let input = &io.read(1)[self.input.start + begin + units.start..];
        let mut words = [0; 4];
        for (i, to) in io.output(0, 0).0.iter_mut().enumerate() {
            let (t, e) = ((begin + units.start + i) / self.block, (begin + units.start + i) % self.block);
            if i == 0 || e.is_multiple_of(4) {
                let step = first.wrapping_add(t as u32);
                words = mask_words(e, self.op.stream, [random[0], random[1], random[2], step]);
            }
            *to = if words[e % 4] < threshold { 0.0 } else { scale * input[i] };
        }
    }
}

/// The words of four elements of a time step.
fn mask_words(element: usize, stream: u32, [seed0, seed1, training, time]: [u32; 4]) -> [u32; 4] {
    philox([(element / 4) as u32, stream, training, time], [seed0, seed1])
}

/// Philox 4x32-10 (Salmon, Moraes, Dror and Shaw 2011), the twin of `shaders/shared/philox.wgsl`.
pub fn philox(mut c: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const M: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
    for _ in 0..10 {
        let (a, b) = (M[0] * u64::from(c[0]), M[1] * u64::from(c[2]));
        c = [(b >> 32) as u32 ^ c[1] ^ key[0], b as u32, (a >> 32) as u32 ^ c[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

impl<'s> Tensor<'s> {
    /// Sets a random share `rate` of the elements to zero; `random` is the plan's random state.
    pub fn dropout(self, rate: f32, random: Tensor<'s>) -> Self {
        let stream = self.scope.next_dropout();
        self.scope.apply(Dropout { rate, stream }, &[self, random])
    }
}

#[cfg(test)]
mod tests {
    use super::philox;

    /// The known-answer vectors that come with the Random123 library.
    #[test]
    fn philox_gives_the_published_words() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([!0; 4], [!0; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }
}
