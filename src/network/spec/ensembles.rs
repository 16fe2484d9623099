//! Ensembles, their outputs and networks of them as a TOML file describes them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Names, ProcessSpec, SynapseSpec};
use crate::error::{Error, Result};
use crate::network::library::{
    AssociativeMemory, BasalGanglia, CircularConvolution, InputGatedMemory, Integrator, Oscillator, Product,
    Thalamus,
};
use crate::network::{Config, Decoding, Distribution, Ensemble, EnsembleSettings, Function, Init, Network};
use crate::op::neuron::NeuronType;
use crate::solve::Solver;

/// A struct with the settings of ensembles besides its own fields; serde cannot tell lines and columns of flattened ones.
macro_rules! with_settings {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            /// What neurons make of their current: `"lif"`, the default, or `{ lif = { tau-rc = 0.02 } }`.
            pub neuron_type: Option<NeuronType>,
            /// Length of the vectors that are represented well; 1 by default.
            pub radius: Option<f64>,
            /// Encoders: `"scattered-hypersphere"` on the surface by default.
            pub encoders: Option<Distribution>,
            /// Whether encoders are brought to length 1; true by default.
            pub normalize_encoders: Option<bool>,
            /// Rates where encoder and radius meet, in Hz; `{ uniform = [200, 400] }` by default.
            pub max_rates: Option<Distribution>,
            /// Where neurons begin to fire, in radii; `{ uniform = [-1, 0.9] }` by default.
            pub intercepts: Option<Distribution>,
            /// Factors on the encoded value, with `bias`, in place of rates and intercepts.
            pub gain: Option<Distribution>,
            /// Currents without input, with `gain`.
            pub bias: Option<Distribution>,
            /// Where decoders are solved for, in radii; `"scattered-hypersphere"` by default.
            pub eval_points: Option<Distribution>,
            /// How many points are drawn.
            pub n_eval_points: Option<usize>,
            /// Noise on the currents; none by default.
            pub noise: Option<ProcessSpec>,
        }

        impl $name {
            fn settings(&self, what: &str) -> Result<EnsembleSettings> {
                // The ensemble says how many neurons the noise is for.
                let noise = self.noise.as_ref().map(|n| n.build(what, n.size().unwrap_or(1)));
                Ok(EnsembleSettings {
                    neuron_type: self.neuron_type.clone(),
                    radius: self.radius,
                    encoders: self.encoders.clone(),
                    normalize_encoders: self.normalize_encoders,
                    max_rates: self.max_rates.clone(),
                    intercepts: self.intercepts.clone(),
                    gain: self.gain.clone(),
                    bias: self.bias.clone(),
                    eval_points: self.eval_points.clone(),
                    n_eval_points: self.n_eval_points,
                    noise: noise.transpose()?,
                })
            }
        }
    };
}

with_settings! {
    /// An ensemble, or an array of some.
    pub struct EnsembleSpec {
        /// Its name; its neurons are `NAME.neurons`, what is decoded of an array or for a probe `NAME.output`.
        pub name: String,
        /// What is connected to it, dimension by dimension and without a synapse; several inputs are summed.
        #[serde(default)]
        pub input: Names,
        /// Neurons of each ensemble.
        pub n_neurons: usize,
        /// Dimensions of each ensemble; 1 by default.
        #[serde(default = "one")]
        pub dimensions: usize,
        /// How many ensembles there are side by side; 1 by default.
        #[serde(default = "one")]
        pub n_ensembles: usize,
        /// Seed of its own.
        pub seed: Option<u64>,
        /// How states of its neurons start, by name.
        #[serde(default)]
        pub state: BTreeMap<String, Init>,
        /// Whether encoders are trained; true by default.
        pub train_encoders: Option<bool>,
        /// Whether biases are trained; true by default.
        pub train_bias: Option<bool>,
    }
}

with_settings! {
    /// What ensembles are like that say nothing else.
    pub struct EnsembleDefaults {}
}

fn one() -> usize {
    1
}

/// What objects are like that say nothing else: `[config]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConfigSpec {
    /// Of ensembles.
    pub ensemble: Option<EnsembleDefaults>,
    /// How decoders are found.
    pub solver: Option<Solver>,
    /// Of `[[connection]]`s that say no synapse, and of those inside of `[[network]]`s; by default none for the first and, as
    /// in Nengo, a lowpass of 0.005 s for the others.
    pub synapse: Option<SynapseSpec>,
}

/// An output of an ensemble or array, the object `OF.NAME`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OutputSpec {
    /// The ensemble.
    pub of: String,
    /// Its name, after that of the ensemble.
    pub name: String,
    /// A function of what is represented, or one for each ensemble of an array; the value itself if not given.
    #[serde(default)]
    pub function: Functions,
    /// How decoders are found.
    pub solver: Option<Solver>,
    /// Points of its own to solve at.
    pub eval_points: Option<Distribution>,
    /// Whether these are in radii; true by default.
    pub scale_eval_points: Option<bool>,
    /// Whether decoders are trained; true by default.
    pub trainable: Option<bool>,
}

/// A function or a list of functions.
#[derive(Clone, Debug, Default)]
pub struct Functions(pub Vec<Function>);

/// By hand, so that a mistake in a function is told and not forgotten.
impl<'de> Deserialize<'de> for Functions {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> serde::de::Visitor<'de> for Any {
            type Value = Functions;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a function as text, or a list of some")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Functions, E> {
                Ok(Functions(vec![Function::parse(text).map_err(E::custom)?]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Functions, A::Error> {
                let mut functions = Vec::new();
                while let Some(function) = list.next_element()? {
                    functions.push(function);
                }
                Ok(Functions(functions))
            }
        }
        from.deserialize_any(Any)
    }
}

/// One of Nengo's networks: its name and exactly one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LibrarySpec {
    /// Its name; its objects are `NAME.input` and so on.
    pub name: String,
    /// Elementwise product.
    pub product: Option<Product>,
    /// Circular convolution.
    pub circular_convolution: Option<CircularConvolution>,
    /// Integral over time.
    pub integrator: Option<Integrator>,
    /// Oscillation.
    pub oscillator: Option<Oscillator>,
    /// Selection of the largest.
    pub basal_ganglia: Option<BasalGanglia>,
    /// What turns their answer into a choice.
    pub thalamus: Option<Thalamus>,
    /// Recognition of known vectors.
    pub associative_memory: Option<AssociativeMemory>,
    /// Memory with a gate.
    pub input_gated_memory: Option<InputGatedMemory>,
}

impl EnsembleSpec {
    pub(super) fn build(&self) -> Result<Ensemble> {
        Ok(Ensemble {
            n_neurons: self.n_neurons,
            dimensions: self.dimensions,
            n_ensembles: self.n_ensembles,
            settings: self.settings(&format!("the noise of ensemble '{}'", self.name))?,
            seed: self.seed,
            states: self.state.iter().map(|(name, init)| (name.clone(), init.clone())).collect(),
            train_encoders: self.train_encoders.unwrap_or(true),
            train_bias: self.train_bias.unwrap_or(true),
        })
    }
}

impl ConfigSpec {
    pub(super) fn apply(&self, config: &mut Config) -> Result<()> {
        if let Some(ensemble) = &self.ensemble {
            config.ensemble = ensemble.settings("the noise of [config.ensemble]")?;
        }
        if let Some(solver) = &self.solver {
            config.solver = solver.clone();
        }
        if let Some(synapse) = &self.synapse {
            config.connection.synapse = Some(synapse.build("[config]")?);
        }
        Ok(())
    }
}

impl OutputSpec {
    pub(super) fn build(&self) -> Decoding {
        Decoding {
            functions: self.function.0.clone(),
            solver: self.solver.clone(),
            eval_points: self.eval_points.clone(),
            scale_eval_points: self.scale_eval_points.unwrap_or(true),
            weights: None,
            trainable: self.trainable.unwrap_or(true),
        }
    }
}

impl LibrarySpec {
    pub(super) fn add(&self, net: &mut Network) -> Result<()> {
        let name = &self.name;
        let mut kinds = 0;
        macro_rules! add {
            ($($kind:ident)*) => {$(
                if let Some(kind) = &self.$kind {
                    kinds += 1;
                    kind.add(net, name)?;
                }
            )*};
        }
        add!(product circular_convolution integrator oscillator basal_ganglia thalamus associative_memory input_gated_memory);
        if kinds == 1 {
            return Ok(());
        }
        let problem = "give it exactly one of product, circular-convolution, integrator, oscillator, basal-ganglia, \
                       thalamus, associative-memory and input-gated-memory";
        Err(Error::invalid(format!("network '{name}'"), problem))
    }
}
