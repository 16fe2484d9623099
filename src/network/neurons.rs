//! Populations of neurons.

use crate::error::{Error, Result};
use crate::graph::State;
use crate::network::init::seed_of;
use crate::network::{Init, Kind, Network, Object};
use crate::neuron::NeuronType;

/// A population of `n` neurons with currents `J = gain * input + bias`. Gain and bias are the parameters `NAME/gain` and
/// `NAME/bias`.
///
/// ```
/// use nengo_wgpu::network::{Network, NeuronType, Neurons};
///
/// # fn main() -> nengo_wgpu::Result<()> {
/// let mut net = Network::new(0);
/// let hidden = net.neurons("hidden", Neurons::new(50, NeuronType::lif()))?;
/// # let _ = hidden;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Neurons {
    /// Number of neurons.
    pub n: usize,
    /// Neuron type.
    pub neuron_type: NeuronType,
    /// Source of gains and biases.
    pub tuning: Tuning,
    /// Initial values of neuron states, by name, that replace Nengo's defaults.
    pub states: Vec<(String, Init)>,
    /// Train the biases; `None` takes [`crate::network::Config::trainable`].
    pub train_bias: Option<bool>,
    /// Train the gains; false by default.
    pub train_gain: bool,
}

/// Source of gains and biases. Random values are drawn from the network's seed and the object's name.
#[derive(Clone, Debug, PartialEq)]
pub enum Tuning {
    /// Computed from the rate at an input of 1, and the input at which a neuron begins to fire.
    Rates {
        /// Rates in Hz at an input of 1.
        max_rates: Init,
        /// Inputs at which neurons begin to fire; below 1.
        intercepts: Init,
    },
    /// Given directly.
    Given {
        /// Factors on the input.
        gain: Init,
        /// Currents at zero input.
        bias: Init,
    },
}

impl Tuning {
    /// Default for a type: as in Nengo, rates uniform between 200 and 400 Hz and intercepts between -1 and 0.9. Types without
    /// rates in Hz get a gain of 1 and no bias.
    pub fn of(neuron_type: &NeuronType) -> Self {
        match neuron_type {
            NeuronType::Leaky(_) | NeuronType::Synaptic(_) => {
                Tuning::Given { gain: Init::Constant(1.0), bias: Init::Zeros }
            }
            _ => {
                Tuning::Rates { max_rates: Init::Uniform(200.0, 400.0), intercepts: Init::Uniform(-1.0, 0.9) }
            }
        }
    }
}

impl Neurons {
    /// `n` neurons with the tuning [`Tuning::of`] their type. Biases are trained by the network's default, gains are not.
    pub fn new(n: usize, neuron_type: impl Into<NeuronType>) -> Self {
        let neuron_type = neuron_type.into();
        let tuning = Tuning::of(&neuron_type);
        Self { n, neuron_type, tuning, states: Vec::new(), train_bias: None, train_gain: false }
    }

    /// Sets highest rates in Hz and intercepts, from which gains and biases follow.
    pub fn rates(mut self, max_rates: Init, intercepts: Init) -> Self {
        self.tuning = Tuning::Rates { max_rates, intercepts };
        self
    }

    /// Sets gains and biases.
    pub fn tuned(mut self, gain: Init, bias: Init) -> Self {
        self.tuning = Tuning::Given { gain, bias };
        self
    }

    /// Sets the initial values of a state.
    pub fn state(mut self, name: &str, start: Init) -> Self {
        self.states.push((name.into(), start));
        self
    }

    /// Freezes gains and biases.
    pub fn frozen(mut self) -> Self {
        (self.train_bias, self.train_gain) = (Some(false), false);
        self
    }

    /// Initial values of gains and biases.
    pub(super) fn gain_bias(&self, name: &str, seed: u64) -> Result<(Init, Init)> {
        let (max_rates, intercepts) = match &self.tuning {
            Tuning::Given { gain, bias } => return Ok((gain.clone(), bias.clone())),
            Tuning::Rates { max_rates, intercepts } => (max_rates, intercepts),
        };
        let draw = |init: &Init, what: &str| -> Result<Vec<f64>> {
            let key = format!("{name}/{what}");
            init.check(&format!("the {} of neurons '{name}'", what.replace('_', "-")), 1, self.n)?;
            Ok(init.values(1, self.n, seed_of(seed, &key)).into_iter().map(f64::from).collect())
        };
        let (max_rates, intercepts) = (draw(max_rates, "max_rates")?, draw(intercepts, "intercepts")?);
        let what = format!("neurons '{name}'");
        let (gain, bias) = self.neuron_type.gain_bias(&what, &max_rates, &intercepts)?;
        let values = |list: Vec<f64>| Init::Values(list.into_iter().map(|x| x as f32).collect());
        Ok((values(gain), values(bias)))
    }
}

/// Tolerance above the highest possible rate before a warning, to ignore rounding.
const RATE_TOLERANCE: f64 = 1.0 + 1e-4;

impl Network {
    /// Warnings about neurons tuned to fire more often than once per time step of `dt` seconds, which they cannot.
    pub(crate) fn rate_warnings(&self, dt: f64) -> Vec<String> {
        let warning = |object: &Object| {
            let (name, neuron_type) = (&object.name, &object.population.as_ref()?.neuron_type);
            let most = self.highest_rate(object).filter(|most| *most > RATE_TOLERANCE / dt)?;
            let (neurons, limit) = (neuron_type.name(), 1.0 / dt);
            Some(format!(
                "the {neurons} of '{name}' are tuned to fire at up to {most:.0} Hz, but fire at most once in a time step of \
                 {dt} s, which is {limit:.0} Hz: take a time step of at most {:.2e} s, or lower max rates",
                1.0 / most
            ))
        };
        self.objects.iter().filter_map(warning).collect()
    }

    /// The highest initial rate in Hz at an encoded value of 1, of neurons that fire at most once per time step.
    fn highest_rate(&self, object: &Object) -> Option<f64> {
        let neuron_type = &object.population.as_ref()?.neuron_type;
        if !matches!(neuron_type, NeuronType::Lif(_) | NeuronType::AdaptiveLif(_)) {
            return None;
        }
        let mut currents: Vec<f64> = match &object.kind {
            Kind::EnsembleNeurons(ensemble) => {
                let (encoding, _) = self.encoding(*ensemble).ok()?;
                encoding.gain.iter().zip(&encoding.bias).map(|(gain, bias)| gain + bias).collect()
            }
            Kind::Neurons => {
                let parameter = |what: &str| {
                    let key = format!("{}/{what}", object.name);
                    let p = &self.parameters[self.parameter_index(&key).ok()?];
                    Some(p.init.values(p.rows, p.cols, seed_of(self.seed, &key)))
                };
                let (gain, bias) = (parameter("gain")?, parameter("bias")?);
                gain.iter().zip(bias).map(|(gain, bias)| f64::from(gain + bias)).collect()
            }
            _ => return None,
        };
        neuron_type.rates_in_place(&mut currents)?;
        currents.into_iter().reduce(f64::max)
    }
}

/// Neurons of an object: their type and initial states.
#[derive(Clone, Debug)]
pub(crate) struct Population {
    pub neuron_type: NeuronType,
    pub states: Vec<State>,
    /// Factor on the current; 1 unless rates were converted to spikes.
    pub scale: f32,
}

impl Population {
    /// States start from `starts`, else from the type's defaults, drawn from the seed and the names.
    pub fn new(
        name: &str,
        n: usize,
        neuron_type: &NeuronType,
        starts: &[(String, Init)],
        seed: u64,
    ) -> Result<Self> {
        neuron_type.check(&format!("'{name}'"))?;
        let known = neuron_type.states();
        if let Some((wrong, _)) = starts.iter().find(|(s, _)| known.iter().all(|k| k.0 != s)) {
            return Err(Error::unknown(format!("state of '{name}'"), wrong, known.iter().map(|k| k.0)));
        }
        let mut states = Vec::with_capacity(known.len());
        for (state, [low, high]) in known {
            let given = starts.iter().find(|(s, _)| s == state).map(|(_, init)| init.clone());
            let init = given.unwrap_or(Init::Uniform(low, high));
            let key = format!("{name}/{state}");
            init.check(&key, 1, n)?;
            states.push(State { name: state, start: init.values(1, n, seed_of(seed, &key)) });
        }
        Ok(Self { neuron_type: neuron_type.clone(), states, scale: 1.0 })
    }

    /// Index of a state of the object `of`.
    pub fn state(&self, of: &str, name: &str) -> Result<usize> {
        let found = self.states.iter().position(|s| s.name == name);
        let known = || self.states.iter().map(|s| s.name);
        found.ok_or_else(|| Error::unknown(format!("state of '{of}'"), name, known()))
    }
}
