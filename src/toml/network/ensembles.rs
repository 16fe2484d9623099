//! `[[ensemble]]`, `[[output]]`, `[[network]]` and `[config]`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::network::library::{
    AssociativeMemory, BasalGanglia, CircularConvolution, InputGatedMemory, Integrator, Oscillator, Product,
    Thalamus,
};
use crate::network::{
    Config, Decoding, Distribution, Ensemble, EnsembleSettings, Function, Init, Network, ProbeSettings,
};
use crate::neuron::NeuronType;
use crate::solve::Solver;
use crate::toml::network::{
    ConnectionSpec, ConnectionSynapse, LayerSpec, Names, NeuronsSpec, NodeSpec, ProbeSpec, ProcessSpec,
};

/// Fills settings that are `None` from another struct.
macro_rules! fill {
    ($own:ident $others:ident $($of:ident)*) => {$(
        if $own.$of.is_none() {
            $own.$of.clone_from(&$others.$of);
        }
    )*};
}

/// Defines a struct with its own fields and the settings of ensembles; serde loses line and column in flattened structs.
macro_rules! with_settings {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            /// Neuron type: `"lif"`, the default, or `{ lif = { tau-rc = 0.02 } }`.
            pub neuron_type: Option<NeuronType>,
            /// Length of the longest vectors that are represented well; 1 by default.
            pub radius: Option<f64>,
            /// Encoders; `"scattered-hypersphere"` on the surface by default.
            pub encoders: Option<Distribution>,
            /// Normalise encoders to length 1; true by default.
            pub normalize_encoders: Option<bool>,
            /// Rates in Hz at the radius along the encoder; `{ uniform = [200, 400] }` by default.
            pub max_rates: Option<Distribution>,
            /// Points at which neurons begin to fire, in radii; `{ uniform = [-1, 0.9] }` by default.
            pub intercepts: Option<Distribution>,
            /// Factors on the encoded value, instead of rates and intercepts; requires `bias`.
            pub gain: Option<Distribution>,
            /// Currents at zero input; requires `gain`.
            pub bias: Option<Distribution>,
            /// Points to solve decoders at, in radii; `"scattered-hypersphere"` by default.
            pub eval_points: Option<Distribution>,
            /// Number of points to draw; `max(500 d clipped to 750 … 2500, 2 n)` by default.
            pub n_eval_points: Option<usize>,
            /// Noise on the currents; none by default.
            pub noise: Option<ProcessSpec>,
        }

        impl $name {
            /// Takes missing settings from `others`.
            pub(super) fn fill(&mut self, others: &EnsembleDefaults) {
                fill!(self others neuron_type radius encoders normalize_encoders max_rates intercepts gain bias
                    eval_points n_eval_points noise);
            }

            fn settings(&self, what: &str) -> Result<EnsembleSettings> {
                // The size of the noise follows from the ensemble.
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
    /// An ensemble or an array of ensembles.
    pub struct EnsembleSpec {
        /// Name. The neurons are `NAME.neurons`; the decoded value of an array, or for a probe, is `NAME.output`.
        pub name: String,
        /// Objects connected to it, dimension by dimension and without a synapse; several inputs are summed.
        #[serde(default)]
        pub input: Names,
        /// Neurons per ensemble.
        pub n_neurons: usize,
        /// Dimensions per ensemble; 1 by default.
        #[serde(default = "one")]
        pub dimensions: usize,
        /// Number of ensembles in the array; 1 by default.
        #[serde(default = "one")]
        pub n_ensembles: usize,
        /// Seed; derived from the file's seed and the name by default.
        pub seed: Option<u64>,
        /// Initial values of neuron states, by name.
        #[serde(default)]
        pub state: BTreeMap<String, Init>,
        /// Train encoders and biases; the `trainable` of `[config]` by default.
        pub trainable: Option<bool>,
        /// Train encoders; `trainable` by default.
        pub train_encoders: Option<bool>,
        /// Train biases; `trainable` by default.
        pub train_bias: Option<bool>,
        /// Solver for `NAME.output` and its input: that of the enclosing network's configuration, else the file's.
        #[serde(skip)]
        pub default_solver: Option<Solver>,
        /// Train those decoders, with the same default.
        #[serde(skip)]
        pub default_trainable: Option<bool>,
    }
}

with_settings! {
    /// Defaults for ensembles.
    pub struct EnsembleDefaults {}
}

fn one() -> usize {
    1
}

/// Defaults for settings that objects leave open: `[config]`, or `[network.config]` for the objects of one network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConfigSpec {
    /// Defaults for ensembles.
    pub ensemble: Option<EnsembleDefaults>,
    /// Decoder solver.
    pub solver: Option<Solver>,
    /// Synapse of each `[[connection]]` without one, and of connections in Nengo's networks. By default none for the former and,
    /// as in Nengo, a lowpass of 0.005 s for the latter.
    pub synapse: Option<ConnectionSynapse>,
    /// Defaults for probes.
    pub probe: Option<ProbeDefaults>,
    /// Train parameters of objects that do not set it; true by default.
    pub trainable: Option<bool>,
}

/// Defaults for probes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProbeDefaults {
    /// Filter on the output of objects; none by default.
    pub synapse: Option<ConnectionSynapse>,
    /// Seconds between recorded rows; each step by default.
    pub sample_every: Option<f64>,
}

/// An output of an ensemble or array, the object `OF.NAME`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OutputSpec {
    /// Name of the ensemble.
    pub of: String,
    /// Name, without that of the ensemble.
    pub name: String,
    /// Function of the represented value, or a list with one per ensemble of an array; the value itself by default.
    #[serde(default)]
    pub function: Functions,
    /// Decoder solver; the `solver` of `[config]` by default.
    pub solver: Option<Solver>,
    /// Evaluation points; the ensemble's by default.
    pub eval_points: Option<Distribution>,
    /// Scale these points by the radius; true by default.
    pub scale_eval_points: Option<bool>,
    /// Train the decoders; the `trainable` of `[config]` by default.
    pub trainable: Option<bool>,
}

/// A function or a list of functions.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Functions(pub Vec<Function>);

/// A subnetwork: one of Nengo's networks, by its kind, or one with its own objects.
///
/// Names of its objects get the prefix `NAME.`. Inside the network they are used without it; names are resolved from the
/// innermost network outwards.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NestedSpec {
    /// Name; its objects are `NAME.input` and so on.
    pub name: String,
    /// Defaults for its objects; missing settings are those of the enclosing network.
    #[serde(default)]
    pub config: ConfigSpec,
    /// Train all parameters in it that do not set it; the `trainable` of its `config`, then of the enclosing network, by default.
    pub trainable: Option<bool>,
    /// Nodes.
    #[serde(default)]
    pub node: Vec<NodeSpec>,
    /// Layers.
    #[serde(default)]
    pub layer: Vec<LayerSpec>,
    /// Populations of neurons.
    #[serde(default)]
    pub neurons: Vec<NeuronsSpec>,
    /// Ensembles.
    #[serde(default)]
    pub ensemble: Vec<EnsembleSpec>,
    /// Outputs of ensembles.
    #[serde(default)]
    pub output: Vec<OutputSpec>,
    /// Subnetworks.
    #[serde(default)]
    pub network: Vec<NestedSpec>,
    /// Connections.
    #[serde(default)]
    pub connection: Vec<ConnectionSpec>,
    /// Probes.
    #[serde(default)]
    pub probe: Vec<ProbeSpec>,
    /// Elementwise product.
    pub product: Option<Product>,
    /// Circular convolution.
    pub circular_convolution: Option<CircularConvolution>,
    /// Integrator over time.
    pub integrator: Option<Integrator>,
    /// Oscillator.
    pub oscillator: Option<Oscillator>,
    /// Action selection: the largest of several values.
    pub basal_ganglia: Option<BasalGanglia>,
    /// Thalamus, which turns the output of basal ganglia into a choice.
    pub thalamus: Option<Thalamus>,
    /// Associative memory of known vectors.
    pub associative_memory: Option<AssociativeMemory>,
    /// Memory with an input gate.
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
            train_encoders: self.train_encoders.or(self.trainable),
            train_bias: self.train_bias.or(self.trainable),
        })
    }
}

impl ConfigSpec {
    /// Rejects invalid defaults even if no object uses them; `of` names the network, or is empty for the file.
    pub(super) fn check(&self, of: &str) -> Result<()> {
        if let Some(ensemble) = &self.ensemble {
            let what = format!("[config.ensemble]{of}");
            ensemble.settings(&format!("the noise of {what}"))?.check(&what)?;
        }
        self.solver.as_ref().map_or(Ok(()), |solver| solver.check(&format!("[config]{of}")))?;
        let synapse = |synapse: &Option<ConnectionSynapse>, what: &str| -> Result<()> {
            let built = synapse.as_ref().map(|s| s.build(what)).transpose()?.flatten();
            built.map_or(Ok(()), |synapse| synapse.check(what))
        };
        synapse(&self.synapse, &format!("[config]{of}"))?;
        let Some(probe) = &self.probe else { return Ok(()) };
        let what = format!("[config.probe]{of}");
        synapse(&probe.synapse, &what)?;
        match probe.sample_every.filter(|every| !(every.is_finite() && *every > 0.0)) {
            None => Ok(()),
            Some(every) => {
                Err(Error::invalid(what, format!("its sample-every is {every} s, but must be above 0")))
            }
        }
    }

    pub(super) fn apply(&self, config: &mut Config) -> Result<()> {
        self.check("")?;
        if let Some(ensemble) = &self.ensemble {
            config.ensemble = ensemble.settings("the noise of [config.ensemble]")?.or(&config.ensemble);
        }
        if let Some(solver) = &self.solver {
            config.solver = solver.clone();
        }
        if let Some(synapse) = &self.synapse {
            config.connection.synapse = synapse.build("[config]")?;
        }
        config.trainable = self.trainable.unwrap_or(config.trainable);
        if let Some(probe) = &self.probe {
            let synapse = probe.synapse.as_ref().map(|s| s.build("the probes of [config]"));
            config.probe =
                ProbeSettings { synapse: synapse.transpose()?.flatten(), sample_every: probe.sample_every };
        }
        Ok(())
    }

    /// Takes missing settings from `others`.
    pub(super) fn fill(&mut self, others: &Self) {
        if let (Some(own), Some(others)) = (&mut self.ensemble, &others.ensemble) {
            own.fill(others);
        }
        if let (Some(own), Some(others)) = (&mut self.probe, &others.probe) {
            fill!(own others synapse sample_every);
        }
        fill!(self others ensemble solver synapse probe trainable);
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
            trainable: self.trainable,
        }
    }
}

impl NestedSpec {
    /// Number of Nengo's networks that it names.
    pub(super) fn kinds(&self) -> usize {
        macro_rules! count {
            ($($kind:ident)*) => { 0 $(+ usize::from(self.$kind.is_some()))* };
        }
        count!(product circular_convolution integrator oscillator basal_ganglia thalamus associative_memory input_gated_memory)
    }

    /// Adds one of Nengo's networks.
    pub(super) fn add(&self, net: &mut Network) -> Result<()> {
        if self.kinds() != 1 {
            let problem = "give it exactly one of product, circular-convolution, integrator, oscillator, basal-ganglia, \
                           thalamus, associative-memory and input-gated-memory, or objects of its own";
            return Err(Error::invalid(format!("network '{}'", self.name), problem));
        }
        let config = net.config.clone();
        let added = self.config.apply(&mut net.config).and_then(|()| self.add_kind(net));
        net.config = config;
        added
    }

    fn add_kind(&self, net: &mut Network) -> Result<()> {
        macro_rules! add {
            ($($kind:ident)*) => {$(
                if let Some(kind) = &self.$kind {
                    kind.add(net, &self.name)?;
                }
            )*};
        }
        add!(product circular_convolution integrator oscillator basal_ganglia thalamus associative_memory input_gated_memory);
        Ok(())
    }
}
