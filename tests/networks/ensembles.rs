//! Ensembles: what they represent and decode, arrays, seeds and defaults.

use crate::common::devices;
use ndarray::{Array2, array, s};
use nengo_wgpu::network::{
    Connection, Decoding, Distribution, Ensemble, Function, Init, Network, Node, Noise, ObjectId, Target,
    Transform,
};
use nengo_wgpu::neuron::{LifRate, RectifiedLinear};
use nengo_wgpu::solve::{Method, Solver};
use nengo_wgpu::train::{Loss, Objective, Optimiser, Training};
use nengo_wgpu::{Data, Device, Fit, Simulator};

fn constant(net: &mut Network, name: &str, values: &[f32]) -> ObjectId {
    net.node(name, Node::Constant(values.to_vec())).unwrap()
}

fn problem<T>(result: nengo_wgpu::Result<T>) -> String {
    result.err().expect("it should be refused").to_string()
}

fn cpu(net: &Network) -> Simulator {
    Simulator::new(net, &Device::cpu()).unwrap()
}

/// What is decoded.
type Decoded = fn(&[f64]) -> Vec<f64>;

/// Roots of the mean squared errors of functions decoded at steady rates, each averaged over seeds.
fn mean_errors(cases: &[(Ensemble, Decoded, &Array2<f64>)]) -> Vec<f64> {
    let seeds = 300;
    let mut totals = vec![0.0; cases.len()];
    for seed in 0..seeds {
        let mut net = Network::new(seed);
        let out = net.node("out", Node::Passthrough(1)).unwrap();
        let mut connect = |(i, (ensemble, function, _)): (usize, &(Ensemble, Decoded, _))| {
            let a = net.ensemble(&format!("a{i}"), ensemble.clone()).unwrap();
            net.connect(a, out, Connection::new().function(*function)).unwrap()
        };
        let connections: Vec<_> = cases.iter().enumerate().map(&mut connect).collect();
        let mut sim = cpu(&net);
        for ((total, (_, function, points)), c) in totals.iter_mut().zip(cases).zip(connections) {
            let decoded = sim.decoded(c, points).unwrap();
            let wanted = points.rows().into_iter().map(|p| function(&p.to_vec())[0]);
            let squares: f64 = decoded.column(0).iter().zip(wanted).map(|(a, b)| (a - b).powi(2)).sum();
            *total += (squares / points.nrows() as f64).sqrt();
        }
    }
    totals.into_iter().map(|total| total / seeds as f64).collect()
}

/// Means of nengo 4.1.0 over 2100 ensembles, from 10 neurons on over 300: `Simulator.data[conn].weights` on activities at the same points. The last
/// number is the deviation of one ensemble, as a share of the mean; means of 300 are within four of theirs.
#[test]
fn solved_decoders_are_as_good_as_nengos() {
    let line = Array2::from_shape_fn((201, 1), |(i, _)| i as f64 / 100.0 - 1.0);
    let grid =
        Array2::from_shape_fn((441, 2), |(i, j)| (if j == 0 { i / 21 } else { i % 21 }) as f64 / 10.0 - 1.0);
    let one = |n| Ensemble::new(n, 1);
    let two = |n| Ensemble::new(n, 2).radius(2.0_f64.sqrt());
    let (x, square, product): (Decoded, Decoded, Decoded) =
        (|x| x.to_vec(), |x| vec![x[0] * x[0]], |x| vec![x[0] * x[1]]);
    let nengos = [
        ("x", 2, 0.22672, 0.47),
        ("x", 3, 0.16965, 0.53),
        ("x", 5, 0.09746, 0.56),
        ("x", 10, 0.04824, 0.45),
        ("x", 50, 0.01113, 0.24),
        ("square", 2, 0.23688, 0.26),
        ("square", 3, 0.20104, 0.28),
        ("square", 5, 0.14324, 0.32),
        ("square", 10, 0.08548, 0.31),
        ("square", 50, 0.02332, 0.24),
        ("product", 2, 0.35153, 0.05),
        ("product", 3, 0.34352, 0.05),
        ("product", 5, 0.29646, 0.14),
        ("product", 10, 0.21606, 0.18),
        ("product", 50, 0.07170, 0.14),
        ("product", 100, 0.04336, 0.14),
    ];
    let cases = nengos.map(|(what, n, ..)| match what {
        "x" => (one(n), x, &line),
        "square" => (one(n), square, &line),
        _ => (two(n), product, &grid),
    });
    for ((what, n, nengos, deviation), ours) in nengos.into_iter().zip(mean_errors(&cases)) {
        let off = ours / nengos - 1.0;
        println!("{what} of {n} neurons: {ours:.5}, Nengo {nengos:.5}: {:+.1} %", 100.0 * off);
        let tolerance = 0.01 + 4.0 * deviation / 300.0_f64.sqrt();
        assert!(off.abs() < tolerance, "{what} of {n} neurons: {ours}, but Nengo {nengos}");
    }
}

#[test]
fn half_of_the_neurons_of_one_dimension_look_each_way() {
    let signs = |ensemble: Ensemble| -> Vec<f32> {
        let mut net = Network::new(5);
        net.ensemble("a", ensemble).unwrap();
        let mut sim = cpu(&net);
        sim.parameter("a/encoders").unwrap().iter().map(|e| e.signum()).collect()
    };
    assert!(signs(Ensemble::array(2, 68)).chunks(2).all(|pair| pair[0] + pair[1] == 0.0));
    assert_eq!(signs(Ensemble::new(50, 1)).iter().filter(|s| **s > 0.0).count(), 25);
    assert_eq!(signs(Ensemble::new(51, 1)).iter().sum::<f32>().abs(), 1.0);
}

#[test]
fn a_communication_channel_transmits_its_input() {
    for device in devices() {
        let mut net = Network::new(3);
        let x = constant(&mut net, "x", &[0.5, -0.7]);
        let a = net.ensemble("a", Ensemble::new(100, 2)).unwrap();
        let b = net.ensemble("b", Ensemble::new(100, 2)).unwrap();
        net.connect(x, a, Connection::new()).unwrap();
        net.connect(a, b, net.config.connection.clone()).unwrap();
        let p = net.add_probe("p", Target::Output(b, Some(0.03.into()))).unwrap();
        let mut sim = Simulator::new(&net, device).unwrap();
        sim.run_steps(300, &Data::new()).unwrap();
        let data = sim.data(p).unwrap();
        assert!((data[[0, 299, 0]] - 0.5).abs() < 0.1, "{}", data[[0, 299, 0]]);
        assert!((data[[0, 299, 1]] + 0.7).abs() < 0.1, "{}", data[[0, 299, 1]]);
    }
}

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
    let text = problem(net.add_output(array, "three", Decoding::of_each(three)));
    assert!(text.contains("'array.three'") && text.contains("3 functions") && text.contains("2"), "{text}");
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

#[test]
fn full_weights_do_what_decoders_and_encoders_do() {
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
    assert!((&full - &decoded).iter().all(|x| x.abs() < 0.05), "off by {}", &full - &decoded);
}

#[test]
fn neurons_get_their_input_times_their_gain_and_noise_as_it_is() {
    let mut net = Network::new(0);
    let ensemble = Ensemble::new(2, 1)
        .neuron_type(RectifiedLinear { amplitude: 1.0 })
        .encoders(array![[1.0], [-1.0]])
        .radius(2.0)
        .gain_bias(array![[3.0], [5.0]], array![[10.0], [20.0]])
        .noise(Noise::white(1).distribution(nengo_wgpu::network::Draw::Uniform(0.25, 0.25)).unscaled());
    let a = net.ensemble("a", ensemble).unwrap();
    let x = constant(&mut net, "x", &[0.5]);
    let y = constant(&mut net, "y", &[1.0]);
    net.connect(x, a, Connection::new()).unwrap();
    net.connect(y, net.neurons_of(a).unwrap(), Connection::new().post(1)).unwrap();
    let current = net.add_probe("current", Target::Input(net.neurons_of(a).unwrap())).unwrap();
    let input = net.add_probe("input", Target::Input(a)).unwrap();
    let mut sim = cpu(&net);
    sim.run_steps(1, &Data::new()).unwrap();
    // J = gain/radius * e * x + bias + gain * y + noise
    let wanted = [3.0 / 2.0 * 0.5 + 10.0 + 0.25, -5.0 / 2.0 * 0.5 + 20.0 + 5.0 + 0.25];
    assert_eq!(sim.data(current).unwrap().as_slice().unwrap(), wanted);
    assert_eq!(sim.data(input).unwrap().as_slice().unwrap(), [0.5]);
}

#[test]
fn an_object_more_changes_none_before_it() {
    let build = |more: bool| {
        let mut net = Network::new(7);
        let a = net.ensemble("a", Ensemble::new(10, 2)).unwrap();
        let b = net.ensemble("b", Ensemble::array(10, 3)).unwrap();
        net.connect(a, b, Connection::new().post(0..2).named("ab")).unwrap();
        if more {
            let c = net.ensemble("c", Ensemble::new(10, 2)).unwrap();
            net.connect(a, c, Connection::new()).unwrap();
        }
        net.probe("p", b).unwrap();
        let mut sim = cpu(&net);
        let names = ["a/encoders", "a/bias", "b/encoders", "b/bias", "ab/weights", "b.output/decoders"];
        names.map(|name| sim.parameter(name).unwrap())
    };
    assert_eq!(build(true), build(false));
}

/// Each method of all columns at once must give what it gives one alone: a connection more changes none before it.
#[test]
fn decoders_do_not_depend_on_what_else_is_decoded() {
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
fn ensembles_differ_unless_they_have_the_same_seed() {
    let mut net = Network::new(7);
    for (name, seed) in [("a", None), ("b", None), ("c", Some(1)), ("d", Some(1))] {
        let mut ensemble = Ensemble::new(10, 2);
        ensemble.seed = seed;
        net.ensemble(name, ensemble).unwrap();
    }
    net.ensemble("array", Ensemble::array(10, 2)).unwrap();
    let mut sim = cpu(&net);
    let mut bias = |name: &str| sim.parameter(&format!("{name}/bias")).unwrap();
    assert_ne!(bias("a"), bias("b"));
    assert_eq!(bias("c"), bias("d"));
    let array = bias("array");
    assert_ne!(array.slice(s![.., ..10]), array.slice(s![.., 10..]));
}

#[test]
fn defaults_hold_within_their_network_and_names_begin_with_its_name() {
    let mut net = Network::new(0);
    net.config.ensemble.radius = Some(2.0);
    let ensemble = || Ensemble::new(1, 1).encoders(array![[1.0]]).gain_bias(array![[6.0]], array![[0.0]]);
    net.within("sub", |sub| {
        sub.config.ensemble.radius = Some(3.0);
        sub.ensemble("a", ensemble())?;
        sub.within("deep", |deep| deep.ensemble("a", ensemble().radius(1.0)))
    })
    .unwrap();
    net.ensemble("a", ensemble()).unwrap();
    assert!(net.within("sub", |sub| sub.ensemble("a", ensemble())).is_err());
    assert!(problem(net.within("a/b", |_| Ok(()))).contains("'a/b'"));
    let mut sim = cpu(&net);
    let mut encoder = |name: &str| sim.parameter(&format!("{name}/encoders")).unwrap()[[0, 0]];
    assert_eq!(["a", "sub.a", "sub.deep.a"].map(&mut encoder), [3.0, 2.0, 6.0]);
    assert_eq!(net.name(net.find("sub.deep.a").unwrap()), "sub.deep.a");
}

#[test]
fn gains_and_biases_count_more_than_max_rates_and_intercepts() {
    let mut net = Network::new(0);
    let rates = || Distribution::Uniform(100.0, 110.0);
    let plain = net.ensemble("plain", Ensemble::new(20, 1).max_rates(rates())).unwrap();
    net.config.ensemble.gain = Some(Distribution::Uniform(2.0, 3.0));
    net.config.ensemble.bias = Some(Distribution::Uniform(0.5, 0.6));
    let config = net.ensemble("config", Ensemble::new(20, 1)).unwrap();
    assert!(net.warnings().is_empty());
    // The network's against the ensemble's own, and the ensemble's own against each other.
    let tuned = net.ensemble("tuned", Ensemble::new(20, 1).max_rates(rates())).unwrap();
    let intercepts = Distribution::Uniform(0.0, 0.1);
    let own = Ensemble::new(20, 1)
        .intercepts(intercepts)
        .gain_bias(Array2::from_elem((20, 1), 4.0), Array2::ones((20, 1)));
    net.ensemble("own", own).unwrap();
    let mut sim = cpu(&net);
    let mut bias = |name: &str| sim.parameter(&format!("{name}/bias")).unwrap();
    assert!([config, tuned].iter().all(|e| bias(net.name(*e)).iter().all(|b| (0.5..0.6).contains(b))));
    assert!(bias("own").iter().all(|b| *b == 1.0));
    assert!(!bias(net.name(plain)).iter().all(|b| (0.5..0.6).contains(b)));
    let warnings = sim.warnings();
    assert_eq!(warnings, net.warnings());
    assert!(
        warnings.len() == 2 && warnings[0].contains("'tuned'") && warnings[1].contains("'own'"),
        "{warnings:?}"
    );
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
    // What it decodes at steady rates is what it gives, since its neurons are rate neurons.
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
fn rates_are_reported_for_each_ensemble() {
    let mut net = Network::new(0);
    net.ensemble("loud", Ensemble::new(30, 2)).unwrap();
    let half = Ensemble::array(2, 2)
        .encoders(array![[1.0], [1.0]])
        .gain_bias(array![[1.0], [1.0]], array![[5.0], [-5.0]]);
    net.ensemble("half", half).unwrap();
    let report = cpu(&net).rates_report().unwrap();
    assert_eq!((report[0].ensemble.as_str(), report[0].neurons), ("loud", 30));
    assert!((150.0..450.0).contains(&report[0].max), "{report:?}");
    assert_eq!((report[1].neurons, report[1].silent), (4, 2));
    assert!(report[1].mean > 0.0 && report[1].mean < report[1].max);
}

#[test]
fn what_is_decoded_comes_to_neurons_as_from_a_node() {
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
