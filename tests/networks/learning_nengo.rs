//! Learning rules against Nengo's weights and signals.

use super::learning::{probe, rms, sim, waves};
use crate::common::devices;
use ndarray::linalg::Dot;
use ndarray::{Array1, Array2, s};
use nengo_wgpu::Data;
use nengo_wgpu::internals::neuron::RectifiedLinear;
use nengo_wgpu::internals::solve::Solver;
use nengo_wgpu::network::{Connection, Distribution, Ensemble, Init, LearningRule, Network, Node, Target};

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
fn inv_gamma_and_scaled_encoders_can_be_probed() {
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
