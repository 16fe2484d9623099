//! A product with weights that change from step to step, each example with weights of its own.
//!
//! An online learning rule is a rank-one change of a matrix, and for some rules a decay of its rows. Both depend on what the
//! step has brought, so the change of a step acts from the next one on. Its parts therefore come in delayed, and one pass over
//! the weights makes the change of the step before and the product of this one.

use std::ops::Range;

use crate::engine::cpu::{Io, math};
use crate::engine::shader::{self, Source};
use crate::engine::{Access, Dispatch, Kernel, Part, Split, fold, turns};
use crate::error::Result;
use crate::graph::{Adjoint, Lower, Memory, Operand, Operator, Placed, Reference, State, Tensor, Type};

/// Name of the state of weights that are based on a parameter.
pub const CHANGE: &str = "change of weights";

/// `y = W x` with `W = B + D`, after `D[i, j] += u[i] v[j] - c[i] W[i, j]`.
///
/// Inputs: `x` (columns of `W`), `u` (rows), `v` (columns), then the decay `c` (rows) if it decays, then `B` (fixed, rows ×
/// columns) if it is based on one. The state is `D`, row by row, apart from `B`: a change may be far smaller than the
/// weights, and a sum of both would round it away; and `B` stays a parameter that can be set and saved.
#[derive(Clone, Debug, PartialEq)]
pub struct Learn {
    /// Rows of `W`.
    pub rows: usize,
    /// Columns of `W`.
    pub cols: usize,
    /// There is a decay.
    pub decays: bool,
    /// There is a `B`; else it is zero.
    pub based: bool,
    /// The one state, `D`, as it starts.
    pub change: [State; 1],
}

impl Learn {
    /// Index of the input `B`.
    fn base(&self) -> Option<usize> {
        self.based.then_some(3 + usize::from(self.decays))
    }
}

impl Operator for Learn {
    fn name(&self) -> &'static str {
        "learning rule"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let Self { rows, cols, .. } = *self;
        let mut wanted = vec![cols, rows, cols];
        wanted.extend(self.decays.then_some(rows));
        let wanted: Vec<Type> = wanted.into_iter().map(Type::sequence).collect();
        let base = self.based.then_some(Type::fixed(rows, cols));
        let fits = |(have, want): (&Type, &Type)| {
            have.cols == want.cols && have.rows == want.rows && have.extent <= want.extent
        };
        let all: Vec<Type> = wanted.into_iter().chain(base).collect();
        if inputs.len() == all.len() && inputs.iter().zip(&all).all(fits) {
            return Ok(Type::sequence(rows));
        }
        let list: Vec<String> = inputs.iter().map(Type::to_string).collect();
        Err(format!("{} cannot change a [{rows}, {cols}] matrix", list.join(", ")))
    }

    fn gradient<'s>(&self, _: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        None
    }

    fn memory(&self) -> Memory {
        Memory::Scan { backward: false }
    }

    fn states(&self) -> &[State] {
        &self.change
    }

    fn state_cols(&self, _: usize) -> usize {
        self.rows * self.cols
    }

    fn rolls(&self) -> bool {
        true
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let states = at.states.clone();
        let mut bindings = vec![at.output.binding];
        bindings.extend(states.iter().map(|s| s.placed.binding));
        bindings.extend(at.inputs.iter().map(|i| i.binding));
        let kernel = LearnKernel {
            rows: self.rows,
            cols: self.cols,
            signals: (0..3 + usize::from(self.decays)).map(|i| at.operand(i)).collect(),
            base: self.base().map(|i| at.inputs[i].start),
            output: at.output.clone(),
            change: states.map_or((0, false), |s| (s.placed.start, s.kept)),
            batch: at.dims.batch,
            examples: if at.in_loop { at.tile } else { at.dims.batch },
            first: 0,
            steps: at.steps(),
            all_steps: at.dims.steps,
            rolls: at.rolls,
        };
        let windows = turns::parts(kernel.steps, at.target.max_turns, kernel.turns_of_step());
        let window = |(first, steps)| LearnKernel { first, steps, ..kernel.clone() };
        Ok(windows.map(|w| Dispatch::new(window(w), bindings.clone())).collect())
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let Self { rows, cols, .. } = *self;
        let (mut y, mut changes) = (Vec::new(), Vec::new());
        let before = &at.state[at.rows * rows..];
        for b in 0..at.rows {
            for i in 0..rows {
                let decay = if self.decays { at.at(3, b, i) } else { 0.0 };
                let mut sum = 0.0;
                for j in 0..cols {
                    let base = self.base().map_or(0.0, |k| at.inputs[k][i * cols + j]);
                    let d = before[(b * rows + i) * cols + j];
                    let d = d + at.at(1, b, i) * at.at(2, b, j) - decay * (base + d);
                    sum += (base + d) * at.at(0, b, j);
                    changes.push(d);
                }
                y.push(sum);
            }
        }
        y.extend(changes);
        y
    }
}

/// One dispatch of `shaders/learn.wgsl`.
#[derive(Clone, Debug)]
struct LearnKernel {
    rows: usize,
    cols: usize,
    /// `x`, `u`, `v`, and the decay if there is one.
    signals: Vec<Operand>,
    /// First element of `B`.
    base: Option<usize>,
    output: Placed,
    /// First element of the change, and true if its history is kept.
    change: (usize, bool),
    batch: usize,
    /// Examples that are walked through: all, or those of a tile.
    examples: usize,
    /// The step that comes first, counted from the row that a dispatch starts at, and how many there are.
    first: usize,
    steps: usize,
    all_steps: usize,
    rolls: bool,
}

impl LearnKernel {
    /// Turns of a step: a workgroup's lanes walk through a row, then add up their sums by halves.
    fn turns_of_step(&self) -> usize {
        turns::of(self.cols.div_ceil(64), 0) + turns::of(6, 0)
    }

    fn decays(&self) -> bool {
        self.signals.len() > 3
    }
}

impl Kernel for LearnKernel {
    fn source(&self) -> Source {
        let first = 2 + self.signals.len();
        let binding = |i: usize, name: &str| {
            format!("@group(0) @binding({i}) var<storage, read> {name}: array<f32>;\n")
        };
        let decay = match self.decays() {
            true => {
                binding(5, "decays")
                    + "fn decay(row: u32, i: u32) -> f32 { return decays[p.decay_start + (row % p.decay_period) * p.rows + i]; }\n"
            }
            false => "fn decay(row: u32, i: u32) -> f32 { return 0.0; }\n".to_string(),
        };
        let base = match self.base {
            Some(_) => {
                binding(first, "bases") + "fn base(e: u32) -> f32 { return bases[p.base_start + e]; }\n"
            }
            None => "fn base(e: u32) -> f32 { return 0.0; }\n".to_string(),
        };
        let flags = format!(
            "const BATCH = {}u;\nconst BLOCK = {}u;\nconst OUT = {}u;\n",
            self.batch,
            u32::from(self.change.1),
            u32::from(!self.rolls)
        );
        let sums = shader::sums(self.cols.div_ceil(64));
        Source::new("learn", "main", &[("flags", flags), ("decay", decay), ("base", base), sums])
    }

    fn access(&self) -> Vec<Access> {
        let reads = self.signals.len() + usize::from(self.base.is_some());
        [vec![Access::Write; 2], vec![Access::Read; reads]].concat()
    }

    fn params(&self) -> Vec<u32> {
        let mut sizes = vec![self.first * self.batch, self.steps, self.examples, self.rows, self.cols];
        sizes.extend([self.output.start, self.change.0, self.base.unwrap_or(0)]);
        let none = [0, 1];
        let signal = |i: usize| self.signals.get(i).map_or(none, |s| [s.placed.start, s.period]);
        sizes.extend((0..4).flat_map(signal));
        sizes.into_iter().map(|n| n as u32).collect()
    }

    fn grid(&self) -> [u32; 3] {
        fold(self.examples * self.rows)
    }

    fn turns(&self) -> usize {
        turns::of(self.steps, self.turns_of_step())
    }

    fn split(&self, row0: usize) -> Split {
        let Self { rows, cols, batch, .. } = *self;
        let first = row0 % batch * rows;
        let output = Part {
            start: self.output.start + first,
            outer: if self.rolls { 1 } else { self.all_steps },
            stride: batch * rows,
            inner: 1,
        };
        let change = Part {
            start: self.change.0 + first * cols,
            outer: if self.change.1 { self.all_steps + 1 } else { 1 },
            stride: batch * rows * cols,
            inner: cols,
        };
        let grain = 8192_usize.div_ceil(cols * self.steps);
        Split { units: self.examples * rows, grain, parts: vec![output, change] }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let mut row = std::mem::take(&mut io.work.totals);
        row.resize(self.cols, 0.0);
        let row0 = row0 + self.first * self.batch;
        let walk = match (self.decays(), self.base.is_some()) {
            (false, false) => Self::walk::<false, false>,
            (false, true) => Self::walk::<false, true>,
            (true, false) => Self::walk::<true, false>,
            (true, true) => Self::walk::<true, true>,
        };
        walk(self, io, units, row0, &mut row);
        io.work.totals = row;
    }
}

impl LearnKernel {
    /// Walks some rows of the weights through time; `copy` is memory for one of them.
    fn walk<const DECAYS: bool, const BASED: bool>(
        &self,
        io: &mut Io<'_>,
        units: Range<usize>,
        row0: usize,
        copy: &mut [f32],
    ) {
        let Self { rows, cols, batch, .. } = *self;
        let signal = |io: &Io<'_>, k: usize, row: usize| {
            let Operand { placed, period } = &self.signals[k];
            placed.start + row % period * placed.ty.cols..io.read(2 + k).len()
        };
        let bases = if BASED { &io.read(2 + self.signals.len())[self.base.unwrap_or(0)..] } else { &[][..] };
        let kept = self.change.1;
        for t in row0 / batch..row0 / batch + self.steps {
            for (k, unit) in units.clone().enumerate() {
                let (example, i) = (row0 % batch + unit / rows, unit % rows);
                let row = t * batch + example;
                let at = |n: usize| &io.read(2 + n)[signal(io, n, row)];
                let (x, u, v) = (&at(0)[..cols], at(1)[i], &at(2)[..cols]);
                let decay = if DECAYS { at(3)[i] } else { 0.0 };
                let base = if BASED { &bases[i * cols..(i + 1) * cols] } else { &[][..] };
                let own = k * cols..(k + 1) * cols;
                if kept {
                    copy.copy_from_slice(&io.output(1, t).0[own.clone()]);
                }
                let change = &mut io.output(1, if kept { t + 1 } else { 0 }).0[own];
                if kept {
                    change.copy_from_slice(copy);
                }
                let y = math::vectorise(
                    #[inline(always)]
                    || {
                        // A loop, as what an iterator calls would not be compiled for this processor.
                        let (mut totals, mut from) = (Sums([0.0; LANES]), 0);
                        while from < cols {
                            let own = from..cols.min(from + SINGLE);
                            let base = if BASED { &base[own.clone()] } else { base };
                            let (x, v) = (&x[own.clone()], &v[own.clone()]);
                            let sums = step::<DECAYS, BASED>(&mut change[own], base, x, v, u, decay);
                            for k in 0..LANES {
                                totals.0[k] += f64::from(sums.0[k]);
                            }
                            from += SINGLE;
                        }
                        // By halves, which are added side by side.
                        let mut half = LANES / 2;
                        while half > 0 {
                            for k in 0..half {
                                totals.0[k] += totals.0[k + half];
                            }
                            half /= 2;
                        }
                        totals.0[0] as f32
                    },
                );
                io.output(0, if self.rolls { 0 } else { t }).0[k] = y;
            }
        }
    }
}

/// Columns whose products are added up in single precision.
const SINGLE: usize = 1024;

/// Sums that a row's product is made of side by side.
const LANES: usize = 32;

/// On lines of the cache, as vectors that lie on two of them are slow to add to.
#[repr(align(64))]
struct Sums<T>([T; LANES]);

/// Changes one row of the weights, and gives the sums that make up its product with `x`.
#[inline(always)]
fn step<const DECAYS: bool, const BASED: bool>(
    change: &mut [f32],
    base: &[f32],
    x: &[f32],
    v: &[f32],
    u: f32,
    decay: f32,
) -> Sums<f32> {
    let one = |d: &mut f32, base: f32, x: f32, v: f32| {
        let base = if BASED { base } else { 0.0 };
        let next = *d + u * v;
        *d = math::flush(if DECAYS { next - decay * (*d + base) } else { next });
        (*d + base) * x
    };
    // Without a base any slice will do in its place.
    let base = if BASED { base } else { x };
    let (d, d_rest) = change.as_chunks_mut::<LANES>();
    let (base, base_rest) = base.as_chunks::<LANES>();
    let (x, x_rest) = x.as_chunks::<LANES>();
    let (v, v_rest) = v.as_chunks::<LANES>();
    let mut sums = Sums([0.0; LANES]);
    for (((d, base), x), v) in d.iter_mut().zip(base).zip(x).zip(v) {
        for k in 0..LANES {
            sums.0[k] += one(&mut d[k], base[k], x[k], v[k]);
        }
    }
    let rest = d_rest.iter_mut().zip(base_rest).zip(x_rest).zip(v_rest);
    sums.0[0] += rest.map(|(((d, &base), &x), &v)| one(d, base, x, v)).sum::<f32>();
    sums
}
