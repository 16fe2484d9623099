//! snnTorch's neurons: decay factors instead of time constants, spikes of height 1, and a reset one step after the spike.

use serde::{Deserialize, Serialize};

use crate::expr::function::Bump;
use crate::expr::real::Real;
use crate::expr::system::System;

/// Effect of a spike on the voltage, one step later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reset {
    /// Subtract the threshold.
    #[default]
    Subtract,
    /// Set it to zero.
    Zero,
    /// None.
    None,
}

/// `U <- beta U + J`, with a reset if the last `U` was above the threshold; a spike of 1 if `U` is above the threshold
/// (Eshraghian et al. 2023). State: `voltage`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Leaky {
    /// Decay factor of the voltage per step, between 0 and 1.
    pub beta: f64,
    /// Threshold of the voltage.
    pub threshold: f64,
    /// Effect of a spike on the voltage.
    pub reset: Reset,
}

impl Default for Leaky {
    fn default() -> Self {
        Self { beta: 0.9, threshold: 1.0, reset: Reset::Subtract }
    }
}

/// [`Leaky`] with a decaying current: `I <- alpha I + J`, `U <- beta U + I`. States: `current`, `voltage`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Synaptic {
    /// Decay factor of the current per step, between 0 and 1.
    pub alpha: f64,
    /// Decay factor of the voltage per step, between 0 and 1.
    pub beta: f64,
    /// Threshold of the voltage.
    pub threshold: f64,
    /// Effect of a spike on the voltage.
    pub reset: Reset,
}

impl Default for Synaptic {
    fn default() -> Self {
        Self { alpha: 0.9, beta: 0.9, threshold: 1.0, reset: Reset::Subtract }
    }
}

/// The step of both types; without `alpha` the current is the input.
#[derive(Clone)]
pub(super) struct LeakyStep {
    pub neuron: Leaky,
    pub surrogate: Bump,
}

impl LeakyStep {
    /// Output and next voltage.
    #[inline(always)]
    fn fire<T: Real>(&self, current: T, v: T) -> (T, T) {
        let Leaky { beta, threshold, reset } = self.neuron;
        let threshold = T::number(threshold);
        // A constant for differentiation, as in snnTorch.
        let fired = threshold.less(v).detach();
        let free = T::number(beta) * v + current;
        // Branch-free, so that the CPU loop over neurons vectorises.
        let (zeroed, subtracted) = (f64::from(reset == Reset::Zero), f64::from(reset == Reset::Subtract));
        let kept = T::number(1.0) - T::number(zeroed) * fired;
        let v = (free * kept - T::number(subtracted) * (fired * threshold)).flush();
        ((v - threshold).spike(self.surrogate), v)
    }
}

impl System for LeakyStep {
    const OPERANDS: usize = 1;
    const STATES: usize = 1;

    #[inline(always)]
    fn step<T: Real>(&self, x: &[T], next: &mut [T]) {
        (next[0], next[1]) = self.fire(x[0], x[1]);
    }
}

#[derive(Clone)]
pub(super) struct SynapticStep {
    pub leaky: LeakyStep,
    pub alpha: f64,
}

impl System for SynapticStep {
    const OPERANDS: usize = 1;
    const STATES: usize = 2;

    #[inline(always)]
    fn step<T: Real>(&self, x: &[T], next: &mut [T]) {
        let current = (T::number(self.alpha) * x[1] + x[0]).flush();
        let (out, v) = self.leaky.fire(current, x[2]);
        (next[0], next[1], next[2]) = (out, current, v);
    }
}
