//! Trainings and runs in windows: gradients and values equal those of the whole run.

use crate::common::devices;
use crate::common::messages::Messages;
use ndarray::{Array2, Array3, s};
use nengo_wgpu::internals::expr::Unary;
use nengo_wgpu::internals::expr::real::{Real, Var};
use nengo_wgpu::internals::expr::step::Step;
use nengo_wgpu::internals::graph::{State, Tensor};
use nengo_wgpu::internals::op::scan::{Emits, Scan};
use nengo_wgpu::network::{
    Activation, Bound, Connection, Init, Layer, Network, Node, Parameters, Sparse, Synapse, TensorNode,
    Transform,
};
use nengo_wgpu::train::{Backprop, Clip, Loss, Metric, Objective, Optimiser, Over, Penalty, Training};
use nengo_wgpu::{Data, Device, Fit, Options, Simulator};

/// Two coupled states that start away from zero, and a parameter.
struct Coupled;

impl TensorNode for Coupled {
    fn pre_build(&self, size_in: usize, _: usize, parameters: &mut Parameters) -> nengo_wgpu::Result<()> {
        parameters.add("b", 1, size_in, Init::Uniform(0.2, 0.8));
        Ok(())
    }

    fn call<'s>(&self, _: Tensor<'s>, x: Tensor<'s>, parameters: &Bound<'s>) -> Tensor<'s> {
        let step = Step::new(4, |x| {
            let [a, b, u, v] = x else { unreachable!() };
            let next_u = (*a * *v + Var::number(0.5) * *u).unary(Unary::Tanh);
            let next_v = Var::number(0.6) * *v + Var::number(0.3) * *u + *b * *a;
            vec![next_u * *b + next_v, next_u, next_v]
        });
        let states = vec![State::at("u", 0.25), State::at("v", -0.5)];
        let scan =
            Scan { name: "coupled", step, states, emits: Emits::Result, linear: false, backward: false };
        x.scope.apply(scan, &[x, parameters.get("b")])
    }
}

/// 3 inputs, a recurrent layer of `n` units with dropout, coupled states, 2 filtered outputs `y`.
pub(super) fn recurrent(n: usize, dropout: f32) -> Network {
    let mut net = Network::new(5);
    let x = net.node("x", Node::Input(3)).unwrap();
    let hidden = Layer::dense(n).activation(Activation::Tanh).dropout(dropout);
    let hidden = net.unconnected_layer("hidden", hidden, n).unwrap();
    let dense = || Connection::new().transform(Transform::Dense(Init::Uniform(-0.5, 0.5)));
    net.connect(x, hidden, dense()).unwrap();
    net.connect(hidden, hidden, dense().synapse(Synapse::Lowpass(0.005))).unwrap();
    let coupled = net.tensor_node("coupled", n, n, Coupled).unwrap();
    net.connect(hidden, coupled, Connection::new()).unwrap();
    let out = net.unconnected_layer("out", Layer::dense(2), n).unwrap();
    net.connect(coupled, out, Connection::new().synapse(Synapse::Lowpass(0.003))).unwrap();
    net.probe("y", out).unwrap();
    net.probe("activity", coupled).unwrap();
    net
}

pub(super) fn simulator(net: &Network, device: &Device, minibatch: usize) -> Simulator {
    Simulator::with(net, device, Options { minibatch, ..Options::default() }).unwrap()
}

/// Inputs and targets for each step.
fn in_time(examples: usize, steps: usize) -> (Data, Data) {
    let of = |seed, size| {
        let values = crate::common::uniform(seed, examples * steps * size, -1.0, 1.0);
        Array3::from_shape_vec((examples, steps, size), values).unwrap()
    };
    (Data::new().with("x", of(1, 3)), Data::new().with("y", of(2, 2)))
}

/// Inputs and targets that are held.
pub(super) fn held(examples: usize) -> (Data, Data) {
    let of = |seed, size| {
        Array2::from_shape_vec((examples, size), crate::common::uniform(seed, examples * size, -1.0, 1.0))
            .unwrap()
    };
    (Data::new().with("x", of(1, 3)), Data::new().with("y", of(2, 2)))
}

pub(super) fn every_step() -> Objective {
    Objective::new()
        .loss("y", Loss::MeanSquared)
        .activity("activity", Penalty::L2Half(0.1))
        .activity("activity", Penalty::L1(0.05))
        .custom_mean("decay", |t| t.parameter("hidden/weights").square().sum_all().scale(0.01))
}

pub(super) fn training(objective: Objective, backprop: Backprop) -> Training {
    let metric = Metric::MeanError("y".into());
    Training::new(objective, 0.05).optimiser(Optimiser::adam()).metric(metric).backprop(backprop)
}

/// Gradients of all parameters after one minibatch, and loss, penalty and metric.
fn gradients(
    net: &Network,
    device: &Device,
    (x, y): &(Data, Data),
    n_steps: Option<usize>,
    training: Training,
) -> Vec<f32> {
    let mut sim = simulator(net, device, 4);
    sim.compile(training).unwrap();
    let report = sim.fit(x, y, &Fit { n_steps, ..Fit::epochs(1) }).unwrap().remove(0);
    let evaluation = sim.evaluate_steps(x, y, n_steps).unwrap();
    let names: Vec<String> = net.parameters().iter().map(|p| p.name.clone()).collect();
    let mut all: Vec<f32> = names.iter().flat_map(|n| sim.gradient(n).unwrap()).collect();
    let numbers = [
        report.loss,
        report.penalty.unwrap_or(0.0),
        report.metrics[0],
        evaluation.loss,
        evaluation.metrics[0],
    ];
    all.extend(numbers.map(|x| x as f32));
    all
}

#[track_caller]
fn same(what: &str, a: &[f32], b: &[f32]) {
    let wide: Vec<f64> = b.iter().map(|x| f64::from(*x)).collect();
    let off = crate::common::deviation(a, &wide);
    assert!(off < 2e-6, "{what}: off by {off:e}\n{a:?}\n{b:?}");
}

#[test]
fn checkpointed_windows_give_the_gradient_of_the_whole_run() {
    let net = recurrent(5, 0.3);
    let last = || Objective::new().loss("y", Loss::MeanSquared).over(Over::Last);
    for device in devices() {
        let cases = [("steps", in_time(4, 11), None), ("held", held(4), Some(11))];
        for (what, data, n_steps) in cases {
            for (over, objective) in [("every", every_step()), ("last", last())] {
                let of =
                    |backprop| gradients(&net, device, &data, n_steps, training(objective.clone(), backprop));
                let whole = of(Backprop::Full);
                assert!(whole.iter().any(|g| g.abs() > 1e-3));
                for window in [1, 4, 10] {
                    let what = format!("{what}, {over}, windows of {window} on {device}");
                    same(&what, &of(Backprop::Checkpointed(window)), &whole);
                }
                same("one window", &of(Backprop::Truncated(11)), &whole);
                same("a window longer than the run", &of(Backprop::Truncated(99)), &whole);
                // Truncated windows have the same loss, but cut the gradient.
                let cut = of(Backprop::Truncated(4));
                let numbers = whole.len() - 5;
                let off = cut[..numbers].iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off > 1e-4, "{what}, {over} on {device}: {off}");
                same("numbers", &cut[numbers..numbers + 2], &whole[numbers..numbers + 2]);
            }
        }
    }
}

/// Gradient of `mean((s_t - target_t)^2)` for `w`, where `s_t = a s_{t-1} + (1 - a) w x_{t-1}`, if the derivative of `s`
/// starts anew every `window` steps.
fn truncated(w: f64, x: &[f32], targets: &[f32], a: f64, window: usize) -> f64 {
    let (mut state, mut slope, mut sum) = (0.0, 0.0, 0.0);
    for (t, (x, target)) in x.iter().zip(targets).enumerate() {
        if t % window == 0 {
            slope = 0.0;
        }
        sum += 2.0 * (state - f64::from(*target)) * slope / targets.len() as f64;
        state = a * state + (1.0 - a) * w * f64::from(*x);
        slope = a * slope + (1.0 - a) * f64::from(*x);
    }
    sum
}

#[test]
fn truncated_windows_cut_the_gradient_at_their_borders_and_nowhere_else() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let y = net.unconnected_layer("y", Layer::dense(1).init(Init::Values(vec![0.7])), 1).unwrap();
    let out = net.node("out", Node::Passthrough(1)).unwrap();
    net.connect(x, y, Connection::new()).unwrap();
    net.connect(y, out, Connection::new().synapse(Synapse::Lowpass(0.004))).unwrap();
    net.probe("p", out).unwrap();
    let steps = 13;
    let (inputs, targets) =
        (crate::common::uniform(3, steps, -1.0, 1.0), crate::common::uniform(4, steps, -1.0, 1.0));
    let array = |v: &[f32]| Array3::from_shape_vec((1, steps, 1), v.to_vec()).unwrap();
    let data = (Data::new().with("x", array(&inputs)), Data::new().with("p", array(&targets)));
    for device in devices() {
        for window in [1, 2, 5, 13] {
            let mut sim = simulator(&net, device, 1);
            let objective = Objective::new().loss("p", Loss::MeanSquared);
            let training = Training::new(objective, 0.0).backprop(Backprop::Truncated(window));
            sim.compile(training).unwrap();
            sim.fit(&data.0, &data.1, &Fit::epochs(1)).unwrap();
            let got = f64::from(sim.gradient("y/weights").unwrap()[[0, 0]]);
            let want = truncated(0.7, &inputs, &targets, (-0.001_f64 / 0.004).exp(), window);
            assert!((got - want).abs() < 1e-6, "windows of {window} on {device}: {got} for {want}");
        }
    }
}

#[test]
fn one_seed_gives_the_same_bits_in_windows_and_clipping_is_of_the_whole_gradient() {
    let net = recurrent(6, 0.2);
    let data = in_time(6, 9);
    for device in devices() {
        let bits = |backprop| {
            let mut sim = simulator(&net, device, 4);
            sim.compile(training(every_step(), backprop).clip(Clip::GlobalNorm(0.1))).unwrap();
            sim.fit(&data.0, &data.1, &Fit::epochs(3)).unwrap();
            sim.parameter("hidden/weights").unwrap().into_iter().collect::<Vec<f32>>()
        };
        for backprop in [Backprop::Checkpointed(4), Backprop::Truncated(4)] {
            assert_eq!(bits(backprop), bits(backprop), "{backprop:?} on {device}");
        }
        let (windows, whole) = (bits(Backprop::Checkpointed(4)), bits(Backprop::Full));
        let off = windows.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Adam divides by the gradient's size, which makes the most of a difference in the last bit.
        assert!(off < 1e-3, "on {device}: {off}");
    }
}

#[test]
fn the_last_step_the_sum_and_the_mean_over_time_are_those_of_the_outputs() {
    let net = recurrent(5, 0.0);
    let (x, _) = in_time(4, 6);
    let (_, y) = held(4);
    for device in devices() {
        let mut sim = simulator(&net, device, 4);
        let probe = net.find_probe("y").unwrap();
        let output = sim.predict(&x).unwrap().remove(&probe).unwrap();
        let Some(nengo_wgpu::Signal::Held(target)) = y.get("y") else { panic!() };
        let last = output.slice(s![.., 5, ..]).to_owned();
        let sum = output.sum_axis(ndarray::Axis(1));
        for (over, seen) in [(Over::Last, last), (Over::Sum, sum.clone()), (Over::Mean, sum / 6.0)] {
            let metric = Metric::MeanError("y".into());
            let objective = Objective::new().loss("y", Loss::MeanSquared).over(over);
            sim.compile(Training::new(objective, 0.1).metric(metric)).unwrap();
            let got = sim.evaluate(&x, &y).unwrap();
            let off = &seen - target;
            let (square, absolute) =
                (off.mapv(|x| x * x).mean().unwrap(), off.mapv(f32::abs).mean().unwrap());
            assert!((got.loss - f64::from(square)).abs() < 1e-5, "{over:?} on {device}");
            assert!((got.metrics[0] - f64::from(absolute)).abs() < 1e-5, "{over:?} on {device}");
        }
    }
}

#[test]
fn long_predictions_run_in_windows_and_may_keep_the_last_step_alone() {
    let net = recurrent(5, 0.0);
    let (x, _) = held(3);
    let probe = net.find_probe("y").unwrap();
    for device in devices() {
        let mut sim = simulator(&net, device, 2);
        let long = sim.predict_steps(&x, 2100).unwrap().remove(&probe).unwrap();
        assert_eq!(long.dim(), (3, 2100, 2));
        let short = sim.predict_steps(&x, 900).unwrap().remove(&probe).unwrap();
        // Windows of other lengths cut a filter into other chunks of time.
        let off = short.iter().zip(long.slice(s![.., ..900, ..])).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0.0, f32::max) < 1e-6, "{device}");
        let mut run = simulator(&net, device, 1);
        let own = Data::new().with(
            "x",
            match x.get("x") {
                Some(nengo_wgpu::Signal::Held(a)) => a.slice(s![..1, ..]).to_owned(),
                _ => panic!(),
            },
        );
        run.run_steps(2100, &own).unwrap();
        let whole = run.data(probe).unwrap();
        let off = whole.iter().zip(long.slice(s![..1, .., ..])).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0.0, f32::max) < 1e-6, "{device}");
        sim.set_keep_history(false);
        let last = sim.predict_steps(&x, 2100).unwrap().remove(&probe).unwrap();
        let off = last.iter().zip(long.slice(s![.., 2099.., ..])).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0.0, f32::max) < 1e-6, "{device}");
        run.set_keep_history(false);
        run.run_steps(3, &own).unwrap();
        assert_eq!(run.data(probe).unwrap().dim(), (1, 1, 2));
    }
}

#[test]
fn training_in_many_submissions_gives_the_same_bits() {
    let said = Messages::of("training in many submissions gives the same bits");
    let fused = recurrent(5, 0.3);
    // Sparse products have no form inside of a shader's loop: this one is dispatched step by step.
    let mut stepwise = recurrent(5, 0.0);
    let hidden = stepwise.find("hidden").unwrap();
    let sparse =
        Sparse { rows: vec![0, 1, 2, 3, 4], cols: vec![4, 2, 0, 3, 1], init: Init::Uniform(-0.5, 0.5) };
    let back = Connection::new().transform(Transform::Sparse(sparse)).synapse(Synapse::Lowpass(0.002));
    stepwise.connect(hidden, hidden, back).unwrap();
    // In minibatches of four and of three.
    let data = in_time(7, 9);
    for device in devices() {
        for (net, backprop) in [
            (&fused, Backprop::Full),
            (&stepwise, Backprop::Full),
            (&stepwise, Backprop::Truncated(4)),
            (&stepwise, Backprop::Checkpointed(4)),
        ] {
            let train = |limit: Option<usize>| {
                let mut sim = simulator(net, device, 4);
                sim.compile(training(every_step(), backprop)).unwrap();
                sim.limit_submissions(limit).unwrap();
                let losses: Vec<f64> =
                    sim.fit(&data.0, &data.1, &Fit::epochs(3)).unwrap().iter().map(|r| r.loss).collect();
                let names = net.parameters().iter().map(|p| &p.name);
                let parameters: Vec<f32> = names.flat_map(|n| sim.parameter(n).unwrap()).collect();
                (losses, parameters, sim.predict(&data.0).unwrap())
            };
            let whole = train(None);
            assert!(whole.0[2] < whole.0[0], "{:?}", whole.0);
            for limit in [1, 5, 64] {
                assert_eq!(train(Some(limit)), whole, "{limit} dispatches of {backprop:?} on {device}");
            }
        }
    }
    let mut sim = simulator(&fused, &Device::cpu(), 4);
    said.error(sim.limit_submissions(Some(0)));
}

#[test]
fn gradients_pass_their_own_check_and_spikes_are_not_compared() {
    let net = recurrent(5, 0.3);
    let data = in_time(4, 7);
    for device in devices() {
        let mut sim = simulator(&net, device, 4);
        sim.compile(training(every_step(), Backprop::Checkpointed(3))).unwrap();
        let checked = sim.check_gradients(&data.0, &data.1, None, 6).unwrap();
        let names: Vec<&str> = checked.iter().map(|c| c.name.as_str()).collect();
        let mut want: Vec<&str> = net.parameters().iter().map(|p| p.name.as_str()).collect();
        want.push("x");
        assert_eq!(names, want);
        for c in &checked {
            assert!(c.comparable && c.checked == c.elements.min(6) && c.error() < 1e-4, "{c:?} on {device}");
        }
    }
    /// A spike, with another function's derivative.
    struct Spike(bool);
    impl TensorNode for Spike {
        fn pre_build(&self, _: usize, _: usize, _: &mut Parameters) -> nengo_wgpu::Result<()> {
            Ok(())
        }

        fn call<'s>(&self, _: Tensor<'s>, x: Tensor<'s>, _: &Bound<'s>) -> Tensor<'s> {
            x.unary(if self.0 {
                Unary::Spike(nengo_wgpu::train::Surrogate::FastSigmoid(2.0).bump())
            } else {
                Unary::Tanh
            })
        }
    }
    for spikes in [false, true] {
        let mut net = Network::new(2);
        let x = net.node("x", Node::Input(3)).unwrap();
        let a = net.layer("before", Layer::dense(4), x).unwrap();
        let spike = net.tensor_node("spike", 4, 4, Spike(spikes)).unwrap();
        net.connect(a, spike, Connection::new()).unwrap();
        let b = net.layer("after", Layer::dense(2), spike).unwrap();
        net.probe("y", b).unwrap();
        let mut sim = simulator(&net, &devices()[1], 4);
        sim.compile(Training::new(Objective::new().loss("y", Loss::MeanSquared), 0.1)).unwrap();
        let (x, y) = held(4);
        for c in sim.check_gradients(&x, &y, None, 100).unwrap() {
            assert_eq!(c.comparable, !spikes || c.name.starts_with("after"), "{c:?}");
            assert!(c.error() < 1e-4 && (!c.comparable || c.checked == c.elements), "{c:?}");
        }
    }
}
