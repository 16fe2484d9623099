//! The numbers that step functions are written in: one definition serves the CPU twin (`f32`), the host's mathematics and
//! the reference (`f64`), and, as a [`Var`] that records the operations on it, the shader and the derivative.

use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::expr::function::{Binary, Bump, Unary};
use crate::expr::{Expr, Instr};

/// A number of a step function.
///
/// Conditions are numbers too: 1 where they hold, else 0. So nothing branches, and a loop over neurons is vectorised.
pub trait Real:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// A constant.
    fn number(value: f64) -> Self;
    /// A function of it.
    fn unary(self, f: Unary) -> Self;
    /// A function of it and another.
    fn binary(self, f: Binary, other: Self) -> Self;
    /// `yes` where `self` is a condition that holds, else `no`.
    fn select(self, yes: Self, no: Self) -> Self;

    /// `self * factor + term`, in `f32` rounded once.
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self * factor + term
    }
    /// 1 where `self < other`, else 0.
    #[inline(always)]
    fn less(self, other: Self) -> Self {
        self.binary(Binary::Less, other)
    }
    /// The larger of two.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.binary(Binary::Max, other)
    }
    /// The smaller of two.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.binary(Binary::Min, other)
    }
    /// `e^x`
    #[inline(always)]
    fn exp(self) -> Self {
        self.unary(Unary::Exp)
    }
    /// `e^x - 1`
    #[inline(always)]
    fn exp_m1(self) -> Self {
        self.unary(Unary::Expm1)
    }
    /// Natural logarithm.
    #[inline(always)]
    fn ln(self) -> Self {
        self.unary(Unary::Log)
    }
    /// `ln(1 + x)`
    #[inline(always)]
    fn ln_1p(self) -> Self {
        self.unary(Unary::Log1p)
    }
    /// The largest whole number that is not larger.
    #[inline(always)]
    fn floor(self) -> Self {
        self.unary(Unary::Floor)
    }
    /// The whole part, towards zero.
    #[inline(always)]
    fn trunc(self) -> Self {
        self.unary(Unary::Trunc)
    }
    /// Zero where it is too small to matter, so that decaying states never become denormal.
    #[inline(always)]
    fn flush(self) -> Self {
        self.unary(Unary::Flush)
    }
    /// 1 where it is above zero, else 0; the derivative is the surrogate's.
    #[inline(always)]
    fn spike(self, surrogate: Bump) -> Self {
        self.unary(Unary::Spike(surrogate))
    }
    /// Its value, with the derivative of `other`.
    #[inline(always)]
    fn with_gradient_of(self, other: Self) -> Self {
        self.binary(Binary::Instead, other)
    }
    /// Its value, as a constant for the derivative.
    #[inline(always)]
    fn detach(self) -> Self {
        self.with_gradient_of(Self::number(0.0))
    }
}

macro_rules! plain {
    ($t:ident, $unary:ident, $binary:ident) => {
        impl Real for $t {
            #[inline(always)]
            fn mul_add(self, factor: Self, term: Self) -> Self {
                $t::mul_add(self, factor, term)
            }
            #[inline(always)]
            fn number(value: f64) -> Self {
                value as $t
            }
            #[inline(always)]
            fn unary(self, f: Unary) -> Self {
                f.$unary(self)
            }
            #[inline(always)]
            fn binary(self, f: Binary, other: Self) -> Self {
                f.$binary(self, other)
            }
            #[inline(always)]
            fn select(self, yes: Self, no: Self) -> Self {
                if self == 0.0 { no } else { yes }
            }
        }
    };
}
plain!(f32, value, value);
plain!(f64, reference, reference);

/// A number that records the operations on it.
#[derive(Clone, Copy)]
pub enum Var<'t> {
    /// A constant, not yet written down.
    Number(f32),
    /// A result on a tape.
    On(&'t RefCell<Expr>, usize),
}

impl<'t> Var<'t> {
    /// Input `i` of a tape.
    pub fn input(tape: &'t RefCell<Expr>, i: usize) -> Self {
        let at = tape.borrow_mut().add(Instr::Input(i));
        Var::On(tape, at)
    }

    fn tape(self) -> Option<&'t RefCell<Expr>> {
        match self {
            Var::Number(_) => None,
            Var::On(tape, _) => Some(tape),
        }
    }

    /// Its place on `tape`.
    pub fn place(self, tape: &RefCell<Expr>) -> usize {
        match self {
            Var::Number(c) => tape.borrow_mut().add(Instr::Constant(c)),
            Var::On(_, at) => at,
        }
    }
}

impl Real for Var<'_> {
    fn number(value: f64) -> Self {
        Var::Number(value as f32)
    }

    fn unary(self, f: Unary) -> Self {
        match self {
            Var::Number(c) => Var::Number(f.value(c)),
            Var::On(tape, at) => Var::On(tape, tape.borrow_mut().add(Instr::Unary(f, at))),
        }
    }

    fn binary(self, f: Binary, other: Self) -> Self {
        match (self, other) {
            (Var::Number(a), Var::Number(b)) => Var::Number(f.value(a, b)),
            _ => {
                let Some(tape) = self.tape().or(other.tape()) else { return self };
                let (a, b) = (self.place(tape), other.place(tape));
                Var::On(tape, tape.borrow_mut().add(Instr::Binary(f, a, b)))
            }
        }
    }

    fn select(self, yes: Self, no: Self) -> Self {
        match self {
            Var::Number(0.0) => no,
            Var::Number(_) => yes,
            Var::On(tape, condition) => {
                let (yes, no) = (yes.place(tape), no.place(tape));
                Var::On(tape, tape.borrow_mut().add(Instr::Select(condition, yes, no)))
            }
        }
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident)*) => {
        $(impl $trait for Var<'_> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.binary(Binary::$trait, other)
            }
        })*
    };
}
operators!(Add add Sub sub Mul mul Div div);

impl Neg for Var<'_> {
    type Output = Self;
    fn neg(self) -> Self {
        self.unary(Unary::Neg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cpu::math;

    #[test]
    fn constants_are_folded() {
        let Var::Number(x) = Var::number(0.5).exp() + Var::number(1.0) else { panic!("not folded") };
        assert_eq!(x, math::exp(0.5) + 1.0);
    }
}
