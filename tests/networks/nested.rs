//! Networks in networks, and the defaults of their objects, in files and by calls.

use crate::common::messages::Messages;
use nengo_wgpu::internals::neuron::{LifRate, NeuronType, RectifiedLinear};
use nengo_wgpu::internals::solve::Method;
use nengo_wgpu::network::library::Product;
use nengo_wgpu::network::{
    Connection, Decoding, Ensemble, Function, Layer, LearningRule, Network, Node, ProbeSettings, Target,
};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::{Data, Device, Simulator};

const NESTED: &str = r#"
seed = 3

[config]
synapse = 0.01
[config.ensemble]
neuron-type = "lif-rate"
radius = 1.5

[[node]]
name = "x"
constant = [0.5, -0.4]

[[network]]
name = "eye"
[network.config]
synapse = "none"
solver = { method = { lstsq-l2 = { reg = 0.05 } } }
[network.config.ensemble]
radius = 1.2
[network.config.probe]
synapse = 0.02
sample-every = 0.005

[[network.ensemble]]
name = "left"
n-neurons = 40
input = "in"

[[network.node]]
name = "in"
passthrough = 1

[[network.layer]]
name = "x"
input = "left.output"
units = 2

[[network.output]]
of = "left"
name = "square"
function = "x^2"

[[network.connection]]
pre = "left"
post = "deep.both"
name = "out"
function = "x; -x"
learning-rule = "pes"

[[network.connection]]
pre = "in"
post = "left->deep.last/learning-rule"

[[network.connection]]
pre = "left"
post = "deep.last"
learning-rule = "pes"

[[network.probe]]
name = "square"
target = "left.square"

[[network.probe]]
name = "layer"
target = "x"
synapse = "none"

[[network.probe]]
name = "weights"
parameter = "x/weights"

[[network.network]]
name = "deep"
config.ensemble.neuron-type = "rectified-linear"

[[network.network.ensemble]]
name = "both"
n-neurons = 30
dimensions = 2

[[network.network.ensemble]]
name = "last"
n-neurons = 20
radius = 1.0

[[network.network.connection]]
pre = "both[0]"
post = "times.input_a"

[[network.network.connection]]
pre = "left"
post = "times.input_b"
synapse = 0.003

[[network.network.connection]]
pre = "in"
post = "out/learning-rule"
transform = { dense = { values = [1.0, 0.5] } }

[[network.network.network]]
name = "times"
product = { n-neurons = 50, dimensions = 1 }
config.ensemble.radius = 1.1

[[connection]]
pre = "x[0]"
post = "eye.in"

[[probe]]
name = "product"
target = "eye.deep.times.output"

[[probe]]
name = "last"
target = "eye.deep.last"
"#;

/// The same by calls.
fn by_calls() -> nengo_wgpu::Result<Network> {
    let text = |text: &str| Function::parse(text);
    let through = |seconds: f64| Connection::new().synapse(seconds);
    let mut net = Network::new(3);
    net.config.ensemble.neuron_type = Some(LifRate::default().into());
    net.config.ensemble.radius = Some(1.5);
    net.config.connection.synapse = Some(0.01.into());
    let x = net.node("x", Node::Constant(vec![0.5, -0.4]))?;
    let (input, times, last) = net.within("eye", |eye| {
        eye.config.connection.synapse = None;
        eye.config.solver = Method::LstsqL2 { reg: 0.05 }.into();
        eye.config.ensemble.radius = Some(1.2);
        eye.config.probe = ProbeSettings { synapse: Some(0.02.into()), sample_every: Some(0.005) };
        let input = eye.node("in", Node::Passthrough(1))?;
        let left = eye.ensemble("left", Ensemble::new(40, 1))?;
        let (both, last, times) = eye.within("deep", |deep| {
            deep.config.ensemble.neuron_type = Some(RectifiedLinear::default().into());
            let both = deep.ensemble("both", Ensemble::new(30, 2))?;
            let last = deep.ensemble("last", Ensemble::new(20, 1).radius(1.0))?;
            // Probes read it; it is decoded with the solver of the network that it is in.
            deep.output_of(last)?;
            let radius = deep.config.ensemble.radius.replace(1.1);
            let times = Product::new(50, 1).add(deep, "times")?;
            deep.config.ensemble.radius = radius;
            Ok((both, last, times))
        })?;
        let square = eye.add_output(left, "square", Decoding::of(text("x^2")?))?;
        let decoded = eye.output_of(left)?;
        let layer = eye.layer("x", Layer::dense(2), decoded)?;
        eye.connect(input, left, Connection::new())?;
        eye.connect(both, times.input_a, Connection::new().pre(0))?;
        eye.connect(left, times.input_b, through(0.003))?;
        let learned = || Connection::new().learning_rule(LearningRule::pes());
        let out = eye.connect(left, both, learned().named("out").function(text("x; -x")?))?;
        let to_last = eye.connect(left, last, learned())?;
        let spread = nengo_wgpu::network::Transform::Dense(nengo_wgpu::network::Init::Values(vec![1.0, 0.5]));
        eye.connect(input, eye.learning_rule_of(out)?, Connection::new().transform(spread))?;
        eye.connect(input, eye.learning_rule_of(to_last)?, Connection::new())?;
        eye.probe("square", square)?;
        eye.probe_every("layer", Target::Output(layer, None), 0.005)?;
        eye.add_probe("weights", Target::Parameter("eye.x/weights".into()))?;
        Ok((input, times, last))
    })?;
    net.connect(x, input, through(0.01).pre(0))?;
    net.probe("product", times.output)?;
    net.probe("last", last)?;
    Ok(net)
}

fn build(text: &str) -> nengo_wgpu::Result<Network> {
    NetworkSpec::parse(text, "net.toml")?.build()
}

#[test]
fn networks_in_a_file_are_those_built_by_calls() {
    let (file, calls) = (build(NESTED).unwrap(), by_calls().unwrap());
    let names = |net: &Network| {
        let mut names: Vec<String> = net.parameters().iter().map(|p| p.name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&file), names(&calls));
    let run = |net: &Network| {
        let mut sim = Simulator::new(net, &Device::cpu()).unwrap();
        sim.run_steps(50, &Data::new()).unwrap();
        let probes = ["eye.square", "eye.layer", "eye.weights", "product", "last"];
        probes.map(|p| sim.data(net.find_probe(p).unwrap()).unwrap())
    };
    let (file, calls) = (run(&file), run(&calls));
    assert_eq!(file, calls);
    let steps = |i: usize| file[i].shape()[1];
    assert_eq!([steps(0), steps(1), steps(3)], [10, 10, 50]);
    assert!(file.iter().all(|p| p.iter().any(|x| *x != 0.0)));
}

#[test]
fn a_name_is_of_the_innermost_network_that_has_it() {
    let said = Messages::of("a name is of the innermost network that has it");
    // Both networks and the file have an 'a'; 'b' is of the file alone.
    let net = |pre: &str| {
        let text = format!(
            r#"
            node = [{{ name = "a", constant = [1.0] }}, {{ name = "b", constant = [2.0] }}]
            network = [{{ name = "n", node = [{{ name = "a", constant = [3.0] }}], network = [
                {{ name = "m", node = [{{ name = "c", passthrough = 1 }}], connection = [{{ pre = "{pre}", post = "c" }}] }},
            ] }}]
            probe = [{{ name = "p", target = "n.m.c" }}]
            "#
        );
        let net = build(&text)?;
        let mut sim = Simulator::new(&net, &Device::cpu())?;
        sim.run_steps(1, &Data::new())?;
        Ok::<f32, nengo_wgpu::Error>(sim.data(net.find_probe("p")?)?[[0, 0, 0]])
    };
    assert_eq!(["a", "b", "n.a"].map(|pre| net(pre).unwrap()), [3.0, 2.0, 3.0]);
    said.error(net("d"));
}

#[test]
fn a_connection_is_found_by_the_names_of_its_ends() {
    let text = r#"
        [[network]]
        name = "n"
        [[network.ensemble]]
        name = "a"
        n-neurons = 5
        [[network.node]]
        name = "b"
        passthrough = 2
        [[network.connection]]
        pre = "a.neurons"
        post = "b"
        transform = { dense = "glorot" }
        [[network.connection]]
        pre = "a"
        post = "b"
        function = "x; -x"
        [[network.probe]]
        name = "of neurons"
        parameter = "a.neurons->b/weights"
        [[network.probe]]
        name = "of the value"
        parameter = "a->b/weights"
    "#;
    let net = build(text).unwrap();
    let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
    sim.run_steps(1, &Data::new()).unwrap();
    for (probe, parameter) in
        [("n.of neurons", "n.a.neurons->n.b/weights"), ("n.of the value", "n.a->n.b/weights")]
    {
        let read = sim.data(net.find_probe(probe).unwrap()).unwrap();
        let weights = sim.parameter(parameter).unwrap();
        assert!(read.iter().eq(weights.iter()) && read.len() == 10, "{probe}");
    }
}

#[test]
fn invalid_networks_are_refused_by_their_whole_name() {
    let said = Messages::of("invalid networks are refused by their whole name");
    let problem = |text: &str| build(text).map(drop).unwrap_err().to_string();
    let inside = |network: &str| {
        problem(&format!(
            "[[network]]\nname = \"n\"\nnode = [{{ name = \"a\", constant = [1.0] }}]\n{network}"
        ))
    };
    said.text(inside("[[network.network]]\nname = \"m\""));
    said.text(inside("product = { n-neurons = 10, dimensions = 1 }"));
    said.text(inside("[[network.network]]\nname = \"m/k\""));
    said.text(inside("[[network]]\nname = \"n\"\nnode = [{ name = \"a\", constant = [1.0] }]"));
    said.text(inside("nodes = 3"));
}

#[test]
fn settings_shared_by_networks_are_refused_and_a_solver_may_be_a_name() {
    let said = Messages::of("settings shared by networks are refused and a solver may be a name");
    let problem =
        |text: &str| NetworkSpec::parse(text, "n.toml").and_then(|s| s.build()).err().unwrap().to_string();
    let nested = |name: &str, inside: &str| {
        format!("[[network]]\nname = \"{name}\"\n[[network.node]]\nname = \"{inside}\"\nconstant = [1.0]\n")
    };
    said.text(problem(&(nested("n", "x") + &nested("n", "y"))));
    said.text(problem(&(nested("n", "x") + "[[node]]\nname = \"n\"\nconstant = [1.0]\n")));

    let text = |solver: &str, input: &str| {
        format!(
            "[[network]]\nname = \"n\"\nconfig.solver = {solver}\n\
             [[network.ensemble]]\nname = \"a\"\nn-neurons = 10\n{input}"
        )
    };
    // Also for what `input` connects.
    let layer = "[[network.layer]]\nname = \"b\"\ninput = \"a\"\nunits = 1\n";
    let method = |solver: &str| {
        let net = build(&text(solver, layer)).unwrap();
        let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
        sim.parameter("n.a->n.b/weights").unwrap()
    };
    assert!(method("\"no-solver\"").iter().all(|w| *w == 0.0));
    assert_eq!(method("\"lstsq\""), method("{ method = \"lstsq\" }"));
    assert_ne!(method("\"lstsq\""), method("{ method = { lstsq-l2 = { reg = 0.5 } } }"));
    said.text(problem(&text("\"lstsk\"", layer)));
}

#[test]
fn probes_are_as_the_network_says_that_say_nothing_else() {
    let text = r#"
        config.probe = { synapse = 0.01, sample-every = 0.002 }
        [[node]]
        name = "x"
        constant = [1.0]
        [[ensemble]]
        name = "a"
        n-neurons = 5
        [[probe]]
        name = "as the file says"
        target = "x"
        [[probe]]
        name = "own"
        target = "x"
        synapse = "none"
        sample-every = 0.001
        [[probe]]
        name = "encoders"
        parameter = "a/encoders"
        [[probe]]
        name = "voltage"
        target = "a"
        state = "voltage"
    "#;
    let net = build(text).unwrap();
    let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
    sim.run_steps(20, &Data::new()).unwrap();
    let shape = |name: &str| sim.data(net.find_probe(name).unwrap()).unwrap().shape().to_vec();
    assert_eq!(shape("as the file says"), [1, 10, 1]);
    assert_eq!(shape("own"), [1, 20, 1]);
    assert_eq!(shape("voltage"), [1, 10, 5]);
    let filtered = sim.data(net.find_probe("as the file says").unwrap()).unwrap()[[0, 0, 0]];
    assert!(filtered > 0.0 && filtered < 0.5, "{filtered}");
}

#[test]
fn a_network_by_its_kind_has_a_configuration_of_its_own() {
    let said = Messages::of("a network by its kind has a configuration of its own");
    let with = |config: &str| {
        let text = format!(
            "config.ensemble.neuron-type = \"lif-rate\"\n[[network]]\nname = \"p\"\n{config}\nproduct = \
             {{ n-neurons = 20, dimensions = 1 }}\n[[ensemble]]\nname = \"a\"\nn-neurons = 5\n\
             [[probe]]\nname = \"rates\"\ntarget = \"p.sq1.neurons\"\nstate = \"voltage\""
        );
        build(&text)
    };
    // Rates have no voltage, spiking neurons do; what follows the network is as the file says.
    said.error(with(""));
    let net = with("config.ensemble.neuron-type = \"lif\"").unwrap();
    let encoders = |net: &Network| net.parameters().iter().find(|p| p.name == "a/bias").unwrap().init.clone();
    let mut alone = Network::new(0);
    alone.config.ensemble.neuron_type = Some(NeuronType::from(LifRate::default()));
    alone.ensemble("a", Ensemble::new(5, 1)).unwrap();
    assert_eq!(encoders(&net), encoders(&alone));
}

#[test]
fn the_controlled_oscillator_turns_once_a_second_and_stops() {
    let file = crate::common::root().join("examples/controlled_oscillator.toml");
    let net = NetworkSpec::read(file).unwrap().build().unwrap();
    let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
    sim.run_steps(2300, &Data::new()).unwrap();
    // A row each 10 ms.
    let hand = sim.data(net.find_probe("clock.hand").unwrap()).unwrap();
    assert_eq!(hand.shape(), [1, 230, 3]);
    let x = |row: usize| hand[[0, row, 0]];
    assert!(x(49) < -0.8 && x(98) > 0.8 && x(147) < -0.8, "{} {} {}", x(49), x(98), x(147));
    assert!((x(229) - x(170)).abs() < 0.4, "it stands still: {} and {}", x(170), x(229));
}
