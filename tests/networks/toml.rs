//! Networks from TOML files: the same as those built by calls.

use crate::file::{ENSEMBLES, build};
use ndarray::Array2;
use nengo_wgpu::network::{
    Activation, Connection, Decoding, Distribution, Draw, Ensemble, Function, Init, Interpolation, Layer,
    LinearFilter, Method, Network, Node, Noise, Process, StateSpace, Synapse, Target, Transform, WhiteSignal,
};
use nengo_wgpu::{Data, Device, Error, Options, Simulator};

const WHOLE: &str = r#"
seed = 7
dt = 0.002

[[node]]
name = "in"
size = 3

[[node]]
name = "bias"
constant = [1, 2.5]

[[node]]
name = "sum"
passthrough = 2

[[layer]]
name = "first"
input = "in"
units = 4
activation = { leaky-relu = 0.1 }
init = { uniform = [-1, 1] }
bias-init = { constant = 0.5 }

[[layer]]
name = "flat"
input = ["first"]
activation = "tanh"

[[layer]]
name = "last"
units = 2
bias = false
trainable = false
init = "he"

[[connection]]
pre = "flat"
post = "last"
transform = 2

[[connection]]
pre = "last"
post = "sum"
synapse = 0.005

[[connection]]
pre = "sum"
post = "flat"
transform = { dense = { normal = [0, 0.5] } }
synapse = 0.01
name = "back"

[[connection]]
pre = "bias"
post = "sum"
transform = { vector = { values = [3.0, -1.0] } }
trainable = false

[[probe]]
name = "output"
target = "sum"
synapse = 0.003

[[probe]]
name = "weights"
parameter = "back/weights"

[[probe]]
name = "norm"
norm = "first/weights"
"#;

/// The network of `WHOLE`, by calls.
fn whole() -> Result<Network, Error> {
    let mut net = Network::new(7);
    let input = net.node("in", Node::Input(3))?;
    let bias = net.node("bias", Node::Constant(vec![1.0, 2.5]))?;
    let sum = net.node("sum", Node::Passthrough(2))?;
    let first = Layer { bias_init: Init::Constant(0.5), ..Layer::dense(4) };
    let first = first.activation(Activation::LeakyRelu(0.1)).init(Init::Uniform(-1.0, 1.0));
    let first = net.layer("first", first, input)?;
    let flat = net.layer("flat", Layer::elementwise(Activation::Tanh), first)?;
    let last = Layer::dense(2).no_bias().frozen().init(Init::He);
    let last = net.unconnected_layer("last", last, 4)?;
    net.connect(flat, last, Connection::new().transform(Transform::Scalar(2.0)))?;
    net.connect(last, sum, Connection::new().synapse(Synapse::Lowpass(0.005)))?;
    let back = Connection::new().transform(Transform::Dense(Init::Normal(0.0, 0.5))).named("back");
    net.connect(sum, flat, back.synapse(Synapse::Lowpass(0.01)))?;
    let fixed = Transform::Vector(Init::Values(vec![3.0, -1.0]));
    net.connect(bias, sum, Connection::new().transform(fixed).frozen())?;
    net.add_probe("output", Target::Output(sum, Some(Synapse::Lowpass(0.003))))?;
    net.add_probe("weights", Target::Parameter("back/weights".into()))?;
    net.add_probe("norm", Target::Norm("first/weights".into()))?;
    Ok(net)
}

#[test]
fn a_network_from_toml_is_the_one_built_by_calls() {
    let (ours, theirs) = (build(WHOLE).unwrap(), whole().unwrap());
    assert_eq!(ours.parameters(), theirs.parameters());
    let outputs = |net: &Network| {
        let options = Options { minibatch: 2, dt: 0.002, seed: None };
        let mut sim = Simulator::with(net, &Device::cpu(), options).unwrap();
        let x = Array2::from_shape_fn((2, 3), |(b, i)| (b + 2 * i) as f32 - 1.5);
        sim.run_steps(20, &Data::new().with("in", x)).unwrap();
        net.probe_ids().map(|p| sim.data(p).unwrap()).collect::<Vec<_>>()
    };
    let (a, b) = (outputs(&ours), outputs(&theirs));
    assert_eq!(a, b);
    assert!(a[0].iter().any(|x| *x != 0.0));
}

const SIGNALS: &str = r#"
[[node]]
name = "signal"
size = 2
process = { white-signal = { period = 0.1, high = 50, rms = 0.3, y0 = 0.1 } }

[[node]]
name = "images"
process = { present-input = { inputs = [[1, 2], [3, 4]], presentation-time = 0.01 } }

[[node]]
name = "pieces"
process.piecewise = { times = [0.01, 0.02], values = [[1, 0], [0, 2]], interpolation = "linear" }

[[node]]
name = "white"
size = 2
process.white-noise = { distribution = { uniform = [-1, 1] }, scale = false }

[[node]]
name = "plain"
size = 2
process = "white-noise"

[[connection]]
pre = "plain"
post = "sum"

[[node]]
name = "filtered"
size = 2
process.filtered-noise = { synapse = { alpha = 0.01 }, seed = 5 }

[[node]]
name = "brown"
size = 2
process.brown-noise = { distribution = { normal = [0, 0.5] } }

[[node]]
name = "sum"
passthrough = 2

[[connection]]
pre = "signal"
post = "sum"
synapse = 0.005

[[connection]]
pre = "images"
post = "sum"
synapse.triangle = 0.01

[[connection]]
pre = "pieces"
post = "sum"
synapse.linear = { numerator = [1], denominator = [0.0003, 0.03, 1], method = "bilinear" }

[[connection]]
pre = "white"
post = "sum"
synapse.state-space = { a = [[0.5, 0.1], [0, 0.3]], b = [1, 2], c = [0.5, 0.25], d = 0.125, analog = false }

[[connection]]
pre = "filtered"
post = "sum"

[[connection]]
pre = "brown"
post = "sum"
synapse.lowpass = 0.01

[[probe]]
name = "p"
target = "sum"
synapse.alpha = 0.002
"#;

/// The network of `SIGNALS`, by calls.
fn signals() -> Result<Network, Error> {
    let mut net = Network::new(0);
    let signal = net.node("signal", Node::process(WhiteSignal::new(2, 0.1, 50.0).rms(0.3).y0(0.1)))?;
    let images = Process::present_input(ndarray::array![[1.0, 2.0], [3.0, 4.0]], 0.01);
    let images = net.node("images", Node::process(images))?;
    let pieces = ndarray::array![[1.0, 0.0], [0.0, 2.0]];
    let pieces = Process::interpolated(&[0.01, 0.02], pieces, Interpolation::Linear);
    let pieces = net.node("pieces", Node::process(pieces))?;
    let white = Noise::white(2).distribution(Draw::Uniform(-1.0, 1.0)).unscaled();
    let white = net.node("white", Node::process(white))?;
    let plain = net.node("plain", Node::process(Noise::white(2)))?;
    let filtered = net.node("filtered", Node::process(Noise::filtered(2, Synapse::Alpha(0.01)).seed(5)))?;
    let brown = Noise::brown(2).distribution(Draw::Normal(0.0, 0.5));
    let brown = net.node("brown", Node::process(brown))?;
    let sum = net.node("sum", Node::Passthrough(2))?;
    net.connect(plain, sum, Connection::new())?;
    net.connect(signal, sum, Connection::new().synapse(Synapse::Lowpass(0.005)))?;
    net.connect(images, sum, Connection::new().synapse(Synapse::Triangle(0.01)))?;
    let bilinear = LinearFilter::new(&[1.0], &[0.0003, 0.03, 1.0]).method(Method::Bilinear);
    net.connect(pieces, sum, Connection::new().synapse(bilinear))?;
    let system = StateSpace {
        a: ndarray::array![[0.5, 0.1], [0.0, 0.3]],
        b: ndarray::array![[1.0], [2.0]],
        c: ndarray::array![[0.5, 0.25]],
        d: 0.125,
    };
    net.connect(white, sum, Connection::new().synapse(LinearFilter::state_space(system).digital()))?;
    net.connect(filtered, sum, Connection::new())?;
    net.connect(brown, sum, Connection::new().synapse(Synapse::Lowpass(0.01)))?;
    net.add_probe("p", Target::Output(sum, Some(Synapse::Alpha(0.002))))?;
    Ok(net)
}

#[test]
fn synapses_and_processes_are_those_built_by_calls() {
    let run = |net: Network| {
        let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
        sim.run_steps(60, &Data::new()).unwrap();
        sim.data(net.find_probe("p").unwrap()).unwrap()
    };
    let (ours, theirs) = (run(build(SIGNALS).unwrap()), run(signals().unwrap()));
    assert_eq!(ours, theirs);
    assert!(ours.iter().skip(2).all(|x| *x != 0.0), "{ours}");
}

#[test]
fn ensembles_from_toml_are_those_built_by_calls() {
    let mut net = Network::new(3);
    net.config.connection.synapse = Some(0.005.into());
    net.config.solver = nengo_wgpu::internals::solve::Method::LstsqL2 { reg: 0.05 }.into();
    net.config.ensemble.neuron_type = Some(nengo_wgpu::internals::neuron::LifRate::default().into());
    net.config.ensemble.radius = Some(1.5);
    let x = net.node("x", Node::Constant(vec![0.5, -0.4])).unwrap();
    let a = Ensemble::new(200, 2).intercepts(Distribution::Uniform(-0.9, 0.9));
    let a = net.ensemble("a", a).unwrap();
    let array = Ensemble::array(40, 2).radius(1.0).n_eval_points(300).seed(5);
    let array = net.ensemble("array", array).unwrap();
    let product = nengo_wgpu::network::library::Product::new(100, 1).add(&mut net, "product").unwrap();
    let squares = net.add_output(array, "squares", Decoding::of(Function::parse("x^2").unwrap())).unwrap();
    net.connect(x, a, Connection::new()).unwrap();
    let through = || Connection::new().synapse(0.005);
    net.connect(a, array, through()).unwrap();
    let more = Connection::new().pre(0).function(|x: &[f64]| vec![x[0] + 0.1]);
    net.connect(a, product.input_a, more).unwrap();
    net.connect(squares, product.input_b, through().pre(1)).unwrap();
    net.connect(x, net.neurons_of(a).unwrap(), Connection::new().pre(0).post(3)).unwrap();
    net.probe("squares", squares).unwrap();
    net.probe("product", product.output).unwrap();
    net.add_probe("a", Target::Output(a, Some(0.01.into()))).unwrap();
    let run = |net: &Network| {
        let mut sim = Simulator::new(net, &Device::cpu()).unwrap();
        sim.run_steps(200, &Data::new()).unwrap();
        ["squares", "product", "a"].map(|p| sim.data(net.find_probe(p).unwrap()).unwrap())
    };
    let (from_toml, by_calls) = (run(&build(ENSEMBLES).unwrap()), run(&net));
    assert_eq!(from_toml, by_calls);
    let [squares, product, _] = by_calls;
    // Within the errors of the decoders of 40 neurons; the product goes through 100 more.
    assert!(
        (squares[[0, 199, 0]] - 0.25).abs() < 0.05 && (squares[[0, 199, 1]] - 0.16).abs() < 0.05,
        "{squares}"
    );
    assert!((product[[0, 199, 0]] - 0.6 * 0.16).abs() < 0.05, "{product}");
}
