//! One step of a system in time as a list of instructions: from inputs and states to an output and the next states.
//!
//! Written once, as a Rust function of [`Var`]s; the shader's text, the CPU twin, the values in f64 and the adjoint step
//! all follow from it.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};

use crate::expr::compiled::Compiled;
use crate::expr::function::{Binary, Unary};
use crate::expr::real::{Real, Var};
use crate::expr::system::System;
use crate::expr::{Expr, Instr, Lane, Slots};

/// A step. Its first result is the output, the others are the next states.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    expr: Expr,
    results: Vec<usize>,
    slots: Slots,
    /// The same as machine code, where it was written as a [`System`].
    compiled: Option<Compiled>,
    /// True if it has an adjoint.
    differentiable: bool,
}

/// Slots and machine code follow from the rest.
impl Hash for Step {
    fn hash<H: Hasher>(&self, to: &mut H) {
        let Self { expr, results, slots: _, compiled: _, differentiable } = self;
        (expr, results, differentiable).hash(to);
    }
}

impl Step {
    /// The step of a system.
    pub fn of_system<S: System>(system: S) -> Self {
        let step = Self::new(S::INPUTS, |inputs| {
            let mut next = vec![Var::number(0.0); 1 + S::STATES];
            system.step(inputs, &mut next);
            next
        });
        Self { compiled: Some(Compiled::new(system)), ..step }
    }

    /// Without an adjoint: an error where one is asked for.
    pub fn without_gradient(self) -> Self {
        Self { differentiable: false, ..self }
    }

    /// True if it has an adjoint.
    pub fn is_differentiable(&self) -> bool {
        self.differentiable
    }

    /// Its output as an expression of its inputs, where that is all it gives.
    pub fn expression(&self) -> Option<&Expr> {
        let last = self.expr.tape.len().checked_sub(1)?;
        (self.results == [last]).then_some(&self.expr)
    }

    /// The step that `f` makes of `inputs` numbers: the operands first, then the states.
    pub fn new(inputs: usize, f: impl for<'t> FnOnce(&[Var<'t>]) -> Vec<Var<'t>>) -> Self {
        let tape = RefCell::new(Expr::default());
        let inputs: Vec<Var<'_>> = (0..inputs).map(|i| Var::input(&tape, i)).collect();
        let results: Vec<usize> = f(&inputs).into_iter().map(|r| r.place(&tape)).collect();
        let expr = tape.borrow().clone();
        Self::of(&expr, &results)
    }

    fn of(expr: &Expr, results: &[usize]) -> Self {
        let (expr, results) = expr.needed(results);
        let slots = Slots::new(&expr, &results);
        Self { expr, results, slots, compiled: None, differentiable: true }
    }

    /// Number of instructions.
    pub fn instructions(&self) -> usize {
        self.expr.tape.len()
    }

    /// See [`Expr::turns`].
    pub fn turns(&self) -> usize {
        self.expr.turns()
    }

    /// Number of results.
    pub fn results(&self) -> usize {
        self.results.len()
    }

    /// True if input `i` has any influence.
    pub fn uses(&self, i: usize) -> bool {
        self.expr.tape.contains(&Instr::Input(i))
    }

    /// See [`Expr::own_derivative`].
    pub fn own_derivative(&self) -> bool {
        self.expr.own_derivative()
    }

    /// Those of the first `operands` inputs that it uses, and the step without the others.
    pub fn with_used(self, operands: usize, states: usize) -> (Vec<usize>, Self) {
        let used: Vec<usize> = (0..operands).filter(|&i| self.uses(i)).collect();
        let mut number = vec![0; operands + states];
        used.iter().enumerate().for_each(|(new, &old)| number[old] = new);
        (0..states).for_each(|k| number[operands + k] = used.len() + k);
        let compiled = self.compiled.as_ref().map(|c| c.with_operands(&used));
        let step = Self { expr: self.expr.renumber(&number), compiled, ..self };
        (used, step)
    }

    /// The step without instructions that only derivatives need.
    pub fn forward(&self) -> Self {
        let mut out = Expr::default();
        let mut map = Vec::with_capacity(self.expr.tape.len());
        for instr in &self.expr.tape {
            map.push(match instr.renumber(|r| map[r]) {
                Instr::Binary(Binary::Instead, a, _) => a,
                other => out.add(other),
            });
        }
        let results: Vec<usize> = self.results.iter().map(|&r| map[r]).collect();
        Self { compiled: self.compiled.clone(), ..Self::of(&out, &results) }
    }

    /// The adjoint step for operand `wrt` of a step with `operands` and then `states` inputs. Its inputs are those of
    /// this step, then the adjoint of the output, then those of the next states; its results are the adjoint of the
    /// operand, then those of the states.
    pub fn adjoint(&self, operands: usize, states: usize, wrt: usize) -> Self {
        let mut out = Expr::default();
        let mut map = Vec::with_capacity(self.expr.tape.len());
        for instr in &self.expr.tape {
            let instr = instr.renumber(|r| map[r]);
            map.push(out.add(instr));
        }
        let first = operands + states;
        let seeds: Vec<(usize, usize)> =
            self.results.iter().enumerate().map(|(k, &r)| (r, out.add(Instr::Input(first + k)))).collect();
        let adjoints = self.expr.accumulate(&mut out, &map, &seeds);
        let wanted = std::iter::once(wrt).chain(operands..first);
        let results: Vec<usize> = wanted
            .map(|i| {
                let adjoint = self.expr.input_adjoint(&mut out, &adjoints, i);
                // Adjoints of states decay as the states do.
                if i >= operands { out.add(Instr::Unary(Unary::Flush, adjoint)) } else { adjoint }
            })
            .collect();
        let compiled = self.compiled.as_ref().and_then(|c| c.adjoint(wrt));
        Self { compiled, ..Self::of(&out, &results) }
    }

    /// WGSL constants, and the name of each result among them.
    pub fn wgsl(&self, input: impl Fn(usize) -> String) -> (String, Vec<String>) {
        (self.expr.wgsl_lines(input), self.results.iter().map(|r| format!("r{r}")).collect())
    }

    /// The results in f64.
    pub fn reference(&self, input: impl Fn(usize) -> f64) -> Vec<f64> {
        self.all(self.expr.references(input, |x| x))
    }

    /// The results in f64, with `held` of each instruction's result: rounding, or none.
    pub(crate) fn reference_held(&self, held: impl Fn(f64) -> f64, input: impl Fn(usize) -> f64) -> Vec<f64> {
        self.all(self.expr.references(input, held))
    }

    fn all(&self, instructions: Vec<f64>) -> Vec<f64> {
        self.results.iter().map(|&r| instructions[r]).collect()
    }

    /// The CPU twin on up to [`crate::expr::BLOCK`] elements; `scratch` holds at least [`Step::floats`].
    #[inline(always)]
    pub fn run<'a>(
        &self,
        n: usize,
        lane: impl Fn(usize) -> Lane<'a>,
        scratch: &mut [f32],
        store: impl FnMut(usize, Lane<'_>),
    ) {
        self.expr.run_all(&self.slots, &self.results, n, lane, scratch, store);
    }

    /// The machine code, where there is some.
    pub fn compiled(&self) -> Option<&Compiled> {
        self.compiled.as_ref()
    }

    /// Floats of memory that [`Step::run`] needs.
    pub fn floats(&self) -> usize {
        self.slots.floats()
    }
}

/// Error message for a time step that is too short for a time constant: single precision keeps less than two bits of it where
/// a state is near 1. `None` for longer steps.
pub(crate) fn lost_step(dt: f64, what: &str, tau: f64) -> Option<String> {
    let least = tau / (1 << 21) as f64;
    (dt < least).then(|| {
        format!("a time step of {dt} s is lost in single precision beside {what}, {tau} s; take at least {least:.1e} s")
    })
}
