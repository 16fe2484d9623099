//! Networks that step through time: training and forward runs on data that change at each step.

use std::time::Instant;

use ndarray::Array3;
use nengo_wgpu::network::{Activation, Connection, Init, Layer, Network, Node, ObjectId, Synapse, Transform};
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Fit, Options, Result, Simulator};

use super::{Bench, BenchArgs, Measured, measured, print_profile};

/// A network from an input `x` to a probe `y`, and the size of its runs.
struct Case {
    name: &'static str,
    network: Network,
    sizes: [usize; 2],
    minibatch: usize,
    steps: usize,
    /// Multiplications and additions of a forward step of one example; a training step has about three times as many.
    flop: f64,
}

/// Minibatches of one timed pass.
const PASS: usize = 5;

/// Numbers without any pattern that matters, between -1 and 1.
fn numbers(shape: (usize, usize, usize), factor: usize) -> Array3<f32> {
    Array3::from_shape_fn(shape, |(b, t, c)| ((b * 31 + t * 57 + c * factor) % 101) as f32 * 0.02 - 1.0)
}

/// `pre` to `post` through a dense matrix, after a lowpass where there is a time constant.
fn dense(net: &mut Network, pre: ObjectId, post: ObjectId, gain: f32, tau: Option<f64>) -> Result<()> {
    let spread = gain / (net.size_out(pre)? as f32).sqrt();
    let mut spec = Connection::new().transform(Transform::Dense(Init::Normal(0.0, spread)));
    if let Some(tau) = tau {
        spec = spec.synapse(Synapse::Lowpass(tau));
    }
    net.connect(pre, post, spec)?;
    Ok(())
}

/// 64 inputs, 256 recurrent rectified units behind a lowpass of 5 ms, 10 outputs.
fn recurrent() -> Result<Case> {
    let (inputs, hidden, outputs) = (64, 256, 10);
    let mut network = Network::new(0);
    let x = network.node("x", Node::Input(inputs))?;
    let bias = Layer { bias_init: Init::Zeros, ..Layer::elementwise(Activation::Relu) };
    let h = network.unconnected_layer("h", bias, hidden)?;
    let y = network.node("out", Node::Passthrough(outputs))?;
    dense(&mut network, x, h, 1.0, None)?;
    dense(&mut network, h, h, 0.9, Some(0.005))?;
    dense(&mut network, h, y, 1.0, None)?;
    network.probe("y", y)?;
    let flop = 2.0 * (inputs * hidden + hidden * hidden + hidden * outputs) as f64;
    let (name, sizes) = ("rnn 64-256-10, 100 steps, batch 32", [inputs, outputs]);
    Ok(Case { name, network, sizes, minibatch: 32, steps: 100, flop })
}

impl Bench {
    /// A recurrent network: training, then forward.
    pub(super) fn rnn(&mut self, args: &BenchArgs) -> Result<Vec<Measured>> {
        self.through_time(recurrent()?, args)
    }

    fn through_time(&mut self, case: Case, args: &BenchArgs) -> Result<Vec<Measured>> {
        let Case { name, network, sizes: [inputs, outputs], minibatch, steps, flop } = case;
        let peak = 1e9 * self.peak()?;
        let options = Options { minibatch, ..Options::default() };
        let mut sim = Simulator::with(&network, &self.device, options)?;
        let objective = Objective::new().loss("y", Loss::MeanSquared);
        sim.compile(Training::new(objective, 1e-3).in_order())?;
        let x = Data::new().with("x", numbers((PASS * minibatch, steps, inputs), 17));
        let y = Data::new().with("y", numbers((PASS * minibatch, steps, outputs), 7919));
        sim.fit(&x, &y, &Fit::epochs(1))?;
        if args.profile {
            let total: f64 = print_profile(sim.profile(&x, &y, 10)?);
            println!("{:>9.1} µs  all", 1e6 * total);
        }
        let mut seconds = Vec::new();
        for _ in 0..self.repeats {
            seconds.push(sim.fit(&x, &y, &Fit::epochs(1))?[0].seconds / PASS as f64);
        }
        let whole = flop * (minibatch * steps) as f64;
        let training = measured(format!("{name}: training"), "it/s", 1.0, seconds, peak / (3.0 * whole));
        sim.predict(&x)?;
        let mut seconds = Vec::new();
        for _ in 0..self.repeats {
            let start = Instant::now();
            sim.predict(&x)?;
            seconds.push(start.elapsed().as_secs_f64() / PASS as f64);
        }
        let work = steps as f64;
        let forward = measured(format!("{name}: forward"), "steps/s", work, seconds, work * peak / whole);
        Ok(vec![training, forward])
    }
}
