//! Runs without training: in time with states that carry on, or over examples from the start.

use std::collections::HashMap;

use ndarray::{Array3, Axis};

use super::Simulator;
use super::data::Data;
use super::programs::{PlanKey, Rows};
use super::states::StateKey;
use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::network::{ObjectId, ProbeId, Target};
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
            let outputs = self.run_window(&key, inputs, &batch, (self.steps_done, done))?;
            for (probe, array) in self.network.probe_ids().zip(outputs) {
                let last_only = !self.keep_history || self.of_parameter(probe);
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

    /// Whether probes keep every step (at first they do), or the last step of a run alone, which then is all that is read
    /// back from the device.
    pub fn set_keep_history(&mut self, keep: bool) {
        self.keep_history = keep;
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
            let states = StateKey::Predict(batch.len());
            let mut windows: HashMap<ProbeId, Vec<Array3<f32>>> = HashMap::new();
            let mut done = 0;
            while done < n_steps {
                let key = self.window(batch.len(), n_steps - done, &held, states)?;
                if done == 0 {
                    self.forward(&key)?;
                    self.reset_states(states)?;
                }
                let outputs = self.run_window(&key, inputs, batch, (done as u64, done))?;
                for (probe, array) in self.network.probe_ids().zip(outputs) {
                    let own = windows.entry(probe).or_default();
                    if !self.keep_history || self.of_parameter(probe) {
                        own.clear();
                    }
                    own.push(array);
                }
                done += key.dims.steps;
            }
            for (probe, own) in windows {
                parts.entry(probe).or_default().push(joined(Axis(1), &own)?);
            }
        }
        let mut whole = HashMap::new();
        for (probe, parts) in parts {
            // A parameter is the same for all examples.
            let parts = if self.of_parameter(probe) { &parts[..1] } else { &parts[..] };
            whole.insert(probe, joined(Axis(0), parts)?);
        }
        Ok(whole)
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

    fn of_parameter(&self, probe: ProbeId) -> bool {
        !matches!(self.network.probes[probe.0].target, Target::Output(..))
    }

    /// The longest window of at most `steps` steps that fits into the device and the budget. It is planned, not tried.
    fn window(&mut self, batch: usize, steps: usize, held: &[ObjectId], states: StateKey) -> Result<PlanKey> {
        let key = |steps| PlanKey { dims: Dims { batch, steps }, held: held.to_vec(), states };
        let wanted = key(steps.min(WINDOW));
        if let Some(&steps) = self.windows.get(&wanted) {
            return Ok(key(steps));
        }
        let mut steps = wanted.dims.steps;
        while !self.plans.contains_key(&key(steps)) {
            match self.plan_forward(&key(steps)) {
                Err(Error::TooLarge { .. }) if steps > 1 => steps = steps.div_ceil(2),
                Err(error) => return Err(error),
                Ok(planned) if planned.bytes() > WINDOW_BYTES && steps > 1 => steps = steps.div_ceil(2),
                Ok(planned) => self.load_forward(&key(steps), planned)?,
            }
        }
        self.windows.insert(wanted, steps);
        Ok(key(steps))
    }

    /// Runs a window for the examples `batch`, from the simulator's step and the data's row `first`.
    fn run_window(
        &mut self,
        key: &PlanKey,
        inputs: &Data,
        batch: &[usize],
        (first, data_first): (u64, usize),
    ) -> Result<Vec<Array3<f32>>> {
        self.forward(key)?;
        let Some(loaded) = self.plans.remove(key) else { return Ok(Vec::new()) };
        let targets = &Data::new();
        let rows =
            Rows { inputs, targets, batch, first, data_first, share: 1.0, ends: true, training_step: 0 };
        let result = (|| {
            self.upload(&loaded, &rows)?;
            self.engine.submit(&[&loaded.program], None)?;
            (0..loaded.outputs.len()).map(|probe| self.read_output(probe, &loaded)).collect()
        })();
        self.plans.insert(key.clone(), loaded);
        result
    }
}

/// Arrays one after the other along an axis.
fn joined(axis: Axis, parts: &[Array3<f32>]) -> Result<Array3<f32>> {
    let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
    ndarray::concatenate(axis, &views).map_err(|e| Error::invalid("a probe's data", e.to_string()))
}
