//! A scalar expression as a list of instructions: what elementwise operators, and the ends of matmuls and
//! reductions, compute for each element.
//!
//! One form serves three ends: it is differentiated here, written out as WGSL, and run by the CPU twin over
//! blocks of elements.

mod adjoint;
pub mod compiled;
mod dual;
pub mod function;
mod interpret;
pub mod operands;
pub mod real;
mod run;
pub mod scan_cpu;
pub mod step;
pub mod system;

use std::hash::{Hash, Hasher};

pub use function::{Binary, Surrogate, Unary};
pub use run::{BLOCK, Lane, Slots};
pub use step::Step;
pub use system::System;

/// An instruction; operands are indices of earlier instructions.
#[derive(Clone, Copy, Debug)]
pub enum Instr {
    /// The element of input `i`.
    Input(usize),
    /// A number.
    Constant(f32),
    /// A function of one earlier result.
    Unary(Unary, usize),
    /// A function of two earlier results.
    Binary(Binary, usize, usize),
    /// The second result where the first is not zero, else the third.
    Select(usize, usize, usize),
}

/// Numbers differ where their bits do: `1 / 0` is not `1 / -0`.
impl PartialEq for Instr {
    fn eq(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Instr::Input(a), Instr::Input(b)) => a == b,
            (Instr::Constant(a), Instr::Constant(b)) => a.to_bits() == b.to_bits(),
            (Instr::Unary(f, a), Instr::Unary(g, b)) => (f, a) == (g, b),
            (Instr::Binary(f, a, b), Instr::Binary(g, c, d)) => (f, a, b) == (g, c, d),
            (Instr::Select(a, b, c), Instr::Select(d, e, f)) => (a, b, c) == (d, e, f),
            _ => false,
        }
    }
}

impl Eq for Instr {}

impl Hash for Instr {
    fn hash<H: Hasher>(&self, to: &mut H) {
        std::mem::discriminant(self).hash(to);
        match *self {
            Instr::Input(i) => i.hash(to),
            Instr::Constant(c) => c.to_bits().hash(to),
            Instr::Unary(f, a) => (f, a).hash(to),
            Instr::Binary(f, a, b) => (f, a, b).hash(to),
            Instr::Select(a, b, c) => (a, b, c).hash(to),
        }
    }
}

/// Instructions in order; the last is the result.
#[derive(Clone, Debug, PartialEq, Default, Hash)]
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

    /// Turns of the loops of its functions in a shader, for one element or one vector.
    pub fn turns(&self) -> usize {
        let of = |instr: &Instr| if let Instr::Binary(f, ..) = instr { f.turns() } else { 0 };
        self.tape.iter().map(of).sum()
    }

    /// The sum of `n` inputs.
    pub fn sum(n: usize) -> Self {
        let mut tape = vec![Instr::Input(0)];
        for i in 1..n {
            let total = tape.len() - 1;
            tape.extend([Instr::Input(i), Instr::Binary(Binary::Add, total, total + 1)]);
        }
        Self { tape }
    }

    /// True if it is [`Expr::sum`] of `n` inputs, in some order.
    pub fn is_sum(&self, n: usize) -> bool {
        let inputs = self.tape.iter().filter(|i| matches!(i, Instr::Input(_))).count();
        let adds = self.tape.iter().filter(|i| matches!(i, Instr::Binary(Binary::Add, ..))).count();
        // A result of n - 1 sums of n inputs reads each of them once.
        n > 0 && inputs == n && adds == n - 1 && self.tape.len() == 2 * n - 1
    }

    /// True if its derivative is that of its value: no function in it has a surrogate.
    pub fn own_derivative(&self) -> bool {
        self.tape
            .iter()
            .all(|i| !matches!(i, Instr::Unary(Unary::Spike(_), _) | Instr::Binary(Binary::Instead, ..)))
    }

    /// True if it is the element of its only input.
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
    pub(super) fn add(&mut self, instr: Instr) -> usize {
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
                (Binary::Max, _, Some(f32::NEG_INFINITY)) => return a,
                (Binary::Mul, Some(0.0), _) => return a,
                (Binary::Mul, _, Some(0.0)) => return b,
                _ => instr,
            },
            Instr::Select(c, a, b) => match constant(&self.tape, c) {
                Some(c) => return if c == 0.0 { b } else { a },
                None if a == b => return a,
                None => instr,
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
                other => self.add(other.renumber(|r| map[r])),
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
        self.needed(&[result]).0
    }

    /// The instructions that `results` need, and where those are then.
    pub(super) fn needed(&self, results: &[usize]) -> (Expr, Vec<usize>) {
        let mut needed = vec![false; self.tape.len()];
        results.iter().for_each(|&r| needed[r] = true);
        for at in (0..self.tape.len()).rev() {
            if needed[at] {
                self.tape[at].reads().for_each(|r| needed[r] = true);
            }
        }
        let mut map = vec![0; self.tape.len()];
        let mut tape = Vec::new();
        for at in (0..self.tape.len()).filter(|&at| needed[at]) {
            map[at] = tape.len();
            tape.push(self.tape[at].renumber(|r| map[r]));
        }
        (Expr { tape }, results.iter().map(|&r| map[r]).collect())
    }

    /// The body of a WGSL function that returns the result; `input(i)` is the text that gives input `i`.
    pub fn wgsl(&self, input: impl Fn(usize) -> String) -> String {
        self.wgsl_lines(input) + &format!("    return r{};\n", self.tape.len() - 1)
    }

    /// A WGSL constant `r` for each instruction.
    pub(super) fn wgsl_lines(&self, input: impl Fn(usize) -> String) -> String {
        let mut text = String::new();
        for (at, instr) in self.tape.iter().enumerate() {
            let value = match *instr {
                Instr::Input(i) => input(i),
                Instr::Constant(c) => format!("F({})", literal(c)),
                Instr::Unary(f, a) => f.wgsl(&format!("r{a}")),
                Instr::Binary(f, a, b) => f.wgsl(&format!("r{a}"), &format!("r{b}")),
                Instr::Select(c, a, b) => format!("select(r{b}, r{a}, r{c} != F(0.0))"),
            };
            text.push_str(&format!("    let r{at} = {value};\n"));
        }
        text
    }

    /// The result in f64.
    pub fn reference(&self, input: impl Fn(usize) -> f64) -> f64 {
        self.references(input, |x| x).last().copied().unwrap_or(0.0)
    }

    /// The result in f64, with `held` of each instruction's result: rounding, or none.
    pub(crate) fn reference_held(&self, held: impl Fn(f64) -> f64, input: impl Fn(usize) -> f64) -> f64 {
        self.references(input, held).last().copied().unwrap_or(0.0)
    }

    /// The results of all instructions in f64, each as it is held.
    pub(super) fn references(&self, input: impl Fn(usize) -> f64, held: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut results: Vec<f64> = Vec::with_capacity(self.tape.len());
        for instr in &self.tape {
            results.push(match *instr {
                Instr::Input(i) => input(i),
                Instr::Constant(c) => f64::from(c),
                Instr::Unary(f, a) => held(f.reference(results[a])),
                Instr::Binary(f, a, b) => held(f.reference(results[a], results[b])),
                Instr::Select(c, a, b) => results[if results[c] == 0.0 { b } else { a }],
            });
        }
        results
    }
}

impl Instr {
    /// The results that it reads.
    pub(super) fn reads(self) -> impl Iterator<Item = usize> {
        let [a, b, c] = match self {
            Instr::Input(_) | Instr::Constant(_) => [None; 3],
            Instr::Unary(_, a) => [Some(a), None, None],
            Instr::Binary(_, a, b) => [Some(a), Some(b), None],
            Instr::Select(c, a, b) => [Some(c), Some(a), Some(b)],
        };
        [a, b, c].into_iter().flatten()
    }

    /// The same on results with other places.
    pub(super) fn renumber(self, to: impl Fn(usize) -> usize) -> Self {
        match self {
            Instr::Unary(f, a) => Instr::Unary(f, to(a)),
            Instr::Binary(f, a, b) => Instr::Binary(f, to(a), to(b)),
            Instr::Select(c, a, b) => Instr::Select(to(c), to(a), to(b)),
            source => source,
        }
    }
}

/// A finite f32 as WGSL; infinities and NaN have no literal and are made of bits.
fn literal(c: f32) -> String {
    if c.is_finite() { format!("{c:?}") } else { format!("bitcast<f32>({}u)", c.to_bits()) }
}
