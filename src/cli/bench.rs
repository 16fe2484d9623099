//! `nengo-wgpu bench`: how fast this device is, beside what it could do at best.

mod net;
mod neurons;
mod peers;
mod time;

use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::HumanDuration;
use ndarray::Array2;
use nengo_wgpu::engine::{
    ALIGN, Binding, BufferId, BufferRef, Command, Engine, Family, Program, Recording, ceiling,
};
use nengo_wgpu::expr::Unary;
use nengo_wgpu::graph::{Dims, Scope, Source, Type};
use nengo_wgpu::network::{Activation, Init, Layer, Network, Node};
use nengo_wgpu::optim::norm::{NormBindings, Of, norms};
use nengo_wgpu::optim::update::{Segment, Segments};
use nengo_wgpu::plan::{self, Output, Place, Request};
use nengo_wgpu::train::{Loss, Objective, Optimiser, Penalty, Select, Training};
use nengo_wgpu::{Data, Device, Error, Fit, Options, Result, Simulator};

use super::note;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Matrix products in three forms
    Matmul,
    /// Elementwise work on large arrays
    Elementwise,
    /// The L2 norm of each parameter
    L2Norm,
    /// Steps of each neuron type on one thread
    Neurons,
    /// Whole training steps of a classifier
    Train,
    /// A recurrent network through 100 steps, training and forward
    Rnn,
    /// A spiking network through 25 steps, trained with a surrogate
    Spiking,
    /// A Legendre memory unit through 1000 steps
    Lmu,
}

/// Measures speed, beside ceilings measured on the same device.
///
/// Example: nengo-wgpu bench train --device cpu --json
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    networks: Option<Networks>,
    /// What to measure; all if left out
    what: Vec<What>,
    /// auto, gpu, software, cpu, or part of an adapter's name
    #[arg(long, env = "NENGO_WGPU_DEVICE", default_value = "auto")]
    device: String,
    /// Print a JSON object a measurement
    #[arg(long)]
    json: bool,
    /// Timed runs, of which the median counts
    #[arg(long, default_value_t = 9)]
    repeats: usize,
    /// Rows, columns and depth of the product
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Sizes of the layers that `train` trains
    #[arg(long, default_value = "784-256-256-10")]
    layers: String,
    /// Examples of a training step
    #[arg(long, default_value_t = 128)]
    minibatch: usize,
    /// Print the time of each dispatch of a training step
    #[arg(long)]
    profile: bool,
    /// Optimiser of `train`: sgd or adam
    #[arg(long, default_value = "sgd", value_parser = ["sgd", "adam"])]
    optimiser: String,
    /// Time a peer too at rnn, spiking and lmu: torch, torch-compile, snntorch or nengo-dl, and the Python that has it, as in
    /// torch=venv/bin/python
    #[arg(long, value_name = "PEER[=PYTHON]")]
    vs: Vec<String>,
}

/// Benchmarks with options of their own.
#[derive(Debug, Subcommand)]
enum Networks {
    Net(net::NetArgs),
}

/// One measurement.
struct Measured {
    name: String,
    value: f64,
    unit: &'static str,
    ceiling: f64,
    spread: (f64, f64),
    /// The same of other tools: who, value and spread.
    beside: Vec<(String, f64, (f64, f64))>,
}

/// Runs the benchmarks.
pub fn run(args: &BenchArgs) -> Result<()> {
    if let Some(Networks::Net(args)) = &args.networks {
        return net::run(args);
    }
    if args.repeats == 0 || args.size == 0 || args.minibatch == 0 {
        return Err(Error::invalid("bench", "repeats, size and minibatch must be at least 1"));
    }
    let device = Device::select(&args.device)?;
    if !args.json {
        sayln!("device: {device}");
    }
    for peer in &args.vs {
        time::check_peer(peer, &args.what)?;
    }
    let all = [
        What::Matmul,
        What::Elementwise,
        What::L2Norm,
        What::Neurons,
        What::Train,
        What::Rnn,
        What::Spiking,
        What::Lmu,
    ];
    let chosen = if args.what.is_empty() { &all[..] } else { &args.what };
    let mut bench = Bench { device, repeats: args.repeats, peak: None, bandwidth: None, failed: None };
    let start = Instant::now();
    note(&format!("this takes about {}", HumanDuration(bench.estimate(chosen, args)?)));
    for what in chosen {
        let results = match what {
            What::Matmul => bench.matmul(args.size)?,
            What::Elementwise => bench.elementwise()?,
            What::L2Norm => bench.l2_norm()?,
            What::Neurons => {
                let bandwidth = bench.bandwidth()?;
                neurons::run(&bench.device, bench.repeats, bandwidth)?
            }
            What::Train => bench.train(args)?,
            What::Rnn | What::Spiking | What::Lmu => bench.through_time(*what, args)?,
        };
        for m in results {
            // What a measurement reached, the device can do.
            let ceiling = m.ceiling.max(m.value);
            let fraction = m.value / ceiling;
            if args.json {
                sayln!(
                    "{}",
                    serde_json::json!({
                        "name": m.name, "device": bench.device.name(), "value": m.value, "unit": m.unit,
                        "ceiling": ceiling, "fraction": fraction, "least": m.spread.0, "most": m.spread.1,
                    })
                );
            } else {
                sayln!(
                    "{:<34} {:>9.1} {:<8} {:>5.1} % of {:.1}  (runs {:.1} to {:.1})",
                    m.name,
                    m.value,
                    m.unit,
                    100.0 * fraction,
                    ceiling,
                    m.spread.0,
                    m.spread.1
                );
            }
            for (peer, value, spread) in m.beside {
                let ratio = m.value / value;
                if args.json {
                    sayln!(
                        "{}",
                        serde_json::json!({
                            "name": m.name, "device": peer, "value": value, "unit": m.unit, "ratio": ratio,
                            "least": spread.0, "most": spread.1,
                        })
                    );
                } else {
                    sayln!(
                        "{:<34} {value:>9.1} {:<8} ours is {ratio:.2} times as fast  (runs {:.1} to {:.1})",
                        format!("    {peer}"),
                        m.unit,
                        spread.0,
                        spread.1
                    );
                }
            }
        }
    }
    note(&format!("it took {}", HumanDuration(start.elapsed())));
    bench.failed.map_or(Ok(()), Err)
}

struct Bench {
    device: Device,
    repeats: usize,
    peak: Option<f64>,
    bandwidth: Option<f64>,
    /// What was wrong with a peer.
    failed: Option<Error>,
}

/// A recording loaded into an engine of its own, with the graph's sources filled with numbers.
struct Loaded {
    engine: Box<dyn Engine>,
    program: Program,
    any: BufferId,
}

impl Loaded {
    fn new(device: &Device, recording: &Recording) -> Result<Self> {
        let mut engine = device.engine();
        let program = engine.load(recording, &[])?;
        for (&local, (len, _)) in program.locals.iter().zip(&recording.locals) {
            engine.write_with(local, 0, *len, &mut |to| {
                to.iter_mut().enumerate().for_each(|(i, x)| *x = 0.1 + (i % 97) as f32 * 0.003);
            })?;
        }
        let any = program.locals[0];
        Ok(Self { engine, program, any })
    }

    /// Seconds of one replay: `count` of them are queued, then waited for.
    fn seconds(&mut self, count: usize) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..count {
            self.engine.submit(&[&self.program], None)?;
        }
        self.engine.read(self.any, 0, 1)?;
        Ok(start.elapsed().as_secs_f64() / count as f64)
    }

    /// Seconds of each of `repeats` measurements, after a warm-up.
    fn sample(&mut self, repeats: usize) -> Result<Vec<f64>> {
        self.seconds(1)?;
        let once = self.seconds(1)?;
        let count = ((0.05 / once.max(1e-7)) as usize).clamp(1, 1000);
        (0..repeats).map(|_| self.seconds(count)).collect()
    }
}

/// A recording of one dispatch on buffers of its own.
fn single(locals: Vec<(usize, String)>, commands: Vec<Command>) -> Recording {
    Recording { label: "bench".into(), locals, commands }
}

/// Prints each dispatch's time; gives their sum in seconds.
fn print_profile(dispatches: Vec<(String, f64)>) -> f64 {
    for (label, seconds) in &dispatches {
        sayln!("{:>9.1} µs  {label}", 1e6 * seconds);
    }
    dispatches.iter().map(|d| d.1).sum()
}

fn measured(name: String, unit: &'static str, work: f64, seconds: Vec<f64>, ceiling: f64) -> Measured {
    let (value, spread) = rate(work, seconds);
    Measured { name, value, unit, ceiling, spread, beside: Vec::new() }
}

/// The median of `work` in a second, and the spread.
fn rate(work: f64, mut seconds: Vec<f64>) -> (f64, (f64, f64)) {
    seconds.sort_by(f64::total_cmp);
    let rate = |s: f64| work / s;
    (rate(seconds[seconds.len() / 2]), (rate(seconds[seconds.len() - 1]), rate(seconds[0])))
}

/// Sizes of the layers that `train` trains.
fn layer_sizes(layers: &str) -> Result<Vec<usize>> {
    let sizes: Vec<usize> = layers.split('-').map_while(|s| s.parse().ok()).collect();
    if sizes.len() < 2 || sizes.contains(&0) || sizes.len() != layers.split('-').count() {
        return Err(Error::invalid("--layers", format!("'{layers}' is not like 784-256-10")));
    }
    Ok(sizes)
}

/// Multiplications and additions of a training step: forward, gradient of the weights, and gradient of all but the first
/// layer's input.
fn train_flop(sizes: &[usize], minibatch: usize) -> f64 {
    let weights: f64 = sizes.windows(2).map(|w| (w[0] * w[1]) as f64).sum();
    2.0 * minibatch as f64 * (3.0 * weights - (sizes[0] * sizes[1]) as f64)
}

/// Training steps of a timed pass of `train`.
const STEPS: usize = 100;

impl Bench {
    /// A rough estimate of how long the chosen benchmarks take on this device: their products at half of its peak, and 50 ms a
    /// timed run at least.
    fn estimate(&mut self, chosen: &[What], args: &BenchArgs) -> Result<Duration> {
        let peak = 1e9 * self.peak()?;
        let rounds = (self.repeats + 2) as f64;
        let each = |n: f64, flop: f64| n * rounds * (2.0 * flop / peak).max(0.05);
        let mut seconds = 1.0;
        for what in chosen {
            seconds += match what {
                What::Matmul => each(3.0, 2.0 * (args.size as f64).powi(3)),
                What::Elementwise => each(2.0, 0.0),
                What::L2Norm => each(1.0, 0.0),
                What::Neurons => each(neurons::TYPES as f64, 0.0),
                What::Train => {
                    each(1.0, STEPS as f64 * train_flop(&layer_sizes(&args.layers)?, args.minibatch))
                }
                What::Rnn | What::Spiking | What::Lmu => each(1.0, time::flop(*what)?),
            };
        }
        Ok(Duration::from_secs_f64(seconds))
    }

    /// GFLOP/s of multiplications and additions in registers.
    fn peak(&mut self) -> Result<f64> {
        if let Some(peak) = self.peak {
            return Ok(peak);
        }
        let len = ceiling::arithmetic_len();
        let output = Binding { buffer: BufferRef::Local(0), offset: 0, len };
        let rounds = if self.device.target().family == Family::Gpu { 4096 } else { 256 };
        let (dispatch, on_adapter, on_cpu) = ceiling::arithmetic(output, rounds);
        let work = if self.device.target().family == Family::Cpu { on_cpu } else { on_adapter };
        let recording = single(vec![(len, "sums".into())], vec![Command::Dispatch(dispatch)]);
        let seconds = Loaded::new(&self.device, &recording)?.sample(self.repeats)?;
        let best = seconds.into_iter().fold(f64::INFINITY, f64::min);
        Ok(*self.peak.insert(work / best / 1e9))
    }

    /// GB/s of a copy, read and written bytes counted.
    fn bandwidth(&mut self) -> Result<f64> {
        if let Some(bandwidth) = self.bandwidth {
            return Ok(bandwidth);
        }
        let len = 1 << 22;
        let whole = |i| Binding { buffer: BufferRef::Local(i), offset: 0, len };
        let locals = vec![(len, "from".into()), (len, "to".into())];
        let copies = Command::Copy { from: whole(0), to: whole(1) };
        let mut best = 0.0_f64;
        let seconds = Loaded::new(&self.device, &single(locals, vec![copies]))?.sample(self.repeats)?;
        for s in seconds {
            best = best.max(8.0 * len as f64 / s / 1e9);
        }
        // A driver's copy may use one core alone where a kernel uses all.
        for s in self.map(len, 1)? {
            best = best.max(8.0 * len as f64 / s / 1e9);
        }
        Ok(*self.bandwidth.insert(best))
    }

    /// Seconds of an elementwise sum of `inputs` arrays of `len`.
    fn map(&mut self, len: usize, inputs: usize) -> Result<Vec<f64>> {
        let dims = Dims { batch: 1, steps: 1 };
        let scope = Scope::new(dims);
        let feeds: Vec<_> =
            (0..inputs).map(|i| scope.source(Type::fixed(len / 1024, 1024), Source::Feed(i))).collect();
        let sum = scope.sum(&feeds);
        let output = if inputs == 1 { sum.unary(Unary::Abs) } else { sum };
        let value = output.id;
        self.sample(scope, value)
    }

    fn sample(&mut self, scope: Scope, value: nengo_wgpu::graph::ValueId) -> Result<Vec<f64>> {
        let plan = plan::plan(Request {
            graph: scope.finish()?,
            outputs: vec![Output { value, place: Place::Keep }],
            parameters: &[],
            carry: None,
            target: self.device.target(),
            label: "bench",
        })?;
        Loaded::new(&self.device, &plan.recording)?.sample(self.repeats)
    }

    fn matmul(&mut self, n: usize) -> Result<Vec<Measured>> {
        use nengo_wgpu::engine::cpu::form::Form;
        let peak = self.peak()?;
        let mut results = Vec::new();
        for (form, label) in [(Form::Nt, "A·Bᵀ"), (Form::Nn, "A·B"), (Form::Tn, "Aᵀ·B")] {
            let scope = Scope::new(Dims { batch: 1, steps: 1 });
            let a = scope.source(Type::fixed(n, n), Source::Feed(0));
            let b = scope.source(Type::fixed(n, n), Source::Feed(1));
            let value = scope.apply(nengo_wgpu::op::Matmul::dense(form), &[a, b]).id;
            let seconds = self.sample(scope, value)?;
            let work = 2.0 * (n as f64).powi(3) / 1e9;
            results.push(measured(format!("matmul {label} {n}³"), "GFLOP/s", work, seconds, peak));
        }
        Ok(results)
    }

    fn elementwise(&mut self) -> Result<Vec<Measured>> {
        let ceiling = self.bandwidth()?;
        let len = 1 << 22;
        let mut results = Vec::new();
        for (inputs, label) in [(1, "elementwise |x|, 4 M"), (2, "elementwise a + b, 4 M")] {
            let seconds = self.map(len, inputs)?;
            let work = 4.0 * ((inputs + 1) * len) as f64 / 1e9;
            results.push(measured(label.into(), "GB/s", work, seconds, ceiling));
        }
        Ok(results)
    }

    fn l2_norm(&mut self) -> Result<Vec<Measured>> {
        let ceiling = self.bandwidth()?;
        let lines = (1 << 22) / ALIGN;
        let segment = |i: usize| Segment {
            first_line: i * lines / 4,
            lines: lines / 4,
            l2: 0.0,
            l1: 0.0,
            norm: 0.0,
            decay: 0.0,
            rate: 1.0,
        };
        let segments = Segments { list: (0..4).map(segment).collect() };
        let table = segments.table();
        let sizes = [1 << 22, ALIGN, table.len(), 2 * lines, ALIGN];
        let at = |i: usize| Binding { buffer: BufferRef::Local(i), offset: 0, len: sizes[i] };
        let bindings =
            NormBindings { parameters: at(0), gradients: at(1), table: at(2), partials: at(3), sums: at(4) };
        let commands = norms(&segments, Of::Parameters, self.device.target().family, bindings)
            .map(Command::Dispatch)
            .to_vec();
        let locals = sizes.iter().map(|&n| (n, "bench".to_string())).collect();
        let mut loaded = Loaded::new(&self.device, &single(locals, commands))?;
        loaded.engine.write(loaded.program.locals[2], 0, &table)?;
        let seconds = loaded.sample(self.repeats)?;
        let work = 4.0 * (1 << 22) as f64 / 1e9;
        Ok(vec![measured("l2-norm of 4 × 1 M".into(), "GB/s", work, seconds, ceiling)])
    }

    /// Steps of a classifier with L2 on all weights, from random data: forward, backward, update.
    fn train(&mut self, args: &BenchArgs) -> Result<Vec<Measured>> {
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
