//! Checks and programs before the first step of a fit or an evaluation.

use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::sim::core::Core;
use crate::sim::data::Data;
use crate::sim::stream::KNOWN;
use crate::trainer::compiled::Trainer;
use crate::trainer::key::{Pass, TrainKey};
use crate::trainer::memory::Cut;
use crate::trainer::reports::Fit;
use crate::trainer::targets::{check_classes, check_counted, size_of, target_key};
use crate::trainer::trained::trained;
use crate::trainer::windows::Windows;

impl Trainer {
    /// Checks the data and compiles the programs of a fit, without training. Notes settings without effect. Gives the number of
    /// examples, the key of whole minibatches and the windows of their runs.
    pub(crate) fn prepare_fit(
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
        // Only a single call with several epochs knows the length of the training.
        if self.epoch == 0 && fit.epochs > 1 {
            notes.extend(fit.early_stopping.and_then(|early| early.idle(fit.epochs)));
            let steps = fit.epochs.saturating_mul(examples.div_ceil(core.minibatch) as u64);
            notes.extend(self.training.schedule.idle(steps));
        }
        notes.into_iter().for_each(|note| self.roles.note(note));
        self.compare_data((inputs, targets), key.dims.steps, fit);
        Ok((examples, key, windows))
    }

    /// Checks data and compiles the programs. Gives the number of examples, the key of whole minibatches and the windows of their
    /// runs.
    pub(crate) fn prepare(
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
        self.windows.limit(KNOWN);
        self.cut = note.or(self.cut.take());
        Ok((examples, key, windows))
    }

    /// Checks data. Gives the number of examples, and the key of whole minibatches over the whole run.
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
        let key = TrainKey { dims, held, targets: targets_key, update, pass: Pass::Whole };
        check_classes(&self.training, core, targets, &key)?;
        check_counted(&self.training, core, targets, &key)?;
        Ok((examples, key))
    }
}
