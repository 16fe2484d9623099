//! Targets that do not count, and targets of probes that do not record each step.

use std::ops::ControlFlow;

use crate::common::devices;
use crate::common::messages::Messages;
use ndarray::{Array2, Array3, Axis, array};
use nengo_wgpu::network::{Connection, Init, Layer, Network, Node, Synapse, Target, Transform};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::train::{Backprop, Loss, Metric, Objective, Over, Training};
use nengo_wgpu::{Data, Device, Evaluation, Fit, Options, Progress, Simulator};

const NAN: f32 = f32::NAN;

/// Two inputs, a recurrent value, and three outputs `y`.
fn recurrent() -> Network {
    let mut net = Network::new(2);
    let x = net.node("x", Node::Input(2)).unwrap();
    let h = net.unconnected_layer("h", Layer::dense(4).init(Init::Uniform(-1.0, 1.0)), 2).unwrap();
    net.connect(x, h, Connection::new()).unwrap();
    let back = Transform::Dense(Init::Uniform(-0.3, 0.3));
    net.connect(h, h, Connection::new().transform(back).synapse(Synapse::Lowpass(0.003)).named("back")).ok();
    let y = net.layer("y", Layer::dense(3).init(Init::Uniform(-1.0, 1.0)), h).unwrap();
    net.probe("y", y).unwrap();
    net
}

fn numbers(shape: (usize, usize), seed: u64) -> Array2<f32> {
    Array2::from_shape_vec(shape, crate::common::uniform(seed, shape.0 * shape.1, -1.0, 1.0)).unwrap()
}

/// Parameters after one step of gradient descent on all examples at once, and what an evaluation says before it.
fn step(
    net: &Network,
    device: &Device,
    (x, y): (&Data, &Data),
    training: Training,
) -> (Evaluation, Vec<f32>) {
    let minibatch = x.examples().unwrap().unwrap();
    let mut sim = Simulator::with(net, device, Options { minibatch, ..Options::default() }).unwrap();
    sim.compile(training.in_order()).unwrap();
    let before = sim.evaluate(x, y).unwrap();
    let report = sim.fit(x, y, &Fit::epochs(1)).unwrap();
    assert!((report[0].loss - before.loss).abs() < 1e-6, "{} {}", report[0].loss, before.loss);
    let names: Vec<String> = sim.network().parameters().iter().map(|p| p.name.clone()).collect();
    (before, names.iter().flat_map(|n| sim.parameter(n).unwrap().into_iter()).collect())
}

#[track_caller]
fn same(a: &(Evaluation, Vec<f32>), b: &(Evaluation, Vec<f32>), what: &str) {
    assert!((a.0.loss - b.0.loss).abs() < 1e-6, "{what}: losses {} and {}", a.0.loss, b.0.loss);
    for (a, b) in a.0.metrics.iter().zip(&b.0.metrics) {
        assert!((a - b).abs() < 1e-6, "{what}: metrics {a} and {b}");
    }
    let off = a.1.iter().zip(&b.1).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-6, "{what}: parameters are off by {off:e}");
}

#[test]
fn an_example_without_targets_is_as_if_it_were_not_there() {
    let net = recurrent();
    let inputs = numbers((5, 2), 1);
    let one_hot = array![[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [NAN; 3], [0.0, 1.0, 0.0], [NAN; 3]];
    let mut values = numbers((5, 3), 2);
    [2, 4].iter().for_each(|&row| values.row_mut(row).fill(NAN));
    let classes = array![[0.0], [2.0], [NAN], [1.0], [NAN]];
    let cases = [
        (Loss::MeanSquared, &values),
        (Loss::MeanAbsolute, &values),
        (Loss::Huber(0.3), &values),
        (Loss::CrossEntropy, &one_hot),
        (Loss::CrossEntropy, &classes),
    ];
    let there = [0, 1, 3];
    for device in devices() {
        for (loss, targets) in cases {
            let training = || {
                let metric = match loss {
                    Loss::CrossEntropy => Metric::Accuracy("y".into()),
                    _ => Metric::MeanError("y".into()),
                };
                Training::new(Objective::new().loss("y", loss), 0.5).metric(metric)
            };
            let of = |x: &Array2<f32>, y: &Array2<f32>| {
                let data = (Data::new().with("x", x.clone()), Data::new().with("y", y.clone()));
                step(&net, device, (&data.0, &data.1), training())
            };
            let gaps = of(&inputs, targets);
            let without = of(&inputs.select(Axis(0), &there), &targets.select(Axis(0), &there));
            same(&gaps, &without, &format!("{loss:?}, {} columns, on {device}", targets.ncols()));
        }
    }
}

#[test]
fn a_loss_is_the_mean_over_the_targets_that_count_however_the_run_is_cut() {
    let net = recurrent();
    let x = Array3::from_shape_vec((4, 6, 2), crate::common::uniform(3, 48, -1.0, 1.0)).unwrap();
    let mut y = Array3::from_shape_vec((4, 6, 3), crate::common::uniform(4, 72, -1.0, 1.0)).unwrap();
    y.indexed_iter_mut().filter(|((e, t, c), _)| (5 * e + 3 * t + c) % 4 == 1).for_each(|(_, y)| *y = NAN);
    let data = (Data::new().with("x", x), Data::new().with("y", y.clone()));
    for device in devices() {
        let mut sim = Simulator::with(&net, device, Options { minibatch: 4, ..Options::default() }).unwrap();
        let out = &sim.predict(&data.0).unwrap()[&net.find_probe("y").unwrap()];
        for (over, first) in [(Over::Every, 0), (Over::Last, 5)] {
            let seen = out.indexed_iter().zip(&y).filter(|(((_, t, _), _), y)| *t >= first && !y.is_nan());
            let off: Vec<f64> = seen.map(|((_, out), y)| f64::from(out - y)).collect();
            let mean = |f: fn(f64) -> f64| off.iter().map(|x| f(*x)).sum::<f64>() / off.len() as f64;
            let (square, absolute) = (mean(|x| x * x), mean(f64::abs));
            let of = |backprop| {
                let objective = Objective::new().loss("y", Loss::MeanSquared).over(over);
                let training = Training::new(objective, 0.5).metric(Metric::MeanError("y".into()));
                step(&net, device, (&data.0, &data.1), training.backprop(backprop))
            };
            let full = of(Backprop::Full);
            let what = format!("{over:?} on {device}");
            assert!((full.0.loss - square).abs() < 1e-6, "{what}: {} for {square}", full.0.loss);
            assert!((full.0.metrics[0] - absolute).abs() < 1e-6, "{what}: {:?}", full.0.metrics);
            same(&full, &of(Backprop::Checkpointed(4)), &what);
        }
    }
}

#[test]
fn a_minibatch_without_any_target_changes_nothing_and_has_no_loss() {
    let net = recurrent();
    for device in devices() {
        for (loss, cols) in [(Loss::MeanSquared, 3), (Loss::CrossEntropy, 3), (Loss::CrossEntropy, 1)] {
            let trained = |examples: usize| {
                let mut sim =
                    Simulator::with(&net, device, Options { minibatch: 2, ..Options::default() }).unwrap();
                let metric = Metric::Accuracy("y".into());
                let training = Training::new(Objective::new().loss("y", loss), 0.5).metric(metric).in_order();
                sim.compile(training).unwrap();
                let x = Data::new().with("x", numbers((examples, 2), 1));
                let some = |(i, _): (usize, usize)| if i < 2 { 1.0 } else { NAN };
                let y = Data::new().with("y", Array2::from_shape_fn((examples, cols), some));
                let mut steps = Vec::new();
                let mut keep = |progress: &Progress| {
                    if let Progress::Step(step) = progress {
                        steps.push((step.loss, step.metrics[0]));
                    }
                    ControlFlow::Continue(())
                };
                let epoch = sim.fit_with(&x, &y, &Fit::epochs(1), &mut keep).unwrap().remove(0);
                (sim.parameter("y/weights").unwrap(), epoch.loss, epoch.metrics, steps)
            };
            let (first, both) = (trained(2), trained(4));
            assert_eq!((both.0, both.1, both.2), (first.0, first.1, first.2), "{device}");
            assert_eq!(both.3[0], first.3[0]);
            assert!(both.3[1].0.is_nan() && both.3[1].1.is_nan(), "{:?}", both.3);
        }
    }
}

#[test]
fn targets_of_which_none_counts_are_refused() {
    let net = recurrent();
    let x = Data::new().with("x", Array3::zeros((2, 5, 2)));
    let refused = |objective: Objective, y: Array3<f32>| {
        let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
        sim.compile(Training::new(objective, 0.1)).unwrap();
        let y = Data::new().with("y", y);
        let error = sim.evaluate(&x, &y).unwrap_err().to_string();
        assert_eq!(sim.fit(&x, &y, &Fit::epochs(1)).unwrap_err().to_string(), error);
        error
    };
    let squared = || Objective::new().loss("y", Loss::MeanSquared);
    let all = refused(squared(), Array3::from_elem((2, 5, 3), NAN));
    assert_eq!(all, "the targets of probe 'y': none of them counts: all are NaN");
    let mut rows = Array3::zeros((2, 5, 3));
    rows.slice_mut(ndarray::s![.., 4, ..]).fill(NAN);
    let last = refused(squared().over(Over::Last), rows);
    assert_eq!(last, "the targets of probe 'y': none of them counts: all of the last steps are NaN");
}

#[test]
fn minibatches_count_by_their_targets() {
    let net = recurrent();
    let x = Data::new().with("x", numbers((6, 2), 1));
    let mut values = numbers((6, 3), 2);
    // The second minibatch of two has one target, the third none.
    values.iter_mut().skip(7).for_each(|y| *y = NAN);
    let y = Data::new().with("y", values);
    for device in devices() {
        let loss = |minibatch| {
            let mut sim = Simulator::with(&net, device, Options { minibatch, ..Options::default() }).unwrap();
            let metric = Metric::MeanError("y".into());
            let objective = Objective::new().loss("y", Loss::MeanSquared);
            sim.compile(Training::new(objective, 0.0).metric(metric).in_order()).unwrap();
            let epoch = &sim.fit(&x, &y, &Fit::epochs(1)).unwrap()[0];
            let evaluation = sim.evaluate(&x, &y).unwrap();
            [epoch.loss, epoch.metrics[0], evaluation.loss, evaluation.metrics[0]]
        };
        let (whole, parts) = (loss(6), loss(2));
        assert!(
            whole.iter().zip(&parts).all(|(a, b)| (a - b).abs() < 1e-6),
            "{whole:?}, {parts:?} on {device}"
        );
        assert!(whole[0] > 0.01 && (whole[0] - whole[2]).abs() < 1e-6, "{whole:?}");
    }
}

/// 0.5 times the input, recorded every 3 ms.
fn sampled() -> Network {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let y = net.layer("y", Layer::dense(1).init(Init::Values(vec![0.5])).no_bias(), x).unwrap();
    net.probe_every("p", Target::Output(y, None), 0.003).unwrap();
    net
}

#[test]
fn a_loss_on_a_probe_that_samples_compares_the_rows_that_it_records() {
    let net = sampled();
    // Seven steps: the probe records after the third and the sixth.
    let x = Array3::from_shape_fn((2, 7, 1), |(e, t, _)| (t + 10 * e) as f32);
    let (data, p) = (Data::new().with("x", x), net.find_probe("p").unwrap());
    let rows = array![[[1.0], [2.0]], [[7.0], [5.0]]];
    let held = array![[2.0], [9.0]];
    for device in devices() {
        let mut sim = Simulator::with(&net, device, Options { minibatch: 2, ..Options::default() }).unwrap();
        let out = sim.predict(&data).unwrap()[&p].clone();
        assert_eq!(out, array![[[1.0], [2.5]], [[6.0], [7.5]]]);
        let square =
            |out: &Array2<f32>, y: &Array2<f32>| f64::from((out - y).mapv(|x| x * x).mean().unwrap());
        let at = |t: usize| out.index_axis(Axis(1), t).to_owned();
        let every = |a: &Array2<f32>, b: &Array2<f32>| (square(&at(0), a) + square(&at(1), b)) / 2.0;
        let row = |t: usize| rows.index_axis(Axis(1), t).to_owned();
        let sum = at(0) + at(1);
        let cases = [
            (Over::Every, Data::new().with("p", rows.clone()), every(&row(0), &row(1))),
            (Over::Every, Data::new().with("p", held.clone()), every(&held, &held)),
            (Over::Last, Data::new().with("p", rows.clone()), square(&at(1), &row(1))),
            (Over::Last, Data::new().with("p", held.clone()), square(&at(1), &held)),
            (Over::Sum, Data::new().with("p", held.clone()), square(&sum, &held)),
            (Over::Mean, Data::new().with("p", held.clone()), square(&(sum / 2.0), &held)),
        ];
        for (over, targets, expected) in cases {
            let of = |backprop| {
                let objective = Objective::new().loss("p", Loss::MeanSquared).over(over);
                step(&net, device, (&data, &targets), Training::new(objective, 1e-3).backprop(backprop))
            };
            let (full, what) = (of(Backprop::Full), format!("{over:?} on {device}"));
            assert!((full.0.loss - expected).abs() < 1e-5, "{what}: {} for {expected}", full.0.loss);
            assert!((full.1[0] - 0.5).abs() > 1e-4, "{what}: nothing is trained");
            if !over.whole() {
                // The last window has no row.
                same(&full, &of(Backprop::Checkpointed(2)), &what);
                same(&full, &of(Backprop::Truncated(3)), &what);
            }
        }
    }
}

#[test]
fn targets_of_a_probe_that_samples_have_a_row_for_each_that_is_recorded() {
    let said = Messages::of("targets of a probe that samples have a row for each that is recorded");
    let net = sampled();
    let fit = |steps: usize, rows: usize| {
        let mut sim = Simulator::new(&net, &Device::cpu())?;
        sim.compile(Training::new(Objective::new().loss("p", Loss::MeanSquared), 0.1))?;
        let x = Data::new().with("x", Array3::ones((1, steps, 1)));
        sim.fit(&x, &Data::new().with("p", Array3::ones((1, rows, 1))), &Fit::epochs(1))
    };
    fit(6, 2).unwrap();
    said.error(fit(6, 6));
    said.error(fit(2, 0));
}

/// As a file writes it: targets that do not count are `nan`, and a probe that samples takes as many rows as it records.
#[test]
fn files_have_targets_that_do_not_count_and_targets_of_probes_that_sample() {
    let dir = tempfile::tempdir().unwrap();
    let csv = "1,2,3,4,5,6,0.5,nan\n2,1,2,1,2,1,nan,nan\n0,1,2,3,4,5,1,2\n";
    std::fs::write(dir.path().join("d.csv"), csv).unwrap();
    let toml = "[[node]]\nname = \"x\"\nsize = 1\nsteps = 6\n\
        [[layer]]\nname = \"y\"\ninput = \"x\"\nunits = 1\nbias = false\ninit = { values = [0.5] }\n\
        [[probe]]\nname = \"p\"\ntarget = \"y\"\nsample-every = 0.003\n\
        [data]\nformat = \"csv\"\npath = \"d.csv\"\ntargets = 2\n\
        [train]\nepochs = 1\nsteps = 6\nlearning-rate = 0.1\nloss = \"mean-squared\"\n";
    let spec = NetworkSpec::parse(toml, dir.path().join("net.toml")).unwrap();
    let net = spec.build().unwrap();
    let data = spec.load_data().unwrap().train;
    let (inputs, targets) = spec.signals(&net, &data).unwrap();
    for device in devices() {
        let mut sim = Simulator::with(&net, device, Options { minibatch: 3, ..Options::default() }).unwrap();
        sim.compile(spec.training(&net, 3).unwrap()).unwrap();
        let loss = sim.evaluate(&inputs, &targets).unwrap().loss;
        // 1.5 for 0.5, 1 for 1, 2.5 for 2.
        assert!((loss - 1.25 / 3.0).abs() < 1e-6, "{loss} on {device}");
    }
}
