//! Neuron types, which turn an input current into rates or spikes. One file per family, with one definition of a step each.
//!
//! A step is written with generic [`Real`](crate::expr::real::Real) numbers, which yield the shader, the CPU code, the
//! reference in `f64` and the adjoint. Types without state are elementwise maps, which the planner fuses into the
//! computation of their current; the others are [`Scan`]s. Neurons do not delay: a step's current acts in that step.

mod check;
mod count;
mod izhikevich;
mod leaky;
mod lif;
mod rate;
pub mod tuning;

use serde::{Deserialize, Serialize};

pub use izhikevich::Izhikevich;
pub use leaky::{Leaky, Reset, Synaptic};
pub use lif::{AdaptiveLif, AdaptiveLifRate, Lif, LifRate, SoftLifRate};
pub use rate::{LeakyRelu, RectifiedLinear, Sigmoid, Tanh};

use crate::expr::function::{Bump, Surrogate};
use crate::expr::step::Step;
use count::{Regular, Stochastic};
use izhikevich::IzhikevichStep;
use leaky::{LeakyStep, SynapticStep};
use lif::{AdaptiveLifStep, AdaptiveRates, LifStep, terms};
use rate::{RateStep, Rates};

/// Neuron type: turns an input current into rates or spikes.
///
/// Outputs are rates in Hz. A spike has height `amplitude / dt`, so that its mean over time is the rate. [`Leaky`] and
/// [`Synaptic`], which have no unit of time, have spikes of height 1.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NeuronType {
    /// `amplitude * max(J, 0)`.
    RectifiedLinear(RectifiedLinear),
    /// Spikes at the rates of [`NeuronType::RectifiedLinear`], possibly several per step. State: `voltage`.
    SpikingRectifiedLinear(RectifiedLinear),
    /// `amplitude * J` for positive currents, `amplitude * slope * J` for negative ones.
    LeakyRelu(LeakyRelu),
    /// Spikes at the rates of [`NeuronType::LeakyRelu`]; negative spikes for negative rates. State: `voltage`.
    SpikingLeakyRelu(LeakyRelu),
    /// Logistic function.
    Sigmoid(Sigmoid),
    /// Hyperbolic tangent.
    Tanh(Tanh),
    /// Rate of [`NeuronType::Lif`].
    LifRate(LifRate),
    /// Leaky integrate-and-fire. States: `voltage`, `refractory_time`.
    Lif(Lif),
    /// Rate of [`NeuronType::Lif`] with a soft threshold.
    SoftLifRate(SoftLifRate),
    /// Rate of [`NeuronType::AdaptiveLif`]. State: `adaptation`.
    AdaptiveLifRate(AdaptiveLifRate),
    /// Leaky integrate-and-fire with adaptation. States: `voltage`, `refractory_time`, `adaptation`.
    AdaptiveLif(AdaptiveLif),
    /// Izhikevich's model. States: `voltage`, `recovery`.
    Izhikevich(Izhikevich),
    /// Regular spikes at the rates of another type. States: those of the rate, then `voltage`.
    RegularSpiking(FromRates),
    /// Spikes at the rates of another type, with stochastic rounding of the spike count.
    StochasticSpiking(FromRates),
    /// Poisson spikes at the rates of another type. The expected count per step is limited to 64.
    PoissonSpiking(FromRates),
    /// snnTorch's leaky neuron. State: `voltage`.
    Leaky(Leaky),
    /// snnTorch's leaky neuron with a decaying current. States: `current`, `voltage`.
    Synaptic(Synaptic),
}

/// Spikes at the rates of another type.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FromRates {
    /// A type whose output is a rate. In a file it may stand for the whole table: `{ poisson-spiking = "rectified-linear" }`.
    #[serde(alias = "$short")]
    pub base: Box<NeuronType>,
    /// Factor on the output; a spike has height `amplitude / dt`; 1 by default.
    #[serde(default = "one")]
    pub amplitude: f64,
}

fn one() -> f64 {
    1.0
}

macro_rules! from {
    ($($name:ident)*) => {
        $(impl From<$name> for NeuronType {
            fn from(neuron: $name) -> Self {
                NeuronType::$name(neuron)
            }
        })*
    };
}
from!(RectifiedLinear LeakyRelu Sigmoid Tanh LifRate Lif SoftLifRate AdaptiveLifRate AdaptiveLif Izhikevich Leaky Synaptic);

/// Method to train through spikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Spiking {
    /// Replace spikes by rates in training (Hunsberger and Eliasmith 2016); states do not change.
    #[default]
    RateSwap,
    /// Like [`Spiking::RateSwap`], with [`SoftLifRate`] of this width, above 0, instead of [`Lif`].
    SmoothRateSwap(f64),
    /// Spikes, with a surrogate for the derivative of the threshold. Resets count as constants.
    Surrogate(Surrogate),
    /// Spikes, with the derivative of the rate. For [`Lif`] that is the rate with a soft threshold of this width, above 0. In
    /// files also `soft-lif`.
    #[serde(alias = "soft-lif")]
    RateGradient(f64),
}

/// Substitute for the derivative of spikes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Derivative {
    /// Derivative of the threshold, propagated through time.
    Threshold(Bump),
    /// Derivative of the rate in this step alone.
    Rate(f64),
}

/// A [`Derivative`] whose kind is known at compile time. A branch inside a loop over neurons would prevent vectorisation.
pub(crate) trait Through: Copy + Send + Sync + 'static {
    /// The derivative.
    fn derivative(self) -> Derivative;
}

/// See [`Derivative::Threshold`].
#[derive(Clone, Copy)]
struct Threshold(Bump);

impl Through for Threshold {
    #[inline(always)]
    fn derivative(self) -> Derivative {
        Derivative::Threshold(self.0)
    }
}

/// See [`Derivative::Rate`].
#[derive(Clone, Copy)]
struct OfRate(f64);

impl Through for OfRate {
    #[inline(always)]
    fn derivative(self) -> Derivative {
        Derivative::Rate(self.0)
    }
}

impl NeuronType {
    /// [`Lif`] with its default constants.
    pub fn lif() -> Self {
        Lif::default().into()
    }

    /// Regular spikes at the rates of `base`.
    pub fn regular_spiking(base: impl Into<NeuronType>) -> Self {
        Self::RegularSpiking(FromRates { base: Box::new(base.into()), amplitude: 1.0 })
    }

    /// Spikes at the rates of `base`, with stochastic rounding of the spike count.
    pub fn stochastic_spiking(base: impl Into<NeuronType>) -> Self {
        Self::StochasticSpiking(FromRates { base: Box::new(base.into()), amplitude: 1.0 })
    }

    /// Poisson spikes at the rates of `base`.
    pub fn poisson_spiking(base: impl Into<NeuronType>) -> Self {
        Self::PoissonSpiking(FromRates { base: Box::new(base.into()), amplitude: 1.0 })
    }

    /// Name of such neurons in messages.
    pub fn name(&self) -> &'static str {
        match self {
            NeuronType::RectifiedLinear(_) => "rectified linear neurons",
            NeuronType::SpikingRectifiedLinear(_) => "spiking rectified linear neurons",
            NeuronType::LeakyRelu(_) => "leaky ReLU neurons",
            NeuronType::SpikingLeakyRelu(_) => "spiking leaky ReLU neurons",
            NeuronType::Sigmoid(_) => "sigmoid neurons",
            NeuronType::Tanh(_) => "tanh neurons",
            NeuronType::LifRate(_) => "LIF rate neurons",
            NeuronType::Lif(_) => "LIF neurons",
            NeuronType::SoftLifRate(_) => "soft LIF rate neurons",
            NeuronType::AdaptiveLifRate(_) => "adaptive LIF rate neurons",
            NeuronType::AdaptiveLif(_) => "adaptive LIF neurons",
            NeuronType::Izhikevich(_) => "Izhikevich neurons",
            NeuronType::RegularSpiking(_) => "regularly spiking neurons",
            NeuronType::StochasticSpiking(_) => "stochastically spiking neurons",
            NeuronType::PoissonSpiking(_) => "Poisson spiking neurons",
            NeuronType::Leaky(_) => "leaky neurons",
            NeuronType::Synaptic(_) => "synaptic neurons",
        }
    }

    /// True if the output is a rate.
    pub fn is_rate(&self) -> bool {
        self.with_rates(1.0, Any).is_some()
    }

    /// True if the type needs random numbers.
    pub fn is_random(&self) -> bool {
        matches!(self, NeuronType::StochasticSpiking(_) | NeuronType::PoissonSpiking(_))
    }

    /// Names of the states, and the default range of their initial values, evenly spread as in Nengo.
    pub fn states(&self) -> Vec<(&'static str, [f32; 2])> {
        let (any, zero) = ([0.0, 1.0], [0.0, 0.0]);
        match self {
            NeuronType::SpikingRectifiedLinear(_) | NeuronType::SpikingLeakyRelu(_) => vec![("voltage", any)],
            NeuronType::Lif(_) => vec![("voltage", any), ("refractory_time", zero)],
            NeuronType::AdaptiveLifRate(_) => vec![("adaptation", zero)],
            NeuronType::AdaptiveLif(_) => {
                vec![("voltage", any), ("refractory_time", zero), ("adaptation", zero)]
            }
            NeuronType::Izhikevich(_) => vec![("voltage", any), ("recovery", any)],
            NeuronType::RegularSpiking(from) => {
                let mut states = from.base.states();
                states.push(("voltage", any));
                states
            }
            NeuronType::StochasticSpiking(from) | NeuronType::PoissonSpiking(from) => from.base.states(),
            NeuronType::Leaky(_) => vec![("voltage", zero)],
            NeuronType::Synaptic(_) => vec![("current", zero), ("voltage", zero)],
            _ => Vec::new(),
        }
    }

    /// The type whose rates replace spikes in training, and a factor on them; `None` if there is none.
    pub fn rate_type(&self, smoothing: Option<f64>) -> Option<(NeuronType, f64)> {
        Some(match self {
            NeuronType::SpikingRectifiedLinear(p) => ((*p).into(), 1.0),
            NeuronType::SpikingLeakyRelu(p) => ((*p).into(), 1.0),
            NeuronType::Lif(p) => match smoothing {
                None => (p.rate().into(), 1.0),
                Some(sigma) => (p.rate().soft(sigma).into(), 1.0),
            },
            NeuronType::AdaptiveLif(p) => (p.rate().into(), 1.0),
            NeuronType::RegularSpiking(from)
            | NeuronType::StochasticSpiking(from)
            | NeuronType::PoissonSpiking(from) => ((*from.base).clone(), from.amplitude),
            NeuronType::Izhikevich(_) | NeuronType::Leaky(_) | NeuronType::Synaptic(_) => return None,
            rate => (rate.clone(), 1.0),
        })
    }

    /// The step function for time steps of `dt` seconds.
    pub(crate) fn step(&self, dt: f64, derivative: Derivative) -> Step {
        match derivative {
            Derivative::Threshold(surrogate) => self.step_through(dt, Threshold(surrogate)),
            Derivative::Rate(width) => self.step_through(dt, OfRate(width)),
        }
    }

    fn step_through<D: Through>(&self, dt: f64, derivative: D) -> Step {
        let surrogate = match derivative.derivative() {
            Derivative::Threshold(surrogate) => surrogate,
            // Types without rates have only this derivative.
            Derivative::Rate(_) => Surrogate::StraightThrough.bump(),
        };
        let stochastic = |from: &FromRates, poisson| {
            let visit = MakeStochastic { amplitude: from.amplitude, dt, poisson };
            from.base.with_rates(dt, visit).unwrap_or_else(silent)
        };
        let regular = |amplitude, towards_zero| MakeRegular { amplitude, dt, towards_zero, derivative };
        match self {
            NeuronType::SpikingRectifiedLinear(p) => {
                regular(p.amplitude, false).visit(RectifiedLinear { amplitude: 1.0 })
            }
            NeuronType::SpikingLeakyRelu(p) => {
                regular(p.amplitude, true).visit(LeakyRelu { amplitude: 1.0, ..*p })
            }
            NeuronType::Lif(p) => match terms(dt, p.tau_rc) {
                5 => lif_step::<5, D>(p, dt, derivative),
                7 => lif_step::<7, D>(p, dt, derivative),
                _ => lif_step::<0, D>(p, dt, derivative),
            },
            NeuronType::AdaptiveLif(p) => match terms(dt, p.tau_rc) {
                5 => adaptive_step::<5, D>(p, dt, derivative),
                7 => adaptive_step::<7, D>(p, dt, derivative),
                _ => adaptive_step::<0, D>(p, dt, derivative),
            },
            NeuronType::Izhikevich(p) => Step::of_system(IzhikevichStep { neuron: *p, dt, surrogate }),
            NeuronType::RegularSpiking(from) => {
                from.base.with_rates(dt, regular(from.amplitude, false)).unwrap_or_else(silent)
            }
            NeuronType::StochasticSpiking(from) => stochastic(from, false),
            NeuronType::PoissonSpiking(from) => stochastic(from, true),
            NeuronType::Leaky(p) => Step::of_system(LeakyStep { neuron: *p, surrogate }),
            NeuronType::Synaptic(p) => {
                let neuron = Leaky { beta: p.beta, threshold: p.threshold, reset: p.reset };
                Step::of_system(SynapticStep { leaky: LeakyStep { neuron, surrogate }, alpha: p.alpha })
            }
            rate => rate.with_rates(dt, MakeRate).unwrap_or_else(silent),
        }
    }

    /// Calls `visit` with the rates, for types whose output is a rate; else returns `None`.
    pub(crate) fn with_rates<V: Visit>(&self, dt: f64, visit: V) -> Option<V::Out> {
        Some(match *self {
            NeuronType::RectifiedLinear(p) => visit.visit(p),
            NeuronType::LeakyRelu(p) => visit.visit(p),
            NeuronType::Sigmoid(p) => visit.visit(p),
            NeuronType::Tanh(p) => visit.visit(p),
            NeuronType::LifRate(p) => visit.visit(p),
            NeuronType::SoftLifRate(p) => visit.visit(p),
            NeuronType::AdaptiveLifRate(neuron) => visit.visit(AdaptiveRates { neuron, dt }),
            _ => return None,
        })
    }
}

fn lif_step<const TERMS: usize, D: Through>(lif: &Lif, dt: f64, derivative: D) -> Step {
    Step::of_system(LifStep::<TERMS, D>::new(*lif, dt, derivative))
}

fn adaptive_step<const TERMS: usize, D: Through>(p: &AdaptiveLif, dt: f64, derivative: D) -> Step {
    let lif = LifStep::<TERMS, D>::new(p.still(), dt, derivative);
    Step::of_system(AdaptiveLifStep { lif, tau_n: p.tau_n, inc_n: p.inc_n })
}

/// Step for a base that spikes itself, which [`NeuronType::check`] rejects.
fn silent() -> Step {
    Step::new(1, |x| vec![x[0]]).without_gradient()
}

/// An operation on the rates of any type.
pub(crate) trait Visit {
    type Out;
    fn visit<R: Rates>(self, rates: R) -> Self::Out;
}

struct Any;

impl Visit for Any {
    type Out = ();
    fn visit<R: Rates>(self, _: R) {}
}

struct MakeRate;

impl Visit for MakeRate {
    type Out = Step;
    fn visit<R: Rates>(self, rates: R) -> Step {
        Step::of_system(RateStep(rates))
    }
}

struct MakeRegular<D> {
    amplitude: f64,
    dt: f64,
    towards_zero: bool,
    derivative: D,
}

impl<D: Through> Visit for MakeRegular<D> {
    type Out = Step;
    fn visit<R: Rates>(self, rates: R) -> Step {
        let Self { amplitude, dt, towards_zero, derivative } = self;
        Step::of_system(Regular { rates, amplitude, dt, towards_zero, derivative })
    }
}

struct MakeStochastic {
    amplitude: f64,
    dt: f64,
    poisson: bool,
}

impl Visit for MakeStochastic {
    type Out = Step;
    fn visit<R: Rates>(self, rates: R) -> Step {
        let Self { amplitude, dt, .. } = self;
        if self.poisson {
            Step::of_system(Stochastic::<R, true> { rates, amplitude, dt })
        } else {
            Step::of_system(Stochastic::<R, false> { rates, amplitude, dt })
        }
    }
}
