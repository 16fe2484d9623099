//! Runs window by window. Recorded rows go to a sink after each window, so that memory does not grow with the run.

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
/// The same on the CPU: one operator's output stays in the cache for the next.
const CACHE_BYTES: u64 = 12 << 20;
/// Steps of an adapter's first window, before any time was measured, where steps are dispatched one by one.
const FIRST: usize = 64;
/// Most steps of a window whose length depends on measured times. Shorter than the chunks of filters (`op/chunks.rs`), so that
/// results do not depend on the times.
const LONGEST: usize = 256;
/// Kinds of runs whose windows are cached.
pub(crate) const KNOWN: usize = 64;
/// Most seconds of a submission. A longer one makes a desktop stutter, and drivers kill one that takes a few times longer.
const LONG: f64 = 0.25;

/// Rows of all probes in one window of a run, as a [`Sink`] gets them.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Examples of the window, counted from 0 in the run's data.
    pub examples: Range<usize>,
    /// Steps of the window, counted from 0 at the start of the run.
    pub steps: Range<usize>,
    /// Rows of each probe, in the probes' order.
    pub recorded: Vec<Recorded>,
}

/// Rows of one probe in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The probe.
    pub probe: ProbeId,
    /// Index of the first row among the rows that the probe records in the run, from 0.
    pub first_row: usize,
    /// Values as (examples, rows, size); of a probe on a parameter, (1, 1, size). A window may have no row of a probe that
    /// samples.
    pub values: Array3<f32>,
}

/// Callback that gets the windows of a run in order. Its error ends the run.
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
    /// Input of a window from the simulator's step `first` and the data's row `data_first`.
    pub fn input(&self, first: u64, data_first: usize) -> WindowInput<'a> {
        let &Run { inputs, batch, n_steps: run, .. } = self;
        static NONE: Data = Data::new();
        let (share, ends) = (1.0, true);
        WindowInput { inputs, targets: &NONE, batch, first, data_first, run, share, ends, training_step: 0 }
    }
}

impl Core {
    /// Runs `n_steps` steps from the end of the last run, and passes recorded rows to `sink`.
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

    /// Runs `n_steps` steps from the initial states for each minibatch of `inputs`, and passes recorded rows to `sink`.
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

    /// Returns an error for a run of no steps and for data that do not match the network or `n_steps`.
    pub(crate) fn check_run(&self, n_steps: usize, inputs: &Data) -> Result<()> {
        check_length(n_steps)?;
        self.check_inputs(inputs)?;
        // An error if signals have different numbers of steps.
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
        let continues = run.states == StateKey::Run;
        let start = if continues { self.steps_done } else { 0 };
        let (mut done, mut good) = (0, None);
        while done < run.n_steps {
            let key = self.window(run.batch.len(), run.n_steps - done, run.held, run.states)?;
            if done == 0 && !continues {
                self.reset_states(run.states)?;
            }
            let good = match &mut good {
                Some(good) => good,
                none => none.insert(self.starting_states(run)?),
            };
            // Data are counted from the start of this run, time from the last reset.
            let first = start + done as u64;
            let outputs = self.run_window(&key, run, (first, done))?;
            let steps = done..done + key.dims.steps;
            done = steps.end;
            if continues {
                self.steps_done = start + done as u64;
            }
            self.check_outputs(&outputs, run, good, (start, done))?;
            let recorded = self.network.probe_ids().zip(outputs).map(|(probe, values)| {
                let every = self.sample_every(probe) as u64;
                let first_row = ((start + steps.end as u64) / every - start / every) as usize;
                let in_time = !self.is_of_parameter(probe);
                let first_row = if in_time { first_row.saturating_sub(values.dim().1) } else { 0 };
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

    /// Sets or removes the limit of steps of a window.
    pub(crate) fn limit_windows(&mut self, steps: Option<usize>) -> Result<()> {
        if steps == Some(0) {
            return Err(Error::invalid("the limit of windows", "it is 0 steps, but must be at least 1"));
        }
        self.window_limit = steps;
        Ok(())
    }

    /// Sets or removes the limit of dispatches of a submission.
    pub(crate) fn limit_submissions(&mut self, dispatches: Option<usize>) -> Result<()> {
        if dispatches == Some(0) {
            let problem = "it is 0 dispatches, but must be at least 1";
            return Err(Error::invalid("the limit of submissions", problem));
        }
        self.engine.limit_submissions(dispatches);
        Ok(())
    }

    /// The key of the longest window of at most `steps` steps that is within all limits. Its program is loaded.
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

    /// The longest window up to that of `key` that fits into the device and the budget, with its plan.
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

    /// Most steps of a window of a kind of run, given as its key with 0 steps.
    pub(crate) fn most_steps(&self, kind: &PlanKey) -> usize {
        let unknown = if self.loops && self.device.kind() != DeviceKind::Cpu { FIRST } else { WINDOW };
        let known = self.window_lengths.peek(kind).copied();
        let most = self.window_limit.unwrap_or_else(|| known.unwrap_or(unknown));
        if self.step_by_step.is_empty() { most } else { 1 }
    }

    /// Runs a window from the simulator's step `first` and the data's row `data_first`; gives the probes' rows.
    fn run_window(
        &mut self,
        key: &PlanKey,
        run: &Run<'_>,
        (first, data_first): (u64, usize),
    ) -> Result<Vec<Array3<f32>>> {
        let loaded = self.forward(key)?;
        let start = Instant::now();
        let input = run.input(first, data_first);
        self.upload(&loaded, &input)?;
        self.submit_restorable(&loaded, key.states, &input)?;
        let outputs = (0..self.network.probes.len()).map(|probe| self.read_output(probe, &loaded, first));
        let outputs = outputs.collect::<Result<_>>()?;
        if self.loops && self.device.kind() != DeviceKind::Cpu {
            let kind = PlanKey { dims: Dims { steps: 0, ..key.dims }, ..key.clone() };
            let most =
                next_window_length(self.most_steps(&kind), key.dims.steps, start.elapsed().as_secs_f64());
            self.window_lengths.insert(kind, most);
            self.window_lengths.limit(KNOWN);
        }
        Ok(outputs)
    }
}

/// Returns an error for a run of no steps.
pub(crate) fn check_length(n_steps: usize) -> Result<()> {
    if n_steps == 0 {
        return Err(Error::invalid("the length of a run", "it is 0 steps, but must be at least 1"));
    }
    Ok(())
}

/// Most steps of the next window, after one of `steps` steps took `seconds`. It is a power of two, so that few programs are
/// compiled. It grows only up to half of the allowed time, so that it does not oscillate.
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
        assert_eq!(next_window_length(64, 64, 6.4), 2, "0.1 s a step: two steps take less than 0.25 s");
        assert_eq!(next_window_length(64, 64, 64.0), 1, "at least one step, however long it takes");
        assert_eq!(
            next_window_length(16, 16, 0.001),
            128,
            "at most eight times the window that was measured"
        );
        assert_eq!(next_window_length(128, 128, 0.001), LONGEST);
        assert_eq!(
            next_window_length(64, 64, 0.2),
            64,
            "neither too long nor short enough for twice the steps"
        );
        assert_eq!(
            next_window_length(256, 3, 0.01),
            256,
            "a short remainder at the end of a run does not limit long windows"
        );
    }
}
