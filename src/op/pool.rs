//! Mean and maximum over windows of images.

use std::ops::{AddAssign, Range};

use crate::engine::cpu::{Io, sums};
use crate::engine::shader::{self, Source};
use crate::engine::{Access, Binding, Dispatch, Kernel, Part, Split, fold, turns};
use crate::error::Result;
use crate::graph::{Adjoint, Identity, Lower, Operand, Operator, Placed, Reference, Tensor, Type};
use crate::op::window::Window;

/// Value of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// The mean of its points.
    Average,
    /// The largest of its points; NaN if one is.
    Max,
}

/// One value for each window over an image and each channel. Points outside of the image count for nothing: a mean is
/// over those inside.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct Pool {
    /// The windows.
    pub window: Window,
    /// Channels of the image, and of the result.
    pub channels: usize,
    /// Value of a window.
    pub of: Of,
}

/// The adjoint of [`Pool`]: of a mean from `dy`, of a maximum from `dy`, `x` and `y`; it goes to the first of several
/// equal points.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct PoolAdjoint(pub Pool);

impl Pool {
    fn cols(&self) -> usize {
        self.window.points() * self.channels
    }

    fn cols_out(&self) -> usize {
        self.window.places() * self.channels
    }

    /// The share of each point of window `place`.
    fn share(&self, place: usize) -> f32 {
        1.0 / self.window.count(place) as f32
    }

    fn kernels(&self, at: &Lower, adjoint: bool) -> Vec<Dispatch> {
        let kernel = PoolKernel {
            pool: *self,
            adjoint,
            inputs: (0..at.inputs.len()).map(|i| at.operand(i)).collect(),
            output: at.output.clone(),
            rows: at.rows(at.output.ty),
            range: None,
        };
        let bindings: Vec<Binding> =
            std::iter::once(at.output.binding).chain(at.inputs.iter().map(|i| i.binding)).collect();
        let parts = kernel.within(at.target.max_turns);
        parts.into_iter().map(|kernel| Dispatch::new(kernel, bindings.clone())).collect()
    }
}

impl Operator for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        self.window.check()?;
        let fits = inputs[0].cols == self.cols();
        fits.then(|| inputs[0].with_cols(self.cols_out())).ok_or_else(|| {
            format!(
                "{} is not an image of {:?} with {} channels",
                inputs[0], self.window.image, self.channels
            )
        })
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let dy = at.adjoint.expand(at.output.ty());
        at.each(|_| match self.of {
            Of::Average => dy.scope.apply(PoolAdjoint(*self), &[dy]),
            Of::Max => dy.scope.apply(PoolAdjoint(*self), &[dy, at.inputs[0], at.output]),
        })
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        Ok(self.kernels(at, false))
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let n = self.channels;
        let (mut sums, mut tops, mut counts) = (
            vec![0.0; at.rows * at.ty.cols],
            vec![f64::NEG_INFINITY; at.rows * at.ty.cols],
            vec![0.0; at.ty.cols],
        );
        self.window.each(|place, _, point| {
            for c in 0..n {
                let to = place * n + c;
                counts[to] += 1.0;
                for row in 0..at.rows {
                    let (x, to) = (at.at(0, row, point * n + c), row * at.ty.cols + to);
                    sums[to] += x;
                    tops[to] = if x > tops[to] || x.is_nan() { x } else { tops[to] };
                }
            }
        });
        match self.of {
            Of::Average => sums.iter().enumerate().map(|(i, s)| s / counts[i % at.ty.cols]).collect(),
            Of::Max => tops,
        }
    }
}

impl Operator for PoolAdjoint {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        self.0.window.check()?;
        let dy = inputs[0];
        let x = dy.with_cols(self.0.cols());
        let wanted = match self.0.of {
            Of::Average => vec![dy.with_cols(self.0.cols_out())],
            Of::Max => vec![dy.with_cols(self.0.cols_out()), x, dy.with_cols(self.0.cols_out())],
        };
        if inputs == wanted {
            Ok(x)
        } else {
            Err(format!("adjoints of {inputs:?}, but they should be {wanted:?}"))
        }
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        // That of a mean is linear; where a maximum lies has no derivative of use.
        (self.0.of == Of::Average).then_some(())?;
        let dy = at.adjoint.expand(at.output.ty());
        at.each(|_| dy.pool(self.0))
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        Ok(self.0.kernels(at, true))
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let Pool { window, channels: n, of } = self.0;
        let mut counts = vec![0.0; window.places()];
        window.each(|place, _, _| counts[place] += 1.0);
        let mut dx = vec![0.0; at.rows * at.ty.cols];
        for row in 0..at.rows {
            for c in 0..n {
                let mut done = vec![false; window.places()];
                window.each(|place, _, point| {
                    let (from, to) = (place * n + c, point * n + c);
                    dx[row * at.ty.cols + to] += match of {
                        Of::Average => at.at(0, row, from) / counts[place],
                        Of::Max if done[place] || at.at(1, row, to) != at.at(2, row, from) => 0.0,
                        Of::Max => {
                            done[place] = true;
                            at.at(0, row, from)
                        }
                    };
                });
            }
        }
        dx
    }
}

/// One dispatch of `shaders/pool.wgsl`.
#[derive(Clone, Debug)]
struct PoolKernel {
    pool: Pool,
    adjoint: bool,
    /// `x`; in an adjoint `dy`, and of a maximum `x` and `y`.
    inputs: Vec<Operand>,
    output: Placed,
    rows: usize,
    /// Of the points of each window, or of the windows that hold a point, the first that is looked at and how many, where a
    /// dispatch looks at some. For adapters alone.
    range: Option<(usize, usize)>,
}

impl PoolKernel {
    /// In one dispatch, or in several of which each goes on with what the others have found.
    fn within(self, limit: usize) -> Vec<Self> {
        if self.turns() <= limit || self.turns_inside() >= limit {
            return vec![self];
        }
        let part = |range| Self { range: Some(range), ..self.clone() };
        turns::parts(self.sizes().iter().product(), limit, self.turns_inside()).map(part).collect()
    }

    /// Range of a lane's loops: the points of a window, or in an adjoint the windows of a point.
    fn sizes(&self) -> [usize; 3] {
        if self.adjoint { self.pool.window.span() } else { self.pool.window.kernel }
    }

    /// Turns for each of them: all points of the window decide if a point is the first of the largest.
    fn turns_inside(&self) -> usize {
        let first = self.adjoint && self.pool.of == Of::Max;
        if first { Window::nested(self.pool.window.kernel, 0) } else { 0 }
    }

    /// Elements of the output that belong together on the CPU, and how many such there are.
    fn units(&self) -> (usize, usize) {
        match self.adjoint {
            false => (self.pool.channels, self.rows * self.pool.window.places()),
            true => (self.pool.cols(), self.rows),
        }
    }

    /// Row `row` of an input.
    fn row<'a>(&self, io: &Io<'a>, input: usize, row: usize) -> &'a [f32] {
        let Operand { placed, period } = &self.inputs[input];
        let at = placed.start + row % period * placed.ty.cols;
        &io.read(1 + input)[at..at + placed.ty.cols]
    }

    /// Value of window `place` of `image`, one for each channel.
    fn pool(&self, image: &[f32], place: usize, y: &mut [f32]) {
        let Pool { window, channels: n, of } = self.pool;
        if of == Of::Average && window.area() > sums::BLOCK {
            for (c, y) in y.iter_mut().enumerate() {
                let mut sum = 0.0;
                window.runs(place, |_, point, len| {
                    let run = image[point * n..(point + len) * n].iter().skip(c).step_by(n);
                    sum += run.map(|x| f64::from(*x)).sum::<f64>();
                });
                *y = (sum / window.count(place) as f64) as f32;
            }
            return;
        }
        let mut empty = true;
        window.runs(place, |_, point, len| {
            for x in image[point * n..(point + len) * n].chunks_exact(n) {
                if std::mem::take(&mut empty) {
                    y.copy_from_slice(x);
                } else if of == Of::Max {
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y = if x > *y || x.is_nan() { x } else { *y });
                } else {
                    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
                }
            }
        });
        if of == Of::Average {
            let share = self.pool.share(place);
            y.iter_mut().for_each(|y| *y *= share);
        }
    }

    /// Adds what window `place` gives to the adjoint of an image; `x` and `y` are those of a maximum.
    fn add_adjoint<A: From<f32> + AddAssign>(
        &self,
        dx: &mut [A],
        dy: &[f32],
        x: &[f32],
        y: &[f32],
        place: usize,
        open: &mut Vec<f32>,
    ) {
        let Pool { window, channels: n, of } = self.pool;
        let of_window = place * n..(place + 1) * n;
        // What is still to be given to a point: all of it to each, or to the first that is the largest.
        open.clear();
        open.extend_from_slice(&dy[of_window.clone()]);
        if of == Of::Average {
            let share = self.pool.share(place);
            open.iter_mut().for_each(|dy| *dy *= share);
        }
        window.runs(place, |_, point, len| {
            for point in point..point + len {
                let to = dx[point * n..(point + 1) * n].iter_mut();
                if of == Of::Average {
                    to.zip(open.iter()).for_each(|(to, dy)| *to += A::from(*dy));
                    continue;
                }
                let values = x[point * n..(point + 1) * n].iter().zip(&y[of_window.clone()]);
                for ((to, dy), (x, y)) in to.zip(open.iter_mut()).zip(values) {
                    if x == y {
                        *to += A::from(std::mem::take(dy));
                    }
                }
            }
        });
    }
}

impl Kernel for PoolKernel {
    fn source(&self) -> Source {
        let entries = match (self.pool.of, self.adjoint) {
            (Of::Average, false) => ["average", "average_long"],
            (Of::Average, true) => ["average_adjoint", "average_adjoint_long"],
            (Of::Max, false) => ["maximum", "maximum_long"],
            (Of::Max, true) => ["maximum_adjoint", "maximum_adjoint_long"],
        };
        let terms = self.range.map_or(self.sizes().iter().product(), |(_, count)| count);
        let geometry = format!("{}const CHANNELS = {}u;\n", self.pool.window.wgsl(), self.pool.channels);
        let entry = entries[usize::from(self.range.is_some())];
        Source::new("pool", entry, &[("geometry", geometry), shader::sums(terms)])
    }

    fn access(&self) -> Vec<Access> {
        let mut access = vec![Access::Write];
        access.extend(self.inputs.iter().map(|_| Access::Read));
        access
    }

    fn params(&self) -> Vec<u32> {
        let mut words = vec![0, self.rows as u32, self.output.start as u32];
        words.extend(self.inputs.iter().flat_map(|i| [i.placed.start as u32, i.period as u32]));
        words.resize(9, 0);
        let (first, count) = self.range.unwrap_or_default();
        words.extend([first, first + count, usize::from(first > 0)].map(|n| n as u32));
        words
    }

    fn grid(&self) -> [u32; 3] {
        let (inner, units) = self.units();
        fold((inner * units).div_ceil(64))
    }

    fn turns(&self) -> usize {
        match self.range {
            Some((_, count)) => turns::of(count, self.turns_inside()),
            None => Window::nested(self.sizes(), self.turns_inside()),
        }
    }

    fn split(&self, row0: usize) -> Split {
        let (inner, units) = self.units();
        let start = self.output.start + row0 * self.output.ty.cols;
        let grain = 4096_usize.div_ceil(inner * self.pool.window.area());
        Split { units, grain, parts: vec![Part::rows(start, inner)] }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let (inner, _) = self.units();
        let places = self.pool.window.places();
        let mut open = std::mem::take(&mut io.work.terms);
        let mut longs = std::mem::take(&mut io.work.longs);
        for (k, unit) in units.enumerate() {
            let row = row0 + if self.adjoint { unit } else { unit / places };
            let first = self.row(io, 0, row);
            let (x, y) = match self.inputs.len() {
                3 => (self.row(io, 1, row), self.row(io, 2, row)),
                _ => (first, first),
            };
            let to = &mut io.output(0, 0).0[k * inner..(k + 1) * inner];
            if !self.adjoint {
                self.pool(first, unit % places, to);
                continue;
            }
            if self.sizes().iter().product::<usize>() > sums::BLOCK {
                longs.clear();
                longs.resize(inner, 0.0);
                (0..places).for_each(|place| self.add_adjoint(&mut longs, first, x, y, place, &mut open));
                to.iter_mut().zip(&longs).for_each(|(to, long)| *to = *long as f32);
                continue;
            }
            to.fill(0.0);
            (0..places).for_each(|place| self.add_adjoint(to, first, x, y, place, &mut open));
        }
        io.work.longs = longs;
        io.work.terms = open;
    }
}

impl Tensor<'_> {
    /// One value for each window over this image, see [`Pool`].
    pub fn pool(self, pool: Pool) -> Self {
        self.scope.apply(pool, &[self])
    }
}
