//! How long a training goes on, and what it reports.

use std::path::PathBuf;

use crate::error::{Error, Result};
#[cfg(doc)]
use crate::sim::core::Core;
use crate::sim::data::Data;

/// How long a [`Simulator::fit`] goes on, and what it does besides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fit {
    /// Epochs to train, besides those of a checkpoint that was loaded.
    pub epochs: u64,
    /// Steps of simulated time for each example, where the data are held; 1 if not given.
    pub n_steps: Option<usize>,
    /// Inputs and targets that are evaluated after each epoch.
    pub validation: Option<(Data, Data)>,
    /// Ends the training when the validation loss no longer falls, with the parameters of the epoch where it was lowest.
    pub early_stopping: Option<EarlyStopping>,
    /// Where a checkpoint is written after each epoch.
    pub checkpoint: Option<PathBuf>,
}

impl Fit {
    /// A number of epochs, and nothing besides.
    pub fn epochs(epochs: u64) -> Self {
        Self { epochs, ..Self::default() }
    }
}

/// Ends the training when the validation loss has not fallen by `least` in `patience` epochs; without validation data, the loss
/// of the training. The parameters are then those of the epoch where it was lowest, see `Trainer::restore_best`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Epochs without a fall; in a file the number may stand for the whole.
    #[serde(alias = "$short")]
    pub patience: u64,
    /// What counts as a fall.
    #[serde(default)]
    pub least: f64,
}

impl EarlyStopping {
    /// That `least` makes sense.
    pub(crate) fn check(&self) -> Result<()> {
        if self.least >= 0.0 && self.least.is_finite() {
            return Ok(());
        }
        let problem = format!("its least fall is {}, but must be finite and at least 0", self.least);
        Err(Error::invalid("early-stopping", problem))
    }

    /// Why it never ends a training of `epochs` epochs, in a sentence; nothing if it may.
    pub(crate) fn idle(&self, epochs: u64) -> Option<String> {
        let Self { patience, .. } = self;
        let why = format!("its patience is {patience} epochs, and the training has no more than {epochs}");
        (*patience >= epochs).then(|| format!("early-stopping has no effect: {why}"))
    }
}

/// The report of one training step. It arrives some steps late.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Step of the optimiser, from 0.
    pub step: u64,
    /// Examples of the minibatch.
    pub examples: usize,
    /// The objective without penalties on parameters and activities; NaN where no target of the minibatch counts.
    pub loss: f64,
    /// Penalties on parameters and activities. Nothing where there are none, and in steps that did not look at those on
    /// parameters, see [`Training::report_every`](crate::trainer::Training::report_every).
    pub penalty: Option<f64>,
    /// Penalties on activities alone; nothing where there are none.
    pub activity: Option<f64>,
    /// The metrics in order; NaN where no target of the minibatch counts.
    pub metrics: Vec<f64>,
}

/// The report of one epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Steps of the optimiser so far.
    pub step: u64,
    /// Duration of this epoch's training in seconds.
    pub seconds: f64,
    /// Mean over the examples of the epoch; where targets are NaN, over those that count.
    pub loss: f64,
    /// Penalties on parameters, their mean over the looks of the epoch's steps, and on activities, their mean over its
    /// examples. Nothing where there are none.
    pub penalty: Option<f64>,
    /// WeightedMeans of the metrics in order.
    pub metrics: Vec<f64>,
    /// Examples trained on.
    pub examples: usize,
    /// Minibatches trained on.
    pub minibatches: u64,
    /// The validation data's.
    pub validation: Option<Evaluation>,
}

/// Loss and metrics of data that are not trained on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// The objective without penalties on parameters and activities.
    pub loss: f64,
    /// The penalties on activities; nothing where there are none.
    pub activity: Option<f64>,
    /// The metrics in order.
    pub metrics: Vec<f64>,
}

/// What a callback of [`Simulator::fit_with`] is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// A step's report has arrived.
    Step(StepReport),
    /// An epoch is over.
    Epoch(EpochReport),
}

/// GradientAccumulator of reports, weighted by examples.
#[derive(Default)]
pub(crate) struct EpochTotals {
    pub examples: usize,
    pub means: WeightedMeans,
    /// Penalties on parameters, over the steps that looked at them.
    penalty: f64,
    looks: u64,
    activity: Option<f64>,
}

/// WeightedMeans of reported numbers over minibatches.
#[derive(Default)]
pub(crate) struct WeightedMeans(Vec<(f64, f64)>);

impl WeightedMeans {
    /// Adds the numbers of a minibatch, each with its weight.
    pub fn add(&mut self, numbers: &[(f64, f64)]) {
        self.0.resize(numbers.len(), (0.0, 0.0));
        for ((sum, weights), &(x, weight)) in self.0.iter_mut().zip(numbers) {
            (*sum, *weights) = (*sum + weight * x, *weights + weight);
        }
    }

    /// The sum of the first `losses` numbers, and the others, which are metrics; NaN of what no target counts for.
    pub fn split(&self, losses: usize) -> (f64, Vec<f64>) {
        let means: Vec<f64> = self.0.iter().map(|(sum, weight)| sum / weight).collect();
        let (losses, metrics) = means.split_at(losses.min(means.len()));
        let counted = losses.iter().copied().filter(|x| !x.is_nan());
        (counted.reduce(|a, b| a + b).unwrap_or(f64::NAN), metrics.to_vec())
    }
}

impl EpochTotals {
    /// Takes in a step, and its numbers with their weights.
    pub fn add(&mut self, report: &StepReport, numbers: &[(f64, f64)]) {
        let n = report.examples as f64;
        self.examples += report.examples;
        self.means.add(numbers);
        if let Some(penalty) = report.penalty {
            self.penalty += penalty - report.activity.unwrap_or(0.0);
            self.looks += 1;
        }
        if let Some(activity) = report.activity {
            *self.activity.get_or_insert(0.0) += n * activity;
        }
    }

    /// The penalty of an epoch.
    pub fn penalty(&self) -> Option<f64> {
        let on_parameters = (self.looks > 0).then(|| self.penalty / self.looks as f64);
        let activity = self.activity.map(|sum| sum / self.examples.max(1) as f64);
        on_parameters.into_iter().chain(activity).reduce(|a, b| a + b)
    }
}
