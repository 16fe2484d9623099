//! `nengo-wgpu bench`: speed of this device, compared with ceilings measured on it.

mod classifier;
mod kernels;
mod net;
mod neurons;
mod peers;
mod time;

use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::HumanDuration;
use nengo_wgpu::{Device, Error, Result};

use self::classifier::{STEPS, layer_sizes, train_flop};
use super::note;

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Benchmark {
    /// Matrix products in three forms
    Matmul,
    /// Elementwise work on large arrays
    Elementwise,
    /// The L2 norm of each parameter
    L2Norm,
    /// Steps of each neuron type on one thread
    Neurons,
    /// Training steps of a classifier
    Train,
    /// A recurrent network over 100 steps, training and forward
    Rnn,
    /// A spiking network over 25 steps, trained with a surrogate
    Spiking,
    /// A Legendre memory unit over 1000 steps
    Lmu,
}

/// Measures speed, and ceilings for it on the same device.
///
/// Example: nengo-wgpu bench train --device cpu --json
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    networks: Option<Networks>,
    /// Benchmarks to run; all by default
    what: Vec<Benchmark>,
    /// auto, gpu, software, cpu, or part of an adapter's name
    #[arg(long, env = "NENGO_WGPU_DEVICE", default_value = "auto")]
    device: String,
    /// Print a JSON object per measurement
    #[arg(long)]
    json: bool,
    /// Timed runs; the median counts
    #[arg(long, default_value_t = 9)]
    repeats: usize,
    /// Rows, columns and depth of the product
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Layer sizes of the `train` benchmark
    #[arg(long, default_value = "784-256-256-10")]
    layers: String,
    /// Examples per training step
    #[arg(long, default_value_t = 128)]
    minibatch: usize,
    /// Print the time of each dispatch of a training step
    #[arg(long)]
    profile: bool,
    /// Optimiser of `train`: sgd or adam
    #[arg(long, default_value = "sgd", value_parser = ["sgd", "adam"])]
    optimiser: String,
    /// Also time a peer at rnn, spiking and lmu: torch, torch-compile, snntorch or nengo-dl, and the Python that has it, as in
    /// torch=venv/bin/python
    #[arg(long, value_name = "PEER[=PYTHON]")]
    vs: Vec<String>,
}

/// Benchmarks with their own options.
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
    /// Measurements of other tools: name, value and spread.
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
        Benchmark::Matmul,
        Benchmark::Elementwise,
        Benchmark::L2Norm,
        Benchmark::Neurons,
        Benchmark::Train,
        Benchmark::Rnn,
        Benchmark::Spiking,
        Benchmark::Lmu,
    ];
    let chosen = if args.what.is_empty() { &all[..] } else { &args.what };
    let mut bench = Bench { device, repeats: args.repeats, peak: None, bandwidth: None, failed: None };
    let start = Instant::now();
    note(&format!("this takes about {}", HumanDuration(bench.estimate(chosen, args)?)));
    for what in chosen {
        let results = match what {
            Benchmark::Matmul => bench.matmul(args.size)?,
            Benchmark::Elementwise => bench.elementwise()?,
            Benchmark::L2Norm => bench.l2_norm()?,
            Benchmark::Neurons => {
                let bandwidth = bench.bandwidth()?;
                neurons::run(&bench.device, bench.repeats, bandwidth)?
            }
            Benchmark::Train => bench.train(args)?,
            Benchmark::Rnn | Benchmark::Spiking | Benchmark::Lmu => bench.through_time(*what, args)?,
        };
        for measured in &results {
            print_measured(measured, bench.device.name(), args.json);
        }
    }
    note(&format!("it took {}", HumanDuration(start.elapsed())));
    bench.failed.map_or(Ok(()), Err)
}

/// Prints a measurement, and those of other tools below it.
fn print_measured(m: &Measured, device: &str, json: bool) {
    // The device can do what a measurement reached.
    let ceiling = m.ceiling.max(m.value);
    let fraction = m.value / ceiling;
    if json {
        sayln!(
            "{}",
            serde_json::json!({
                "name": m.name, "device": device, "value": m.value, "unit": m.unit,
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
    for (peer, value, spread) in &m.beside {
        let ratio = m.value / value;
        if json {
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

/// A device under measurement, with its ceilings once they are known.
struct Bench {
    device: Device,
    repeats: usize,
    peak: Option<f64>,
    bandwidth: Option<f64>,
    /// Error of a peer, if any.
    failed: Option<Error>,
}

/// Prints the time of each dispatch; returns the sum in seconds.
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

/// Median and spread of the work per second.
fn rate(work: f64, mut seconds: Vec<f64>) -> (f64, (f64, f64)) {
    seconds.sort_by(f64::total_cmp);
    let rate = |s: f64| work / s;
    (rate(seconds[seconds.len() / 2]), (rate(seconds[seconds.len() - 1]), rate(seconds[0])))
}

impl Bench {
    /// A rough estimate of the time of the chosen benchmarks on this device: products at half of its peak, and at least 50 ms
    /// per timed run.
    fn estimate(&mut self, chosen: &[Benchmark], args: &BenchArgs) -> Result<Duration> {
        let peak = 1e9 * self.peak()?;
        let rounds = (self.repeats + 2) as f64;
        let each = |n: f64, flop: f64| n * rounds * (2.0 * flop / peak).max(0.05);
        let mut seconds = 1.0;
        for what in chosen {
            seconds += match what {
                Benchmark::Matmul => each(3.0, 2.0 * (args.size as f64).powi(3)),
                Benchmark::Elementwise => each(2.0, 0.0),
                Benchmark::L2Norm => each(1.0, 0.0),
                Benchmark::Neurons => each(neurons::TYPES as f64, 0.0),
                Benchmark::Train => {
                    each(1.0, STEPS as f64 * train_flop(&layer_sizes(&args.layers)?, args.minibatch))
                }
                Benchmark::Rnn | Benchmark::Spiking | Benchmark::Lmu => each(1.0, time::flop(*what)?),
            };
        }
        Ok(Duration::from_secs_f64(seconds))
    }
}
