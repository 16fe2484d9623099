//! Learning rules: what changes, when, and for whom. `networks.rs` compares them with Nengo's.

use std::sync::Arc;

use crate::common::{Case, check, devices, dims, problem};
use ndarray::linalg::Dot;
use ndarray::{Array1, Array2, Array3, Axis, s};
use nengo_wgpu::graph::{State, Tensor, Type};
use nengo_wgpu::network::{
    Connection, ConnectionId, Distribution, Ensemble, Init, LearningRule, Network, Neurons, Node, ObjectId,
    Synapse, Target, Transform,
};
use nengo_wgpu::neuron::RectifiedLinear;
use nengo_wgpu::op::{Delay, Learn};
use nengo_wgpu::solve::Solver;
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Fit, Options, Simulator};

fn dense(init: Init) -> Connection {
    Connection::new().transform(Transform::Dense(init))
}

/// Random signals and weights of 3 × 37 through the operator.
fn learn<'s>(c: &'s Case, decays: bool, based: bool) -> Tensor<'s> {
    let (rows, cols) = (3, 37);
    let signal = |cols: usize| c.feed(Type::sequence(cols));
    let mut inputs = vec![signal(cols), signal(rows), signal(cols)];
    inputs.extend(decays.then(|| signal(rows).square().scale(0.5)));
    inputs.extend(based.then(|| c.parameter(rows, cols)));
    let start = crate::common::uniform(5, rows * cols, -1.0, 1.0);
    c.scope.apply(Learn { rows, cols, decays, based, change: [State { name: "change", start }] }, &inputs)
}

#[test]
fn products_with_changing_weights_are_those_of_the_reference() {
    for (decays, based) in [(false, false), (false, true), (true, false), (true, true)] {
        let what = format!("decays: {decays}, based: {based}");
        check(&what, dims(3, 5), 1e-5, |c| vec![learn(c, decays, based)]);
        check(&format!("{what}, with history"), dims(2, 4), 1e-5, |c| {
            let y = learn(c, decays, based);
            vec![y, y.state(0, true), y.state(0, false)]
        });
    }
}

#[test]
fn weights_may_depend_on_what_they_gave_before() {
    for history in [false, true] {
        check(&format!("a loop, history: {history}"), dims(2, 6), 1e-5, |c| {
            let (rows, cols) = (3, 37);
            let late = c.scope.open(Arc::new(Delay { backward: false }), Type::sequence(rows));
            let inputs = [c.feed(Type::sequence(cols)), late, c.feed(Type::sequence(cols))];
            let change = [State::at("change", 0.1)];
            let y = c.scope.apply(Learn { rows, cols, decays: false, based: false, change }, &inputs);
            c.scope.close(late, y.scale(0.1));
            if history { vec![y, y.state(0, true)] } else { vec![y] }
        });
    }
}

#[test]
fn a_sum_of_columns_in_a_loop_stays_in_its_row() {
    check("a loop", dims(1, 5), 1e-5, |c| {
        let late = c.scope.open(Arc::new(Delay { backward: false }), Type::sequence(1));
        let sum = (c.feed(Type::sequence(7)) + late).sum_cols();
        c.scope.close(late, sum.scale(0.1));
        vec![sum]
    });
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

fn waves(examples: usize, steps: usize) -> Data {
    waves_from(0, examples, steps)
}

fn sim(net: &Network, device: &nengo_wgpu::Device, minibatch: usize) -> Simulator {
    Simulator::with(net, device, Options { minibatch, ..Options::default() }).unwrap()
}

fn probe(sim: &Simulator, name: &str) -> Array3<f32> {
    sim.data(sim.network().find_probe(name).unwrap()).unwrap()
}

/// The root of the mean square.
fn rms<'a>(values: impl IntoIterator<Item = &'a f32>) -> f64 {
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
fn what_a_step_brings_is_what_the_weights_grow_by_in_the_next() {
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
fn the_change_of_a_rule_that_forgets_is_what_the_weights_change_by() {
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

/// Between ensembles of 12 and 9 neurons, from one dimension to one, over 50 steps.
#[test]
fn full_weights_between_ensembles_change_as_in_nengo() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../golden/learning_full_weights.json")).unwrap();
    let rules = [
        ("BCM", LearningRule::bcm().rate(1e-7)),
        ("Oja", LearningRule::oja().rate(1e-6)),
        ("PES", LearningRule::pes().rate(1e-3)),
    ];
    for (name, rule) in rules {
        let numbers = |of: &serde_json::Value| -> Vec<f64> { serde_json::from_value(of.clone()).unwrap() };
        let golden = &golden[name];
        let mut net = Network::new(0);
        let mut ensemble = |name: &str, n: usize| {
            let part =
                |key: &str, cols| Array2::from_shape_vec((n, cols), numbers(&golden[name][key])).unwrap();
            let samples = |key| Distribution::Samples(part(key, 1));
            let neurons = Ensemble::new(n, 2).neuron_type(RectifiedLinear { amplitude: 1.0 });
            let tuned = neurons.gain_bias(samples("gain"), samples("bias"));
            net.ensemble(name, tuned.encoders(part("encoders", 2))).unwrap()
        };
        let (pre, post) = (ensemble("pre", 12), ensemble("post", 9));
        let x = net.node("x", Node::Constant(vec![0.6, -0.3])).unwrap();
        net.connect(x, pre, Connection::new().synapse(0.005)).unwrap();
        let first = Init::Values(numbers(&golden["first"]).into_iter().map(|x| x as f32).collect());
        let full = Connection::new().pre(1).post(0).solver(Solver::default().weights()).weights(first);
        let learns = net.connect(pre, post, full.synapse(0.005).learning_rule(rule)).unwrap();
        if name == "PES" {
            let error = net.node("error", Node::Constant(vec![0.7])).unwrap();
            let to = net.learning_rule_of(learns).unwrap();
            net.connect(error, to, Connection::new().synapse(0.005)).unwrap();
        }
        net.add_probe("w", Target::Rule(learns, "weights".into())).unwrap();
        for device in devices() {
            let mut sim = sim(&net, device, 1);
            sim.run_steps(50, &Data::new()).unwrap();
            let got = probe(&sim, "w");
            for (nengo, ours) in numbers(&golden["last"]).iter().zip(got.slice(s![0, 49, ..])) {
                assert!((nengo - f64::from(*ours)).abs() < 2e-6, "{name} on {device}: {ours} for {nengo}");
            }
        }
    }
}

#[test]
fn what_nengo_calls_inv_gamma_and_scaled_encoders_can_be_probed() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(2)).unwrap();
    let a = net.ensemble("a", Ensemble::new(7, 2)).unwrap();
    let y = net.node("y", Node::Passthrough(1)).unwrap();
    let rls = LearningRule::rls().rate(0.1);
    let rls = net.connect(a, y, Connection::new().pre(0).learning_rule(rls)).unwrap();
    let voja = net.connect(x, a, Connection::new().learning_rule(LearningRule::voja())).unwrap();
    for (rule, signal) in
        [(rls, "inv_gamma"), (rls, "pre_filtered"), (voja, "encoders"), (voja, "scaled_encoders")]
    {
        net.add_probe(signal, Target::Rule(rule, signal.into())).unwrap();
    }
    for device in devices() {
        let mut sim = sim(&net, device, 1);
        sim.run_steps(40, &waves(1, 40)).unwrap();
        assert_eq!(probe(&sim, "encoders"), probe(&sim, "scaled_encoders"));
        let (p, a) = (probe(&sim, "inv_gamma"), probe(&sim, "pre_filtered"));
        // P -= P a (P a)' / (1 + a' P a), with the activities of the step before.
        let mut want = Array2::<f64>::eye(7) * (0.1 * 0.001 / 7.0);
        for t in 0..40 {
            if t > 0 {
                let a = a.slice(s![0, t - 1, ..]).mapv(f64::from);
                let product = Dot::dot(&want, &a);
                let share = 1.0 / (1.0 + (&a * &product).sum());
                for (i, j) in (0..49).map(|e| (e / 7, e % 7)) {
                    want[[i, j]] -= product[i] * product[j] * share;
                }
            }
            let off = rms(&(&p.slice(s![0, t, ..]) - &Array1::from_iter(want.iter().map(|x| *x as f32))));
            assert!(off < 1e-9, "{device}, step {t}: {off}");
        }
        assert!(want[[0, 0]] < 0.9 * 0.1 * 0.001 / 7.0, "it learns");
    }
}

#[test]
fn weights_are_read_and_adopted_example_by_example() {
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
        assert!(problem(sim.adopt_weights("decoders", 2)).contains("the minibatch has 2"));
        assert!(
            problem(sim.learned_weights("encoders"))
                .contains("connection 'encoders': it has no learning rule")
        );
    }
}

#[test]
fn a_network_learns_where_nobody_looks() {
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
fn what_a_rule_changes_is_not_trained_and_lets_no_gradient_through() {
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
                let text = problem(result);
                assert!(
                    text.contains("the learning rule of 'w'") && text.contains("cannot be trained"),
                    "{text}"
                );
            } else {
                result.unwrap();
                let start = Simulator::new(&net, device).unwrap().parameter("w/weights").unwrap();
                assert_eq!(start, sim.parameter("w/weights").unwrap());
            }
        }
    }
}

#[test]
fn rules_that_do_not_fit_are_refused() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(2)).unwrap();
    let node = net.node("node", Node::Passthrough(2)).unwrap();
    let neurons = |n| Neurons::new(n, RectifiedLinear { amplitude: 1.0 });
    let [a, b] = ["a", "b"].map(|name| net.neurons(name, neurons(4)).unwrap());
    let mut no = |pre: ObjectId, post: ObjectId, spec: Connection, rule, says: &str| {
        let parameters = net.parameters().len();
        let text = problem(net.connect(pre, post, spec.named("c").learning_rule(rule)));
        assert!(text.contains(says) && text.contains("connection 'c'"), "{text}");
        assert_eq!(parameters, net.parameters().len(), "nothing is left behind");
        assert!(net.find_connection("c").is_err());
    };
    let weights = || dense(Init::Zeros);
    no(
        x,
        node,
        weights(),
        LearningRule::pes(),
        "PES needs activities, but 'x' is neither an ensemble, neurons nor a layer",
    );
    no(a, b, Connection::new(), LearningRule::oja(), "needs a dense transform");
    no(a, node, weights(), LearningRule::bcm(), "neurons to neurons, which 'node' is not");
    no(a, b, weights(), LearningRule::pes(), "'b' has no connections that encode");
    no(a, b, weights(), LearningRule::rls(), "RLS changes decoders, but 'b' is neurons");
    no(a, b, weights(), LearningRule::voja(), "'b' is neither an ensemble nor a passthrough node");
    no(a, node, weights(), LearningRule::voja(), "'node' has no connections that encode");
    no(a, node, weights(), LearningRule::pes().rate(-1.0), "its learning-rate is -1, but must be at least 0");
    no(a, node, weights(), LearningRule::pes().rate(f64::NAN), "its learning-rate is NaN");
    let slow = LearningRule::Rls { learning_rate: 1.0, pre_synapse: Some(Synapse::Lowpass(-0.1)) };
    no(a, node, weights(), slow, "-0.1");
    let oja = LearningRule::Oja { learning_rate: 1.0, pre_synapse: None, post_synapse: None, beta: -1.0 };
    no(a, b, weights(), oja, "its beta is -1, but must be at least 0");

    net.connect(node, b, weights().named("encoders")).unwrap();
    let voja = |scale| LearningRule::Voja { learning_rate: 0.1, post_synapse: None, scale };
    let three = voja(Init::Values(vec![1.0; 3]));
    let text = problem(net.connect(a, node, weights().named("c").learning_rule(three)));
    assert!(text.contains("c/scale"), "{text}");
    net.connect(a, node, weights().named("first").learning_rule(voja(Init::Constant(1.0)))).unwrap();
    let second = weights().named("second").learning_rule(voja(Init::Constant(1.0)));
    assert!(
        problem(net.connect(a, node, second))
            .contains("another rule changes the weights of 'encoders' already")
    );

    let pes = net.connect(a, node, weights().named("pes").learning_rule(LearningRule::pes())).unwrap();
    let oja = net.connect(a, b, weights().named("oja").learning_rule(LearningRule::oja())).unwrap();
    let error = net.learning_rule_of(pes).unwrap();
    assert_eq!(net.name(error), "pes/learning-rule");
    let three = net.node("three", Node::Input(3)).unwrap();
    let text = problem(net.connect(three, error, Connection::new()));
    assert!(text.contains("'pes/learning-rule'") && text.contains("is 3") && text.contains("is 2"), "{text}");
    assert!(problem(net.learning_rule_of(oja)).contains("Oja takes no error or learning signal"));
    let plain = net.find_connection("encoders").unwrap();
    assert!(problem(net.learning_rule_of(plain)).contains("connection 'encoders': it has no learning rule"));
    let text = problem(net.add_probe("p", Target::Rule(pes, "theta".into())));
    assert!(text.contains("theta") && text.contains("error, activities, delta, weights"), "{text}");
}

#[test]
fn an_error_that_nobody_brings_is_zero() {
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
    assert!(problem(parse(&wrong)).contains("no key 'rate' here"));
    let wrong = text.replace("{ pes =", "{ hebb =");
    assert!(problem(parse(&wrong)).contains("no kind 'hebb' here"));
    let wrong = text.replace("signal = \"weights\"", "");
    assert!(problem(parse(&wrong)).contains("a connection and a signal of its learning rule go together"));
}
