//! Neurons whose output is a rate: a function of the current alone, without a state.

use serde::{Deserialize, Serialize};

use super::lif::LifRate;
use crate::op::compiled::System;
use crate::op::function::Unary;
use crate::op::real::Real;

/// Rates in Hz of a current, in any kind of numbers; a few have states of their own.
pub trait Rates: Clone + Send + Sync + 'static {
    /// Number of states.
    const STATES: usize = 0;
    /// Whether rates may be below zero.
    fn signed(&self) -> bool {
        false
    }
    /// The rate at the current `j`; `next` takes the states after this step.
    fn rates<T: Real>(&self, j: T, states: &[T], next: &mut [T]) -> T;
}

/// The output is the rate.
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

/// `amplitude * max(J, 0)`
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

/// `amplitude * J` above zero, `amplitude * slope * J` below.
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

/// `1 / tau_ref / (1 + exp(-J))`
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

/// `tanh(J) / tau_ref`
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

/// The rate of a leaky integrate-and-fire neuron with a soft threshold (Hunsberger and Eliasmith 2015):
/// `amplitude / (tau_ref + tau_rc ln(1 + 1 / z))` with `z = sigma ln(1 + exp((J - 1) / sigma))`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SoftLifRate {
    /// Width of the threshold: the smaller, the nearer to [`LifRate`].
    pub sigma: f64,
    /// Time constant of the membrane in seconds.
    pub tau_rc: f64,
    /// Refractory time in seconds.
    pub tau_ref: f64,
    /// Factor on the output.
    pub amplitude: f64,
}

impl Default for SoftLifRate {
    fn default() -> Self {
        LifRate::default().soft(1.0)
    }
}

/// Below so many widths, `ln(1 + 1/z)` is `-J/sigma - ln(sigma)` to the last digit, and `z` itself would vanish.
const FAR: f64 = -20.0;

impl Rates for SoftLifRate {
    #[inline(always)]
    fn rates<T: Real>(&self, j: T, _: &[T], _: &mut [T]) -> T {
        let s = (j - T::number(1.0)) * T::number(1.0 / self.sigma);
        let far = s.less(T::number(FAR));
        // What is not chosen must be finite as well, for the derivative.
        let z = T::number(self.sigma) * s.max(T::number(FAR)).unary(Unary::Softplus);
        let near = (T::number(1.0) / z).ln_1p();
        let q = far.select(-s - T::number(self.sigma.ln()), near);
        T::number(self.amplitude) / (T::number(self.tau_ref) + T::number(self.tau_rc) * q)
    }
}
