//! Sums of absolute values and of squares of each parameter, or of its gradient with penalties.

use std::ops::Range;

use crate::engine::cpu::{Io, math, sums};
use crate::engine::shader::{self, Source};
use crate::engine::{Access, Binding, Dispatch, Family, Kernel, Part, Split, fold, turns};
use crate::optim::update::{LINE, Segments};

/// Bindings of the sums' operands and results.
#[derive(Clone, Copy, Debug)]
pub struct NormBindings {
    /// Parameters.
    pub parameters: Binding,
    /// Gradients of the loss, without penalties.
    pub gradients: Binding,
    /// Table of segments, [`Segments::table`].
    pub table: Binding,
    /// Partial sums: a pair for each line.
    pub partials: Binding,
    /// Sums of the parameters, a pair for each segment and one for all; then the same of the gradients.
    pub sums: Binding,
}

/// Operand of the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Parameters.
    Parameters,
    /// Gradients with penalties. Those of frozen segments count as zero.
    Gradients,
}

/// Creates the two dispatches that sum each segment, and all of them.
pub fn norms(segments: &Segments, of: Of, family: Family, b: NormBindings) -> [Dispatch; 2] {
    let to = if of == Of::Parameters { 0 } else { segments.list.len() + 1 };
    let kernel = |pass| NormKernel { segments: segments.clone(), pass, to, family };
    let (lines, list) = segments.table_parts(b.table);
    let pairs = Binding { len: (2 * segments.lines()).next_multiple_of(4), ..b.partials };
    // The first pass of the gradients reads the first half of the sums, the second pass writes the other half.
    let first = kernel(if of == Of::Parameters { Pass::Parameters } else { Pass::Gradients });
    [
        Dispatch::new(first, vec![pairs, list, b.parameters, b.gradients, lines, b.sums]),
        Dispatch::new(kernel(Pass::Total), vec![b.sums, list, pairs]),
    ]
}

/// Pass of the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Partial sums of the parameters' lines.
    Parameters,
    /// Partial sums of the gradients' lines.
    Gradients,
    /// Sums of segments, from the partial sums.
    Total,
}

/// A dispatch of `shaders/norm.wgsl`.
#[derive(Clone, Debug)]
struct NormKernel {
    segments: Segments,
    pass: Pass,
    /// First pair that is written.
    to: usize,
    family: Family,
}

impl Kernel for NormKernel {
    fn source(&self) -> Source {
        let entry = match self.pass {
            Pass::Parameters => "parameters",
            Pass::Gradients => "gradient",
            Pass::Total => "total",
        };
        let lines = self.segments.lines().div_ceil(64);
        Source::new("norm", entry, &[("vector", shader::vector(self.family)), shader::sums(lines)])
    }

    fn access(&self) -> Vec<Access> {
        let reads = if self.pass == Pass::Total { 2 } else { 5 };
        [vec![Access::Write], vec![Access::Read; reads]].concat()
    }

    fn params(&self) -> Vec<u32> {
        [0, self.segments.lines(), self.segments.list.len(), self.to].map(|n| n as u32).to_vec()
    }

    fn grid(&self) -> [u32; 3] {
        match self.pass {
            Pass::Total => fold(self.segments.list.len() + 1),
            _ => fold(self.segments.lines().div_ceil(64)),
        }
    }

    fn turns(&self) -> usize {
        match self.pass {
            Pass::Total => turns::of(self.segments.lines().div_ceil(64), 0) + turns::of(6, 0),
            _ => turns::of(16, 0),
        }
    }

    fn split(&self, _: usize) -> Split {
        let (units, start, grain) = match self.pass {
            Pass::Total => (self.segments.list.len() + 1, 2 * self.to, 1),
            _ => (self.segments.lines(), 0, 64),
        };
        Split { units, grain, parts: vec![Part::rows(start, 2)] }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, _: usize) {
        if self.pass == Pass::Total {
            let partials = io.read(2);
            let to = io.output(0, 0).0;
            for (to, unit) in to.chunks_exact_mut(2).zip(units) {
                let own = self.segments.list.get(unit).map(|s| s.first_line..s.first_line + s.lines);
                let lines = own.unwrap_or_else(|| 0..self.segments.lines());
                to.copy_from_slice(&sums::of_pairs(&partials[2 * lines.start..2 * lines.end]));
            }
            return;
        }
        let (parameters, gradients) = (io.read(2), io.read(3));
        let (lines, sums) = (io.read(4), io.read(5));
        let to = io.output(0, 0).0;
        let mut total = [0.0_f32; LINE];
        for (to, line) in to.chunks_exact_mut(2).zip(units) {
            let range = line * LINE..(line + 1) * LINE;
            let values = &parameters[range.clone()];
            let mut factor = 1.0;
            let values: &[f32] = if self.pass == Pass::Parameters {
                values
            } else {
                let at = lines[line].to_bits() as usize;
                let segment = &self.segments.list[at];
                factor = f32::from(segment.rate != 0.0);
                let length = sums[2 * at + 1].sqrt();
                for (t, (w, g)) in total.iter_mut().zip(values.iter().zip(&gradients[range])) {
                    *t = segment.penalised(*w, *g, length);
                }
                &total
            };
            let sums = line_sums(values);
            to.copy_from_slice(&sums.map(|s| s * factor));
        }
    }
}

/// Sums of absolute values and of squares of a line, in 16 interleaved parts.
fn line_sums(values: &[f32]) -> [f32; 2] {
    math::vectorise(
        #[inline(always)]
        || {
            let (mut absolute, mut square) = ([0.0_f32; 16], [0.0_f32; 16]);
            for chunk in values.chunks_exact(16) {
                for i in 0..16 {
                    absolute[i] += chunk[i].abs();
                    square[i] += chunk[i] * chunk[i];
                }
            }
            [absolute.iter().sum(), square.iter().sum()]
        },
    )
}
