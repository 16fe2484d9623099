//! Izhikevich neurons, with quadratic integration and recovery (Izhikevich 2003).

use serde::{Deserialize, Serialize};

use crate::expr::function::Bump;
use crate::expr::real::Real;
use crate::expr::system::System;

/// Izhikevich neuron: `v' = 0.04 v^2 + 5 v + 140 - u + J`, `u' = tau_recovery (coupling v - u)`, with time in ms and `v` in
/// mV. At 30 mV it fires: `v` becomes `reset_voltage` and `u` grows by `reset_recovery`. States: `voltage`, `recovery`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Izhikevich {
    /// Rate of the recovery in 1/ms.
    pub tau_recovery: f64,
    /// Factor on the voltage that the recovery follows.
    pub coupling: f64,
    /// Voltage after a spike in mV.
    pub reset_voltage: f64,
    /// Increase of the recovery by a spike.
    pub reset_recovery: f64,
}

impl Default for Izhikevich {
    fn default() -> Self {
        Self { tau_recovery: 0.02, coupling: 0.2, reset_voltage: -65.0, reset_recovery: 8.0 }
    }
}

/// Threshold of the voltage in mV.
const THRESHOLD: f64 = 30.0;
/// Lower bound of the current, below which the equations are not valid.
const MIN_CURRENT: f64 = -30.0;

#[derive(Clone)]
pub(super) struct IzhikevichStep {
    pub neuron: Izhikevich,
    pub dt: f64,
    pub surrogate: Bump,
}

impl System for IzhikevichStep {
    const OPERANDS: usize = 1;
    const STATES: usize = 2;

    #[inline(always)]
    fn step<T: Real>(&self, x: &[T], next: &mut [T]) {
        let Izhikevich { tau_recovery, coupling, reset_voltage, reset_recovery } = self.neuron;
        let number = T::number;
        let (j, v, u) = (x[0].max(number(MIN_CURRENT)), x[1], x[2]);
        let ms = number(1000.0 * self.dt);
        let v = v + (number(0.04) * v * v + number(5.0) * v + number(140.0) - u + j) * ms;
        let below = v.less(number(THRESHOLD));
        let spiked = number(1.0) - below;
        // Keep a NaN voltage, so that a diverged run is visible.
        let reset = number(0.0).less(v).select(number(reset_voltage), v);
        let v_next = below.select(v, reset);
        let u = u + number(tau_recovery) * (number(coupling) * v_next - u) * ms;
        // Distance to the threshold, relative to the distance from reset to threshold.
        let distance = (v - number(THRESHOLD)) * number(1.0 / (THRESHOLD - reset_voltage));
        let spike = spiked.with_gradient_of(distance.spike(self.surrogate));
        next[0] = spike * number(1.0 / self.dt);
        next[1] = v_next;
        next[2] = u + spiked * number(reset_recovery);
    }
}
