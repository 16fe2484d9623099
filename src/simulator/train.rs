//! Training, evaluation, checkpoints and gradient checks.

use std::ops::ControlFlow;
use std::path::Path;

use crate::error::{Error, Result};
use crate::sim::core::Core;
use crate::sim::{Data, Outline};
use crate::simulator::Simulator;
use crate::trainer::compiled::Trainer;
use crate::trainer::trained::trained;
use crate::trainer::{
    Backprop, CheckedGradient, EpochReport, Evaluation, Fit, MemoryEstimate, Progress, Training,
};

/// Largest error that [`Simulator::check_gradients`] passes, as a share of a gradient's largest element.
const TOLERANCE: f64 = 1e-3;

/// Error of methods that need a compiled training.
fn missing() -> Error {
    Error::invalid("training", "nothing has been compiled yet; call compile first")
}

impl Simulator {
    fn trainer(&self) -> Result<&Trainer> {
        self.trainer.as_ref().ok_or_else(missing)
    }

    fn trainer_mut(&mut self) -> Result<(&mut Trainer, &mut Core)> {
        Ok((self.trainer.as_mut().ok_or_else(missing)?, &mut self.core))
    }

    /// Sets the objective, optimiser and other settings of training, and resets the optimiser. Parameters are kept.
    ///
    /// # Errors
    /// Unknown names, settings out of range, or a device that cannot hold the optimiser's slots. The earlier training is kept if
    /// `training` is invalid.
    pub fn compile(&mut self, training: Training) -> Result<()> {
        let trainer = Trainer::compile(&mut self.core, training, &mut self.trainer)?;
        self.trainer = Some(trainer);
        Ok(())
    }

    /// Trains on `inputs` (by input node) and `targets` (by probe) with the settings of [`Simulator::compile`], and returns a
    /// report for each epoch.
    ///
    /// Each example starts from the initial states; the states of [`Simulator::run_steps`] are unchanged. The optimiser
    /// continues from the last call, so ten calls of one epoch are the same as one call of ten. When early stopping ends the
    /// training, the parameters are those of the best epoch.
    ///
    /// # Errors
    /// Data that do not match the network, no trained parameter, a loss that is not finite ([`Error::NotFinite`](crate::Error::NotFinite) with step
    /// and probe), a checkpoint that cannot be written, or a lost device.
    pub fn fit(&mut self, inputs: &Data, targets: &Data, fit: &Fit) -> Result<Vec<EpochReport>> {
        let (trainer, core) = self.trainer_mut()?;
        trainer.fit_with(core, inputs, targets, fit, &mut |_| ControlFlow::Continue(()))
    }

    /// Like [`Simulator::fit`], with a callback that gets each step's and each epoch's report. Training ends when the callback
    /// returns `Break`. Step reports arrive some steps late.
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
        let (trainer, core) = self.trainer_mut()?;
        trainer.fit_with(core, inputs, targets, fit, callback)
    }

    /// Checks the data and compiles the programs of a fit, without training. [`Simulator::warnings`] then lists settings
    /// without effect in this fit.
    ///
    /// # Errors
    /// As [`Simulator::fit`].
    pub fn prepare_fit(&mut self, inputs: &Data, targets: &Data, fit: &Fit) -> Result<()> {
        let (trainer, core) = self.trainer_mut()?;
        trainer.prepare_fit(core, inputs, targets, fit).map(drop)
    }

    /// Computes loss and metrics on data, without training. Dropout is off, and neurons spike as in runs.
    ///
    /// # Errors
    /// As [`Simulator::fit`].
    pub fn evaluate(&mut self, inputs: &Data, targets: &Data) -> Result<Evaluation> {
        let (trainer, core) = self.trainer_mut()?;
        trainer.evaluate_steps(core, inputs, targets, None)
    }

    /// Like [`Simulator::evaluate`], for `n_steps` steps, during which held inputs are constant; 1 step if `None`.
    ///
    /// # Errors
    /// As [`Simulator::fit`].
    pub fn evaluate_steps(
        &mut self,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
    ) -> Result<Evaluation> {
        let (trainer, core) = self.trainer_mut()?;
        trainer.evaluate_steps(core, inputs, targets, n_steps)
    }

    /// Measures each dispatch of a training step on one minibatch: kernel name and seconds, in order of execution, over
    /// `repeats` repetitions. Of a run in windows, the first window is measured. The parameters are not valid afterwards.
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
        let (trainer, core) = self.trainer_mut()?;
        trainer.profile(core, inputs, targets, n_steps, repeats)
    }

    /// Checks the gradient of the compiled objective for each trained parameter and each input, on the first minibatch of the
    /// data. The device's gradient is compared with the graph's in `f64`, and that with central differences of the loss in
    /// `f64`, for at most `elements` elements of each. The run is one window, whatever the compiled
    /// [`Backprop`]. Parameters are unchanged. Inputs without a gradient, as before a host callback, are left out.
    ///
    /// Errors up to 0.001 of a gradient's largest element pass. A larger error is wrong only if neither a kink of the loss nor
    /// 32-bit rounding explains it; see [`Verdict`](crate::Verdict).
    ///
    /// # Errors
    /// As [`Simulator::fit`], or a loss that is not finite.
    pub fn check_gradients(
        &mut self,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        elements: usize,
    ) -> Result<Vec<CheckedGradient>> {
        self.check_gradients_to(inputs, targets, n_steps, elements, TOLERANCE)
    }

    /// Like [`Simulator::check_gradients`], with another tolerance, as a share of a gradient's largest element.
    ///
    /// # Errors
    /// As [`Simulator::check_gradients`].
    pub fn check_gradients_to(
        &mut self,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        elements: usize,
        tolerance: f64,
    ) -> Result<Vec<CheckedGradient>> {
        let (trainer, core) = self.trainer_mut()?;
        trainer.check_gradients_to(core, inputs, targets, n_steps, elements, tolerance)
    }

    /// Writes a checkpoint: parameters, optimiser slots, counters and the best epoch. The file is replaced atomically.
    ///
    /// # Errors
    /// Parameters that are not finite (the earlier file is kept), a file that cannot be written, or a lost device.
    pub fn save_checkpoint(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let (trainer, core) = self.trainer_mut()?;
        trainer.save_checkpoint(core, path)
    }

    /// Loads a checkpoint of this network. Training then continues bit for bit as if it had not stopped. The compiled optimiser
    /// must have the same state as the checkpoint's. [`Simulator::warnings`] then lists each setting that differs from the
    /// checkpoint's, and after [`Simulator::prepare_fit`] also data that differ.
    ///
    /// # Errors
    /// A checkpoint of another network or optimiser, or a file that cannot be read. The simulator is unchanged then.
    pub fn load_checkpoint(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let (trainer, core) = self.trainer_mut()?;
        trainer.load_checkpoint(core, path)
    }

    /// Names of the parameters that [`Simulator::fit`] changes: those that are not frozen and on which a loss or a penalty
    /// depends.
    ///
    /// # Errors
    /// No trained parameter, with the reason; or no compiled training.
    pub fn trained(&self) -> Result<Vec<&str>> {
        trained(&self.trainer()?.roles, &self.core)
    }

    /// Device memory that [`Simulator::fit`] on these data would take, with `backprop` in place of the compiled one. It is
    /// planned, and nothing is allocated.
    ///
    /// # Errors
    /// Data that do not match the network, or a run that cannot be planned.
    pub fn memory_estimate(
        &self,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        backprop: Backprop,
    ) -> Result<MemoryEstimate> {
        self.trainer()?.memory_estimate(&self.core, inputs, targets, n_steps, backprop)
    }

    /// Programs, dispatches and memory of a training step on a minibatch of these data. It is planned, and nothing is
    /// allocated.
    ///
    /// # Errors
    /// Data that do not match the network, or a run that cannot be planned.
    pub fn outline_training(&self, inputs: &Data, targets: &Data, n_steps: Option<usize>) -> Result<Outline> {
        self.trainer()?.outline_training(&self.core, inputs, targets, n_steps)
    }

    /// Sets the parameters to those of the best epoch of a fit with early stopping, and returns that epoch (counted from 1) and its
    /// loss; `None` and no change without one. A fit that early stopping ended has done this already; a fit that reached its
    /// last epoch has not. The optimiser's slots and counters are unchanged.
    ///
    /// # Errors
    /// A lost device.
    pub fn restore_best(&mut self) -> Result<Option<(u64, f64)>> {
        self.trainer.as_mut().map_or(Ok(None), |trainer| trainer.restore_best(&mut self.core))
    }

    /// Number of optimiser steps since [`Simulator::compile`] or [`Simulator::reset`], including those of a loaded checkpoint.
    pub fn steps_trained(&self) -> u64 {
        self.trainer.as_ref().map_or(0, |trainer| trainer.step)
    }

    /// Number of epochs since [`Simulator::compile`] or [`Simulator::reset`], including those of a loaded checkpoint.
    pub fn epochs_done(&self) -> u64 {
        self.trainer.as_ref().map_or(0, |trainer| trainer.epoch)
    }
}
