//! The loop over epochs and minibatches.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Instant;

use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::sim::core::Core;
use crate::sim::data::Data;
use crate::trainer::compiled::Trainer;
use crate::trainer::decode::StepInFlight;
use crate::trainer::key::TrainKey;
use crate::trainer::minibatch::Batch;
use crate::trainer::reports::{EpochReport, EpochTotals, Evaluation, Fit, Progress, WeightedMeans};
use crate::trainer::windows::Windows;

impl Trainer {
    /// Trains for `fit.epochs` epochs, or until the callback or early stopping ends the training.
    pub(crate) fn fit_with(
        &mut self,
        core: &mut Core,
        inputs: &Data,
        targets: &Data,
        fit: &Fit,
        callback: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Vec<EpochReport>> {
        let (examples, key, windows) = self.prepare_fit(core, inputs, targets, fit)?;
        let mut reports = Vec::new();
        let last = self.epoch + fit.epochs;
        self.begin_stopping(fit.early_stopping);
        while self.epoch < last && !self.waited_enough(fit.early_stopping) {
            let start = Instant::now();
            let epoch = self.epoch;
            let order = self.order(core, examples, epoch);
            let before = self.step;
            let (totals, flow) = self.epoch(core, inputs, targets, (&key, windows), &order, callback)?;
            let seconds = start.elapsed().as_secs_f64();
            self.check_last_states(core, &key, examples)?;
            self.epoch += 1;
            let validation = match &fit.validation {
                Some((inputs, targets)) => Some(self.evaluate_steps(core, inputs, targets, fit.n_steps)?),
                None => None,
            };
            let (loss, metrics) = totals.means.split(self.training.losses());
            let report = EpochReport {
                epoch: epoch + 1,
                step: self.step,
                seconds,
                loss,
                penalty: totals.penalty(),
                metrics,
                examples: totals.examples,
                minibatches: self.step - before,
                validation,
            };
            if let Some(early) = fit.early_stopping {
                let loss = report.validation.as_ref().map_or(report.loss, |v| v.loss);
                self.judge(core, report.epoch, loss, early)?;
            }
            let progress = Progress::Epoch(report);
            let answer = callback(&progress);
            // After the callback, so that its own output for this epoch exists when the checkpoint counts the epoch.
            if let Some(path) = &fit.checkpoint {
                self.save_checkpoint(core, path)?;
            }
            let Progress::Epoch(report) = progress else { continue };
            reports.push(report);
            if flow.is_break() || answer.is_break() {
                return Ok(reports);
            }
        }
        if self.waited_enough(fit.early_stopping) {
            self.restore_best(core)?;
        }
        Ok(reports)
    }

    /// Loss and metrics on data, without training.
    pub(crate) fn evaluate_steps(
        &mut self,
        core: &mut Core,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
    ) -> Result<Evaluation> {
        let (examples, key, windows) = self.prepare(core, inputs, targets, n_steps, false)?;
        let order: Vec<usize> = (0..examples).collect();
        let (mut sums, mut means) = (Evaluation::default(), WeightedMeans::default());
        let mut pending = VecDeque::new();
        let batches = examples.div_ceil(core.minibatch);
        forget_reports(core)?;
        for (i, batch) in order.chunks(core.minibatch).enumerate() {
            let batch = Batch { inputs, targets, examples: batch, with_penalty: false, ends: false };
            pending.push_back(self.submit_batch(core, batch, &key, windows)?);
            // Only the last minibatch waits for its report, so that the device never idles.
            for report in core.engine.reports(i + 1 == batches)? {
                let Some(step) = pending.pop_front() else { break };
                let share = step.examples as f64 / examples as f64;
                let numbers = self.weighted(&report, &step);
                means.add(&numbers);
                if let Some(activity) = self.decode(core, &report, &numbers, &step)?.activity {
                    *sums.activity.get_or_insert(0.0) += share * activity;
                }
            }
        }
        self.check_last_states(core, &key, examples)?;
        (sums.loss, sums.metrics) = means.split(self.training.losses());
        Ok(sums)
    }

    /// Kernel name and seconds of each dispatch of a training step, or of its first window. Parameters are not valid
    /// afterwards.
    pub(crate) fn profile(
        &mut self,
        core: &mut Core,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        repeats: usize,
    ) -> Result<Vec<(String, f64)>> {
        let (_, key, windows) = self.prepare(core, inputs, targets, n_steps, true)?;
        let (pass, steps) = windows.passes()[0];
        let key = TrainKey { dims: Dims { steps, ..key.dims }, pass, ..key };
        let missing = || Error::invalid("training", "one of its programs is missing");
        let program = self.programs.peek(&key).ok_or_else(missing)?.program.clone();
        core.engine.profile(&program, repeats.max(1))
    }

    /// Order of the examples in an epoch. It depends only on the seed and the epoch.
    fn order(&self, core: &Core, examples: usize, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..examples).collect();
        if self.training.shuffle {
            order.shuffle(&mut Pcg64Mcg::new((u128::from(core.seed) << 64) | u128::from(epoch)));
        }
        order
    }

    /// Trains for one epoch; `Break` if the callback ends the training.
    fn epoch(
        &mut self,
        core: &mut Core,
        inputs: &Data,
        targets: &Data,
        (key, windows): (&TrainKey, Windows),
        order: &[usize],
        callback: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<(EpochTotals, ControlFlow<()>)> {
        let mut totals = EpochTotals::default();
        let mut pending = VecDeque::new();
        let mut flow = ControlFlow::Continue(());
        let every = self.training.report_every;
        let batches = order.len().div_ceil(core.minibatch);
        forget_reports(core)?;
        for (i, batch) in order.chunks(core.minibatch).enumerate() {
            // The last whole minibatch and the remainder.
            let (with_penalty, ends) = (i.is_multiple_of(every), i + 2 >= batches);
            let batch = Batch { inputs, targets, examples: batch, with_penalty, ends };
            pending.push_back(self.submit_batch(core, batch, key, windows)?);
            let arrived = core.engine.reports(false)?;
            flow = self.report_progress(core, arrived, &mut pending, &mut totals, callback)?;
            if flow.is_break() {
                break;
            }
        }
        let arrived = core.engine.reports(true)?;
        if self.report_progress(core, arrived, &mut pending, &mut totals, callback)?.is_break() {
            flow = ControlFlow::Break(());
        }
        Ok((totals, flow))
    }

    /// Decodes the reports that have arrived, and passes them to the callback.
    fn report_progress(
        &mut self,
        core: &mut Core,
        arrived: Vec<Vec<f32>>,
        pending: &mut VecDeque<StepInFlight>,
        totals: &mut EpochTotals,
        callback: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut flow = ControlFlow::Continue(());
        for report in arrived {
            let Some(step) = pending.pop_front() else { break };
            let numbers = self.weighted(&report, &step);
            let report = self.decode(core, &report, &numbers, &step)?;
            self.refuse(step.bad)?;
            totals.add(&report, &numbers);
            if callback(&Progress::Step(report)).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        Ok(flow)
    }
}

/// Discards reports of an earlier epoch or evaluation that ended with an error.
fn forget_reports(core: &mut Core) -> Result<()> {
    core.engine.reports(true).map(drop)
}
