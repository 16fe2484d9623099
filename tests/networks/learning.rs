//! Learning rules: the weights they change, step by step and example by example. `networks.rs` compares them with Nengo's.

use crate::common::devices;
use crate::common::messages::Messages;
use ndarray::{Array2, Array3, Axis, s};
use nengo_wgpu::internals::neuron::RectifiedLinear;
use nengo_wgpu::network::{
    Connection, ConnectionId, Init, LearningRule, Network, Neurons, Node, Synapse, Target, Transform,
};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Fit, Options, Simulator};

pub(super) fn dense(init: Init) -> Connection {
    Connection::new().transform(Transform::Dense(init))
}

/// `x` (2) → 40 rectified linear neurons → `y` (2), which learns from nothing to give `factor` times `x`.
fn channel(factor: f32) -> (Network, ConnectionId) {
    let mut net = Network::new(1);
    let x = net.node("x", Node::Input(2)).unwrap();
    let pre = net.neurons("pre", Neurons::new(40, RectifiedLinear { amplitude: 1.0 }).frozen()).unwrap();
    let y = net.node("y", Node::Passthrough(2)).unwrap();
    net.connect(x, pre, dense(Init::Uniform(-1.0, 1.0)).named("encoders").frozen()).unwrap();
    let rule = LearningRule::pes().rate(1e-3);
    let decoders = dense(Init::Zeros).named("decoders").synapse(Synapse::Lowpass(0.005)).learning_rule(rule);
    let decoders = net.connect(pre, y, decoders).unwrap();
    let error = net.learning_rule_of(decoders).unwrap();
    net.connect(y, error, Connection::new()).unwrap();
    let wanted = Connection::new().transform(Transform::Scalar(-factor));
    net.connect(x, error, wanted).unwrap();
    for signal in ["error", "activities", "delta", "weights"] {
        net.add_probe(signal, Target::Rule(decoders, signal.into())).unwrap();
    }
    net.probe("y", y).unwrap();
    (net, decoders)
}

/// Slow waves, other ones for each example, from a step on.
fn waves_from(start: usize, examples: usize, steps: usize) -> Data {
    let wave = |(b, t, i): (usize, usize, usize)| {
        let f = 0.01 * (1 + b) as f32 * (1.0 + 0.7 * i as f32);
        (f * (start + t) as f32 + 0.3 * b as f32).sin() * 0.8
    };
    Data::new().with("x", Array3::from_shape_fn((examples, steps, 2), wave))
}

pub(super) fn waves(examples: usize, steps: usize) -> Data {
    waves_from(0, examples, steps)
}

pub(super) fn sim(net: &Network, device: &nengo_wgpu::Device, minibatch: usize) -> Simulator {
    Simulator::with(net, device, Options { minibatch, ..Options::default() }).unwrap()
}

pub(super) fn probe(sim: &Simulator, name: &str) -> Array3<f32> {
    sim.data(sim.network().find_probe(name).unwrap()).unwrap()
}

/// The root of the mean square.
pub(super) fn rms<'a>(values: impl IntoIterator<Item = &'a f32>) -> f64 {
    let (mut sum, mut n) = (0.0, 0);
    values.into_iter().for_each(|x| (sum, n) = (sum + f64::from(*x).powi(2), n + 1));
    (sum / f64::from(n)).sqrt()
}

#[test]
fn pes_drives_the_error_of_a_channel_towards_zero() {
    let (net, _) = channel(1.0);
    for device in devices() {
        let mut sim = sim(&net, device, 1);
        sim.run_steps(3000, &waves(1, 3000)).unwrap();
        let error = probe(&sim, "error");
        let (first, last) = (rms(error.slice(s![.., ..300, ..])), rms(error.slice(s![.., 2700.., ..])));
        // Before anything is learned, the error is the signal: 0.8 times a sine.
        assert!(first < 0.6 && last < 0.15 * 0.8 / 2.0_f64.sqrt(), "{device}: from {first} to {last}");
        assert!(last < 0.25 * first, "{device}: from {first} to {last}");
    }
}

#[test]
fn windows_of_any_length_and_a_second_run_give_the_same_bits() {
    let (net, _) = channel(1.0);
    for device in devices() {
        let run = |limit: Option<usize>, parts: &[usize]| {
            let mut sim = sim(&net, device, 2);
            sim.limit_windows(limit).unwrap();
            let mut done = 0;
            for &steps in parts {
                sim.run_steps(steps, &waves_from(done, 2, steps)).unwrap();
                done += steps;
            }
            ["y", "error", "weights"].map(|p| probe(&sim, p))
        };
        let whole = run(None, &[60]);
        assert!(whole[2].iter().any(|w| *w != 0.0), "it learns");
        assert_eq!(whole, run(None, &[60]), "again");
        assert_eq!(whole, run(Some(7), &[60]), "windows of 7 steps");
        assert_eq!(whole, run(None, &[13, 47]), "two runs");
    }
}

#[test]
fn examples_learn_apart() {
    let (net, _) = channel(1.0);
    for device in devices() {
        let mut both = sim(&net, device, 2);
        both.run_steps(50, &waves(2, 50)).unwrap();
        let mut alone = sim(&net, device, 1);
        alone.run_steps(50, &waves(1, 50)).unwrap();
        let (both, alone) = (probe(&both, "weights"), probe(&alone, "weights"));
        let first = both.slice(s![..1, .., ..]);
        let off = rms(&(&first - &alone));
        assert!(
            off < 1e-6 * rms(&alone),
            "{device}: the first example learns as if it were alone, off by {off}"
        );
        let other = both.slice(s![1.., .., ..]);
        assert!(rms(&(&other - &alone)) > 0.1 * rms(&alone), "{device}: the second learns something else");
    }
}

#[test]
fn the_delta_of_a_step_is_added_to_the_weights_of_the_next() {
    let (net, _) = channel(1.0);
    for device in devices() {
        let mut sim = sim(&net, device, 1);
        sim.run_steps(40, &waves(1, 40)).unwrap();
        let [weights, delta, error, activities] =
            ["weights", "delta", "error", "activities"].map(|p| probe(&sim, p));
        assert!(weights.slice(s![0, 0, ..]).iter().all(|w| *w == 0.0), "the first step uses the parameter");
        for t in 0..39 {
            let row = |x: &Array3<f32>, t: usize| x.slice(s![0, t, ..]).to_owned();
            let grown = row(&weights, t + 1) - row(&weights, t);
            let off = rms(&(&grown - &row(&delta, t)));
            assert!(off <= 1e-6 * rms(&row(&weights, t + 1)) + 1e-12, "{device}, step {t}: off by {off}");
            let (e, a) = (row(&error, t), row(&activities, t));
            let by_hand = Array2::from_shape_fn((2, 40), |(i, j)| -1e-3 * 1e-3 / 40.0 * e[i] * a[j]);
            let off = rms(&(&by_hand.flatten() - &row(&delta, t)));
            assert!(off <= 1e-6 * rms(&by_hand) + 1e-15, "{device}, step {t}: off by {off}");
        }
    }
}

/// Eight neurons that excite six, with this rule between them.
fn pair(rule: LearningRule) -> (Network, ConnectionId) {
    let mut net = Network::new(2);
    let x = net.node("x", Node::Input(2)).unwrap();
    let neurons = |n| Neurons::new(n, RectifiedLinear { amplitude: 1.0 }).frozen();
    let [pre, post] = [("pre", 8), ("post", 6)].map(|(name, n)| net.neurons(name, neurons(n)).unwrap());
    net.connect(x, pre, dense(Init::Uniform(-1.0, 1.0)).frozen()).unwrap();
    let weights = dense(Init::Uniform(0.0, 1e-3)).named("w").synapse(Synapse::Lowpass(0.005));
    let w = net.connect(pre, post, weights.learning_rule(rule)).unwrap();
    (net, w)
}

#[test]
fn the_delta_of_oja_and_bcm_is_the_change_of_the_weights() {
    for rule in [LearningRule::oja().rate(1e-6), LearningRule::bcm().rate(1e-9)] {
        let (mut net, w) = pair(rule.clone());
        for signal in rule.signals() {
            net.add_probe(signal, Target::Rule(w, signal.to_string())).unwrap();
        }
        for device in devices() {
            let mut sim = sim(&net, device, 1);
            sim.run_steps(30, &waves(1, 30)).unwrap();
            let (weights, delta) = (probe(&sim, "weights"), probe(&sim, "delta"));
            let grown = &weights.slice(s![.., 1.., ..]) - &weights.slice(s![.., ..-1, ..]);
            let off = rms(&(&grown - &delta.slice(s![.., ..-1, ..])));
            assert!(rms(&grown) > 0.0, "{} learns", rule.name());
            assert!(off < 1e-6 * rms(&weights), "{} on {device}: off by {off}", rule.name());
        }
    }
}

#[test]
fn weights_are_read_and_adopted_example_by_example() {
    let said = Messages::of("weights are read and adopted example by example");
    let (net, _) = channel(1.0);
    for device in devices() {
        let mut sim = sim(&net, device, 2);
        assert_eq!(
            sim.learned_weights("decoders").unwrap(),
            Array3::<f32>::zeros((2, 2, 40)),
            "nothing is learned yet"
        );
        sim.run_steps(40, &waves(2, 40)).unwrap();
        let learned = sim.learned_weights("decoders").unwrap();
        let last = probe(&sim, "weights").slice(s![.., 39, ..]).to_owned();
        assert_eq!(learned.flatten(), last.flatten(), "{device}: what the last step used");
        assert!(sim.parameter("decoders/weights").unwrap().iter().all(|w| *w == 0.0));
        sim.adopt_weights("decoders", 1).unwrap();
        assert_eq!(sim.parameter("decoders/weights").unwrap(), learned.index_axis(Axis(0), 1));
        let off = rms(&(&sim.learned_weights("decoders").unwrap() - &learned));
        assert!(off < 1e-6 * rms(&learned), "{device}: each example keeps its own, off by {off}");
        sim.soft_reset().unwrap();
        let again = sim.learned_weights("decoders").unwrap();
        assert_eq!(again.index_axis(Axis(0), 0), learned.index_axis(Axis(0), 1), "runs start from there");
        said.error(sim.adopt_weights("decoders", 2));
        said.error(sim.learned_weights("encoders"));
    }
}

#[test]
fn a_rule_without_probes_changes_its_weights() {
    let (mut net, _) = pair(LearningRule::oja());
    net.probe("pre", net.find("pre").unwrap()).unwrap();
    for device in devices() {
        let mut sim = sim(&net, device, 1);
        let before = sim.learned_weights("w").unwrap();
        sim.run_steps(30, &waves(1, 30)).unwrap();
        assert_ne!(before, sim.learned_weights("w").unwrap(), "{device}");
    }
}

#[test]
fn weights_of_learning_rules_are_not_trained_and_pass_no_gradient() {
    let said = Messages::of("weights of learning rules are not trained and pass no gradient");
    // Behind the learned weights all is trained as usual, before them nothing can be.
    for (before, after) in [(false, true), (true, false)] {
        let (mut net, _) = pair(LearningRule::oja());
        let post = net.find("post").unwrap();
        let out = net.node("out", Node::Passthrough(1)).unwrap();
        let train = |yes: bool, c: Connection| if yes { c } else { c.frozen() };
        net.connect(post, out, train(after, dense(Init::Uniform(-1e-3, 1e-3)).named("readout"))).unwrap();
        if before {
            let x = net.find("x").unwrap();
            let more = dense(Init::Uniform(-0.1, 0.1)).named("more");
            net.connect(x, net.find("pre").unwrap(), more).unwrap();
        }
        net.probe("p", out).unwrap();
        for device in devices() {
            let mut sim = sim(&net, device, 1);
            sim.compile(Training::new(Objective::new().loss("p", Loss::MeanSquared), 1e-6)).unwrap();
            let targets = Data::new().with("p", Array3::from_elem((1, 20, 1), 1.0));
            let result = sim.fit(&waves(1, 20), &targets, &Fit::epochs(2));
            if before {
                said.error(result);
            } else {
                result.unwrap();
                let start = Simulator::new(&net, device).unwrap().parameter("w/weights").unwrap();
                assert_eq!(start, sim.parameter("w/weights").unwrap());
            }
        }
    }
}

#[test]
fn an_unconnected_error_is_zero() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(2)).unwrap();
    let a = net.neurons("a", Neurons::new(4, RectifiedLinear { amplitude: 1.0 })).unwrap();
    let y = net.node("y", Node::Passthrough(1)).unwrap();
    net.connect(x, a, dense(Init::Uniform(-1.0, 1.0))).unwrap();
    let w = dense(Init::Constant(0.5)).named("w").learning_rule(LearningRule::pes());
    let w = net.connect(a, y, w).unwrap();
    net.add_probe("error", Target::Rule(w, "error".into())).unwrap();
    for device in devices() {
        let mut sim = sim(&net, device, 1);
        sim.run_steps(5, &waves(1, 5)).unwrap();
        assert!(probe(&sim, "error").iter().all(|e| *e == 0.0));
        assert!(sim.learned_weights("w").unwrap().iter().all(|w| *w == 0.5), "{device}");
    }
}

#[test]
fn a_file_describes_learning_as_calls_do() {
    let said = Messages::of("a file describes learning as calls do");
    let text = r#"
        [[node]]
        name = "x"
        size = 2
        [[node]]
        name = "y"
        passthrough = 2
        [[neurons]]
        name = "pre"
        n = 40
        type = "rectified-linear"
        train-bias = false
        [[connection]]
        pre = "y"
        post = "decoders/learning-rule"
        [[connection]]
        pre = "x"
        post = "decoders/learning-rule"
        transform = -1.0
        [[connection]]
        name = "encoders"
        pre = "x"
        post = "pre"
        transform = { dense = { uniform = [-1.0, 1.0] } }
        trainable = false
        [[connection]]
        name = "decoders"
        pre = "pre"
        post = "y"
        synapse = 0.005
        transform = { dense = "zeros" }
        learning-rule = { pes = { learning-rate = 1e-3 } }
        [[probe]]
        name = "weights"
        connection = "decoders"
        signal = "weights"
    "#;
    let parse = |text: &str| NetworkSpec::parse(text, "net.toml").and_then(|spec| spec.build());
    let file = parse(&format!("seed = 1\n{text}")).unwrap();
    let (calls, _) = channel(1.0);
    let run = |net: &Network| {
        let mut sim = sim(net, &devices()[1], 1);
        sim.run_steps(40, &waves(1, 40)).unwrap();
        probe(&sim, "weights")
    };
    assert_eq!(run(&file), run(&calls));
    assert!(run(&file).iter().any(|w| *w != 0.0));

    let rules = [
        (r#""bcm""#, LearningRule::bcm()),
        (r#"{ oja = { beta = 0.5, pre-synapse = 0.01 } }"#, {
            let synapse = Some(Synapse::Lowpass(0.01));
            LearningRule::Oja {
                learning_rate: 1e-6,
                pre_synapse: synapse.clone(),
                post_synapse: synapse,
                beta: 0.5,
            }
        }),
        (r#"{ rls = { pre-synapse = 0 } }"#, LearningRule::Rls { learning_rate: 1e-3, pre_synapse: None }),
        (r#"{ voja = { learning-rate = 0.1, scale = { constant = 2.0 } } }"#, {
            let post_synapse = Some(Synapse::Lowpass(0.005));
            LearningRule::Voja { learning_rate: 0.1, post_synapse, scale: Init::Constant(2.0) }
        }),
    ];
    for (written, meant) in rules {
        let connection = format!("[[connection]]\npre = \"a\"\npost = \"b\"\nlearning-rule = {written}\n");
        let spec = NetworkSpec::parse(&connection, "net.toml").unwrap();
        let rule = spec.connection[0].learning_rule.as_ref().unwrap().build("connection 'c'").unwrap();
        assert_eq!(rule, meant);
    }
    let wrong = text.replace("learning-rate", "rate");
    said.error(parse(&wrong));
    let wrong = text.replace("{ pes =", "{ hebb =");
    said.error(parse(&wrong));
    let wrong = text.replace("signal = \"weights\"", "");
    said.error(parse(&wrong));
}
