//! Ensembles: the values they represent and decode, seeds and defaults.

use crate::common::devices;
use crate::common::messages::Messages;
use ndarray::{Array2, array, s};
use nengo_wgpu::internals::neuron::RectifiedLinear;
use nengo_wgpu::network::{Connection, Distribution, Ensemble, Network, Node, Noise, ObjectId, Target};
use nengo_wgpu::{Data, Device, Simulator};

pub(super) fn constant(net: &mut Network, name: &str, values: &[f32]) -> ObjectId {
    net.node(name, Node::Constant(values.to_vec())).unwrap()
}

pub(super) fn cpu(net: &Network) -> Simulator {
    Simulator::new(net, &Device::cpu()).unwrap()
}

/// A function to decode.
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
        // Two populations of 100 neurons in a row: errors of their decoders, and spikes behind a filter of 30 ms.
        assert!((data[[0, 299, 0]] - 0.5).abs() < 0.1, "{}", data[[0, 299, 0]]);
        assert!((data[[0, 299, 1]] + 0.7).abs() < 0.1, "{}", data[[0, 299, 1]]);
    }
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
fn a_further_object_changes_none_before_it() {
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
    let said = Messages::of("defaults hold within their network and names begin with its name");
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
    said.error(net.within("a/b", |_| Ok(())));
    let mut sim = cpu(&net);
    let mut encoder = |name: &str| sim.parameter(&format!("{name}/encoders")).unwrap()[[0, 0]];
    assert_eq!(["a", "sub.a", "sub.deep.a"].map(&mut encoder), [3.0, 2.0, 6.0]);
    assert_eq!(net.name(net.find("sub.deep.a").unwrap()), "sub.deep.a");
}

#[test]
fn gains_and_biases_count_more_than_max_rates_and_intercepts() {
    let said = Messages::of("gains and biases count more than max rates and intercepts");
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
    warnings.iter().for_each(|warning| said.text(warning));
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
