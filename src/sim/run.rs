//! Runs without training: in time with states that carry on, or over examples from the start.

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array3, Axis};

use super::Simulator;
use super::data::Data;
use super::programs::PlanKey;
use super::states::StateKey;
use super::stream::Recorded;
use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::network::{ObjectId, ProbeId};
use crate::plan::Stage;

impl Simulator {
    /// Runs for `seconds` of simulated time, rounded to whole steps, without input data.
    ///
    /// # Errors
    /// As [`Simulator::run_steps`].
    pub fn run(&mut self, seconds: f64) -> Result<()> {
        let steps = (seconds / self.dt).round();
        if !(1.0..1e15).contains(&steps) {
            let problem = format!("it is {seconds} s, but must be at least one step of {} s", self.dt);
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
        let mut recorded = std::mem::take(&mut self.recorded);
        let (keep, of_parameter) = (self.keep_history, self.probes_of_parameters());
        let result = self.run_steps_with(n_steps, inputs, &mut |window| {
            for Recorded { probe, values, .. } in window.recorded {
                keep_rows(recorded.entry(probe).or_default(), values, keep && !of_parameter[probe.0]);
            }
            Ok(())
        });
        self.recorded = recorded;
        result
    }

    /// Whether probes keep every step (at first they do), or the last step of a run alone, which then is all that is read
    /// back from the device. In training, what a loss sees is said by [`Over`](crate::train::Over): with `Over::Last`
    /// nothing but the last step is kept for it.
    pub fn set_keep_history(&mut self, keep: bool) {
        self.keep_history = keep;
    }

    /// The probes' outputs for each example of `inputs`, from the states' start, as (batch, n_steps, size). A
    /// probe on a parameter gives (1, 1, size).
    ///
    /// # Errors
    /// As [`Simulator::run_steps`].
    pub fn predict(&mut self, inputs: &Data) -> Result<HashMap<ProbeId, Array3<f32>>> {
        self.predict_steps(inputs, inputs.steps()?.unwrap_or(1))
    }

    /// Like [`Simulator::predict`], with held inputs for `n_steps` steps.
    ///
    /// # Errors
    /// As [`Simulator::predict`].
    pub fn predict_steps(&mut self, inputs: &Data, n_steps: usize) -> Result<HashMap<ProbeId, Array3<f32>>> {
        // By the first example of a minibatch, and then by windows.
        let mut parts: BTreeMap<ProbeId, BTreeMap<usize, Vec<Array3<f32>>>> = BTreeMap::new();
        let (keep, of_parameter) = (self.keep_history, self.probes_of_parameters());
        self.predict_with(inputs, n_steps, &mut |window| {
            for Recorded { probe, values, .. } in window.recorded {
                // A parameter is the same for all examples.
                let of_parameter = of_parameter[probe.0];
                let first = if of_parameter { 0 } else { window.examples.start };
                let rows = parts.entry(probe).or_default().entry(first).or_default();
                keep_rows(rows, values, keep && !of_parameter);
            }
            Ok(())
        })?;
        let whole = parts.into_iter().map(|(probe, batches)| {
            let batches = batches.into_values().map(|windows| joined(Axis(1), windows));
            Ok((probe, joined(Axis(0), batches.collect::<Result<Vec<_>>>()?)?))
        });
        whole.collect()
    }

    /// What runs in which way, in a run of `n_steps` steps with held inputs.
    ///
    /// # Errors
    /// A network that cannot be planned.
    pub fn stages(&mut self, n_steps: usize) -> Result<Vec<Stage>> {
        let held = (0..self.network.objects.len()).map(ObjectId).collect();
        let dims = Dims { batch: self.minibatch, steps: n_steps };
        let key = PlanKey { dims, held, states: StateKey::Predict(dims.batch) };
        self.forward(&key)?;
        Ok(self.plans.get(&key).map_or_else(Vec::new, |loaded| loaded.stages.clone()))
    }

    /// Whether a probe has one value at the end of a run, and not a row for each step.
    pub(super) fn of_parameter(&self, probe: ProbeId) -> bool {
        self.network.probes[probe.0].target.is_parameter()
    }

    fn probes_of_parameters(&self) -> Vec<bool> {
        self.network.probe_ids().map(|probe| self.of_parameter(probe)).collect()
    }
}

/// Appends a window's rows to the earlier ones, or puts them in their place.
fn keep_rows(rows: &mut Vec<Array3<f32>>, values: Array3<f32>, all: bool) {
    // A window may end before a probe's next row is due.
    let none = values.dim().1 == 0;
    if !all && !none {
        rows.clear();
    }
    if !none || rows.is_empty() {
        rows.push(values);
    }
}

/// Arrays one after the other along an axis.
fn joined(axis: Axis, mut parts: Vec<Array3<f32>>) -> Result<Array3<f32>> {
    if let [_] = parts[..] {
        return Ok(parts.remove(0));
    }
    let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
    ndarray::concatenate(axis, &views).map_err(|e| Error::invalid("a probe's data", e.to_string()))
}
