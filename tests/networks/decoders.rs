//! Decoders: the settings they depend on, full weights, and their training.

use super::ensembles::{constant, cpu};
use crate::common::devices;
use ndarray::{Array2, array};
use nengo_wgpu::internals::neuron::LifRate;
use nengo_wgpu::internals::solve::{Method, Solver};
use nengo_wgpu::network::{Connection, Distribution, Ensemble, Function, Init, Network, Node, Transform};
use nengo_wgpu::train::{Loss, Objective, Optimiser, Training};
use nengo_wgpu::{Data, Device, Fit, Simulator};

#[test]
fn full_weights_give_the_currents_of_decoders_and_encoders() {
    let build = |weights: bool| {
        let mut net = Network::new(5);
        net.config.ensemble.neuron_type = Some(LifRate::default().into());
        let x = constant(&mut net, "x", &[0.4, -0.3]);
        let a = net.ensemble("a", Ensemble::new(40, 2)).unwrap();
        let b = net.ensemble("b", Ensemble::new(30, 3)).unwrap();
        net.connect(x, a, Connection::new()).unwrap();
        let transform = Transform::Dense(Init::Values(vec![0.5, 0.2, -1.0, 0.7]));
        let connection = Connection::new().transform(transform).post([2, 0]).named("ab");
        let solver = if weights { Solver::default().weights() } else { Solver::default() };
        net.connect(a, b, connection.solver(solver)).unwrap();
        let p = net.probe("p", net.neurons_of(b).unwrap()).unwrap();
        let mut sim = cpu(&net);
        sim.run_steps(2, &Data::new()).unwrap();
        let shape = sim.parameter("ab/weights").unwrap().dim();
        (sim.data(p).unwrap(), shape)
    };
    let ((full, shape), (decoded, small)) = (build(true), build(false));
    assert_eq!((shape, small), ((30, 40), (2, 40)));
    assert!(decoded.iter().any(|x| *x > 1.0));
    // The same currents, summed in another order; just above its threshold a neuron's rate rises steeply with them.
    assert!((&full - &decoded).iter().all(|x| x.abs() < 0.05), "off by {}", &full - &decoded);
}

/// Each method of all columns at once must give what it gives one alone: a connection more changes none before it.
#[test]
fn decoders_do_not_depend_on_other_connections() {
    let methods = [
        Method::LstsqL2 { reg: 0.1 },
        Method::LstsqNoise { noise: 0.1 },
        Method::LstsqL1 { l1: 1e-4, l2: 1e-6, max_iter: 100 },
        Method::LstsqDrop { drop: 0.25, first_reg: 0.001, reg: 0.1 },
        Method::Nnls,
    ];
    for method in methods {
        let decoders = |more: bool| {
            let mut net = Network::new(3);
            let a = net.ensemble("a", Ensemble::new(30, 1)).unwrap();
            let out = net.node("out", Node::Passthrough(1)).unwrap();
            let solver = Solver::from(method.clone());
            let of = |f: fn(&[f64]) -> Vec<f64>| Connection::new().function(f).solver(solver.clone());
            net.connect(a, out, of(|x| vec![x[0] * x[0]]).named("square")).unwrap();
            if more {
                net.connect(a, out, of(|x| vec![10.0 * (9.0 * x[0]).sin()]).named("sine")).unwrap();
            }
            cpu(&net).parameter("square/weights").unwrap()
        };
        assert_eq!(decoders(true), decoders(false), "{method:?}");
    }
}

#[test]
fn only_points_of_its_own_are_a_connections_to_scale() {
    let weights = |points: Option<Distribution>, scale: bool| {
        let mut net = Network::new(3);
        let a = net.ensemble("a", Ensemble::new(30, 1).radius(4.0)).unwrap();
        let out = net.node("out", Node::Passthrough(1)).unwrap();
        let mut connection = Connection::new().function(|x: &[f64]| vec![x[0] * x[0]]).named("c");
        connection.decoding.eval_points = points;
        connection.decoding.scale_eval_points = scale;
        net.connect(a, out, connection).unwrap();
        cpu(&net).parameter("c/weights").unwrap()
    };
    assert_eq!(weights(None, true), weights(None, false));
    let points = |by: f64| {
        Some(Distribution::Samples(Array2::from_shape_fn((50, 1), |(i, _)| by * (i as f64 / 25.0 - 1.0))))
    };
    assert_eq!(weights(points(1.0), true), weights(points(4.0), false));
    assert_ne!(weights(points(1.0), true), weights(points(1.0), false));
}

#[test]
fn connections_that_read_the_same_are_solved_once() {
    let mut net = Network::new(0);
    let a = net.ensemble("a", Ensemble::new(20, 2)).unwrap();
    let b = net.ensemble("b", Ensemble::new(20, 2)).unwrap();
    let square = Function::parse("square").unwrap();
    for _ in 0..5 {
        net.connect(a, b, Connection::new().synapse(0.01).function(square.clone())).unwrap();
        net.connect(a, b, Connection::new().synapse(0.01)).unwrap();
    }
    let own = Distribution::Uniform(0.0, 1.0);
    net.connect(a, b, Connection::new().synapse(0.01).eval_points(own)).unwrap();
    let steps = std::cell::RefCell::new(Vec::new());
    net.solve_with(|done, all| steps.borrow_mut().push((done, all))).unwrap();
    // One system for the ensemble's points, and one for the points of the last connection.
    assert_eq!(*steps.borrow(), [(1, 2), (2, 2)]);
    net.solve_with(|_, _| panic!("all is solved")).unwrap();
}

#[test]
fn training_through_an_ensemble_is_frozen_into_a_network() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let a = net.ensemble("a", Ensemble::new(20, 1).neuron_type(LifRate::default())).unwrap();
    let out = net.node("out", Node::Passthrough(1)).unwrap();
    net.connect(x, a, Connection::new()).unwrap();
    let c = net.connect(a, out, Connection::new().named("out weights")).unwrap();
    let p = net.probe("y", out).unwrap();
    let mut sim = cpu(&net);
    let (before, bias) = (sim.weights(c).unwrap(), sim.parameter("a/bias").unwrap());
    let objective = Objective::new().loss("y", Loss::MeanSquared);
    sim.compile(Training::new(objective, 1e-5).optimiser(Optimiser::adam())).unwrap();
    let inputs = Data::new().with("x", array![[0.5_f32], [-0.5]]);
    let targets = Data::new().with("y", array![[1.0_f32], [0.0]]);
    let reports = sim.fit(&inputs, &targets, &Fit::epochs(20)).unwrap();
    assert!(reports[19].loss < reports[0].loss);
    assert!(sim.weights(c).unwrap() != before && sim.parameter("a/bias").unwrap() != bias);
    let frozen = sim.freeze().unwrap();
    let mut again = cpu(&frozen);
    assert_eq!(again.weights(c).unwrap(), sim.weights(c).unwrap());
    assert_eq!(again.predict(&inputs).unwrap()[&p], sim.predict(&inputs).unwrap()[&p]);
    // Its neurons are rate neurons: its outputs are those decoded at steady rates.
    let decoded = sim.decoded(c, &array![[0.5]]).unwrap();
    let run = sim.predict(&inputs).unwrap();
    assert!((decoded[[0, 0]] - f64::from(run[&p][[0, 0, 0]])).abs() < 1e-4);
    // A connection that is added now is solved with the trained neurons.
    let mut more = frozen.clone();
    let late = more.connect(a, out, Connection::new().named("late")).unwrap();
    let value = cpu(&more).decoded(late, &array![[0.3]]).unwrap()[[0, 0]];
    assert!((value - 0.3).abs() < 0.05, "{value}");
}

#[test]
fn connections_onto_neurons_equal_those_through_a_node() {
    let rates = |direct: bool, slice: std::ops::Range<i64>, device: &Device| {
        let mut net = Network::new(2);
        let x = constant(&mut net, "x", &[0.4]);
        let a = net.ensemble("a", Ensemble::new(30, 1).neuron_type(LifRate::default())).unwrap();
        let b = net.ensemble("b", Ensemble::new(15, 1).neuron_type(LifRate::default())).unwrap();
        net.connect(x, a, Connection::new()).unwrap();
        let neurons = net.neurons_of(b).unwrap();
        let spread = Transform::Dense(Init::Values((0..12).map(|i| 0.1 * i as f32 - 0.5).collect()));
        let (square, spread) = (Connection::new().function(|x: &[f64]| vec![x[0] * x[0]]), (spread, slice));
        if direct {
            net.connect(a, neurons, square.transform(spread.0).post(spread.1)).unwrap();
        } else {
            let middle = net.node("middle", Node::Passthrough(1)).unwrap();
            net.connect(a, middle, square).unwrap();
            let onto = Connection::new().transform(spread.0).post(spread.1);
            net.connect(middle, neurons, onto).unwrap();
        }
        let p = net.probe("p", neurons).unwrap();
        let mut sim = Simulator::new(&net, device).unwrap();
        sim.run_steps(3, &Data::new()).unwrap();
        sim.data(p).unwrap()
    };
    for device in devices() {
        for slice in [0..12, 3..15] {
            let (ours, expected) = (rates(true, slice.clone(), device), rates(false, slice, device));
            assert!(expected.iter().any(|x| *x > 1.0));
            for (a, b) in ours.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-3 * (1.0 + b.abs()), "{a} for {b} on {device}");
            }
        }
    }
}
