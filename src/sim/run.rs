//! Runs without training: in time with states that carry on, or over examples from the start.

use std::collections::HashMap;

use ndarray::{Array3, Axis};

use super::Simulator;
use super::data::Data;
use super::programs::{PlanKey, Rows, StateKey, resets};
use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::network::{ObjectId, ProbeId};
use crate::plan::Stage;

/// Most steps of one window.
const WINDOW: usize = 1024;
/// Most bytes that a window's buffers may take.
const WINDOW_BYTES: u64 = 512 << 20;

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
    /// Data that do not fit, a run of no steps, or a lost device.
    pub fn run_steps(&mut self, n_steps: usize, inputs: &Data) -> Result<()> {
        if n_steps == 0 {
            return Err(Error::invalid("the length of a run", "it is 0 steps, but must be at least 1"));
        }
        self.check_inputs(inputs)?;
        let (want, got) = (self.minibatch, inputs.examples()?.unwrap_or(self.minibatch));
        if want != got {
            return Err(Error::shape(
                "the minibatch",
                format!("{want} examples"),
                "the data",
                format!("{got} examples"),
            ));
        }
        if let Some(steps) = inputs.steps()?.filter(|&s| s != n_steps) {
            return Err(Error::shape(
                "the run",
                format!("{n_steps} steps"),
                "the data",
                format!("{steps} steps"),
            ));
        }
        let held = self.held_inputs(inputs);
        let batch: Vec<usize> = (0..self.minibatch).collect();
        let mut done = 0;
        while done < n_steps {
            let key = self.window(self.minibatch, n_steps - done, &held, StateKey::Run)?;
            // The data start with this run, the simulator's time with the last reset.
            let rows = Rows {
                inputs,
                targets: &Data::new(),
                batch: &batch,
                first: self.steps_done,
                data_first: done,
                training_step: 0,
            };
            let outputs = self.run_window(&key, &rows)?;
            for (probe, array) in self.network.probe_ids().zip(outputs) {
                let last_only = self.of_parameter(probe);
                let steps = self.recorded.entry(probe).or_default();
                if last_only {
                    steps.clear();
                }
                steps.push(array);
            }
            done += key.dims.steps;
            self.steps_done += key.dims.steps as u64;
        }
        Ok(())
    }

    /// The probes' outputs for each example of `inputs`, from the states' start, as (batch, n_steps, size). A
    /// probe on a parameter gives (1, 1, size).
    ///
    /// # Errors
    /// Data that do not fit, or a lost device.
    pub fn predict(&mut self, inputs: &Data) -> Result<HashMap<ProbeId, Array3<f32>>> {
        self.predict_steps(inputs, inputs.steps()?.unwrap_or(1))
    }

    /// Like [`Simulator::predict`], with held inputs for `n_steps` steps.
    ///
    /// # Errors
    /// As [`Simulator::predict`].
    pub fn predict_steps(&mut self, inputs: &Data, n_steps: usize) -> Result<HashMap<ProbeId, Array3<f32>>> {
        self.check_inputs(inputs)?;
        if n_steps == 0 {
            return Err(Error::invalid("the length of a run", "it is 0 steps, but must be at least 1"));
        }
        if let Some(steps) = inputs.steps()?.filter(|&s| s != n_steps) {
            return Err(Error::shape(
                "the run",
                format!("{n_steps} steps"),
                "the data",
                format!("{steps} steps"),
            ));
        }
        let examples = inputs.examples()?.unwrap_or(self.minibatch);
        let held = self.held_inputs(inputs);
        let mut parts: HashMap<ProbeId, Vec<Array3<f32>>> = HashMap::new();
        let all: Vec<usize> = (0..examples).collect();
        for batch in all.chunks(self.minibatch) {
            let dims = Dims { batch: batch.len(), steps: n_steps };
            let key = PlanKey { dims, held: held.clone(), states: StateKey::Predict(dims.batch) };
            self.forward(&key)?;
            self.reset_states(key.states)?;
            let targets = Data::new();
            let rows = Rows { inputs, targets: &targets, batch, first: 0, data_first: 0, training_step: 0 };
            let outputs = self.run_window(&key, &rows)?;
            for (probe, array) in self.network.probe_ids().zip(outputs) {
                parts.entry(probe).or_default().push(array);
            }
        }
        let mut joined = HashMap::new();
        for (probe, parts) in parts {
            // A parameter is the same for all examples.
            let parts = if self.of_parameter(probe) { &parts[..1] } else { &parts[..] };
            let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
            let whole = ndarray::concatenate(Axis(0), &views)
                .map_err(|e| Error::invalid("predict", e.to_string()))?;
            joined.insert(probe, whole);
        }
        Ok(joined)
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
        Ok(self.plans[&key].stages.clone())
    }

    /// Sets states to their start.
    pub(super) fn reset_states(&mut self, key: StateKey) -> Result<()> {
        let resets = resets(&self.states, key);
        if resets.is_empty() { Ok(()) } else { self.engine.submit(&resets, None) }
    }

    fn of_parameter(&self, probe: ProbeId) -> bool {
        self.network.probes[probe.0].target.is_parameter()
    }

    /// The longest window of at most `steps` steps that fits into the device and the budget.
    fn window(&mut self, batch: usize, steps: usize, held: &[ObjectId], states: StateKey) -> Result<PlanKey> {
        let mut steps = steps.min(WINDOW);
        loop {
            let key = PlanKey { dims: Dims { batch, steps }, held: held.to_vec(), states };
            let before = self.engine.allocated_bytes();
            let made = self.forward(&key);
            let too_large = match &made {
                Err(Error::TooLarge { .. }) => true,
                Err(_) => false,
                Ok(()) => self.engine.allocated_bytes() - before > WINDOW_BYTES,
            };
            if !too_large || steps == 1 {
                made?;
                return Ok(key);
            }
            if let Some(loaded) = self.plans.remove(&key) {
                self.engine.unload(loaded.program);
            }
            steps = steps.div_ceil(2);
        }
    }

    fn run_window(&mut self, key: &PlanKey, rows: &Rows<'_>) -> Result<Vec<Array3<f32>>> {
        self.forward(key)?;
        let Some(loaded) = self.plans.remove(key) else { return Ok(Vec::new()) };
        let result = (|| {
            self.upload(&loaded, rows)?;
            self.engine.submit(&[&loaded.program], None)?;
            (0..loaded.outputs.len()).map(|probe| self.read_output(probe, &loaded)).collect()
        })();
        self.plans.insert(key.clone(), loaded);
        result
    }
}
