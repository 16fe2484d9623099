//! How far a training is: a bar in a terminal, a line an epoch elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nengo_wgpu::network::Network;
use nengo_wgpu::{EpochReport, Result, StepReport};

use super::note;

/// Finds the decoders of a network, with a bar in a terminal where that takes longer than a moment.
pub fn solve(network: &mut Network, quiet: bool) -> Result<()> {
    let bar = ProgressBar::hidden();
    if let Ok(style) = ProgressStyle::with_template("decoders {bar:20} {pos}/{len}  {eta} left") {
        bar.set_style(style);
    }
    let start = Instant::now();
    let shown = !quiet && std::io::stderr().is_terminal();
    let result = network.solve_with(|done, all| {
        if shown && bar.is_hidden() && start.elapsed() > Duration::from_secs(1) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    result
}

/// What is shown during a training.
pub struct Display {
    bar: Option<ProgressBar>,
    quiet: bool,
    epochs: u64,
    metrics: Vec<String>,
    sums: Sums,
    shown: Instant,
}

/// Sums over the examples of the epoch so far.
struct Sums {
    start: Instant,
    steps: u64,
    examples: f64,
    loss: f64,
    penalty: f64,
    metrics: Vec<f64>,
}

impl Sums {
    fn new() -> Self {
        Self { start: Instant::now(), steps: 0, examples: 0.0, loss: 0.0, penalty: 0.0, metrics: Vec::new() }
    }
}

impl Display {
    /// A display of a training of so many epochs of so many training steps, of which some are over already.
    pub fn new(quiet: bool, epochs: u64, over: u64, steps: u64, metrics: &[String]) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar =
                ProgressBar::new(epochs.saturating_mul(steps)).with_position(over.saturating_mul(steps));
            let style =
                ProgressStyle::with_template("{prefix} {bar:20} {percent:>3} %  {eta} left{wide_msg}");
            if let Ok(style) = style {
                bar.set_style(style);
            }
            // The estimate of the time that is left must not count the steps of a run that was resumed.
            bar.reset_eta();
            bar
        });
        let metrics = metrics.into();
        let display = Self { bar, quiet, epochs, metrics, sums: Sums::new(), shown: Instant::now() };
        display.starts(over + 1);
        display
    }

    fn starts(&self, epoch: u64) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(format!("epoch {}/{}", epoch.min(self.epochs), self.epochs));
        }
    }

    /// Takes in a step.
    pub fn step(&mut self, report: &StepReport) {
        let Some(bar) = &self.bar else { return };
        let examples = report.examples as f64;
        self.sums.steps += 1;
        self.sums.examples += examples;
        self.sums.loss += examples * report.loss;
        self.sums.penalty = report.penalty.unwrap_or(self.sums.penalty);
        self.sums.metrics.resize(report.metrics.len(), 0.0);
        self.sums.metrics.iter_mut().zip(&report.metrics).for_each(|(sum, m)| *sum += examples * m);
        bar.inc(1);
        if self.shown.elapsed() < Duration::from_millis(80) {
            return;
        }
        self.shown = Instant::now();
        let sums = &self.sums;
        let mean = |sum: f64| sum / sums.examples.max(1.0);
        let metrics: Vec<f64> = sums.metrics.iter().map(|sum| mean(*sum)).collect();
        let mut text = values("", mean(sums.loss), Some(sums.penalty), &self.metrics, &metrics);
        let seconds = sums.start.elapsed().as_secs_f64().max(1e-9);
        text.push_str(&rates(sums.examples / seconds, sums.steps as f64 / seconds));
        bar.set_message(text);
    }

    /// Takes in an epoch.
    pub fn epoch(&mut self, report: &EpochReport) {
        self.sums = Sums::new();
        self.starts(report.epoch + 1);
        if self.quiet {
            return;
        }
        let mut text = format!("epoch {}/{}", report.epoch, self.epochs);
        text.push_str(&values("", report.loss, Some(report.penalty), &self.metrics, &report.metrics));
        if let Some(v) = &report.validation {
            text.push_str(&values("validation ", v.loss, None, &self.metrics, &v.metrics));
        }
        let seconds = report.seconds.max(1e-9);
        text.push_str(&rates(report.examples as f64 / seconds, report.minibatches as f64 / seconds));
        match &self.bar {
            Some(bar) => bar.println(text),
            None => note(&text),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar over the steps of a run of so many examples; on a terminal alone.
pub fn of_run(examples: usize, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new((examples as u64).saturating_mul(steps as u64));
    match ProgressStyle::with_template("{bar:20} {percent:>3} %  {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn values(part: &str, loss: f64, penalty: Option<f64>, names: &[String], metrics: &[f64]) -> String {
    let mut text = format!("  {part}loss {loss:.4}");
    if let Some(penalty) = penalty.filter(|p| *p != 0.0) {
        let _ = write!(text, "  penalty {penalty:.4}");
    }
    for (name, value) in names.iter().zip(metrics) {
        let _ = write!(text, "  {part}{name} {value:.4}");
    }
    text
}

fn rates(examples: f64, steps: f64) -> String {
    format!("  {examples:.0} examples/s  {steps:.0} steps/s")
}
