//! Predictions: outputs of all examples, each from the initial states.

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array3, Axis};

use crate::error::{Error, Result};
use crate::network::ProbeId;
use crate::sim::core::Core;
use crate::sim::data::Data;
use crate::sim::probes::keep_rows;
use crate::sim::stream::Recorded;

impl Core {
    /// Outputs of all probes for each example of `inputs`, as (batch, n_steps, size).
    pub(crate) fn predict_steps(
        &mut self,
        inputs: &Data,
        n_steps: usize,
    ) -> Result<HashMap<ProbeId, Array3<f32>>> {
        // By the first example of a minibatch, then by window.
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
}

/// Arrays concatenated along an axis.
fn joined(axis: Axis, mut parts: Vec<Array3<f32>>) -> Result<Array3<f32>> {
    if let [_] = parts[..] {
        return Ok(parts.remove(0));
    }
    let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
    ndarray::concatenate(axis, &views).map_err(|e| Error::invalid("a probe's data", e.to_string()))
}
