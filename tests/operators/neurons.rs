//! Neuron types against what Nengo and NengoDL computed (`tests/golden/README.md` describes the files), and their gradients.

use crate::common::golden::{Golden, neuron};
use crate::common::{Case, Ready, devices, dims};
use ndarray::ArrayD;
use nengo_wgpu::Device;
use nengo_wgpu::DeviceKind;
use nengo_wgpu::internals::graph::{State, Tensor, Type};
use nengo_wgpu::internals::neuron::{LifRate, NeuronType, SoftLifRate};
use nengo_wgpu::internals::op::neurons::Setting;

const FILES: [&str; 2] = ["neurons", "neurons_nengodl"];

/// A graph of neurons with the currents `j` from given states: their output, and each state after each step.
fn population(neuron: &NeuronType, dt: f64, j: &ArrayD<f32>, start: &[(String, Vec<f32>)]) -> Ready {
    let (steps, n) = (j.shape()[0], j.shape()[1]);
    let case = Case::new(dims(1, steps));
    let states: Vec<State> = neuron
        .states()
        .into_iter()
        .map(|(name, _)| {
            let found = start.iter().find(|(s, _)| s == name);
            State { name, start: found.map_or_else(|| vec![0.0; n], |(_, values)| values.clone()) }
        })
        .collect();
    let outputs = {
        let current = case.feed_of(Type::sequence(n), |i, _| j.as_slice().unwrap()[i]);
        let setting = Setting { dt, training: None, states: &states, random: None };
        let out = neuron.output(current, &setting);
        let after = (0..states.len()).map(|k| out.state(k, true));
        std::iter::once(out).chain(after).map(|t: Tensor<'_>| t.id).collect()
    };
    case.ready(outputs)
}

/// How many times the tolerance a device may be off. That of the files is five times what `f32` with exact functions is off,
/// and the CPU twin meets it. On an adapter `exp` and the logarithm may be off by several ulp; where voltages run on
/// without a floor or a long refractory time that adds up.
fn factor(device: &Device, case: &str, array: &str) -> f64 {
    match device.kind() {
        DeviceKind::Cpu => 1.0,
        _ if array == "state/voltage" && case == "lif_no_min_voltage" => 60.0,
        _ if array.starts_with("state/") => 4.0,
        _ => 2.0,
    }
}

fn check(golden: &mut Golden, golden_name: &str, gold: &[f64], ours: &[f64], device: &Device, factor: f64) {
    let tolerance = golden.meta["tolerance"][golden_name].as_f64().unwrap();
    // Of the array as it is in the file.
    let largest = golden.result(golden_name).iter().fold(0.0_f64, |a, x| a.max(x.abs()));
    let limit = factor * tolerance * if largest > 1e-30 { largest } else { 1.0 };
    let off = ours.iter().zip(gold).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("{:.2} of the tolerance: {golden_name} on {device}", off / limit);
    assert!(off <= limit, "{golden_name} on {device}: off by {off:.2e}, allowed {limit:.2e}");
}

#[test]
fn neurons_spike_and_settle_as_in_nengo_and_nengo_dl() {
    for file in FILES {
        let mut golden = Golden::open(file);
        for (name, case) in golden.cases() {
            let neuron = neuron(&case["neuron_type"]);
            let dt = case["dt"].as_f64().unwrap();
            let j = golden.input(&format!("{name}/J"));
            let states: Vec<&str> = neuron.states().iter().map(|s| s.0).collect();
            let start: Vec<(String, Vec<f32>)> = states
                .iter()
                .map(|s| {
                    let values = golden.input(&format!("{name}/initial/{s}"));
                    (s.to_string(), values.into_iter().collect())
                })
                .collect();
            let ready = population(&neuron, dt, &j, &start);
            for device in devices() {
                let arrays = ready.run(device);
                let names =
                    std::iter::once("output".to_string()).chain(states.iter().map(|s| format!("state/{s}")));
                for (array, ours) in names.zip(&arrays) {
                    let full = format!("{name}/{array}");
                    let mut gold: Vec<f64> = golden.result(&full).into_iter().collect();
                    if array == "state/refractory_time" {
                        // Nengo's falls without bound while a neuron is silent.
                        gold.iter_mut().for_each(|x| *x = x.max(-dt));
                    }
                    let ours: Vec<f64> = ours.iter().map(|&x| f64::from(x)).collect();
                    if array == "output" && case["spiking"] == true {
                        let place =
                            ours.iter().zip(&gold).position(|(a, b)| (a * dt).round() != (b * dt).round());
                        assert_eq!(place, None, "{full} on {device}: another spike");
                    }
                    check(&mut golden, &full, &gold, &ours, device, factor(device, &name, &array));
                }
            }
        }
    }
}

#[test]
fn nengo_dls_kernels_give_the_same_spikes() {
    let mut golden = Golden::open("neurons_tensorflow");
    for (name, case) in golden.cases() {
        let neuron = neuron(&case["neuron_type"]);
        let dt = case["dt"].as_f64().unwrap();
        let j = golden.input(&format!("{name}/J"));
        let voltage: Vec<f32> = golden.input(&format!("{name}/initial/voltage")).into_iter().collect();
        let at = neuron.states().iter().position(|s| s.0 == "voltage").unwrap();
        let ready = population(&neuron, dt, &j, &[("voltage".into(), voltage)]);
        for device in devices() {
            let arrays = ready.run(device);
            for (array, k) in [("output", 0), ("voltage", 1 + at)] {
                let full = format!("{name}/{array}");
                let gold: Vec<f64> = golden.result(&full).into_iter().collect();
                let ours: Vec<f64> = arrays[k].iter().map(|&x| f64::from(x)).collect();
                let factor = if device.kind() == DeviceKind::Cpu { 1.0 } else { 4.0 };
                check(&mut golden, &full, &gold, &ours, device, factor);
            }
        }
    }
}

#[test]
fn the_soft_lif_rate_keeps_its_digits_far_below_the_threshold() {
    let mut golden = Golden::open("neurons_nengodl");
    let j = golden.input("soft_lif_tail/J");
    let shape = [j.len(), 1];
    let j = j.into_shape_with_order(shape.to_vec()).unwrap();
    for case in ["soft_lif_rate", "soft_lif_rate_sharp"] {
        let spec = golden.meta["cases"][case]["neuron_type"].clone();
        let gold = golden.result(&format!("soft_lif_tail/{case}"));
        for device in devices() {
            let ours = population(&neuron(&spec), 0.001, &j, &[]).run(device).remove(0);
            for ((x, ours), gold) in j.iter().zip(ours).zip(&gold) {
                // The argument of the exponential has the rounding of J, times its size.
                let off = (f64::from(ours) - gold).abs() / gold;
                assert!(off < 2e-6, "{case} at {x} on {device}: {ours} for {gold}, off by {off:.1e}");
            }
        }
    }
}

#[test]
fn gains_biases_and_rates_are_those_of_nengo() {
    for file in FILES {
        let mut golden = Golden::open(file);
        for (name, case) in golden.cases() {
            let neuron = neuron(&case["neuron_type"]);
            let mut wide = |array: &str| -> Vec<f64> {
                golden.input(&format!("{name}/{array}")).into_iter().map(f64::from).collect()
            };
            let (max_rates, intercepts, x) = (wide("max_rates"), wide("intercepts"), wide("x"));
            let (gain, bias) = neuron.gain_bias("'a'", &max_rates, &intercepts).unwrap();
            let theirs: Vec<ArrayD<f64>> =
                ["gain", "bias"].map(|a| golden.result(&format!("{name}/{a}"))).into_iter().collect();
            let rate = |x: &f64, i: usize| neuron.rate(theirs[0][[i]] * x + theirs[1][[i]]).unwrap();
            let rates: Vec<f64> =
                x.iter().flat_map(|x| (0..gain.len()).map(|i| rate(x, i)).collect::<Vec<_>>()).collect();
            for (array, ours) in [("gain", &gain), ("bias", &bias), ("rates", &rates)] {
                golden.check_as(&format!("{name}/{array}"), "the host", ours);
            }
        }
    }
}

#[test]
fn soft_rates_meet_hard_ones_as_the_threshold_sharpens() {
    let hard = NeuronType::from(LifRate::default());
    for j in [1.1, 2.0, 30.0] {
        let soft = |sigma: f64| {
            let soft = SoftLifRate { sigma, ..SoftLifRate::default() };
            NeuronType::from(soft).rate(j).unwrap()
        };
        let hard = hard.rate(j).unwrap();
        assert!((soft(0.01) - hard).abs() < 1e-3 * hard);
        assert!((soft(1.0) - hard).abs() > (soft(0.1) - hard).abs());
    }
}
