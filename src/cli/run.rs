//! `nengo-wgpu run`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nengo_wgpu::io::dataset::Dataset;
use nengo_wgpu::network::NetworkSpec;
use nengo_wgpu::{Data, Error, Options, Result, Simulator, Window};

use super::pictures::PlotArgs;
use super::record::{Files, Format, Record, Span};
use super::{DeviceArg, count, note, read_spec, say, table};

/// Runs the network of a TOML file and shows what its probes record.
///
/// Input nodes read the test examples of [data], or all examples where there is no test part. --plot draws the trace of
/// each probe of an output, with its targets, a raster and a histogram of rates where the values are spikes, and the traces
/// of neurons where a probe reads a state such as their voltage.
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
    /// Parameters to run with, as train writes them; without them parameters are as they start
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Where to write what probes record: a directory for a file of each probe, or one FILE.npz
    #[arg(long, value_name = "DIR|FILE.npz")]
    out: Option<PathBuf>,
    /// Files to write [default: npz for FILE.npz, else npy]
    #[arg(id = "out-format", long = "format", value_name = "FORMAT", value_enum, requires = "out")]
    format: Option<Format>,
    /// Keep what each probe records last, and nothing before it
    #[arg(long)]
    last: bool,
    /// Where the data are, instead of [data]: the directory of IDX files, or a CSV file or its directory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Examples to run over [default: all]
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    examples: Option<usize>,
    /// Print too how strongly each ensemble fires over its evaluation points
    #[arg(long)]
    rates: bool,
    #[command(flatten)]
    plot: PlotArgs,
}

/// Runs.
pub fn run(args: &RunArgs) -> Result<()> {
    let spec = read_spec(&args.file, args.data.as_ref())?;
    let mut network = spec.build()?;
    if network.probe_ids().next().is_none() {
        return Err(Error::invalid(
            "the network",
            "it has no probe, so nothing would be seen; add a [[probe]]",
        ));
    }
    let takes_data = spec.node.iter().any(|n| n.is_input());
    for (option, given) in [("--examples", args.examples.is_some()), ("--data", args.data.is_some())] {
        if given && !takes_data {
            let problem = "no node takes data, so it would not be read; leave it out, or give a node a size";
            return Err(Error::invalid(option, problem));
        }
    }
    let examples = if takes_data { Some(read_examples(&spec, args.examples)?) } else { None };
    let device = args.device.open()?;
    // Better now than after a long run.
    let files = args.out.as_ref().map(|out| Files::create(out, args.format)).transpose()?;
    let pictures = args.plot.open()?;
    let targets = match &examples {
        // The first example alone is drawn.
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
    let minibatch = if takes_data { spec.train.as_ref().map_or(32, |t| t.minibatch) } else { 1 };
    super::progress::solve(&mut network, false)?;
    let mut sim = Simulator::with(&network, &device, Options { minibatch, dt: spec.dt, seed: None })?;
    if let Some(params) = &args.params {
        sim.load_parameters(params)?;
    }
    sim.warnings().iter().for_each(|warning| note(&format!("warning: {warning}")));
    let rates = if args.rates { Some(rates(&mut sim)?) } else { None };
    // Windows are summed up and written as they come, so a long run takes no more memory than a short one.
    let examples = inputs.as_ref().map_or(Ok(None), Data::examples)?.unwrap_or(minibatch);
    sim.set_keep_history(!args.last);
    let span = Span { examples, steps, from_start: inputs.is_some(), last: args.last };
    let mut record = Record::new(&sim, span, files);
    record.keep_first(pictures.is_some());
    record.warnings(&sim).iter().for_each(|warning| note(&format!("warning: {warning}")));
    let stopped = stop_on_ctrl_c();
    let bar = super::progress::of_run(examples, steps);
    let mut take = |window: Window| {
        bar.inc((window.examples.len() * window.steps.len()) as u64);
        record.take(window)?;
        match stopped.load(Ordering::Relaxed) {
            true => Err(Error::invalid("the run", "it was interrupted, and nothing is written")),
            false => Ok(()),
        }
    };
    let result = match &inputs {
        Some(inputs) => sim.predict_with(inputs, steps, &mut take),
        None => sim.run_steps_with(steps, &Data::new(), &mut take),
    };
    bar.finish_and_clear();
    result?;
    say(&table(&record.table()));
    if let Some(rates) = &rates {
        say(&table(rates));
    }
    if let Some(done) = record.finish()? {
        say(&done);
    }
    if let Some(pictures) = &pictures {
        pictures.probes(&sim, &mut record, &targets, examples)?;
        say(&format!("pictures are in {}", pictures.dir.display()));
    }
    Ok(())
}

/// Ends a run where Ctrl-C is pressed, so that its unfinished files are taken away; at once, if it is pressed again.
fn stop_on_ctrl_c() -> Arc<AtomicBool> {
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = stopped.clone();
    // Without a handler the program ends as any other does.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    stopped
}

/// A row for each ensemble, below their titles.
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
    let examples_of = |all: Dataset| match examples {
        Some(n) if n < all.len() => all.select(&(0..n).collect::<Vec<_>>()),
        Some(n) if n > all.len() => {
            note(&format!("warning: --examples is {n}, but there are {}, which are all taken", all.len()));
            all
        }
        _ => all,
    };
    Ok(examples_of(splits.test.unwrap_or(splits.train)))
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
