//! What a user writes: nodes, layers, tensor nodes, connections and probes. A description without buffers or device.

pub mod benchmarks;
mod config;
mod connect;
mod connection;
mod convert;
mod decoders;
mod decoding;
mod distribution;
mod encoding;
mod ensemble;
mod function;
mod image;
mod index;
mod init;
mod layer;
mod learning;
pub mod library;
mod lookup;
mod memory;
mod neurons;
mod node;
mod noise;
mod outputs;
mod probe;
mod process;
mod slice;
mod synapse;
mod tensor_node;
mod trainable;
mod transform;
mod vocabulary;

use std::sync::Arc;

pub use crate::op::callback::{CallbackFactory, HostFunction};
pub use crate::op::discretise::{Discrete, Method, StateSpace};
pub use config::{Config, ProbeSettings};
pub use connection::Connection;
pub use convert::ToSpikes;
use decoding::Decode;
pub use decoding::Decoding;
pub use distribution::{Distribution, Fan, Spread};
use encoding::Encoding;
pub use ensemble::{Ensemble, EnsembleSettings};
pub use function::{Function, TimeExpressions, TimeFunction};
pub use image::{Convolution, Padding, Pool, PoolOf};
use index::Index;
pub use init::Init;
pub(crate) use init::seed_of;
pub use layer::{Activation, Layer};
pub use learning::LearningRule;
pub(crate) use learning::{Place, Rule, Weights};
pub use memory::LegendreMemory;
pub(crate) use neurons::Population;
pub use neurons::{Neurons, Tuning};
pub use node::Node;
pub use noise::{Draw, Noise, NoiseFilter};
pub(crate) use probe::ProbeSpec;
pub use probe::Target;
pub use process::{Interpolation, Process, WhiteSignal};
pub(crate) use slice::Columns;
pub use slice::Slice;
pub use synapse::{LinearFilter, Synapse, System};
pub use tensor_node::{Bound, ParameterDef, Parameters, TensorNode};

pub(crate) use transform::Product;
pub use transform::{Sparse, Transform};
pub use vocabulary::{Vocabulary, bind, involution, similarity, superpose, unbind};

use crate::engine::allowance;
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
    pub(crate) objects: Index<Object>,
    pub(crate) links: Index<Link>,
    pub(crate) probes: Index<ProbeSpec>,
    pub(crate) parameters: Index<ParameterDef>,
    /// Parameters whose start is not solved for yet.
    pub(crate) decodes: Vec<Decode>,
    /// Outputs of ensembles that only probes read.
    probed: Vec<ObjectId>,
    /// What objects are like that say nothing else.
    pub config: Config,
    /// What names begin with, see [`Network::within`].
    prefix: String,
}

/// Most dimensions of an object: no device holds as many values, and their products with other sizes do not overflow.
const MOST_DIMENSIONS: usize = 1 << 31;

impl Network {
    /// An empty network; `seed` decides how its parameters start.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            objects: Index::default(),
            links: Index::default(),
            probes: Index::default(),
            parameters: Index::default(),
            decodes: Vec::new(),
            probed: Vec::new(),
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
        allowance::check(|| format!("the {n} units of layer '{name}'"), [n, 4], 4)?;
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
        allowance::check(|| format!("the {n} neurons of '{name}'"), [n, 8], 8)?;
        let population = Population::new(name, n, &neurons.neuron_type, &neurons.states, self.seed)?;
        let (gain, bias) = neurons.gain_bias(name, self.seed)?;
        self.whole_or_nothing(|net| {
            let id = net.add(name, Kind::Neurons, n, n)?;
            net.objects[id.0].population = Some(population);
            net.define(&format!("{name}/gain"), 1, n, gain, Some(train_gain))?;
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
                let trained = if p.trainable { None } else { Some(false) };
                net.define(&format!("{name}/{}", p.name), p.rows, p.cols, p.init, trained)?;
            }
            Ok(id)
        })
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
        if self.objects.place(name).is_some() {
            return Err(Error::DuplicateName { name: name.into() });
        }
        if size_out == 0 {
            return Err(Error::invalid(format!("'{name}'"), "it has no dimensions; give it at least 1"));
        }
        let size = size_in.max(size_out);
        if size > MOST_DIMENSIONS {
            let problem = format!("it has {size} dimensions, more than {MOST_DIMENSIONS}");
            return Err(Error::invalid(format!("'{name}'"), problem));
        }
        // Its rows on the device, and the copies of them that are read and written.
        allowance::check(|| format!("the {size} dimensions of '{name}'"), [size, 4], 4)?;
        self.objects.push(Object { name: name.into(), kind, size_in, size_out, population: None });
        Ok(ObjectId(self.objects.len() - 1))
    }

    /// Adds a parameter; whether it is trained, or nothing where the configuration says so.
    fn define(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
        init: Init,
        trained: Option<bool>,
    ) -> Result<()> {
        if self.parameters.place(name).is_some() {
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
        allowance::check(|| format!("parameter '{name}' of [{rows}, {cols}]"), [rows, cols], 4)?;
        init.check(name, rows, cols)?;
        let trainable = trained.unwrap_or(self.config.trainable);
        self.parameters.push(ParameterDef { name: name.into(), rows, cols, init, trainable });
        Ok(())
    }
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.ends_with('.') || name.contains('/') {
        return Err(Error::invalid(
            format!("the name '{name}'"),
            "a name must not be empty, end in '.' or hold a '/'",
        ));
    }
    Ok(())
}
