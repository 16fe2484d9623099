//! Synapses on connections and probes, on both devices.

use crate::common::devices;
use crate::common::golden::Golden;
use crate::common::messages::Messages;
use ndarray::{Array2, ArrayD, Axis, Ix2, s};
use nengo_wgpu::network::{
    Connection, Discrete, LinearFilter, Method, Network, Node, Noise, StateSpace, Synapse, Target,
};
use nengo_wgpu::{Data, Device, Simulator};
use serde_json::Value;

pub(super) const DT: f64 = 0.001;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

pub(super) fn synapse(spec: &Value) -> Synapse {
    let number = |name: &str| spec[name].as_f64().unwrap();
    match spec["type"].as_str().unwrap() {
        "Lowpass" => Synapse::Lowpass(number("tau")),
        "Alpha" => Synapse::Alpha(number("tau")),
        "Triangle" => Synapse::Triangle(number("t")),
        "LinearFilter" => {
            let method = match spec["method"].as_str().unwrap() {
                "zoh" => Method::ZeroOrderHold,
                "bilinear" => Method::Bilinear,
                "euler" => Method::Euler,
                other => panic!("unknown method {other}"),
            };
            let filter = LinearFilter::new(&numbers(&spec["num"]), &numbers(&spec["den"])).method(method);
            if spec["analog"] == true { filter.into() } else { filter.digital().into() }
        }
        other => panic!("unknown synapse {other}"),
    }
}

/// Rows of `x` through a discrete filter without a delay, in f64.
pub(super) fn filt(filter: &Discrete, x: &Array2<f64>) -> Vec<f64> {
    let mut y = Array2::<f64>::zeros(x.dim());
    match filter {
        Discrete::Taps(taps) => {
            for ((t, col), y) in y.indexed_iter_mut() {
                *y = taps.iter().take(t + 1).enumerate().map(|(k, w)| w * x[[t - k, col]]).sum();
            }
        }
        Discrete::Linear(StateSpace { a, b, c, d }) => {
            assert_eq!(*d, 0.0, "a direct way");
            let mut state = Array2::<f64>::zeros((a.nrows(), x.ncols()));
            for t in 0..x.nrows() {
                state = a.dot(&state) + b.dot(&x.slice(ndarray::s![t..t + 1, ..]));
                y.row_mut(t).assign(&c.dot(&state).row(0));
            }
        }
    }
    y.into_raw_vec_and_offset().0
}

/// The one case that does not decay, and so is no synapse here.
pub(super) const INTEGRATOR: &str = "linear_euler_integrator";

pub(super) fn wide<'a>(values: impl IntoIterator<Item = &'a f32>) -> Vec<f64> {
    values.into_iter().map(|&x| f64::from(x)).collect()
}

/// The synapses of the file that decay, by name.
pub(super) fn synapses(golden: &Golden) -> Vec<(String, Synapse)> {
    let cases = golden.cases().into_iter().filter(|(name, _)| name != INTEGRATOR);
    cases.map(|(name, case)| (name, synapse(&case["synapse"]))).collect()
}

/// An array of the file as an input node that gives its rows.
fn rows(array: ArrayD<f32>) -> Node {
    Node::Array(array.into_dimensionality::<Ix2>().unwrap())
}

/// Runs 200 steps in windows of several lengths.
fn run(net: &Network, device: &Device) -> Simulator {
    let mut sim = Simulator::new(net, device).unwrap();
    for n in [1, 3, 150, 46] {
        sim.run_steps(n, &Data::new()).unwrap();
    }
    sim
}

#[test]
fn synapses_on_connections_and_probes_are_those_of_nengo() {
    let mut golden = Golden::open("synapses");
    let mut net = Network::new(0);
    let x = net.node("x", rows(golden.input("x"))).unwrap();
    let mut probes = Vec::new();
    for (name, synapse) in synapses(&golden) {
        let end = net.node(&name, Node::Passthrough(3)).unwrap();
        net.connect(x, end, Connection::new().synapse(synapse.clone())).unwrap();
        probes.push((format!("{name}/on_connection"), net.probe(&name, end).unwrap()));
        let probe = net.add_probe(&format!("{name}, probed"), Target::Output(x, Some(synapse))).unwrap();
        probes.push((format!("{name}/on_connection"), probe));
    }
    let two = net.node("two", Node::Passthrough(3)).unwrap();
    let once = net.find("lowpass_5ms").unwrap();
    net.connect(once, two, Connection::new().synapse(Synapse::Lowpass(0.005))).unwrap();
    probes.push(("probe/two_lowpass_in_a_row".into(), net.probe("two", two).unwrap()));
    let filtered = Target::Output(x, Some(Synapse::Lowpass(0.005)));
    probes.push(("probe/with_lowpass".into(), net.add_probe("filtered", filtered).unwrap()));
    probes.push(("probe/node".into(), net.probe("x", x).unwrap()));
    for device in devices() {
        let sim = run(&net, device);
        for (name, probe) in &probes {
            golden.check(name, device, &wide(&sim.data(*probe).unwrap()));
        }
    }
    println!("worst: {:.2} of the tolerance", golden.worst);
}

#[test]
fn impulses_on_a_connection_come_a_step_late() {
    let mut golden = Golden::open("synapses");
    let mut net = Network::new(0);
    let x = net.node("x", rows(golden.input("impulse"))).unwrap();
    let list = synapses(&golden);
    let probes: Vec<_> = list
        .iter()
        .map(|(name, synapse)| net.add_probe(name, Target::Output(x, Some(synapse.clone()))).unwrap())
        .collect();
    for device in devices() {
        let sim = run(&net, device);
        for ((name, _), probe) in list.iter().zip(&probes) {
            let ours = sim.data(*probe).unwrap();
            let expected = golden.result(&format!("{name}/impulse_response"));
            let largest = expected.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
            assert_eq!(ours[[0, 0, 0]], 0.0);
            let later = ours.slice(s![0, 1.., 0]);
            for (ours, golden) in later.iter().zip(&expected) {
                assert!(
                    (f64::from(*ours) - golden).abs() <= 5e-6 * largest,
                    "{name} on {device}: {ours}, {golden}"
                );
            }
        }
    }
}

#[test]
fn a_cycle_through_any_synapse_is_the_equation_that_it_stands_for() {
    // y <- synapse(0.5 y + x) on a connection, against the same in f64.
    let mut golden = Golden::open("synapses");
    let x = golden.input("x");
    for (name, synapse) in synapses(&golden) {
        let mut net = Network::new(0);
        let input = net.node("x", rows(x.clone())).unwrap();
        let sum = net.node("sum", Node::Passthrough(3)).unwrap();
        let half = Connection::new().transform(nengo_wgpu::network::Transform::Scalar(0.5));
        net.connect(input, sum, Connection::new()).unwrap();
        net.connect(sum, sum, half.synapse(synapse.clone())).unwrap();
        let probe = net.probe("p", sum).unwrap();
        let filter = match synapse.discretise(&name, DT).unwrap() {
            Discrete::Linear(system) => Discrete::Linear(system.strictly_proper()),
            taps => taps,
        };
        // Row by row: what comes back at a step is the filtered signal of the step before.
        let mut y = x.mapv(f64::from).into_dimensionality::<Ix2>().unwrap();
        for t in 1..y.nrows() {
            let before = y.slice(s![..t, ..]).mapv(|y| 0.5 * y);
            let back = filt(&filter, &before);
            let last = &back[back.len() - 3..];
            y.row_mut(t).iter_mut().zip(last).for_each(|(y, back)| *y += back);
        }
        for device in devices() {
            let ours = run(&net, device).data(probe).unwrap();
            for (ours, y) in ours.index_axis(Axis(0), 0).iter().zip(&y) {
                // Some gain more than 2, so that the cycle grows.
                assert!(
                    (f64::from(*ours) - y).abs() < 2e-5 * y.abs().max(1.0),
                    "{name} on {device}: {ours} for {y}"
                );
            }
        }
    }
}

#[test]
fn an_unstable_synapse_is_refused_at_its_time_step() {
    let said = Messages::of("an unstable synapse is refused at its time step");
    // Euler's rule is stable for time steps below twice the time constant.
    let filter = || LinearFilter::new(&[1.0], &[0.001, 1.0]).method(Method::Euler);
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let y = net.node("y", Node::Passthrough(1)).unwrap();
    net.connect(x, y, Connection::new().synapse(filter())).unwrap();
    let with = |dt| {
        let options = nengo_wgpu::Options { dt, ..Default::default() };
        Simulator::with(&net, &Device::cpu(), options).map(drop)
    };
    assert!(with(0.001).is_ok());
    said.error(with(0.003));
}

#[test]
fn windows_in_chunks_carry_the_same_states_as_short_ones() {
    let golden = Golden::open("synapses");
    for (minibatch, size) in [(1, 1), (3, 1), (1, 4), (3, 5)] {
        let mut net = Network::new(0);
        let wave = move |t: f64| (0..size).map(|i| ((30.0 + 10.0 * i as f64) * t).sin() as f32).collect();
        let x = net.node("x", Node::function(size, wave)).unwrap();
        let draws = net.node("draws", Node::process(Noise::filtered(size, Synapse::Alpha(0.02)))).unwrap();
        let mut probes = vec![net.probe("draws", draws).unwrap()];
        for (name, synapse) in synapses(&golden) {
            probes.push(net.add_probe(&name, Target::Output(x, Some(synapse))).unwrap());
        }
        for device in devices() {
            let run = |parts: &[usize]| {
                let options = nengo_wgpu::Options { minibatch, ..Default::default() };
                let mut sim = Simulator::with(&net, device, options).unwrap();
                for &n in parts {
                    sim.run_steps(n, &Data::new()).unwrap();
                }
                probes.iter().map(|p| sim.data(*p).unwrap()).collect::<Vec<_>>()
            };
            let (long, short) = (run(&[611, 777]), run(&[100; 13]));
            for ((long, short), probe) in long.iter().zip(&short).zip(&probes) {
                let long = long.slice(s![.., ..1300, ..]);
                let largest = short.iter().fold(0.0_f32, |a, x| a.max(x.abs()));
                for (a, b) in long.iter().zip(short) {
                    let name = net.probe_name(*probe);
                    assert!((a - b).abs() < 1e-5 * largest, "{name} on {device}: {a} and {b}");
                }
            }
        }
    }
}
