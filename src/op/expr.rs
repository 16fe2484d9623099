//! A scalar expression as a list of instructions: what elementwise operators, and the ends of matmuls and
//! reductions, compute for each element.
//!
//! One form serves three ends: it is differentiated here, written out as WGSL, and run by the CPU twin over
//! blocks of elements.

use crate::engine::cpu::math;

use super::function::{Binary, Slope, Unary};

/// An instruction; operands are indices of earlier instructions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Instr {
    /// The element of input `i`.
    Input(usize),
    /// A number.
    Constant(f32),
    /// A function of one earlier result.
    Unary(Unary, usize),
    /// A function of two earlier results.
    Binary(Binary, usize, usize),
}

/// Instructions in order; the last is the result.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Expr {
    /// The instructions.
    pub tape: Vec<Instr>,
}

impl Expr {
    /// The element of the only input, as it is.
    pub fn identity() -> Self {
        Self { tape: vec![Instr::Input(0)] }
    }

    /// A function of input 0.
    pub fn unary(f: Unary) -> Self {
        Self { tape: vec![Instr::Input(0), Instr::Unary(f, 0)] }
    }

    /// A function of inputs 0 and 1.
    pub fn binary(f: Binary) -> Self {
        Self { tape: vec![Instr::Input(0), Instr::Input(1), Instr::Binary(f, 0, 1)] }
    }

    /// The sum of `n` inputs.
    pub fn sum(n: usize) -> Self {
        let mut expr = Self::default();
        let mut total = expr.add(Instr::Input(0));
        for i in 1..n {
            let next = expr.add(Instr::Input(i));
            total = expr.add(Instr::Binary(Binary::Add, total, next));
        }
        expr
    }

    /// Whether it is the element of its only input.
    pub fn is_identity(&self) -> bool {
        self.tape == [Instr::Input(0)]
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.tape
            .iter()
            .filter_map(|i| if let Instr::Input(i) = i { Some(i + 1) } else { None })
            .max()
            .unwrap_or(0)
    }

    /// Appends an instruction unless it is there already; neutral and constant operations are folded.
    fn add(&mut self, instr: Instr) -> usize {
        let constant = |tape: &[Instr], i: usize| match tape[i] {
            Instr::Constant(c) => Some(c),
            _ => None,
        };
        let folded = match instr {
            Instr::Unary(Unary::Identity, a) => return a,
            Instr::Unary(f, a) => match constant(&self.tape, a) {
                Some(c) => Instr::Constant(f.reference(f64::from(c)) as f32),
                None => instr,
            },
            Instr::Binary(f, a, b) => match (f, constant(&self.tape, a), constant(&self.tape, b)) {
                (_, Some(x), Some(y)) => Instr::Constant(f.value(x, y)),
                (Binary::Mul, _, Some(1.0)) | (Binary::Add | Binary::Sub, _, Some(0.0)) => return a,
                (Binary::Mul, Some(1.0), _) | (Binary::Add, Some(0.0), _) => return b,
                _ => instr,
            },
            _ => instr,
        };
        match self.tape.iter().position(|i| *i == folded) {
            Some(at) => at,
            None => {
                self.tape.push(folded);
                self.tape.len() - 1
            }
        }
    }

    /// Appends `other` with its inputs given as results of this tape; returns its result.
    fn append(&mut self, other: &Expr, inputs: &[usize]) -> usize {
        let mut map = Vec::with_capacity(other.tape.len());
        for instr in &other.tape {
            map.push(match *instr {
                Instr::Input(i) => inputs[i],
                Instr::Constant(_) => self.add(*instr),
                Instr::Unary(f, a) => self.add(Instr::Unary(f, map[a])),
                Instr::Binary(f, a, b) => self.add(Instr::Binary(f, map[a], map[b])),
            });
        }
        *map.last().unwrap_or(&0)
    }

    /// This expression with input `i` given by `parts[i]`, each an expression and the new numbers of its inputs.
    pub fn substitute(&self, parts: &[(Expr, Vec<usize>)]) -> Expr {
        let mut out = Expr::default();
        let results: Vec<usize> = parts
            .iter()
            .map(|(expr, numbers)| {
                let inputs: Vec<usize> = numbers.iter().map(|&n| out.add(Instr::Input(n))).collect();
                out.append(expr, &inputs)
            })
            .collect();
        let result = out.append(self, &results);
        out.finish(result)
    }

    /// This expression with its inputs renumbered: input `i` becomes input `numbers[i]`.
    pub fn renumber(&self, numbers: &[usize]) -> Expr {
        let input = |instr: &Instr| match *instr {
            Instr::Input(i) => Instr::Input(numbers[i]),
            other => other,
        };
        Expr { tape: self.tape.iter().map(input).collect() }
    }

    /// The instructions that `result` needs, with `result` last.
    fn finish(&self, result: usize) -> Expr {
        let mut needed = vec![false; self.tape.len()];
        needed[result] = true;
        for at in (0..=result).rev() {
            if needed[at] {
                match self.tape[at] {
                    Instr::Unary(_, a) => needed[a] = true,
                    Instr::Binary(_, a, b) => (needed[a], needed[b]) = (true, true),
                    _ => {}
                }
            }
        }
        let mut map = vec![0; self.tape.len()];
        let mut tape = Vec::new();
        for at in 0..=result {
            if needed[at] {
                map[at] = tape.len();
                tape.push(match self.tape[at] {
                    Instr::Unary(f, a) => Instr::Unary(f, map[a]),
                    Instr::Binary(f, a, b) => Instr::Binary(f, map[a], map[b]),
                    source => source,
                });
            }
        }
        Expr { tape }
    }

    /// Adjoint of input `wrt`, as an expression of the inputs, then the output (`n`), then its adjoint (`n + 1`).
    ///
    /// Reverse accumulation over the instructions. The result itself is read back as input `n`, so that a
    /// derivative that is a function of the output neither computes it again nor keeps the input.
    pub fn gradient(&self, wrt: usize, n: usize) -> Expr {
        let mut out = Expr::default();
        let last = self.tape.len() - 1;
        let mut map = Vec::with_capacity(self.tape.len());
        for (at, instr) in self.tape.iter().enumerate() {
            map.push(match *instr {
                _ if at == last && !matches!(instr, Instr::Input(_) | Instr::Constant(_)) => {
                    out.add(Instr::Input(n))
                }
                Instr::Unary(f, a) => out.add(Instr::Unary(f, map[a])),
                Instr::Binary(f, a, b) => out.add(Instr::Binary(f, map[a], map[b])),
                source => out.add(source),
            });
        }
        let mut adjoint: Vec<Option<usize>> = vec![None; self.tape.len()];
        adjoint[last] = Some(out.add(Instr::Input(n + 1)));
        for at in (0..=last).rev() {
            let Some(dy) = adjoint[at] else { continue };
            let mut give = |out: &mut Expr, to: usize, value: usize| {
                adjoint[to] = Some(match adjoint[to] {
                    Some(old) => out.add(Instr::Binary(Binary::Add, old, value)),
                    None => value,
                });
            };
            match self.tape[at] {
                Instr::Input(_) | Instr::Constant(_) => {}
                Instr::Unary(f, a) => {
                    if let Some(slope) = out.slope(f, map[a], map[at]) {
                        let value = out.add(Instr::Binary(Binary::Mul, dy, slope));
                        give(&mut out, a, value);
                    }
                }
                Instr::Binary(Binary::Add, a, b) => {
                    give(&mut out, a, dy);
                    give(&mut out, b, dy);
                }
                Instr::Binary(Binary::Sub, a, b) => {
                    give(&mut out, a, dy);
                    let value = out.add(Instr::Unary(Unary::Neg, dy));
                    give(&mut out, b, value);
                }
                Instr::Binary(Binary::Mul, a, b) => {
                    let value = out.add(Instr::Binary(Binary::Mul, dy, map[b]));
                    give(&mut out, a, value);
                    let value = out.add(Instr::Binary(Binary::Mul, dy, map[a]));
                    give(&mut out, b, value);
                }
                Instr::Binary(Binary::Div, a, b) => {
                    let part = out.add(Instr::Binary(Binary::Div, dy, map[b]));
                    give(&mut out, a, part);
                    let part = out.add(Instr::Binary(Binary::Mul, part, map[at]));
                    let value = out.add(Instr::Unary(Unary::Neg, part));
                    give(&mut out, b, value);
                }
                Instr::Binary(Binary::Residual, a, b) => {
                    let there = out.add(Instr::Unary(Unary::NotNan, map[b]));
                    let value = out.add(Instr::Binary(Binary::Mul, dy, there));
                    give(&mut out, a, value);
                    let value = out.add(Instr::Unary(Unary::Neg, value));
                    give(&mut out, b, value);
                }
            }
        }
        let result = self
            .tape
            .iter()
            .position(|i| *i == Instr::Input(wrt))
            .and_then(|at| adjoint[at])
            .unwrap_or_else(|| out.add(Instr::Constant(0.0)));
        out.finish(result)
    }

    /// The derivative of `f` at input `x` and output `y`; `None` where it is zero.
    fn slope(&mut self, f: Unary, x: usize, y: usize) -> Option<usize> {
        let scaled = |out: &mut Expr, f: Unary, of: usize, factor: f32| {
            let value = out.add(Instr::Unary(f, of));
            let factor = out.add(Instr::Constant(factor));
            out.add(Instr::Binary(Binary::Mul, value, factor))
        };
        Some(match f.slope() {
            Slope::Constant(0.0) => return None,
            Slope::Constant(c) => self.add(Instr::Constant(c)),
            Slope::OfInput(f, factor) => scaled(self, f, x, factor),
            Slope::OfOutput(f, factor) => scaled(self, f, y, factor),
            Slope::Logistic => {
                let one = self.add(Instr::Constant(1.0));
                let rest = self.add(Instr::Binary(Binary::Sub, one, y));
                self.add(Instr::Binary(Binary::Mul, y, rest))
            }
            Slope::OneMinusSquare => {
                let one = self.add(Instr::Constant(1.0));
                let square = self.add(Instr::Unary(Unary::Square, y));
                self.add(Instr::Binary(Binary::Sub, one, square))
            }
        })
    }

    /// The body of a WGSL function that returns the result; `input(i)` is the text that gives input `i`.
    pub fn wgsl(&self, input: impl Fn(usize) -> String) -> String {
        let mut text = String::new();
        for (at, instr) in self.tape.iter().enumerate() {
            let value = match *instr {
                Instr::Input(i) => input(i),
                Instr::Constant(c) => format!("F({})", literal(c)),
                Instr::Unary(f, a) => f.wgsl(&format!("r{a}")),
                Instr::Binary(f, a, b) => f.wgsl(&format!("r{a}"), &format!("r{b}")),
            };
            text.push_str(&format!("    let r{at} = {value};\n"));
        }
        text + &format!("    return r{};\n", self.tape.len() - 1)
    }

    /// The result in f64.
    pub fn reference(&self, input: impl Fn(usize) -> f64) -> f64 {
        let mut results: Vec<f64> = Vec::with_capacity(self.tape.len());
        for instr in &self.tape {
            results.push(match *instr {
                Instr::Input(i) => input(i),
                Instr::Constant(c) => f64::from(c),
                Instr::Unary(f, a) => f.reference(results[a]),
                Instr::Binary(f, a, b) => f.reference(results[a], results[b]),
            });
        }
        results.last().copied().unwrap_or(0.0)
    }
}

/// A finite f32 as WGSL; infinities and NaN have no literal and are made of bits.
fn literal(c: f32) -> String {
    if c.is_finite() { format!("{c:?}") } else { format!("bitcast<f32>({}u)", c.to_bits()) }
}

/// Elements that the CPU twin computes at once: a few such blocks stay in the first-level cache.
const BLOCK: usize = 512;

/// What an input of [`Expr::run`] looks like along a row.
#[derive(Clone, Copy)]
pub enum Lane<'a> {
    /// An element each.
    Slice(&'a [f32]),
    /// One for all.
    Splat(f32),
}

impl Lane<'_> {
    fn part(self, from: usize, to: usize) -> Self {
        match self {
            Lane::Slice(s) => Lane::Slice(&s[from..to]),
            splat => splat,
        }
    }
}

impl Expr {
    /// The CPU twin: fills `to` from `lanes`, one per input. `scratch` is memory to work in.
    pub fn run(&self, lanes: &[Lane<'_>], to: &mut [f32], scratch: &mut Vec<f32>) {
        scratch.resize(self.tape.len() * BLOCK, 0.0);
        math::vectorise(
            #[inline(always)]
            || self.run_blocks(lanes, to, scratch),
        );
    }

    #[inline(always)]
    fn run_blocks(&self, lanes: &[Lane<'_>], to: &mut [f32], scratch: &mut [f32]) {
        let mut from = 0;
        for to in to.chunks_mut(BLOCK) {
            let n = to.len();
            self.run_block(|i| lanes[i].part(from, from + n), to, scratch);
            from += n;
        }
    }

    /// One block in place: input 0 is what `to` holds.
    pub fn run_in_place(&self, lanes: &[Lane<'_>], to: &mut [f32], scratch: &mut Vec<f32>) {
        scratch.resize((self.tape.len() + 1) * BLOCK, 0.0);
        math::vectorise(
            #[inline(always)]
            || {
                let (own, scratch) = scratch.split_at_mut(BLOCK);
                let mut from = 0;
                for to in to.chunks_mut(BLOCK) {
                    let n = to.len();
                    own[..n].copy_from_slice(to);
                    let own = &own[..n];
                    let lane =
                        |i: usize| if i == 0 { Lane::Slice(own) } else { lanes[i - 1].part(from, from + n) };
                    self.run_block(lane, to, scratch);
                    from += n;
                }
            },
        );
    }

    #[inline(always)]
    fn run_block<'a>(&self, lane: impl Fn(usize) -> Lane<'a>, to: &mut [f32], scratch: &mut [f32]) {
        let n = to.len();
        let last = self.tape.len() - 1;
        for (at, instr) in self.tape.iter().enumerate() {
            let (done, rest) = scratch.split_at_mut(at * BLOCK);
            let to = if at == last { &mut *to } else { &mut rest[..n] };
            let get = |i: usize| match self.tape[i] {
                Instr::Input(i) => lane(i),
                Instr::Constant(c) => Lane::Splat(c),
                _ => Lane::Slice(&done[i * BLOCK..i * BLOCK + n]),
            };
            match *instr {
                // Sources are read where they lie; only a tape that ends with one copies it.
                Instr::Input(_) | Instr::Constant(_) if at != last => {}
                Instr::Input(_) | Instr::Constant(_) => match get(at) {
                    Lane::Slice(s) => to.copy_from_slice(s),
                    Lane::Splat(c) => to.fill(c),
                },
                Instr::Unary(f, a) => match get(a) {
                    Lane::Slice(s) => f.apply(s, to),
                    Lane::Splat(c) => {
                        f.apply(&[c], &mut to[..1]);
                        let value = to[0];
                        to.fill(value);
                    }
                },
                Instr::Binary(f, a, b) => binary(f, get(a), get(b), to),
            }
        }
    }
}

/// `to = f(a, b)`, with the function chosen outside of the loops.
#[inline(always)]
fn binary(f: Binary, a: Lane<'_>, b: Lane<'_>, to: &mut [f32]) {
    #[inline(always)]
    fn each(a: Lane<'_>, b: Lane<'_>, to: &mut [f32], f: impl Fn(f32, f32) -> f32) {
        match (a, b) {
            (Lane::Slice(a), Lane::Slice(b)) => {
                for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
                    *to = f(a, b);
                }
            }
            (Lane::Slice(a), Lane::Splat(b)) => {
                for (to, &a) in to.iter_mut().zip(a) {
                    *to = f(a, b);
                }
            }
            (Lane::Splat(a), Lane::Slice(b)) => {
                for (to, &b) in to.iter_mut().zip(b) {
                    *to = f(a, b);
                }
            }
            (Lane::Splat(a), Lane::Splat(b)) => to.fill(f(a, b)),
        }
    }
    match f {
        Binary::Add => each(a, b, to, |a, b| a + b),
        Binary::Sub => each(a, b, to, |a, b| a - b),
        Binary::Mul => each(a, b, to, |a, b| a * b),
        Binary::Div => each(a, b, to, |a, b| a / b),
        Binary::Residual => each(a, b, to, |a, b| if b.is_nan() { 0.0 } else { a - b }),
    }
}
