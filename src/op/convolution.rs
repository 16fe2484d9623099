//! Convolutions in up to three dimensions, in three forms of which each is an adjoint of the others.

mod twin;

use std::ops::Range;

use crate::engine::cpu::Io;
use crate::engine::shader::{self, Source};
use crate::engine::{Access, Dispatch, Family, Kernel, Part, Split, fold, turns};
use crate::error::Result;
use crate::graph::{Adjoint, Identity, Lower, Operator, Placed, Reference, Tensor, Type};
use crate::op::reduce;
use crate::op::window::Window;

/// Value that a [`Convolution`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// The small image from the large one and the weights.
    Forward,
    /// The large image from the small one and the weights: the transposed convolution.
    Transposed,
    /// The weights from the small image and the large one, summed over rows.
    Kernel,
}

/// `small[q, i] = sum(weights[i, o, c] * large[q * stride + o - before, c])` over kernel elements `o` and the channels
/// `c` of the group of channel `i`; or its adjoint for the large image or for the weights.
///
/// Images are rows with channels last. The weights are a fixed matrix of small channels × (kernel elements · large
/// channels / groups), channels last: Nengo's kernel `[..kernel_size, in_channels / groups, out_channels]` as a matrix of
/// `out_channels` columns, transposed. There is no flipping: it is a cross-correlation, as everywhere in deep learning.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct Convolution {
    /// Windows over the large image; the small one has a point for each.
    pub window: Window,
    /// Channels of the large image.
    pub large: usize,
    /// Channels of the small image.
    pub small: usize,
    /// Groups of channels, each with weights of its own; they divide both numbers of channels.
    pub groups: usize,
    /// Computed value.
    pub form: Form,
}

impl Convolution {
    /// Columns of a row of the large image.
    pub fn large_cols(&self) -> usize {
        self.window.points() * self.large
    }

    /// Columns of a row of the small image.
    pub fn small_cols(&self) -> usize {
        self.window.places() * self.small
    }

    /// Shape of the weights.
    pub fn weights(&self) -> (usize, usize) {
        (self.small, self.depth())
    }

    /// Weights of one channel of the small image.
    fn depth(&self) -> usize {
        self.window.area() * self.large / self.groups
    }

    fn with(&self, form: Form) -> Self {
        Self { form, ..*self }
    }
}

impl Operator for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        self.window.check()?;
        let (a, b) = (inputs[0], inputs[1]);
        let (large, small) = (self.large_cols(), self.small_cols());
        let weights = Type::fixed(self.small, self.depth());
        match self.form {
            Form::Forward if a.cols == large && b == weights => Ok(a.with_cols(small)),
            Form::Transposed if a.cols == small && b == weights => Ok(a.with_cols(large)),
            Form::Kernel if a.with_cols(0) == b.with_cols(0) && (a.cols, b.cols) == (small, large) => {
                Ok(weights)
            }
            form => Err(format!(
                "{form:?} of {a} and {b} between images of {large} and {small}, weights {weights}"
            )),
        }
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let [a, b] = at.inputs[..] else { return None };
        let dy = at.adjoint.expand(at.output.ty());
        let of = |form, x: Tensor<'s>, y| x.scope.apply(self.with(form), &[x, y]);
        at.each(|i| match (self.form, i) {
            (Form::Forward, 0) => of(Form::Transposed, dy, b),
            (Form::Forward, _) => of(Form::Kernel, dy, a),
            (Form::Transposed, 0) => of(Form::Forward, dy, b),
            (Form::Transposed, _) => of(Form::Kernel, a, dy),
            (Form::Kernel, 0) => of(Form::Forward, b, dy),
            (Form::Kernel, _) => of(Form::Transposed, a, dy),
        })
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let (a, b) = (at.operand(0), at.operand(1));
        let (a_period, b_period) = (a.period, b.period);
        let mut kernel = ConvolutionKernel {
            convolution: *self,
            a: a.placed,
            b: b.placed,
            periods: [a_period, b_period],
            output: at.output.clone(),
            rows: at.rows(at.inputs[0].ty),
            chunks: 1,
            range: None,
        };
        let inputs = [at.inputs[0].binding, at.inputs[1].binding];
        let (sums, len) = (kernel.rows * self.window.places(), self.small * self.depth());
        if self.form == Form::Kernel {
            kernel.chunks = match at.target.family {
                // Parts for the threads, whatever their number is; each adds up whole blocks.
                Family::Cpu => (sums / 256).min((1 << 22) / len).clamp(1, 16),
                _ => reduce::splits(sums, len, at.target),
            };
        }
        if kernel.chunks == 1 {
            let bindings = vec![at.output.binding, inputs[0], inputs[1]];
            let parts = kernel.within(at.target.max_turns);
            return Ok(parts.into_iter().map(|k| Dispatch::new(k, bindings.clone())).collect());
        }
        let chunks = kernel.chunks;
        let parts = at.scratch(chunks * len);
        kernel.output = Placed { binding: parts, start: 0, ty: Type::fixed(chunks, len) };
        let sum = reduce::over_parts(parts, chunks, len, at.output.clone(), at.target.family);
        Ok(vec![Dispatch::new(kernel, vec![parts, inputs[0], inputs[1]]), sum])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let Self { window, large, small, groups, form } = *self;
        let (large_group, small_group, depth) = (large / groups, small / groups, self.depth());
        let rows = at.inputs[0].len() / at.types[0].cols;
        let mut y = vec![0.0; at.rows * at.ty.cols];
        for row in 0..rows {
            window.each(|place, element, point| {
                for i in 0..small {
                    for c in 0..large_group {
                        let of_small = place * small + i;
                        let of_large = point * large + i / small_group * large_group + c;
                        let weight = element * large_group + c;
                        match form {
                            Form::Forward => {
                                y[row * at.ty.cols + of_small] +=
                                    at.at(0, row, of_large) * at.at(1, i, weight);
                            }
                            Form::Transposed => {
                                y[row * at.ty.cols + of_large] +=
                                    at.at(0, row, of_small) * at.at(1, i, weight);
                            }
                            Form::Kernel => {
                                y[i * depth + weight] += at.at(0, row, of_small) * at.at(1, row, of_large);
                            }
                        }
                    }
                }
            });
        }
        y
    }
}

/// One dispatch of `shaders/convolution.wgsl`.
#[derive(Clone, Debug)]
struct ConvolutionKernel {
    convolution: Convolution,
    a: Placed,
    b: Placed,
    /// Rows after which the inputs repeat.
    periods: [usize; 2],
    output: Placed,
    /// Of the images.
    rows: usize,
    /// Parts in which the sums over rows are made.
    chunks: usize,
    /// Of each sum's terms, the first that is added up and how many, where a dispatch makes a part of it. For adapters alone.
    range: Option<(usize, usize)>,
}

impl ConvolutionKernel {
    /// In one dispatch, or in several of which each adds some terms of the sums.
    fn within(self, limit: usize) -> Vec<Self> {
        if self.turns() <= limit || self.convolution.form == Form::Kernel {
            return vec![self];
        }
        let part = |range| Self { range: Some(range), ..self.clone() };
        turns::parts(self.terms(), limit, 0).map(part).collect()
    }

    /// Terms of a sum at most.
    fn terms(&self) -> usize {
        let c = &self.convolution;
        match c.form {
            Form::Forward => c.depth(),
            Form::Transposed => c.window.span().iter().product::<usize>() * c.small / c.groups,
            Form::Kernel => self.chunk(),
        }
    }

    /// Elements of the output that belong together on the CPU, and how many such there are.
    fn units(&self) -> (usize, usize) {
        let c = &self.convolution;
        match c.form {
            Form::Forward => (c.small, self.rows * c.window.places()),
            Form::Transposed => (c.large_cols(), self.rows),
            Form::Kernel => (c.small * c.depth(), self.chunks),
        }
    }

    /// Windows of all rows that one of the chunks sums over.
    fn chunk(&self) -> usize {
        (self.rows * self.convolution.window.places()).div_ceil(self.chunks)
    }

    /// Row `row` of an input.
    fn row<'a>(&self, io: &Io<'a>, input: usize, row: usize) -> &'a [f32] {
        let placed = if input == 0 { &self.a } else { &self.b };
        let at = placed.start + row % self.periods[input] * placed.ty.cols;
        &io.read(1 + input)[at..at + placed.ty.cols]
    }
}

impl Kernel for ConvolutionKernel {
    fn source(&self) -> Source {
        let Convolution { window, large, small, groups, form } = self.convolution;
        let entry = match (form, self.range) {
            (Form::Forward, None) => "forward",
            (Form::Forward, Some(_)) => "forward_long",
            (Form::Transposed, None) => "transposed",
            (Form::Transposed, Some(_)) => "transposed_long",
            (Form::Kernel, _) => "kernel",
        };
        let channels =
            format!("const LARGE = {large}u;\nconst SMALL = {small}u;\nconst GROUPS = {groups}u;\n");
        let terms = self.range.map_or(self.terms(), |(_, count)| count);
        Source::new("convolution", entry, &[("geometry", window.wgsl() + &channels), shader::sums(terms)])
    }

    fn access(&self) -> Vec<Access> {
        vec![Access::Write, Access::Read, Access::Read]
    }

    fn params(&self) -> Vec<u32> {
        let [a_period, b_period] = self.periods;
        let (a, b, output) = (self.a.start, self.b.start, self.output.start);
        let (first, count) = self.range.unwrap_or_default();
        let sizes = [0, self.rows, output, a, a_period, b, b_period, self.chunk(), self.chunks];
        let range = [first, first + count, usize::from(first > 0)];
        sizes.into_iter().chain(range).map(|n| n as u32).collect()
    }

    fn grid(&self) -> [u32; 3] {
        let (inner, units) = self.units();
        fold((inner * units).div_ceil(64))
    }

    fn turns(&self) -> usize {
        let c = &self.convolution;
        match (c.form, self.range) {
            (Form::Kernel, _) => turns::of(self.chunk(), 0),
            (_, Some((_, count))) => turns::of(count, 0),
            (Form::Forward, _) => Window::nested(c.window.kernel, turns::of(c.large / c.groups, 0)),
            (Form::Transposed, _) => Window::nested(c.window.span(), turns::of(c.small / c.groups, 0)),
        }
    }

    fn split(&self, row0: usize) -> Split {
        let (inner, units) = self.units();
        let c = &self.convolution;
        let (row0, grain) = match c.form {
            Form::Forward => (row0 * c.small_cols(), c.block().min(units.div_ceil(16)).max(1)),
            Form::Transposed => (row0 * c.large_cols(), 1),
            Form::Kernel => (0, 1),
        };
        Split { units, grain, parts: vec![Part::rows(self.output.start + row0, inner)] }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        self.convolve(io, units, row0);
    }
}

impl<'s> Tensor<'s> {
    /// This image convolved with `weights`, see [`Convolution`].
    pub fn convolve(self, convolution: Convolution, weights: Tensor<'s>) -> Self {
        self.scope.apply(convolution, &[self, weights])
    }
}
