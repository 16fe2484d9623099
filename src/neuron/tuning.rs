//! Gains and biases computed from desired rates, in `f64` on the host.
//!
//! A neuron has the current `J = gain * x + bias` for an encoded value `x`. Its rate is `max_rate` at `x = 1`, and it begins to
//! fire at `x = intercept` (Eliasmith and Anderson 2003, chapter 4).

use crate::error::{Error, Result};
use crate::expr::function::Surrogate;
use crate::expr::system::System;
use crate::neuron::izhikevich::{Izhikevich, IzhikevichStep};
use crate::neuron::rate::Rates;
use crate::neuron::{LifRate, NeuronType, Visit};

impl NeuronType {
    /// Gain and bias of each neuron, from its highest rate in Hz and its intercept. `what` names the neurons in errors.
    ///
    /// A [`NeuronType::Sigmoid`] is never silent: its intercept is the point of half its highest rate. Adaptation and amplitudes
    /// are ignored.
    ///
    /// # Errors
    /// Rates that are not above zero or out of reach of the type; intercepts of 1 or more; a gain that is not finite and above
    /// zero; a type whose output is not in Hz.
    pub fn gain_bias(
        &self,
        what: &str,
        max_rates: &[f64],
        intercepts: &[f64],
    ) -> Result<(Vec<f64>, Vec<f64>)> {
        let invalid = |problem: String| Err(Error::invalid(what, problem));
        if max_rates.len() != intercepts.len() {
            let values = |n: usize| format!("{n} values");
            let left = format!("the max rates of {what}");
            return Err(Error::shape(
                left,
                values(max_rates.len()),
                "its intercepts",
                values(intercepts.len()),
            ));
        }
        if let Some(bad) = max_rates.iter().find(|x| !(x.is_finite() && **x > 0.0)) {
            return invalid(format!("a max rate is {bad} Hz, but must be above 0"));
        }
        if let Some(bad) = intercepts.iter().find(|x| !(x.is_finite() && **x < 1.0)) {
            return invalid(format!(
                "an intercept is {bad}, but must be below 1, where the max rate is reached"
            ));
        }
        let limit = self.limit();
        if let Some(bad) = max_rates.iter().find(|x| **x >= limit) {
            return invalid(format!(
                "a max rate is {bad} Hz, but its {} stay below {limit} Hz, one over tau-ref",
                self.name()
            ));
        }
        let (gain, bias) = self.gain_bias_of(what, max_rates, intercepts)?;
        let sound =
            |i: &usize| gain[*i] > 0.0 && (gain[*i] as f32).is_finite() && (bias[*i] as f32).is_finite();
        if let Some(bad) = (0..gain.len()).find(|i| !sound(i)) {
            let (rate, at, gain, bias) = (max_rates[bad], intercepts[bad], gain[bad], bias[bad]);
            return invalid(format!(
                "its {} would have a gain of {gain} and a bias of {bias} for a max rate of {rate} Hz and an intercept of \
                 {at}, but a gain must be above 0 and both finite in 32 bits; {}",
                self.name(),
                self.gain_advice()
            ));
        }
        Ok((gain, bias))
    }

    /// Advice for gains that are not positive.
    fn gain_advice(&self) -> String {
        match self {
            NeuronType::RegularSpiking(from)
            | NeuronType::StochasticSpiking(from)
            | NeuronType::PoissonSpiking(from) => from.base.gain_advice(),
            NeuronType::Sigmoid(p) => {
                let half = 0.5 / p.tau_ref;
                format!("take max rates above {half} Hz, the rate of sigmoid neurons without a current")
            }
            _ => "take max rates farther from their limits, or lower intercepts".into(),
        }
    }

    /// Gains and biases for rates and intercepts within their ranges.
    fn gain_bias_of(
        &self,
        what: &str,
        max_rates: &[f64],
        intercepts: &[f64],
    ) -> Result<(Vec<f64>, Vec<f64>)> {
        let pairs = max_rates.iter().zip(intercepts);
        Ok(match self {
            NeuronType::RegularSpiking(from)
            | NeuronType::StochasticSpiking(from)
            | NeuronType::PoissonSpiking(from) => return from.base.gain_bias_of(what, max_rates, intercepts),
            NeuronType::RectifiedLinear(_)
            | NeuronType::SpikingRectifiedLinear(_)
            | NeuronType::LeakyRelu(_)
            | NeuronType::SpikingLeakyRelu(_) => {
                pairs.map(|(rate, at)| (rate / (1.0 - at), -at * rate / (1.0 - at))).unzip()
            }
            NeuronType::Sigmoid(p) => pairs
                .map(|(rate, at)| {
                    let top = -(1.0 / p.tau_ref / rate - 1.0).ln();
                    let gain = top / (1.0 - at);
                    (gain, top - gain)
                })
                .unzip(),
            NeuronType::Tanh(p) => pairs
                .map(|(rate, at)| {
                    let gain = (rate * p.tau_ref).atanh() / (1.0 - at);
                    (gain, -gain * at)
                })
                .unzip(),
            NeuronType::Izhikevich(p) => return by_search(p, what, max_rates, intercepts),
            NeuronType::Leaky(_) | NeuronType::Synaptic(_) => {
                let problem = format!(
                    "its {} have no rates in Hz; give it gains and biases instead of max rates",
                    self.name()
                );
                return Err(Error::invalid(what, problem));
            }
            membrane => {
                let LifRate { tau_rc, tau_ref, .. } = membrane.membrane();
                pairs
                    .map(|(rate, at)| {
                        // The current at which the rate is reached.
                        let top = -1.0 / ((tau_ref - 1.0 / rate) / tau_rc).exp_m1();
                        let gain = (1.0 - top) / (at - 1.0);
                        (gain, 1.0 - gain * at)
                    })
                    .unzip()
            }
        })
    }

    /// The steady rate in Hz at the current `j`, without adaptation. Spiking types give the rate of their rate type or base;
    /// [`Izhikevich`] counts spikes over a second. `None` for types not in Hz.
    pub fn rate(&self, j: f64) -> Option<f64> {
        match self {
            NeuronType::Izhikevich(p) => Some(count(p, j)),
            _ => self.rate_type(None)?.0.with_rates(1.0, At(j)),
        }
    }

    /// Replaces each current by its [rate](NeuronType::rate); `None` for types not in Hz.
    pub(crate) fn rates_in_place(&self, currents: &mut [f64]) -> Option<()> {
        match self {
            NeuronType::Izhikevich(p) => currents.iter_mut().for_each(|j| *j = count(p, *j)),
            _ => self.rate_type(None)?.0.with_rates(1.0, All(currents))?,
        }
        Some(())
    }

    /// Upper limit of the rate, exclusive.
    fn limit(&self) -> f64 {
        match self {
            NeuronType::Sigmoid(p) => 1.0 / p.tau_ref,
            NeuronType::Tanh(p) => 1.0 / p.tau_ref,
            NeuronType::RegularSpiking(from)
            | NeuronType::StochasticSpiking(from)
            | NeuronType::PoissonSpiking(from) => from.base.limit(),
            NeuronType::LifRate(_)
            | NeuronType::Lif(_)
            | NeuronType::SoftLifRate(_)
            | NeuronType::AdaptiveLifRate(_)
            | NeuronType::AdaptiveLif(_) => 1.0 / self.membrane().tau_ref,
            _ => f64::INFINITY,
        }
    }

    /// The constants of a type with a membrane.
    fn membrane(&self) -> LifRate {
        match self {
            NeuronType::LifRate(p) => *p,
            NeuronType::Lif(p) => p.rate(),
            NeuronType::SoftLifRate(p) => {
                LifRate { tau_rc: p.tau_rc, tau_ref: p.tau_ref, amplitude: p.amplitude }
            }
            NeuronType::AdaptiveLifRate(p) => p.still(),
            NeuronType::AdaptiveLif(p) => p.still().rate(),
            _ => LifRate::default(),
        }
    }
}

struct At(f64);

impl Visit for At {
    type Out = f64;
    fn visit<R: Rates>(self, rates: R) -> f64 {
        rates.rates(self.0, &[0.0; 4][..R::STATES], &mut [0.0; 4][..R::STATES])
    }
}

struct All<'a>(&'a mut [f64]);

impl Visit for All<'_> {
    type Out = ();
    fn visit<R: Rates>(self, rates: R) {
        for j in self.0 {
            *j = rates.rates(*j, &[0.0; 4][..R::STATES], &mut [0.0; 4][..R::STATES]);
        }
    }
}

/// Number of spikes in one second of 1 ms steps, after one step to settle.
fn count(neuron: &Izhikevich, j: f64) -> f64 {
    let dt = 0.001;
    let step = IzhikevichStep { neuron: *neuron, dt, surrogate: Surrogate::StraightThrough.bump() };
    let (mut x, mut next) = ([j, 0.0, 0.0], [0.0; 3]);
    let mut total = 0.0;
    for k in 0..1001 {
        step.step(&x, &mut next);
        x[1..].copy_from_slice(&next[1..]);
        total += if k > 0 { next[0] * dt } else { 0.0 };
    }
    total
}

/// Number of points in the tabulated curve of rates.
const POINTS: usize = 101;

/// Gains and biases from a tabulated curve of rates, between the last silent current and the first that reaches all rates.
fn by_search(
    neuron: &Izhikevich,
    what: &str,
    max_rates: &[f64],
    intercepts: &[f64],
) -> Result<(Vec<f64>, Vec<f64>)> {
    let most = max_rates.iter().copied().fold(0.0, f64::max);
    let line = |from: f64, to: f64| -> Vec<(f64, f64)> {
        let current = |i: usize| from + (to - from) * i as f64 / (POINTS - 1) as f64;
        (0..POINTS).map(|i| (current(i), count(neuron, current(i)))).collect()
    };
    let (mut silent, mut enough, mut range) = (None, None, 10.0);
    for _ in 0..10 {
        let curve = line(-range, range);
        silent = silent.or(curve.iter().rev().find(|p| p.1 <= 0.0).map(|p| p.0));
        enough = enough.or(curve.iter().find(|p| p.1 >= most).map(|p| p.0));
        if silent.is_some() && enough.is_some() {
            break;
        }
        range *= 2.0;
    }
    let (Some(silent), Some(enough)) = (silent, enough) else {
        let problem = format!("its Izhikevich neurons do not reach a max rate of {most} Hz");
        return Err(Error::invalid(what, problem));
    };
    let curve = line(silent, enough);
    let current = |rate: f64| {
        let Some(i) = curve.iter().position(|p| p.1 >= rate).filter(|&i| i > 0) else { return enough };
        let ((j0, r0), (j1, r1)) = (curve[i - 1], curve[i]);
        if r1 > r0 { j0 + (j1 - j0) * (rate - r0) / (r1 - r0) } else { j1 }
    };
    let pairs = max_rates.iter().zip(intercepts);
    Ok(pairs
        .map(|(&rate, at)| {
            let top = current(rate);
            let gain = (silent - top) / (at - 1.0);
            (gain, top - gain)
        })
        .unzip())
}
