//! Spikes from rates: regular, with stochastic rounding, or Poisson.

use crate::expr::function::{Binary, Unary, poisson};
use crate::expr::real::Real;
use crate::expr::system::{Block, System, WIDE, each};
use crate::neuron::rate::Rates;
use crate::neuron::{Derivative, Through};

/// Integrates the rate; each whole number that the integral reaches is a spike. States: those of the rate, then `voltage`,
/// the fractional part. A step with several spikes gives `amplitude / dt` for each.
#[derive(Clone)]
pub(super) struct Regular<R, D> {
    pub rates: R,
    pub amplitude: f64,
    pub dt: f64,
    /// Count negative integrals from zero down, instead of flooring them.
    pub towards_zero: bool,
    pub derivative: D,
}

impl<R: Rates, D: Through> Regular<R, D> {
    /// Distance above the nearest number at which a spike is counted.
    #[inline(always)]
    fn above<T: Real>(&self, v: T) -> T {
        let nearest = |x: T| (x + T::number(0.5)).floor();
        if self.rates.signed() && !self.towards_zero {
            return v - nearest(v);
        }
        let size = v.unary(Unary::Abs);
        size - nearest(size).max(T::number(1.0))
    }
}

impl<R: Rates, D: Through> System for Regular<R, D> {
    const OPERANDS: usize = 1;
    const STATES: usize = R::STATES + 1;

    #[inline(always)]
    fn step<T: Real>(&self, x: &[T], next: &mut [T]) {
        let (base, last) = (1 + R::STATES, T::number(self.dt));
        let rate = self.rates.rates(x[0], &x[1..base], &mut next[1..base]);
        let v = x[base] + rate * last;
        let n = if self.towards_zero { v.trunc() } else { v.floor() };
        let height = T::number(self.amplitude / self.dt);
        match self.derivative.derivative() {
            Derivative::Threshold(surrogate) => {
                // The count grows with the integral, with a surrogate for its slope; the same holds below zero.
                let slope = self.above(v).unary(Unary::SpikeSlope(surrogate)).detach();
                next[0] = n.with_gradient_of(slope * v) * height;
                next[base] = (v - n.detach()).flush();
            }
            Derivative::Rate(_) => {
                next[0] = (n * height).with_gradient_of(T::number(self.amplitude) * rate);
                next[base] = (v - n).flush().detach();
            }
        }
    }
}

/// Random spikes: with stochastic rounding, the whole part of `rate * dt` plus one more with the probability of its fractional
/// part; else Poisson-distributed. Operand 1 is uniform in 0 … 1.
#[derive(Clone)]
pub(super) struct Stochastic<R, const POISSON: bool> {
    pub rates: R,
    pub amplitude: f64,
    pub dt: f64,
}

impl<R: Rates, const POISSON: bool> System for Stochastic<R, POISSON> {
    const OPERANDS: usize = 2;
    const STATES: usize = R::STATES;

    #[inline(always)]
    fn step<T: Real>(&self, x: &[T], next: &mut [T]) {
        let (out, states) = next.split_at_mut(1);
        let rate = self.rates.rates(x[0], &x[2..], states);
        let mean = self.mean(rate);
        let n = if POISSON {
            mean.binary(Binary::Poisson, x[1])
        } else {
            let whole = mean.floor();
            whole + x[1].less(mean - whole)
        };
        out[0] = self.spikes(n, rate);
    }

    #[inline(always)]
    fn block(&self, x: &Block, next: &mut Block) {
        if !POISSON {
            return each(self, x, next);
        }
        // All lanes iterate until the last has its number.
        each(&Skip(self.rates.clone()), x, next);
        let (rate, mut mean) = (next[0], [0.0; WIDE]);
        for i in 0..WIDE {
            mean[i] = self.mean(rate[i]);
        }
        let n = poisson(&mean, &x[1]);
        for i in 0..WIDE {
            next[0][i] = self.spikes(n[i], rate[i]);
        }
    }
}

impl<R: Rates, const POISSON: bool> Stochastic<R, POISSON> {
    /// Expected number of spikes in a step.
    #[inline(always)]
    fn mean<T: Real>(&self, rate: T) -> T {
        rate.unary(Unary::Abs) * T::number(self.dt)
    }

    /// The output for `n` spikes.
    #[inline(always)]
    fn spikes<T: Real>(&self, n: T, rate: T) -> T {
        let signed = if self.rates.signed() { n * rate.unary(Unary::Sign) } else { n };
        // Random spikes have no threshold; differentiate the expected value.
        let expected = T::number(self.amplitude) * rate;
        (signed * T::number(self.amplitude / self.dt)).with_gradient_of(expected)
    }
}

/// Rates of a system with an unused second operand.
#[derive(Clone)]
struct Skip<R>(R);

impl<R: Rates> System for Skip<R> {
    const OPERANDS: usize = 2;
    const STATES: usize = R::STATES;

    #[inline(always)]
    fn step<T: Real>(&self, x: &[T], next: &mut [T]) {
        let (out, states) = next.split_at_mut(1);
        out[0] = self.0.rates(x[0], &x[2..], states);
    }
}
