//! Networks as a user describes them: nodes, layers, tensor nodes, connections and probes, without buffers or a device.

#[doc(hidden)]
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

pub use crate::neuron::{
    AdaptiveLif, AdaptiveLifRate, FromRates, Izhikevich, Leaky, LeakyRelu, Lif, LifRate, NeuronType,
    RectifiedLinear, Reset, Sigmoid, SoftLifRate, Synaptic, Tanh,
};
pub use crate::op::callback::{CallbackFactory, HostFunction};
pub use crate::op::discretise::{Discrete, Method, StateSpace};
pub use crate::solve::{Method as SolverMethod, Solver};
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

/// Id of an object in a network: a node, ensemble, population, layer or tensor node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub(crate) usize);

/// Id of a connection in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub(crate) usize);

/// Id of a probe in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(pub(crate) usize);

#[derive(Clone)]
pub(crate) enum Kind {
    Node(Node),
    Layer(Layer),
    Neurons,
    /// Drawn properties and neurons of an ensemble. As an object it is the represented value; its output is that of its
    /// neurons, which decoders read.
    Ensemble(Arc<Encoding>, ObjectId),
    /// The neurons of an ensemble.
    EnsembleNeurons(ObjectId),
    /// Decoded output of an ensemble, with the number of values per ensemble of an array.
    Decoded(ObjectId, Arc<[usize]>),
    Tensor(Arc<dyn TensorNode>),
}

#[derive(Clone)]
pub(crate) struct Object {
    pub name: String,
    pub kind: Kind,
    pub size_in: usize,
    pub size_out: usize,
    /// Neurons, of populations and of layers that end in neurons.
    pub population: Option<Population>,
}

#[derive(Clone)]
pub(crate) struct Link {
    pub name: String,
    pub pre: ObjectId,
    pub post: ObjectId,
    pub spec: Connection,
    /// Columns taken from the pre object, and their number.
    pub take: (Columns, usize),
    /// Columns reached in the post object's input, and their number.
    pub put: (Columns, usize),
    pub product: Product,
    /// Function applied before the transform, if the signal is not decoded.
    pub function: Option<Function>,
    /// True if the output is added to the currents of an ensemble's neurons directly, not times their gain.
    pub onto_current: bool,
    /// Learning rule, which changes weights while the network runs.
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
    /// Parameters whose initial values are not solved for yet.
    pub(crate) decodes: Vec<Decode>,
    /// Outputs of ensembles that only probes read.
    probed: Vec<ObjectId>,
    /// Defaults for settings that objects leave open.
    pub config: Config,
    /// Prefix of new names, see [`Network::within`].
    prefix: String,
}

/// Most dimensions of an object. No device holds this many values, and their products with other sizes do not overflow.
const MAX_DIMENSIONS: usize = 1 << 31;

impl Network {
    /// An empty network; `seed` determines the initial values of its parameters.
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

    /// Adds a subnetwork: names of objects, connections and probes that `add` creates get the prefix `NAME.`.
    ///
    /// Changes that `add` makes to [`Network::config`] end with it. Existing objects are found by their full names.
    ///
    /// # Errors
    /// Errors of `add`, and an invalid name.
    pub fn within<T>(&mut self, name: &str, add: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        check_name(name)?;
        let (prefix, config) = (self.full(name) + ".", self.config.clone());
        let outer = std::mem::replace(&mut self.prefix, prefix);
        let result = add(self);
        (self.prefix, self.config) = (outer, config);
        result
    }

    /// The full name of a new object.
    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Adds a node.
    ///
    /// # Errors
    /// A name that is taken, a size of zero, values that are not finite, or an invalid process.
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
    /// A name that is taken, zero units, or a dropout outside 0 ≤ dropout < 1.
    pub fn layer(&mut self, name: &str, layer: Layer, input: ObjectId) -> Result<ObjectId> {
        let size_in = self.object(input)?.size_out;
        let id = self.unconnected_layer(name, layer, size_in)?;
        self.connect(input, id, Connection::new())?;
        Ok(id)
    }

    /// Adds a layer for inputs of `size_in` dimensions; connect it with [`Network::connect`].
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
            let problem = "it has both an activation and neurons; give it one of the two";
            return Err(Error::invalid(format!("layer '{name}'"), problem));
        }
        allowance::check(|| format!("the {n} units of layer '{name}'"), [n, 4], 4)?;
        let population_of = |neurons| Population::new(name, n, neurons, &[], self.seed);
        let population = layer.neurons.as_ref().map(population_of).transpose()?;
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

    /// Adds a population of neurons; connect it with [`Network::connect`].
    ///
    /// # Errors
    /// A name that is taken, zero neurons, invalid constants or rates, or an unknown state.
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

    /// Adds a tensor node, a user-defined layer. Its parameters are created now, before any loop over time.
    ///
    /// # Errors
    /// A name that is taken, a size of zero, or an error of [`TensorNode::pre_build`].
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

    /// Runs `add`; if it fails, removes the objects, connections and parameters it added.
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
        if size > MAX_DIMENSIONS {
            let problem = format!("it has {size} dimensions, more than {MAX_DIMENSIONS}");
            return Err(Error::invalid(format!("'{name}'"), problem));
        }
        // Its rows on the device, and their copies for reading and writing.
        allowance::check(|| format!("the {size} dimensions of '{name}'"), [size, 4], 4)?;
        self.objects.push(Object { name: name.into(), kind, size_in, size_out, population: None });
        Ok(ObjectId(self.objects.len() - 1))
    }

    /// Adds a parameter. `trainable` of `None` takes the configuration's default.
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
            let problem = format!("its shape is [{rows}, {cols}], too large for any memory");
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
            "a name must not be empty, end in '.' or contain '/'",
        ));
    }
    Ok(())
}
