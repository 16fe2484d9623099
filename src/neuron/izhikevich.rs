//! Izhikevich's neurons with quadratic integration and recovery (Izhikevich 2003).

use serde::{Deserialize, Serialize};

use crate::expr::function::Bump;
use crate::expr::real::Real;
use crate::expr::system::System;

/// A neuron of Izhikevich: `v' = 0.04 v^2 + 5 v + 140 - u + J`, `u' = tau_recovery (coupling v - u)` with time in ms and `v` in
/// mV; at 30 mV it fires, `v` becomes `reset_voltage` and `u` grows by `reset_recovery`. States: `voltage`, `recovery`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Izhikevich {
    /// How fast the recovery follows, in 1/ms.
    pub tau_recovery: f64,
    /// How much of the voltage the recovery follows.
    pub coupling: f64,
    /// Voltage after a spike in mV.
    pub reset_voltage: f64,
    /// What a spike adds to the recovery.
    pub reset_recovery: f64,
}

impl Default for Izhikevich {
    fn default() -> Self {
        Self { tau_recovery: 0.02, coupling: 0.2, reset_voltage: -65.0, reset_recovery: 8.0 }
    }
}

/// The voltage in mV from which on it fires.
const THRESHOLD: f64 = 30.0;
/// Currents below it are held there: the equations make no sense of them.
const LEAST: f64 = -30.0;

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
        let (j, v, u) = (x[0].max(number(LEAST)), x[1], x[2]);
        let ms = number(1000.0 * self.dt);
        let v = v + (number(0.04) * v * v + number(5.0) * v + number(140.0) - u + j) * ms;
        let below = v.less(number(THRESHOLD));
        let spiked = number(1.0) - below;
        // A voltage that is not a number stays, so that a run that went wrong is seen.
        let reset = number(0.0).less(v).select(number(reset_voltage), v);
        let v_next = below.select(v, reset);
        let u = u + number(tau_recovery) * (number(coupling) * v_next - u) * ms;
        // The distance to the threshold in units of the way from the reset to it.
        let distance = (v - number(THRESHOLD)) * number(1.0 / (THRESHOLD - reset_voltage));
        let spike = spiked.with_gradient_of(distance.spike(self.surrogate));
        next[0] = spike * number(1.0 / self.dt);
        next[1] = v_next;
        next[2] = u + spiked * number(reset_recovery);
    }
}
