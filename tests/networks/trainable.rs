//! Parameters of networks, and which of them are trained.

use ndarray::{Array2, Array3};
use nengo_wgpu::internals::neuron::{LifRate, RectifiedLinear};
use nengo_wgpu::network::library::{
    AssociativeMemory, BasalGanglia, CircularConvolution, InputGatedMemory, Integrator, Oscillator, Product,
    Thalamus,
};
use nengo_wgpu::network::{
    Connection, Decoding, Ensemble, Init, Layer, LearningRule, Network, Neurons, Node, Target, Transform,
};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Fit, Options, Simulator};

use crate::common::messages::Messages;
use crate::common::{devices, uniform};

/// The parameters that are trained, or those that are not.
fn which(net: &Network, trained: bool) -> Vec<&str> {
    net.parameters().iter().filter(|p| p.trainable == trained).map(|p| p.name.as_str()).collect()
}

fn scaled(c: f32) -> Connection {
    Connection::new().transform(Transform::Scalar(c))
}

#[test]
fn a_scalar_transform_is_one_trained_number_and_no_transform_is_none() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(3)).unwrap();
    let a = net.ensemble("a", Ensemble::new(20, 3)).unwrap();
    let b = net.ensemble("b", Ensemble::array(20, 3)).unwrap();
    net.connect(x, a, scaled(1.0)).unwrap();
    net.connect(x, b, Connection::new()).unwrap();
    // Of an ensemble the number is a factor of the decoders; an array's are shared, so it stands by itself.
    net.connect(a, b, scaled(0.5)).unwrap();
    net.connect(b, b, scaled(0.9).synapse(0.1)).unwrap();
    let trained = [
        "a/encoders",
        "a/bias",
        "b/encoders",
        "b/bias",
        "x->a/weights",
        "a->b/weights",
        "b.output/decoders",
        "b.output->b/weights",
    ];
    assert_eq!(which(&net, true), trained);
    let shape = |name: &str| net.parameters().iter().find(|p| p.name == name).map(|p| (p.rows, p.cols));
    assert_eq!(shape("x->a/weights"), Some((1, 1)));
    assert_eq!(shape("a->b/weights"), Some((3, 20)));
    assert_eq!(shape("b.output->b/weights"), Some((1, 1)));
}

#[test]
fn all_that_nengos_networks_multiply_by_is_trained() {
    let mut net = Network::new(0);
    Product::new(10, 2).add(&mut net, "product").unwrap();
    CircularConvolution::new(10, 3).add(&mut net, "cconv").unwrap();
    Integrator { recurrent_tau: 0.1, n_neurons: 20, dimensions: 2 }.add(&mut net, "integrator").unwrap();
    Oscillator { recurrent_tau: 0.1, frequency: 6.0, n_neurons: 20 }.add(&mut net, "oscillator").unwrap();
    BasalGanglia::new(3).add(&mut net, "bg").unwrap();
    Thalamus::new(3).add(&mut net, "thalamus").unwrap();
    InputGatedMemory::new(10, 2).add(&mut net, "memory").unwrap();
    let inhibited = AssociativeMemory { inhibitable: true, ..AssociativeMemory::new(Array2::eye(3)) };
    inhibited.add(&mut net, "am").unwrap();
    // Gains of neurons that something reaches by themselves.
    assert_eq!(which(&net, false), ["memory.diff/gain", "memory.mem/gain"]);
    let numbers = |network: &str| {
        let one = |p: &&nengo_wgpu::network::ParameterDef| p.name.contains("->") && p.rows * p.cols == 1;
        net.parameters().iter().filter(one).filter(|p| p.name.starts_with(network)).count()
    };
    let networks = ["product", "cconv", "integrator", "oscillator", "bg", "thalamus", "memory", "am"];
    assert_eq!(networks.map(numbers), [6, 6, 1, 0, 8, 0, 3, 0]);
}

#[test]
fn each_parameter_object_and_network_is_frozen_and_trained_by_its_name() {
    let said = Messages::of("each parameter object and network is frozen and trained by its name");
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(2)).unwrap();
    let product = Product::new(10, 2).add(&mut net, "product").unwrap();
    net.connect(x, product.input_a, scaled(2.0)).unwrap();
    let out = net.layer("out", Layer::dense(1), product.output).unwrap();
    net.connect(
        product.output,
        out,
        Connection::new().transform(Transform::Dense(Init::Glorot)).named("more"),
    )
    .unwrap();
    let all = net.parameters().len();
    net.set_trainable("product", false).unwrap();
    // Connections to a network and from it are not in it.
    assert_eq!(which(&net, true), ["x->product.input_a/weights", "out/weights", "out/bias", "more/weights"]);
    net.set_trainable("product.sq1", true).unwrap();
    net.set_trainable("product.input_a->product.sq2", true).unwrap();
    net.set_trainable("more/weights", false).unwrap();
    net.set_trainable("out", false).unwrap();
    let trained = [
        "product.sq1/encoders",
        "product.sq1/bias",
        "product.sq1.square/decoders",
        "product.input_a->product.sq2/weights",
        "x->product.input_a/weights",
    ];
    let mut now = which(&net, true);
    now.sort_by_key(|name| trained.iter().position(|t| t == name));
    assert_eq!(now, trained);
    net.set_trainable("product", true).unwrap();
    assert_eq!(which(&net, true).len(), all - 3);
    said.error(net.set_trainable("produkt", true));
}

#[test]
fn weights_and_inputs_of_learning_rules_are_not_trained() {
    let said = Messages::of("weights and inputs of learning rules are not trained");
    let mut net = Network::new(0);
    net.config.ensemble.neuron_type = Some(LifRate::default().into());
    let x = net.node("x", Node::Input(1)).unwrap();
    let a = net.ensemble("a", Ensemble::new(20, 1)).unwrap();
    let y = net.node("y", Node::Passthrough(1)).unwrap();
    net.connect(x, a, scaled(1.0)).unwrap();
    let learns =
        net.connect(a, y, Connection::new().named("learns").learning_rule(LearningRule::pes())).unwrap();
    let error = net.learning_rule_of(learns).unwrap();
    net.connect(x, error, scaled(-1.0)).unwrap();
    assert_eq!(which(&net, false), ["learns/weights", "x->learns/learning-rule/weights"]);
    net.set_trainable("learns", true).unwrap();
    assert_eq!(which(&net, false), ["learns/weights", "x->learns/learning-rule/weights"]);
    said.error(net.set_trainable("learns/weights", true));
}

#[test]
fn decoders_of_a_probe_are_not_trained_until_a_connection_reads_them() {
    let mut net = Network::new(0);
    let [a, b] = ["a", "b"].map(|name| net.ensemble(name, Ensemble::new(10, 1)).unwrap());
    let array = net.ensemble("array", Ensemble::array(10, 2)).unwrap();
    for (name, of) in [("p", a), ("q", b), ("r", array)] {
        net.probe(name, of).unwrap();
    }
    assert_eq!(which(&net, false), ["a.output/decoders", "b.output/decoders"]);
    let output = net.find("a.output").unwrap();
    net.connect(output, b, Connection::new()).unwrap();
    assert_eq!(which(&net, false), ["b.output/decoders"]);
    net.output_of(b).unwrap();
    assert_eq!(which(&net, false), [""; 0]);
    net.add_output(b, "other", Decoding::new().frozen()).unwrap();
    assert_eq!(which(&net, false), ["b.other/decoders"]);
}

#[test]
fn a_configuration_that_trains_nothing_lets_single_objects_be_trained() {
    let mut net = Network::new(0);
    net.config.trainable = false;
    let x = net.node("x", Node::Input(2)).unwrap();
    let a = net.ensemble("a", Ensemble::new(10, 2).trainable(true)).unwrap();
    let b = net.neurons("b", Neurons::new(4, RectifiedLinear { amplitude: 1.0 })).unwrap();
    net.connect(x, a, scaled(0.5)).unwrap();
    net.connect(a, b, Connection::new().transform(Transform::Dense(Init::Glorot)).trainable(true)).unwrap();
    net.layer("c", Layer::dense(2), b).unwrap();
    assert_eq!(which(&net, true), ["a/encoders", "a/bias", "a->b/weights"]);
}

const FILE: &str = r#"
[config]
trainable = false

[[node]]
name = "x"
size = 2

[[ensemble]]
name = "a"
n-neurons = 10
dimensions = 2
trainable = true
train-bias = false

[[layer]]
name = "y"
input = "a"
units = 2

[[connection]]
pre = "x"
post = "a"
transform = 0.5

[[connection]]
pre = "x"
post = "y"
transform = 2.0
trainable = true

[[network]]
name = "product"
trainable = true
product = { n-neurons = 10, dimensions = 2 }

[[network]]
name = "inner"
config = { trainable = true }

[[network.ensemble]]
name = "b"
n-neurons = 10
dimensions = 2
input = "a"

[[network.ensemble]]
name = "c"
n-neurons = 10
trainable = false

[[network.network]]
name = "deep"
trainable = false

[[network.network.connection]]
pre = "b"
post = "b"
synapse = 0.1

[[probe]]
name = "p"
target = "inner.b"
"#;

#[test]
fn files_set_trainability_of_objects_connections_and_networks() {
    let net = NetworkSpec::parse(FILE, "net.toml").unwrap().build().unwrap();
    let mut trained = which(&net, true);
    trained.retain(|name| !name.starts_with("product."));
    trained.sort_unstable();
    assert_eq!(
        trained,
        ["a->inner.b/weights", "a/encoders", "inner.b/bias", "inner.b/encoders", "x->y/weights"]
    );
    let in_product = net.parameters().iter().filter(|p| p.name.starts_with("product."));
    assert!(in_product.clone().count() > 6 && in_product.clone().all(|p| p.trainable));
}

/// `count` numbers between an input and a sum, each on two dimensions; and what they start from.
fn numbers(count: usize) -> (Network, Vec<f32>) {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(2 * count)).unwrap();
    let sum = net.node("sum", Node::Passthrough(2)).unwrap();
    let starts = uniform(9, count, -1.0, 1.0);
    for (i, c) in starts.iter().enumerate() {
        let inner = net.node(&format!("n{i}"), Node::Passthrough(2)).unwrap();
        net.connect(x, inner, scaled(*c).pre((2 * i) as i64..(2 * i + 2) as i64).named(&format!("c{i}")))
            .unwrap();
        net.connect(inner, sum, Connection::new()).unwrap();
    }
    net.probe("p", sum).unwrap();
    (net, starts)
}

#[test]
fn a_hundred_numbers_cost_the_dispatches_of_two_and_train_each_for_itself() {
    for device in devices() {
        let dispatches = |count| {
            let (net, _) = numbers(count);
            let outline = Simulator::planner(&net, device, Options::default()).unwrap().outline(8).unwrap();
            outline.dispatches
        };
        assert_eq!(dispatches(20), dispatches(100), "{device}");
        let (net, starts) = numbers(20);
        let mut sim = Simulator::with(&net, device, Options { minibatch: 3, ..Options::default() }).unwrap();
        sim.compile(Training::new(Objective::new().loss("p", Loss::MeanSquared), 0.1)).unwrap();
        let x = Array3::from_shape_vec((3, 4, 40), uniform(2, 480, -1.0, 1.0)).unwrap();
        let targets = Data::new().with("p", Array3::zeros((3, 4, 2)));
        sim.fit(&Data::new().with("x", x.clone()), &targets, &Fit::epochs(1)).unwrap();
        for i in 0..20 {
            let gradient: f32 = (0..3 * 4 * 2)
                .map(|k| {
                    let (b, t, d) = (k / 8, k / 2 % 4, k % 2);
                    let y: f32 = (0..20).map(|j| starts[j] * x[[b, t, 2 * j + d]]).sum();
                    2.0 * y * x[[b, t, 2 * i + d]] / 24.0
                })
                .sum();
            let name = format!("c{i}/weights");
            let found = sim.gradient(&name).unwrap();
            assert_eq!(found.dim(), (1, 1));
            assert!((found[[0, 0]] - gradient).abs() < 1e-5, "{name} on {device}: {found} for {gradient}");
            let after = sim.parameter(&name).unwrap()[[0, 0]];
            assert!((after - (starts[i] - 0.1 * gradient)).abs() < 1e-6, "{name} on {device}");
        }
    }
}

#[test]
fn a_number_is_read_set_and_kept_by_a_frozen_network() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(2)).unwrap();
    let y = net.node("y", Node::Passthrough(2)).unwrap();
    let connection = net.connect(x, y, scaled(0.5)).unwrap();
    let probe = net.add_probe("p", Target::Output(y, None)).unwrap();
    for device in devices() {
        let mut sim = Simulator::new(&net, device).unwrap();
        assert_eq!(sim.weights(connection).unwrap(), ndarray::array![[0.5]]);
        sim.set_parameter("x->y/weights", &ndarray::array![[3.0]]).unwrap();
        let frozen = sim.freeze().unwrap();
        let mut again = Simulator::new(&frozen, device).unwrap();
        let out = again.predict(&Data::new().with("x", ndarray::array![[1.0, -2.0]])).unwrap();
        assert_eq!(out[&probe].iter().copied().collect::<Vec<_>>(), [3.0, -6.0], "{device}");
    }
}
