//! Runs in windows: the same gradients, the memory that was said before, and the errors where something does not fit.

mod common;

use common::devices;
use ndarray::{Array2, Array3, s};
use nengo_wgpu::graph::{State, Tensor};
use nengo_wgpu::network::{
    Activation, Bound, Connection, Init, Layer, Network, Node, Parameters, Synapse, TensorNode, Transform,
};
use nengo_wgpu::op::Unary;
use nengo_wgpu::op::real::{Real, Var};
use nengo_wgpu::op::scan::{Emits, Scan};
use nengo_wgpu::op::step::Step;
use nengo_wgpu::train::{
    Backprop, Clip, Loss, Metric, Objective, Optimiser, Over, Penalty, Select, Training,
};
use nengo_wgpu::{Data, Device, Error, Fit, MemoryEstimate, Options, Simulator};

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
fn recurrent(n: usize, dropout: f32) -> Network {
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

fn simulator(net: &Network, device: &Device, minibatch: usize) -> Simulator {
    Simulator::with(net, device, Options { minibatch, ..Options::default() }).unwrap()
}

/// Inputs and targets for each step.
fn in_time(examples: usize, steps: usize) -> (Data, Data) {
    let of = |seed, size| {
        let values = common::uniform(seed, examples * steps * size, -1.0, 1.0);
        Array3::from_shape_vec((examples, steps, size), values).unwrap()
    };
    (Data::new().with("x", of(1, 3)), Data::new().with("y", of(2, 2)))
}

/// Inputs and targets that are held.
fn held(examples: usize) -> (Data, Data) {
    let of = |seed, size| {
        Array2::from_shape_vec((examples, size), common::uniform(seed, examples * size, -1.0, 1.0)).unwrap()
    };
    (Data::new().with("x", of(1, 3)), Data::new().with("y", of(2, 2)))
}

fn every_step() -> Objective {
    let l2 = |t: &nengo_wgpu::train::Terms<'_>| t.parameter("hidden/weights").square().sum_all().id;
    let _ = l2;
    Objective::new()
        .loss("y", Loss::MeanSquared)
        .activity("activity", Penalty::L2Half(0.1))
        .activity("activity", Penalty::L1(0.05))
        .custom_mean("decay", |t| t.parameter("hidden/weights").square().sum_all().scale(0.01))
}

fn training(objective: Objective, backprop: Backprop) -> Training {
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
    let numbers = [report.loss, report.penalty, report.metrics[0], evaluation.loss, evaluation.metrics[0]];
    all.extend(numbers.map(|x| x as f32));
    all
}

#[track_caller]
fn same(what: &str, a: &[f32], b: &[f32]) {
    let wide: Vec<f64> = b.iter().map(|x| f64::from(*x)).collect();
    let off = common::deviation(a, &wide);
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
                for window in [1, 2, 3, 4, 5, 6, 10, 11, 50] {
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
