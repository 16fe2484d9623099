//! The memory of back-propagation through a population code, and of a simulator after runs of many kinds.

use crate::common::devices;
use ndarray::{Array2, Array3};
use nengo_wgpu::DeviceKind;
use nengo_wgpu::internals::neuron::{Lif, LifRate};
use nengo_wgpu::network::benchmarks;
use nengo_wgpu::network::{Connection, Init, Layer, Network, Neurons, Node, Synapse, Transform};
use nengo_wgpu::train::{Backprop, Loss, Objective, Training};
use nengo_wgpu::{Data, Device, Fit, Options, Simulator};

const DIMENSIONS: usize = 128;
const NEURONS: usize = 32;
const BATCH: usize = 64;

/// An integrator of as many dimensions, each kept up by LIF neurons of its own, trained by the rates of its neurons.
fn integrator(device: &Device) -> Simulator {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(DIMENSIONS)).unwrap();
    let mut objective = Objective::new();
    for i in 0..DIMENSIONS {
        let dense = |init| Connection::new().transform(Transform::Dense(init));
        let value = net.node(&format!("value {i}"), Node::Passthrough(1)).unwrap();
        let neurons = net.neurons(&format!("neurons {i}"), Neurons::new(NEURONS, Lif::default())).unwrap();
        let input = Connection::new().pre(i).transform(Transform::Scalar(0.1)).synapse(Synapse::Lowpass(0.1));
        net.connect(x, value, input).unwrap();
        net.connect(value, neurons, dense(Init::Uniform(-1.0, 1.0))).unwrap();
        let back = dense(Init::Uniform(-0.001, 0.001)).synapse(Synapse::Lowpass(0.1));
        net.connect(neurons, value, back).unwrap();
        let out = net.layer(&format!("out {i}"), Layer::dense(1).no_bias(), neurons).unwrap();
        net.probe(&format!("y {i}"), out).unwrap();
        objective = objective.loss(&format!("y {i}"), Loss::MeanSquared);
    }
    let mut sim = Simulator::with(&net, device, Options { minibatch: BATCH, ..Options::default() }).unwrap();
    sim.compile(Training::new(objective, 1e-3)).unwrap();
    sim
}

/// Bytes that training takes on a device for a run of `steps`.
fn bytes(sim: &Simulator, steps: usize, backprop: Backprop) -> f64 {
    let inputs = Data::new().with("x", Array3::zeros((BATCH, steps, DIMENSIONS)));
    let targets = (0..DIMENSIONS)
        .fold(Data::new(), |data, i| data.with(&format!("y {i}"), Array3::zeros((BATCH, steps, 1))));
    sim.memory_estimate(&inputs, &targets, None, backprop).unwrap().bytes as f64
}

#[test]
fn a_step_of_back_propagation_keeps_a_few_values_of_a_population_and_windows_keep_none() {
    let currents = (4 * DIMENSIONS * NEURONS * BATCH) as f64;
    for device in devices() {
        let sim = integrator(device);
        let a_step = (bytes(&sim, 30, Backprop::Full) - bytes(&sim, 10, Backprop::Full)) / 20.0;
        println!("{:.2} MB a step on {device}; the currents are {:.2}", a_step / 1e6, currents / 1e6);
        assert!(a_step <= 2.5 * currents, "{:.2} MB a step on {device}", a_step / 1e6);
        // With windows of a fixed length only the states at their borders grow.
        let window = Backprop::Checkpointed(5);
        let a_step = (bytes(&sim, 60, window) - bytes(&sim, 30, window)) / 30.0;
        println!("{:.3} MB a step in windows on {device}", a_step / 1e6);
        assert!(a_step <= 0.1e6, "{:.3} MB a step in windows on {device}", a_step / 1e6);
    }
}

/// The population reads one value for each of its ensembles. An adapter keeps the adjoint of its currents, and narrow values;
/// the CPU, which makes sums over time within the loop, keeps narrow values alone.
#[test]
fn the_gradient_of_an_array_keeps_what_is_as_wide_as_a_population_at_most_once() {
    let currents = (4 * DIMENSIONS * NEURONS * BATCH) as f64;
    for device in devices() {
        let net = benchmarks::integrator(DIMENSIONS, NEURONS, Lif::default()).unwrap();
        let mut sim =
            Simulator::with(&net, device, Options { minibatch: BATCH, ..Options::default() }).unwrap();
        sim.compile(Training::new(Objective::new().loss("p", Loss::MeanSquared), 1e-3)).unwrap();
        let bytes = |steps: usize| {
            let rows = || Array3::zeros((BATCH, steps, DIMENSIONS));
            let (inputs, targets) = (Data::new().with("inp", rows()), Data::new().with("p", rows()));
            sim.memory_estimate(&inputs, &targets, None, Backprop::Full).unwrap().bytes as f64
        };
        let a_step = (bytes(30) - bytes(10)) / 20.0;
        let bound = if device.kind() == DeviceKind::Cpu { 0.2 * currents } else { 1.3e6 };
        println!("{:.3} MB a step on {device}; the currents are {:.3}", a_step / 1e6, currents / 1e6);
        assert!(a_step <= bound, "{:.3} MB a step on {device}", a_step / 1e6);
    }
}

/// With two threads and more the loop's tiles each make a part of the sums.
#[test]
fn sums_that_a_loop_makes_on_its_way_are_the_gradient() {
    for (device, batch) in devices().iter().flat_map(|d| [(d, 1), (d, 37)]) {
        let net = benchmarks::integrator(3, 5, LifRate::default()).unwrap();
        let mut sim =
            Simulator::with(&net, device, Options { minibatch: batch, ..Options::default() }).unwrap();
        sim.compile(Training::new(Objective::new().loss("p", Loss::MeanSquared), 1e-3)).unwrap();
        let rows = |factor: usize| {
            Array3::from_shape_fn((batch, 6, 3), |(b, t, c)| {
                ((b * 31 + t * 57 + c * factor) % 19) as f32 * 0.3
            })
        };
        let (inputs, targets) = (Data::new().with("inp", rows(5)), Data::new().with("p", rows(7)));
        let checked = sim.check_gradients(&inputs, &targets, None, 20).unwrap();
        assert!(checked.iter().filter(|c| c.comparable).count() >= 4, "{checked:?}");
        for one in checked {
            assert!(one.error() < 2e-4, "{one:?} with {batch} examples on {device}");
        }
    }
}

/// A population with states, 8 examples at most.
fn population(device: &Device) -> Simulator {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(16)).unwrap();
    let n = net.neurons("n", Neurons::new(64, Lif::default())).unwrap();
    net.connect(x, n, Connection::new().transform(Transform::Dense(Init::Glorot))).unwrap();
    net.probe("p", n).unwrap();
    Simulator::with(&net, device, Options { minibatch: 8, ..Options::default() }).unwrap()
}

fn input(examples: usize) -> Data {
    Data::new().with("x", Array2::from_elem((examples, 16), 2.0))
}

#[test]
fn programs_of_many_run_lengths_and_examples_do_not_pile_up_and_a_reset_frees_them() {
    for device in devices() {
        let mut sim = population(device);
        sim.set_keep_history(false);
        let start = sim.allocated_bytes();
        let p = sim.network().find_probe("p").unwrap();
        let mut after = Vec::new();
        for i in 0..60 {
            sim.predict_steps(&input(1 + i % 8), 100 + i).unwrap();
            after.push(sim.allocated_bytes());
        }
        // Two to three times as long as the first twenty.
        assert!(after[59] < 2 * after[19], "{device}: {after:?}");
        let again = sim.predict_steps(&input(1), 100).unwrap();
        let fresh = population(device).predict_steps(&input(1), 100).unwrap();
        assert_eq!(again[&p].slice(ndarray::s![.., -1.., ..]), fresh[&p].slice(ndarray::s![.., -1.., ..]));
        sim.reset().unwrap();
        assert_eq!(sim.allocated_bytes(), start, "{device}");
    }
}

#[test]
fn a_run_continues_from_its_states_after_runs_of_other_lengths() {
    for device in devices() {
        let (mut whole, mut parts) = (population(device), population(device));
        let p = whole.network().find_probe("p").unwrap();
        whole.run_steps(210, &input(8)).unwrap();
        for i in 1..=20 {
            parts.run_steps(i, &input(8)).unwrap();
            parts.predict_steps(&input(1 + i % 8), 20 + i).unwrap();
        }
        let (whole, parts) = (whole.data(p).unwrap(), parts.data(p).unwrap());
        let spikes = |x: &Array3<f32>| x.iter().filter(|x| **x > 0.0).count();
        assert!(spikes(&whole) > 0 && whole == parts, "{device}");
    }
}

#[test]
fn programs_of_many_lengths_of_a_training_do_not_pile_up() {
    for device in devices() {
        let mut sim = population(device);
        let objective = Objective::new().loss("p", Loss::MeanSquared);
        sim.compile(Training::new(objective, 1e-6)).unwrap();
        let start = sim.allocated_bytes();
        let mut after = Vec::new();
        for i in 0..40 {
            let targets = Data::new().with("p", Array3::zeros((8, 20 + i, 64)));
            sim.fit(&input(8), &targets, &Fit::epochs(1)).unwrap();
            after.push(sim.allocated_bytes());
        }
        assert!(after[39] < 2 * after[17], "{device}: {after:?}");
        sim.reset().unwrap();
        assert!(sim.allocated_bytes() <= start, "{device}");
    }
}
