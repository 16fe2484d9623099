//! Invalid ensembles, decoders and connections of ensembles are refused by name, and leave nothing behind.

use crate::common::messages::Messages;
use crate::common::problem;
use ndarray::{Array2, array};
use nengo_wgpu::internals::neuron::{
    AdaptiveLif, AdaptiveLifRate, Izhikevich, LeakyRelu, LifRate, NeuronType, RectifiedLinear, Sigmoid,
    SoftLifRate, Tanh,
};
use nengo_wgpu::internals::solve::{Method, Solver};
use nengo_wgpu::network::library::Product;
use nengo_wgpu::network::{
    Connection, Decoding, Distribution, Ensemble, Function, Init, Layer, LearningRule, Network, Neurons,
    Node, ObjectId, Transform,
};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::{Device, Simulator};

fn constant(net: &mut Network, name: &str, values: &[f32]) -> ObjectId {
    net.node(name, Node::Constant(values.to_vec())).unwrap()
}

#[test]
fn invalid_ensembles_are_refused() {
    let said = Messages::of("invalid ensembles are refused");
    let mut net = Network::new(0);
    let mut refused = |ensemble: Ensemble| {
        said.error(net.ensemble("pop", ensemble));
    };
    refused(Ensemble::new(0, 1));
    refused(Ensemble::new(5, 0));
    refused(Ensemble::array(5, 0));
    refused(Ensemble::new(usize::MAX, 3));
    refused(Ensemble::new(5, 1).radius(0.0));
    refused(Ensemble::new(5, 1).n_eval_points(0));
    refused(Ensemble::new(5, 2).encoders(Array2::ones((4, 2))));
    refused(Ensemble::new(5, 2).encoders(Array2::ones((5, 3))));
    refused(Ensemble::new(2, 2).encoders(array![[1.0, 0.0], [0.0, 0.0]]));
    refused(Ensemble::new(5, 1).intercepts(Distribution::Uniform(1.5, 2.0)));
    refused(Ensemble::new(5, 1).max_rates(Distribution::Uniform(600.0, 700.0)));
    refused(Ensemble::new(5, 1).neuron_type(NeuronType::Leaky(Default::default())));
    let mut half = Ensemble::new(5, 1);
    half.settings.gain = Some(Distribution::Uniform(1.0, 2.0));
    refused(half);
    said.error(net.ensemble("pop", Ensemble::new(5, 1).state("speed", Init::Zeros)));
    // Nothing is left of what was refused.
    net.ensemble("pop", Ensemble::new(5, 1)).unwrap();
    said.error(net.ensemble("pop", Ensemble::new(5, 1)));
}

#[test]
fn connections_that_do_not_fit_an_ensemble_are_refused() {
    let said = Messages::of("connections that do not fit an ensemble are refused");
    let mut net = Network::new(0);
    let a = net.ensemble("a", Ensemble::new(10, 2)).unwrap();
    let b = net.ensemble("b", Ensemble::new(10, 3)).unwrap();
    let array = net.ensemble("array", Ensemble::array(10, 2)).unwrap();
    let x = constant(&mut net, "x", &[0.0, 0.0]);
    let mut refused = |pre, post, connection: Connection| {
        said.error(net.connect(pre, post, connection));
    };
    let new = Connection::new;
    refused(a, b, new());
    refused(a, b, new().function(|x: &[f64]| vec![x[0]]));
    refused(a, b, new().function(|_: &[f64]| Vec::new()));
    refused(a, b, new().function(|x: &[f64]| vec![x[7]; 3]));
    refused(a, b, new().function(Function::parse("x0; x1; x2").unwrap()));
    refused(a, b, new().weights(Init::Values(vec![0.0; 4])));
    refused(a, b, new().pre(0..5));
    refused(x, a, new().solver(Solver::default()));
    refused(array, a, new().function(|x: &[f64]| x.to_vec()));
    refused(a, x, new());
    let full = || new().solver(Solver::default().weights());
    refused(a, array, full());
    said.error(net.add_output(a, "o", Decoding::new().solver(full().decoding.solver.unwrap())));
    let out = net.node("out", Node::Passthrough(2)).unwrap();
    said.error(net.connect(a, out, full()));
    said.error(net.neurons_of(out));
    said.error(net.output_of(out));
}

#[test]
fn unsolvable_decoders_are_reported_with_connection_and_ensemble() {
    let said = Messages::of("unsolvable decoders are reported with connection and ensemble");
    let refused = |ensemble: Ensemble, connection: Connection| {
        let mut net = Network::new(0);
        let a = net.ensemble("a", ensemble).unwrap();
        let out = net.node("out", Node::Passthrough(1)).unwrap();
        net.connect(a, out, connection.named("c")).unwrap();
        said.error(Simulator::new(&net, &Device::cpu()));
    };
    let new = Connection::new;
    let late =
        Ensemble::new(5, 1).intercepts(Distribution::Uniform(0.9, 0.95)).encoders(Array2::ones((5, 1)));
    let points = Distribution::Uniform(-1.0, 0.5);
    refused(late.clone().eval_points(points), new());
    let low =
        Ensemble::new(5, 1).gain_bias(Distribution::Uniform(1.0, 1.0), Distribution::Uniform(-9.0, -8.0));
    refused(low, new());
    // Neurons that are all alike have one answer too few to tell their decoders.
    let alike = || {
        Ensemble::new(5, 1)
            .encoders(Array2::ones((5, 1)))
            .gain_bias(Distribution::Uniform(1.0, 1.0), Distribution::Uniform(2.0, 2.0))
    };
    refused(alike(), new().solver(Method::LstsqL2 { reg: 0.0 }));
    let size = |x: &[f64]| vec![0.0; if x[0] > 0.5 { 2 } else { 1 }];
    refused(Ensemble::new(5, 1), new().function(size));
    let panics = |x: &[f64]| if x[0] > 0.5 { panic!("too large") } else { x.to_vec() };
    refused(Ensemble::new(5, 1), new().function(panics));
    refused(Ensemble::new(5, 1), new().function(|x: &[f64]| vec![1.0 / (x[0] - x[0])]));
    refused(Ensemble::new(5, 1), new().eval_points(Array2::ones((5, 2))));
    let leaky = Ensemble::new(5, 1)
        .neuron_type(NeuronType::Leaky(Default::default()))
        .gain_bias(Distribution::Uniform(1.0, 2.0), Distribution::Uniform(0.0, 1.0));
    refused(leaky, new());
}

/// Each type with a rate and an intercept that Nengo refuses.
#[test]
fn gains_that_are_not_positive_and_finite_are_refused_for_every_type_of_neuron() {
    let said = Messages::of("gains that are not positive and finite are refused for every type of neuron");
    let rates = || NeuronType::from(LifRate::default());
    let sigmoid = || NeuronType::from(Sigmoid::default());
    let cases: Vec<(NeuronType, f64, f64)> = vec![
        (sigmoid(), 125.0, 0.5),
        (sigmoid(), 200.0, 0.5),
        (NeuronType::regular_spiking(sigmoid()), 125.0, 0.5),
        (NeuronType::stochastic_spiking(sigmoid()), 125.0, 0.5),
        (NeuronType::poisson_spiking(sigmoid()), 125.0, 0.5),
        (sigmoid(), 400.0, 0.5),
        (Tanh::default().into(), 400.0, 0.5),
        (NeuronType::lif(), 500.0, 0.5),
        (rates(), 600.0, 0.5),
        (SoftLifRate::default().into(), 500.0, 0.5),
        (AdaptiveLif::default().into(), 500.0, 0.5),
        (AdaptiveLifRate::default().into(), 500.0, 0.5),
        (NeuronType::regular_spiking(rates()), 500.0, 0.5),
        (Izhikevich::default().into(), 5000.0, 0.5),
        (RectifiedLinear::default().into(), 1e39, 0.5),
        (NeuronType::SpikingRectifiedLinear(RectifiedLinear::default()), 1e39, 0.5),
        (NeuronType::LeakyRelu(LeakyRelu::default()), 1e39, 0.5),
        (NeuronType::SpikingLeakyRelu(LeakyRelu::default()), 1e39, 0.5),
        (NeuronType::lif(), 0.0, 0.5),
        (NeuronType::lif(), 200.0, 1.0),
        (rates(), 200.0, 1.2),
        (Tanh::default().into(), -10.0, 0.5),
    ];
    for (neuron_type, rate, at) in cases {
        let one = |x: f64| Array2::from_elem((3, 1), x);
        let mut net = Network::new(0);
        let a = Ensemble::new(3, 1).neuron_type(neuron_type.clone()).max_rates(one(rate)).intercepts(one(at));
        said.error(net.ensemble("a", a));
        if rate > 1e38 {
            continue; // no number of 32 bits
        }
        let (rate, at) = (Init::Constant(rate as f32), Init::Constant(at as f32));
        said.error(net.neurons("n", Neurons::new(3, neuron_type.clone()).rates(rate, at)));
    }
}

#[test]
fn sizes_that_no_memory_holds_are_refused_before_anything_is_made() {
    let most = 1 << 40;
    let mut net = Network::new(0);
    let x = constant(&mut net, "x", &[0.5]);
    let texts = [
        problem(net.ensemble("a", Ensemble::new(most, 1))),
        problem(net.ensemble("b", Ensemble::new(1, most))),
        problem(net.ensemble("c", Ensemble::array(most, 20_000))),
        problem(net.neurons("n", Neurons::new(most, NeuronType::lif()))),
        problem(net.layer("l", Layer::dense(most), x)),
        problem(Distribution::SubvectorLength { dimensions: most, subdimensions: 1 }.sample("r", most, 1, 0)),
    ];
    for (text, name) in texts.iter().zip(["'a'", "'b'", "'c'", "'n'", "'l'", "r: "]) {
        let says = ["bytes", "cannot draw", "more encoders than there can be"];
        assert!(text.contains(name) && says.iter().any(|part| text.contains(part)), "{name}: {text}");
    }
    let mut net = Network::new(0);
    let a = net.ensemble("a", Ensemble::new(10, 1).n_eval_points(1 << 40)).unwrap();
    net.probe("p", a).unwrap();
    let text = problem(Simulator::new(&net, &Device::cpu()));
    assert!(text.contains("ensemble 'a' with 10 neurons at 1099511627776 points"), "{text}");
    assert!(text.contains("at most") && text.contains("n-eval-points"), "{text}");
}

#[test]
fn decoders_are_solved_within_the_memory_that_the_network_allows() {
    let said = Messages::of("decoders are solved within the memory that the network allows");
    let of = |memory, points| {
        let mut net = Network::new(0);
        net.config.memory = Some(memory);
        let a = net.ensemble("large", Ensemble::new(2000, 1).n_eval_points(points)).unwrap();
        net.probe("p", a).unwrap();
        net.solve()
    };
    let text = problem(of(20_000_000, 4000));
    said.text(&text);
    let fits: usize = text.split("at most ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(fits > 100 && of(20_000_000, fits).is_ok(), "{text}");
    assert!(of(20_000_000, fits + 1).is_err());
}

#[test]
fn an_ensemble_that_feeds_itself_at_once_is_a_cycle_under_its_own_name() {
    let said = Messages::of("an ensemble that feeds itself at once is a cycle under its own name");
    let mut net = Network::new(0);
    let a = net.ensemble("a", Ensemble::new(10, 1)).unwrap();
    net.connect(a, a, Connection::new()).unwrap();
    said.error(Simulator::new(&net, &Device::cpu()));
}

#[test]
fn taken_names_are_refused_for_every_kind_of_object() {
    let said = Messages::of("taken names are refused for every kind of object");
    let mut net = Network::new(0);
    let a = net.ensemble("a", Ensemble::new(10, 1)).unwrap();
    let b = net.ensemble("b", Ensemble::new(10, 1)).unwrap();
    net.add_output(a, "out", Decoding::new()).unwrap();
    net.connect(a, b, Connection::new().named("c")).unwrap();
    net.probe("p", b).unwrap();
    let counts =
        |net: &Network| (net.parameters().len(), net.connection_ids().count(), net.probe_ids().count());
    Product::new(5, 1).add(&mut net, "product").unwrap();
    let before = counts(&net);
    said.error(net.ensemble("a", Ensemble::new(10, 1)));
    // The neurons of an ensemble have a name too.
    said.error(net.node("a.neurons", Node::Passthrough(1)));
    said.error(net.add_output(a, "out", Decoding::new()));
    said.error(net.connect(b, a, Connection::new().named("c")));
    said.error(net.probe("p", a));
    said.error(Product::new(5, 1).add(&mut net, "product"));
    assert_eq!(counts(&net), before);
    let twice = "ensemble = [{ name = \"a\", n-neurons = 5 }, { name = \"a\", n-neurons = 5 }]";
    said.error(NetworkSpec::parse(twice, "net.toml").and_then(|spec| spec.build()));
}

#[test]
fn invalid_learning_rules_of_ensembles_are_refused() {
    let said = Messages::of("invalid learning rules of ensembles are refused");
    let mut net = Network::new(0);
    let [a, b] = ["a", "b"].map(|name| net.ensemble(name, Ensemble::new(10, 1)).unwrap());
    let array = net.ensemble("array", Ensemble::array(10, 2)).unwrap();
    let neurons = net.neurons_of(array).unwrap();
    let own = net.neurons_of(a).unwrap();
    let before = (net.parameters().len(), net.connection_ids().count());
    let mut no = |pre, post, spec: Connection, rule: LearningRule| {
        said.error(net.connect(pre, post, spec.named("c").learning_rule(rule)));
    };
    let dense = || Connection::new().transform(Transform::Dense(Init::Zeros));
    no(own, neurons, dense(), LearningRule::pes());
    no(a, array, dense(), LearningRule::voja());
    no(a, b, Connection::new(), LearningRule::bcm());
    no(a, b, Connection::new(), LearningRule::oja());
    let text = "[[ensemble]]\nname = \"a\"\nn-neurons = 5\n[[connection]]\npre = \"a\"\npost = \"a\"\nsynapse = 0.1\n\
                learning-rule = \"hebb\"";
    said.error(NetworkSpec::parse(text, "net.toml"));
    assert_eq!((net.parameters().len(), net.connection_ids().count()), before);
}
