//! Training from call to call: reproducible, resumable, bounded in memory, and by its settings.

use std::ops::ControlFlow;

use crate::common::devices;
use ndarray::{Array2, Array3, Axis};
use nengo_wgpu::network::{Activation, Connection, Init, Layer, Network, Node, Synapse, Transform};
use nengo_wgpu::train::{
    Clip, Decay, Group, Loss, Metric, Objective, Optimiser, Penalty, Schedule, Select, Training,
};
use nengo_wgpu::{Data, Device, EarlyStopping, Fit, Options, Progress, Simulator};

/// 5 inputs, 7 units with dropout, 3 classes.
fn network(dropout: f32) -> Network {
    let mut net = Network::new(3);
    let x = net.node("x", Node::Input(5)).unwrap();
    let hidden = Layer::dense(7).activation(Activation::Tanh).dropout(dropout);
    let hidden = net.layer("hidden", hidden, x).unwrap();
    let out = net.layer("out", Layer::dense(3), hidden).unwrap();
    net.probe("y", out).unwrap();
    net
}

/// Inputs and class indices of `n` examples.
fn examples(n: usize) -> (Data, Data) {
    let x = Array2::from_shape_vec((n, 5), crate::common::uniform(1, 5 * n, -1.0, 1.0)).unwrap();
    let classes = Array2::from_shape_fn((n, 1), |(i, _)| (i * 5 % 3) as f32);
    (Data::new().with("x", x), Data::new().with("y", classes))
}

fn classify() -> Training {
    let objective = Objective::new().loss("y", Loss::CrossEntropy);
    Training::new(objective, 0.01).optimiser(Optimiser::adam()).metric(Metric::Accuracy("y".into()))
}

fn simulator(net: &Network, device: &Device, minibatch: usize) -> Simulator {
    Simulator::with(net, device, Options { minibatch, ..Options::default() }).unwrap()
}

/// All parameters' bits.
fn bits(sim: &mut Simulator) -> Vec<u32> {
    let names: Vec<String> = sim.network().parameters().iter().map(|p| p.name.clone()).collect();
    names
        .iter()
        .flat_map(|n| sim.parameter(n).unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>())
        .collect()
}

/// A simulator after `epochs` epochs, in calls of `calls` epochs each, on ten examples in minibatches of four.
fn trained(device: &Device, calls: &[u64]) -> Simulator {
    let (x, y) = examples(10);
    let mut sim = simulator(&network(0.3), device, 4);
    sim.compile(classify()).unwrap();
    for &epochs in calls {
        sim.fit(&x, &y, &Fit::epochs(epochs)).unwrap();
    }
    sim
}

#[test]
fn ten_calls_of_one_epoch_are_one_call_of_ten() {
    for device in devices() {
        assert_eq!(bits(&mut trained(device, &[1; 10])), bits(&mut trained(device, &[10])), "{device}");
    }
}

#[test]
fn one_seed_gives_the_same_bits_and_another_seed_others() {
    for device in devices() {
        let first = bits(&mut trained(device, &[4]));
        assert_eq!(first, bits(&mut trained(device, &[4])), "{device}");
        let (x, y) = examples(10);
        let options = Options { minibatch: 4, seed: Some(99), ..Options::default() };
        let mut other = Simulator::with(&network(0.3), device, options).unwrap();
        other.compile(classify()).unwrap();
        other.fit(&x, &y, &Fit::epochs(4)).unwrap();
        assert_ne!(first, bits(&mut other), "{device}");
    }
}

#[test]
fn one_thread_and_several_give_the_same_bits() {
    let one = bits(&mut trained(&Device::cpu().with_threads(1), &[3]));
    assert_eq!(one, bits(&mut trained(&Device::cpu().with_threads(3), &[3])));
}

#[test]
fn a_resumed_training_is_the_uninterrupted_one_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let (x, y) = examples(10);
    for device in devices() {
        for optimiser in [
            Optimiser::adam(),
            Optimiser::momentum(0.9),
            Optimiser::RmsProp {
                rho: 0.9,
                momentum: 0.5,
                epsilon: 1e-8,
                epsilon_at: Default::default(),
                centered: true,
            },
            Optimiser::Adagrad { epsilon: 1e-8, initial_accumulator: 0.1 },
        ] {
            let new = || {
                let mut sim = simulator(&network(0.3), device, 4);
                let schedule = Schedule::constant(0.02).decay(Decay::Exponential { every: 3, factor: 0.7 });
                sim.compile(classify().optimiser(optimiser).schedule(schedule)).unwrap();
                sim
            };
            let mut whole = new();
            whole.fit(&x, &y, &Fit::epochs(5)).unwrap();
            let path = dir.path().join("checkpoint");
            let mut first = new();
            let fit = Fit { checkpoint: Some(path.clone()), ..Fit::epochs(2) };
            first.fit(&x, &y, &fit).unwrap();
            drop(first);
            let mut second = new();
            second.load_checkpoint(&path).unwrap();
            assert_eq!((second.epochs_done(), second.steps_trained()), (2, 6));
            second.fit(&x, &y, &Fit::epochs(3)).unwrap();
            assert_eq!(bits(&mut whole), bits(&mut second), "{optimiser:?} on {device}");
        }
    }
}

#[test]
fn five_hundred_steps_take_no_more_memory() {
    for device in devices() {
        let mut sim = trained(device, &[1]);
        let before = sim.allocated_bytes();
        let (x, y) = examples(10);
        sim.fit(&x, &y, &Fit::epochs(167)).unwrap();
        assert!(sim.steps_trained() > 500);
        assert_eq!(sim.allocated_bytes(), before, "{device}");
    }
}

#[test]
fn both_devices_train_alike() {
    let [a, b] = devices().each_ref().map(|d| {
        let mut sim = trained(d, &[10]);
        sim.parameter("hidden/weights").unwrap()
    });
    let off = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-5, "off by {off:e}");
}

#[test]
fn frozen_parameters_stay_and_groups_have_their_own_rate() {
    let (x, y) = examples(8);
    for device in devices() {
        let mut net = Network::new(1);
        let input = net.node("x", Node::Input(5)).unwrap();
        let a = net.layer("a", Layer::dense(4).frozen(), input).unwrap();
        let b = net.layer("b", Layer::dense(4), a).unwrap();
        let c = net.layer("c", Layer::dense(3), b).unwrap();
        net.probe("y", c).unwrap();
        let after = |groups: Vec<Group>| {
            let mut sim = simulator(&net, device, 8);
            let mut training = Training::new(Objective::new().loss("y", Loss::CrossEntropy), 0.1);
            training.groups = groups;
            sim.compile(training).unwrap();
            let start = ["a/weights", "a/bias", "b/weights", "c/weights"].map(|n| sim.parameter(n).unwrap());
            sim.fit(&x, &y, &Fit::epochs(1)).unwrap();
            let end = ["a/weights", "a/bias", "b/weights", "c/weights"].map(|n| sim.parameter(n).unwrap());
            [0, 1, 2, 3].map(|i| &end[i] - &start[i])
        };
        let plain = after(Vec::new());
        let group = |name: &str, rate| Group { parameters: Select::parameter(name), rate };
        let grouped = after(vec![group("b/weights", 0.0), group("c/weights", 3.0)]);
        let largest = |a: &Array2<f32>| a.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        assert_eq!([&plain[0], &plain[1], &grouped[0], &grouped[2]].map(largest), [0.0; 4], "{device}");
        assert!(largest(&plain[2]) > 1e-3 && largest(&plain[3]) > 1e-3);
        assert!(largest(&(&grouped[3] - &plain[3] * 3.0)) < 1e-6, "{device}");
    }
}

/// The parameter of [`crate::common::raw`] before and after a step on the gradient `g`, and the penalty that was reported.
fn step(device: &Device, training: Training, g: &[f32]) -> (Vec<f32>, Vec<f32>, f64) {
    let mut sim = simulator(&crate::common::raw(g.len()), device, 1);
    sim.compile(training).unwrap();
    let before = sim.parameter("x/p").unwrap();
    let targets = Data::new().with("p", Array2::from_shape_vec((1, g.len()), g.to_vec()).unwrap());
    let report = sim.fit(&Data::new(), &targets, &Fit::epochs(1)).unwrap().remove(0);
    let vec = |a: Array2<f32>| a.into_iter().collect();
    (vec(before), vec(sim.parameter("x/p").unwrap()), report.penalty.unwrap_or(0.0))
}

#[test]
fn penalties_have_their_closed_forms() {
    type Form = fn(f64, f64) -> f64;
    let (s, rate) = (0.3_f32, 0.1_f32);
    for n in [1, 63, 64, 65, 1000, 9000] {
        for device in devices() {
            let cases: [(Penalty, Form); 5] = [
                (Penalty::L2Half(s), |w, _| w),
                (Penalty::L2Sum(s), |w, _| 2.0 * w),
                (Penalty::L1(s), |w, _| w.signum()),
                (Penalty::Norm(s), |w, norm| w / norm),
                (Penalty::Decoupled(s), |w, _| w),
            ];
            for (penalty, slope) in cases {
                let training =
                    Training::new(crate::common::given_gradient(), rate).penalty(Select::All, penalty);
                let (before, after, reported) = step(device, training, &vec![0.0; n]);
                let sum = |f: fn(f64) -> f64| before.iter().map(|w| f(f64::from(*w))).sum::<f64>();
                let norm = sum(|w| w * w).sqrt();
                for (w, v) in before.iter().zip(&after) {
                    let want = f64::from(*w) - f64::from(rate * s) * slope(f64::from(*w), norm);
                    assert!(
                        (f64::from(*v) - want).abs() < 1e-6,
                        "{penalty:?}, {n}, {device}: {v} for {want}"
                    );
                }
                let value = match penalty {
                    Penalty::L2Half(_) => norm * norm / 2.0,
                    Penalty::L2Sum(_) => norm * norm,
                    Penalty::L1(_) => sum(f64::abs),
                    Penalty::Norm(_) => norm,
                    Penalty::Decoupled(_) => 0.0,
                };
                let want = f64::from(s) * value;
                assert!(
                    (reported - want).abs() <= 1e-5 * want,
                    "{penalty:?}, {n}, {device}: {reported} for {want}"
                );
            }
        }
    }
}

#[test]
fn penalties_on_activities_have_their_closed_forms() {
    type Form = fn(f64, f64) -> f64;
    let (n, s, rate) = (5, 0.3_f32, 0.1_f32);
    let cases: [(Penalty, Form); 4] = [
        (Penalty::L2Half(s), |w, _| w),
        (Penalty::L2Sum(s), |w, _| 2.0 * w),
        (Penalty::L1(s), |w, _| w.signum()),
        (Penalty::Norm(s), |w, norm| w / norm),
    ];
    for (penalty, slope) in cases {
        for device in devices() {
            let training = Training::new(crate::common::given_gradient().activity("p", penalty), rate);
            let (before, after, reported) = step(device, training, &vec![0.0; n]);
            let norm = before.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt();
            for (w, v) in before.iter().zip(&after) {
                let want = f64::from(*w) - f64::from(rate * s) * slope(f64::from(*w), norm);
                assert!((f64::from(*v) - want).abs() < 1e-6, "{penalty:?} on {device}: {v} for {want}");
            }
            assert!(reported > 0.0);
        }
    }
}

#[test]
fn gradients_are_clipped_by_value_and_by_their_norm() {
    let g = [3.0, -0.1, 0.0, -4.0, 0.5];
    let norm = g.iter().map(|x| x * x).sum::<f32>().sqrt();
    let by_value = g.map(|x: f32| x.clamp(-0.5, 0.5));
    let by_norm = g.map(|x| x * 2.0 / norm);
    let cases = [
        (Clip::None, g),
        (Clip::Value(0.5), by_value),
        (Clip::GlobalNorm(2.0), by_norm),
        (Clip::GlobalNorm(9.0), g),
    ];
    for (clip, want) in cases {
        for device in devices() {
            let training = Training::new(crate::common::given_gradient(), 1.0).clip(clip);
            let (before, after, _) = step(device, training, &g);
            for ((w, v), want) in before.iter().zip(&after).zip(want) {
                assert!((w - v - want).abs() < 1e-6, "{clip:?} on {device}: {} for {want}", w - v);
            }
        }
    }
    // Penalties are clipped too, and the norm is that of all parameters together.
    for device in devices() {
        let penalised =
            Training::new(crate::common::given_gradient(), 1.0).penalty(Select::All, Penalty::L2Half(1e3));
        let (before, after, _) = step(device, penalised.clip(Clip::GlobalNorm(1e-2)), &[0.0; 100]);
        let moved = before.iter().zip(&after).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        assert!((moved - 1e-2).abs() < 1e-5, "{device}: moved by {moved}");
    }
}

#[test]
fn schedules_change_the_rate_of_each_step() {
    let schedule = Schedule::constant(0.5).decay(Decay::Step { every: 3, factor: 0.5 }).warm_up(4);
    for device in devices() {
        let mut sim = simulator(&crate::common::raw(1), device, 1);
        sim.compile(Training::new(crate::common::given_gradient(), 1.0).schedule(schedule)).unwrap();
        let targets = Data::new().with("p", Array2::ones((1, 1)));
        let mut last = sim.parameter("x/p").unwrap()[[0, 0]];
        for k in 0..12 {
            sim.fit(&Data::new(), &targets, &Fit::epochs(1)).unwrap();
            let now = sim.parameter("x/p").unwrap()[[0, 0]];
            assert!((last - now - schedule.at(k)).abs() < 1e-6, "step {k} on {device}: {}", last - now);
            last = now;
        }
    }
}

#[test]
fn training_stops_early_and_when_the_callback_says_so() {
    let (x, y) = examples(8);
    let mut sim = simulator(&network(0.0), &devices()[1], 4);
    sim.compile(classify().schedule(Schedule::constant(0.0))).unwrap();
    let early_stopping = Some(EarlyStopping { patience: 2, least: 0.0 });
    let fit = Fit { early_stopping, validation: Some((x.clone(), y.clone())), ..Fit::epochs(50) };
    let reports = sim.fit(&x, &y, &fit).unwrap();
    assert_eq!(reports.len(), 3, "one epoch to compare with, and two without a fall");
    let mut sim = simulator(&network(0.0), &devices()[1], 4);
    sim.compile(classify()).unwrap();
    let stop = &mut |p: &Progress| match p {
        Progress::Epoch(e) if e.epoch == 4 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    assert_eq!(sim.fit_with(&x, &y, &Fit::epochs(50), stop).unwrap().len(), 4);
}

#[test]
fn any_number_of_examples_is_evaluated_whatever_the_minibatch() {
    for device in devices() {
        for n in [1, 3, 10] {
            let (x, y) = examples(n);
            let results = [1, 4, 16].map(|minibatch| {
                let mut sim = simulator(&network(0.5), device, minibatch);
                sim.compile(classify()).unwrap();
                let probe = sim.network().find_probe("y").unwrap();
                let output = sim.predict(&x).unwrap().remove(&probe).unwrap();
                assert_eq!(output.dim(), (n, 1, 3));
                (sim.evaluate(&x, &y).unwrap(), output)
            });
            for (evaluation, output) in &results[1..] {
                let (first, outputs) = &results[0];
                assert!((evaluation.loss - first.loss).abs() < 1e-6, "{n} on {device}");
                assert!((evaluation.metrics[0] - first.metrics[0]).abs() < 1e-6, "{n} on {device}");
                let off = output.iter().zip(outputs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off < 1e-6, "{n} on {device}: {off}");
            }
        }
    }
}

#[test]
fn the_loss_and_the_accuracy_are_those_of_the_outputs() {
    let (x, y) = examples(9);
    for device in devices() {
        let mut sim = simulator(&network(0.0), device, 4);
        sim.compile(classify()).unwrap();
        let probe = sim.network().find_probe("y").unwrap();
        let output = sim.predict(&x).unwrap().remove(&probe).unwrap().remove_axis(Axis(1));
        let (mut loss, mut hits) = (0.0, 0.0);
        for (i, row) in output.rows().into_iter().enumerate() {
            let class = i * 5 % 3;
            let total: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
            loss += (total.ln() - f64::from(row[class])) / 9.0;
            hits += f64::from(u8::from(row.iter().all(|x| *x <= row[class]))) / 9.0;
        }
        let evaluation = sim.evaluate(&x, &y).unwrap();
        assert!((evaluation.loss - loss).abs() < 1e-6, "{device}: {} for {loss}", evaluation.loss);
        assert!(
            (evaluation.metrics[0] - hits).abs() < 1e-6,
            "{device}: {} for {hits}",
            evaluation.metrics[0]
        );
    }
}

#[test]
fn dropout_is_off_outside_of_training() {
    let (x, y) = examples(4);
    for device in devices() {
        let outputs = [0.0, 0.9].map(|dropout| {
            let mut sim = simulator(&network(dropout), device, 4);
            sim.compile(classify()).unwrap();
            sim.evaluate(&x, &y).unwrap().loss
        });
        assert_eq!(outputs[0], outputs[1], "{device}");
    }
}

#[test]
fn the_gradient_of_a_recurrent_network_is_the_slope_of_its_loss() {
    let mut net = Network::new(5);
    let x = net.node("x", Node::Input(2)).unwrap();
    let memory = net.layer("memory", Layer::dense(4).activation(Activation::Tanh), x).unwrap();
    let back =
        |tau| Connection::new().transform(Transform::Dense(Init::Glorot)).synapse(Synapse::Lowpass(tau));
    net.connect(memory, memory, back(0.002).named("fast")).unwrap();
    net.connect(memory, memory, back(0.0).named("faster")).unwrap();
    let out = net.layer("out", Layer::dense(1), memory).unwrap();
    net.probe("y", out).unwrap();
    let of = |seed, size| {
        let values = crate::common::uniform(seed, 8 * 6 * size, -1.0, 1.0);
        Array3::from_shape_vec((8, 6, size), values).unwrap()
    };
    let mut targets = of(10, 1);
    targets.iter_mut().step_by(5).for_each(|t| *t = f32::NAN);
    let (x, y) = (Data::new().with("x", of(9, 2)), Data::new().with("y", targets));
    for device in devices() {
        let mut sim = simulator(&net, device, 8);
        sim.compile(Training::new(Objective::new().loss("y", Loss::MeanSquared), 0.0)).unwrap();
        sim.fit(&x, &y, &Fit::epochs(1)).unwrap();
        for name in ["fast/weights", "faster/weights", "memory/weights", "memory/bias", "out/weights"] {
            let (gradient, start) = (sim.gradient(name).unwrap(), sim.parameter(name).unwrap());
            let scale = gradient.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
            for (at, g) in gradient.indexed_iter() {
                let mut loss = |by: f32| {
                    let mut moved = start.clone();
                    moved[at] += by;
                    sim.set_parameter(name, &moved).unwrap();
                    sim.evaluate(&x, &y).unwrap().loss
                };
                let slope = (loss(0.01) - loss(-0.01)) / 0.02;
                let off = (f64::from(*g) - slope).abs();
                assert!(off < 5e-3 * f64::from(scale), "{name} {at:?} on {device}: {g} for {slope}");
            }
            sim.set_parameter(name, &start).unwrap();
        }
    }
}
