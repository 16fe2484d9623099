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
use crate::trainer::key::{Part, TrainKey};
use crate::trainer::memory::Cut;
use crate::trainer::minibatch::Batch;
use crate::trainer::reports::{EpochReport, EpochTotals, Evaluation, Fit, Progress, WeightedMeans};
use crate::trainer::targets::check_counted;
use crate::trainer::targets::size_of;
use crate::trainer::targets::target_key;
use crate::trainer::trained::trained;
use crate::trainer::windows::Windows;

impl Trainer {
    /// Trains on `inputs` and `targets` as `Trainer::compile` said.
    ///
    /// Each example starts from the states' start. With early stopping that ends the training, the parameters are those of its
    /// best epoch. The optimiser goes on where the last call ended, so that ten calls
    /// of one step are the same as one call of ten.
    pub(crate) fn fit(
        &mut self,
        core: &mut Core,
        inputs: &Data,
        targets: &Data,
        fit: &Fit,
    ) -> Result<Vec<EpochReport>> {
        self.fit_with(core, inputs, targets, fit, &mut |_| ControlFlow::Continue(()))
    }

    /// Like [`Simulator::fit`], with a callback that may end the training.
    pub(crate) fn fit_with(
        &mut self,
        core: &mut Core,
        inputs: &Data,
        targets: &Data,
        fit: &Fit,
        callback: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Vec<EpochReport>> {
        let (examples, key, windows) = self.prepare_all(core, inputs, targets, fit)?;
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
            if fit.early_stopping.is_some() {
                let loss = report.validation.as_ref().map_or(report.loss, |v| v.loss);
                self.judge(core, report.epoch, loss, fit.early_stopping)?;
            }
            let progress = Progress::Epoch(report);
            let told = callback(&progress);
            // After the callback: what it wrote about this epoch is there when the checkpoint says that it is over.
            if let Some(path) = &fit.checkpoint {
                self.save_checkpoint(core, path)?;
            }
            let Progress::Epoch(report) = progress else { continue };
            reports.push(report);
            if flow.is_break() || told.is_break() {
                return Ok(reports);
            }
        }
        if self.waited_enough(fit.early_stopping) {
            self.restore_best(core)?;
        }
        Ok(reports)
    }

    /// Does what a fit does before its first step: checks the data, plans and loads programs. What is wrong is found before
    /// anything is trained, and `Trainer::warnings` tells from then on what has no effect in this training.
    pub(crate) fn prepare_fit(
        &mut self,
        core: &mut Core,
        inputs: &Data,
        targets: &Data,
        fit: &Fit,
    ) -> Result<()> {
        self.prepare_all(core, inputs, targets, fit).map(drop)
    }

    fn prepare_all(
        &mut self,
        core: &mut Core,
        inputs: &Data,
        targets: &Data,
        fit: &Fit,
    ) -> Result<(usize, TrainKey, Windows)> {
        trained(&self.roles, core)?;
        fit.early_stopping.map_or(Ok(()), |early| early.check())?;
        let (examples, key, windows) = self.prepare(core, inputs, targets, fit.n_steps, true)?;
        if let Some((inputs, targets)) = &fit.validation {
            self.prepare(core, inputs, targets, fit.n_steps, false)?;
        }
        let mut notes = self.training.idle_in_runs(key.dims.steps);
        // Of several calls that make one training, none knows its length.
        if self.epoch == 0 && fit.epochs > 1 {
            notes.extend(fit.early_stopping.and_then(|early| early.idle(fit.epochs)));
            let steps = fit.epochs.saturating_mul(examples.div_ceil(core.minibatch) as u64);
            notes.extend(self.training.schedule.idle(steps));
        }
        notes.into_iter().for_each(|note| self.roles.note(note));
        self.compare_data((inputs, targets), key.dims.steps, fit);
        Ok((examples, key, windows))
    }

    /// Loss and metrics on data, without training.
    pub(crate) fn evaluate(&mut self, core: &mut Core, inputs: &Data, targets: &Data) -> Result<Evaluation> {
        self.evaluate_steps(core, inputs, targets, None)
    }

    /// Like `Trainer::evaluate`, with held inputs for `n_steps` steps.
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
            let batch = Batch { inputs, targets, examples: batch, looks: false, ends: false };
            pending.push_back(self.submit_batch(core, batch, &key, windows)?);
            // Only the last one waits: until then minibatches follow each other without a pause.
            for report in core.engine.reports(i + 1 == batches)? {
                let Some(of) = pending.pop_front() else { break };
                let share = of.examples as f64 / examples as f64;
                let numbers = self.weighted(&report, &of)?;
                means.add(&numbers);
                if let Some(activity) = self.decode(core, &report, &numbers, &of)?.activity {
                    *sums.activity.get_or_insert(0.0) += share * activity;
                }
            }
        }
        self.check_last_states(core, &key, examples)?;
        (sums.loss, sums.metrics) = means.split(self.training.losses());
        Ok(sums)
    }

    /// Seconds of each dispatch of a training step on a minibatch of the data, by its kernel's name, in order; of a run in
    /// windows those of its first. The parameters are of no use afterwards.
    pub(crate) fn profile(
        &mut self,
        core: &mut Core,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        repeats: usize,
    ) -> Result<Vec<(String, f64)>> {
        let (_, key, windows) = self.prepare(core, inputs, targets, n_steps, true)?;
        let (part, steps) = windows.parts()[0];
        let key = TrainKey { dims: Dims { steps, ..key.dims }, part, ..key };
        let missing = || Error::invalid("training", "one of its programs is missing");
        let program = self.programs.peek(&key).ok_or_else(missing)?.program.clone();
        core.engine.profile(&program, repeats.max(1))
    }

    /// Checks data and makes the programs; gives the number of examples, the key of whole minibatches, and how their runs
    /// are cut.
    fn prepare(
        &mut self,
        core: &mut Core,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        update: bool,
    ) -> Result<(usize, TrainKey, Windows)> {
        let (examples, key) = self.key(core, inputs, targets, n_steps, update)?;
        if let Some(windows) = self.windows.peek(&(key.clone(), examples)).copied() {
            self.make_programs(core, &key, windows)?;
            return Ok((examples, key, windows));
        }
        let Cut { windows, note, planned } = self.windows(core, &key, examples)?;
        if let Some(planned) = planned {
            self.load_training(core, &key, planned)?;
        }
        self.make_programs(core, &key, windows)?;
        self.windows.insert((key.clone(), examples), windows);
        self.windows.limit(crate::sim::stream::KNOWN);
        self.cut = note.or(self.cut.take());
        Ok((examples, key, windows))
    }

    /// Checks data; gives the number of examples and the key of whole minibatches over the whole run.
    pub(crate) fn key(
        &self,
        core: &Core,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        update: bool,
    ) -> Result<(usize, TrainKey)> {
        core.check_inputs(inputs)?;
        let (examples, data_steps) = size_of(core, inputs, targets, n_steps)?;
        let examples = examples.unwrap_or(core.minibatch);
        if examples == 0 {
            return Err(Error::invalid("the data", "they have no examples"));
        }
        let steps = data_steps.unwrap_or(1);
        if steps == 0 {
            let whose = if n_steps == Some(0) { "the length of a run" } else { "the data" };
            return Err(Error::invalid(whose, "it is 0 steps, but must be at least 1"));
        }
        let dims = Dims { batch: core.minibatch.min(examples), steps };
        let (held, targets_key) = (core.held_inputs(inputs), target_key(core, targets, steps)?);
        let key = TrainKey { dims, held, targets: targets_key, update, part: Part::Whole };
        self.check_classes(core, targets, &key)?;
        check_counted(&self.training, core, targets, &key)?;
        Ok((examples, key))
    }

    /// Class indices must be whole numbers below the number of outputs.
    fn check_classes(&self, core: &Core, targets: &Data, key: &TrainKey) -> Result<()> {
        for term in &self.training.objective.terms {
            let of_class = term.loss == crate::trainer::Loss::CrossEntropy;
            let one = key.targets.iter().any(|t| t.name == term.probe && t.cols == 1);
            let probe = core.network.find_probe(&term.probe)?;
            let Some(classes) = core.network.probe_size(probe) else { continue };
            if let Some(signal) = targets.get(&term.probe).filter(|_| of_class && one && classes > 1) {
                let wrong = |x: &f32| !x.is_nan() && (x.fract() != 0.0 || *x < 0.0 || *x >= classes as f32);
                let bad = match signal {
                    crate::sim::Signal::Held(a) => a.iter().copied().find(|x| wrong(x)),
                    crate::sim::Signal::Steps(a) => a.iter().copied().find(|x| wrong(x)),
                };
                if let Some(bad) = bad {
                    let problem =
                        format!("they hold the class {bad}, but its classes are 0 to {}", classes - 1);
                    return Err(Error::invalid(format!("the targets of probe '{}'", term.probe), problem));
                }
            }
        }
        Ok(())
    }

    /// The examples' order in an epoch: it depends on the seed and the epoch alone.
    fn order(&self, core: &Core, examples: usize, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..examples).collect();
        if self.training.shuffle {
            order.shuffle(&mut Pcg64Mcg::new((u128::from(core.seed) << 64) | u128::from(epoch)));
        }
        order
    }

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
            // The last whole minibatch, and what is left.
            let (looks, ends) = (i.is_multiple_of(every), i + 2 >= batches);
            let batch = Batch { inputs, targets, examples: batch, looks, ends };
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
            let Some(of) = pending.pop_front() else { break };
            let numbers = self.weighted(&report, &of)?;
            let report = self.decode(core, &report, &numbers, &of)?;
            self.refuse(of.bad)?;
            totals.add(&report, &numbers);
            if callback(&Progress::Step(report)).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        Ok(flow)
    }
}

/// Takes reports that are under way since an error ended a pass before they came.
fn forget_reports(core: &mut Core) -> Result<()> {
    core.engine.reports(true).map(drop)
}
