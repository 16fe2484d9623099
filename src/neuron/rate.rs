//! Rate neurons without state: functions of the current.

use serde::{Deserialize, Serialize};

use crate::expr::function::Unary;
use crate::expr::real::Real;
use crate::expr::system::System;

/// Rates in Hz as a function of the current, in any numeric type; some have state.
pub trait Rates: Clone + Send + Sync + 'static {
    /// Number of states.
    const STATES: usize = 0;
    /// True if rates may be negative.
    fn signed(&self) -> bool {
        false
    }
    /// The rate at the current `j`; writes the states after this step to `next`.
    fn rates<T: Real>(&self, j: T, states: &[T], next: &mut [T]) -> T;
}

/// A step whose output is the rate.
#[derive(Clone)]
pub(super) struct RateStep<R>(pub R);

impl<R: Rates> System for RateStep<R> {
    const OPERANDS: usize = 1;
    const STATES: usize = R::STATES;

    #[inline(always)]
    fn step<T: Real>(&self, x: &[T], next: &mut [T]) {
        let (out, states) = next.split_at_mut(1);
        out[0] = self.0.rates(x[0], &x[1..], states);
    }
}

/// Rectified linear rate, `amplitude * max(J, 0)`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RectifiedLinear {
    /// Factor on the output.
    pub amplitude: f64,
}

impl Default for RectifiedLinear {
    fn default() -> Self {
        Self { amplitude: 1.0 }
    }
}

impl Rates for RectifiedLinear {
    #[inline(always)]
    fn rates<T: Real>(&self, j: T, _: &[T], _: &mut [T]) -> T {
        T::number(self.amplitude) * j.unary(Unary::Relu)
    }
}

/// Leaky rectified linear rate: `amplitude * J` above zero, `amplitude * slope * J` below.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LeakyRelu {
    /// Slope below zero.
    pub slope: f64,
    /// Factor on the output.
    pub amplitude: f64,
}

impl Default for LeakyRelu {
    fn default() -> Self {
        Self { slope: 0.3, amplitude: 1.0 }
    }
}

impl Rates for LeakyRelu {
    fn signed(&self) -> bool {
        true
    }

    #[inline(always)]
    fn rates<T: Real>(&self, j: T, _: &[T], _: &mut [T]) -> T {
        T::number(self.amplitude) * j.unary(Unary::LeakyRelu(self.slope as f32))
    }
}

/// Logistic rate, `1 / tau_ref / (1 + exp(-J))`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sigmoid {
    /// Refractory time in seconds; its inverse is the highest rate.
    pub tau_ref: f64,
}

impl Default for Sigmoid {
    fn default() -> Self {
        Self { tau_ref: 0.0025 }
    }
}

impl Rates for Sigmoid {
    #[inline(always)]
    fn rates<T: Real>(&self, j: T, _: &[T], _: &mut [T]) -> T {
        T::number(1.0 / self.tau_ref) * j.unary(Unary::Sigmoid)
    }
}

/// Hyperbolic tangent rate, `tanh(J) / tau_ref`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tanh {
    /// Refractory time in seconds; its inverse is the highest rate.
    pub tau_ref: f64,
}

impl Default for Tanh {
    fn default() -> Self {
        Self { tau_ref: 0.0025 }
    }
}

impl Rates for Tanh {
    fn signed(&self) -> bool {
        true
    }

    #[inline(always)]
    fn rates<T: Real>(&self, j: T, _: &[T], _: &mut [T]) -> T {
        T::number(1.0 / self.tau_ref) * j.unary(Unary::Tanh)
    }
}
