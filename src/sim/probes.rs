//! Rows that probes record: their number, and their values read from the device.

use ndarray::Array3;

use crate::engine::BufferRef;
use crate::error::{Error, Result};
use crate::graph::{Dims, Extent};
use crate::network::ProbeId;
use crate::sim::core::Core;
use crate::sim::data::by_example;
use crate::sim::program::LoadedProgram;

impl Core {
    /// Sampling interval of a probe in steps; 1 unless it samples.
    pub(crate) fn sample_every(&self, probe: ProbeId) -> usize {
        let spec = self.network.probes.get(probe.0);
        spec.and_then(|p| p.steps_between(self.dt).ok()).unwrap_or(1)
    }

    /// True if a probe reads a parameter: it has one value at the end of a run in place of a row for each step.
    pub(crate) fn is_of_parameter(&self, probe: ProbeId) -> bool {
        self.network.probes[probe.0].target.is_parameter()
    }

    /// Number of rows that a probe records in a run of `n_steps` steps from the end of the last run.
    pub(crate) fn rows_of(&self, probe: ProbeId, n_steps: usize) -> usize {
        self.rows_from(probe, self.steps_done, n_steps)
    }

    /// Number of rows that a probe records in a prediction of `n_steps` steps.
    pub(crate) fn predicted_rows_of(&self, probe: ProbeId, n_steps: usize) -> usize {
        self.rows_from(probe, 0, n_steps)
    }

    fn rows_from(&self, probe: ProbeId, start: u64, n_steps: usize) -> usize {
        let every = self.sample_every(probe) as u64;
        let rows = (start + n_steps as u64) / every - start / every;
        if self.is_of_parameter(probe) { 1 } else { rows as usize }
    }

    /// Every probe's [`Core::is_of_parameter`], in the probes' order.
    pub(crate) fn probes_of_parameters(&self) -> Vec<bool> {
        self.network.probe_ids().map(|probe| self.is_of_parameter(probe)).collect()
    }

    /// Reads a probe's rows in a window from step `first`, as (batch, rows, size); without history only the last one. Values of
    /// a parameter are (1, 1, size).
    pub(crate) fn read_output(
        &mut self,
        probe: usize,
        loaded: &LoadedProgram,
        first: u64,
    ) -> Result<Array3<f32>> {
        let placed = &loaded.outputs[probe];
        let id = match placed.binding.buffer {
            BufferRef::Local(i) => loaded.program.locals[i],
            BufferRef::Shared(i) => self.shared.at(i),
        };
        let (ty, Dims { batch, steps }) = (placed.ty, loaded.dims);
        let (every, of_parameter) = (self.sample_every(ProbeId(probe)), self.is_of_parameter(ProbeId(probe)));
        let rows = ((first + steps as u64) / every as u64 - first / every as u64) as usize;
        let kept = if self.keep_history { rows } else { rows.min(1) };
        let in_time =
            ty.extent == Extent::Sequence || (every > 1 && ty.rows == batch * steps.div_ceil(every));
        let mut start = placed.binding.offset + placed.start;
        let dims = Dims { batch, steps: kept };
        if in_time && !of_parameter {
            start += (rows - kept) * batch * ty.cols;
            let len = kept * batch * ty.cols;
            let values = if len == 0 { Vec::new() } else { self.engine.read(id, start, len)? };
            return Ok(by_example(&values, dims, ty.cols));
        }
        let values = self.engine.read(id, start, ty.elements(dims))?;
        let shape = match ty.extent {
            Extent::Fixed if of_parameter => (1, 1, values.len()),
            Extent::Fixed | Extent::Sequence => (1, 1, ty.cols),
            Extent::Example => (batch, 1, ty.cols),
        };
        let wrong =
            |problem: String| Error::invalid(format!("probe '{}'", self.network.probes[probe].name), problem);
        let shaped = Array3::from_shape_vec(shape, values).map_err(|e| wrong(e.to_string()))?;
        if of_parameter {
            return Ok(shaped);
        }
        let full = shaped.broadcast((batch, kept, ty.cols)).map(|v| v.to_owned());
        full.ok_or_else(|| wrong("its values cannot be repeated".into()))
    }
}

/// Appends a window's rows to the earlier ones, or replaces them unless `all` are kept.
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
