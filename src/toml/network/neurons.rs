//! `[[neurons]]`: populations of neurons.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::network::{Init, Neurons, Tuning};
use crate::neuron::NeuronType;
use crate::solve::Solver;
use crate::toml::network::Names;

/// A population of neurons, tuned by rates and intercepts, or by gains and biases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NeuronsSpec {
    /// Name.
    pub name: String,
    /// Number of neurons.
    pub n: usize,
    /// Neuron type: `"lif"`, or `{ lif = { tau-rc = 0.02 } }`.
    #[serde(rename = "type")]
    pub neuron_type: NeuronType,
    /// Objects connected to it, neuron by neuron; several inputs are summed.
    #[serde(default)]
    pub input: Names,
    /// Solver for decoders of its input: that of the enclosing network's configuration, else the file's.
    #[serde(skip)]
    pub default_solver: Option<Solver>,
    /// Train those decoders, with the same default.
    #[serde(skip)]
    pub default_trainable: Option<bool>,
    /// Rates at an input of 1 in Hz; `{ uniform = [200, 400] }` by default.
    pub max_rates: Option<Init>,
    /// Inputs at which a neuron begins to fire; `{ uniform = [-1, 0.9] }` by default.
    pub intercepts: Option<Init>,
    /// Factors on the input, instead of rates and intercepts; 1 if only `bias` is given.
    pub gain: Option<Init>,
    /// Currents at zero input, instead of rates and intercepts; 0 if only `gain` is given.
    pub bias: Option<Init>,
    /// Initial values of states, by name.
    #[serde(default)]
    pub state: BTreeMap<String, Init>,
    /// Train the biases; the `trainable` of `[config]` by default.
    pub train_bias: Option<bool>,
    /// Train the gains; false by default.
    pub train_gain: Option<bool>,
}

impl NeuronsSpec {
    pub(super) fn build(&self) -> Result<Neurons> {
        let mut neurons = Neurons::new(self.n, self.neuron_type.clone());
        let rates = self.max_rates.is_some() || self.intercepts.is_some();
        let given = self.gain.is_some() || self.bias.is_some();
        if rates && given {
            let problem = "give it either max-rates and intercepts, or gain and bias";
            return Err(Error::invalid(format!("neurons '{}'", self.name), problem));
        }
        if rates {
            neurons.tuning = Tuning::Rates {
                max_rates: self.max_rates.clone().unwrap_or(Init::Uniform(200.0, 400.0)),
                intercepts: self.intercepts.clone().unwrap_or(Init::Uniform(-1.0, 0.9)),
            };
        }
        if given {
            neurons.tuning = Tuning::Given {
                gain: self.gain.clone().unwrap_or(Init::Constant(1.0)),
                bias: self.bias.clone().unwrap_or(Init::Zeros),
            };
        }
        neurons.states = self.state.iter().map(|(name, init)| (name.clone(), init.clone())).collect();
        neurons.train_bias = self.train_bias;
        neurons.train_gain = self.train_gain.unwrap_or(false);
        Ok(neurons)
    }
}
