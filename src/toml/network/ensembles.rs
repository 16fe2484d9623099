//! Ensembles, their outputs and networks of them as a TOML file describes them.

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

/// Settings that are not given, from others.
macro_rules! fill {
    ($own:ident $others:ident $($of:ident)*) => {$(
        if $own.$of.is_none() {
            $own.$of.clone_from(&$others.$of);
        }
    )*};
}

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
            /// What it does not say is as the others say.
            pub(super) fn fill(&mut self, others: &EnsembleDefaults) {
                fill!(self others neuron_type radius encoders normalize_encoders max_rates intercepts gain bias
                    eval_points n_eval_points noise);
            }

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
        /// Whether encoders and biases are trained; as `[config]` says by default.
        pub trainable: Option<bool>,
        /// Whether encoders are trained, where that is not so for both.
        pub train_encoders: Option<bool>,
        /// Whether biases are trained, likewise.
        pub train_bias: Option<bool>,
        /// How the decoders of `NAME.output` and of its input are found: as the network says that it is in, if not as the file says.
        #[serde(skip)]
        pub default_solver: Option<Solver>,
        /// Whether those are trained, likewise.
        #[serde(skip)]
        pub default_trainable: Option<bool>,
    }
}

with_settings! {
    /// What ensembles are like that say nothing else.
    pub struct EnsembleDefaults {}
}

fn one() -> usize {
    1
}

/// What objects are like that say nothing else: `[config]`, or `[network.config]` for those of one network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConfigSpec {
    /// Of ensembles.
    pub ensemble: Option<EnsembleDefaults>,
    /// How decoders are found.
    pub solver: Option<Solver>,
    /// Of `[[connection]]`s that say no synapse, and of those that Nengo's networks are made of; by default none for the first
    /// and, as in Nengo, a lowpass of 0.005 s for the others.
    pub synapse: Option<ConnectionSynapse>,
    /// Of probes.
    pub probe: Option<ProbeDefaults>,
    /// Whether parameters are trained of what does not say so itself; true by default.
    pub trainable: Option<bool>,
}

/// What probes are like that say nothing else.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProbeDefaults {
    /// A filter on what objects give; none by default.
    pub synapse: Option<ConnectionSynapse>,
    /// Seconds from one recorded row to the next; each step by default.
    pub sample_every: Option<f64>,
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
    /// Whether decoders are trained; as `[config]` says by default.
    pub trainable: Option<bool>,
}

/// A function or a list of functions.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Functions(pub Vec<Function>);

/// A network in the network: one of Nengo's, by its kind, or one of objects of its own.
///
/// Names of its objects begin with `NAME.`; inside of it they are said without that, and are looked for from the inside out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NestedSpec {
    /// Its name; its objects are `NAME.input` and so on.
    pub name: String,
    /// What its objects are like that say nothing else; what it does not say is as the network around it says.
    #[serde(default)]
    pub config: ConfigSpec,
    /// Whether all in it is trained that does not say so itself; as its `config` says by default, and the network around it.
    pub trainable: Option<bool>,
    /// Its nodes.
    #[serde(default)]
    pub node: Vec<NodeSpec>,
    /// Its layers.
    #[serde(default)]
    pub layer: Vec<LayerSpec>,
    /// Its populations of neurons.
    #[serde(default)]
    pub neurons: Vec<NeuronsSpec>,
    /// Its ensembles.
    #[serde(default)]
    pub ensemble: Vec<EnsembleSpec>,
    /// Outputs of ensembles.
    #[serde(default)]
    pub output: Vec<OutputSpec>,
    /// Networks in it.
    #[serde(default)]
    pub network: Vec<NestedSpec>,
    /// Its connections.
    #[serde(default)]
    pub connection: Vec<ConnectionSpec>,
    /// Its probes.
    #[serde(default)]
    pub probe: Vec<ProbeSpec>,
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
            train_encoders: self.train_encoders.or(self.trainable),
            train_bias: self.train_bias.or(self.trainable),
        })
    }
}

impl ConfigSpec {
    /// Refuses what makes no sense, also where no object takes it; `of` is empty, or says of which network.
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

    /// What it does not say is as the others say.
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
    /// How many of Nengo's networks it is.
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
