//! Runs window by window: what is recorded goes to a sink as it comes, so that memory does not grow with the run.

use std::ops::Range;
use std::time::Instant;

use ndarray::Array3;

use crate::engine::DeviceKind;
use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::network::{ObjectId, ProbeId};
use crate::sim::core::Core;
use crate::sim::data::Data;
use crate::sim::program::{PlanKey, PlannedProgram};
use crate::sim::states::StateKey;
use crate::sim::window_input::WindowInput;

/// Most steps of one window.
pub(crate) const WINDOW: usize = 1024;
/// Most bytes that a window's buffers may take.
const WINDOW_BYTES: u64 = 512 << 20;
/// The same on the CPU: what one operator writes is still in the cache when the next one reads it.
const CACHE_BYTES: u64 = 12 << 20;
/// Steps of an adapter's first window, whose next_window_length is not known yet, where each step is dispatched on its own.
const FIRST: usize = 64;
/// Most steps of a window whose length depends on the time that others took. Shorter than what filters cut into chunks
/// (`op/chunks.rs`), so that the same run gives the same bits however fast it was.
const LONGEST: usize = 256;
/// Kinds of runs whose windows are known at a time.
pub(crate) const KNOWN: usize = 64;
/// A longer submission, in seconds, makes a desktop stutter, and a few times longer ones are killed by drivers.
const LONG: f64 = 0.25;

/// What the probes recorded in one window of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The examples, counted in the run's data.
    pub examples: Range<usize>,
    /// The steps, counted from the start of the run.
    pub steps: Range<usize>,
    /// What each probe recorded, in the probes' order.
    pub recorded: Vec<Recorded>,
}

/// What one probe recorded in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The probe.
    pub probe: ProbeId,
    /// The first row's place among the rows that the probe records in the run.
    pub first_row: usize,
    /// (examples, rows, size); of a probe on a parameter (1, 1, size).
    pub values: Array3<f32>,
}

/// What takes a run's windows as they come.
pub type Sink<'a> = dyn FnMut(Window) -> Result<()> + 'a;

/// A run of one minibatch.
pub(crate) struct Run<'a> {
    pub inputs: &'a Data,
    pub batch: &'a [usize],
    pub n_steps: usize,
    pub held: &'a [ObjectId],
    pub states: StateKey,
}

impl<'a> Run<'a> {
    /// What a window reads that begins at the simulator's step `first` and the data's row `data_first`.
    pub fn rows(&self, first: u64, data_first: usize) -> WindowInput<'a> {
        let &Run { inputs, batch, n_steps: run, .. } = self;
        static NONE: Data = Data::new();
        let (share, ends) = (1.0, true);
        WindowInput { inputs, targets: &NONE, batch, first, data_first, run, share, ends, training_step: 0 }
    }
}

impl Core {
    /// Runs like [`Core::run_steps`], but gives what probes record to `sink`, window by window, and keeps nothing.
    pub(crate) fn run_steps_with(
        &mut self,
        n_steps: usize,
        inputs: &Data,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        self.check_run(n_steps, inputs)?;
        let (want, got) = (self.minibatch, inputs.examples()?.unwrap_or(self.minibatch));
        if want != got {
            let (want, got) = (format!("{want} examples"), format!("{got} examples"));
            return Err(Error::shape("the minibatch", want, "the data", got));
        }
        let held = self.held_inputs(inputs);
        let batch: Vec<usize> = (0..self.minibatch).collect();
        self.run_batch(&Run { inputs, batch: &batch, n_steps, held: &held, states: StateKey::Run }, sink)
    }

    /// Runs like [`Core::predict_steps`], but gives what probes record to `sink`, window by window of one minibatch
    /// after the other.
    pub(crate) fn predict_with(&mut self, inputs: &Data, n_steps: usize, sink: &mut Sink<'_>) -> Result<()> {
        self.check_run(n_steps, inputs)?;
        let held = self.held_inputs(inputs);
        let all: Vec<usize> = (0..inputs.examples()?.unwrap_or(self.minibatch)).collect();
        for batch in all.chunks(self.minibatch) {
            let states = StateKey::Predict(batch.len());
            self.run_batch(&Run { inputs, batch, n_steps, held: &held, states }, sink)?;
        }
        Ok(())
    }

    /// Refuses runs without steps, and data that do not fit.
    pub(crate) fn check_run(&self, n_steps: usize, inputs: &Data) -> Result<()> {
        if n_steps == 0 {
            return Err(Error::invalid("the length of a run", "it is 0 steps, but must be at least 1"));
        }
        self.check_inputs(inputs)?;
        // That all have as many steps is checked first.
        inputs.steps()?;
        match inputs.signals.iter().find_map(|(name, signal)| Some((name, signal.steps()?))) {
            Some((name, steps)) if steps != n_steps => {
                let (want, got) = (format!("{n_steps} steps"), format!("{steps} steps"));
                Err(Error::shape("the run", want, format!("the data of node '{name}'"), got))
            }
            _ => Ok(()),
        }
    }

    fn run_batch(&mut self, run: &Run<'_>, sink: &mut Sink<'_>) -> Result<()> {
        let goes_on = run.states == StateKey::Run;
        let start = if goes_on { self.steps_done } else { 0 };
        let (mut done, mut good) = (0, None);
        while done < run.n_steps {
            let key = self.window(run.batch.len(), run.n_steps - done, run.held, run.states)?;
            if done == 0 && !goes_on {
                self.reset_states(run.states)?;
            }
            let good = match &mut good {
                Some(good) => good,
                none => none.insert(self.good(run)?),
            };
            // The data start with this run, the simulator's time with the last reset.
            let first = start + done as u64;
            let outputs = self.run_window(&key, run, (first, done))?;
            let steps = done..done + key.dims.steps;
            done = steps.end;
            if goes_on {
                self.steps_done = start + done as u64;
            }
            self.check_outputs(&outputs, run, good, (start, done))?;
            let recorded = self.network.probe_ids().zip(outputs).map(|(probe, values)| {
                let every = self.sample_every(probe) as u64;
                let first_row = ((start + steps.end as u64) / every - start / every) as usize;
                let of_time = !self.of_parameter(probe);
                let first_row = if of_time { first_row.saturating_sub(values.dim().1) } else { 0 };
                Recorded { probe, first_row, values }
            });
            let recorded = recorded.collect();
            let first = run.batch.first().copied().unwrap_or(0);
            sink(Window { examples: first..first + run.batch.len(), steps, recorded })?;
            if good.is_old(run, done) {
                self.check_states(run, good, start, done)?;
            }
        }
        Ok(())
    }

    /// Whether a probe reads a parameter: it has one value at the end of a run, and not a row for each step.
    pub(crate) fn is_of_parameter(&self, probe: ProbeId) -> bool {
        self.of_parameter(probe)
    }

    /// How many rows a probe records in a run of `n_steps` steps from where the last run ended. A probe on a parameter
    /// has one.
    pub(crate) fn rows_of(&self, probe: ProbeId, n_steps: usize) -> usize {
        self.rows_from(probe, self.steps_done, n_steps)
    }

    /// The same for a prediction, which starts anew.
    pub(crate) fn predicted_rows_of(&self, probe: ProbeId, n_steps: usize) -> usize {
        self.rows_from(probe, 0, n_steps)
    }

    fn rows_from(&self, probe: ProbeId, start: u64, n_steps: usize) -> usize {
        let every = self.sample_every(probe) as u64;
        let rows = (start + n_steps as u64) / every - start / every;
        if self.of_parameter(probe) { 1 } else { rows as usize }
    }

    /// Limits windows to so many steps, or leaves their length to the simulator again. Results do not depend on it.
    pub(crate) fn limit_windows(&mut self, steps: Option<usize>) -> Result<()> {
        if steps == Some(0) {
            return Err(Error::invalid("the limit of windows", "it is 0 steps, but must be at least 1"));
        }
        self.window_limit = steps;
        Ok(())
    }

    /// Limits what is submitted to an adapter at once to so many dispatches, or leaves that to the engine again, which cuts
    /// what took longer than a quarter of a second before. Results do not depend on it.
    pub(crate) fn limit_submissions(&mut self, dispatches: Option<usize>) -> Result<()> {
        if dispatches == Some(0) {
            let problem = "it is 0 dispatches, but must be at least 1";
            return Err(Error::invalid("the limit of submissions", problem));
        }
        self.engine.limit_submissions(dispatches);
        Ok(())
    }

    /// The longest window of at most `steps` steps that is allowed, and fits into the device and the budget.
    fn window(&mut self, batch: usize, steps: usize, held: &[ObjectId], states: StateKey) -> Result<PlanKey> {
        let key = |steps| PlanKey { dims: Dims { batch, steps }, held: held.to_vec(), states };
        let wanted = key(steps.min(self.most_steps(&key(0))));
        if let Some(&mut steps) = self.windows.get(&wanted) {
            self.forward(&key(steps))?;
            return Ok(key(steps));
        }
        let (fits, planned) = self.fitting_window(wanted.clone())?;
        if self.plans.get(&fits).is_none() {
            self.load_forward(&fits, planned)?;
        }
        self.windows.insert(wanted, fits.dims.steps);
        self.windows.limit(KNOWN);
        Ok(fits)
    }

    /// The longest window up to that of `key` that fits into the device and the budget. It is planned, not tried.
    pub(crate) fn fitting_window(&self, mut key: PlanKey) -> Result<(PlanKey, PlannedProgram)> {
        let room = if self.device.kind() == DeviceKind::Cpu { CACHE_BYTES } else { WINDOW_BYTES };
        loop {
            let steps = key.dims.steps;
            let planned = match self.plan_forward(&key) {
                Err(Error::TooLarge { .. }) if steps > 1 => {
                    key.dims.steps = steps.div_ceil(2);
                    continue;
                }
                planned => planned?,
            };
            let per_step = 4 * planned.plan.floats_per_step.max(1) as u64;
            let fits = (room / per_step).clamp(1, steps as u64) as usize;
            if fits == steps {
                return Ok((key, planned));
            }
            key.dims.steps = fits;
        }
    }

    /// Most steps of a window of runs of this kind, which is `of` with no steps.
    pub(crate) fn most_steps(&self, of: &PlanKey) -> usize {
        let unknown = if self.loops && self.device.kind() != DeviceKind::Cpu { FIRST } else { WINDOW };
        let known = self.window_lengths.peek(of).copied();
        let most = self.window_limit.unwrap_or_else(|| known.unwrap_or(unknown));
        if self.step_by_step.is_empty() { most } else { 1 }
    }

    /// Runs a window from the simulator's step and the data's row `first`.
    fn run_window(
        &mut self,
        key: &PlanKey,
        run: &Run<'_>,
        (first, data_first): (u64, usize),
    ) -> Result<Vec<Array3<f32>>> {
        let loaded = self.forward(key)?;
        let start = Instant::now();
        let rows = run.rows(first, data_first);
        self.upload(&loaded, &rows)?;
        self.submit_restorable(&loaded, key.states, &rows)?;
        let outputs = (0..self.network.probes.len()).map(|probe| self.read_output(probe, &loaded, first));
        let outputs = outputs.collect::<Result<_>>()?;
        if self.loops && self.device.kind() != DeviceKind::Cpu {
            let of = PlanKey { dims: Dims { steps: 0, ..key.dims }, ..key.clone() };
            let most =
                next_window_length(self.most_steps(&of), key.dims.steps, start.elapsed().as_secs_f64());
            self.window_lengths.insert(of, most);
            self.window_lengths.limit(KNOWN);
        }
        Ok(outputs)
    }
}

/// Most steps of the next window, after one of `steps` steps took so many seconds: a power of two, so that few programs
/// are made. Grows only where there is room to spare, so that it does not go to and fro.
fn next_window_length(most: usize, steps: usize, seconds: f64) -> usize {
    let in_time = |limit: f64| {
        let fit = (limit * steps as f64 / seconds.max(1e-9)).min(8.0 * steps as f64) as usize;
        1 << fit.clamp(1, LONGEST).ilog2()
    };
    if seconds > LONG { in_time(LONG) } else { most.max(in_time(LONG / 2.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_shrink_on_a_slow_device_and_grow_on_a_fast_one() {
        assert_eq!(next_window_length(64, 64, 6.4), 2, "0.1 s a step: two steps stay under 0.25 s");
        assert_eq!(next_window_length(64, 64, 64.0), 1, "at least one step, however long it takes");
        assert_eq!(next_window_length(16, 16, 0.001), 128, "at most eight times as long as what was seen");
        assert_eq!(next_window_length(128, 128, 0.001), LONGEST);
        assert_eq!(
            next_window_length(64, 64, 0.2),
            64,
            "neither too long nor short enough for twice the steps"
        );
        assert_eq!(
            next_window_length(256, 3, 0.01),
            256,
            "a short rest at the end of a run says nothing about long windows"
        );
    }
}
