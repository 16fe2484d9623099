//! The loop over epochs and minibatches.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Instant;

use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

use super::Simulator;
use super::data::Data;
use super::reports::{EpochReport, Evaluation, Fit, Means, Progress, Totals};
use super::step::{Batch, Pending};
use super::train::{Part, TrainKey};
use super::windows::{Cut, Windows};
use crate::error::{Error, Result};
use crate::graph::Dims;

impl Simulator {
    /// Trains on `inputs` and `targets` as [`Simulator::compile`] said.
    ///
    /// Each example starts from the states' start. With early stopping that ends the training, the parameters are those of its
    /// best epoch. The optimiser goes on where the last call ended, so that ten calls
    /// of one step are the same as one call of ten.
    ///
    /// # Errors
    /// Data that do not fit, no parameter that is trained, a loss that is not finite ([`Error::NotFinite`] with step and
    /// probe), or a lost device.
    pub fn fit(&mut self, inputs: &Data, targets: &Data, fit: &Fit) -> Result<Vec<EpochReport>> {
        self.fit_with(inputs, targets, fit, &mut |_| ControlFlow::Continue(()))
    }

    /// Like [`Simulator::fit`], with a callback that may end the training.
    ///
    /// # Errors
    /// As [`Simulator::fit`].
    pub fn fit_with(
        &mut self,
        inputs: &Data,
        targets: &Data,
        fit: &Fit,
        callback: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Vec<EpochReport>> {
        let (examples, key, windows) = self.prepare_all(inputs, targets, fit)?;
        let mut reports = Vec::new();
        let last = self.epochs_done() + fit.epochs;
        self.begin_stopping(fit.early_stopping);
        while self.epochs_done() < last && !self.waited_enough(fit.early_stopping) {
            let start = Instant::now();
            let epoch = self.epochs_done();
            let order = self.order(examples, epoch);
            let before = self.steps_trained();
            let (totals, flow) = self.epoch(inputs, targets, (&key, windows), &order, callback)?;
            let seconds = start.elapsed().as_secs_f64();
            self.check_last_states(&key, examples)?;
            if let Some(compiled) = &mut self.compiled {
                compiled.epoch += 1;
            }
            let validation = match &fit.validation {
                Some((inputs, targets)) => Some(self.evaluate_steps(inputs, targets, fit.n_steps)?),
                None => None,
            };
            let (loss, metrics) = totals.means.split(self.compiled()?.losses());
            let report = EpochReport {
                epoch: epoch + 1,
                step: self.steps_trained(),
                seconds,
                loss,
                penalty: totals.penalty(),
                metrics,
                examples: totals.examples,
                minibatches: self.steps_trained() - before,
                validation,
            };
            if fit.early_stopping.is_some() {
                let loss = report.validation.as_ref().map_or(report.loss, |v| v.loss);
                self.judge(report.epoch, loss, fit.early_stopping)?;
            }
            let progress = Progress::Epoch(report);
            let told = callback(&progress);
            // After the callback: what it wrote about this epoch is there when the checkpoint says that it is over.
            if let Some(path) = &fit.checkpoint {
                self.save_checkpoint(path)?;
            }
            let Progress::Epoch(report) = progress else { continue };
            reports.push(report);
            if flow.is_break() || told.is_break() {
                return Ok(reports);
            }
        }
        if self.waited_enough(fit.early_stopping) {
            self.restore_best()?;
        }
        Ok(reports)
    }

    /// Does what a fit does before its first step: checks the data, plans and loads programs. What is wrong is found before
    /// anything is trained, and [`Simulator::warnings`] tells from then on what has no effect in this training.
    ///
    /// # Errors
    /// As [`Simulator::fit`].
    pub fn prepare_fit(&mut self, inputs: &Data, targets: &Data, fit: &Fit) -> Result<()> {
        self.prepare_all(inputs, targets, fit).map(drop)
    }

    fn prepare_all(
        &mut self,
        inputs: &Data,
        targets: &Data,
        fit: &Fit,
    ) -> Result<(usize, TrainKey, Windows)> {
        self.trained()?;
        fit.early_stopping.map_or(Ok(()), |early| early.check())?;
        let (examples, key, windows) = self.prepare(inputs, targets, fit.n_steps, true)?;
        if let Some((inputs, targets)) = &fit.validation {
            self.prepare(inputs, targets, fit.n_steps, false)?;
        }
        if let Some(compiled) = &mut self.compiled {
            let mut notes = compiled.training.idle_in_runs(key.dims.steps);
            // Of several calls that make one training, none knows its length.
            if compiled.epoch == 0 && fit.epochs > 1 {
                notes.extend(fit.early_stopping.and_then(|early| early.idle(fit.epochs)));
                let steps = fit.epochs.saturating_mul(examples.div_ceil(self.minibatch) as u64);
                notes.extend(compiled.training.schedule.idle(steps));
            }
            notes.into_iter().for_each(|note| compiled.roles.note(note));
        }
        self.compare_data((inputs, targets), key.dims.steps, fit);
        Ok((examples, key, windows))
    }

    /// Loss and metrics on data, without training.
    ///
    /// # Errors
    /// As [`Simulator::fit`].
    pub fn evaluate(&mut self, inputs: &Data, targets: &Data) -> Result<Evaluation> {
        self.evaluate_steps(inputs, targets, None)
    }

    /// Like [`Simulator::evaluate`], with held inputs for `n_steps` steps.
    ///
    /// # Errors
    /// As [`Simulator::fit`].
    pub fn evaluate_steps(
        &mut self,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
    ) -> Result<Evaluation> {
        let (examples, key, windows) = self.prepare(inputs, targets, n_steps, false)?;
        let order: Vec<usize> = (0..examples).collect();
        let (mut sums, mut means) = (Evaluation::default(), Means::default());
        let mut pending = VecDeque::new();
        let batches = examples.div_ceil(self.minibatch);
        self.forget_reports()?;
        for (i, batch) in order.chunks(self.minibatch).enumerate() {
            let batch = Batch { inputs, targets, examples: batch, looks: false, ends: false };
            pending.push_back(self.submit_batch(batch, &key, windows)?);
            // Only the last one waits: until then minibatches follow each other without a pause.
            for report in self.engine.reports(i + 1 == batches)? {
                let Some(of) = pending.pop_front() else { break };
                let share = of.examples as f64 / examples as f64;
                let numbers = self.weighted(&report, &of)?;
                means.add(&numbers);
                if let Some(activity) = self.decode(&report, &numbers, &of)?.activity {
                    *sums.activity.get_or_insert(0.0) += share * activity;
                }
            }
        }
        self.check_last_states(&key, examples)?;
        (sums.loss, sums.metrics) = means.split(self.compiled()?.losses());
        Ok(sums)
    }

    /// Seconds of each dispatch of a training step on a minibatch of the data, by its kernel's name, in order; of a run in
    /// windows those of its first. The parameters are of no use afterwards.
    ///
    /// # Errors
    /// As [`Simulator::fit`].
    pub fn profile(
        &mut self,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        repeats: usize,
    ) -> Result<Vec<(String, f64)>> {
        let (_, key, windows) = self.prepare(inputs, targets, n_steps, true)?;
        let (part, steps) = windows.parts()[0];
        let key = TrainKey { dims: Dims { steps, ..key.dims }, part, ..key };
        let missing = || Error::invalid("training", "one of its programs is missing");
        let program = self.compiled()?.programs.peek(&key).ok_or_else(missing)?.program.clone();
        self.engine.profile(&program, repeats.max(1))
    }

    /// Steps of the optimiser since it was compiled or reset.
    pub fn steps_trained(&self) -> u64 {
        self.compiled.as_ref().map_or(0, |c| c.step)
    }

    /// Epochs since training was compiled or reset.
    pub fn epochs_done(&self) -> u64 {
        self.compiled.as_ref().map_or(0, |c| c.epoch)
    }

    /// Checks data and makes the programs; gives the number of examples, the key of whole minibatches, and how their runs
    /// are cut.
    fn prepare(
        &mut self,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        update: bool,
    ) -> Result<(usize, TrainKey, Windows)> {
        let (examples, key) = self.key(inputs, targets, n_steps, update)?;
        if let Some(windows) = self.compiled()?.windows.peek(&(key.clone(), examples)).copied() {
            self.make_programs(&key, windows)?;
            return Ok((examples, key, windows));
        }
        let Cut { windows, note, planned } = self.windows(&key, examples)?;
        if let Some(planned) = planned {
            self.load_training(&key, planned)?;
        }
        self.make_programs(&key, windows)?;
        if let Some(compiled) = &mut self.compiled {
            compiled.windows.insert((key.clone(), examples), windows);
            compiled.windows.limit(super::stream::KNOWN);
            compiled.cut = note.or(compiled.cut.take());
        }
        Ok((examples, key, windows))
    }

    /// Checks data; gives the number of examples and the key of whole minibatches over the whole run.
    pub(super) fn key(
        &self,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        update: bool,
    ) -> Result<(usize, TrainKey)> {
        self.check_inputs(inputs)?;
        let (examples, data_steps) = self.size_of(inputs, targets, n_steps)?;
        let examples = examples.unwrap_or(self.minibatch);
        if examples == 0 {
            return Err(Error::invalid("the data", "they have no examples"));
        }
        let steps = data_steps.unwrap_or(1);
        if steps == 0 {
            let whose = if n_steps == Some(0) { "the length of a run" } else { "the data" };
            return Err(Error::invalid(whose, "it is 0 steps, but must be at least 1"));
        }
        let dims = Dims { batch: self.minibatch.min(examples), steps };
        let (held, targets_key) = (self.held_inputs(inputs), self.target_key(targets, steps)?);
        let key = TrainKey { dims, held, targets: targets_key, update, part: Part::Whole };
        self.check_classes(targets, &key)?;
        self.check_counted(targets, &key)?;
        Ok((examples, key))
    }

    /// Class indices must be whole numbers below the number of outputs.
    fn check_classes(&self, targets: &Data, key: &TrainKey) -> Result<()> {
        let Some(compiled) = &self.compiled else { return Ok(()) };
        for term in &compiled.training.objective.terms {
            let of_class = term.loss == crate::train::Loss::CrossEntropy;
            let one = key.targets.iter().any(|t| t.name == term.probe && t.cols == 1);
            let probe = self.network.find_probe(&term.probe)?;
            let Some(classes) = self.network.probe_size(probe) else { continue };
            if let Some(signal) = targets.get(&term.probe).filter(|_| of_class && one && classes > 1) {
                let wrong = |x: &f32| !x.is_nan() && (x.fract() != 0.0 || *x < 0.0 || *x >= classes as f32);
                let bad = match signal {
                    super::Signal::Held(a) => a.iter().copied().find(|x| wrong(x)),
                    super::Signal::Steps(a) => a.iter().copied().find(|x| wrong(x)),
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
    fn order(&self, examples: usize, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..examples).collect();
        if self.compiled.as_ref().is_some_and(|c| c.training.shuffle) {
            order.shuffle(&mut Pcg64Mcg::new((u128::from(self.seed) << 64) | u128::from(epoch)));
        }
        order
    }

    fn epoch(
        &mut self,
        inputs: &Data,
        targets: &Data,
        (key, windows): (&TrainKey, Windows),
        order: &[usize],
        callback: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<(Totals, ControlFlow<()>)> {
        let mut totals = Totals::default();
        let mut pending = VecDeque::new();
        let mut flow = ControlFlow::Continue(());
        let every = self.compiled()?.training.report_every;
        let batches = order.len().div_ceil(self.minibatch);
        self.forget_reports()?;
        for (i, batch) in order.chunks(self.minibatch).enumerate() {
            // The last whole minibatch, and what is left.
            let (looks, ends) = (i.is_multiple_of(every), i + 2 >= batches);
            let batch = Batch { inputs, targets, examples: batch, looks, ends };
            pending.push_back(self.submit_batch(batch, key, windows)?);
            let arrived = self.engine.reports(false)?;
            flow = self.tell(arrived, &mut pending, &mut totals, callback)?;
            if flow.is_break() {
                break;
            }
        }
        let arrived = self.engine.reports(true)?;
        if self.tell(arrived, &mut pending, &mut totals, callback)?.is_break() {
            flow = ControlFlow::Break(());
        }
        Ok((totals, flow))
    }

    /// Takes reports that are under way since an error ended a pass before they came.
    fn forget_reports(&mut self) -> Result<()> {
        self.engine.reports(true).map(drop)
    }

    fn tell(
        &mut self,
        arrived: Vec<Vec<f32>>,
        pending: &mut VecDeque<Pending>,
        totals: &mut Totals,
        callback: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut flow = ControlFlow::Continue(());
        for report in arrived {
            let Some(of) = pending.pop_front() else { break };
            let numbers = self.weighted(&report, &of)?;
            let report = self.decode(&report, &numbers, &of)?;
            self.refuse(of.bad)?;
            totals.add(&report, &numbers);
            if callback(&Progress::Step(report)).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        Ok(flow)
    }
}
