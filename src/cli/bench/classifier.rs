//! Benchmark of whole training steps of a classifier.

use ndarray::Array2;
use nengo_wgpu::network::{Activation, Init, Layer, Network, Node};
use nengo_wgpu::train::{Loss, Objective, Optimiser, Penalty, Select, Training};
use nengo_wgpu::{Data, Error, Fit, Options, Result, Simulator};

use super::{Bench, BenchArgs, Measured, measured, print_profile};

/// Parses layer sizes such as 784-256-256-10.
pub(super) fn layer_sizes(layers: &str) -> Result<Vec<usize>> {
    let sizes: Vec<usize> = layers.split('-').map_while(|s| s.parse().ok()).collect();
    if sizes.len() < 2 || sizes.contains(&0) || sizes.len() != layers.split('-').count() {
        return Err(Error::invalid("--layers", format!("'{layers}' is not like 784-256-10")));
    }
    Ok(sizes)
}

/// Multiplications and additions of a training step: forward, gradient of the weights, and gradient of each layer's input
/// except the first.
pub(super) fn train_flop(sizes: &[usize], minibatch: usize) -> f64 {
    let weights: f64 = sizes.windows(2).map(|w| (w[0] * w[1]) as f64).sum();
    2.0 * minibatch as f64 * (3.0 * weights - (sizes[0] * sizes[1]) as f64)
}

/// Training steps per timed pass.
pub(super) const STEPS: usize = 100;

impl Bench {
    /// Times training steps of a classifier with L2 on all weights and synthetic data: forward, backward, update.
    pub(super) fn train(&mut self, args: &BenchArgs) -> Result<Vec<Measured>> {
        let sizes = layer_sizes(&args.layers)?;
        let (minibatch, classes) = (args.minibatch, sizes[sizes.len() - 1]);
        let peak = self.peak()?;
        let mut net = Network::new(0);
        let mut last = net.node("x", Node::Input(sizes[0]))?;
        for (i, &units) in sizes.iter().enumerate().skip(1) {
            let layer = Layer::dense(units).init(Init::He);
            let end = i + 1 == sizes.len();
            let layer = if end { layer.no_bias() } else { layer.activation(Activation::Relu) };
            last = net.layer(&format!("layer{i}"), layer, last)?;
        }
        net.probe("y", last)?;
        let options = Options { minibatch, ..Options::default() };
        let mut sim = Simulator::with(&net, &self.device, options)?;
        let optimiser = if args.optimiser == "adam" { Optimiser::adam() } else { Optimiser::sgd() };
        let objective = Objective::new().loss("y", Loss::CrossEntropy);
        let training = Training::new(objective, 1e-3)
            .optimiser(optimiser)
            .penalty(Select::Weights, Penalty::L2Sum(1e-4))
            .in_order();
        sim.compile(training)?;
        let examples = STEPS * minibatch;
        let x = Array2::from_shape_fn((examples, sizes[0]), |(r, c)| {
            ((r * 31 + c * 17) % 101) as f32 * 0.02 - 1.0
        });
        let y = Array2::from_shape_fn((examples, 1), |(r, _)| ((r * 7919) % classes) as f32);
        let (inputs, targets) = (Data::new().with("x", x), Data::new().with("y", y));
        sim.fit(&inputs, &targets, &Fit::epochs(1))?;
        if args.profile {
            let total: f64 = print_profile(sim.profile(&inputs, &targets, None, 100)?);
            sayln!("{:>9.1} µs  all", 1e6 * total);
        }
        let mut seconds = Vec::new();
        for _ in 0..args.repeats {
            let reports = sim.fit(&inputs, &targets, &Fit::epochs(1))?;
            seconds.push(reports[0].seconds / STEPS as f64);
        }
        let flop = train_flop(&sizes, minibatch);
        let name = format!("train {} batch {minibatch} {}", args.layers, args.optimiser);
        let steps = measured(name.clone(), "steps/s", 1.0, seconds.clone(), peak * 1e9 / flop);
        Ok(vec![steps, measured(format!("{name}, matmul"), "GFLOP/s", flop / 1e9, seconds, peak)])
    }
}
