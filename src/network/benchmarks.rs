//! NengoDL's benchmark networks, with its parameters.
//!
//! Each has the seed 0, one or two input nodes, and a probe `p`. NengoDL's nodes give constants when a run has no data; these
//! networks always need data.

use ndarray::array;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::error::{Error, Result};
use crate::network::library::{BasalGanglia, CircularConvolution};
use crate::network::{
    Activation, Connection, Convolution, Decoding, Distribution, Ensemble, Init, Layer, LearningRule,
    LegendreMemory, Network, Neurons, Node, ObjectId, Pool, Transform,
};
use crate::neuron::{NeuronType, RectifiedLinear};

/// An empty network whose ensembles have gains of ±1 and biases between -1 and 1.
fn network(neuron_type: NeuronType) -> Network {
    let mut net = Network::new(0);
    net.config.ensemble.neuron_type = Some(neuron_type);
    net.config.ensemble.gain = Some(Distribution::choice(array![[1.0], [-1.0]]));
    net.config.ensemble.bias = Some(Distribution::Uniform(-1.0, 1.0));
    net
}

/// A circular convolution of two vectors of `dimensions`, with `neurons_per_d` neurons per product.
///
/// # Errors
/// Sizes of zero.
pub fn cconv(dimensions: usize, neurons_per_d: usize, neuron_type: impl Into<NeuronType>) -> Result<Network> {
    let mut net = network(neuron_type.into());
    let cconv = CircularConvolution::new(neurons_per_d, dimensions).add(&mut net, "cconv")?;
    let a = net.node("inp_a", Node::Input(dimensions))?;
    let b = net.node("inp_b", Node::Input(dimensions))?;
    net.connect(a, cconv.input_a, net.config.connection.clone())?;
    net.connect(b, cconv.input_b, net.config.connection.clone())?;
    net.probe("p", cconv.output)?;
    Ok(net)
}

/// An integrator of `dimensions` one-dimensional ensembles with `neurons_per_d` neurons each.
///
/// # Errors
/// Sizes of zero.
pub fn integrator(
    dimensions: usize,
    neurons_per_d: usize,
    neuron_type: impl Into<NeuronType>,
) -> Result<Network> {
    let mut net = network(neuron_type.into());
    let integ = net.ensemble("integ", Ensemble::array(neurons_per_d, dimensions))?;
    net.connect(integ, integ, Connection::new().synapse(0.01))?;
    let inp = net.node("inp", Node::Input(dimensions))?;
    let scale = Transform::Scalar(0.01);
    net.connect(inp, integ, net.config.connection.clone().transform(scale))?;
    net.probe("p", integ)?;
    Ok(net)
}

/// An ensemble of `dimensions` whose decoders learn its input by PES.
///
/// # Errors
/// Sizes of zero, or decoders that cannot be solved for.
pub fn pes(dimensions: usize, neurons_per_d: usize, neuron_type: impl Into<NeuronType>) -> Result<Network> {
    let mut net = network(neuron_type.into());
    let inp = net.node("inp", Node::Input(dimensions))?;
    let n = neurons_per_d.saturating_mul(dimensions);
    let pre = net.ensemble("pre", Ensemble::new(n, dimensions))?;
    let post = net.node("post", Node::Passthrough(dimensions))?;
    let through = net.config.connection.clone();
    net.connect(inp, pre, through.clone())?;
    let learns = net.connect(pre, post, through.clone().learning_rule(LearningRule::pes()))?;
    let error = net.learning_rule_of(learns)?;
    net.connect(post, error, through.clone().transform(Transform::Scalar(-1.0)))?;
    net.connect(inp, error, through)?;
    net.probe("p", post)?;
    Ok(net)
}

/// Basal ganglia with `dimensions` actions and `neurons_per_d` neurons per ensemble.
///
/// # Errors
/// Sizes of zero, or decoders that cannot be solved for.
pub fn basal_ganglia(
    dimensions: usize,
    neurons_per_d: usize,
    neuron_type: impl Into<NeuronType>,
) -> Result<Network> {
    let mut net = Network::new(0);
    net.config.ensemble.neuron_type = Some(neuron_type.into());
    let inp = net.node("inp", Node::Input(dimensions))?;
    let bg = BasalGanglia { n_neurons_per_ensemble: neurons_per_d, ..BasalGanglia::new(dimensions) };
    let bg = bg.add(&mut net, "bg")?;
    net.connect(inp, bg.input, net.config.connection.clone())?;
    net.probe("p", bg.output)?;
    Ok(net)
}

/// `n_ensembles` ensembles of `dimensions`, each connected to `connections_per_ensemble` of them at random.
///
/// All decoders are one constant, and an ensemble's output is decoded once for all its connections. NengoDL uses the
/// constant 1, at which the rates of rectified units diverge; here it is small enough to keep them bounded.
///
/// # Errors
/// Sizes of zero, or more connections of an ensemble than there are ensembles.
pub fn random_network(
    dimensions: usize,
    neurons_per_d: usize,
    neuron_type: impl Into<NeuronType>,
    n_ensembles: usize,
    connections_per_ensemble: usize,
) -> Result<Network> {
    if connections_per_ensemble > n_ensembles {
        let problem =
            format!("each of {n_ensembles} ensembles cannot reach {connections_per_ensemble} others");
        return Err(Error::invalid("the random network", problem));
    }
    let mut net = Network::new(0);
    net.config.ensemble.neuron_type = Some(neuron_type.into());
    let inp = net.node("inp", Node::Input(dimensions))?;
    let out = net.node("out", Node::Passthrough(dimensions))?;
    net.probe("p", out)?;
    let n = neurons_per_d.saturating_mul(dimensions);
    let ensembles = (0..n_ensembles)
        .map(|i| net.ensemble(&format!("ens{i}"), Ensemble::new(n, dimensions)))
        .collect::<Result<Vec<_>>>()?;
    let rng = &mut Pcg64Mcg::seed_from_u64(0);
    let through = net.config.connection.clone();
    let small = 1e-3 / (n * connections_per_ensemble.max(1)) as f32;
    for &ensemble in &ensembles {
        net.connect(inp, ensemble, through.clone())?;
        let decoding = Decoding::new().weights(Init::Constant(small));
        let decoded = net.add_output(ensemble, "output", decoding)?;
        net.connect(decoded, out, through.clone())?;
        let mut others = ensembles.clone();
        for _ in 0..connections_per_ensemble {
            let post = others.swap_remove(rng.random_range(0..others.len()));
            net.connect(decoded, post, through.clone())?;
        }
    }
    Ok(net)
}

/// A convolutional network for 28 × 28 images: two convolutions of 32 filters, a 2 × 2 average pool, 128 units and 10
/// outputs. All layers but the last are rectified.
///
/// # Errors
/// None with these sizes.
pub fn mnist() -> Result<Network> {
    let mut net = Network::new(0);
    let image = net.node("inp", Node::Input(28 * 28))?;
    let layer = |net: &mut Network, name: &str, from: ObjectId, n, transform| {
        let neurons = Neurons::new(n, RectifiedLinear { amplitude: 1.0 });
        let neurons = net.neurons(name, neurons.tuned(Init::Constant(1.0), Init::Zeros))?;
        net.connect(from, neurons, Connection::new().transform(transform))?;
        Ok::<_, Error>(neurons)
    };
    let filters = |side: usize, channels: usize| {
        let convolution = Convolution::new(32, [side, side, channels]).kernel_size([3, 3]);
        Transform::Convolution(convolution.init(Init::Glorot))
    };
    let first = layer(&mut net, "conv1", image, 26 * 26 * 32, filters(28, 1))?;
    let second = layer(&mut net, "conv2", first, 24 * 24 * 32, filters(26, 32))?;
    let pooled = net.node("pool", Node::Passthrough(12 * 12 * 32))?;
    let pool = Transform::Pool(Pool::average([24, 24, 32]).pool_size([2, 2]));
    net.connect(second, pooled, Connection::new().transform(pool))?;
    let dense = layer(&mut net, "dense", pooled, 128, Transform::Dense(Init::Glorot))?;
    let dropped = net.layer("dropout", Layer::elementwise(Activation::Identity).dropout(0.4), dense)?;
    let digit = net.layer("digit", Layer::dense(10), dropped)?;
    net.probe("p", digit)?;
    Ok(net)
}

/// A Legendre memory unit of 212 units and order 256 over a window of 784 steps, with 10 outputs.
///
/// # Errors
/// None with these sizes.
pub fn lmu() -> Result<Network> {
    let mut net = Network::new(0);
    let inp = net.node("inp", Node::Input(1))?;
    let memory = net.legendre_memory("h", inp, LegendreMemory { units: 212, order: 256, theta: 784.0 })?;
    let out = net.layer("out", Layer::dense(10).no_bias(), memory)?;
    net.probe("p", out)?;
    Ok(net)
}
