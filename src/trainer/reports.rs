//! Options of a fit, and the reports of steps, epochs and evaluations.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::sim::data::Data;

/// Options for [`Simulator::fit`](crate::Simulator::fit).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fit {
    /// Number of epochs to train, in addition to those of earlier calls or a loaded checkpoint; 0 by default.
    pub epochs: u64,
    /// Number of time steps for each example. If `None`, the default, that of the data; 1 if all data are held.
    pub n_steps: Option<usize>,
    /// Validation inputs and targets, evaluated after each epoch; none by default.
    pub validation: Option<(Data, Data)>,
    /// Early stopping on the validation loss; off by default.
    pub early_stopping: Option<EarlyStopping>,
    /// Path of a checkpoint that is written after each epoch; none by default.
    pub checkpoint: Option<PathBuf>,
}

impl Fit {
    /// Options with this number of epochs, and defaults.
    pub fn epochs(epochs: u64) -> Self {
        Self { epochs, ..Self::default() }
    }
}

/// Early stopping: ends the training when the validation loss has not fallen by more than `least` for `patience` epochs. Without
/// validation data, the training loss is used.
///
/// The parameters are then those of the epoch with the lowest loss; see
/// [`Simulator::restore_best`](crate::Simulator::restore_best).
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Number of epochs without a fall before training ends; 0 is the same as 1. In a file, `early-stopping = 5` sets it alone.
    #[serde(alias = "$short")]
    pub patience: u64,
    /// Least fall of the loss that counts; finite and at least 0, the default.
    #[serde(default)]
    pub least: f64,
}

impl EarlyStopping {
    /// Returns an error unless `least` is finite and at least 0.
    pub(crate) fn check(&self) -> Result<()> {
        if self.least >= 0.0 && self.least.is_finite() {
            return Ok(());
        }
        let problem = format!("its least fall is {}, but must be finite and at least 0", self.least);
        Err(Error::invalid("early-stopping", problem))
    }

    /// A warning if it cannot end a training of `epochs` epochs.
    pub(crate) fn idle(&self, epochs: u64) -> Option<String> {
        let Self { patience, .. } = self;
        let why = format!("its patience is {patience} epochs, and the training has no more than {epochs}");
        (*patience >= epochs).then(|| format!("early-stopping has no effect: {why}"))
    }
}

/// Report of one training step. It arrives some steps late.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// Number of the optimiser step, from 0.
    pub step: u64,
    /// Number of examples in the minibatch.
    pub examples: usize,
    /// Objective without penalties on parameters and activities; NaN if no target of the minibatch counts.
    pub loss: f64,
    /// Sum of penalties on parameters and activities; `None` without penalties, and in steps that do not report those on
    /// parameters (see [`Training::report_every`](crate::train::Training::report_every)).
    pub penalty: Option<f64>,
    /// Sum of penalties on activities; `None` without any.
    pub activity: Option<f64>,
    /// Metrics, in the order of the training; NaN if no target of the minibatch counts.
    pub metrics: Vec<f64>,
}

/// Report of one epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Number of optimiser steps so far.
    pub step: u64,
    /// Duration of this epoch in seconds, without validation.
    pub seconds: f64,
    /// Mean loss over the examples whose targets count, without penalties.
    pub loss: f64,
    /// Sum of the mean penalty on parameters, over the steps that report it, and of the mean penalty on activities, over the
    /// examples; `None` without penalties.
    pub penalty: Option<f64>,
    /// Mean of each metric, in the order of the training.
    pub metrics: Vec<f64>,
    /// Number of examples trained on.
    pub examples: usize,
    /// Number of minibatches trained on.
    pub minibatches: u64,
    /// Evaluation of the validation data after the epoch; `None` without them.
    pub validation: Option<Evaluation>,
}

/// Loss and metrics of [`Simulator::evaluate`](crate::Simulator::evaluate) or validation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Objective without penalties on parameters and activities; NaN if no target counts.
    pub loss: f64,
    /// Sum of penalties on activities; `None` without any.
    pub activity: Option<f64>,
    /// Metrics, in the order of the training.
    pub metrics: Vec<f64>,
}

/// Report for the callback of [`Simulator::fit_with`](crate::Simulator::fit_with).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Progress {
    /// Report of a training step.
    Step(StepReport),
    /// Report of an epoch, at its end.
    Epoch(EpochReport),
}

/// Sums over the step reports of an epoch.
#[derive(Default)]
pub(crate) struct EpochTotals {
    pub examples: usize,
    pub means: WeightedMeans,
    /// Sum of penalties on parameters, over the steps that report them.
    penalty: f64,
    penalty_reports: u64,
    activity: Option<f64>,
}

/// Weighted means of reported numbers over minibatches, as sums of products and of weights.
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

    /// The sum of the first `losses` means, and the other means, which are metrics. NaN without targets that count.
    pub fn split(&self, losses: usize) -> (f64, Vec<f64>) {
        let means: Vec<f64> = self.0.iter().map(|(sum, weight)| sum / weight).collect();
        let (losses, metrics) = means.split_at(losses.min(means.len()));
        let counted = losses.iter().copied().filter(|x| !x.is_nan());
        (counted.reduce(|a, b| a + b).unwrap_or(f64::NAN), metrics.to_vec())
    }
}

impl EpochTotals {
    /// Adds a step's report, and its numbers with their weights.
    pub fn add(&mut self, report: &StepReport, numbers: &[(f64, f64)]) {
        let n = report.examples as f64;
        self.examples += report.examples;
        self.means.add(numbers);
        if let Some(penalty) = report.penalty {
            self.penalty += penalty - report.activity.unwrap_or(0.0);
            self.penalty_reports += 1;
        }
        if let Some(activity) = report.activity {
            *self.activity.get_or_insert(0.0) += n * activity;
        }
    }

    /// Mean penalty of the epoch.
    pub fn penalty(&self) -> Option<f64> {
        let on_parameters = (self.penalty_reports > 0).then(|| self.penalty / self.penalty_reports as f64);
        let activity = self.activity.map(|sum| sum / self.examples.max(1) as f64);
        on_parameters.into_iter().chain(activity).reduce(|a, b| a + b)
    }
}
