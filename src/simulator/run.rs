//! Runs, predictions and their outlines.

use std::collections::HashMap;

use ndarray::Array3;

use crate::error::{Error, Result};
use crate::network::ProbeId;
use crate::plan::Stage;
use crate::sim::probes::keep_rows;
use crate::sim::{Data, Outline, Recorded, Sink};
use crate::simulator::Simulator;

impl Simulator {
    /// Runs for `seconds` of simulated time, rounded to whole steps. Probes record. For networks without input nodes.
    ///
    /// # Errors
    /// As [`Simulator::run_steps`], or a time that is shorter than one step.
    pub fn run(&mut self, seconds: f64) -> Result<()> {
        let steps = (seconds / self.dt()).round();
        if !(1.0..1e15).contains(&steps) {
            let problem = format!("it is {seconds} s, but must be at least one step of {} s", self.dt());
            return Err(Error::invalid("the length of a run", problem));
        }
        self.run_steps(steps as usize, &Data::new())
    }

    /// Runs one step. For networks without input nodes.
    ///
    /// # Errors
    /// As [`Simulator::run_steps`].
    pub fn step(&mut self) -> Result<()> {
        self.run_steps(1, &Data::new())
    }

    /// Runs `n_steps` steps, continuing from the end of the last run. Probes record; see [`Simulator::data`].
    ///
    /// `inputs` has a signal for each input node, with as many examples as the minibatch: one row for each example, which is held,
    /// or `n_steps` rows.
    ///
    /// # Errors
    /// Data that do not match the network, the minibatch or `n_steps`; `n_steps` of 0; a probe's output or a state that is not
    /// finite ([`Error::NotFinite`](crate::Error::NotFinite) with the first step at which a state is not finite); or a lost device.
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

    /// Like [`Simulator::run_steps`], but passes recorded rows to `sink` window by window and keeps none, so that memory does
    /// not grow with the run.
    ///
    /// # Errors
    /// As [`Simulator::run_steps`], and errors of `sink`, after which the simulator is at the end of that window.
    pub fn run_steps_with(&mut self, n_steps: usize, inputs: &Data, sink: &mut Sink<'_>) -> Result<()> {
        self.core.run_steps_with(n_steps, inputs, sink)
    }

    /// Outputs of all probes for each example of `inputs`, from the initial states, as (batch, n_steps, size). A probe on a
    /// parameter gives (1, 1, size). Any number of examples is accepted; they are run minibatch by minibatch. Inputs that are
    /// all held are run for one step. The states of [`Simulator::run_steps`] are unchanged.
    ///
    /// # Errors
    /// As [`Simulator::run_steps`].
    pub fn predict(&mut self, inputs: &Data) -> Result<HashMap<ProbeId, Array3<f32>>> {
        self.core.predict_steps(inputs, inputs.steps()?.unwrap_or(1))
    }

    /// Like [`Simulator::predict`], for `n_steps` steps, during which held inputs are constant.
    ///
    /// # Errors
    /// As [`Simulator::predict`].
    pub fn predict_steps(&mut self, inputs: &Data, n_steps: usize) -> Result<HashMap<ProbeId, Array3<f32>>> {
        self.core.predict_steps(inputs, n_steps)
    }

    /// Like [`Simulator::predict_steps`], but passes recorded rows to `sink`: one minibatch after the other, each window by
    /// window.
    ///
    /// # Errors
    /// As [`Simulator::predict_steps`], and errors of `sink`.
    pub fn predict_with(&mut self, inputs: &Data, n_steps: usize, sink: &mut Sink<'_>) -> Result<()> {
        self.core.predict_with(inputs, n_steps, sink)
    }

    /// Execution stages of a prediction of `n_steps` steps with held inputs. It is planned, and nothing is allocated.
    ///
    /// # Errors
    /// A network that cannot be planned.
    pub fn stages(&self, n_steps: usize) -> Result<Vec<Stage>> {
        self.core.stages(n_steps)
    }

    /// Sets whether probes keep the rows of every step or only the last row of a run; true by default. With false, only the
    /// last row is read back from the device. Training is not affected: a loss has its own
    /// [`Over`](crate::train::Over).
    pub fn set_keep_history(&mut self, keep: bool) {
        self.core.keep_history = keep;
    }

    /// Sets the most steps of a window of a run; chosen by the simulator if `None`, the default. Results do not depend on it.
    ///
    /// # Errors
    /// A limit of 0.
    pub fn limit_windows(&mut self, steps: Option<usize>) -> Result<()> {
        self.core.limit_windows(steps)
    }

    /// Sets the most dispatches of a submission to the adapter. With `None`, the default, the engine splits submissions that
    /// took longer than 0.25 s before. Results do not depend on it.
    ///
    /// # Errors
    /// A limit of 0.
    pub fn limit_submissions(&mut self, dispatches: Option<usize>) -> Result<()> {
        self.core.limit_submissions(dispatches)
    }

    /// Sampling interval of a probe in steps; 1 unless the probe samples.
    pub fn sample_every(&self, probe: ProbeId) -> usize {
        self.core.sample_every(probe)
    }

    /// True if a probe reads a parameter: it records one value at the end of a run in place of a row for each step.
    pub fn is_of_parameter(&self, probe: ProbeId) -> bool {
        self.core.is_of_parameter(probe)
    }

    /// Number of rows that a probe records in a run of `n_steps` steps from the end of the last run; 1 for a probe on a
    /// parameter.
    pub fn rows_of(&self, probe: ProbeId, n_steps: usize) -> usize {
        self.core.rows_of(probe, n_steps)
    }

    /// Number of rows that a probe records in a prediction of `n_steps` steps; 1 for a probe on a parameter.
    pub fn predicted_rows_of(&self, probe: ProbeId, n_steps: usize) -> usize {
        self.core.predicted_rows_of(probe, n_steps)
    }

    /// Programs, dispatches and memory of a run of `n_steps` steps with held inputs. It is planned, and nothing is allocated.
    ///
    /// # Errors
    /// `n_steps` of 0, or a network that cannot be planned.
    pub fn outline(&self, n_steps: usize) -> Result<Outline> {
        self.core.outline(n_steps)
    }

    /// Like [`Simulator::outline`], for a run with these inputs.
    ///
    /// # Errors
    /// As [`Simulator::outline`], and data that do not match the network.
    pub fn outline_run(&self, inputs: &Data, n_steps: usize) -> Result<Outline> {
        self.core.outline_run(inputs, n_steps)
    }
}
