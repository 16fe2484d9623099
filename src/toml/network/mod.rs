//! Networks, data and training as TOML files.
//!
//! ```toml
//! seed = 0
//!
//! [[node]]
//! name = "image"
//! size = 64
//!
//! [[layer]]
//! name = "hidden"
//! input = "image"
//! units = 128
//! activation = "relu"
//!
//! [[layer]]
//! name = "digit"
//! input = "hidden"
//! units = 10
//!
//! [[probe]]
//! name = "output"
//! target = "digit"
//! ```

mod ensembles;
mod examples;
mod learning;
mod nested;
mod neurons;
mod objects;
mod signals;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use ensembles::{
    ConfigSpec, EnsembleDefaults, EnsembleSpec, Functions, NestedSpec, OutputSpec, ProbeDefaults,
};
pub use learning::{BcmSpec, LearningRuleSpec, OjaSpec, PreSpec, VojaSpec};
pub use neurons::NeuronsSpec;
pub use objects::{ConnectionSpec, End, LayerSpec, MadeTransform, Names, NodeSpec, ProbeSpec, TransformSpec};
pub use signals::{
    ConnectionSynapse, FilteredNoiseSpec, NoiseSpec, PiecewiseSpec, PresentSpec, ProcessSpec, StateSpaceSpec,
    SynapseKind, SynapseSpec, TransferSpec, WhiteSignalSpec,
};

use crate::error::{Error, Result};
use crate::io::dataset::{Splits, Wanted};
use crate::network::{Connection, Network, Slice};
use crate::sim::check_dt;
use crate::solve::Solver;
use crate::toml::{DataSpec, SplitSpec, TrainSpec};

/// A network with its data and training, as read from a TOML file.
///
/// Objects may be used before they are defined, so connections may form cycles.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkSpec {
    /// Seed of initial parameters and of the order of examples; 0 by default.
    #[serde(default)]
    pub seed: u64,
    /// Length of a time step in seconds; 0.001 by default.
    #[serde(default = "millisecond")]
    pub dt: f64,
    /// Defaults for settings that objects leave open.
    #[serde(default)]
    pub config: ConfigSpec,
    /// Nodes: inputs and signals from outside the neural model.
    #[serde(default)]
    pub node: Vec<NodeSpec>,
    /// Layers.
    #[serde(default)]
    pub layer: Vec<LayerSpec>,
    /// Populations of neurons.
    #[serde(default)]
    pub neurons: Vec<NeuronsSpec>,
    /// Ensembles and arrays of ensembles.
    #[serde(default)]
    pub ensemble: Vec<EnsembleSpec>,
    /// Decoded outputs of ensembles, shared by their connections.
    #[serde(default)]
    pub output: Vec<OutputSpec>,
    /// Subnetworks. [`NetworkSpec::parse`] keeps Nengo's networks here, and moves the objects of others, with full names, into
    /// the lists of the file.
    #[serde(default)]
    pub network: Vec<NestedSpec>,
    /// Connections, in addition to those made by the `input` of objects.
    #[serde(default)]
    pub connection: Vec<ConnectionSpec>,
    /// Probes.
    #[serde(default)]
    pub probe: Vec<ProbeSpec>,
    /// Examples for training or for a run.
    pub data: Option<DataSpec>,
    /// Split of the examples into training, validation and test parts.
    #[serde(default)]
    pub split: SplitSpec,
    /// Training settings.
    pub train: Option<TrainSpec>,
    /// Directory of the file, to which its paths are relative.
    #[serde(skip)]
    pub base: PathBuf,
}

fn millisecond() -> f64 {
    0.001
}

/// Calls `f` with the defaults of an object's enclosing network, if any, for solver and trainability.
fn with_defaults<R>(
    net: &mut Network,
    solver: &Option<Solver>,
    trainable: Option<bool>,
    f: impl FnOnce(&mut Network) -> Result<R>,
) -> Result<R> {
    let of_file = (net.config.solver.clone(), net.config.trainable);
    solver.iter().for_each(|solver| net.config.solver = solver.clone());
    net.config.trainable = trainable.unwrap_or(net.config.trainable);
    let result = f(net);
    (net.config.solver, net.config.trainable) = of_file;
    result
}

impl NetworkSpec {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::File`] for a file that is not UTF-8 text, or [`Error::Toml`] with line and column.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(&crate::toml::read::text(path)?, path)
    }

    /// Parses the text of a TOML file. `path` is used in messages, and its directory is the base of relative paths.
    ///
    /// # Errors
    /// [`Error::Toml`] with line and column, or a subnetwork that is neither one of Nengo's nor has objects.
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut spec: Self = crate::toml::read::toml(text, path)?;
        spec.flatten()?;
        spec.base = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(spec)
    }

    /// Builds the network. It equals the network built by calls, parameter by parameter.
    ///
    /// # Errors
    /// Names that do not exist or are taken, sizes that do not match or cannot be inferred, and errors of [`Network`].
    pub fn build(&self) -> Result<Network> {
        check_dt(self.dt)?;
        let mut net = Network::new(self.seed);
        self.config.apply(&mut net.config)?;
        for node in &self.node {
            net.node(&node.name, node.build()?)?;
        }
        for neurons in &self.neurons {
            net.neurons(&neurons.name, neurons.build()?)?;
        }
        for ensemble in &self.ensemble {
            net.ensemble(&ensemble.name, ensemble.build()?)?;
        }
        for network in &self.network {
            network.add(&mut net)?;
        }
        for output in &self.output {
            net.add_output(net.find(&output.of)?, &output.name, output.build())?;
        }
        self.make_outputs(&mut net)?;
        let sizes = self.input_sizes(&net)?;
        for layer in &self.layer {
            net.unconnected_layer(&layer.name, layer.build()?, sizes[layer.name.as_str()])?;
        }
        let layers = self.layer.iter().map(|l| (&l.name, &l.input, &l.default_solver, l.default_trainable));
        let neurons =
            self.neurons.iter().map(|n| (&n.name, &n.input, &n.default_solver, n.default_trainable));
        let ensembles =
            self.ensemble.iter().map(|e| (&e.name, &e.input, &e.default_solver, e.default_trainable));
        for (name, inputs, solver, trainable) in layers.chain(neurons).chain(ensembles) {
            let post = net.find(name)?;
            for input in inputs.as_slice() {
                let pre = net.find(input)?;
                let connect = |net: &mut Network| net.connect(pre, post, Connection::new());
                with_defaults(&mut net, solver, trainable, connect)?;
            }
        }
        let synapse = self.config.synapse.as_ref().map(|s| s.build("[config]")).transpose()?.flatten();
        // Rules need the encoders of their post object, and connections to a rule's error input need the rule.
        let mut connections: Vec<&ConnectionSpec> = self.connection.iter().collect();
        connections.sort_by_key(|c| (c.post.name.ends_with("/learning-rule"), c.learning_rule.is_some()));
        for connection in connections {
            let (pre, post) = (net.find(&connection.pre.name)?, net.find(&connection.post.name)?);
            let spec = connection.build(synapse.as_ref())?;
            with_defaults(&mut net, &connection.default_solver, None, |net| net.connect(pre, post, spec))?;
        }
        for probe in &self.probe {
            let (target, every) = probe.build(&net)?;
            let id = match every {
                Some(seconds) => net.probe_every(&probe.name, target, seconds)?,
                None => net.add_probe(&probe.name, target)?,
            };
            if probe.slice() != Slice::All {
                net.slice_probe(id, probe.slice())?;
            }
        }
        Ok(net)
    }

    /// Reads the examples of `[data]` and splits them by `[split]`.
    ///
    /// # Errors
    /// No `[data]`, and errors of [`DataSpec::load`].
    pub fn load_data(&self) -> Result<Splits> {
        let Some(data) = &self.data else {
            return Err(Error::invalid("[data]", "it is missing; it gives the location of the examples"));
        };
        let mut inputs = self.node.iter().filter(|node| node.is_input());
        // Several inputs are reported as an error of their own, later.
        let node = inputs.next().filter(|_| inputs.next().is_none());
        let numbers = node.and_then(|node| node.size?.checked_mul(node.steps.unwrap_or(1)));
        let wanted = node.zip(numbers).map(|(node, numbers)| Wanted { node: &node.name, numbers });
        data.load_for(&self.split, &self.base, wanted)
    }

    /// Replaces the location of the data: a directory of IDX files, or a CSV file or its directory. Relative paths start at the
    /// working directory.
    ///
    /// # Errors
    /// No `[data]`, or no working directory.
    pub fn set_data_path(&mut self, place: &Path) -> Result<()> {
        let place = std::path::absolute(place).map_err(|e| Error::io("find", place, e))?;
        match &mut self.data {
            None => {
                return Err(Error::invalid("[data]", "it is missing; it gives the format of the data"));
            }
            Some(DataSpec::Idx { dir, .. }) => *dir = Some(place),
            Some(DataSpec::Csv { path, .. }) => {
                let name = path.file_name().filter(|_| place.is_dir()).map(|name| place.join(name));
                *path = name.unwrap_or(place);
            }
        }
        Ok(())
    }

    /// Creates `NAME.output` for ensembles whose output is named, for arrays that are connected and for ensembles that are
    /// probed, with the solver of their enclosing network.
    fn make_outputs(&self, net: &mut Network) -> Result<()> {
        let layers = self.layer.iter().flat_map(|l| l.input.as_slice());
        let neurons = self.neurons.iter().flat_map(|n| n.input.as_slice());
        let ensembles = self.ensemble.iter().flat_map(|e| e.input.as_slice());
        let connections = self.connection.iter().map(|c| &c.pre.name);
        let probes = self
            .probe
            .iter()
            .filter(|p| p.state.is_none())
            .filter_map(|p| p.target.as_ref().map(|end| &end.name));
        let connected = layers.chain(neurons).chain(ensembles).chain(connections).map(|name| (name, false));
        let read: HashMap<&String, bool> = connected.chain(probes.map(|name| (name, true))).collect();
        for ensemble in &self.ensemble {
            let probed = read.get(&ensemble.name).copied();
            let named = read.contains_key(&format!("{}.output", ensemble.name));
            let (of, many) = (net.find(&ensemble.name)?, ensemble.n_ensembles > 1);
            let (solver, trainable) = (&ensemble.default_solver, ensemble.default_trainable);
            if named || (many && probed.is_some()) {
                with_defaults(net, solver, trainable, |net| net.output_of(of))?;
            } else if probed == Some(true) {
                with_defaults(net, solver, trainable, |net| net.probed_output(of))?;
            }
        }
        Ok(())
    }

    /// Input dimensions of each layer, inferred from its connections; `net` contains all other objects.
    ///
    /// Layers without units have as many outputs as inputs, so sizes are propagated until nothing changes.
    fn input_sizes<'a>(&'a self, net: &Network) -> Result<HashMap<&'a str, usize>> {
        let mut inputs: HashMap<&str, usize> = HashMap::new();
        let mut outputs: HashMap<&str, usize> =
            net.objects.iter().map(|o| (o.name.as_str(), o.size_out)).collect();
        for layer in &self.layer {
            if let Some(units) = layer.units {
                outputs.insert(&layer.name, units);
            }
        }
        loop {
            let mut news = false;
            for layer in
                self.layer.iter().filter(|l| !inputs.contains_key(l.name.as_str())).collect::<Vec<_>>()
            {
                let found = layer.size_in.or_else(|| {
                    let known = |(s, way): (&str, Option<&ConnectionSpec>)| {
                        let size = *outputs.get(s)?;
                        way.map_or(Some(size), |way| way.size_out(size))
                    };
                    self.sources(&layer.name).find_map(known)
                });
                if let Some(size) = found {
                    inputs.insert(&layer.name, size);
                    outputs.entry(&layer.name).or_insert(size);
                    news = true;
                }
            }
            if !news {
                break;
            }
        }
        if let Some(layer) = self.layer.iter().find(|l| !inputs.contains_key(l.name.as_str())) {
            // A wrong name is the likeliest reason; report it first.
            let names = net.objects.iter().map(|o| &o.name).chain(self.layer.iter().map(|l| &l.name));
            let names: Vec<&str> = names.map(String::as_str).collect();
            if let Some((wrong, _)) = self.sources(&layer.name).find(|(s, _)| !names.contains(s)) {
                return Err(Error::unknown("object", wrong, names));
            }
            let misfit = |(s, way): (&str, Option<&ConnectionSpec>)| way?.misfit(*outputs.get(s)?);
            if let Some(error) = self.sources(&layer.name).find_map(misfit) {
                return Err(error);
            }
            let problem = "the size of its input cannot be inferred from its connections; \
                           give it an input, or set size-in = N";
            return Err(Error::invalid(format!("layer '{}'", layer.name), problem));
        }
        Ok(inputs)
    }

    /// Objects connected to `layer`, with the connection unless it is the layer's own `input`.
    fn sources<'a>(&'a self, layer: &'a str) -> impl Iterator<Item = (&'a str, Option<&'a ConnectionSpec>)> {
        let own = self.layer.iter().filter(move |l| l.name == layer).flat_map(|l| l.input.as_slice());
        let others = self.connection.iter().filter(move |c| c.post.name == layer);
        own.map(|name| (name.as_str(), None)).chain(others.map(|c| (c.pre.name.as_str(), Some(c))))
    }
}
