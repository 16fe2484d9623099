//! Training, evaluation, checkpoints and the check of gradients.

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

/// The error of whatever needs a training.
fn missing() -> Error {
    Error::invalid("training", "nothing has been compiled yet; call compile first")
}

impl Simulator {
    fn trainer(&self) -> Result<&Trainer> {
        self.trainer.as_ref().ok_or_else(missing)
    }

    fn trained_mut(&mut self) -> Result<(&mut Trainer, &mut Core)> {
        Ok((self.trainer.as_mut().ok_or_else(missing)?, &mut self.core))
    }

    /// Sets what training makes small and how; the optimiser starts anew.
    ///
    /// # Errors
    /// Names that do not exist, numbers that make no sense, or a device that cannot hold the optimiser's slots.
    pub fn compile(&mut self, training: Training) -> Result<()> {
        let trainer = Trainer::compile(&mut self.core, training, &mut self.trainer)?;
        self.trainer = Some(trainer);
        Ok(())
    }

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
        let (trainer, core) = self.trained_mut()?;
        trainer.fit(core, inputs, targets, fit)
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
        let (trainer, core) = self.trained_mut()?;
        trainer.fit_with(core, inputs, targets, fit, callback)
    }

    /// Does what a fit does before its first step: checks the data, plans and loads programs. What is wrong is found before
    /// anything is trained, and [`Simulator::warnings`] tells from then on what has no effect in this training.
    ///
    /// # Errors
    /// As [`Simulator::fit`].
    pub fn prepare_fit(&mut self, inputs: &Data, targets: &Data, fit: &Fit) -> Result<()> {
        let (trainer, core) = self.trained_mut()?;
        trainer.prepare_fit(core, inputs, targets, fit)
    }

    /// Loss and metrics on data, without training.
    ///
    /// # Errors
    /// As [`Simulator::fit`].
    pub fn evaluate(&mut self, inputs: &Data, targets: &Data) -> Result<Evaluation> {
        let (trainer, core) = self.trained_mut()?;
        trainer.evaluate(core, inputs, targets)
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
        let (trainer, core) = self.trained_mut()?;
        trainer.evaluate_steps(core, inputs, targets, n_steps)
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
        let (trainer, core) = self.trained_mut()?;
        trainer.profile(core, inputs, targets, n_steps, repeats)
    }

    /// Compares the gradient of the compiled objective for each trained parameter and each input, on the first minibatch of
    /// the data: the device's with the graph's in f64, and that with central differences of the loss in f64, for at most
    /// `elements` elements of each. The run is one window, in whatever way it is compiled, and parameters stay as they are.
    /// Inputs through which no gradient goes, as before a callback, are left out.
    ///
    /// Errors up to a thousandth of a gradient's largest element are right. What is farther off is only wrong if neither a kink
    /// of the loss nor the rounding of 32-bit numbers explains it, see [`Verdict`].
    ///
    /// # Errors
    /// As [`Simulator::fit`], and a loss that is not finite.
    pub fn check_gradients(
        &mut self,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        elements: usize,
    ) -> Result<Vec<CheckedGradient>> {
        let (trainer, core) = self.trained_mut()?;
        trainer.check_gradients(core, inputs, targets, n_steps, elements)
    }

    /// Like [`Simulator::check_gradients`], with another error that passes, as a share of a gradient's largest element.
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
        let (trainer, core) = self.trained_mut()?;
        trainer.check_gradients_to(core, inputs, targets, n_steps, elements, tolerance)
    }

    /// Writes parameters, optimiser slots and counters, atomically: a killed process leaves the last whole file.
    ///
    /// # Errors
    /// Parameters that are not finite (the last file stays), a file that cannot be written, or a lost device.
    pub fn save_checkpoint(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let (trainer, core) = self.trained_mut()?;
        trainer.save_checkpoint(core, path)
    }

    /// Reads a checkpoint of this network, compiled with an optimiser that keeps the same state: training goes on as if it had
    /// never stopped. [`Simulator::warnings`] names each setting in which it goes on otherwise, and after
    /// [`Simulator::prepare_fit`] also whether the data differ.
    ///
    /// # Errors
    /// A file of another network or optimiser, or one that cannot be read; nothing is changed then.
    pub fn load_checkpoint(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let (trainer, core) = self.trained_mut()?;
        trainer.load_checkpoint(core, path)
    }

    /// Names of the parameters that [`Simulator::fit`] changes: those that are not frozen, and on which a loss or a penalty
    /// depends.
    ///
    /// # Errors
    /// None is trained, with the reason; or nothing has been compiled yet.
    pub fn trained(&self) -> Result<Vec<&str>> {
        trained(&self.trainer()?.roles, &self.core)
    }

    /// The memory that [`Simulator::fit`] on these data would take on the device, with back-propagation of this kind in
    /// place of the compiled one. It is planned, and nothing is allocated.
    ///
    /// # Errors
    /// As [`Simulator::fit`] for data that do not fit, and those of a run that cannot be planned.
    pub fn memory_estimate(
        &self,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        backprop: Backprop,
    ) -> Result<MemoryEstimate> {
        self.trainer()?.memory_estimate(&self.core, inputs, targets, n_steps, backprop)
    }

    /// What a training step on a minibatch of these data does and costs, as it was compiled.
    ///
    /// # Errors
    /// As [`Simulator::fit`] for data that do not fit, and those of a run that cannot be planned.
    pub fn outline_training(&self, inputs: &Data, targets: &Data, n_steps: Option<usize>) -> Result<Outline> {
        self.trainer()?.outline_training(&self.core, inputs, targets, n_steps)
    }

    /// Takes the parameters of the best epoch of a fit with early stopping; gives that epoch, from 1, and its loss. A fit that
    /// early stopping ended has done so already, one that came to its last epoch has not. The optimiser stays where it is.
    /// Nothing happens where there is no such epoch.
    ///
    /// # Errors
    /// A lost device.
    pub fn restore_best(&mut self) -> Result<Option<(u64, f64)>> {
        self.trainer.as_mut().map_or(Ok(None), |trainer| trainer.restore_best(&mut self.core))
    }

    /// Steps of the optimiser since it was compiled or reset.
    pub fn steps_trained(&self) -> u64 {
        self.trainer.as_ref().map_or(0, |trainer| trainer.step)
    }

    /// Epochs since training was compiled or reset.
    pub fn epochs_done(&self) -> u64 {
        self.trainer.as_ref().map_or(0, |trainer| trainer.epoch)
    }
}
