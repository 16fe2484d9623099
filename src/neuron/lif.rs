//! Leaky integrate-and-fire neurons with and without adaptation, as rates and as spikes.
//!
//! Between spikes the voltage follows `tau_rc dv/dt = J - v`. When it crosses 1 the neuron fires, and the voltage is zero for
//! `tau_ref` from that moment within the step. The rate is therefore `1 / (tau_ref + tau_rc ln(1 + 1 / (J - 1)))` Hz.

use serde::{Deserialize, Serialize};

use crate::expr::function::Unary;
use crate::expr::real::Real;
use crate::expr::system::System;
use crate::neuron::rate::Rates;
use crate::neuron::{Derivative, Through};

/// Rate of a leaky integrate-and-fire neuron: `amplitude / (tau_ref + tau_rc ln(1 + 1 / (J - 1)))`, or zero for `J <= 1`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LifRate {
    /// Time constant of the membrane in seconds.
    pub tau_rc: f64,
    /// Refractory time in seconds.
    pub tau_ref: f64,
    /// Factor on the output.
    pub amplitude: f64,
}

impl Default for LifRate {
    fn default() -> Self {
        Self { tau_rc: 0.02, tau_ref: 0.002, amplitude: 1.0 }
    }
}

impl LifRate {
    /// The same neuron with a soft threshold of width `sigma`.
    pub fn soft(self, sigma: f64) -> SoftLifRate {
        let Self { tau_rc, tau_ref, amplitude } = self;
        SoftLifRate { sigma, tau_rc, tau_ref, amplitude }
    }
}

impl Rates for LifRate {
    #[inline(always)]
    fn rates<T: Real>(&self, j: T, _: &[T], _: &mut [T]) -> T {
        let above = j - T::number(1.0);
        let over = |tau: f64| (tau / self.amplitude) as f32;
        above.unary(Unary::LifRate(over(self.tau_ref), over(self.tau_rc)))
    }
}

/// A spiking leaky integrate-and-fire neuron. States: `voltage`, `refractory_time`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lif {
    /// Time constant of the membrane in seconds.
    pub tau_rc: f64,
    /// Refractory time in seconds.
    pub tau_ref: f64,
    /// Lowest voltage; minus infinity for no bound.
    pub min_voltage: f64,
    /// Factor on the output; a spike has height `amplitude / dt`.
    pub amplitude: f64,
}

impl Default for Lif {
    fn default() -> Self {
        Self { tau_rc: 0.02, tau_ref: 0.002, min_voltage: 0.0, amplitude: 1.0 }
    }
}

impl Lif {
    /// The rate of this neuron.
    pub fn rate(self) -> LifRate {
        LifRate { tau_rc: self.tau_rc, tau_ref: self.tau_ref, amplitude: self.amplitude }
    }
}

/// The step of [`Lif`]. If steps are short compared to `tau_rc`, series of `TERMS` terms replace exponential and logarithm at
/// a third of their cost, exact to the last digit. 0 terms means no series.
#[derive(Clone)]
pub(super) struct LifStep<const TERMS: usize, D> {
    pub lif: Lif,
    pub dt: f64,
    pub derivative: D,
    /// Largest argument of the series in [`LifStep::left`].
    farthest: f64,
    /// [`LifStep::decay`] of a whole step.
    whole: f64,
}

/// Number of terms of a series for steps of `dt`. The remainder is below a tenth of the last digit.
pub(super) fn terms(dt: f64, tau_rc: f64) -> usize {
    match dt / tau_rc {
        steps if steps <= 1.0 / 16.0 => 5,
        steps if steps <= 0.25 => 7,
        _ => 0,
    }
}

/// `x c[0] + x^2 c[1] + ...`, in pairs of independent terms.
#[inline(always)]
fn series<T: Real>(x: T, c: &[f64]) -> T {
    let square = x * x;
    let mut sum = None;
    for pair in c.chunks(2).rev() {
        let first = T::number(pair[0]);
        let both = pair.get(1).map_or(first, |&c| x.mul_add(T::number(c), first));
        sum = Some(sum.map_or(both, |sum: T| sum.mul_add(square, both)));
    }
    sum.map_or(x, |sum| sum * x)
}

impl<const TERMS: usize, D: Through> LifStep<TERMS, D> {
    pub fn new(lif: Lif, dt: f64, derivative: D) -> Self {
        let steps = dt / lif.tau_rc;
        let farthest = if TERMS > 0 { (0.5 * steps).tanh() } else { -(-steps).exp_m1() };
        Self { lif, dt, derivative, farthest, whole: (-steps).exp_m1() }
    }

    /// `exp(-time / tau_rc) - 1` for a time of at most a step.
    #[inline(always)]
    fn decay<T: Real>(&self, time: T) -> T {
        const FACTORIALS: [f64; 7] =
            [1.0, 1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0];
        let x = time * T::number(-1.0 / self.lif.tau_rc);
        let part = if TERMS > 0 { series(x, &FACTORIALS[..TERMS]) } else { x.exp_m1() };
        // Most times are a whole step. Use an exact constant there, since rounding would add up while a neuron charges.
        time.less(T::number(self.dt)).select(part, T::number(self.whole))
    }

    /// The refractory time left after a spike. The time from crossing the threshold to the end of the step is
    /// `-tau_rc ln(1 - above / drive)`, at most a step. `above` is the voltage minus the threshold, and `drive` the current
    /// minus the threshold.
    #[inline(always)]
    fn left<T: Real>(&self, above: T, drive: T) -> T {
        let (tau_rc, zero) = (self.lif.tau_rc, T::number(0.0));
        let all = T::number(self.lif.tau_ref + self.dt);
        if TERMS > 0 {
            // ln((1 + s) / (1 - s)) = 2 (s + s^3 / 3 + ...)
            let s = (above / (drive + drive - above)).max(zero).min(T::number(self.farthest));
            let (c, square) = (-2.0 * tau_rc, s * s);
            let mut sum = T::number(c / (2 * (TERMS / 2) + 1) as f64);
            for k in (0..TERMS / 2).rev() {
                sum = sum.mul_add(square, T::number(c / (2 * k + 1) as f64));
            }
            s.mul_add(sum, all)
        } else {
            let share = (above / drive).max(zero).min(T::number(self.farthest));
            all + T::number(tau_rc) * (-share).ln_1p()
        }
    }

    /// Output, next voltage and next refractory time.
    ///
    /// The reset is a constant for differentiation: a surrogate's gradient through it is mostly noise.
    #[inline(always)]
    fn fire<T: Real>(&self, j: T, v: T, refractory: T) -> (T, T, T) {
        let Self { lif, dt, .. } = self;
        let derivative = self.derivative.derivative();
        let (zero, one, step) = (T::number(0.0), T::number(1.0), T::number(*dt));
        let rest = refractory - step;
        // Part of the step in which the membrane integrates.
        let active = (step - rest).max(zero).min(step).detach();
        let v = (v - j).mul_add(self.decay(active), v);
        let above = v - one;
        let spiked = match derivative {
            Derivative::Threshold(surrogate) => above.spike(surrogate),
            Derivative::Rate(_) => zero.less(above),
        };
        // Bounded: while a neuron is silent this would fall without limit and lose precision.
        let rest = spiked.select(self.left(above, j - one), rest.max(-step)).detach();
        let v = spiked.select(zero, v.max(T::number(lif.min_voltage)).flush());
        let out = spiked * T::number(lif.amplitude / dt);
        match derivative {
            Derivative::Threshold(_) => (out, v, rest),
            Derivative::Rate(sigma) => {
                (out.with_gradient_of(lif.rate().soft(sigma).rates(j, &[], &mut [])), v.detach(), rest)
            }
        }
    }
}

impl<const TERMS: usize, D: Through> System for LifStep<TERMS, D> {
    const OPERANDS: usize = 1;
    const STATES: usize = 2;

    #[inline(always)]
    fn step<T: Real>(&self, x: &[T], next: &mut [T]) {
        (next[0], next[1], next[2]) = self.fire(x[0], x[1], x[2]);
    }
}

/// Rate of an adaptive neuron (Koch 1999, chapter 14). State: `adaptation`, which follows the output with the time constant
/// `tau_n`; `inc_n` times it is subtracted from the current.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AdaptiveLifRate {
    /// Time constant of the membrane in seconds.
    pub tau_rc: f64,
    /// Refractory time in seconds.
    pub tau_ref: f64,
    /// Factor on the output.
    pub amplitude: f64,
    /// Time constant of the adaptation in seconds.
    pub tau_n: f64,
    /// Adaptation per Hz of the output.
    pub inc_n: f64,
}

impl Default for AdaptiveLifRate {
    fn default() -> Self {
        AdaptiveLif::default().rate()
    }
}

impl AdaptiveLifRate {
    /// The neuron without adaptation.
    pub fn still(self) -> LifRate {
        LifRate { tau_rc: self.tau_rc, tau_ref: self.tau_ref, amplitude: self.amplitude }
    }
}

/// Rates of an adaptive neuron for a time step.
#[derive(Clone)]
pub struct AdaptiveRates {
    /// The neuron.
    pub neuron: AdaptiveLifRate,
    /// Length of a step in seconds.
    pub dt: f64,
}

impl Rates for AdaptiveRates {
    const STATES: usize = 1;

    #[inline(always)]
    fn rates<T: Real>(&self, j: T, states: &[T], next: &mut [T]) -> T {
        let AdaptiveLifRate { tau_n, inc_n, .. } = self.neuron;
        let out = self.neuron.still().rates(j - states[0], &[], &mut []);
        next[0] = adapt(states[0], out, inc_n, self.dt / tau_n);
        out
    }
}

#[inline(always)]
fn adapt<T: Real>(n: T, out: T, inc_n: f64, share: f64) -> T {
    (n + T::number(share) * (T::number(inc_n) * out - n)).flush()
}

/// Spiking neuron with adaptation. States: `voltage`, `refractory_time`, `adaptation`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AdaptiveLif {
    /// Time constant of the membrane in seconds.
    pub tau_rc: f64,
    /// Refractory time in seconds.
    pub tau_ref: f64,
    /// Lowest voltage; minus infinity for no bound.
    pub min_voltage: f64,
    /// Factor on the output; a spike has height `amplitude / dt`.
    pub amplitude: f64,
    /// Time constant of the adaptation in seconds.
    pub tau_n: f64,
    /// Adaptation per Hz of the output.
    pub inc_n: f64,
}

impl Default for AdaptiveLif {
    fn default() -> Self {
        let Lif { tau_rc, tau_ref, min_voltage, amplitude } = Lif::default();
        Self { tau_rc, tau_ref, min_voltage, amplitude, tau_n: 1.0, inc_n: 0.01 }
    }
}

impl AdaptiveLif {
    /// The neuron without adaptation.
    pub fn still(self) -> Lif {
        let Self { tau_rc, tau_ref, min_voltage, amplitude, .. } = self;
        Lif { tau_rc, tau_ref, min_voltage, amplitude }
    }

    /// The rate of this neuron.
    pub fn rate(self) -> AdaptiveLifRate {
        let Self { tau_rc, tau_ref, amplitude, tau_n, inc_n, .. } = self;
        AdaptiveLifRate { tau_rc, tau_ref, amplitude, tau_n, inc_n }
    }
}

#[derive(Clone)]
pub(super) struct AdaptiveLifStep<const TERMS: usize, D> {
    pub lif: LifStep<TERMS, D>,
    pub tau_n: f64,
    pub inc_n: f64,
}

impl<const TERMS: usize, D: Through> System for AdaptiveLifStep<TERMS, D> {
    const OPERANDS: usize = 1;
    const STATES: usize = 3;

    #[inline(always)]
    fn step<T: Real>(&self, x: &[T], next: &mut [T]) {
        let (out, v, rest) = self.lif.fire(x[0] - x[3], x[1], x[2]);
        let n = adapt(x[3], out, self.inc_n, self.lif.dt / self.tau_n);
        next[..4].copy_from_slice(&[out, v, rest, n]);
    }
}

/// Rate of a leaky integrate-and-fire neuron with a soft threshold (Hunsberger and Eliasmith 2015):
/// `amplitude / (tau_ref + tau_rc ln(1 + 1 / z))` with `z = sigma ln(1 + exp((J - 1) / sigma))`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SoftLifRate {
    /// Width of the threshold, above 0; smaller values approach [`LifRate`].
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

/// Width from the threshold, in units of sigma, below which `ln(1 + 1/z)` equals `-J/sigma - ln(sigma)` to the last digit,
/// while `z` itself would underflow.
const FAR: f64 = -20.0;

impl Rates for SoftLifRate {
    #[inline(always)]
    fn rates<T: Real>(&self, j: T, _: &[T], _: &mut [T]) -> T {
        let s = (j - T::number(1.0)) * T::number(1.0 / self.sigma);
        let far = s.less(T::number(FAR));
        // The branch not selected must be finite too, for the derivative.
        let z = T::number(self.sigma) * s.max(T::number(FAR)).unary(Unary::Softplus);
        let near = (T::number(1.0) / z).ln_1p();
        let q = far.select(-s - T::number(self.sigma.ln()), near);
        T::number(self.amplitude) / (T::number(self.tau_ref) + T::number(self.tau_rc) * q)
    }
}
