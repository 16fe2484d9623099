//! The loop over epochs and minibatches.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

use super::Simulator;
use super::data::{Data, extent};
use super::step::{Batch, Pending};
use super::train::{Part, TrainKey};
use super::windows::Windows;
use crate::error::{Error, Result};
use crate::graph::Dims;

/// How long a [`Simulator::fit`] goes on, and what it does besides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fit {
    /// Epochs to train, besides those of a checkpoint that was loaded.
    pub epochs: u64,
    /// Steps of simulated time for each example, where the data are held; 1 if not given.
    pub n_steps: Option<usize>,
    /// Inputs and targets that are evaluated after each epoch.
    pub validation: Option<(Data, Data)>,
    /// Ends the training when the validation loss no longer falls.
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

/// Ends the training when the validation loss has not fallen by `least` in `patience` epochs.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Epochs without a fall.
    pub patience: u64,
    /// What counts as a fall.
    #[serde(default)]
    pub least: f64,
}

/// The report of one training step. It arrives some steps late.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Step of the optimiser, from 0.
    pub step: u64,
    /// Examples of the minibatch.
    pub examples: usize,
    /// The objective without penalties on parameters and activities.
    pub loss: f64,
    /// Penalties on parameters and activities; of parameters only every `report_every` steps.
    pub penalty: Option<f64>,
    /// The metrics in order.
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
    /// Mean over the examples of the epoch.
    pub loss: f64,
    /// Mean of the penalties that were looked at.
    pub penalty: f64,
    /// Means of the metrics in order.
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
    /// The penalties on activities.
    pub activity: f64,
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

/// Sums of reports, weighted by examples.
#[derive(Default)]
struct Totals {
    examples: usize,
    loss: f64,
    penalty: f64,
    penalties: u64,
    metrics: Vec<f64>,
}

impl Totals {
    fn add(&mut self, report: &StepReport) {
        let n = report.examples as f64;
        self.examples += report.examples;
        self.loss += n * report.loss;
        self.metrics.resize(report.metrics.len(), 0.0);
        self.metrics.iter_mut().zip(&report.metrics).for_each(|(sum, m)| *sum += n * m);
        if let Some(penalty) = report.penalty {
            self.penalty += penalty;
            self.penalties += 1;
        }
    }

    fn mean(&self, sum: f64) -> f64 {
        sum / self.examples.max(1) as f64
    }
}

impl Simulator {
    /// Trains on `inputs` and `targets` as [`Simulator::compile`] said.
    ///
    /// Each example starts from the states' start. The optimiser goes on where the last call ended, so that ten calls
    /// of one step are the same as one call of ten.
    ///
    /// # Errors
    /// Data that do not fit, a loss that is not finite ([`Error::NotFinite`] with step and probe), or a lost device.
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
        let (examples, key, windows) = self.prepare(inputs, targets, fit.n_steps, true)?;
        if let Some((inputs, targets)) = &fit.validation {
            self.prepare(inputs, targets, fit.n_steps, false)?;
        }
        let mut reports = Vec::new();
        let (mut best, mut waited) = (f64::INFINITY, 0);
        let last = self.epochs_done() + fit.epochs;
        while self.epochs_done() < last {
            let start = Instant::now();
            let epoch = self.epochs_done();
            let order = self.order(examples, epoch);
            let before = self.steps_trained();
            let (totals, flow) = self.epoch(inputs, targets, (&key, windows), &order, callback)?;
            let seconds = start.elapsed().as_secs_f64();
            self.check_trained_states()?;
            if let Some(compiled) = &mut self.compiled {
                compiled.epoch += 1;
            }
            let validation = match &fit.validation {
                Some((inputs, targets)) => Some(self.evaluate_steps(inputs, targets, fit.n_steps)?),
                None => None,
            };
            let report = EpochReport {
                epoch: epoch + 1,
                step: self.steps_trained(),
                seconds,
                loss: totals.mean(totals.loss),
                penalty: totals.penalty / totals.penalties.max(1) as f64,
                metrics: totals.metrics.iter().map(|m| totals.mean(*m)).collect(),
                examples: totals.examples,
                minibatches: self.steps_trained() - before,
                validation,
            };
            let progress = Progress::Epoch(report);
            let told = callback(&progress);
            // After the callback: what it wrote about this epoch is there when the checkpoint says that it is over.
            if let Some(path) = &fit.checkpoint {
                self.save_checkpoint(path)?;
            }
            let Progress::Epoch(report) = progress else { continue };
            let stop = fit.early_stopping.is_some_and(|early| {
                let loss = report.validation.as_ref().map_or(report.loss, |v| v.loss);
                waited = if loss < best - early.least { 0 } else { waited + 1 };
                best = best.min(loss);
                waited >= early.patience.max(1)
            });
            reports.push(report);
            if flow.is_break() || told.is_break() || stop {
                break;
            }
        }
        Ok(reports)
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
        let mut sums = Evaluation::default();
        let mut pending = VecDeque::new();
        let batches = examples.div_ceil(self.minibatch);
        for (i, batch) in order.chunks(self.minibatch).enumerate() {
            let batch = Batch { inputs, targets, examples: batch };
            pending.push_back(self.submit_batch(batch, &key, windows)?);
            // Only the last one waits: until then minibatches follow each other without a pause.
            for report in self.engine.reports(i + 1 == batches)? {
                let Some(of) = pending.pop_front() else { break };
                let share = of.examples as f64 / examples as f64;
                sums.activity += share * self.on_activity(&report);
                let report = self.decode(&report, &of)?;
                sums.loss += share * report.loss;
                sums.metrics.resize(report.metrics.len(), 0.0);
                sums.metrics.iter_mut().zip(&report.metrics).for_each(|(sum, m)| *sum += share * m);
            }
        }
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
        let program = self.compiled()?.programs[&key].program.clone();
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
        let known = self.compiled()?.windows.get(&(key.clone(), examples)).copied();
        let windows = known.map_or_else(|| self.windows(&key, examples), Ok)?;
        if let Some(compiled) = &mut self.compiled {
            compiled.windows.insert((key.clone(), examples), windows);
        }
        self.make_programs(&key, windows)?;
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
        let (examples, data_steps) = extent(&[inputs, targets])?;
        let examples = examples.unwrap_or(self.minibatch);
        if examples == 0 {
            return Err(Error::invalid("the data", "they have no examples"));
        }
        let steps = match (data_steps, n_steps) {
            (Some(data), Some(asked)) if data != asked => {
                return Err(Error::shape(
                    "the data",
                    format!("{data} steps"),
                    "the run",
                    format!("{asked} steps"),
                ));
            }
            (data, asked) => data.or(asked).unwrap_or(1),
        };
        if steps == 0 {
            let whose = if n_steps == Some(0) { "the length of a run" } else { "the data" };
            return Err(Error::invalid(whose, "it is 0 steps, but must be at least 1"));
        }
        let dims = Dims { batch: self.minibatch.min(examples), steps };
        let (held, targets_key) = (self.held_inputs(inputs), self.target_key(targets)?);
        let key = TrainKey { dims, held, targets: targets_key, update, part: Part::Whole };
        self.check_classes(targets, &key)?;
        Ok((examples, key))
    }

    /// Class indices must be whole numbers below the number of outputs.
    fn check_classes(&self, targets: &Data, key: &TrainKey) -> Result<()> {
        let Some(compiled) = &self.compiled else { return Ok(()) };
        for term in &compiled.training.objective.terms {
            let of_class = term.loss == crate::train::Loss::CrossEntropy;
            let one = key.targets.iter().any(|(n, _, cols)| *n == term.probe && *cols == 1);
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
        for batch in order.chunks(self.minibatch) {
            let batch = Batch { inputs, targets, examples: batch };
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
            let report = self.decode(&report, &of)?;
            totals.add(&report);
            if callback(&Progress::Step(report)).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        Ok(flow)
    }
}
