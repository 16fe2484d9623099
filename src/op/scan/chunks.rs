//! Linear scans of few columns over many steps: a window is cut into chunks of time that run side by side.
//!
//! Each chunk runs from zero; then the states with which the chunks start follow one from another, since what a chunk
//! starts from adds `A^length` times itself to what it ends with; then each chunk runs again from its start. It is
//! twice the work of a scan, but a scan of one column keeps a single lane busy. Sums are in a fixed order, but a window of
//! another length is cut elsewhere, so the same run in other windows differs in the last digits.

use std::ops::Range;

use crate::engine::cpu::{Io, math};
use crate::engine::shader::Source;
use crate::engine::{Access, Dispatch, Family, Kernel, Part, Split, fold, turns};
use crate::expr::operands::Operands;
use crate::expr::step::Step;
use crate::expr::{BLOCK, Lane};
use crate::graph::{Extent, Lower, Placed};
use crate::op::scan::{Emits, Scan};

/// Most states, the output of a delaying filter included: each costs a row and a column of a matrix in the shader.
const MOST_STATES: usize = 8;
/// Fewest steps of a chunk, so that what chunks cost besides does not count.
const SHORTEST: usize = 32;

/// Fewer steps are walked through sooner than three dispatches start.
const LEAST_STEPS: usize = 512;

/// Lanes that a device is given at most, and the columns from which it is busy without chunks.
fn lanes(family: Family) -> (usize, usize) {
    match family {
        Family::Cpu => (2048, 32),
        Family::Software { .. } => (256, 32),
        Family::Gpu => (16_384, 2048),
    }
}

/// Chunks of a window.
#[derive(Clone, Debug, PartialEq)]
struct Cut {
    /// Steps of each chunk but the last.
    length: usize,
    chunks: usize,
    steps: usize,
    batch: usize,
    cols: usize,
    backward: bool,
    /// States besides a delayed output.
    states: usize,
    delayed: bool,
}

impl Cut {
    fn width(&self) -> usize {
        self.batch * self.cols
    }

    /// Number of values carried from step to step.
    fn carried(&self) -> usize {
        self.states + usize::from(self.delayed)
    }

    fn constants(&self) -> String {
        let Self { length, chunks, batch, backward, .. } = self;
        format!(
            "const BACKWARD = {backward};\nconst BATCH = {batch}u;\nconst LENGTH = {length}u;\n\
             const CHUNKS = {chunks}u;\nconst STATES = {}u;\n",
            self.carried()
        )
    }
}

/// The dispatches of a scan in chunks, where that is possible and pays.
pub(super) fn lower(scan: &Scan, at: &mut Lower) -> Option<Vec<Dispatch>> {
    let (states, delayed) = (scan.states.len(), scan.emits == Emits::Delayed);
    let (steps, batch, cols) = (at.dims.steps, at.dims.batch, at.output.ty.cols);
    let input = at.inputs.first()?.clone();
    let plain = input.ty.extent == Extent::Sequence && input.ty.cols == cols;
    let kept = at.states.as_ref().is_some_and(|s| s.kept);
    let possible = scan.linear
        && !at.in_loop
        && plain
        && !kept
        && (1..=MOST_STATES).contains(&(states + usize::from(delayed)));
    let width = batch * cols;
    let (most, busy) = lanes(at.target.family);
    if !possible || width >= busy || steps < LEAST_STEPS {
        return None;
    }
    let chunks = (most / width).min(steps / SHORTEST);
    if chunks < 4 {
        return None;
    }
    let length = steps.div_ceil(chunks).min(turns::rounds(at.target.max_turns, scan.step.turns()));
    let chunks = steps.div_ceil(length);
    let cut = Cut { length, chunks, steps, batch, cols, backward: scan.backward, states, delayed };
    let step = scan.step.forward();
    let vec4 = [width, input.start, at.output.start].iter().all(|n| n.is_multiple_of(4));
    let ends = at.scratch(chunks * cut.carried() * width);
    let pass = |outputs| Pass {
        cut: cut.clone(),
        step: step.clone(),
        outputs,
        input: input.clone(),
        output: at.output.clone(),
        vec4,
        family: at.target.family,
    };
    let (find, make) = (pass(false), pass(true));
    let matrix = matrix(&step, states, delayed);
    let states_at = at.states.as_ref().map(|s| s.placed.clone());
    let combine = Combine {
        powers: [power(&matrix, length), power(&matrix, steps - (chunks - 1) * length)],
        now: at.output.start + if scan.backward { steps * width } else { 0 },
        states: states_at.as_ref().map_or(0, |s| s.start),
        cut,
    };
    let mut bindings = vec![ends];
    bindings.extend(states_at.map(|s| s.binding));
    bindings.extend(delayed.then_some(at.output.binding));
    Some(vec![
        Dispatch::new(find, vec![ends, input.binding]),
        Dispatch::new(combine, bindings),
        Dispatch::new(make, vec![at.output.binding, ends, input.binding]),
    ])
}

type Matrix = Vec<Vec<f64>>;

/// Effect of a step on the carried values: the states, then a delayed output.
fn matrix(step: &Step, states: usize, delayed: bool) -> Matrix {
    let n = states + usize::from(delayed);
    let columns: Matrix = (0..n)
        .map(|j| {
            let results = step.reference(|i| f64::from(u8::from(i == 1 + j)));
            results[1..].iter().copied().chain(delayed.then_some(results[0])).collect()
        })
        .collect();
    (0..n).map(|i| (0..n).map(|j| columns[j][i]).collect()).collect()
}

/// A power of a matrix, by squaring.
fn power(matrix: &Matrix, exponent: usize) -> Matrix {
    let n = matrix.len();
    let product = |a: &Matrix, b: &Matrix| -> Matrix {
        (0..n).map(|i| (0..n).map(|j| (0..n).map(|k| a[i][k] * b[k][j]).sum()).collect()).collect()
    };
    let mut result: Matrix = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    let (mut square, mut rest) = (matrix.clone(), exponent);
    while rest > 0 {
        if rest % 2 == 1 {
            result = product(&result, &square);
        }
        square = product(&square, &square);
        rest /= 2;
    }
    result
}

/// One dispatch of `shaders/scan_chunks.wgsl`.
#[derive(Clone, Debug)]
struct Pass {
    cut: Cut,
    step: Step,
    /// Makes the outputs from where the chunks start; else finds where they end from zero.
    outputs: bool,
    input: Placed,
    output: Placed,
    vec4: bool,
    family: Family,
}

impl Pass {
    /// First element of the output of step 0.
    fn first(&self) -> usize {
        self.output.start + if self.cut.delayed && !self.cut.backward { self.cut.width() } else { 0 }
    }
}

impl Kernel for Pass {
    fn source(&self) -> Source {
        let (states, n) = (self.cut.states, self.cut.carried());
        let name = |k: usize| if k < states { format!("s{k}") } else { "y".to_string() };
        let each = |f: &dyn Fn(usize) -> String| (0..n).map(f).collect::<String>();
        let (lines, results) = self.step.wgsl(|i| if i == 0 { "x".to_string() } else { name(i - 1) });
        let end = |k: usize| format!("ends[(place + {k}u * width) / WIDTH]");
        let mut load = each(&|k| {
            let start = if self.outputs { end(k) } else { "F(0.0)".to_string() };
            format!("    var {} = {start};\n", name(k))
        });
        if !self.cut.delayed {
            load += "    var y = F(0.0);\n";
        }
        let next: String = (0..states).map(|k| format!("s{k} = {};\n", results[1 + k])).collect();
        let mut advance = format!("{lines}y = {};\n{next}", results[0]);
        let binding = |i: usize, access: &str, name: &str| {
            format!("@group(0) @binding({i}) var<storage, {access}> {name}: array<F>;\n")
        };
        let bindings = if self.outputs {
            advance += "output[(p.start + t * width + element) / WIDTH] = y;\n";
            binding(0, "read_write", "output") + &binding(1, "read", "ends") + &binding(2, "read", "input")
        } else {
            binding(0, "read_write", "ends") + &binding(1, "read", "input")
        };
        let store =
            if self.outputs { String::new() } else { each(&|k| format!("{} = {};\n", end(k), name(k))) };
        let generated = [
            ("element", Operands::element(self.vec4, self.family)),
            ("bindings", self.cut.constants() + &bindings),
            ("load", load),
            ("advance", advance),
            ("store", store),
        ];
        Source::new("scan_chunks", "main", &generated)
    }

    fn access(&self) -> Vec<Access> {
        let (write, read) = (Access::Write, Access::Read);
        if self.outputs { vec![write, read, read] } else { vec![write, read] }
    }

    fn params(&self) -> Vec<u32> {
        [0, self.cut.steps, self.cut.cols, self.first(), self.input.start].map(|n| n as u32).into()
    }

    fn grid(&self) -> [u32; 3] {
        let lanes = if self.vec4 { self.cut.width() / 4 } else { self.cut.width() };
        fold((lanes * self.cut.chunks).div_ceil(64))
    }

    fn turns(&self) -> usize {
        turns::of(self.cut.length, self.step.turns())
    }

    fn split(&self, _: usize) -> Split {
        let Cut { length, chunks, steps, .. } = self.cut;
        let width = self.cut.width();
        // A few hundred lanes to each thread.
        let together = 256_usize.div_ceil(width);
        if self.outputs {
            let parts = vec![Part::rows(self.first(), width)];
            Split { units: steps, grain: together * length, parts }
        } else {
            let parts = vec![Part::rows(0, self.cut.carried() * width)];
            Split { units: chunks, grain: together, parts }
        }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, _: usize) {
        let (length, width) = (self.cut.length, self.cut.width());
        let chunks = if self.outputs { units.start / length..units.end.div_ceil(length) } else { units };
        let n = self.cut.carried();
        let mut memory = std::mem::take(&mut io.work.totals);
        memory.resize(self.step.floats() + (2 * (1 + n) + 1) * BLOCK, 0.0);
        // Whole chunks first: the last one in time may be shorter.
        let whole = chunks.end.min(self.cut.steps / length);
        for (from, to) in [(chunks.start, whole), (whole.max(chunks.start), chunks.end)] {
            let mut lane = from * width;
            while lane < to * width {
                let end = (lane + BLOCK).min(to * width);
                math::vectorise(
                    #[inline(always)]
                    || self.walk(io, lane..end, chunks.start, &mut memory),
                );
                lane = end;
            }
        }
        io.work.totals = memory;
    }
}

impl Pass {
    /// Walks lanes through their chunks, all of one length; lane `chunk * width + element`.
    #[inline(always)]
    fn walk(&self, io: &mut Io<'_>, lanes: Range<usize>, first: usize, memory: &mut [f32]) {
        let Cut { length, steps, backward, states, .. } = self.cut;
        let (n, width, count) = (lanes.len(), self.cut.width(), self.cut.carried());
        let (scratch, memory) = memory.split_at_mut(self.step.floats());
        let (x, memory) = memory.split_at_mut(BLOCK);
        // Block 0 is the output, the states follow.
        let (mut before, mut after) = memory.split_at_mut((1 + count) * BLOCK);
        // Where what is carried stands among them: the output itself, if it is delayed.
        let block = |k: usize| if k < states { 1 + k } else { 0 };
        let place = |lane: usize, k: usize| (lane / width * count + k) * width + lane % width;
        for k in 0..count {
            for (i, lane) in lanes.clone().enumerate() {
                before[block(k) * BLOCK + i] = if self.outputs { io.read(1)[place(lane, k)] } else { 0.0 };
            }
        }
        let own = (steps - lanes.start / width * length).min(length);
        let input = &io.read(if self.outputs { 2 } else { 1 })[self.input.start..];
        let at = |lane: usize, t: usize| (lane / width * length + t) * width + lane % width;
        for k in 0..own {
            let t = if backward { own - 1 - k } else { k };
            x.iter_mut().zip(lanes.clone()).for_each(|(x, lane)| *x = input[at(lane, t)]);
            let lane = |i: usize| match i {
                0 => Lane::Slice(&x[..n]),
                i => Lane::Slice(&before[block(i - 1) * BLOCK..][..n]),
            };
            self.step.run(n, lane, scratch, |k, result| result.copy_to(&mut after[k * BLOCK..][..n]));
            if self.outputs {
                let to = io.output(0, 0).0;
                let begin = first * length * width;
                after[..n].iter().zip(lanes.clone()).for_each(|(y, lane)| to[at(lane, t) - begin] = *y);
            }
            std::mem::swap(&mut before, &mut after);
        }
        if !self.outputs {
            let to = io.output(0, 0).0;
            let begin = first * count * width;
            for k in 0..count {
                for (i, lane) in lanes.clone().enumerate() {
                    to[place(lane, k) - begin] = before[block(k) * BLOCK + i];
                }
            }
        }
    }
}

/// One dispatch of `shaders/scan_combine.wgsl`.
#[derive(Clone, Debug)]
struct Combine {
    cut: Cut,
    /// Of the step's matrix, for a chunk and for the last one in time.
    powers: [Matrix; 2],
    now: usize,
    states: usize,
}

impl Combine {
    /// A factor as the shader has it.
    fn factor(&self, last: bool, i: usize, j: usize) -> f32 {
        math::flush(self.powers[usize::from(last)][i][j] as f32)
    }
}

impl Kernel for Combine {
    fn source(&self) -> Source {
        let (states, n) = (self.cut.states, self.cut.carried());
        let each = |f: &dyn Fn(usize) -> String| (0..n).map(f).collect::<String>();
        let state = |k: usize| format!("states[p.states_start + {k}u * p.width + element]");
        let from = |k: usize| if k < states { state(k) } else { "output[p.now + element]".to_string() };
        let end = |k: usize| format!("ends[place + {k}u * p.width]");
        let sum = |i: usize| {
            let term = |j: usize| {
                let [most, last] = [false, true].map(|last| self.factor(last, i, j));
                format!(" + select({most:?}, {last:?}, last) * z{j}")
            };
            format!("let n{i} = {}{};\n", end(i), (0..n).map(term).collect::<String>())
        };
        let kept = |k: usize| {
            let flushed = format!("select(n{k}, 0.0, abs(n{k}) < 1e-30)");
            format!("{} = z{k};\nz{k} = {flushed};\n", end(k))
        };
        let mut bindings =
            vec!["@group(0) @binding(0) var<storage, read_write> ends: array<f32>;\n".to_string()];
        if states > 0 {
            bindings.push("@group(0) @binding(1) var<storage, read_write> states: array<f32>;\n".into());
        }
        if self.cut.delayed {
            let at = bindings.len();
            bindings.push(format!("@group(0) @binding({at}) var<storage, read> output: array<f32>;\n"));
        }
        let generated = [
            ("bindings", self.cut.constants() + &bindings.concat()),
            ("load", each(&|k| format!("    var z{k} = {};\n", from(k)))),
            ("advance", each(&sum) + &each(&kept)),
            ("store", (0..states).map(|k| format!("{} = z{k};\n", state(k))).collect()),
        ];
        Source::new("scan_combine", "main", &generated)
    }

    fn access(&self) -> Vec<Access> {
        let mut access = vec![Access::Write; 1 + usize::from(self.cut.states > 0)];
        access.extend(self.cut.delayed.then_some(Access::Read));
        access
    }

    fn params(&self) -> Vec<u32> {
        [0, self.cut.width(), self.now, self.states].map(|n| n as u32).into()
    }

    fn grid(&self) -> [u32; 3] {
        fold(self.cut.width().div_ceil(64))
    }

    fn turns(&self) -> usize {
        turns::of(self.cut.chunks, 0)
    }

    fn split(&self, _: usize) -> Split {
        let (width, blocks) = (self.cut.width(), self.cut.chunks * self.cut.carried());
        let mut parts = vec![Part { start: 0, outer: blocks, stride: width, inner: 1 }];
        if self.cut.states > 0 {
            parts.push(Part { start: self.states, outer: self.cut.states, stride: width, inner: 1 });
        }
        Split { units: width, grain: width, parts }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, _: usize) {
        let Cut { chunks, states, backward, .. } = self.cut;
        let n = self.cut.carried();
        for e in units.clone() {
            let i = e - units.start;
            let mut z = [0.0; MOST_STATES];
            for (k, z) in z.iter_mut().enumerate().take(n) {
                *z = if k < states {
                    io.output(1, k).0[i]
                } else {
                    io.read(1 + usize::from(states > 0))[self.now + e]
                };
            }
            for k in 0..chunks {
                let chunk = if backward { chunks - 1 - k } else { k };
                let before = z;
                for (k, z) in z.iter_mut().enumerate().take(n) {
                    let end = &mut io.output(0, chunk * n + k).0[i];
                    let terms = (0..n).map(|j| self.factor(chunk == chunks - 1, k, j) * before[j]);
                    *z = math::flush(terms.fold(*end, |sum, term| sum + term));
                    *end = before[k];
                }
            }
            for (k, z) in z.iter().enumerate().take(states) {
                io.output(1, k).0[i] = *z;
            }
        }
    }
}
