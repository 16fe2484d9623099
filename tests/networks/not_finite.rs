//! Values that are not finite are reported with their place, and change nothing.

use super::errors::{cpu, data, loss, simulator};
use crate::common::devices;
use crate::common::messages::Messages;
use ndarray::{Array3, array};
use nengo_wgpu::internals::expr::function::Surrogate;
use nengo_wgpu::internals::neuron::{AdaptiveLif, Izhikevich, LifRate, NeuronType, Spiking};
use nengo_wgpu::network::{Connection, Function, Init, Layer, Network, Neurons, Node, Synapse, Transform};
use nengo_wgpu::train::{Backprop, Loss, Objective, Schedule, Training};
use nengo_wgpu::{Data, Error, Fit, Options, Simulator};

#[test]
fn data_that_are_not_finite_are_refused_with_the_step() {
    let said = Messages::of("data that are not finite are refused with the step");
    for device in devices() {
        let mut sim = simulator(device);
        let mut x = Array3::zeros((2, 5, 3));
        for bad in [f32::NAN, f32::INFINITY] {
            x[[1, 3, 2]] = bad;
            said.error(sim.run_steps(5, &Data::new().with("x", x.clone())));
        }
        sim.compile(loss()).unwrap();
        let targets = Data::new().with("y", array![[f32::INFINITY, 0.0]]);
        said.error(sim.fit(&data("x", (1, 3)), &targets, &Fit::epochs(1)));
        said.error(sim.set_parameter("dense/bias", &array![[f32::NAN, 0.0]]));
        sim.run_steps(5, &data("x", (2, 3))).unwrap();
    }
    said.error(Network::new(0).node("c", Node::Constant(vec![f32::NAN])));
}

#[test]
fn an_exploding_loss_is_reported_with_probe_and_step_and_keeps_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    for device in devices() {
        let mut sim = simulator(device);
        sim.compile(loss().schedule(Schedule::constant(1e18))).unwrap();
        let (x, y) = (data("x", (2, 3)), data("y", (2, 2)));
        let good = {
            let mut sim = simulator(device);
            sim.compile(loss()).unwrap();
            sim.fit(&x, &y, &Fit { checkpoint: Some(path.clone()), ..Fit::epochs(2) }).unwrap();
            sim.parameter("dense/weights").unwrap()
        };
        let fit = Fit { checkpoint: Some(path.clone()), ..Fit::epochs(50) };
        let mut bytes = std::fs::read(&path).unwrap();
        let exploded = loop {
            // One epoch a call, to know the last checkpoint before.
            match sim.fit(&x, &y, &Fit { epochs: 1, ..fit.clone() }) {
                Ok(_) => bytes = std::fs::read(&path).unwrap(),
                Err(e) => break e,
            }
        };
        match &exploded {
            Error::NotFinite { what, .. } => {
                assert!(what.contains("'y'") || what.contains("dense"), "{exploded}")
            }
            other => panic!("{other}"),
        }
        assert!(exploded.to_string().contains("at step"), "{exploded}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "the last checkpoint is kept");
        let mut again = simulator(device);
        again.compile(loss()).unwrap();
        again.load_checkpoint(&path).unwrap();
        assert!(again.parameter("dense/weights").unwrap().iter().all(|w| w.is_finite()));
        assert!(good.iter().all(|w| w.is_finite()));
    }
}

#[test]
fn a_nan_voltage_ends_a_run_with_the_neurons_name() {
    let said = Messages::of("a nan voltage ends a run with the neurons name");
    for device in devices() {
        for neurons in [NeuronType::lif(), AdaptiveLif::default().into(), Izhikevich::default().into()] {
            let mut net = Network::new(0);
            let x = net.node("x", Node::Constant(vec![-0.5])).unwrap();
            let hidden = net.neurons("hidden", Neurons::new(4, neurons)).unwrap();
            let log = Function::parse("log(x); x; 1; 0").unwrap();
            net.connect(x, hidden, Connection::new().function(log)).unwrap();
            net.probe("p", hidden).unwrap();
            let mut sim = Simulator::new(&net, device).unwrap();
            let result = sim.run_steps(20, &Data::new());
            said.error(result);
        }
        // A rate is not a number where its current is none.
        let rate = || NeuronType::from(LifRate::default());
        let random = [NeuronType::stochastic_spiking(rate()), NeuronType::poisson_spiking(rate())];
        for neurons in random.into_iter().chain([rate()]) {
            let mut net = Network::new(0);
            let x = net.node("x", Node::Constant(vec![-0.5])).unwrap();
            let rates = Neurons::new(1, neurons).tuned(Init::Constant(1.0), Init::Zeros);
            let hidden = net.neurons("hidden", rates).unwrap();
            let log = Function::parse("log(x)").unwrap();
            net.connect(x, hidden, Connection::new().function(log)).unwrap();
            net.probe("p", hidden).unwrap();
            let result = Simulator::new(&net, device).unwrap().run_steps(20, &Data::new());
            said.error(result);
        }
    }
}

#[test]
fn a_nan_state_is_reported_with_its_step_in_long_runs() {
    let said = Messages::of("a nan state is reported with its step in long runs");
    let log = || Connection::new().function(Function::parse("log(x)").unwrap());
    let network = |called: bool| {
        let mut net = Network::new(0);
        let x = net.node("x", Node::function(1, |t| vec![if t > 1.4995 { -0.5 } else { 0.5 }])).unwrap();
        let hidden = net.neurons("hidden", Neurons::new(1, NeuronType::lif())).unwrap();
        net.connect(x, hidden, log()).unwrap();
        net.probe("spikes", hidden).unwrap();
        if called {
            net.node("twice", Node::callback(1, 1, |_, x| vec![2.0 * x[0]])).unwrap();
        }
        net
    };
    for device in devices() {
        for window in [None, Some(300)] {
            let mut sim = Simulator::new(&network(false), device).unwrap();
            sim.limit_windows(window).unwrap();
            sim.run_steps(400, &Data::new()).unwrap();
            let result = sim.run_steps(2600, &Data::new());
            said.error(result);
            sim.reset().unwrap();
            sim.run_steps(1499, &Data::new()).unwrap();
            said.error(sim.run_steps(1, &Data::new()));
            said.error(sim.predict_steps(&Data::new(), 2000));
        }
    }
    // A callback is called once a step, and not again to find out.
    let mut sim = Simulator::new(&network(true), cpu()).unwrap();
    said.error(sim.run_steps(2600, &Data::new()));

    // A filter passes it on at once.
    let mut net = network(false);
    let (x, y) = (net.find("x").unwrap(), net.node("y", Node::Passthrough(1)).unwrap());
    net.connect(x, y, log().synapse(Synapse::Alpha(0.1))).unwrap();
    net.probe("y", y).unwrap();
    for device in devices() {
        let result = Simulator::new(&net, device).unwrap().run_steps(2600, &Data::new());
        said.error(result);
    }
}

#[test]
fn a_nan_voltage_ends_a_training() {
    let said = Messages::of("a nan voltage ends a training");
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let hidden = net.neurons("hidden", Neurons::new(4, NeuronType::lif())).unwrap();
    let log = Connection::new().function(Function::parse("log(x); x; 1; 0").unwrap());
    net.connect(x, hidden, log).unwrap();
    let y = net.layer("y", Layer::dense(1), hidden).unwrap();
    net.probe("y", y).unwrap();
    for device in devices() {
        let mut sim = Simulator::new(&net, device).unwrap();
        let surrogate = Spiking::Surrogate(Surrogate::FastSigmoid(10.0));
        sim.compile(Training::new(Objective::new().loss("y", Loss::MeanSquared), 0.1).spiking(surrogate))
            .unwrap();
        let (x, y) = (Data::new().with("x", array![[-0.5]]), Data::new().with("y", array![[1.0]]));
        let fit = Fit { n_steps: Some(5), ..Fit::epochs(3) };
        said.error(sim.fit(&x, &y, &fit));
    }
}

#[test]
fn a_loss_that_is_not_finite_is_reported_with_the_state_behind_it() {
    let said = Messages::of("a loss that is not finite is reported with the state behind it");
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(3)).unwrap();
    let grow = net.unconnected_layer("grow", Layer::dense(2).init(Init::Values(vec![1e20; 4])), 2).unwrap();
    let first = Transform::Dense(Init::Values(vec![0.0, 0.0, 0.0, 1.0, 1.0, 1.0]));
    net.connect(x, grow, Connection::new().transform(first)).unwrap();
    net.connect(grow, grow, Connection::new().synapse(Synapse::Lowpass(0.005)).named("loop")).unwrap();
    net.probe("y", grow).unwrap();
    for device in devices() {
        for backprop in [Backprop::Full, Backprop::Truncated(3), Backprop::Checkpointed(4)] {
            let mut sim =
                Simulator::with(&net, device, Options { minibatch: 2, ..Options::default() }).unwrap();
            sim.compile(loss().backprop(backprop)).unwrap();
            let fit = Fit { n_steps: Some(12), ..Fit::epochs(1) };
            said.error(sim.predict_steps(&data("x", (2, 3)), 12));
            said.error(sim.fit(&data("x", (2, 3)), &data("y", (2, 2)), &fit));
        }
    }
}
