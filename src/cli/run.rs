//! `nengo-wgpu run`.

use std::path::{Path, PathBuf};

use nengo_wgpu::io::dataset::Dataset;
use nengo_wgpu::network::{Network, Synapse, ToSpikes};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::{Data, Error, Options, Result, Simulator, Window};

use super::pictures::PlotArgs;
use super::places::Places;
use super::record::{Files, Format, Record, Span};
use super::{DeviceArg, count, first_examples, note, read_spec, say, signals, table};

/// Runs the network of a TOML file and shows the recordings of its probes.
///
/// Input nodes read the test examples of [data], or all examples if there is no test part. --plot draws the trace of each
/// probe of an output, with its targets, a raster and a histogram of rates if the values are spikes, and the traces of
/// neurons if a probe reads a state such as their voltage.
#[derive(clap::Args)]
#[command(
    after_help = "Example: nengo-wgpu run examples/digits.toml --params runs/digits/params.safetensors --out answers.npz"
)]
pub struct RunArgs {
    /// The TOML file with the network
    file: PathBuf,
    /// Steps to run [default: with data those of the input node or of [train], else the rows of an array, or 1000]
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true, conflicts_with = "time")]
    steps: Option<usize>,
    /// Simulated time to run, in seconds
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<f64>,
    #[command(flatten)]
    device: DeviceArg,
    /// Parameters to run with, as written by train; initial parameters by default
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Destination of recordings: a directory for a file per probe, or one FILE.npz
    #[arg(long, value_name = "DIR|FILE.npz")]
    out: Option<PathBuf>,
    /// Format of recordings [default: npz for FILE.npz, else npy]
    #[arg(id = "out-format", long = "format", value_name = "FORMAT", value_enum, requires = "out")]
    format: Option<Format>,
    /// Keep only the last row of each probe
    #[arg(long)]
    last: bool,
    /// Location of the data, instead of [data]: the directory of IDX files, or a CSV file or its directory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Examples to run over [default: all]
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    examples: Option<usize>,
    /// Also print the firing rates of each ensemble over its evaluation points
    #[arg(long)]
    rates: bool,
    /// Write the parameters after the run, including weights changed by learning rules, to a file that --params reads. Requires a
    /// run of a single example
    #[arg(long, value_name = "FILE")]
    save_params: Option<PathBuf>,
    #[command(flatten)]
    conversion: Conversion,
    #[command(flatten)]
    plot: PlotArgs,
}

/// Conversion of a network trained with rates to spikes.
#[derive(clap::Args)]
struct Conversion {
    /// Make ReLU layers and rate neurons spike; --params takes the parameters of the network with rates
    #[arg(long)]
    spiking: bool,
    /// Factor on the current of spiking neurons, whose spikes get 1 / FACTOR of their height: more spikes for the same value
    #[arg(long, value_name = "FACTOR")]
    scale_firing_rates: Option<f64>,
    /// Time constant of a lowpass on the output of spiking neurons, if it is not filtered yet
    #[arg(long, value_name = "SECONDS")]
    synapse: Option<f64>,
}

impl Conversion {
    /// Converts the network if any option is given.
    fn apply(&self, network: &mut Network) -> Result<()> {
        if !self.spiking && self.scale_firing_rates.is_none() && self.synapse.is_none() {
            return Ok(());
        }
        let how = ToSpikes {
            swap: self.spiking,
            scale: self.scale_firing_rates.unwrap_or(1.0),
            synapse: self.synapse.map(Synapse::Lowpass),
        };
        network.convert_to_spikes(&how)?.iter().for_each(|remark| note(&format!("warning: {remark}")));
        Ok(())
    }
}

/// Runs the command.
pub fn run(args: &RunArgs) -> Result<()> {
    let spec = read_spec(&args.file, args.data.as_ref())?;
    let mut network = spec.build()?;
    if network.probe_ids().next().is_none() {
        return Err(Error::invalid(
            "the network",
            "it has no probe, so nothing would be recorded; add a [[probe]]",
        ));
    }
    args.conversion.apply(&mut network)?;
    let takes_data = spec.node.iter().any(|n| n.is_input());
    for (option, given) in [("--examples", args.examples.is_some()), ("--data", args.data.is_some())] {
        if given && !takes_data {
            let problem = "no node takes data, so it would be ignored; leave it out, or give a node a size";
            return Err(Error::invalid(option, problem));
        }
    }
    let examples = if takes_data { Some(read_examples(&spec, args.examples)?) } else { None };
    let device = args.device.open()?;
    // Report problems before a long run.
    let mut places = Places::default();
    let files = args.out.as_ref().map(|out| Files::create(out, args.format, &mut places)).transpose()?;
    let pictures = args.plot.open(&mut places)?;
    if let Some(file) = &args.save_params {
        places.for_file(file)?;
        one_example(examples.as_ref())?;
    }
    let targets = match &examples {
        // Only the first example is drawn.
        Some(examples) if pictures.is_some() && spec.train.is_some() => {
            spec.signals(&network, &examples.select(&[0]))?.1
        }
        _ => Data::new(),
    };
    let inputs = match examples {
        Some(examples) => Some(Data::new().with(spec.input_node()?, spec.input_signal(&examples.inputs)?)),
        None => None,
    };
    note(&format!("device: {device}"));

    let steps = n_steps(args.steps, args.time, &spec, takes_data)?;
    let minibatch = if takes_data && args.save_params.is_none() {
        spec.train.as_ref().map_or(32, |t| t.minibatch)
    } else {
        1
    };
    super::progress::solve(&mut network, false)?;
    let mut sim = Simulator::with(&network, &device, Options { minibatch, dt: spec.dt, seed: None })?;
    if let Some(params) = &args.params {
        sim.load_parameters(params)?;
    }
    sim.warnings().iter().for_each(|warning| note(&format!("warning: {warning}")));
    let rates = if args.rates { Some(rates(&mut sim)?) } else { None };
    // Windows are reduced and written as they arrive, so a long run takes no more memory than a short one.
    let examples = inputs.as_ref().map_or(Ok(None), Data::examples)?.unwrap_or(minibatch);
    sim.set_keep_history(!args.last);
    // Weights learned in a prediction end with it.
    let from_start = inputs.is_some() && args.save_params.is_none();
    let span = Span { examples, steps, from_start, last: args.last };
    let mut record = Record::new(&sim, span, files, None)?;
    record.keep_first(pictures.is_some());
    record.warnings(&sim).iter().for_each(|warning| note(&format!("warning: {warning}")));
    compute(&mut sim, inputs.as_ref(), steps, &mut record)?;
    say(&table(&record.table()));
    if let Some(rates) = &rates {
        say(&table(rates));
    }
    if let Some(done) = record.finish()? {
        say(&done);
    }
    if let Some(file) = &args.save_params {
        save_parameters(&mut sim, file)?;
    }
    if let Some(pictures) = &pictures {
        pictures.probes(&sim, &mut record, &targets, examples)?;
        say(&format!("pictures are in {}", pictures.dir.display()));
    }
    Ok(())
}

/// Runs the network. A signal ends it early and keeps the recording so far.
fn compute(sim: &mut Simulator, inputs: Option<&Data>, steps: usize, record: &mut Record) -> Result<()> {
    let bar = super::progress::of_run(record.examples(), steps);
    let from_start = record.is_from_start();
    signals::wait_for_me();
    let mut signal = None;
    let mut take = |window: Window| {
        bar.inc((window.examples.len() * window.steps.len()) as u64);
        record.take(window)?;
        signal = signals::stopped();
        if signal.is_some() { Err(Error::invalid("the run", "it was interrupted")) } else { Ok(()) }
    };
    let none = Data::new();
    let result = match inputs {
        Some(inputs) if from_start => sim.predict_with(inputs, steps, &mut take),
        inputs => sim.run_steps_with(steps, inputs.unwrap_or(&none), &mut take),
    };
    bar.finish_and_clear();
    match signal {
        Some(signal) => {
            let far = record.end_early()?;
            note(&format!(
                "ended by {} after {far}; what was recorded so far is kept",
                signals::name(signal)
            ));
            Ok(())
        }
        None => result,
    }
}

/// Rejects `--save-params` for several examples, since each would learn its own weights.
fn one_example(examples: Option<&Dataset>) -> Result<()> {
    match examples.map(Dataset::len) {
        Some(n) if n > 1 => {
            let problem = format!(
                "each of the {n} examples would learn its own weights; use --examples 1, or leave it out"
            );
            Err(Error::invalid("--save-params", problem))
        }
        _ => Ok(()),
    }
}

/// Writes the parameters, including learned weights.
fn save_parameters(sim: &mut Simulator, file: &Path) -> Result<()> {
    let network = sim.network();
    let learned: Vec<String> = network.learning_connections().map(String::from).collect();
    learned.iter().try_for_each(|connection| sim.adopt_weights(connection, 0))?;
    sim.save_parameters(file)?;
    let with = match learned.len() {
        0 => "no connection learns, so they are as before the run".into(),
        n => format!(
            "with the weights that {n} {} learned",
            if n == 1 { "connection has" } else { "connections have" }
        ),
    };
    say(&format!("parameters are in {}, {with}", file.display()));
    Ok(())
}

/// Table of rates with a row per ensemble.
fn rates(sim: &mut Simulator) -> Result<Vec<Vec<String>>> {
    let report = sim.rates_report()?;
    if report.is_empty() {
        return Err(Error::invalid("--rates", "the network has no ensemble; leave it out"));
    }
    let titles = ["ensemble", "neurons", "silent", "mean rate", "highest"].map(String::from).to_vec();
    let rows = report.into_iter().map(|of| {
        let rate = |hz: f64| format!("{hz:.1} Hz");
        vec![of.ensemble, of.neurons.to_string(), of.silent.to_string(), rate(of.mean), rate(of.max)]
    });
    Ok(std::iter::once(titles).chain(rows).collect())
}

fn read_examples(spec: &NetworkSpec, examples: Option<usize>) -> Result<Dataset> {
    let node = spec.input_node()?;
    if spec.data.is_none() {
        let problem =
            "it needs values, but the file has no [data]; add it, or give the node a constant or an array";
        return Err(Error::invalid(format!("node '{node}'"), problem));
    }
    let splits = spec.load_data()?;
    Ok(first_examples(splits.test.unwrap_or(splits.train), examples))
}

pub(super) fn n_steps(
    steps: Option<usize>,
    time: Option<f64>,
    spec: &NetworkSpec,
    data: bool,
) -> Result<usize> {
    let arrays = || spec.node.iter().filter_map(|n| Some((&n.name, n.array.as_ref()?.len())));
    let steps = match (steps, time) {
        (Some(steps), _) => Ok(steps),
        (None, Some(time)) => {
            let steps = (time / spec.dt).round();
            if (1.0..1e15).contains(&steps) {
                Ok(steps as usize)
            } else {
                let problem = format!(
                    "it is {time:?} s, but must be at least one step of {} s, and at most 1e15 of them",
                    spec.dt
                );
                Err(Error::invalid("--time", problem))
            }
        }
        (None, None) if data => {
            let own = spec.node.iter().find_map(|n| n.steps);
            Ok(own.or(spec.train.as_ref().map(|t| t.steps)).unwrap_or(1))
        }
        (None, None) => Ok(arrays().map(|(_, rows)| rows).min().unwrap_or(1000)),
    }?;
    match arrays().find(|(_, rows)| *rows < steps) {
        None => Ok(steps),
        Some((name, rows)) => {
            let problem = format!("its array has {rows} steps, but the run has {steps}");
            Err(Error::invalid(format!("node '{name}'"), problem))
        }
    }
}
