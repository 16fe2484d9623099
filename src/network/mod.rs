//! What a user writes: nodes, layers, tensor nodes, connections and probes. A description without buffers or device.

pub mod benchmarks;
mod config;
mod connection;
mod decoders;
mod decoding;
mod discretise;
mod distribution;
mod ensemble;
mod function;
mod image;
mod init;
mod layer;
mod learning;
pub mod library;
mod lookup;
mod memory;
mod neurons;
mod node;
mod noise;
mod probe;
mod process;
mod slice;
pub mod spec;
mod synapse;
mod tensor_node;
mod transform;
mod vocabulary;

use std::sync::Arc;

pub use config::{Config, ProbeSettings};
pub use connection::Connection;
use decoding::Decode;
pub use decoding::Decoding;
pub use discretise::{Method, StateSpace};
pub use distribution::{Distribution, Fan, Spread};
use ensemble::Encoding;
pub use ensemble::{Ensemble, EnsembleSettings};
pub use function::Function;
pub use image::{Convolution, Padding, Pool, PoolOf};
pub use init::Init;
pub(crate) use init::seed_of;
pub use layer::{Activation, Layer};
pub use learning::LearningRule;
pub(crate) use learning::{Place, Rule, Weights};
pub use memory::LegendreMemory;
pub(crate) use neurons::Population;
pub use neurons::{Neurons, Tuning};
pub use node::{CallbackFunction, Node, TimeFunction};
pub use noise::{Draw, Noise, NoiseFilter};
use probe::ProbeSpec;
pub use probe::Target;
pub use process::{Interpolation, Process, WhiteSignal};
pub(crate) use slice::Columns;
pub use slice::Slice;
pub use spec::NetworkSpec;
pub use synapse::{Discrete, LinearFilter, Synapse, System};
pub use tensor_node::{Bound, ParameterDef, Parameters, TensorNode};
use transform::Between;
pub(crate) use transform::Product;
pub use transform::{Sparse, Transform};
pub use vocabulary::{Vocabulary, bind, involution, similarity, superpose, unbind};

use crate::error::{Error, Result};

/// An object of a network: a node, layer or tensor node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub(crate) usize);

/// A connection of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub(crate) usize);

/// A probe of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(pub(crate) usize);

#[derive(Clone)]
pub(crate) enum Kind {
    Node(Node),
    Layer(Layer),
    Neurons,
    /// What it drew, and its neurons. As an object it is the represented value; it gives its neurons' output, which decoders
    /// read.
    Ensemble(Arc<Encoding>, ObjectId),
    /// The neurons of an ensemble.
    EnsembleNeurons(ObjectId),
    /// What is decoded of an ensemble, and how many values of each of an array's.
    Decoded(ObjectId, Arc<[usize]>),
    Tensor(Arc<dyn TensorNode>),
}

#[derive(Clone)]
pub(crate) struct Object {
    pub name: String,
    pub kind: Kind,
    pub size_in: usize,
    pub size_out: usize,
    /// Of neurons, and of a layer that ends in some.
    pub population: Option<Population>,
}

#[derive(Clone)]
pub(crate) struct Link {
    pub name: String,
    pub pre: ObjectId,
    pub post: ObjectId,
    pub spec: Connection,
    /// Which columns of the pre object it takes, and how many.
    pub take: (Columns, usize),
    /// Where its output goes in the post object's input, and how many columns it has.
    pub put: (Columns, usize),
    pub product: Product,
    /// What is computed of the signal before the transform, where it is not decoded.
    pub function: Option<Function>,
    /// Whether it adds to the currents of an ensemble's neurons as it is, not times their gain.
    pub onto_current: bool,
    /// What changes weights while the network runs.
    pub rule: Option<Rule>,
}

/// A network: objects, the connections between them, and probes on them.
///
/// ```
/// use nengo_wgpu::network::{Activation, Layer, Network, Node};
///
/// # fn main() -> nengo_wgpu::Result<()> {
/// let mut net = Network::new(0);
/// let image = net.node("image", Node::Input(64))?;
/// let hidden = net.layer("hidden", Layer::dense(128).activation(Activation::Relu), image)?;
/// let digit = net.layer("digit", Layer::dense(10), hidden)?;
/// let output = net.probe("output", digit)?;
/// # let _ = output;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Network {
    pub(crate) seed: u64,
    pub(crate) objects: Vec<Object>,
    pub(crate) links: Vec<Link>,
    pub(crate) probes: Vec<ProbeSpec>,
    pub(crate) parameters: Vec<ParameterDef>,
    /// Parameters whose start is not solved for yet.
    pub(crate) decodes: Vec<Decode>,
    /// What objects are like that say nothing else.
    pub config: Config,
    /// What names begin with, see [`Network::within`].
    prefix: String,
}

impl Network {
    /// An empty network; `seed` decides how its parameters start.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            objects: Vec::new(),
            links: Vec::new(),
            probes: Vec::new(),
            parameters: Vec::new(),
            decodes: Vec::new(),
            config: Config::default(),
            prefix: String::new(),
        }
    }

    /// A network in this one: objects, connections and probes that `add` makes have names that begin with `NAME.`, and what it
    /// sets in [`Network::config`] holds for them alone. What exists is found by its whole name.
    ///
    /// # Errors
    /// Those of `add`, and a name that no object could have.
    pub fn within<T>(&mut self, name: &str, add: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        check_name(name)?;
        let (prefix, config) = (self.full(name) + ".", self.config.clone());
        let outer = std::mem::replace(&mut self.prefix, prefix);
        let result = add(self);
        (self.prefix, self.config) = (outer, config);
        result
    }

    /// The whole name of something new.
    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Adds a node.
    ///
    /// # Errors
    /// A name that is taken, a size of zero, values that are not finite, or a process that makes no sense.
    pub fn node(&mut self, name: &str, node: Node) -> Result<ObjectId> {
        let name = &self.full(name);
        let size = node.size();
        if let Node::Process(process) = &node {
            process.check(&format!("node '{name}'"))?;
        }
        let values = match &node {
            Node::Constant(values) => values.as_slice(),
            Node::Array(rows) => rows.as_slice_memory_order().unwrap_or_default(),
            _ => &[],
        };
        if let Some(bad) = values.iter().find(|x| !x.is_finite()) {
            return Err(Error::invalid(format!("node '{name}'"), format!("its output holds {bad}")));
        }
        let size_in = node.size_in();
        if matches!(node, Node::Callback(0, ..)) {
            let problem = "its callback takes no input; a function of time alone is a Node::function";
            return Err(Error::invalid(format!("node '{name}'"), problem));
        }
        self.add(name, Kind::Node(node), size_in, size)
    }

    /// Adds a layer and connects `input` to it.
    ///
    /// # Errors
    /// A name that is taken, no units, or a dropout that is not a share.
    pub fn layer(&mut self, name: &str, layer: Layer, input: ObjectId) -> Result<ObjectId> {
        let size_in = self.object(input)?.size_out;
        let id = self.unconnected_layer(name, layer, size_in)?;
        self.connect(input, id, Connection::new())?;
        Ok(id)
    }

    /// Adds a layer for inputs of `size_in` dimensions, to be connected with [`Network::connect`].
    ///
    /// # Errors
    /// As [`Network::layer`].
    pub fn unconnected_layer(&mut self, name: &str, layer: Layer, size_in: usize) -> Result<ObjectId> {
        let name = &self.full(name);
        if !(0.0..1.0).contains(&layer.dropout) {
            let problem = format!("its dropout is {}, but must be at least 0 and below 1", layer.dropout);
            return Err(Error::invalid(format!("layer '{name}'"), problem));
        }
        let units = layer.units;
        let n = units.unwrap_or(size_in);
        if layer.neurons.is_some() && layer.activation != Activation::Identity {
            let problem =
                "it has an activation and neurons; neurons are an activation, so give it one of the two";
            return Err(Error::invalid(format!("layer '{name}'"), problem));
        }
        let of = |neurons| Population::new(name, n, neurons, &[], self.seed);
        let population = layer.neurons.as_ref().map(of).transpose()?;
        self.whole_or_nothing(|net| {
            let id = net.add(name, Kind::Layer(layer.clone()), size_in, n)?;
            net.objects[id.0].population = population;
            if let Some(units) = units {
                net.define(&format!("{name}/weights"), units, size_in, layer.weights_init, layer.trainable)?;
                if layer.bias {
                    net.define(&format!("{name}/bias"), 1, units, layer.bias_init, layer.trainable)?;
                }
            }
            Ok(id)
        })
    }

    /// Adds a population of neurons, to be connected with [`Network::connect`].
    ///
    /// # Errors
    /// A name that is taken, no neurons, constants or rates that make no sense, or an unknown state.
    pub fn neurons(&mut self, name: &str, neurons: Neurons) -> Result<ObjectId> {
        let name = &self.full(name);
        let Neurons { n, train_bias, train_gain, .. } = neurons;
        let population = Population::new(name, n, &neurons.neuron_type, &neurons.states, self.seed)?;
        let (gain, bias) = neurons.gain_bias(name, self.seed)?;
        self.whole_or_nothing(|net| {
            let id = net.add(name, Kind::Neurons, n, n)?;
            net.objects[id.0].population = Some(population);
            net.define(&format!("{name}/gain"), 1, n, gain, train_gain)?;
            net.define(&format!("{name}/bias"), 1, n, bias, train_bias)?;
            Ok(id)
        })
    }

    /// Adds a tensor node, a layer of the user's own; its parameters are made now, before any loop.
    ///
    /// # Errors
    /// A name that is taken, a size of zero, or what [`TensorNode::pre_build`] gives.
    pub fn tensor_node(
        &mut self,
        name: &str,
        size_in: usize,
        size_out: usize,
        node: impl TensorNode + 'static,
    ) -> Result<ObjectId> {
        let name = &self.full(name);
        let mut parameters = Parameters::default();
        node.pre_build(size_in, size_out, &mut parameters)?;
        self.whole_or_nothing(|net| {
            let id = net.add(name, Kind::Tensor(Arc::new(node)), size_in, size_out)?;
            for p in parameters.list {
                net.define(&format!("{name}/{}", p.name), p.rows, p.cols, p.init, p.trainable)?;
            }
            Ok(id)
        })
    }

    /// Connects two objects. What several connections bring to one object is summed.
    ///
    /// # Errors
    /// [`Error::Shape`] with both objects, a slice or an index beyond an object, a synapse that makes no sense, a function that
    /// panics or gives no values, or a learning rule that does not fit.
    pub fn connect(&mut self, pre: ObjectId, post: ObjectId, spec: Connection) -> Result<ConnectionId> {
        // What comes from an array is decoded by its output, ensemble by ensemble.
        let pre = match &self.object(pre)?.kind {
            Kind::Ensemble(encoding, _) if encoding.groups > 1 && spec.decoding == Decoding::default() => {
                self.object(post)?;
                self.output_of(pre)?
            }
            _ => pre,
        };
        let (from, to) = (self.object(pre)?.clone(), self.object(post)?.clone());
        let given = spec.name.as_ref().map(|name| self.full(name));
        let base = given.unwrap_or_else(|| format!("{}->{}", from.name, to.name));
        let same = |n: &str| self.links.iter().any(|l| l.name == n);
        let name = if spec.name.is_none() && same(&base) {
            (2..).map(|k| format!("{base}#{k}")).find(|n| !same(n)).unwrap_or(base)
        } else {
            base
        };
        if same(&name) {
            return Err(Error::DuplicateName { name });
        }
        if let Some(synapse) = &spec.synapse {
            synapse.check(&format!("connection '{name}'"))?;
        }
        if to.size_in == 0 {
            let problem = format!("it takes no input, but '{}' is connected to it", from.name);
            return Err(Error::invalid(format!("node '{}'", to.name), problem));
        }
        match &from.kind {
            Kind::Ensemble(encoding, _) if encoding.groups == 1 => {
                return self.connect_decoded(name, pre, post, spec);
            }
            Kind::Ensemble(..) => {
                let problem = format!(
                    "'{0}' is an array, whose ensembles decode functions by outputs of its own (add_output); of the value \
                     that it represents, connect from '{0}.output'",
                    from.name
                );
                return Err(Error::invalid(format!("connection '{name}'"), problem));
            }
            _ => {}
        }
        let take = Columns::new(&spec.pre, &from.name, from.size_out)?;
        let function = spec.decoding.of_signal(&name, &from.name)?;
        let size_in = match &function {
            Some(function) => function.size_out(&format!("connection '{name}'"), take.1)?,
            None => take.1,
        };
        let (put, size_out) = Columns::new(&spec.post, &to.name, to.size_in)?;
        let put = (put.scatter(), size_out);
        let sliced = |name: &str, slice: &Slice| match slice {
            Slice::All => format!("'{name}'"),
            slice => format!("'{name}[{slice}]'"),
        };
        let Between { product, weights, size_out: size } =
            spec.transform.between(&name, size_in, size_out)?;
        if size != size_out {
            let (way, hint) = match &function {
                None if size == size_in => ("", "; give the connection a dense transform"),
                Some(_) if size == size_in => {
                    (" through its function", "; a dense transform brings it to another size")
                }
                _ => (" through its transform", ""),
            };
            return Err(Error::Shape {
                left: format!("the output of {}{way}", sliced(&from.name, &spec.pre)),
                left_shape: size.to_string(),
                right: format!("the input of {}", sliced(&to.name, &spec.post)),
                right_shape: size_out.to_string(),
                hint: hint.into(),
            });
        }
        let rule = self.attach(&name, [&from, &to], &spec, &product, size_out)?;
        if rule.as_ref().is_some_and(|(rule, _)| rule.encoders != Some(rule.changes)) && function.is_some() {
            let problem =
                "its learning rule changes the weights of activities, so it cannot have a function of them";
            return Err(Error::invalid(format!("connection '{name}'"), problem));
        }
        self.whole_or_nothing(|net| {
            if let Some((rows, cols, init)) = weights {
                net.define(&format!("{name}/weights"), rows, cols, init, spec.trainable)?;
            }
            if let Kind::EnsembleNeurons(ensemble) = to.kind {
                net.define_gain(ensemble)?;
            }
            net.links.push(Link {
                name,
                pre,
                post,
                spec,
                take,
                put,
                product,
                function,
                onto_current: false,
                rule: None,
            });
            net.take_rule(rule)
        })
    }

    /// Adds a probe on an object's output, as [`Config::probe`] says.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn probe(&mut self, name: &str, object: ObjectId) -> Result<ProbeId> {
        let ProbeSettings { synapse, sample_every } = self.config.probe.clone();
        let target = Target::Output(object, synapse);
        match sample_every {
            Some(seconds) => self.probe_every(name, target, seconds),
            None => self.add_probe(name, target),
        }
    }

    /// Adds a probe.
    ///
    /// # Errors
    /// A name that is taken, a parameter that does not exist, or a synapse that makes no sense.
    pub fn add_probe(&mut self, name: &str, target: Target) -> Result<ProbeId> {
        self.insert_probe(name, target, None)
    }

    /// Adds a probe that records a row every `seconds`, a multiple of the time step: with `k` steps from one row to the
    /// next those after steps k, 2k, … since the start. Training sees all steps all the same.
    ///
    /// # Errors
    /// As [`Network::add_probe`], a time that is not above 0, or a parameter, which has no rows in time. Whether it is a
    /// multiple of the time step is seen when a simulator is made.
    pub fn probe_every(&mut self, name: &str, target: Target, seconds: f64) -> Result<ProbeId> {
        let invalid = |problem: String| Err(Error::invalid(format!("probe '{name}'"), problem));
        if !(seconds.is_finite() && seconds > 0.0) {
            return invalid(format!("it samples every {seconds} s, but that must be above 0"));
        }
        if target.is_parameter() {
            return invalid("it reads a parameter, which gives one value at the end of a run: leave out how often it samples".into());
        }
        self.insert_probe(name, target, Some(seconds))
    }

    fn insert_probe(&mut self, name: &str, target: Target, every: Option<f64>) -> Result<ProbeId> {
        let name = &self.full(name);
        if self.probes.iter().any(|p| p.name == *name) {
            return Err(Error::DuplicateName { name: name.into() });
        }
        // What is read of an ensemble is its decoded output, or a state of its neurons.
        let target = match target {
            Target::Output(of, synapse) if self.encoding(of).is_ok() => {
                Target::Output(self.output_of(of)?, synapse)
            }
            Target::State(of, state) => {
                Target::State(self.encoding(of).map_or(of, |(_, neurons)| neurons), state)
            }
            other => other,
        };
        match &target {
            Target::Output(object, synapse) => {
                self.object(*object)?;
                if let Some(synapse) = synapse {
                    synapse.check(&format!("probe '{name}'"))?;
                }
            }
            Target::Input(object) => {
                let object = self.object(*object)?;
                if object.size_in == 0 {
                    let problem = format!("it probes the input of '{}', which takes none", object.name);
                    return Err(Error::invalid(format!("probe '{name}'"), problem));
                }
            }
            Target::State(object, state) => {
                let object = self.object(*object)?;
                let none = || {
                    let problem = format!("it probes a state of '{}', which has no neurons", object.name);
                    Error::invalid(format!("probe '{name}'"), problem)
                };
                object.population.as_ref().ok_or_else(none)?.state(state)?;
            }
            Target::Rule(connection, signal) => {
                let known = self.rule(*connection)?.spec.signals();
                if !known.contains(&signal.as_str()) {
                    return Err(Error::unknown("signal", signal, known.iter().copied()));
                }
            }
            Target::Parameter(parameter) | Target::Norm(parameter) => {
                self.parameter_index(parameter)?;
            }
        }
        self.probes.push(ProbeSpec { name: name.into(), target, every });
        Ok(ProbeId(self.probes.len() - 1))
    }

    /// An object or a connection with its parameters, or the network as it was.
    fn whole_or_nothing<I>(&mut self, add: impl FnOnce(&mut Self) -> Result<I>) -> Result<I> {
        let (objects, links, parameters) = (self.objects.len(), self.links.len(), self.parameters.len());
        let decodes = self.decodes.len();
        add(self).inspect_err(|_| {
            self.objects.truncate(objects);
            self.links.truncate(links);
            self.parameters.truncate(parameters);
            self.decodes.truncate(decodes);
        })
    }

    fn add(&mut self, name: &str, kind: Kind, size_in: usize, size_out: usize) -> Result<ObjectId> {
        check_name(name)?;
        if self.objects.iter().any(|o| o.name == name) {
            return Err(Error::DuplicateName { name: name.into() });
        }
        if size_out == 0 {
            return Err(Error::invalid(format!("'{name}'"), "it has no dimensions; give it at least 1"));
        }
        self.objects.push(Object { name: name.into(), kind, size_in, size_out, population: None });
        Ok(ObjectId(self.objects.len() - 1))
    }

    fn define(&mut self, name: &str, rows: usize, cols: usize, init: Init, trainable: bool) -> Result<()> {
        if self.parameters.iter().any(|p| p.name == name) {
            return Err(Error::DuplicateName { name: name.into() });
        }
        if rows == 0 || cols == 0 {
            let problem = format!("its shape is [{rows}, {cols}]; each must be at least 1");
            return Err(Error::invalid(format!("parameter '{name}'"), problem));
        }
        if rows.checked_mul(cols).is_none_or(|n| n > isize::MAX as usize / 4) {
            let problem = format!("its shape is [{rows}, {cols}], more than any memory holds");
            return Err(Error::invalid(format!("parameter '{name}'"), problem));
        }
        init.check(name, rows, cols)?;
        self.parameters.push(ParameterDef { name: name.into(), rows, cols, init, trainable });
        Ok(())
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.ends_with('.') || name.contains('/') {
        return Err(Error::invalid(
            format!("the name '{name}'"),
            "a name must not be empty, end in '.' or hold a '/'",
        ));
    }
    Ok(())
}
