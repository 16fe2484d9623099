//! `nengo-wgpu bench net NAME`: NengoDL's benchmark networks, compared with Nengo and NengoDL where Python has them.

use std::time::Instant;

use clap::{Args, ValueEnum};
use ndarray::Array3;
use nengo_wgpu::internals::neuron::NeuronType;
use nengo_wgpu::network::{Network, benchmarks};
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Device, Error, Fit, Options, Result, Simulator};
use serde_json::json;

use super::peers;

/// A benchmark network of NengoDL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// A circular convolution
    Cconv,
    /// An integrator: an ensemble per dimension, each connected to itself
    Integrator,
    /// Decoders learned online
    Pes,
    /// The basal ganglia's choice between `dimensions` actions
    #[value(alias = "basal_ganglia")]
    BasalGanglia,
    /// Ensembles connected at random
    #[value(alias = "random_network")]
    RandomNetwork,
    /// A convolutional network for 28 by 28 images
    Mnist,
    /// A Legendre memory unit
    Lmu,
}

/// Times a benchmark network of NengoDL, forward or in training.
///
/// Example: nengo-wgpu bench net cconv --device cpu --neurons-per-d 100 --steps 1000 --vs nengo=python3
#[derive(Debug, Args)]
pub struct NetArgs {
    /// Benchmark network
    name: Name,
    /// auto, gpu, software, cpu, or part of an adapter's name
    #[arg(long, env = "NENGO_WGPU_DEVICE", default_value = "auto")]
    device: String,
    /// Dimensions of the vectors; mnist and lmu have fixed sizes and neurons
    #[arg(long, default_value_t = 128)]
    dimensions: usize,
    /// Neurons per dimension
    #[arg(long, default_value_t = 64)]
    neurons_per_d: usize,
    /// Neuron type, as in a TOML file
    #[arg(long, default_value = "rectified-linear")]
    neuron_type: String,
    /// Ensembles of the random network
    #[arg(long, default_value_t = 20)]
    n_ensembles: usize,
    /// Connections from each ensemble of the random network
    #[arg(long, default_value_t = 5)]
    connections: usize,
    /// Examples per run
    #[arg(long, alias = "minibatch", default_value_t = 1)]
    batch: usize,
    /// Time steps per run
    #[arg(long, default_value_t = 150)]
    steps: usize,
    /// Time training steps instead of runs
    #[arg(long)]
    train: bool,
    /// Timed runs; the median counts
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also time a peer: nengo or nengo-dl, and the Python that has it, as in nengo-dl=venv/bin/python
    #[arg(long, value_name = "PEER[=PYTHON]")]
    vs: Vec<String>,
    /// Print the time of each dispatch of a training step
    #[arg(long, requires = "train")]
    profile: bool,
}

/// Times of one simulator, in seconds.
struct Timed {
    who: String,
    /// Time from the description to a simulator that is ready.
    build: Option<f64>,
    seconds: Vec<f64>,
}

impl NetArgs {
    fn network(&self) -> Result<Network> {
        let neuron_type = || neuron_type(&self.neuron_type);
        let (d, n) = (self.dimensions, self.neurons_per_d);
        match self.name {
            Name::Cconv => benchmarks::cconv(d, n, neuron_type()?),
            Name::Integrator => benchmarks::integrator(d, n, neuron_type()?),
            Name::Pes => benchmarks::pes(d, n, neuron_type()?),
            Name::BasalGanglia => benchmarks::basal_ganglia(d, n, neuron_type()?),
            Name::RandomNetwork => {
                benchmarks::random_network(d, n, neuron_type()?, self.n_ensembles, self.connections)
            }
            Name::Mnist => benchmarks::mnist(),
            Name::Lmu => benchmarks::lmu(),
        }
    }

    /// True if the sizes and the neuron type can be chosen.
    fn has_sizes(&self) -> bool {
        !matches!(self.name, Name::Mnist | Name::Lmu)
    }

    fn key(&self) -> String {
        self.name.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string())
    }
}

/// The neuron type with this name in files.
fn neuron_type(name: &str) -> Result<NeuronType> {
    let name = if name == "relu" { "rectified-linear" } else { name };
    nengo_wgpu::internals::read::name(name, "--neuron-type")
}

/// Runs the benchmark.
pub fn run(args: &NetArgs) -> Result<()> {
    if args.repeats == 0 || args.batch == 0 || args.steps == 0 {
        return Err(Error::invalid("bench net", "repeats, batch and steps must be at least 1"));
    }
    if args.train && args.name == Name::Pes {
        let problem =
            "objects before an online learning rule cannot be trained; leave out --train to time runs";
        return Err(Error::invalid("bench net pes", problem));
    }
    let device = Device::select(&args.device)?;
    let network = args.network()?;
    let neurons = network.n_neurons();
    let mut all = vec![time(args, &network, &device)?];
    // A peer that fails does not discard our measurements.
    let (timed, failed): (Vec<_>, Vec<_>) =
        args.vs.iter().map(|peer| peer_time(args, peer)).partition(Result::is_ok);
    all.extend(timed.into_iter().flatten());
    report(args, neurons, &all);
    failed.into_iter().next().unwrap_or(Ok(all.swap_remove(0))).map(drop)
}

/// Prints the times, ours first.
fn report(args: &NetArgs, neurons: usize, all: &[Timed]) {
    let median = |t: &Timed| {
        let mut seconds = t.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        (seconds[seconds.len() / 2], seconds[0], seconds[seconds.len() - 1])
    };
    let steps = args.steps as f64;
    if args.json {
        for t in all {
            let (middle, least, most) = median(t);
            let line = json!({
                "net": args.key(), "who": t.who, "neurons": neurons, "batch": args.batch, "steps": args.steps,
                "train": args.train, "build_seconds": t.build,
                "seconds": middle, "least": least, "most": most, "steps_per_second": steps / middle,
                "neuron_updates_per_second": neurons as f64 * args.batch as f64 * steps / middle,
                "neuron_type": args.has_sizes().then_some(&args.neuron_type),
            });
            sayln!("{line}");
        }
        return;
    }
    let what = if args.train { "training" } else { "forward" };
    let population =
        if args.has_sizes() { format!("{neurons} {} neurons, ", args.neuron_type) } else { String::new() };
    sayln!("{} {what}: {population}batch {}, {} steps", args.key(), args.batch, args.steps);
    sayln!(
        "{:<36} {:>12} {:>14} {:>12} {:>16} {:>8}",
        "",
        "seconds",
        "spread",
        "steps/s",
        "neuron updates/s",
        "ratio"
    );
    let (first, ..) = median(&all[0]);
    for t in all {
        let (middle, least, most) = median(t);
        sayln!(
            "{:<36} {:>12.4} {:>14} {:>12.0} {:>16.3e} {:>8.2}",
            t.who,
            middle,
            format!("{least:.3}-{most:.3}"),
            steps / middle,
            neurons as f64 * args.batch as f64 * steps / middle,
            middle / first
        );
    }
    if let Some(build) = all[0].build {
        sayln!("built in {build:.2} s");
    }
}

/// Numbers between -1 and 1 without a relevant pattern.
fn numbers(shape: (usize, usize, usize), factor: usize) -> Array3<f32> {
    Array3::from_shape_fn(shape, |(b, t, c)| ((b * 31 + t * 57 + c * factor) % 101) as f32 * 0.02 - 1.0)
}

fn time(args: &NetArgs, network: &Network, device: &Device) -> Result<Timed> {
    let (batch, steps) = (args.batch, args.steps);
    let start = Instant::now();
    let mut sim = Simulator::with(network, device, Options { minibatch: batch, ..Options::default() })?;
    let build = Some(start.elapsed().as_secs_f64());
    let inputs = network.inputs();
    let inputs =
        inputs.fold(Data::new(), |data, (name, size)| data.with(name, numbers((batch, steps, size), 17)));
    let probe = network.find_probe("p")?;
    let outputs = sim.predict_steps(&inputs, steps)?[&probe].dim().2;
    let targets = Data::new().with("p", numbers((batch, steps, outputs), 7919));
    let fit = Fit { n_steps: Some(steps), ..Fit::epochs(1) };
    if args.train {
        sim.compile(Training::new(Objective::new().loss("p", Loss::MeanSquared), 1e-3).in_order())?;
    }
    let run = |sim: &mut Simulator| -> Result<()> {
        if args.train {
            sim.fit(&inputs, &targets, &fit).map(drop)
        } else {
            sim.predict_steps(&inputs, steps).map(drop)
        }
    };
    run(&mut sim)?;
    if args.profile {
        super::print_profile(sim.profile(&inputs, &targets, Some(steps), 3)?);
    }
    let mut seconds = Vec::new();
    for _ in 0..args.repeats {
        let start = Instant::now();
        run(&mut sim)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(Timed { who: format!("nengo-wgpu on {}", device.name()), build, seconds })
}

fn peer_time(args: &NetArgs, peer: &str) -> Result<Timed> {
    let name = peers::split(peer).0;
    // Type names agree, except for the joining of words.
    let neuron_type = match args.neuron_type.as_str() {
        "relu" => "RectifiedLinear".to_string(),
        "lif" => "LIF".to_string(),
        "lif-rate" => "LIFRate".to_string(),
        other => other.split('-').map(capitalised).collect(),
    };
    let spec = json!({
        "peer": name, "net": args.key(), "dimensions": args.dimensions, "neurons_per_d": args.neurons_per_d,
        "neuron_type": neuron_type, "n_ensembles": args.n_ensembles, "connections": args.connections,
        "batch": args.batch, "steps": args.steps, "train": args.train, "repeats": args.repeats,
    });
    let seconds = peers::seconds(name, &peers::ask(peer, &spec)?["seconds"])?;
    Ok(Timed { who: name.to_string(), build: None, seconds })
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
