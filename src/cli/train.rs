//! `nengo-wgpu train`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nengo_wgpu::io::dataset::{Dataset, Splits};
use nengo_wgpu::plot::{self, Curve, Curves};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::train::Metric;
use nengo_wgpu::{Data, Evaluation, Fit, Options, Progress, Result, Simulator};
use serde_json::{Map, Value, json};

use super::log::{Fields, Log, evaluation};
use super::pictures::{Pictures, PlotArgs};
use super::places::{Home, Places};
use super::progress::Display;
use super::record::{Record, Span};
use super::{DeviceArg, count, note, read_spec, say, signals};

/// Trains the network of a TOML file on its data.
///
/// Writes into the output directory: params.safetensors (the trained parameters), checkpoint.safetensors (after each epoch,
/// for --resume), loss.svg (the curves) and log.jsonl (a line per epoch, and a summary at the end). --plot also draws the
/// curves into another directory and, after the training, each probe's recording of the first test example (else the first
/// one for validation or training), as run does.
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
    /// Seed of initial parameters and of the order of examples, instead of the file's
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    seed: Option<u64>,
    /// Total number of epochs, instead of the file's
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    epochs: Option<usize>,
    /// Continue from the checkpoint in the output directory, with the same result as without the interruption; with more --epochs
    /// also after a finished training
    #[arg(long)]
    resume: bool,
    /// Train anew although the output directory holds a training; its files are replaced when this one is finished
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// Print only the result
    #[arg(long)]
    quiet: bool,
    /// Location of the data, instead of [data]: the directory of IDX files, or a CSV file or its directory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    plot: PlotArgs,
}

/// A network in training, with its files.
struct Session {
    sim: Simulator,
    home: Home,
    log: Log,
    /// Names of the metrics, as in the log.
    metrics: Vec<String>,
    epochs: u64,
    minibatch: usize,
    steps: usize,
}

/// Runs the command.
pub fn run(args: &TrainArgs) -> Result<()> {
    let spec = spec_with_overrides(args)?;
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
    let mut places = Places::default();
    places.take(&out)?;
    let home = Home::open(&out, args.resume, args.overwrite, &mut places)?;
    let pictures = args.plot.open(&mut places)?;

    let options = Options { minibatch: train.minibatch, dt: spec.dt, seed: None };
    super::progress::solve(&mut network, args.quiet)?;
    let mut sim = Simulator::with(&network, &device, options)?;
    let training = spec.training(&network, splits.train.len())?;
    let metrics = metric_names(&training.metrics);
    sim.compile(training)?;
    let signals_of = |part: &Dataset| spec.signals(&network, part);
    let validation = splits.validation.as_ref().map(signals_of).transpose()?;
    let test = splits.test.as_ref().map(signals_of).transpose()?;
    let (inputs, targets) = signals_of(&splits.train)?;

    let checkpoint = home.work.join("checkpoint.safetensors");
    if args.resume {
        sim.load_checkpoint(&checkpoint)?;
    }
    let fit = Fit {
        epochs: train.epochs.saturating_sub(sim.epochs_done()),
        n_steps: Some(train.steps),
        validation,
        early_stopping: train.early_stopping,
        checkpoint: Some(checkpoint.clone()),
    };
    // Find mistakes before touching any file.
    sim.prepare_fit(&inputs, &targets, &fit)?;
    sim.warnings().iter().filter(|_| !args.quiet).for_each(|warning| note(&format!("warning: {warning}")));
    signals::can_resume(checkpoint);
    let log = Log::open(&home.work.join("log.jsonl"), sim.epochs_done())?;
    let mut session = Session {
        sim,
        home,
        log,
        metrics,
        epochs: train.epochs,
        minibatch: train.minibatch,
        steps: train.steps,
    };

    let start = Instant::now();
    let trained = session.train(&inputs, &targets, &fit, args.quiet);
    let seconds = start.elapsed().as_secs_f64();
    // The curves help to explain a training that failed.
    let drawn = session.draw(&args.file, pictures.as_ref());
    let done = trained?;
    let best = session.sim.restore_best()?;
    // Parameters first, since everything after may fail.
    session.sim.save_parameters(session.home.work.join("params.safetensors"))?;
    drawn?;
    if let Some(pictures) = &pictures {
        let seen = splits.test.as_ref().or(splits.validation.as_ref()).unwrap_or(&splits.train);
        let (inputs, targets) = signals_of(&seen.select(&[0]))?;
        session.draw_probes(pictures, (&inputs, &targets), seen.len())?;
    }
    let test = test
        .map(|(inputs, targets)| session.sim.evaluate_steps(&inputs, &targets, Some(train.steps)))
        .transpose()?;
    session.finish(&splits, test.as_ref(), best, done, seconds)
}

/// The file's settings, overridden by options.
fn spec_with_overrides(args: &TrainArgs) -> Result<NetworkSpec> {
    let mut spec = read_spec(&args.file, args.data.as_ref())?;
    if let Some(seed) = args.seed {
        spec.seed = seed;
    }
    if let (Some(epochs), Some(train)) = (args.epochs, &mut spec.train) {
        train.epochs = epochs as u64;
    }
    Ok(spec)
}

/// Names of metrics; the probe's name is appended where several metrics have equal names.
fn metric_names(metrics: &[Metric]) -> Vec<String> {
    let name = |metric: &Metric| {
        let alone = metrics.iter().filter(|m| m.name() == metric.name()).count() == 1;
        if alone { metric.name().into() } else { format!("{}_{}", metric.name(), metric.probe()) }
    };
    metrics.iter().map(name).collect()
}

impl Session {
    /// Trains the remaining epochs; returns their number.
    fn train(&mut self, inputs: &Data, targets: &Data, fit: &Fit, quiet: bool) -> Result<usize> {
        let steps = inputs.examples()?.unwrap_or(1).div_ceil(self.minibatch) as u64;
        let done = self.sim.epochs_done();
        let mut display = Display::new(quiet, self.epochs, done, steps, &self.metrics);
        let Session { sim, log, metrics, .. } = self;
        let mut failed = None;
        let result = sim.fit_with(inputs, targets, fit, &mut |progress| {
            match progress {
                Progress::Step(report) => display.step(report),
                Progress::Epoch(report) => {
                    display.epoch(report);
                    failed = log.epoch(report, metrics).err();
                    if failed.is_some() {
                        return ControlFlow::Break(());
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        display.finish();
        match failed {
            Some(error) => Err(error),
            None => result.map(|reports| reports.len()),
        }
    }

    /// Writes the curves, if any epoch is done.
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
        picture.save(self.home.work.join("loss.svg"))?;
        pictures.map_or(Ok(()), |pictures| pictures.save("loss", &picture))
    }

    /// Draws each probe's recording of the first of `examples` examples.
    fn draw_probes(
        &mut self,
        pictures: &Pictures,
        (inputs, targets): (&Data, &Data),
        examples: usize,
    ) -> Result<()> {
        let span = Span { examples: 1, steps: self.steps, from_start: true, last: false };
        let mut record = Record::new(&self.sim, span, None, Some("loss"))?;
        record.keep_first(true);
        self.sim.predict_with(inputs, self.steps, &mut |window| record.take(window))?;
        pictures.probes(&self.sim, &mut record, targets, examples)
    }

    /// Writes the summary and prints the result.
    fn finish(
        mut self,
        splits: &Splits,
        test: Option<&Evaluation>,
        best: Option<(u64, f64)>,
        done: usize,
        seconds: f64,
    ) -> Result<()> {
        let mut fields: Fields = vec![("final".into(), json!(true))];
        let judged = if splits.validation.is_some() { "validation loss" } else { "loss" };
        if let Some((epoch, loss)) = best {
            fields.push(("best_epoch".into(), json!(epoch)));
            fields.push((format!("best_{}", judged.replace(' ', "_")), json!(loss)));
        }
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
        if let Some((epoch, loss)) = best {
            let all = self.sim.epochs_done();
            text.push_str(&format!("\nkept epoch {epoch} of {all}, with the lowest {judged}: {loss:.4}"));
        }
        if let (Some(test), Some(data)) = (test, &splits.test) {
            text.push_str(&format!("\ntest: loss {:.4}", test.loss));
            for (name, value) in self.metrics.iter().zip(&test.metrics) {
                let percent = name.starts_with("accuracy");
                let value = if percent { format!("{:.2} %", 100.0 * value) } else { format!("{value:.4}") };
                text.push_str(&format!(", {} {value}", name.replace('_', " ")));
            }
            text.push_str(&format!(" on {} examples", data.len()));
        }
        let out = self.home.settle()?;
        let mut files = vec!["params.safetensors", "checkpoint.safetensors", "loss.svg", "log.jsonl"];
        files.retain(|name| out.join(name).exists());
        text.push_str(&format!("\nfiles in {}: {}", out.display(), files.join(", ")));
        say(&text);
        Ok(())
    }
}
