//! A Legendre memory unit that is asked, after a noise of 200 steps, what it heard 150 steps ago.
//!
//! `cargo run --release --example lmu [DEVICE]`

use ndarray::Array3;
use nengo_wgpu::network::{Layer, LegendreMemory, Network, Node};
use nengo_wgpu::train::{Clip, Loss, Objective, Optimiser, Training};
use nengo_wgpu::{Data, Device, EpochReport, Fit, Options, Result, Simulator};

const STEPS: usize = 200;
const DELAY: usize = 150;
const EXAMPLES: usize = 200;

fn main() -> Result<()> {
    let device = Device::select(&std::env::args().nth(1).unwrap_or_else(|| "auto".into()))?;
    println!("device: {device}");
    train(&device, 10, &mut |report| {
        println!("epoch {:2}: mean squared error {:.5}, {:.1} s", report.epoch, report.loss, report.seconds);
    })
}

/// Trains for so many epochs, and tells of each.
pub fn train(device: &Device, epochs: usize, tell: &mut dyn FnMut(&EpochReport)) -> Result<()> {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1))?;
    // Sizes of NengoDL's benchmark; the memory holds the last 200 steps.
    let lmu = LegendreMemory { units: 212, order: 256, theta: STEPS as f64 };
    let hidden = net.legendre_memory("lmu", x, lmu)?;
    let y = net.layer("y", Layer::dense(1), hidden)?;
    net.probe("output", y)?;

    // Slow waves with random phases and frequencies; the target is the same signal, later.
    let wave = |b: usize, t: f64| {
        let (p, q) = ((b * 37 % 101) as f64 / 101.0, (b * 61 % 89) as f64 / 89.0);
        0.5 * ((0.02 + 0.03 * p) * t + 6.3 * q).sin() + 0.5 * ((0.05 + 0.02 * q) * t + 6.3 * p).sin()
    };
    let signal = |delay: usize| {
        Array3::from_shape_fn((EXAMPLES, STEPS, 1), |(b, t, _)| {
            if t < delay { f32::NAN } else { wave(b, (t - delay) as f64) as f32 }
        })
    };
    let inputs = Data::new().with("x", signal(0));
    // NaN says that a target does not count: nothing can be recalled before it was heard.
    let targets = Data::new().with("output", signal(DELAY));

    let mut sim = Simulator::with(&net, device, Options { minibatch: 20, ..Options::default() })?;
    let training = Training::new(Objective::new().loss("output", Loss::MeanSquared), 0.002)
        .optimiser(Optimiser::adam())
        .clip(Clip::GlobalNorm(1.0));
    sim.compile(training)?;
    for _ in 0..epochs {
        sim.fit(&inputs, &targets, &Fit::epochs(1))?.iter().for_each(&mut *tell);
    }
    Ok(())
}
