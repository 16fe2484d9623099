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

/// What `WHOLE` says, by calls.
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

#[test]
fn an_array_is_a_row_for_each_step() {
    let toml =
        "[[node]]\nname = \"a\"\narray = [[1, 2], [3, 4], [5, 6]]\n[[probe]]\nname = \"p\"\ntarget = \"a\"";
    let net = build(toml).unwrap();
    let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
    sim.run_steps(3, &Data::new()).unwrap();
    let data = sim.data(net.find_probe("p").unwrap()).unwrap();
    assert_eq!(data.iter().copied().collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn a_function_of_time_is_an_expression_for_each_value() {
    let run = |function: &str| {
        let net = build(&format!(
            "dt = 0.01\n[[node]]\nname = \"a\"\nfunction = {function}\n[[probe]]\nname = \"p\"\ntarget = \"a\""
        ));
        let options = Options { dt: 0.01, ..Options::default() };
        let mut sim = Simulator::with(&net.unwrap(), &Device::cpu(), options).unwrap();
        sim.run_steps(30, &Data::new()).unwrap();
        sim.data(sim.network().find_probe("p").unwrap()).unwrap()
    };
    // As Nengo's nodes see it, the first step ends at dt.
    let wanted = |k: usize| {
        let t = 0.01 * (k + 1) as f64;
        [(2.0 * std::f64::consts::PI * t).sin(), (t - 0.1).max(0.0), 0.5].map(|x| x as f32)
    };
    let wanted = ndarray::Array3::from_shape_fn((1, 30, 3), |(_, k, i)| wanted(k)[i]);
    let list = run(r#"["sin(2*pi*t)", "max(t - 0.1, 0)", "0.5"]"#);
    assert!((&list - &wanted).iter().all(|x| x.abs() < 1e-6), "{list}");
    assert_eq!(run(r#""sin(2*pi*t); max(t - 0.1, 0); 0.5""#), list);
    assert_eq!(run(r#""sin(2*pi*t)""#), list.slice(ndarray::s![.., .., ..1]));
    let mut net = Network::new(0);
    let node = net.node("a", Node::parse("sin(2*pi*t); max(t - 0.1, 0); 0.5").unwrap()).unwrap();
    let p = net.probe("p", node).unwrap();
    let mut sim = Simulator::with(&net, &Device::cpu(), Options { dt: 0.01, ..Options::default() }).unwrap();
    sim.run_steps(30, &Data::new()).unwrap();
    assert_eq!(sim.data(p).unwrap(), list);
}

#[test]
fn synapses_and_processes_are_those_built_by_calls() {
    let toml = r#"
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
    let calls = || {
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
        let filtered =
            net.node("filtered", Node::process(Noise::filtered(2, Synapse::Alpha(0.01)).seed(5)))?;
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
        Ok::<_, Error>(net)
    };
    let run = |net: Network| {
        let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
        sim.run_steps(60, &Data::new()).unwrap();
        sim.data(net.find_probe("p").unwrap()).unwrap()
    };
    let (ours, theirs) = (run(build(toml).unwrap()), run(calls().unwrap()));
    assert_eq!(ours, theirs);
    assert!(ours.iter().skip(2).all(|x| *x != 0.0), "{ours}");
}

#[test]
fn ensembles_from_toml_are_those_built_by_calls() {
    let mut net = Network::new(3);
    net.config.connection.synapse = Some(0.005.into());
    net.config.solver = nengo_wgpu::solve::Method::LstsqL2 { reg: 0.05 }.into();
    net.config.ensemble.neuron_type = Some(nengo_wgpu::neuron::LifRate::default().into());
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
    assert!(
        (squares[[0, 199, 0]] - 0.25).abs() < 0.05 && (squares[[0, 199, 1]] - 0.16).abs() < 0.05,
        "{squares}"
    );
    assert!((product[[0, 199, 0]] - 0.6 * 0.16).abs() < 0.05, "{product}");
}

#[test]
fn a_probe_may_read_some_dimensions() {
    let toml = r#"
[[node]]
name = "x"
constant = [0.5, -0.4, 0.3]

[[network]]
name = "n"

[[network.ensemble]]
name = "a"
input = "x"
n-neurons = 30
dimensions = 3

[[network.probe]]
name = "three"
target = "a.neurons[0:3]"

[[probe]]
name = "all"
target = "n.a.neurons"

[[probe]]
name = "voltages"
target = "n.a[[4, -1]]"
state = "voltage"

[[probe]]
name = "voltage"
target = "n.a.neurons"
state = "voltage"

[[probe]]
name = "currents"
input = "n.a.neurons[::10]"
sample-every = 0.005

[[probe]]
name = "current"
input = "n.a.neurons"

[[probe]]
name = "last"
target = "n.a[2]"
synapse = 0.01

[[probe]]
name = "value"
target = "n.a"
synapse = 0.01
"#;
    let net = build(toml).unwrap();
    let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
    sim.run_steps(50, &Data::new()).unwrap();
    let read = |name: &str| sim.data(net.find_probe(name).unwrap()).unwrap();
    let columns = |name: &str, columns: &[usize]| read(name).select(ndarray::Axis(2), columns);
    assert_eq!(read("n.three"), columns("all", &[0, 1, 2]));
    assert!(read("all").iter().any(|x| *x > 0.0));
    assert_eq!(read("voltages"), columns("voltage", &[4, 29]));
    let currents = columns("current", &[0, 10, 20]);
    assert_eq!(read("currents"), currents.slice(ndarray::s![.., 4..;5, ..]));
    assert_eq!(read("last"), columns("value", &[2]));
    for (probe, part) in [
        ("target = \"n.a.neurons[28:31]\"", "bound 31 is outside of its 30 dimensions"),
        ("target = \"n.a[a]\"", "a slice is a number"),
        ("target = \"n.b[0]\"", "no object named 'n.b'"),
    ] {
        let text = build(&format!("{toml}\n[[probe]]\nname = \"bad\"\n{probe}\n")).err().unwrap().to_string();
        assert!(text.contains(part), "{text}");
    }
}

/// What a parameter starts from, each value once and in order.
fn values_of(toml: &str, parameter: &str) -> Vec<f32> {
    let sim = Simulator::new(&build(toml).unwrap(), &Device::cpu());
    let mut values = sim.unwrap().parameter(parameter).unwrap().into_raw_vec_and_offset().0;
    values.sort_by(f32::total_cmp);
    values.dedup();
    values
}

#[test]
fn a_choice_of_rows_is_one_of_the_rows_and_not_rows_and_their_weights() {
    let ensemble = |max_rates: &str, encoders: &str| {
        let toml = format!(
            "[[ensemble]]\nname = \"a\"\nn-neurons = 60\nneuron-type = \"rectified-linear\"\nintercepts = 0\n\
             max-rates = {max_rates}\nencoders = {encoders}\n[[probe]]\nname = \"p\"\ntarget = \"a\"\n"
        );
        values_of(&toml, "a/encoders")
    };
    let both = [-400.0, -100.0, 100.0, 400.0];
    assert_eq!(ensemble("{ choice = [[100.0], [400.0]] }", "{ choice = [[1.0], [-1.0]] }"), both);
    assert_eq!(ensemble("{ choice = { options = [[100], [400]] } }", "{ choice = [1, -1] }"), both);
    assert_eq!(ensemble("{ constant = 100 }", "{ constant = 1 }"), [100.0]);
    assert_eq!(ensemble("100", "{ choice = 1 }"), [100.0]);
    let neurons = |max_rates: &str| {
        let toml = format!(
            "[[neurons]]\nname = \"n\"\nn = 60\ntype = \"rectified-linear\"\nintercepts = {{ choice = [0.0] }}\n\
             max-rates = {max_rates}\n[[probe]]\nname = \"p\"\ntarget = \"n\"\n"
        );
        values_of(&toml, "n/gain")
    };
    for max_rates in
        ["{ choice = [[100.0], [400.0]] }", "{ choice = { options = [100, 400], weights = [1, 1] } }"]
    {
        assert_eq!(neurons(max_rates), [100.0, 400.0]);
    }
}

#[test]
fn init_and_transform_take_the_words_of_distributions() {
    let toml = |transform: &str| {
        format!(
            "[[node]]\nname = \"x\"\nconstant = [1, 2]\n[[layer]]\nname = \"y\"\nsize-in = 2\n[[connection]]\n\
             pre = \"x\"\npost = \"y\"\ntransform = {transform}\n[[probe]]\nname = \"p\"\ntarget = \"y\"\n"
        )
    };
    let weights = |transform: &str| values_of(&toml(transform), "x->y/weights");
    assert_eq!(weights("{ dense = { constant = 0.5 } }"), [0.5]);
    assert_eq!(weights("{ dense = 0.5 }"), [0.5]);
    assert_eq!(weights("{ constant = 0.5 }"), [0.5]);
    assert_eq!(weights("{ dense = { choice = [[0.25]] } }"), [0.25]);
    assert_eq!(weights("[[1, 2], [3, 4]]"), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(weights("{ dense = { values = [1, 2, 3, 4] } }"), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(weights("{ vector = [2, 5] }"), [2.0, 5.0]);
    let drawn = weights("{ truncated-normal = { std = 0.1 } }");
    assert!(drawn.len() == 4 && drawn.iter().all(|x| x.abs() < 0.2), "{drawn:?}");
    let rows = weights("{ uniform-hypersphere = { surface = true } }");
    assert!((rows.iter().map(|x| x * x).sum::<f32>() - 2.0).abs() < 1e-6, "two rows of length 1: {rows:?}");
    let sparse = weights("{ sparse = { rows = [1, 0], cols = [0, 1], init = [[7, 8]] } }");
    assert_eq!(sparse, [7.0, 8.0]);
    let text = build(&toml("{ dense = [[1, 2]] }")).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("[2, 2]") && text.contains("2 values"), "{text}");
    let text = build(&toml("[[1, 2, 3], [4, 5, 6]]")).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("2 dimensions") && text.contains("3 dimensions"), "{text}");
}
