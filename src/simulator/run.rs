//! Runs without training, and what is planned for them.

use std::collections::HashMap;

use ndarray::Array3;

use crate::error::{Error, Result};
use crate::network::ProbeId;
use crate::plan::Stage;
use crate::sim::run::keep_rows;
use crate::sim::{Data, Outline, Recorded, Sink};
use crate::simulator::Simulator;

impl Simulator {
    /// Runs for `seconds` of simulated time, rounded to whole steps, without input data.
    ///
    /// # Errors
    /// As [`Simulator::run_steps`].
    pub fn run(&mut self, seconds: f64) -> Result<()> {
        let steps = (seconds / self.dt()).round();
        if !(1.0..1e15).contains(&steps) {
            let problem = format!("it is {seconds} s, but must be at least one step of {} s", self.dt());
            return Err(Error::invalid("the length of a run", problem));
        }
        self.run_steps(steps as usize, &Data::new())
    }

    /// Runs one step without input data.
    ///
    /// # Errors
    /// As [`Simulator::run_steps`].
    pub fn step(&mut self) -> Result<()> {
        self.run_steps(1, &Data::new())
    }

    /// Runs `n_steps` steps from where the last run ended; probes record.
    ///
    /// Data have as many examples as the simulator's minibatch, and one row (held) or `n_steps` rows for each.
    ///
    /// # Errors
    /// Data that do not fit, a run of no steps, a probe's output or a state that is not finite (with the first step at which a
    /// state is not), or a lost device.
    pub fn run_steps(&mut self, n_steps: usize, inputs: &Data) -> Result<()> {
        let Self { core, recorded, .. } = self;
        let (keep, of_parameter) = (core.keep_history, core.probes_of_parameters());
        core.run_steps_with(n_steps, inputs, &mut |window| {
            for Recorded { probe, values, .. } in window.recorded {
                keep_rows(recorded.entry(probe).or_default(), values, keep && !of_parameter[probe.0]);
            }
            Ok(())
        })
    }

    /// Runs like [`Simulator::run_steps`], but gives what probes record to `sink`, window by window, and keeps nothing.
    ///
    /// # Errors
    /// As [`Simulator::run_steps`], and those of `sink`; the simulator then stands at the end of the window.
    pub fn run_steps_with(&mut self, n_steps: usize, inputs: &Data, sink: &mut Sink<'_>) -> Result<()> {
        self.core.run_steps_with(n_steps, inputs, sink)
    }

    /// The probes' outputs for each example of `inputs`, from the states' start, as (batch, n_steps, size). A
    /// probe on a parameter gives (1, 1, size).
    ///
    /// # Errors
    /// As [`Simulator::run_steps`].
    pub fn predict(&mut self, inputs: &Data) -> Result<HashMap<ProbeId, Array3<f32>>> {
        self.core.predict(inputs)
    }

    /// Like [`Simulator::predict`], with held inputs for `n_steps` steps.
    ///
    /// # Errors
    /// As [`Simulator::predict`].
    pub fn predict_steps(&mut self, inputs: &Data, n_steps: usize) -> Result<HashMap<ProbeId, Array3<f32>>> {
        self.core.predict_steps(inputs, n_steps)
    }

    /// Runs like [`Simulator::predict_steps`], but gives what probes record to `sink`, window by window of one minibatch
    /// after the other.
    ///
    /// # Errors
    /// As [`Simulator::predict_steps`], and those of `sink`.
    pub fn predict_with(&mut self, inputs: &Data, n_steps: usize, sink: &mut Sink<'_>) -> Result<()> {
        self.core.predict_with(inputs, n_steps, sink)
    }

    /// What runs in which way, in a run of `n_steps` steps with held inputs.
    ///
    /// # Errors
    /// A network that cannot be planned.
    pub fn stages(&mut self, n_steps: usize) -> Result<Vec<Stage>> {
        self.core.stages(n_steps)
    }

    /// Whether probes keep every step (at first they do), or the last step of a run alone, which then is all that is read
    /// back from the device. In training, what a loss sees is said by [`Over`](crate::trainer::Over): with `Over::Last`
    /// nothing but the last step is kept for it.
    pub fn set_keep_history(&mut self, keep: bool) {
        self.core.set_keep_history(keep)
    }

    /// Limits windows to so many steps, or leaves their length to the simulator again. Results do not depend on it.
    ///
    /// # Errors
    /// A limit of no steps.
    pub fn limit_windows(&mut self, steps: Option<usize>) -> Result<()> {
        self.core.limit_windows(steps)
    }

    /// Limits what is submitted to an adapter at once to so many dispatches, or leaves that to the engine again, which cuts
    /// what took longer than a quarter of a second before. Results do not depend on it.
    ///
    /// # Errors
    /// A limit of no dispatches.
    pub fn limit_submissions(&mut self, dispatches: Option<usize>) -> Result<()> {
        self.core.limit_submissions(dispatches)
    }

    /// How many steps lie between two rows of a probe; 1 unless it samples.
    pub fn sample_every(&self, probe: ProbeId) -> usize {
        self.core.sample_every(probe)
    }

    /// Whether a probe reads a parameter: it has one value at the end of a run, and not a row for each step.
    pub fn is_of_parameter(&self, probe: ProbeId) -> bool {
        self.core.is_of_parameter(probe)
    }

    /// How many rows a probe records in a run of `n_steps` steps from where the last run ended. A probe on a parameter
    /// has one.
    pub fn rows_of(&self, probe: ProbeId, n_steps: usize) -> usize {
        self.core.rows_of(probe, n_steps)
    }

    /// The same for a prediction, which starts anew.
    pub fn predicted_rows_of(&self, probe: ProbeId, n_steps: usize) -> usize {
        self.core.predicted_rows_of(probe, n_steps)
    }

    /// What a run of `n_steps` steps from here does and costs, with held inputs.
    ///
    /// # Errors
    /// A run of no steps, or a network that cannot be planned.
    pub fn outline(&self, n_steps: usize) -> Result<Outline> {
        self.core.outline(n_steps)
    }

    /// What a run of `n_steps` steps from here does and costs, with inputs that are held or have steps as these.
    ///
    /// # Errors
    /// As [`Simulator::outline`], and data that do not fit.
    pub fn outline_run(&self, inputs: &Data, n_steps: usize) -> Result<Outline> {
        self.core.outline_run(inputs, n_steps)
    }
}
