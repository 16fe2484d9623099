//! The networks of the examples: that they do what their first lines promise, on a shortened schedule.

use std::f64::consts::TAU;
use std::path::Path;

use ndarray::{Array3, Axis};
use nengo_wgpu::network::{Layer, LegendreMemory, Network, NetworkSpec, Node, Synapse, Target};
use nengo_wgpu::train::{Clip, Loss, Objective, Optimiser, Training};
use nengo_wgpu::{Data, Device, Fit, Options, Simulator};

fn example(name: &str) -> NetworkSpec {
    NetworkSpec::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)).unwrap()
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
fn spiking_neurons_recognise_digits_after_a_few_epochs() {
    let (losses, accuracy) = trained(&example("spiking_digits.toml"), 3);
    assert!(losses[2] < 0.5 * losses[0], "{losses:?}");
    assert!(accuracy > 0.8, "{accuracy}");
}

/// What examples/lmu.rs does, with fewer units and a shorter delay.
#[test]
fn a_legendre_memory_learns_to_recall() {
    const STEPS: usize = 60;
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let lmu = LegendreMemory { units: 20, order: 16, theta: STEPS as f64 };
    let hidden = net.legendre_memory("lmu", x, lmu).unwrap();
    let y = net.layer("y", Layer::dense(1), hidden).unwrap();
    net.probe("output", y).unwrap();
    let wave = |b: usize, t: f64| (0.1 * (1.0 + (b % 5) as f64 / 5.0) * t + b as f64).sin();
    let signal = |delay: usize| {
        Array3::from_shape_fn((40, STEPS, 1), |(b, t, _)| {
            if t < delay { f32::NAN } else { wave(b, (t - delay) as f64) as f32 }
        })
    };
    let (inputs, targets) = (Data::new().with("x", signal(0)), Data::new().with("output", signal(40)));
    let options = Options { minibatch: 10, ..Options::default() };
    let mut sim = Simulator::with(&net, &Device::cpu(), options).unwrap();
    let training = Training::new(Objective::new().loss("output", Loss::MeanSquared), 0.01)
        .optimiser(Optimiser::adam())
        .clip(Clip::GlobalNorm(1.0));
    sim.compile(training).unwrap();
    let reports = sim.fit(&inputs, &targets, &Fit::epochs(30)).unwrap();
    assert!(reports[29].loss < 0.1 * reports[0].loss, "{reports:?}");
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
        let run = |pieces: &mut dyn Iterator<Item = usize>| {
            let mut sim =
                Simulator::with(&net, &Device::cpu(), Options { minibatch, ..Options::default() }).unwrap();
            let mut done = 0;
            while done < steps {
                let piece = pieces.next().unwrap().min(steps - done);
                sim.run_steps(piece, &data).unwrap();
                done += piece;
            }
            let read = |probe: &str| sim.data(net.find_probe(probe).unwrap()).unwrap();
            ["of-all-neurons", "filtered"].map(|p| read(p).mapv(f32::to_bits))
        };
        let whole = run(&mut std::iter::repeat(steps));
        let spikes = whole[0].iter().filter(|x| **x != 0).count();
        assert!(spikes > 100, "{name}: {spikes} spikes");
        for length in [1, 3, 8, 17, steps - 1] {
            assert!(run(&mut std::iter::repeat(length)) == whole, "{name} in windows of {length}");
        }
        assert!(run(&mut (1..)) == whole, "{name} in windows that grow");
    }
}
