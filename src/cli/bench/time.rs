//! Times networks that step through time: training and forward runs on data that change at each step.

use std::time::Instant;

use clap::ValueEnum;
use ndarray::{Array2, Array3, Axis};
use nengo_wgpu::internals::engine::Family;
use nengo_wgpu::internals::neuron::{Lif, Spiking};
use nengo_wgpu::network::{
    Activation, Connection, Init, Layer, Network, Neurons, Node, ObjectId, Synapse, Transform, Tuning,
    benchmarks,
};
use nengo_wgpu::train::Surrogate;
use nengo_wgpu::train::{Loss, Objective, Optimiser, Over, Training};
use nengo_wgpu::{Data, Error, Fit, Options, Result, Signal, Simulator};
use serde_json::json;

use super::{Bench, BenchArgs, Benchmark, Measured, measured, peers, print_profile, rate};

/// A network from an input to a probe, with the size of its runs.
struct Case {
    name: &'static str,
    network: Network,
    /// Names of the input and the probe.
    ends: [&'static str; 2],
    sizes: [usize; 2],
    minibatch: usize,
    steps: usize,
    /// True if the input is the same at each step.
    held: bool,
    /// Multiplications and additions per forward step and example; a training step has about three times as many.
    flop: f64,
}

/// Names of input and probe.
const ENDS: [&str; 2] = ["x", "y"];

/// Minibatches per timed pass.
const PASS: usize = 4;

/// Numbers between -1 and 1 without a relevant pattern.
fn numbers(shape: (usize, usize, usize), factor: usize) -> Array3<f32> {
    Array3::from_shape_fn(shape, |(b, t, c)| ((b * 31 + t * 57 + c * factor) % 101) as f32 * 0.02 - 1.0)
}

/// Connects `pre` to `post` through a dense matrix, and a lowpass if a time constant is given.
fn dense(net: &mut Network, pre: ObjectId, post: ObjectId, gain: f32, tau: Option<f64>) -> Result<()> {
    let spread = gain / (net.size_out(pre)? as f32).sqrt();
    let mut spec = Connection::new().transform(Transform::Dense(Init::Normal(0.0, spread)));
    if let Some(tau) = tau {
        spec = spec.synapse(Synapse::Lowpass(tau));
    }
    net.connect(pre, post, spec)?;
    Ok(())
}

/// 64 inputs, 256 recurrent rectified units with a lowpass of 5 ms, 10 outputs.
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
    Ok(Case { name, network, ends: ENDS, sizes, minibatch: 32, steps: 100, held: false, flop })
}

/// 784 constant inputs, 512 leaky integrate-and-fire neurons, 10 outputs.
fn spiking() -> Result<Case> {
    let (inputs, hidden, outputs) = (784, 512, 10);
    let mut network = Network::new(0);
    let x = network.node("x", Node::Input(inputs))?;
    let lif = Lif { amplitude: 0.01, ..Lif::default() };
    let mut neurons = Neurons::new(hidden, lif);
    neurons.tuning = Tuning::Given { gain: Init::Constant(1.0), bias: Init::Constant(1.0) };
    let h = network.neurons("h", neurons)?;
    dense(&mut network, x, h, 2.0, None)?;
    let y = network.layer("out", Layer::dense(outputs), h)?;
    network.probe("y", y)?;
    let steps = 25;
    // The image is multiplied once, not at each step.
    let flop = 2.0 * ((inputs * hidden) as f64 / steps as f64 + (hidden * outputs) as f64);
    let (name, sizes) = ("spiking 784-512-10, 25 steps, batch 128", [inputs, outputs]);
    Ok(Case { name, network, ends: ENDS, sizes, minibatch: 128, steps, held: true, flop })
}

/// A Legendre memory unit of 212 units and order 256, as in NengoDL's benchmark.
fn memory() -> Result<Case> {
    let (units, order) = (212, 256);
    let flop = 2.0 * (order * order + units * (order + units) + 2 * order + 12 * units) as f64;
    let name = "lmu 212 units, order 256, 1000 steps, batch 100";
    let (network, ends) = (benchmarks::lmu()?, ["inp", "p"]);
    Ok(Case { name, network, ends, sizes: [1, 10], minibatch: 100, steps: 1000, held: false, flop })
}

fn case(what: Benchmark) -> Result<Case> {
    match what {
        Benchmark::Spiking => spiking(),
        Benchmark::Lmu => memory(),
        _ => recurrent(),
    }
}

/// Multiplications and additions of a timed pass, training and forward.
pub(super) fn flop(what: Benchmark) -> Result<f64> {
    let Case { flop, minibatch, steps, .. } = case(what)?;
    Ok(4.0 * flop * (PASS * minibatch * steps) as f64)
}

/// Peers, and the benchmarks that they can run.
const PEERS: [(&str, &[Benchmark]); 4] = [
    ("torch", &[Benchmark::Rnn, Benchmark::Spiking]),
    ("torch-compile", &[Benchmark::Rnn, Benchmark::Spiking]),
    ("snntorch", &[Benchmark::Spiking]),
    ("nengo-dl", &[Benchmark::Rnn, Benchmark::Spiking, Benchmark::Lmu]),
];

/// True if a peer can run a benchmark.
fn takes_part(peer: &str, what: Benchmark) -> bool {
    PEERS.iter().any(|(name, at)| *name == peers::split(peer).0 && at.contains(&what))
}

/// Rejects a peer that can run none of the chosen benchmarks.
pub(super) fn check_peer(peer: &str, chosen: &[Benchmark]) -> Result<()> {
    if chosen.is_empty() || chosen.iter().any(|what| takes_part(peer, *what)) {
        return Ok(());
    }
    let name =
        |what: &Benchmark| what.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string());
    let known =
        PEERS.map(|(peer, at)| format!("{peer} at {}", at.iter().map(name).collect::<Vec<_>>().join(", ")));
    let problem = format!("no peer of this name can run these benchmarks; there is: {}", known.join("; "));
    Err(Error::invalid(format!("--vs {}", peers::split(peer).0), problem))
}

impl Bench {
    /// Times training, then forward runs, each also for peers.
    pub(super) fn through_time(&mut self, what: Benchmark, args: &BenchArgs) -> Result<Vec<Measured>> {
        let case = case(what)?;
        let Case {
            name,
            network,
            ends: [input, probe],
            sizes: [inputs, outputs],
            minibatch,
            steps,
            held,
            flop,
        } = case;
        let peak = 1e9 * self.peak()?;
        let options = Options { minibatch, ..Options::default() };
        let mut sim = Simulator::with(&network, &self.device, options)?;
        // The sum of spikes over time determines the class.
        let objective = match held {
            true => Objective::new().loss(probe, Loss::CrossEntropy).over(Over::Sum),
            false => Objective::new().loss(probe, Loss::MeanSquared),
        };
        let optimiser = if held { Optimiser::adam() } else { Optimiser::sgd() };
        let surrogate = Spiking::Surrogate(Surrogate::FastSigmoid(10.0));
        sim.compile(Training::new(objective, 1e-3).in_order().spiking(surrogate).optimiser(optimiser))?;
        let x = numbers((PASS * minibatch, if held { 1 } else { steps }, inputs), 17);
        let x = Data::new()
            .with(input, if held { Signal::Held(x.remove_axis(Axis(1))) } else { Signal::Steps(x) });
        let examples = PASS * minibatch;
        let classes = || Array2::from_shape_fn((examples, 1), |(b, _)| ((b * 7919) % outputs) as f32);
        let y: Signal =
            if held { classes().into() } else { numbers((examples, steps, outputs), 7919).into() };
        let y = Data::new().with(probe, y);
        let fit = Fit { n_steps: Some(steps), ..Fit::epochs(1) };
        sim.fit(&x, &y, &fit)?;
        if args.profile {
            let total: f64 = print_profile(sim.profile(&x, &y, Some(steps), 10)?);
            sayln!("{:>9.1} µs  all", 1e6 * total);
        }
        let mut seconds = Vec::new();
        for _ in 0..self.repeats {
            seconds.push(sim.fit(&x, &y, &fit)?[0].seconds / PASS as f64);
        }
        let whole = flop * (minibatch * steps) as f64;
        let mut training = measured(format!("{name}: training"), "it/s", 1.0, seconds, peak / (3.0 * whole));
        sim.predict_steps(&x, steps)?;
        let mut seconds = Vec::new();
        for _ in 0..self.repeats {
            let start = Instant::now();
            sim.predict_steps(&x, steps)?;
            seconds.push(start.elapsed().as_secs_f64() / PASS as f64);
        }
        let work = steps as f64;
        let mut forward = measured(format!("{name}: forward"), "steps/s", work, seconds, work * peak / whole);
        for peer in args.vs.iter().filter(|peer| takes_part(peer, what)) {
            let workload = what.to_possible_value();
            let workload = workload.as_ref().map(|v| v.get_name());
            let who = peers::split(peer).0;
            let gpu = self.device.target().family == Family::Gpu;
            let spec = json!({ "peer": who, "workload": workload, "repeats": self.repeats, "gpu": gpu });
            // A peer that fails does not discard our measurements.
            let found = match peers::ask(peer, &spec) {
                Ok(found) => found,
                Err(error) => {
                    self.failed = Some(error);
                    continue;
                }
            };
            for (ours, of, work) in [(&mut training, "training", 1.0), (&mut forward, "forward", work)] {
                let (value, spread) = rate(work, peers::seconds(who, &found[of])?);
                ours.beside.push((who.to_string(), value, spread));
            }
        }
        Ok(vec![training, forward])
    }
}
