//! Nodes that compute on the host: called for whole windows, in loops step by step, and never a reason to crash.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::devices;
use crate::common::messages::Messages;
use ndarray::{Array2, Array3};
use nengo_wgpu::network::{Connection, Init, Layer, Network, Node, Synapse, Target, Transform};
use nengo_wgpu::train::{Backprop, Loss, Objective, Training};
use nengo_wgpu::{Data, Device, Error, Fit, Options, Simulator};

/// A wave goes through a filter into `f`, which halves it, from there into `g`; with `looped` f's output comes back.
/// `f` is `node` where there is one, else a connection halves.
fn network(node: Option<Node>, looped: bool) -> Network {
    let mut net = Network::new(0);
    let wave = net.node("wave", Node::function(2, |t| vec![(90.0 * t).sin() as f32, t as f32])).unwrap();
    let into = net.node("into", Node::Passthrough(2)).unwrap();
    let lowpass = || Connection::new().synapse(Synapse::Lowpass(0.004));
    net.connect(wave, into, lowpass()).unwrap();
    let halved = if node.is_some() { Transform::Identity } else { Transform::Scalar(0.5) };
    let f = net.node("f", node.unwrap_or(Node::Passthrough(2))).unwrap();
    net.connect(into, f, Connection::new().transform(halved)).unwrap();
    if looped {
        net.connect(f, into, lowpass()).unwrap();
    }
    let g = net.node("g", Node::Passthrough(2)).unwrap();
    net.connect(f, g, lowpass()).unwrap();
    net.probe("f", f).unwrap();
    net.add_probe("g", Target::Output(g, Some(Synapse::Lowpass(0.01)))).unwrap();
    net
}

fn half() -> Node {
    Node::callback(2, 2, |_, x| x.iter().map(|x| 0.5 * x).collect())
}

fn with(net: &Network, device: &Device) -> Simulator {
    Simulator::with(net, device, Options { minibatch: 3, ..Options::default() }).unwrap()
}

fn run(sim: &mut Simulator, runs: &[usize]) -> Vec<Array3<f32>> {
    runs.iter().for_each(|&steps| sim.run_steps(steps, &Data::new()).unwrap());
    let probes: Vec<_> = sim.network().probe_ids().collect();
    probes.into_iter().map(|p| sim.data(p).unwrap()).collect()
}

#[track_caller]
fn close(a: &[Array3<f32>], b: &[Array3<f32>], what: &str) {
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a.dim(), b.dim(), "{what}");
        let off = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-6, "{what}: off by {off:e}");
    }
}

#[test]
fn a_callback_gives_the_values_of_the_same_operators() {
    for looped in [false, true] {
        for device in devices() {
            let expected = run(&mut with(&network(None, looped), device), &[40]);
            let net = network(Some(half()), looped);
            for (runs, limit) in [(&[40][..], None), (&[13, 27], None), (&[40], Some(7)), (&[1; 40], None)] {
                let mut sim = with(&net, device);
                sim.limit_windows(limit).unwrap();
                close(&run(&mut sim, runs), &expected, &format!("loop {looped}, {runs:?} on {device}"));
                assert_eq!(sim.warnings().len(), usize::from(looped));
                assert!(!looped || sim.warnings()[0].contains("node 'f'"));
            }
            let mut sim = with(&net, device);
            let predicted = sim.predict_steps(&Data::new(), 40).unwrap();
            let predicted: Vec<_> = net.probe_ids().map(|p| predicted[&p].clone()).collect();
            close(&predicted, &expected, &format!("prediction, loop {looped} on {device}"));
        }
    }
}

#[test]
fn callbacks_in_a_row_get_each_others_values_and_the_time() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let a = net.node("a", Node::callback(1, 2, |t, x| vec![x[0] + 1.0, t as f32])).unwrap();
    let b = net.node("b", Node::callback(2, 1, |_, x| vec![10.0 * x[0] + 1000.0 * x[1]])).unwrap();
    net.connect(x, a, Connection::new()).unwrap();
    net.connect(a, b, Connection::new()).unwrap();
    let p = net.probe("p", b).unwrap();
    let inputs = Data::new().with("x", Array3::from_shape_fn((5, 6, 1), |(e, t, _)| (10 * e + t) as f32));
    for device in devices() {
        // Minibatches of 3 and of 2.
        let out = with(&net, device).predict(&inputs).unwrap();
        let expected =
            |(e, t, _): (usize, usize, usize)| (10.0 * (10 * e + t) as f32 + 10.0) + (t + 1) as f32;
        close(&[out[&p].clone()], &[Array3::from_shape_fn((5, 6, 1), expected)], &device.to_string());
    }
}

#[test]
fn a_callback_that_nothing_reads_is_called_for_each_step_in_order() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let mut net = Network::new(0);
    let wave = net.node("wave", Node::function(1, |t| vec![t as f32])).unwrap();
    let seen = times.clone();
    let sink = net
        .node(
            "sink",
            Node::callback(1, 1, move |t, x| {
                seen.lock().unwrap().push((t, x[0]));
                vec![0.0]
            }),
        )
        .unwrap();
    net.connect(wave, sink, Connection::new()).unwrap();
    for device in devices() {
        let mut sim = Simulator::new(&net, device).unwrap();
        sim.run_steps(2, &Data::new()).unwrap();
        sim.run_steps(3, &Data::new()).unwrap();
        let times = std::mem::take(&mut *times.lock().unwrap());
        assert_eq!(
            times.iter().map(|(t, _)| (t * 1000.0).round()).collect::<Vec<_>>(),
            [1.0, 2.0, 3.0, 4.0, 5.0]
        );
        assert!(times.iter().all(|&(t, x)| t as f32 == x), "{times:?} on {device}");
    }
}

#[test]
fn a_callback_that_fails_ends_the_run_with_its_name_and_time_and_the_next_run_works() {
    let said =
        Messages::of("a callback that fails ends the run with its name and time and the next run works");
    type Fault = fn() -> Vec<f32>;
    let faults: [Fault; 3] = [|| vec![1.0], || vec![1.0, f32::NAN], || panic!("no such luck")];
    for looped in [false, true] {
        for device in devices() {
            let expected = run(&mut with(&network(None, looped), device), &[4, 8]);
            for fault in faults {
                // Fails once, at the sixth step of the first example.
                let failed = Arc::new(AtomicUsize::new(0));
                let node = Node::callback(2, 2, move |t, x| {
                    if (t - 0.006).abs() < 1e-9 && failed.fetch_add(1, Ordering::Relaxed) == 0 {
                        return fault();
                    }
                    x.iter().map(|x| 0.5 * x).collect()
                });
                let mut sim = with(&network(Some(node), looped), device);
                sim.run_steps(4, &Data::new()).unwrap();
                said.error(sim.run_steps(8, &Data::new()));
                let rest = 12 - sim.n_steps() as usize;
                assert_eq!(rest, if looped { 7 } else { 8 }, "the failed window does not count");
                // The states are those before the failed window.
                close(&run(&mut sim, &[rest]), &expected, &format!("loop {looped} on {device}"));
            }
        }
    }
}

/// x through layer `before` into callback `f`, and from there into layer `after`.
fn to_train(trained: bool) -> Network {
    let mut net = Network::new(1);
    let x = net.node("x", Node::Input(2)).unwrap();
    let f = net.node("f", half()).unwrap();
    let before = Connection::new().transform(Transform::Dense(Init::Glorot)).named("before");
    net.connect(x, f, if trained { before } else { before.frozen() }).unwrap();
    let after = net.layer("after", Layer::dense(1), f).unwrap();
    net.probe("y", after).unwrap();
    net
}

#[test]
fn parameters_after_a_callback_are_trained_and_those_before_are_refused() {
    let inputs =
        Data::new().with("x", Array2::from_shape_fn((7, 2), |(e, c)| (e as f32 - 3.0) * (c as f32 + 0.5)));
    let targets = Data::new().with("y", Array2::from_shape_fn((7, 1), |(e, _)| e as f32 - 3.0));
    let training = || Training::new(Objective::new().loss("y", Loss::MeanSquared), 0.05);
    for device in devices() {
        let mut sim = with(&to_train(false), device);
        sim.compile(training()).unwrap();
        let reports = sim.fit(&inputs, &targets, &Fit::epochs(30)).unwrap();
        assert!(reports[29].loss < 0.1 * reports[0].loss, "{} on {device}", reports[29].loss);

        let mut sim = with(&to_train(true), device);
        sim.compile(training()).unwrap();
        match sim.fit(&inputs, &targets, &Fit::epochs(1)).unwrap_err() {
            Error::NoGradient { operator, parameter, .. } => {
                assert!(operator.contains("callback of 'f'") && parameter.contains("before/weights"));
            }
            other => panic!("{other}"),
        }
        sim.predict(&inputs).unwrap();
    }
}

#[test]
fn callbacks_without_inputs_and_trainings_of_several_steps_around_them_are_refused() {
    let said =
        Messages::of("callbacks without inputs and trainings of several steps around them are refused");
    let mut net = Network::new(0);
    said.error(net.node("f", Node::callback(0, 1, |_, _| vec![0.0])));

    let mut net = network(Some(half()), true);
    let f = net.find("f").unwrap();
    let y = net.layer("y", Layer::dense(1), f).unwrap();
    net.probe("y", y).unwrap();
    let mut sim = with(&net, &devices()[1]);
    sim.compile(Training::new(Objective::new().loss("y", Loss::MeanSquared), 0.1)).unwrap();
    let targets = Data::new().with("y", Array3::zeros((3, 5, 1)));
    said.error(sim.fit(&Data::new(), &targets, &Fit::epochs(1)));
}

#[test]
fn a_plan_shows_where_the_host_is_asked() {
    let sim = with(&network(Some(half()), false), &devices()[1]);
    let outline = sim.outline(100).unwrap();
    let program = &outline.parts[0].program;
    let host: Vec<_> = program.stages.iter().filter(|s| s.operators.contains(&"callback")).collect();
    assert_eq!(host.len(), 1);
    assert!(program.to_string().contains("host"), "{program}");
    assert_eq!(outline.parts[0].times, 1);
    let looped = with(&network(Some(half()), true), &devices()[1]).outline(100).unwrap();
    assert_eq!((looped.parts[0].times, looped.parts[0].program.steps), (100, 1));
}

/// A callback that gives what it got `steps` steps ago, and zeros before.
fn delay(steps: usize) -> Node {
    let mut history = VecDeque::from(vec![0.0; steps]);
    Node::callback(1, 1, move |_, x| {
        history.push_back(x[0]);
        vec![history.pop_front().unwrap()]
    })
}

/// Data through a delay of five steps, which with `looped` goes through a filter and back to its input.
fn delayed(looped: bool) -> Network {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let d = net.node("d", delay(5)).unwrap();
    net.connect(x, d, Connection::new()).unwrap();
    if looped {
        let back = Connection::new().transform(Transform::Scalar(0.0)).synapse(Synapse::Lowpass(0.004));
        net.connect(d, d, back).unwrap();
    }
    net.probe("d", d).unwrap();
    net
}

/// Different numbers for each example and step.
fn numbered(examples: usize, steps: usize) -> Array3<f32> {
    Array3::from_shape_fn((examples, steps, 1), |(e, t, _)| (100 * (e + 1) + t) as f32)
}

fn five_later((e, t, _): (usize, usize, usize)) -> f32 {
    if t < 5 { 0.0 } else { (100 * (e + 1) + t - 5) as f32 }
}

#[test]
fn each_example_has_a_callback_of_its_own_and_a_reset_makes_it_anew() {
    for (looped, device) in
        [false, true].into_iter().flat_map(|looped| devices().iter().map(move |d| (looped, d)))
    {
        let net = delayed(looped);
        let (d, what) = (net.find_probe("d").unwrap(), format!("loop {looped} on {device}"));
        let mut sim = with(&net, device);
        let data = |from: usize, to: usize| {
            let rows = numbered(3, 20).slice(ndarray::s![.., from..to, ..]).to_owned();
            Data::new().with("x", rows)
        };
        let expected = Array3::from_shape_fn((3, 20, 1), five_later);
        for _ in 0..2 {
            sim.run_steps(13, &data(0, 13)).unwrap();
            // A prediction starts anew, and leaves the run alone.
            let predicted = sim.predict(&Data::new().with("x", numbered(4, 20))).unwrap();
            close(&[predicted[&d].clone()], &[Array3::from_shape_fn((4, 20, 1), five_later)], &what);
            sim.run_steps(7, &data(13, 20)).unwrap();
            close(&[sim.data(d).unwrap()], std::slice::from_ref(&expected), &what);
            sim.reset().unwrap();
        }
    }
}

#[test]
fn a_factory_makes_the_callback_of_an_example_by_its_number_in_the_data() {
    let made = Arc::new(Mutex::new(Vec::new()));
    let seen = made.clone();
    let factory = move |example: usize| {
        seen.lock().unwrap().push(example);
        let mut calls = 0;
        move |_: f64, x: &[f32]| {
            calls += 1;
            vec![x[0] + (10 * example + calls) as f32]
        }
    };
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let f = net.node("f", Node::callback_with(1, 1, factory)).unwrap();
    net.connect(x, f, Connection::new()).unwrap();
    let p = net.probe("p", f).unwrap();
    let inputs = Data::new().with("x", Array3::zeros((5, 2, 1)));
    for device in devices() {
        // Minibatches of 3 and of 2.
        let out = with(&net, device).predict(&inputs).unwrap();
        let expected = Array3::from_shape_fn((5, 2, 1), |(e, t, _)| (10 * e + t + 1) as f32);
        close(&[out[&p].clone()], &[expected], &device.to_string());
        assert_eq!(std::mem::take(&mut *made.lock().unwrap()), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn a_failed_window_restores_the_state_of_callbacks() {
    for device in devices() {
        let failed = Arc::new(AtomicUsize::new(0));
        let mut sum = 0.0;
        let node = Node::callback(1, 1, move |t, x| {
            assert!((t - 0.006).abs() > 1e-9 || failed.fetch_add(1, Ordering::Relaxed) > 0, "once");
            sum += x[0];
            vec![sum]
        });
        let mut net = Network::new(0);
        let one = net.node("one", Node::Constant(vec![1.0])).unwrap();
        let f = net.node("f", node).unwrap();
        net.connect(one, f, Connection::new()).unwrap();
        let p = net.probe("p", f).unwrap();
        let mut sim = with(&net, device);
        sim.run_steps(4, &Data::new()).unwrap();
        sim.run_steps(4, &Data::new()).unwrap_err();
        sim.run_steps(4, &Data::new()).unwrap();
        let counts = Array3::from_shape_fn((3, 8, 1), |(_, t, _)| t as f32 + 1.0);
        close(&[sim.data(p).unwrap()], &[counts], &device.to_string());
    }
}

#[test]
fn training_in_windows_that_are_run_twice_sees_the_same_callbacks() {
    let mut net = delayed(false);
    let d = net.find("d").unwrap();
    let y = net.layer("y", Layer::dense(1).init(Init::Values(vec![0.5])), d).unwrap();
    net.probe("y", y).unwrap();
    let data = |scale: f32| numbered(7, 20).mapv(|x| scale * x);
    let (inputs, targets) = (Data::new().with("x", data(1e-3)), Data::new().with("y", data(2e-3)));
    for device in devices() {
        let weights = |backprop| {
            let mut sim = with(&net, device);
            let training = Training::new(Objective::new().loss("y", Loss::MeanSquared), 0.5);
            sim.compile(training.backprop(backprop)).unwrap();
            sim.fit(&inputs, &targets, &Fit::epochs(3)).unwrap();
            sim.parameter("y/weights").unwrap()[[0, 0]]
        };
        let (full, windows) = (weights(Backprop::Full), weights(Backprop::Checkpointed(3)));
        assert!((full - windows).abs() < 1e-5 && (full - 0.5).abs() > 0.01, "{full}, {windows} on {device}");
    }
}
