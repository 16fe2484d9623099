//! The networks of the examples do what their first lines promise, on a shortened schedule.

use std::f64::consts::TAU;

use crate::common::devices;
use ndarray::Axis;
use nengo_wgpu::network::{Synapse, Target};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::train::Spiking;
use nengo_wgpu::{Data, Device, Fit, Options, Simulator};
use proptest::prelude::prop_assert;
use proptest::test_runner::{Config, TestRunner};

#[allow(dead_code, reason = "the example's main is not called here")]
#[path = "../../examples/lmu.rs"]
mod lmu;

#[allow(dead_code, reason = "the example's main is not called here")]
#[path = "../../examples/spa_retrieval.rs"]
mod spa_retrieval;

fn example(name: &str) -> NetworkSpec {
    NetworkSpec::read(crate::common::root().join("examples").join(name)).unwrap()
}

#[test]
fn the_oscillator_turns_once_a_second_and_keeps_its_radius() {
    let net = example("oscillator.toml").build().unwrap();
    let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
    sim.run_steps(3000, &Data::new()).unwrap();
    let x = sim.data(net.find_probe("x").unwrap()).unwrap();
    let at = |k: usize| [x[[0, k, 0]], x[[0, k, 1]]].map(f64::from);
    let radius = |k: usize| at(k)[0].hypot(at(k)[1]);
    // The kick lasts a tenth of a second; behind it, one turn of 1000 steps comes back to where it began.
    let start = radius(500);
    assert!((0.5..2.0).contains(&start), "{start}");
    for k in (500..3000).step_by(50) {
        assert!((radius(k) / start - 1.0).abs() < 0.05, "the radius of {start} is {} at step {k}", radius(k));
    }
    let turn = |k: usize| {
        let angle = |k: usize| at(k)[1].atan2(at(k)[0]) / TAU;
        let turn = angle(k + 1) - angle(k);
        turn - turn.round()
    };
    let turns: f64 = (500..2500).map(turn).sum();
    assert!((turns.abs() - 2.0).abs() < 0.02, "{turns} turns in two seconds");
}

/// The first epochs of an example, on the CPU; gives the losses, and the accuracy on test examples.
fn trained(spec: &NetworkSpec, epochs: u64) -> (Vec<f64>, f64) {
    let net = spec.build().unwrap();
    let splits = spec.load_data().unwrap();
    let train = spec.train().unwrap();
    let options = Options { minibatch: train.minibatch, dt: spec.dt, seed: None };
    let mut sim = Simulator::with(&net, &Device::cpu(), options).unwrap();
    sim.compile(spec.training(&net, splits.train.len()).unwrap()).unwrap();
    let (inputs, targets) = spec.signals(&net, &splits.train).unwrap();
    let fit = Fit { n_steps: Some(train.steps), ..Fit::epochs(epochs) };
    let losses = sim.fit(&inputs, &targets, &fit).unwrap().iter().map(|report| report.loss).collect();
    let (inputs, targets) = spec.signals(&net, &splits.test.unwrap()).unwrap();
    let test = sim.evaluate_steps(&inputs, &targets, Some(train.steps)).unwrap();
    (losses, test.metrics[0])
}

#[test]
fn digits_read_row_by_row_are_recognised_after_a_few_epochs() {
    let (losses, accuracy) = trained(&example("row_by_row.toml"), 4);
    assert!(losses[3] < 0.5 * losses[0], "{losses:?}");
    assert!(accuracy > 0.8, "{accuracy}");
}

#[test]
fn spiking_neurons_recognise_digits_trained_through_spikes_and_through_rates() {
    let (losses, accuracy) = trained(&example("spiking_digits.toml"), 30);
    assert!(losses[29] < 0.1 * losses[0], "{losses:?}");
    assert!(accuracy >= 0.94, "{accuracy}");
    let mut rates = example("spiking_digits.toml");
    rates.train.as_mut().unwrap().spiking = Spiking::RateSwap;
    let (_, accuracy) = trained(&rates, 30);
    assert!(accuracy >= 0.94, "{accuracy}, of spikes");
}

#[test]
fn a_legendre_memory_learns_to_recall() {
    let mut losses = Vec::new();
    lmu::train(&Device::cpu(), 4, &mut |report| losses.push(report.loss)).unwrap();
    assert!(losses.len() == 4 && losses[3] < 0.25 * losses[0], "{losses:?}");
}

/// Runs of the same length in pieces of any length record the same bits.
#[test]
fn windows_of_any_length_give_the_spikes_of_the_whole_run() {
    for (name, spikes, steps) in
        [("controlled_oscillator.toml", "clock.hand.neurons", 130), ("spiking_digits.toml", "hidden", 25)]
    {
        let spec = example(name);
        let mut net = spec.build().unwrap();
        let neurons = net.find(spikes).unwrap();
        net.add_probe("of-all-neurons", Target::Output(neurons, None)).unwrap();
        net.add_probe("filtered", Target::Output(neurons, Some(Synapse::Lowpass(0.01)))).unwrap();
        let data = match &spec.data {
            None => Data::new(),
            Some(_) => {
                let first: Vec<usize> = (0..4).collect();
                let images = spec.load_data().unwrap().train.inputs.select(Axis(0), &first);
                Data::new().with("image", images)
            }
        };
        let minibatch = data.examples().unwrap().unwrap_or(1);
        let run = |device: &Device, pieces: &mut dyn Iterator<Item = usize>| {
            let mut sim = Simulator::with(&net, device, Options { minibatch, ..Options::default() }).unwrap();
            let mut done = 0;
            while done < steps {
                let piece = pieces.next().unwrap().min(steps - done);
                sim.run_steps(piece, &data).unwrap();
                done += piece;
            }
            let read = |probe: &str| sim.data(net.find_probe(probe).unwrap()).unwrap();
            ["of-all-neurons", "filtered"].map(|p| read(p).mapv(f32::to_bits))
        };
        for (device, cases) in devices().iter().zip([2, 8]) {
            let whole = run(device, &mut std::iter::repeat(steps));
            let spikes = whole[0].iter().filter(|x| **x != 0).count();
            assert!(spikes > 100, "{name}: {spikes} spikes");
            let config = Config { cases, failure_persistence: None, ..Config::default() };
            let lengths = proptest::collection::vec(1_usize..40, 1..6);
            let checked = TestRunner::new(config).run(&lengths, |lengths| {
                prop_assert!(
                    run(device, &mut lengths.iter().copied().cycle()) == whole,
                    "{name} in windows of {lengths:?} on {device}"
                );
                Ok(())
            });
            checked.unwrap();
            assert!(run(device, &mut std::iter::repeat(1)) == whole, "{name} step by step on {device}");
        }
    }
}

#[test]
fn a_circular_convolution_learns_to_find_what_is_bound_to_a_role() {
    let mut found = Vec::new();
    spa_retrieval::train(&Device::cpu(), 0, 10, &mut |_, _, part| found.push(part)).unwrap();
    assert!(found[0] < 0.3 && found[1] > 0.6, "{found:?}");
}
