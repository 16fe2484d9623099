//! Validation of neurons' constants, and of the time step.

use crate::error::{Error, Result};
use crate::expr::function::Surrogate;
use crate::expr::step::lost_step;
use crate::neuron::{NeuronType, Spiking};

impl NeuronType {
    /// Rejects invalid constants; `what` names the neurons in the error.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the constant and its valid range.
    pub fn check(&self, what: &str) -> Result<()> {
        let invalid =
            |problem: String| Err(Error::invalid(format!("the {} of {what}", self.name()), problem));
        for (name, value, rule) in self.constants() {
            let (fits, must) = match rule {
                Rule::Positive => (value.is_finite() && value > 0.0, "above 0"),
                Rule::NotNegative => (value.is_finite() && value >= 0.0, "at least 0"),
                Rule::NotAbove(1.0) => ((0.0..=1.0).contains(&value), "between 0 and 1"),
                Rule::NotAbove(limit) => (value <= limit, "at most 0"),
                Rule::Finite => (value.is_finite(), "finite"),
            };
            if !fits {
                let infinite = !value.is_finite() && matches!(rule, Rule::Positive | Rule::NotNegative);
                let must = if infinite { format!("finite and {must}") } else { must.into() };
                return invalid(format!("{name} is {value}, but must be {must}"));
            }
        }
        match self {
            NeuronType::RegularSpiking(from)
            | NeuronType::StochasticSpiking(from)
            | NeuronType::PoissonSpiking(from) => {
                if !from.base.is_rate() {
                    let base = from.base.name();
                    return invalid(format!(
                        "its base is {base}, but must be of a type whose output is a rate"
                    ));
                }
                from.base.check(what)
            }
            NeuronType::Izhikevich(p) if p.reset_voltage >= 30.0 => invalid(format!(
                "reset-voltage is {} mV, but must be below the threshold of 30 mV",
                p.reset_voltage
            )),
            _ => Ok(()),
        }
    }

    /// Rejects a time step that is too long for these neurons, or so short that single precision cannot represent its effect.
    ///
    /// A neuron with a membrane fires at most once per step, so the step must be at most twice the refractory time. Adaptation
    /// diverges if the step is longer than its time constant, and Izhikevich's equations diverge beyond 2 ms.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the step and the limit.
    pub fn check_dt(&self, what: &str, dt: f64) -> Result<()> {
        let invalid =
            |problem: String| Err(Error::invalid(format!("the {} of {what}", self.name()), problem));
        let short = |name, tau| lost_step(dt, name, tau).map_or(Ok(()), invalid);
        let (tau_rc, tau_ref) = match self {
            NeuronType::Lif(p) => (p.tau_rc, p.tau_ref),
            NeuronType::AdaptiveLif(p) => {
                short("tau-n", p.tau_n)?;
                (p.tau_rc, p.tau_ref)
            }
            NeuronType::Izhikevich(_) if dt > 0.002 => {
                return invalid(format!("a time step of {dt} s is too long for them; take at most 0.002 s"));
            }
            NeuronType::RegularSpiking(from)
            | NeuronType::StochasticSpiking(from)
            | NeuronType::PoissonSpiking(from) => return from.base.check_dt(what, dt),
            NeuronType::AdaptiveLifRate(p) if dt > p.tau_n => {
                return invalid(format!("a time step of {dt} s is longer than tau-n, {} s", p.tau_n));
            }
            NeuronType::AdaptiveLifRate(p) => return short("tau-n", p.tau_n),
            _ => return Ok(()),
        };
        if let NeuronType::AdaptiveLif(p) = self
            && dt > p.tau_n
        {
            return invalid(format!("a time step of {dt} s is longer than tau-n, {} s", p.tau_n));
        }
        if tau_ref > 0.0 && dt > 2.0 * tau_ref {
            return invalid(format!(
                "a time step of {dt} s is too long for a refractory time of {tau_ref} s, since a neuron fires at most once \
                 in a step; take at most {} s",
                2.0 * tau_ref
            ));
        }
        short("tau-rc", tau_rc)?;
        short("tau-ref", tau_ref)
    }

    fn constants(&self) -> Vec<(&'static str, f64, Rule)> {
        use Rule::{Finite, NotAbove, NotNegative, Positive};
        let lif = |tau_rc, tau_ref, amplitude| {
            vec![
                ("tau-rc", tau_rc, Positive),
                ("tau-ref", tau_ref, NotNegative),
                ("amplitude", amplitude, Positive),
            ]
        };
        let adaptive = |mut list: Vec<_>, tau_n, inc_n| {
            list.extend([("tau-n", tau_n, Positive), ("inc-n", inc_n, NotNegative)]);
            list
        };
        let floored = |mut list: Vec<_>, min_voltage| {
            list.push(("min-voltage", min_voltage, NotAbove(0.0)));
            list
        };
        match self {
            NeuronType::RectifiedLinear(p) | NeuronType::SpikingRectifiedLinear(p) => {
                vec![("amplitude", p.amplitude, Positive)]
            }
            NeuronType::LeakyRelu(p) | NeuronType::SpikingLeakyRelu(p) => {
                vec![("amplitude", p.amplitude, Positive), ("slope", p.slope, Finite)]
            }
            NeuronType::Sigmoid(p) => vec![("tau-ref", p.tau_ref, Positive)],
            NeuronType::Tanh(p) => vec![("tau-ref", p.tau_ref, Positive)],
            NeuronType::LifRate(p) => lif(p.tau_rc, p.tau_ref, p.amplitude),
            NeuronType::Lif(p) => floored(lif(p.tau_rc, p.tau_ref, p.amplitude), p.min_voltage),
            NeuronType::SoftLifRate(p) => {
                let mut list = lif(p.tau_rc, p.tau_ref, p.amplitude);
                list.push(("sigma", p.sigma, Positive));
                list
            }
            NeuronType::AdaptiveLifRate(p) => {
                adaptive(lif(p.tau_rc, p.tau_ref, p.amplitude), p.tau_n, p.inc_n)
            }
            NeuronType::AdaptiveLif(p) => {
                let list = floored(lif(p.tau_rc, p.tau_ref, p.amplitude), p.min_voltage);
                adaptive(list, p.tau_n, p.inc_n)
            }
            NeuronType::Izhikevich(p) => vec![
                ("tau-recovery", p.tau_recovery, Positive),
                ("coupling", p.coupling, NotNegative),
                ("reset-voltage", p.reset_voltage, Finite),
                ("reset-recovery", p.reset_recovery, Finite),
            ],
            NeuronType::RegularSpiking(from)
            | NeuronType::StochasticSpiking(from)
            | NeuronType::PoissonSpiking(from) => vec![("amplitude", from.amplitude, Positive)],
            NeuronType::Leaky(p) => vec![("beta", p.beta, NotAbove(1.0)), ("threshold", p.threshold, Finite)],
            NeuronType::Synaptic(p) => vec![
                ("alpha", p.alpha, NotAbove(1.0)),
                ("beta", p.beta, NotAbove(1.0)),
                ("threshold", p.threshold, Finite),
            ],
        }
    }
}

enum Rule {
    Positive,
    NotNegative,
    /// At most this limit; with the limit 1, also at least 0.
    NotAbove(f64),
    Finite,
}

impl Spiking {
    /// Rejects widths and slopes that are not above 0.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the number.
    pub fn check(&self) -> Result<()> {
        let (name, value) = match *self {
            Spiking::RateSwap | Spiking::Surrogate(Surrogate::StraightThrough) => return Ok(()),
            Spiking::SmoothRateSwap(sigma) => ("the width of a smooth rate swap", sigma),
            Spiking::RateGradient(sigma) => ("the width of a rate gradient", sigma),
            Spiking::Surrogate(Surrogate::FastSigmoid(k)) => ("the slope of a fast sigmoid", k.into()),
            Spiking::Surrogate(Surrogate::Arctan(a)) => ("the width of an arctan", a.into()),
            Spiking::Surrogate(Surrogate::Triangle(k)) => ("the slope of a triangle", k.into()),
        };
        if value.is_finite() && value > 0.0 {
            return Ok(());
        }
        Err(Error::invalid("spiking", format!("{name} is {value}, but must be above 0")))
    }
}
