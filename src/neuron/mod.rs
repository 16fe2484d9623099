//! Neuron types: from an input current to rates or spikes. One file a family, with one definition of a step each.
//!
//! A step written with [`Real`](crate::expr::real::Real) numbers gives the shader, the CPU twin, the reference in f64 and the
//! adjoint. Types without a state are elementwise maps, which the planner fuses into what makes their current; the others
//! are [`Scan`]s. The current of a step acts in that step: neurons do not delay.

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

/// What a neuron makes of its input current.
///
/// Outputs are rates in Hz; a spike is `amplitude / dt` high, so that its mean is the rate. [`Leaky`] and [`Synaptic`], which
/// know no seconds, have spikes of height 1.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeuronType {
    /// A line from zero on.
    RectifiedLinear(RectifiedLinear),
    /// Spikes of [`NeuronType::RectifiedLinear`], several in a step if need be. State: `voltage`.
    SpikingRectifiedLinear(RectifiedLinear),
    /// Two lines.
    LeakyRelu(LeakyRelu),
    /// Spikes of [`NeuronType::LeakyRelu`], negative ones below zero. State: `voltage`.
    SpikingLeakyRelu(LeakyRelu),
    /// The logistic function.
    Sigmoid(Sigmoid),
    /// The hyperbolic tangent.
    Tanh(Tanh),
    /// The rate of [`NeuronType::Lif`].
    LifRate(LifRate),
    /// Leaky integrate-and-fire.
    Lif(Lif),
    /// The rate of [`NeuronType::Lif`] with a soft threshold.
    SoftLifRate(SoftLifRate),
    /// The rate of [`NeuronType::AdaptiveLif`].
    AdaptiveLifRate(AdaptiveLifRate),
    /// Leaky integrate-and-fire with adaptation.
    AdaptiveLif(AdaptiveLif),
    /// Izhikevich's.
    Izhikevich(Izhikevich),
    /// Regular spikes of any rate. States: those of the rate, then `voltage`.
    RegularSpiking(FromRates),
    /// Spikes of any rate, what is left of a spike by chance.
    StochasticSpiking(FromRates),
    /// Spikes of any rate by Poisson's law; at most 64 are expected in a step, higher rates count as that.
    PoissonSpiking(FromRates),
    /// snnTorch's leaky neuron.
    Leaky(Leaky),
    /// snnTorch's leaky neuron with a decaying current.
    Synaptic(Synaptic),
}

/// Spikes that are made of the rates of another type.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FromRates {
    /// A type without spikes; in a file it may stand for the whole, as `{ poisson-spiking = "rectified-linear" }`.
    #[serde(alias = "$short")]
    pub base: Box<NeuronType>,
    /// Factor on the output: a spike is `amplitude / dt` high.
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

/// How spikes are trained through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spiking {
    /// In training, rates take the place of spikes (Hunsberger and Eliasmith 2016); states do not move.
    #[default]
    RateSwap,
    /// The same, with [`SoftLifRate`] of this width in place of [`Lif`].
    SmoothRateSwap(f64),
    /// Spikes, with a surrogate for the derivative of the threshold; resets are constants for it.
    Surrogate(Surrogate),
    /// Spikes, with the derivative of the rate, for [`Lif`] of that with a soft threshold of this width: the soft LIF rate as
    /// the backward function. In files also `soft-lif`.
    #[serde(alias = "soft-lif")]
    RateGradient(f64),
}

/// What stands for the derivative of spikes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Derivative {
    /// At the threshold, through time.
    Threshold(Bump),
    /// That of the rate in this step alone.
    Rate(f64),
}

/// A [`Derivative`] of which the compiler knows the kind: a choice within a loop over neurons would keep it from being
/// vectorised.
pub(crate) trait Through: Copy + Send + Sync + 'static {
    /// What it is.
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
    /// [`Lif`] with the constants that it has by default.
    pub fn lif() -> Self {
        Lif::default().into()
    }

    /// Regular spikes of the rates of `base`.
    pub fn regular_spiking(base: impl Into<NeuronType>) -> Self {
        Self::RegularSpiking(FromRates { base: Box::new(base.into()), amplitude: 1.0 })
    }

    /// Spikes of the rates of `base`, what is left of a spike by chance.
    pub fn stochastic_spiking(base: impl Into<NeuronType>) -> Self {
        Self::StochasticSpiking(FromRates { base: Box::new(base.into()), amplitude: 1.0 })
    }

    /// Spikes of the rates of `base` by Poisson's law.
    pub fn poisson_spiking(base: impl Into<NeuronType>) -> Self {
        Self::PoissonSpiking(FromRates { base: Box::new(base.into()), amplitude: 1.0 })
    }

    /// What such neurons are called, for messages.
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

    /// Whether the output is a rate.
    pub fn is_rate(&self) -> bool {
        self.with_rates(1.0, Any).is_some()
    }

    /// Whether it needs random numbers.
    pub fn is_random(&self) -> bool {
        matches!(self, NeuronType::StochasticSpiking(_) | NeuronType::PoissonSpiking(_))
    }

    /// Names of the states, and the range in which each starts if nothing else is said, evenly spread as in Nengo.
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

    /// The type whose rates take the place of spikes in training, and a factor on them; nothing where there is none.
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

    /// The step at a time step of `dt` seconds.
    pub(crate) fn step(&self, dt: f64, derivative: Derivative) -> Step {
        match derivative {
            Derivative::Threshold(surrogate) => self.step_through(dt, Threshold(surrogate)),
            Derivative::Rate(width) => self.step_through(dt, OfRate(width)),
        }
    }

    fn step_through<D: Through>(&self, dt: f64, derivative: D) -> Step {
        let surrogate = match derivative.derivative() {
            Derivative::Threshold(surrogate) => surrogate,
            // Types without rates have no other.
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

    /// Calls `visit` with the rates of a type that has them for its output.
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

/// Of a base that spikes itself, which [`NeuronType::check`] refuses.
fn silent() -> Step {
    Step::new(1, |x| vec![x[0]]).without_gradient()
}

/// Something to be done with rates of any type.
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
