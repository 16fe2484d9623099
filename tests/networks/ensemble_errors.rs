//! What is wrong with ensembles, what they decode and what is connected to them: told by name, and nothing is left of it.

use ndarray::{Array2, array};
use nengo_wgpu::network::library::Product;
use nengo_wgpu::network::{
    Connection, Decoding, Distribution, Ensemble, Function, Init, Layer, LearningRule, Network, Neurons,
    Node, ObjectId, Transform,
};
use nengo_wgpu::neuron::{
    AdaptiveLif, AdaptiveLifRate, Izhikevich, LeakyRelu, LifRate, NeuronType, RectifiedLinear, Sigmoid,
    SoftLifRate, Tanh,
};
use nengo_wgpu::solve::{Method, Solver};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::{Device, Simulator};

fn constant(net: &mut Network, name: &str, values: &[f32]) -> ObjectId {
    net.node(name, Node::Constant(values.to_vec())).unwrap()
}

fn problem<T>(result: nengo_wgpu::Result<T>) -> String {
    result.map(drop).unwrap_err().to_string()
}

#[test]
fn ensembles_that_make_no_sense_are_refused() {
    let mut net = Network::new(0);
    let mut refused = |ensemble: Ensemble, parts: &[&str]| {
        let text = problem(net.ensemble("pop", ensemble));
        assert!(text.contains("'pop'") && parts.iter().all(|p| text.contains(p)), "{text}");
    };
    refused(Ensemble::new(0, 1), &["0 neurons", "1 dimensions"]);
    refused(Ensemble::new(5, 0), &["5 neurons", "0 dimensions"]);
    refused(Ensemble::array(5, 0), &["0 ensembles"]);
    refused(Ensemble::new(usize::MAX, 3), &["more encoders than there can be"]);
    refused(Ensemble::new(5, 1).radius(0.0), &["radius is 0"]);
    refused(Ensemble::new(5, 1).n_eval_points(0), &["n-eval-points is 0"]);
    refused(Ensemble::new(5, 2).encoders(Array2::ones((4, 2))), &["encoders", "5 rows", "4 rows"]);
    refused(
        Ensemble::new(5, 2).encoders(Array2::ones((5, 3))),
        &["encoders", "2 dimensions", "3 dimensions"],
    );
    refused(Ensemble::new(2, 2).encoders(array![[1.0, 0.0], [0.0, 0.0]]), &["neuron 1 is zero"]);
    refused(Ensemble::new(5, 1).intercepts(Distribution::Uniform(1.5, 2.0)), &["intercept", "below 1"]);
    refused(Ensemble::new(5, 1).max_rates(Distribution::Uniform(600.0, 700.0)), &["500 Hz"]);
    refused(Ensemble::new(5, 1).neuron_type(NeuronType::Leaky(Default::default())), &["leaky neurons"]);
    let mut half = Ensemble::new(5, 1);
    half.settings.gain = Some(Distribution::Uniform(1.0, 2.0));
    refused(half, &["without the other"]);
    assert!(
        problem(net.ensemble("pop", Ensemble::new(5, 1).state("speed", Init::Zeros))).contains("voltage")
    );
    // Nothing is left of what was refused.
    net.ensemble("pop", Ensemble::new(5, 1)).unwrap();
    assert!(problem(net.ensemble("pop", Ensemble::new(5, 1))).contains("two objects are named 'pop'"));
}

#[test]
fn connections_that_do_not_fit_an_ensemble_are_refused() {
    let mut net = Network::new(0);
    let a = net.ensemble("a", Ensemble::new(10, 2)).unwrap();
    let b = net.ensemble("b", Ensemble::new(10, 3)).unwrap();
    let array = net.ensemble("array", Ensemble::array(10, 2)).unwrap();
    let x = constant(&mut net, "x", &[0.0, 0.0]);
    let mut refused = |pre, post, connection: Connection, parts: &[&str]| {
        let text = problem(net.connect(pre, post, connection));
        assert!(parts.iter().all(|p| text.contains(p)), "{text}");
    };
    let new = Connection::new;
    refused(a, b, new(), &["'a->b'", "2 values", "'b' is 3", "function of that size"]);
    refused(a, b, new().function(|x: &[f64]| vec![x[0]]), &["'a->b'", "1 values", "'b' is 3"]);
    refused(a, b, new().function(|_: &[f64]| Vec::new()), &["'a->b'", "no values"]);
    refused(a, b, new().function(|x: &[f64]| vec![x[7]; 3]), &["'a->b'", "index out of bounds"]);
    refused(a, b, new().function(Function::parse("x0; x1; x2").unwrap()), &["'a->b'", "takes x2"]);
    refused(a, b, new().weights(Init::Values(vec![0.0; 4])), &["a->b/weights", "[3, 10]", "4 values"]);
    refused(a, b, new().pre(0..5), &["'a[0:5]'", "2 dimensions"]);
    refused(x, a, new().solver(Solver::default()), &["'x->a'", "'x' is none"]);
    refused(array, a, new().function(|x: &[f64]| x.to_vec()), &["'array->a'", "add_output"]);
    refused(a, x, new(), &["'x'", "takes no input"]);
    let full = || new().solver(Solver::default().weights());
    refused(a, array, full(), &["'a->array'", "'array' is an array"]);
    assert!(
        problem(net.add_output(a, "o", Decoding::new().solver(full().decoding.solver.unwrap())))
            .contains("'a.o'")
    );
    let out = net.node("out", Node::Passthrough(2)).unwrap();
    assert!(problem(net.connect(a, out, full())).contains("'out' is no ensemble"));
    assert!(problem(net.neurons_of(out)).contains("'out'"));
    assert!(problem(net.output_of(out)).contains("no ensemble"));
}

#[test]
fn what_cannot_be_solved_is_told_with_connection_and_ensemble() {
    let refused = |ensemble: Ensemble, connection: Connection, parts: &[&str]| {
        let mut net = Network::new(0);
        let a = net.ensemble("a", ensemble).unwrap();
        let out = net.node("out", Node::Passthrough(1)).unwrap();
        net.connect(a, out, connection.named("c")).unwrap();
        let text = problem(Simulator::new(&net, &Device::cpu()));
        assert!(text.contains("'c'") && parts.iter().all(|p| text.contains(p)), "{text}");
    };
    let new = Connection::new;
    let late =
        Ensemble::new(5, 1).intercepts(Distribution::Uniform(0.9, 0.95)).encoders(Array2::ones((5, 1)));
    let points = Distribution::Uniform(-1.0, 0.5);
    refused(late.clone().eval_points(points), new(), &["'a' are silent", "intercepts lie between 0.9"]);
    let low =
        Ensemble::new(5, 1).gain_bias(Distribution::Uniform(1.0, 1.0), Distribution::Uniform(-9.0, -8.0));
    refused(low, new(), &["'a' are silent", "gains lie between 1.000", "biases between -"]);
    // Neurons that are all alike have one answer too few to tell their decoders.
    let alike = || {
        Ensemble::new(5, 1)
            .encoders(Array2::ones((5, 1)))
            .gain_bias(Distribution::Uniform(1.0, 1.0), Distribution::Uniform(2.0, 2.0))
    };
    refused(alike(), new().solver(Method::LstsqL2 { reg: 0.0 }), &["singular", "raise the reg"]);
    let size = |x: &[f64]| vec![0.0; if x[0] > 0.5 { 2 } else { 1 }];
    refused(Ensemble::new(5, 1), new().function(size), &["2 values", "1 values"]);
    let panics = |x: &[f64]| if x[0] > 0.5 { panic!("too large") } else { x.to_vec() };
    refused(Ensemble::new(5, 1), new().function(panics), &["too large"]);
    refused(
        Ensemble::new(5, 1),
        new().function(|x: &[f64]| vec![1.0 / (x[0] - x[0])]),
        &["its function is inf at [", "must be finite"],
    );
    refused(Ensemble::new(5, 1), new().eval_points(Array2::ones((5, 2))), &["2 dimensions"]);
    let leaky = Ensemble::new(5, 1)
        .neuron_type(NeuronType::Leaky(Default::default()))
        .gain_bias(Distribution::Uniform(1.0, 2.0), Distribution::Uniform(0.0, 1.0));
    refused(leaky, new(), &["leaky neurons of 'a'", "give the weights themselves"]);
}

/// Each type with a rate and an intercept that Nengo refuses, and what it says of them.
#[test]
fn gains_that_are_not_positive_and_finite_are_refused_for_every_type_of_neuron() {
    let rates = || NeuronType::from(LifRate::default());
    let sigmoid = || NeuronType::from(Sigmoid::default());
    let above = "take max rates above 200 Hz";
    let cases: Vec<(NeuronType, f64, f64, &str)> = vec![
        (sigmoid(), 125.0, 0.5, above),
        (sigmoid(), 200.0, 0.5, above),
        (NeuronType::regular_spiking(sigmoid()), 125.0, 0.5, above),
        (NeuronType::stochastic_spiking(sigmoid()), 125.0, 0.5, above),
        (NeuronType::poisson_spiking(sigmoid()), 125.0, 0.5, above),
        (sigmoid(), 400.0, 0.5, "sigmoid neurons stay below 400 Hz"),
        (Tanh::default().into(), 400.0, 0.5, "tanh neurons stay below 400 Hz"),
        (NeuronType::lif(), 500.0, 0.5, "LIF neurons stay below 500 Hz"),
        (rates(), 600.0, 0.5, "LIF rate neurons stay below 500 Hz"),
        (SoftLifRate::default().into(), 500.0, 0.5, "soft LIF rate neurons stay below 500 Hz"),
        (AdaptiveLif::default().into(), 500.0, 0.5, "adaptive LIF neurons stay below 500 Hz"),
        (AdaptiveLifRate::default().into(), 500.0, 0.5, "adaptive LIF rate neurons stay below 500 Hz"),
        (NeuronType::regular_spiking(rates()), 500.0, 0.5, "stay below 500 Hz"),
        (Izhikevich::default().into(), 5000.0, 0.5, "do not reach a max rate of 5000 Hz"),
        (RectifiedLinear::default().into(), 1e39, 0.5, "finite in 32 bits"),
        (NeuronType::SpikingRectifiedLinear(RectifiedLinear::default()), 1e39, 0.5, "finite in 32 bits"),
        (NeuronType::LeakyRelu(LeakyRelu::default()), 1e39, 0.5, "finite in 32 bits"),
        (NeuronType::SpikingLeakyRelu(LeakyRelu::default()), 1e39, 0.5, "finite in 32 bits"),
        (NeuronType::lif(), 0.0, 0.5, "above 0"),
        (NeuronType::lif(), 200.0, 1.0, "an intercept is 1"),
        (rates(), 200.0, 1.2, "an intercept is 1.2"),
        (Tanh::default().into(), -10.0, 0.5, "above 0"),
    ];
    for (neuron_type, rate, at, part) in cases {
        let one = |x: f64| Array2::from_elem((3, 1), x);
        let mut net = Network::new(0);
        let a = Ensemble::new(3, 1).neuron_type(neuron_type.clone()).max_rates(one(rate)).intercepts(one(at));
        let text = problem(net.ensemble("a", a));
        assert!(text.contains("ensemble 'a'") && text.contains(part), "{neuron_type:?}: {text}");
        if rate > 1e38 {
            continue; // no number of 32 bits
        }
        let (rate, at) = (Init::Constant(rate as f32), Init::Constant(at as f32));
        let text = problem(net.neurons("n", Neurons::new(3, neuron_type.clone()).rates(rate, at)));
        let part = part.trim_end_matches("1.2");
        assert!(text.contains("neurons 'n'") && text.contains(part), "{neuron_type:?}: {text}");
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
    let of = |memory, points| {
        let mut net = Network::new(0);
        net.config.memory = Some(memory);
        let a = net.ensemble("large", Ensemble::new(2000, 1).n_eval_points(points)).unwrap();
        net.probe("p", a).unwrap();
        net.solve()
    };
    let text = problem(of(20_000_000, 4000));
    let parts = ["'large' with 2000 neurons at 4000 points", "20000000", "n-eval-points"];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    let fits: usize = text.split("at most ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(fits > 100 && of(20_000_000, fits).is_ok(), "{text}");
    assert!(of(20_000_000, fits + 1).is_err());
}

#[test]
fn an_ensemble_that_feeds_itself_at_once_is_a_cycle_under_its_own_name() {
    let mut net = Network::new(0);
    let a = net.ensemble("a", Ensemble::new(10, 1)).unwrap();
    net.connect(a, a, Connection::new()).unwrap();
    let text = problem(Simulator::new(&net, &Device::cpu()));
    assert!(text.contains("cycle a -> a has no delay"), "{text}");
}

#[test]
fn names_that_are_taken_are_told_for_every_kind() {
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
    let refused =
        |text: String, name: &str| assert!(text.contains(name) && text.contains("unique"), "{text}");
    refused(problem(net.ensemble("a", Ensemble::new(10, 1))), "'a'");
    // The neurons of an ensemble have a name too.
    refused(problem(net.node("a.neurons", Node::Passthrough(1))), "'a.neurons'");
    refused(problem(net.add_output(a, "out", Decoding::new())), "'a.out'");
    refused(problem(net.connect(b, a, Connection::new().named("c"))), "'c'");
    refused(problem(net.probe("p", a)), "'p'");
    refused(problem(Product::new(5, 1).add(&mut net, "product")), "'product.input_a'");
    assert_eq!(counts(&net), before);
    let twice = "ensemble = [{ name = \"a\", n-neurons = 5 }, { name = \"a\", n-neurons = 5 }]";
    refused(problem(NetworkSpec::parse(twice, "net.toml").and_then(|spec| spec.build())), "'a'");
}

#[test]
fn rules_that_do_not_fit_a_connection_of_ensembles_are_refused() {
    let mut net = Network::new(0);
    let [a, b] = ["a", "b"].map(|name| net.ensemble(name, Ensemble::new(10, 1)).unwrap());
    let array = net.ensemble("array", Ensemble::array(10, 2)).unwrap();
    let neurons = net.neurons_of(array).unwrap();
    let own = net.neurons_of(a).unwrap();
    let before = (net.parameters().len(), net.connection_ids().count());
    let mut no = |pre, post, spec: Connection, rule: LearningRule, says: &str| {
        let text = problem(net.connect(pre, post, spec.named("c").learning_rule(rule)));
        assert!(text.contains(says) && text.contains("connection 'c'"), "{text}");
    };
    let dense = || Connection::new().transform(Transform::Dense(Init::Zeros));
    no(own, neurons, dense(), LearningRule::pes(), "'array.neurons' are an array's");
    no(a, array, dense(), LearningRule::voja(), "'array' is neither an ensemble nor a passthrough node");
    no(
        a,
        b,
        Connection::new(),
        LearningRule::bcm(),
        "for connections from neurons to neurons, which 'b' is not",
    );
    no(
        a,
        b,
        Connection::new(),
        LearningRule::oja(),
        "for connections from neurons to neurons, which 'b' is not",
    );
    let text = "[[ensemble]]\nname = \"a\"\nn-neurons = 5\n[[connection]]\npre = \"a\"\npost = \"a\"\nsynapse = 0.1\n\
                learning-rule = \"hebb\"";
    let unknown = problem(NetworkSpec::parse(text, "net.toml"));
    assert!(
        unknown.contains("net.toml:8") && unknown.contains("hebb") && unknown.contains("voja"),
        "{unknown}"
    );
    assert_eq!((net.parameters().len(), net.connection_ids().count()), before);
}
