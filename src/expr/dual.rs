//! Numbers with their derivatives in some directions, and with them the adjoint step of a system as machine code.
//!
//! A step has few inputs, so that its derivatives by all of them, forward with its values, cost little; and a derivative
//! that is zero whatever the inputs are is so for the compiler too, which leaves out what follows from it.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::expr::function::{Binary, Slope, Unary};
use crate::expr::real::Real;
use crate::expr::system::{Block, MOST, System, WIDE, Wide};

/// Most directions: an operand and the states.
pub(super) const DIRECTIONS: usize = 4;

/// A number and its derivatives; none where it does not depend on a direction at all.
#[derive(Clone, Copy)]
pub(super) struct Dual {
    value: f32,
    slopes: [Option<f32>; DIRECTIONS],
}

impl Dual {
    #[inline(always)]
    fn constant(value: f32) -> Self {
        Self { value, slopes: [None; DIRECTIONS] }
    }

    /// A value whose derivative is `slope` times that of this number.
    #[inline(always)]
    fn chain(self, value: f32, slope: f32) -> Self {
        Self { value, slopes: self.slopes.map(|d| d.map(|d| d * slope)) }
    }

    /// A value whose derivative is made of both numbers' by `f`, which gets none for zero.
    #[inline(always)]
    fn join(self, other: Self, value: f32, f: impl Fn(Option<f32>, Option<f32>) -> Option<f32>) -> Self {
        let mut slopes = self.slopes;
        for (own, other) in slopes.iter_mut().zip(other.slopes) {
            *own = f(*own, other);
        }
        Self { value, slopes }
    }

    /// `a da + b db`
    #[inline(always)]
    fn sum(self, other: Self, value: f32, a: f32, b: f32) -> Self {
        self.join(
            other,
            value,
            #[inline(always)]
            |da, db| match (da, db) {
                (Some(da), Some(db)) => Some(a * da + b * db),
                (Some(da), None) => Some(a * da),
                (None, Some(db)) => Some(b * db),
                (None, None) => None,
            },
        )
    }

    /// The derivative of one of the two.
    #[inline(always)]
    fn either(self, other: Self, value: f32, first: bool) -> Self {
        self.join(
            other,
            value,
            #[inline(always)]
            |da, db| match (da, db) {
                (None, None) => None,
                (da, db) => Some(if first { da.unwrap_or(0.0) } else { db.unwrap_or(0.0) }),
            },
        )
    }
}

impl Real for Dual {
    #[inline(always)]
    fn number(value: f64) -> Self {
        Self::constant(value as f32)
    }

    #[inline(always)]
    fn unary(self, f: Unary) -> Self {
        let (x, y) = (self.value, f.value(self.value));
        let slope = match f.slope() {
            Slope::Constant(0.0) => return Self::constant(y),
            Slope::Constant(c) => c,
            Slope::OfInput(f, factor) => f.value(x) * factor,
            Slope::OfOutput(f, factor) => f.value(y) * factor,
            Slope::Logistic => y * (1.0 - y),
            Slope::OneMinusSquare => 1.0 - y * y,
            Slope::OnePlus => y + 1.0,
            Slope::ReciprocalOnePlus => 1.0 / (x + 1.0),
            Slope::SquareTimes(f) => y * y * f.value(x),
        };
        self.chain(y, slope)
    }

    #[inline(always)]
    fn binary(self, f: Binary, other: Self) -> Self {
        let (a, b) = (self.value, other.value);
        let y = f.value(a, b);
        match f {
            Binary::Add => self.sum(other, y, 1.0, 1.0),
            Binary::Sub => self.sum(other, y, 1.0, -1.0),
            Binary::Mul => self.sum(other, y, b, a),
            Binary::Div => self.sum(other, y, 1.0 / b, -y / b),
            Binary::Residual => {
                let there = Unary::NotNan.value(b);
                self.sum(other, y, there, -there)
            }
            Binary::Pow => {
                let by_exponent = if 0.0 < a { y * Unary::Log.value(a) } else { 0.0 };
                self.sum(other, y, b * Binary::Pow.value(a, b - 1.0), by_exponent)
            }
            Binary::Max => other.either(self, y, a < b),
            Binary::Min => other.either(self, y, b < a),
            Binary::Less | Binary::Poisson => Self::constant(y),
            Binary::Instead => Self { value: y, ..other },
        }
    }

    #[inline(always)]
    fn select(self, yes: Self, no: Self) -> Self {
        let holds = self.value != 0.0;
        yes.either(no, if holds { yes.value } else { no.value }, holds)
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        let value = self.value.mul_add(factor.value, term.value);
        Self { value, ..self * factor + term }
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident)*) => {
        $(impl $trait for Dual {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.binary(Binary::$trait, other)
            }
        })*
    };
}
operators!(Add add Sub sub Mul mul Div div);

impl Neg for Dual {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.unary(Unary::Neg)
    }
}

/// The adjoint step of a system for its first operand. Operands are those of the system, its states and the adjoint of its
/// output; states are the adjoints of the next states.
#[derive(Clone)]
pub(super) struct AdjointOf<S>(pub S);

impl<S: System> AdjointOf<S> {
    /// True if it is small enough.
    pub const FITS: bool = S::OPERANDS + 2 * S::STATES < MOST && S::STATES < DIRECTIONS && !S::DELAYED;
}

impl<S: System> Wide for AdjointOf<S> {
    const OPERANDS: usize = S::OPERANDS + S::STATES + 1;
    const STATES: usize = S::STATES;
    const DELAYED: bool = false;
    const WHOLE: bool = false;

    #[inline(always)]
    fn step_all(&self, x: &Block, next: &mut Block) {
        for i in 0..WIDE {
            let mut results = [0.0; MOST];
            adjoint(&self.0, &std::array::from_fn(|k| x[k][i]), &mut results);
            for k in 0..1 + S::STATES {
                next[k][i] = results[k];
            }
        }
    }
}

/// One element of it.
#[inline(always)]
pub(super) fn adjoint<S: System>(system: &S, x: &[f32; MOST], results: &mut [f32; MOST]) {
    let inputs = S::OPERANDS + S::STATES;
    let mut duals = [Dual::constant(0.0); MOST];
    for k in 0..inputs {
        duals[k].value = x[k];
    }
    // Directions are the operand, then the states.
    duals[0].slopes[0] = Some(1.0);
    for k in 0..S::STATES {
        duals[S::OPERANDS + k].slopes[1 + k] = Some(1.0);
    }
    let mut next = [Dual::constant(0.0); MOST];
    system.step(&duals[..inputs], &mut next[..1 + S::STATES]);
    for (d, result) in results.iter_mut().enumerate().take(1 + S::STATES) {
        let mut sum = None;
        for k in 0..1 + S::STATES {
            if let Some(slope) = next[k].slopes[d] {
                let term = slope * x[inputs + k];
                sum = Some(sum.map_or(term, |sum: f32| sum + term));
            }
        }
        let sum = sum.unwrap_or(0.0);
        // Adjoints of states decay as the states do.
        *result = if d > 0 { Unary::Flush.value(sum) } else { sum };
    }
}
