//! `nengo-wgpu train`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nengo_wgpu::io::dataset::{Dataset, Splits};
use nengo_wgpu::network::NetworkSpec;
use nengo_wgpu::plot::{self, Curve, Curves};
use nengo_wgpu::train::Metric;
use nengo_wgpu::{Data, EarlyStopping, Error, Evaluation, Fit, Options, Progress, Result, Simulator};
use serde_json::{Map, Value, json};

use super::log::{Fields, Log, evaluation};
use super::pictures::{Pictures, PlotArgs};
use super::progress::Display;
use super::record::{Record, Span};
use super::{DeviceArg, note, read_spec, say};

/// Trains the network of a TOML file on its data.
///
/// Writes into the output directory: params.safetensors (the trained parameters), checkpoint.safetensors (after each
/// epoch, to go on from), loss.svg (the curves) and log.jsonl (a line an epoch, and a summary at the end).
/// --plot draws the curves into another directory as well, and there what each probe records of the first test example
/// (else of the first one for validation or training) after the training, as run does.
#[derive(clap::Args)]
#[command(after_help = "Example: nengo-wgpu train examples/digits.toml --device gpu --out runs/first")]
pub struct TrainArgs {
    /// The TOML file with the network, [data] and [train]
    file: PathBuf,
    /// Directory for the results [default: runs/ and the file's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArg,
    /// Seed of where parameters start and of the order of examples, instead of the file's
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    seed: Option<u64>,
    /// Epochs to train in all, instead of the file's
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,
    /// Go on from the checkpoint in the output directory, as if the training had never stopped
    #[arg(long)]
    resume: bool,
    /// Start anew although a training that was not finished is in the output directory
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// Print the result alone
    #[arg(long)]
    quiet: bool,
    /// Where the data are, instead of [data]: the directory of IDX files, or a CSV file or its directory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    plot: PlotArgs,
}

/// A network under training, with its files.
struct Session {
    sim: Simulator,
    out: PathBuf,
    log: Log,
    /// Names of the metrics, as in the log.
    metrics: Vec<String>,
    early_stopping: Option<EarlyStopping>,
    epochs: u64,
    minibatch: usize,
    steps: usize,
}

/// Trains.
pub fn run(args: &TrainArgs) -> Result<()> {
    let spec = told_spec(args)?;
    let mut network = spec.build()?;
    let train = spec.train()?;
    let splits = spec.load_data()?;
    let device = args.device.open()?;
    if !args.quiet {
        note(&format!("device: {device}"));
    }
    let out = args.out.clone().unwrap_or_else(|| {
        Path::new("runs").join(args.file.file_stem().unwrap_or_else(|| "network".as_ref()))
    });
    std::fs::create_dir_all(&out).map_err(|e| Error::io("create", &out, e))?;
    let pictures = args.plot.open()?;

    let options = Options { minibatch: train.minibatch, dt: spec.dt, seed: None };
    super::progress::solve(&mut network, args.quiet)?;
    let mut sim = Simulator::with(&network, &device, options)?;
    let training = spec.training(&network, splits.train.len())?;
    let metrics = metric_names(&training.metrics);
    sim.compile(training)?;
    let checkpoint = out.join("checkpoint.safetensors");
    match args.resume {
        true if checkpoint.exists() => sim.load_checkpoint(&checkpoint)?,
        true => {
            let problem = "there is no checkpoint to go on from; leave out --resume to start anew";
            return Err(Error::file(checkpoint, problem));
        }
        false
            if checkpoint.is_file()
                && !args.overwrite
                && !super::log::is_finished(&out.join("log.jsonl")) =>
        {
            let problem = "it is of a training that was not finished: go on from it with --resume, start anew with \
                           --overwrite, or say another directory with --out";
            return Err(Error::file(checkpoint, problem));
        }
        // Left behind by another training, it would be taken for one of this.
        false if checkpoint.is_file() => {
            std::fs::remove_file(&checkpoint).map_err(|e| Error::io("remove", &checkpoint, e))?;
        }
        false => {}
    }
    sim.warnings().iter().filter(|_| !args.quiet).for_each(|warning| note(&format!("warning: {warning}")));
    let log = Log::open(&out.join("log.jsonl"), sim.epochs_done())?;
    let mut session = Session {
        sim,
        out,
        log,
        metrics,
        early_stopping: train.early_stopping,
        epochs: train.epochs,
        minibatch: train.minibatch,
        steps: train.steps,
    };

    let signals = |part: &Dataset| spec.signals(&network, part);
    let validation = splits.validation.as_ref().map(signals).transpose()?;
    let test = splits.test.as_ref().map(signals).transpose()?;
    let (inputs, targets) = signals(&splits.train)?;

    let start = Instant::now();
    let trained = session.train(&inputs, &targets, validation, args.quiet);
    let seconds = start.elapsed().as_secs_f64();
    // The curves of a training that failed tell why.
    let drawn = session.draw(&args.file, pictures.as_ref());
    let done = trained?;
    // First, since all that follows may fail.
    session.sim.save_parameters(session.out.join("params.safetensors"))?;
    drawn?;
    if let Some(pictures) = &pictures {
        let seen = splits.test.as_ref().or(splits.validation.as_ref()).unwrap_or(&splits.train);
        let (inputs, targets) = signals(&seen.select(&[0]))?;
        session.draw_probes(pictures, (&inputs, &targets), seen.len())?;
    }
    let test = test
        .map(|(inputs, targets)| session.sim.evaluate_steps(&inputs, &targets, Some(train.steps)))
        .transpose()?;
    session.finish(&splits, test.as_ref(), done, seconds)
}

/// The file with what the options say in its place.
fn told_spec(args: &TrainArgs) -> Result<NetworkSpec> {
    let mut spec = read_spec(&args.file, args.data.as_ref())?;
    if let Some(seed) = args.seed {
        spec.seed = seed;
    }
    if let (Some(epochs), Some(train)) = (args.epochs, &mut spec.train) {
        train.epochs = epochs;
    }
    Ok(spec)
}

/// `accuracy`, or with the probe's name where several metrics have the same name.
fn metric_names(metrics: &[Metric]) -> Vec<String> {
    let probe = |metric: &Metric| match metric {
        Metric::Accuracy(probe) | Metric::MeanError(probe) => probe.clone(),
    };
    let name = |metric: &Metric| {
        let alone = metrics.iter().filter(|m| m.name() == metric.name()).count() == 1;
        if alone { metric.name().into() } else { format!("{}_{}", metric.name(), probe(metric)) }
    };
    metrics.iter().map(name).collect()
}

impl Session {
    /// Trains what is left; gives the number of epochs that this took.
    fn train(
        &mut self,
        inputs: &Data,
        targets: &Data,
        validation: Option<(Data, Data)>,
        quiet: bool,
    ) -> Result<usize> {
        let done = self.sim.epochs_done();
        let epochs = self.epochs.saturating_sub(done);
        if epochs == 0 || ends(&self.log, self.early_stopping) {
            return Ok(0);
        }
        let steps = inputs.examples()?.unwrap_or(1).div_ceil(self.minibatch) as u64;
        let mut display = Display::new(quiet, self.epochs, done, steps, &self.metrics);
        let fit = Fit {
            epochs,
            n_steps: Some(self.steps),
            validation,
            early_stopping: None,
            checkpoint: Some(self.out.join("checkpoint.safetensors")),
        };
        let Session { sim, log, metrics, early_stopping, .. } = self;
        let mut failed = None;
        let result = sim.fit_with(inputs, targets, &fit, &mut |progress| {
            match progress {
                Progress::Step(report) => display.step(report),
                Progress::Epoch(report) => {
                    display.epoch(report);
                    failed = log.epoch(report, metrics).err();
                    if failed.is_some() || ends(log, *early_stopping) {
                        return ControlFlow::Break(());
                    }
                }
            }
            ControlFlow::Continue(())
        });
        display.finish();
        match failed {
            Some(error) => Err(error),
            None => result.map(|reports| reports.len()),
        }
    }

    /// Writes the curves; nothing if no epoch is over yet.
    fn draw(&self, file: &Path, pictures: Option<&Pictures>) -> Result<()> {
        if self.log.epochs.is_empty() {
            return Ok(());
        }
        let curve = |name: &str, key: &str| Curve { name: name.into(), points: self.log.curve(key) };
        let pair =
            |key: &str| vec![curve("training", key), curve("validation", &format!("validation_{key}"))];
        let mut panels = vec![Curves { label: "loss".into(), curves: pair("loss") }];
        for name in &self.metrics {
            panels.push(Curves { label: name.replace('_', " "), curves: pair(name) });
        }
        let title = file.file_stem().map_or("training".into(), |stem| stem.to_string_lossy());
        let picture = plot::curves(&title, "epoch", &panels)?;
        picture.save(self.out.join("loss.svg"))?;
        pictures.map_or(Ok(()), |pictures| pictures.save("loss", &picture))
    }

    /// Draws what probes record of the first of so many examples.
    fn draw_probes(
        &mut self,
        pictures: &Pictures,
        (inputs, targets): (&Data, &Data),
        examples: usize,
    ) -> Result<()> {
        let span = Span { examples: 1, steps: self.steps, from_start: true, last: false };
        let mut record = Record::new(&self.sim, span, None);
        record.avoid("loss");
        record.keep_first(true);
        self.sim.predict_with(inputs, self.steps, &mut |window| record.take(window))?;
        pictures.probes(&self.sim, &mut record, targets, examples)
    }

    /// Writes the summary, and tells the result.
    fn finish(mut self, splits: &Splits, test: Option<&Evaluation>, done: usize, seconds: f64) -> Result<()> {
        let mut fields: Fields = vec![("final".into(), json!(true))];
        if let Some(test) = test {
            fields.extend(evaluation("test", test, &self.metrics));
        }
        fields.push(("device".into(), json!(self.sim.device().to_string())));
        let names: Vec<String> = self.sim.network().parameters().iter().map(|p| p.name.clone()).collect();
        let mut norms = Map::new();
        for name in names {
            let norm = self.sim.l2_norm(&name)?;
            norms.insert(name, json!(norm));
        }
        fields.push(("l2_norm".into(), Value::Object(norms)));
        self.log.write(&fields)?;

        let epochs = if done == 1 { "epoch" } else { "epochs" };
        let mut text = format!("trained {done} {epochs} in {seconds:.1} s on {}", self.sim.device());
        if let (Some(test), Some(data)) = (test, &splits.test) {
            text.push_str(&format!("\ntest: loss {:.4}", test.loss));
            for (name, value) in self.metrics.iter().zip(&test.metrics) {
                let percent = name.starts_with("accuracy");
                let value = if percent { format!("{:.2} %", 100.0 * value) } else { format!("{value:.4}") };
                text.push_str(&format!(", {} {value}", name.replace('_', " ")));
            }
            text.push_str(&format!(" on {} examples", data.len()));
        }
        let mut files = vec!["params.safetensors", "checkpoint.safetensors", "loss.svg", "log.jsonl"];
        files.retain(|name| self.out.join(name).exists());
        text.push_str(&format!("\nfiles in {}: {}", self.out.display(), files.join(", ")));
        say(&text);
        Ok(())
    }
}

/// Whether the loss has not fallen for too long; decided from the log, so that a resumed training ends where one that
/// was never stopped does.
fn ends(log: &Log, early_stopping: Option<EarlyStopping>) -> bool {
    let Some(early) = early_stopping else { return false };
    let validation = log.curve("validation_loss");
    let losses = if validation.is_empty() { log.curve("loss") } else { validation };
    let (mut best, mut waited) = (f64::INFINITY, 0);
    for (_, loss) in losses {
        waited = if loss < best - early.least { 0 } else { waited + 1 };
        best = best.min(loss);
    }
    waited >= early.patience.max(1)
}
