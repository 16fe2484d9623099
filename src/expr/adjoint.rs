//! Reverse differentiation of expressions.

use crate::expr::function::Slope;
use crate::expr::{Binary, Expr, Instr, Unary};

impl Expr {
    /// Adjoint of input `wrt`, as an expression of the inputs, then the output (`n`), then its adjoint (`n + 1`).
    ///
    /// The result itself is read back as input `n`, so that a derivative that is a function of the output neither
    /// computes it again nor keeps the input.
    pub fn gradient(&self, wrt: usize, n: usize) -> Expr {
        let mut out = Expr::default();
        let last = self.tape.len() - 1;
        let mut map = Vec::with_capacity(self.tape.len());
        for (at, instr) in self.tape.iter().enumerate() {
            let whole = at == last && !matches!(instr, Instr::Input(_) | Instr::Constant(_));
            let instr = if whole { Instr::Input(n) } else { instr.renumber(|r| map[r]) };
            map.push(out.add(instr));
        }
        let dy = out.add(Instr::Input(n + 1));
        let adjoints = self.accumulate(&mut out, &map, &[(last, dy)]);
        let result = self.input_adjoint(&mut out, &adjoints, wrt);
        out.finish(result)
    }

    /// The adjoint of input `wrt` among those of all instructions.
    pub(super) fn input_adjoint(&self, out: &mut Expr, adjoints: &[Option<usize>], wrt: usize) -> usize {
        let place = self.tape.iter().position(|i| *i == Instr::Input(wrt));
        place.and_then(|at| adjoints[at]).unwrap_or_else(|| out.add(Instr::Constant(0.0)))
    }

    /// Reverse accumulation: from the adjoints of some instructions those of all before them, appended to `out`. The
    /// instructions' own results are at `map` in `out`.
    pub(super) fn accumulate(
        &self,
        out: &mut Expr,
        map: &[usize],
        seeds: &[(usize, usize)],
    ) -> Vec<Option<usize>> {
        let mut walk = Backward { out, map, adjoints: vec![None; self.tape.len()] };
        seeds.iter().for_each(|&(at, value)| walk.give(at, value));
        for at in (0..self.tape.len()).rev() {
            let Some(dy) = walk.adjoints[at] else { continue };
            match self.tape[at] {
                Instr::Input(_) | Instr::Constant(_) => {}
                Instr::Unary(f, a) => {
                    if let Some(slope) = walk.out.slope(f, map[a], map[at]) {
                        let value = walk.times(dy, slope);
                        walk.give(a, value);
                    }
                }
                Instr::Select(c, a, b) => {
                    let zero = walk.out.add(Instr::Constant(0.0));
                    let value = walk.out.add(Instr::Select(map[c], dy, zero));
                    walk.give(a, value);
                    let value = walk.out.add(Instr::Select(map[c], zero, dy));
                    walk.give(b, value);
                }
                Instr::Binary(f, a, b) => walk.binary(f, at, [a, b], dy),
            }
        }
        walk.adjoints
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
            Slope::OnePlus => {
                let one = self.add(Instr::Constant(1.0));
                self.add(Instr::Binary(Binary::Add, y, one))
            }
            Slope::ReciprocalOnePlus => {
                let one = self.add(Instr::Constant(1.0));
                let sum = self.add(Instr::Binary(Binary::Add, x, one));
                self.add(Instr::Unary(Unary::Reciprocal, sum))
            }
            Slope::SquareTimes(f) => {
                let square = self.add(Instr::Unary(Unary::Square, y));
                let factor = self.add(Instr::Unary(f, x));
                self.add(Instr::Binary(Binary::Mul, square, factor))
            }
            Slope::OneMinusSquare => {
                let one = self.add(Instr::Constant(1.0));
                let square = self.add(Instr::Unary(Unary::Square, y));
                self.add(Instr::Binary(Binary::Sub, one, square))
            }
        })
    }
}

/// The adjoints of a tape's instructions in the making.
struct Backward<'a> {
    out: &'a mut Expr,
    /// Places of the instructions' results in `out`.
    map: &'a [usize],
    adjoints: Vec<Option<usize>>,
}

impl Backward<'_> {
    /// Adds to the adjoint of instruction `to`.
    fn give(&mut self, to: usize, value: usize) {
        self.adjoints[to] = Some(match self.adjoints[to] {
            Some(old) => self.out.add(Instr::Binary(Binary::Add, old, value)),
            None => value,
        });
    }

    fn times(&mut self, a: usize, b: usize) -> usize {
        self.out.add(Instr::Binary(Binary::Mul, a, b))
    }

    /// The adjoints of both operands of instruction `at`, whose own is `dy`.
    fn binary(&mut self, f: Binary, at: usize, [a, b]: [usize; 2], dy: usize) {
        match f {
            Binary::Add => {
                self.give(a, dy);
                self.give(b, dy);
            }
            Binary::Sub => {
                self.give(a, dy);
                let value = self.out.add(Instr::Unary(Unary::Neg, dy));
                self.give(b, value);
            }
            Binary::Mul => {
                let value = self.times(dy, self.map[b]);
                self.give(a, value);
                let value = self.times(dy, self.map[a]);
                self.give(b, value);
            }
            Binary::Div => {
                let part = self.out.add(Instr::Binary(Binary::Div, dy, self.map[b]));
                self.give(a, part);
                let part = self.times(part, self.map[at]);
                let value = self.out.add(Instr::Unary(Unary::Neg, part));
                self.give(b, value);
            }
            Binary::Residual => {
                let there = self.out.add(Instr::Unary(Unary::NotNan, self.map[b]));
                let value = self.times(dy, there);
                self.give(a, value);
                let value = self.out.add(Instr::Unary(Unary::Neg, value));
                self.give(b, value);
            }
            Binary::Pow => {
                let one = self.out.add(Instr::Constant(1.0));
                let less = self.out.add(Instr::Binary(Binary::Sub, self.map[b], one));
                let power = self.out.add(Instr::Binary(Binary::Pow, self.map[a], less));
                let slope = self.times(self.map[b], power);
                let value = self.times(dy, slope);
                self.give(a, value);
                // Of a base that is not above zero there is no logarithm: the power is then a constant.
                let zero = self.out.add(Instr::Constant(0.0));
                let above = self.out.add(Instr::Binary(Binary::Less, zero, self.map[a]));
                let log = self.out.add(Instr::Unary(Unary::Log, self.map[a]));
                let slope = self.times(self.map[at], log);
                let value = self.times(dy, slope);
                let value = self.out.add(Instr::Select(above, value, zero));
                self.give(b, value);
            }
            Binary::Max | Binary::Min => {
                let (low, high) = if f == Binary::Max { (a, b) } else { (b, a) };
                let second = self.out.add(Instr::Binary(Binary::Less, self.map[low], self.map[high]));
                let zero = self.out.add(Instr::Constant(0.0));
                let value = self.out.add(Instr::Select(second, zero, dy));
                self.give(a, value);
                let value = self.out.add(Instr::Select(second, dy, zero));
                self.give(b, value);
            }
            Binary::Less | Binary::Poisson => {}
            Binary::Instead => self.give(b, dy),
        }
    }
}
