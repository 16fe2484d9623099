//! Functions of signals as operators, computed on the device.

use std::sync::Arc;

use crate::expr::Unary;
use crate::graph::{Tensor, Type};
use crate::network::function::expression::{One, Two, Value};
use crate::network::function::{Body, Function, Named};
use crate::op::callback::CallbackFactory;

/// Largest whole exponent computed by products; larger ones use a power.
const MAX_FACTORS: f64 = 16.0;

/// Lower bound of a sum of squares, so that the norm has a derivative at zero.
const MIN_SQUARE: f32 = 1e-30;

impl Function {
    /// Values for each row of `x`, concatenated; `None` for a closure, which only the host can call.
    pub(crate) fn of_signal<'s>(&self, x: Tensor<'s>) -> Option<Tensor<'s>> {
        match &self.body {
            Body::Named(named) => Some(named.of_signal(x)),
            Body::Expressions(parts) => {
                let input = |i| Signal::Column(column(x, i));
                let mut values = parts.iter().map(|p| p.value(input, |n| Signal::Number(x, n)).tensor());
                let first = values.next()?;
                let rest: Vec<Tensor<'s>> = values.collect();
                Some(if rest.is_empty() { first } else { first.concat(&rest) })
            }
            Body::Closure(_) => None,
        }
    }

    /// A callback for a closure, shared by all examples, which the host calls between two parts of a run. `None` for functions
    /// that the device computes.
    pub(crate) fn on_host(&self) -> Option<CallbackFactory> {
        let Body::Closure(f) = &self.body else { return None };
        let f = f.clone();
        let of_row = move |_: f64, x: &[f32]| -> Vec<f32> {
            let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            f(&x).into_iter().map(|y| y as f32).collect()
        };
        Some(Arc::new(move |_| Box::new(of_row.clone())))
    }
}

impl Named {
    fn of_signal(self, x: Tensor<'_>) -> Tensor<'_> {
        match self {
            Named::Identity => x,
            Named::Square => x.square(),
            Named::Abs => x.abs(),
            Named::Sin => x.unary(Unary::Sin),
            Named::Cos => x.unary(Unary::Cos),
            Named::Zero => x.scope.constant(0.0).expand(Type::fixed(1, x.ty().cols)),
            Named::Product => {
                // Multiply halves together, so that the number of steps is logarithmic in the number of columns.
                let mut x = x;
                while x.ty().cols > 1 {
                    let (half, odd) = (x.ty().cols / 2, x.ty().cols % 2);
                    let both = x.slice(0, half) * x.slice(half, half);
                    x = if odd == 0 { both } else { both.concat(&[x.slice(2 * half, 1)]) };
                }
                x
            }
            Named::Sum => x.sum_cols(),
            Named::Norm => {
                let squares = x.square().sum_cols();
                squares.max(x.scope.constant(MIN_SQUARE)).sqrt()
            }
        }
    }
}

fn column(x: Tensor<'_>, i: usize) -> Tensor<'_> {
    if x.ty().cols == 1 { x } else { x.slice(i, 1) }
}

/// A value of an expression: a constant (with a tensor for its scope), or a column of a graph.
#[derive(Clone, Copy)]
enum Signal<'s> {
    Number(Tensor<'s>, f64),
    Column(Tensor<'s>),
}

impl<'s> Signal<'s> {
    fn tensor(self) -> Tensor<'s> {
        match self {
            Signal::Number(x, number) => x.scope.constant(number as f32),
            Signal::Column(x) => x,
        }
    }
}

impl<'s> Value for Signal<'s> {
    fn one(self, f: One) -> Self {
        let x = match self {
            Signal::Number(x, number) => return Signal::Number(x, number.one(f)),
            Signal::Column(x) => x,
        };
        Signal::Column(match f {
            One::Neg => x.unary(Unary::Neg),
            One::Abs => x.abs(),
            One::Sqrt => x.sqrt(),
            One::Exp => x.exp(),
            One::Log => x.log(),
            One::Sin => x.unary(Unary::Sin),
            One::Cos => x.unary(Unary::Cos),
            One::Tan => x.unary(Unary::Sin) / x.unary(Unary::Cos),
            One::Tanh => x.tanh(),
            One::Sign => x.unary(Unary::Sign),
            One::Floor => x.unary(Unary::Floor),
            One::Ceil => x.unary(Unary::Neg).unary(Unary::Floor).unary(Unary::Neg),
        })
    }

    fn two(self, f: Two, other: Self) -> Self {
        if let (Signal::Number(x, a), Signal::Number(_, b)) = (self, other) {
            return Signal::Number(x, a.two(f, b));
        }
        let known = match other {
            // A power would have no derivative at zero.
            Signal::Number(x, 0.0) if f == Two::Pow => return Signal::Number(x, 1.0),
            Signal::Number(_, number) => Some(number),
            Signal::Column(_) => None,
        };
        let (a, b) = (self.tensor(), other.tensor());
        Signal::Column(match f {
            Two::Add => a + b,
            Two::Sub => a - b,
            Two::Mul => a * b,
            Two::Div => a / b,
            Two::Pow => match known {
                Some(0.5) => a.sqrt(),
                Some(n) if n.fract() == 0.0 && (1.0..=MAX_FACTORS).contains(&n.abs()) => {
                    let power = whole_power(a, n.abs() as u32);
                    if n < 0.0 { power.unary(Unary::Reciprocal) } else { power }
                }
                _ => a.pow(b),
            },
            Two::Min => a.min(b),
            Two::Max => a.max(b),
            Two::Less => a.less(b),
            Two::Greater => b.less(a),
            Two::LessEqual => both(a, b) - b.less(a),
            Two::GreaterEqual => both(a, b) - a.less(b),
            Two::Equal => equal(a, b),
            Two::NotEqual => a.scope.constant(1.0) - equal(a, b),
        })
    }

    fn choose(self, yes: Self, no: Self) -> Self {
        match self {
            Signal::Number(_, condition) => {
                if condition == 0.0 {
                    no
                } else {
                    yes
                }
            }
            Signal::Column(condition) => Signal::Column(condition.choose(yes.tensor(), no.tensor())),
        }
    }
}

/// 1 where neither is NaN, else 0, since NaN compares as false.
fn both<'s>(a: Tensor<'s>, b: Tensor<'s>) -> Tensor<'s> {
    a.unary(Unary::NotNan) * b.unary(Unary::NotNan)
}

fn equal<'s>(a: Tensor<'s>, b: Tensor<'s>) -> Tensor<'s> {
    both(a, b) - a.less(b) - b.less(a)
}

/// `x` to the power of `n`, at least 1, by repeated squaring.
fn whole_power(x: Tensor<'_>, n: u32) -> Tensor<'_> {
    match n {
        1 => x,
        n if n.is_multiple_of(2) => whole_power(x, n / 2).square(),
        n => whole_power(x, n - 1) * x,
    }
}
