//! Filters on connections and probes: their discrete form, and what they do on a device.

use std::sync::Arc;

use crate::common::golden::Golden;
use crate::common::{Case, devices, dims};
use ndarray::{Array2, ArrayD, Axis, Ix2, s};
use nengo_wgpu::engine::Command;
use nengo_wgpu::graph::{Tensor, Type};
use nengo_wgpu::network::{
    Connection, Discrete, LinearFilter, Method, Network, Node, Noise, StateSpace, Synapse, Target,
};
use nengo_wgpu::op::Delay;
use nengo_wgpu::op::filter::{filter, lowpass};
use nengo_wgpu::op::scan::Scan;
use nengo_wgpu::{Data, Device, Simulator};
use serde_json::Value;

const DT: f64 = 0.001;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn synapse(spec: &Value) -> Synapse {
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
fn filt(filter: &Discrete, x: &Array2<f64>) -> Vec<f64> {
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
const INTEGRATOR: &str = "linear_euler_integrator";

#[test]
fn discrete_systems_are_those_of_nengo() {
    let mut golden = Golden::open("synapses");
    for (name, case) in golden.cases() {
        let system = if name == INTEGRATOR {
            let system = StateSpace::from_transfer_function(&[1.0], &[1.0, 0.0]).unwrap();
            Discrete::Linear(system.discretise(DT, Method::Euler))
        } else {
            synapse(&case["synapse"]).discretise(&name, DT).unwrap()
        };
        match system {
            Discrete::Linear(StateSpace { a, b, c, d }) => {
                for (matrix, values) in [("A", a), ("B", b), ("C", c), ("D", Array2::from_elem((1, 1), d))] {
                    let values: Vec<f64> = values.iter().copied().collect();
                    golden.check_as(&format!("{name}/{matrix}"), "the host", &values);
                }
            }
            Discrete::Taps(taps) => golden.check_as(&format!("{name}/taps"), "the host", &taps),
        }
    }
    println!("worst: {:.2} of the tolerance", golden.worst);
}

#[test]
fn balancing_and_a_state_for_the_direct_way_change_no_output() {
    let mut golden = Golden::open("synapses");
    let x = golden.input("x").mapv(f64::from).into_dimensionality().unwrap();
    let impulse = golden.input("impulse").mapv(f64::from).into_dimensionality().unwrap();
    for (name, case) in golden.cases().into_iter().filter(|(name, _)| name != INTEGRATOR) {
        let filter = match synapse(&case["synapse"]).discretise(&name, DT).unwrap() {
            Discrete::Linear(system) => Discrete::Linear(system.strictly_proper().balanced()),
            taps => taps,
        };
        golden.check_as(&format!("{name}/filt"), "the host", &filt(&filter, &x));
        golden.check_as(&format!("{name}/impulse_response"), "the host", &filt(&filter, &impulse));
    }
}

#[test]
fn balanced_states_are_of_the_size_of_the_output() {
    // A sixth-order lowpass of 0.1 ms: its canonical states are of a size of 1e-20 and below.
    let tau: f64 = 1e-4;
    let denominator: Vec<f64> =
        [1.0, 6.0, 15.0, 20.0, 15.0, 6.0, 1.0].iter().zip(0..).map(|(c, k)| c * tau.powi(6 - k)).collect();
    let system = StateSpace::from_transfer_function(&[1.0], &denominator).unwrap();
    let system = system.discretise(1e-4, Method::ZeroOrderHold);
    let largest = |s: &StateSpace| s.b.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
    assert!(largest(&system) < 1e-3, "{}", largest(&system));
    let smallest = |s: &StateSpace| s.b.iter().fold(1.0_f64, |a, x| a.min(x.abs()));
    assert!(smallest(&system) < 1e-20);
    let balanced = system.balanced();
    assert!(smallest(&balanced) > 1e-5 && largest(&balanced) < 2.0, "{:?}", balanced.b);
    assert!(balanced.c.iter().all(|x| x.abs() < 10.0), "{:?}", balanced.c);
}

#[test]
fn zero_order_hold_is_exact_for_an_oscillator() {
    let (w, dt) = (300.0_f64, 0.002);
    let system = StateSpace::from_transfer_function(&[w], &[1.0, 0.0, w * w]).unwrap();
    let discrete = system.discretise(dt, Method::ZeroOrderHold);
    let expected = [(w * dt).cos(), -w * (w * dt).sin(), (w * dt).sin() / w, (w * dt).cos()];
    for (x, y) in discrete.a.iter().zip(expected) {
        assert!((x - y).abs() < 1e-13 * w, "{:?} for {expected:?}", discrete.a);
    }
    let poles = discrete.poles().unwrap();
    assert!(poles.iter().all(|(re, im)| (re.hypot(*im) - 1.0).abs() < 1e-12), "{poles:?}");
}

#[test]
fn triangles_are_as_long_as_in_nengo() {
    // As NumPy does, half a step is rounded to the even number.
    for (seconds, taps) in [(0.0, 1), (0.0005, 1), (0.0015, 3), (0.0024, 3), (0.0025, 3), (0.0026, 4)] {
        let Discrete::Taps(weights) = Synapse::Triangle(seconds).discretise("a", DT).unwrap() else {
            panic!("a triangle has taps")
        };
        assert_eq!(weights.len(), taps, "{seconds} s");
    }
}

#[test]
fn filters_that_make_no_sense_are_refused_by_name() {
    let linear = |numerator: &[f64], denominator: &[f64]| LinearFilter::new(numerator, denominator);
    let matrices = |a: Array2<f64>, b, c| StateSpace { a, b, c, d: 0.0 };
    let cases: Vec<(Synapse, &[&str])> = vec![
        (Synapse::Lowpass(-0.1), &["-0.1 s", "at least 0"]),
        (Synapse::Alpha(f64::NAN), &["NaN s"]),
        (Synapse::Lowpass(1e4), &["0.001 s", "single precision", "10000 s", "at least 4.8e-3 s"]),
        (Synapse::Triangle(f64::INFINITY), &["triangle", "inf s"]),
        (Synapse::Triangle(1e9), &["triangle", "steps long"]),
        (linear(&[1.0, 0.0, 0.0], &[1.0, 1.0]).into(), &["numerator", "higher degree"]),
        (linear(&[1.0], &[]).into(), &["denominator", "empty"]),
        (linear(&[1.0], &[0.0, 1.0]).into(), &["denominator", "starts with 0"]),
        (linear(&[f64::NAN], &[1.0, 1.0]).into(), &["coefficients", "NaN"]),
        (linear(&[1.0], &vec![1.0; 1_000]).into(), &["1000 coefficients"]),
        (linear(&[1.0], &[1.0, 0.0]).into(), &["pole 1.000000", "below 1"]),
        (linear(&[1.0], &[1.0, -1.0]).into(), &["pole 1.001001"]),
        (linear(&[1.0], &[1.0, 0.0, 1e4]).into(), &["pole 0.995004 ± 0.099833i", "magnitude 1.000000"]),
        (linear(&[1.0], &[1.0, -1.5]).digital().into(), &["pole 1.5"]),
        (linear(&[1.0], &[1e-4, 1.0]).method(Method::Euler).into(), &["pole -9.000000"]),
        (
            LinearFilter::state_space(matrices(
                Array2::zeros((2, 2)),
                Array2::zeros((1, 1)),
                Array2::zeros((1, 2)),
            ))
            .into(),
            &["its B is 1 x 1", "2 x 1"],
        ),
    ];
    for (synapse, parts) in cases {
        let text = synapse.discretise("connection 'a->b'", DT).unwrap_err().to_string();
        for part in parts.iter().chain(&["connection 'a->b'"]) {
            assert!(text.contains(part), "no {part:?} in: {text}");
        }
    }
}

fn wide<'a>(values: impl IntoIterator<Item = &'a f32>) -> Vec<f64> {
    values.into_iter().map(|&x| f64::from(x)).collect()
}

/// The synapses of the file that decay, by name.
fn synapses(golden: &Golden) -> Vec<(String, Synapse)> {
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

/// A filter of each kind, with and without a delay.
fn filters() -> Vec<(String, Scan)> {
    let mut filters = Vec::new();
    let golden = Golden::open("synapses");
    let kinds = ["lowpass_5ms", "alpha", "second_order", "pass_through_2", "gain", "triangle_10ms"];
    let kind = |(name, _): &(String, Synapse)| kinds.iter().any(|kind| name.contains(kind));
    for (name, synapse) in synapses(&golden).into_iter().filter(kind) {
        for delays in [false, true] {
            let scan = filter(&synapse.discretise(&name, DT).unwrap(), delays);
            filters.push((format!("{name}, delays: {delays}"), scan));
        }
    }
    filters
}

#[test]
fn filters_without_a_delay_see_their_input_at_once() {
    let mut golden = Golden::open("synapses");
    let x = golden.input("x");
    let given: Vec<f32> = x.iter().copied().collect();
    let names: Vec<(String, Synapse)> = synapses(&golden);
    let case = crate::common::build(dims(1, 200), |c| {
        let x = c.feed_of(Type::sequence(3), |i, _| given[i]);
        let one = |(name, s): &(String, Synapse)| x.filter(&filter(&s.discretise(name, DT).unwrap(), false));
        names.iter().map(one).collect()
    });
    for device in devices() {
        for ((name, _), y) in names.iter().zip(case.run(device)) {
            golden.check(&format!("{name}/filt"), device, &wide(&y));
        }
    }
    // What `FilteredNoise` does with given draws.
    let mut golden = Golden::open("processes");
    let draws: Vec<f32> = golden.input("filtered_noise/draws").iter().copied().collect();
    let case = crate::common::build(dims(1, 100), |c| {
        let x = c.feed_of(Type::sequence(2), |i, _| draws[i] / (DT as f32).sqrt());
        vec![x.filter(&filter(&Synapse::Lowpass(0.01).discretise("x", DT).unwrap(), false))]
    });
    for device in devices() {
        golden.check("filtered_noise/output", device, &wide(&case.run(device)[0]));
    }
}

/// `f` of an input and of what it gave the step before.
fn in_loop<'s>(c: &'s Case, x: Tensor<'s>, f: impl Fn(Tensor<'s>) -> Tensor<'s>) -> Tensor<'s> {
    let state = c.scope.open(Arc::new(Delay { backward: false }), x.ty());
    let y = f(x + state.scale(0.3));
    c.scope.close(state, y);
    y
}

#[test]
fn filters_agree_with_their_definition_in_and_out_of_loops() {
    for (batch, cols) in [(3, 5), (4, 8)] {
        for backward in [false, true] {
            crate::common::check(
                &format!("{batch} x {cols}, backward {backward}"),
                dims(batch, 21),
                2e-5,
                |c| {
                    let (x, held) = (c.feed(Type::sequence(cols)), c.feed(Type::example(cols)));
                    let mut all = Vec::new();
                    for (_, filter) in filters() {
                        let filter = Scan { backward, ..filter };
                        all.extend([x.filter(&filter), held.filter(&filter), (x * held).filter(&filter)]);
                        if !backward {
                            all.push(in_loop(c, x, |x| x.filter(&filter).tanh() + held));
                        }
                    }
                    all
                },
            );
        }
    }
}

#[test]
fn filters_have_their_derivatives_in_the_middle_of_a_graph() {
    for (name, filter) in filters() {
        crate::common::check_gradients(&name, dims(2, 9), |c| {
            let x = (c.feed(Type::sequence(3)) * c.parameter(1, 3)).tanh();
            (x.filter(&filter).tanh() * c.feed(Type::sequence(3))).mean_all()
        });
        crate::common::check_gradients(&format!("{name}, in a loop"), dims(2, 7), |c| {
            let (x, w) = (c.feed(Type::sequence(3)), c.parameter(3, 3));
            let y = in_loop(c, x, |x| x.dot(w).filter(&filter).tanh());
            (y * c.feed(Type::sequence(3))).mean_all()
        });
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
fn a_filter_that_decays_for_ever_becomes_zero() {
    for (name, filter) in filters() {
        let case = crate::common::build(dims(1, 4_000), |c| {
            let x = c.feed_of(Type::sequence(4), |i, _| if i < 4 { 1e-25 } else { 0.0 });
            vec![x.filter(&filter)]
        });
        for device in devices() {
            let y = case.run(device).remove(0);
            let denormal = y.iter().filter(|y| **y != 0.0 && y.abs() < f32::MIN_POSITIVE).count();
            assert_eq!(denormal, 0, "{name} on {device}");
            assert!(y.iter().any(|y| *y != 0.0), "{name} on {device}");
            assert_eq!(y[y.len() - 4..], [0.0; 4], "{name} on {device}");
        }
    }
}

#[test]
fn an_unstable_synapse_is_told_of_when_the_time_step_is_known() {
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
    let text = with(0.003).unwrap_err().to_string();
    assert!(text.contains("connection 'x->y'") && text.contains("-2.0"), "{text}");
}

/// Whether a plan cuts some scan into chunks of time.
fn in_chunks(case: &crate::common::Ready, target: &nengo_wgpu::engine::Target) -> bool {
    let commands = case.plan(target).recording.commands;
    commands.iter().any(|c| matches!(c, Command::Dispatch(d) if d.kernel.source().stem == "scan_combine"))
}

#[test]
fn few_columns_over_many_steps_run_in_chunks_and_agree() {
    let mut chunked = 0;
    for (batch, cols) in [(1, 1), (1, 4), (3, 5), (2, 8)] {
        for steps in [511, 512, 700, 1001] {
            for (a, b, backward) in
                [(0.98, 0.02, false), (-0.5, 1.0, true), (1.0, 0.01, false), (0.0, 1.0, true)]
            {
                let filter = Scan { backward, ..lowpass(a, b, true) };
                let case = crate::common::build(dims(batch, steps), |c| {
                    let x = c.feed(Type::sequence(cols));
                    vec![x.filter(&filter), x.tanh().filter(&filter).filter(&filter)]
                });
                case.check(&format!("{batch} x {cols}, {steps} steps, {filter:?}"), 2e-5);
                for device in devices() {
                    chunked += crate::common::targets(device).iter().filter(|t| in_chunks(&case, t)).count();
                }
            }
        }
    }
    assert!(chunked > 150, "{chunked} plans with chunks");
}

#[test]
fn chunks_have_the_derivatives_of_the_filter() {
    crate::common::check_gradients("a long filter", dims(2, 520), |c| {
        let x = (c.feed(Type::sequence(3)) * c.parameter(1, 3)).tanh();
        (x.filter(&lowpass(0.9, 0.1, true)).tanh() * c.feed(Type::sequence(3))).mean_all()
    });
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
