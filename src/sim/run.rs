//! Runs without training: in time with states that carry on, or over examples from the start.

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array3, Axis};

use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::network::{ObjectId, ProbeId};
use crate::plan::Stage;
use crate::sim::core::Core;
use crate::sim::data::Data;
use crate::sim::program::PlanKey;
use crate::sim::states::StateKey;
use crate::sim::stream::Recorded;

impl Core {
    /// Whether probes keep every step (at first they do), or the last step of a run alone, which then is all that is read
    /// back from the device. In training, what a loss sees is said by [`Over`](crate::trainer::Over): with `Over::Last`
    /// nothing but the last step is kept for it.
    pub(crate) fn set_keep_history(&mut self, keep: bool) {
        self.keep_history = keep;
    }

    /// The probes' outputs for each example of `inputs`, from the states' start, as (batch, n_steps, size). A
    /// probe on a parameter gives (1, 1, size).
    pub(crate) fn predict(&mut self, inputs: &Data) -> Result<HashMap<ProbeId, Array3<f32>>> {
        self.predict_steps(inputs, inputs.steps()?.unwrap_or(1))
    }

    /// Like [`Core::predict`], with held inputs for `n_steps` steps.
    pub(crate) fn predict_steps(
        &mut self,
        inputs: &Data,
        n_steps: usize,
    ) -> Result<HashMap<ProbeId, Array3<f32>>> {
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
    pub(crate) fn stages(&mut self, n_steps: usize) -> Result<Vec<Stage>> {
        let held = (0..self.network.objects.len()).map(ObjectId).collect();
        let dims = Dims { batch: self.minibatch, steps: n_steps };
        let key = PlanKey { dims, held, states: StateKey::Predict(dims.batch) };
        Ok(self.forward(&key)?.stages.clone())
    }

    /// Whether a probe has one value at the end of a run, and not a row for each step.
    pub(crate) fn of_parameter(&self, probe: ProbeId) -> bool {
        self.network.probes[probe.0].target.is_parameter()
    }

    pub(crate) fn probes_of_parameters(&self) -> Vec<bool> {
        self.network.probe_ids().map(|probe| self.of_parameter(probe)).collect()
    }
}

/// Appends a window's rows to the earlier ones, or puts them in their place.
pub(crate) fn keep_rows(rows: &mut Vec<Array3<f32>>, values: Array3<f32>, all: bool) {
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
