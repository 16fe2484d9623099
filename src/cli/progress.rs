//! Progress of a training: a bar in a terminal, else one line per epoch.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nengo_wgpu::network::Network;
use nengo_wgpu::{EpochReport, Result, StepReport};

use super::note;

/// Solves for the decoders of a network, with a bar in a terminal if that takes longer than a moment.
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

/// Progress display of a training.
pub struct Display {
    bar: Option<ProgressBar>,
    quiet: bool,
    epochs: u64,
    metrics: Vec<String>,
    sums: Sums,
    shown: Instant,
    /// True once the meaning of '/' was explained.
    explained: bool,
}

/// Sums over the examples of the current epoch.
struct Sums {
    start: Instant,
    steps: u64,
    examples: f64,
    loss: Mean,
    /// Latest penalty.
    penalty: Option<f64>,
    metrics: Vec<Mean>,
}

impl Sums {
    fn new() -> Self {
        let (start, loss) = (Instant::now(), Mean::default());
        Self { start, steps: 0, examples: 0.0, loss, penalty: None, metrics: Vec::new() }
    }
}

/// A mean over examples, excluding minibatches without counting targets.
#[derive(Clone, Default)]
struct Mean {
    sum: f64,
    examples: f64,
}

impl Mean {
    fn add(&mut self, examples: f64, value: f64) {
        if !value.is_nan() {
            self.sum += examples * value;
            self.examples += examples;
        }
    }

    fn value(&self) -> f64 {
        self.sum / self.examples
    }
}

impl Display {
    /// A display for `epochs` epochs of `steps` training steps; `over` epochs are done.
    pub fn new(quiet: bool, epochs: u64, over: u64, steps: u64, metrics: &[String]) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar =
                ProgressBar::new(epochs.saturating_mul(steps)).with_position(over.saturating_mul(steps));
            let style =
                ProgressStyle::with_template("{prefix} {bar:20} {percent:>3} %  {eta} left{wide_msg}");
            if let Ok(style) = style {
                bar.set_style(style);
            }
            // The estimated time must not include the steps of a resumed run.
            bar.reset_eta();
            bar
        });
        let metrics = metrics.into();
        let (sums, shown) = (Sums::new(), Instant::now());
        let display = Self { bar, quiet, epochs, metrics, sums, shown, explained: false };
        display.starts(over + 1);
        display
    }

    fn starts(&self, epoch: u64) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(format!("epoch {}/{}", epoch.min(self.epochs), self.epochs));
        }
    }

    /// Adds a step.
    pub fn step(&mut self, report: &StepReport) {
        let Some(bar) = &self.bar else { return };
        let examples = report.examples as f64;
        self.sums.steps += 1;
        self.sums.examples += examples;
        self.sums.loss.add(examples, report.loss);
        self.sums.penalty = report.penalty.or(self.sums.penalty);
        self.sums.metrics.resize(report.metrics.len(), Mean::default());
        self.sums.metrics.iter_mut().zip(&report.metrics).for_each(|(mean, m)| mean.add(examples, *m));
        bar.inc(1);
        if self.shown.elapsed() < Duration::from_millis(80) {
            return;
        }
        self.shown = Instant::now();
        let sums = &self.sums;
        let metrics = sums.metrics.iter().map(|mean| (mean.value(), None));
        let mut text = values((sums.loss.value(), None), metrics, &self.metrics, sums.penalty).concat();
        let seconds = sums.start.elapsed().as_secs_f64().max(1e-9);
        text.push_str(&rate(sums.examples / seconds));
        bar.set_message(text);
    }

    /// Adds an epoch.
    pub fn epoch(&mut self, report: &EpochReport) {
        self.sums = Sums::new();
        self.starts(report.epoch + 1);
        if self.quiet {
            return;
        }
        if report.validation.is_some() && !std::mem::replace(&mut self.explained, true) {
            self.print("values of each epoch: training/validation");
        }
        self.print(&line(report, self.epochs, &self.metrics));
    }

    /// Prints a line above the bar.
    fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => note(text),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar over the steps of a run of `examples` examples; hidden outside terminals.
pub fn of_run(examples: usize, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new((examples as u64).saturating_mul(steps as u64));
    match ProgressStyle::with_template("{bar:20} {percent:>3} %  {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Usual width of a terminal in columns.
const COLUMNS: usize = 80;

/// Formats an epoch as one line of [`COLUMNS`]. Values that do not fit are only in the log; '…' replaces them.
fn line(report: &EpochReport, epochs: u64, names: &[String]) -> String {
    let validation = report.validation.as_ref();
    let of_validation = |i: usize| validation.and_then(|v| v.metrics.get(i).copied());
    let metrics = report.metrics.iter().enumerate().map(|(i, &value)| (value, of_validation(i)));
    let mut text = format!("epoch {}/{epochs}", report.epoch);
    let mut add = |piece: &str, reserve: usize| {
        let fits = text.chars().count() + piece.chars().count() + reserve <= COLUMNS;
        text.push_str(if fits { piece } else { "" });
        fits
    };
    let pieces = values((report.loss, validation.map(|v| v.loss)), metrics, names, report.penalty);
    let fits: Vec<bool> = pieces.iter().map(|piece| add(piece, 2)).collect();
    match fits.contains(&false) {
        true => add(" …", 0),
        false => add(&rate(report.examples as f64 / report.seconds.max(1e-9)), 0),
    };
    text
}

/// Loss, metrics and penalty with their names, and with validation values where available.
fn values(
    loss: (f64, Option<f64>),
    metrics: impl Iterator<Item = (f64, Option<f64>)>,
    names: &[String],
    penalty: Option<f64>,
) -> Vec<String> {
    let names = std::iter::once("loss").chain(names.iter().map(String::as_str));
    let pair = |(name, (value, validation)): (&str, (f64, Option<f64>))| {
        let validation = validation.map_or_else(String::new, |value| format!("/{}", short(value)));
        format!("  {name} {}{validation}", short(value))
    };
    let penalty = penalty.map(|penalty| format!("  penalty {}", short(penalty)));
    names.zip(std::iter::once(loss).chain(metrics)).map(pair).chain(penalty).collect()
}

fn rate(examples: f64) -> String {
    if examples < 100.0 { format!("  {}/s", short(examples)) } else { format!("  {examples:.0}/s") }
}

/// Formats a number with about five digits; small numbers do not round to 0.
fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        a if !(0.001..10_000.0).contains(&a) => format!("{x:.2e}"),
        a if a < 10.0 => format!("{x:.4}"),
        a if a < 100.0 => format!("{x:.3}"),
        _ => format!("{x:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use nengo_wgpu::Evaluation;

    use super::*;

    #[test]
    fn an_epoch_fits_into_80_columns_and_shows_what_was_measured_alone() {
        let name = |name: &str| name.to_string();
        let report = |metrics: Vec<f64>, penalty, validation| EpochReport {
            epoch: 400,
            step: 40_000,
            seconds: 0.01,
            loss: 1.234567e-5,
            penalty,
            metrics,
            examples: 60_000,
            minibatches: 100,
            validation,
        };
        let evaluation = |metrics| Some(Evaluation { loss: 12.34567, activity: None, metrics });
        let plain = line(&report(vec![0.5], None, None), 400, &[name("accuracy")]);
        assert_eq!(plain, "epoch 400/400  loss 1.23e-5  accuracy 0.5000  6000000/s");
        let usual = report(vec![0.97224], Some(0.01234), evaluation(vec![0.5]));
        let usual = line(&usual, 400, &[name("accuracy")]);
        let want = "epoch 400/400  loss 1.23e-5/12.346  accuracy 0.9722/0.5000  penalty 0.0123";
        assert_eq!(usual, want);
        let long = [name("accuracy_of_a_long_name"), name("mean_error_of_another"), name("accuracy")];
        let many = report(vec![0.1, 1234.5, 0.3], Some(3.0), evaluation(vec![-0.1, 1e9, 0.3]));
        let many = line(&many, 400, &long);
        assert!(many.chars().count() <= COLUMNS && many.ends_with(" …"), "{many}");
    }
}
