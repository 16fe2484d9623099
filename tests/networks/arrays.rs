//! Arrays of ensembles against separate ensembles, and functions of their ensembles.

use super::ensembles::{constant, cpu};
use crate::common::devices;
use crate::common::messages::Messages;
use ndarray::{Array2, s};
use nengo_wgpu::internals::neuron::LifRate;
use nengo_wgpu::network::{
    Connection, Decoding, Distribution, Ensemble, Function, Init, Network, Node, Transform,
};
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Simulator};

/// Encoders, gains and biases of `groups` ensembles of `n` neurons with `d` dimensions.
fn drawn(n: usize, d: usize, groups: usize) -> [Array2<f64>; 3] {
    let sphere = Distribution::surface();
    let encoders = sphere.sample("encoders", n * groups, d, 1).unwrap();
    let gain = Distribution::Uniform(1.0, 3.0).sample("gain", n * groups, 1, 2).unwrap();
    let bias = Distribution::Uniform(-1.0, 2.0).sample("bias", n * groups, 1, 3).unwrap();
    [encoders, gain, bias]
}

#[test]
fn an_array_says_the_same_as_separate_ensembles() {
    let (n, d, groups) = (20, 2, 3);
    let [encoders, gain, bias] = drawn(n, d, groups);
    let points = Distribution::ball().sample("points", 300, d, 4).unwrap();
    let inputs = [0.3, -0.2, 0.9, 0.1, -0.5, 0.4];
    let silence: Vec<f32> = (0..n * groups).map(|i| if i % 3 == 0 { -5.0 } else { 0.1 }).collect();
    let product = |x: &[f64]| vec![x[0] * x[1]];
    let common = |e: Ensemble| e.neuron_type(LifRate::default()).radius(1.3).eval_points(points.clone());
    for device in devices() {
        let mut net = Network::new(0);
        let x = constant(&mut net, "x", &inputs);
        let y = constant(&mut net, "y", &silence);
        let array = Ensemble::array(n, groups).ens_dimensions(d);
        let array = common(array).encoders(encoders.clone()).gain_bias(gain.clone(), bias.clone());
        let array = net.ensemble("array", array).unwrap();
        net.connect(x, array, Connection::new()).unwrap();
        net.connect(y, net.neurons_of(array).unwrap(), Connection::new()).unwrap();
        let products = net.add_output(array, "product", Decoding::of(product)).unwrap();
        // An output and a slice of it, on ordinary connections.
        let sum = net.node("sum", Node::Passthrough(1)).unwrap();
        let ones = Transform::Dense(Init::Constant(1.0));
        net.connect(products, sum, Connection::new().pre(1..3).transform(ones.clone())).unwrap();
        for (name, object) in [("values", array), ("products", products), ("sum", sum)] {
            net.probe(name, object).unwrap();
        }
        net.probe("rates", net.neurons_of(array).unwrap()).unwrap();
        let mut sim = Simulator::new(&net, device).unwrap();
        sim.run_steps(3, &Data::new()).unwrap();
        let data = |sim: &Simulator, name: &str| {
            let all = sim.data(sim.network().find_probe(name).unwrap()).unwrap();
            all.slice(s![0, 2, ..]).to_vec()
        };
        let (values, products) = (data(&sim, "values"), data(&sim, "products"));
        assert_eq!((values.len(), products.len()), (d * groups, groups));

        let mut all: [Vec<f32>; 3] = Default::default();
        for g in 0..groups {
            let mut net = Network::new(0);
            let x = constant(&mut net, "x", &inputs[g * d..][..d]);
            let y = constant(&mut net, "y", &silence[g * n..][..n]);
            let own = |a: &Array2<f64>| a.slice(s![g * n..(g + 1) * n, ..]).to_owned();
            let one = common(Ensemble::new(n, d)).encoders(own(&encoders)).gain_bias(own(&gain), own(&bias));
            let one = net.ensemble("one", one).unwrap();
            net.connect(x, one, Connection::new()).unwrap();
            net.connect(y, net.neurons_of(one).unwrap(), Connection::new()).unwrap();
            let out = net.node("out", Node::Passthrough(1)).unwrap();
            net.connect(one, out, Connection::new().function(product)).unwrap();
            let probes = [
                net.probe("values", one).unwrap(),
                net.probe("product", out).unwrap(),
                net.probe("rates", net.neurons_of(one).unwrap()).unwrap(),
            ];
            let mut sim = Simulator::new(&net, device).unwrap();
            sim.run_steps(3, &Data::new()).unwrap();
            for (all, probe) in all.iter_mut().zip(probes) {
                all.extend(sim.data(probe).unwrap().slice(s![0, 2, ..]));
            }
        }
        let near =
            |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(near(&values, &all[0]), "{values:?} {:?}", all[0]);
        assert!(near(&products, &all[1]), "{products:?} {:?}", all[1]);
        let rates = data(&sim, "rates");
        assert!(rates.iter().zip(&all[2]).all(|(a, b)| (a - b).abs() < 1e-2), "{rates:?}");
        assert!((data(&sim, "sum")[0] - products[1] - products[2]).abs() < 1e-5);
    }
}

#[test]
fn each_ensemble_of_an_array_can_have_a_function_of_its_own() {
    let said = Messages::of("each ensemble of an array can have a function of its own");
    let mut net = Network::new(0);
    net.config.ensemble.neuron_type = Some(LifRate::default().into());
    let x = constant(&mut net, "x", &[0.6, 0.6]);
    let array = net.ensemble("array", Ensemble::array(100, 2)).unwrap();
    net.connect(x, array, Connection::new()).unwrap();
    let functions = ["x^2", "-x"].map(|f| Function::parse(f).unwrap());
    let out = net.add_output(array, "two", Decoding::of_each(functions)).unwrap();
    let p = net.probe("p", out).unwrap();
    let mut sim = cpu(&net);
    sim.run_steps(2, &Data::new()).unwrap();
    let data = sim.data(p).unwrap();
    assert!((data[[0, 1, 0]] - 0.36).abs() < 0.02 && (data[[0, 1, 1]] + 0.6).abs() < 0.02, "{data}");
    let three = ["x", "x", "x"].map(|f| Function::parse(f).unwrap());
    said.error(net.add_output(array, "three", Decoding::of_each(three)));
}

#[test]
fn functions_of_an_arrays_ensembles_may_differ_in_size() {
    let functions = || ["x", "x^2", "x; -x; 1", "x; x^3", "0.5"].map(|f| Function::parse(f).unwrap());
    let sizes = [1, 1, 3, 2, 1];
    for device in crate::common::devices() {
        let mut net = Network::new(4);
        net.config.ensemble.neuron_type = Some(LifRate::default().into());
        let x = constant(&mut net, "x", &[0.6, -0.4, 0.2, 0.8, 0.0]);
        let array = net.ensemble("array", Ensemble::array(60, 5)).unwrap();
        net.connect(x, array, Connection::new()).unwrap();
        let mixed = net.add_output(array, "mixed", Decoding::of_each(functions())).unwrap();
        let mixed = net.probe("mixed", mixed).unwrap();
        // Each alone, as the same function of all ensembles.
        let alone: Vec<_> = functions()
            .into_iter()
            .enumerate()
            .map(|(i, f)| {
                let out = net.add_output(array, &format!("f{i}"), Decoding::of(f)).unwrap();
                net.probe(&format!("f{i}"), out).unwrap()
            })
            .collect();
        let mut sim = Simulator::new(&net, device).unwrap();
        sim.run_steps(3, &Data::new()).unwrap();
        assert_eq!(sim.parameter("array.mixed/decoders").unwrap().dim(), (8, 60));
        let mixed = sim.data(mixed).unwrap();
        let mut column = 0;
        for (i, size) in sizes.into_iter().enumerate() {
            let all = sim.data(alone[i]).unwrap();
            for k in 0..size {
                let (a, b) = (mixed[[0, 2, column]], all[[0, 2, i * size + k]]);
                assert!((a - b).abs() < 1e-5, "value {k} of function {i} on {device}: {a} and {b}");
                column += 1;
            }
        }
        // They are trained as those of one size are.
        let objective = Objective::new().loss("mixed", Loss::MeanSquared);
        sim.compile(Training::new(objective, 0.1)).unwrap();
        let targets = Data::new().with("mixed", Array2::zeros((1, 8)));
        let checked = sim.check_gradients(&Data::new(), &targets, None, 10).unwrap();
        let decoders = checked.iter().find(|c| c.name == "array.mixed/decoders").unwrap();
        assert!(decoders.comparable && decoders.error() < 1e-3, "{decoders:?}");
    }
}
