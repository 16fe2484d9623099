//! Errors for outputs and states that are not finite, with the first step at which a state is not.

use ndarray::{Array3, Axis};

use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::network::ProbeId;
use crate::sim::core::Core;
use crate::sim::program::PlanKey;
use crate::sim::states::{NonFiniteState, StateKey, StateValues};
use crate::sim::stream::Run;

/// Steps between two checks of the states, at the ends of windows.
const CHECK_INTERVAL: usize = 1024;

/// Possible causes of a state that is not finite, if its step is known.
const FROM: &str = "that step's inputs, a function of a connection or the parameters";

/// The last states of a run that were checked and finite.
pub(crate) struct LastFiniteState {
    /// Step of the run.
    done: usize,
    /// `None` for initial states.
    values: Option<StateValues>,
}

impl LastFiniteState {
    /// True if the next check is due, `done` steps into a run.
    pub fn is_old(&self, run: &Run<'_>, done: usize) -> bool {
        done == run.n_steps || done >= self.done + CHECK_INTERVAL
    }
}

impl Core {
    /// The states at the start of a run. They are not read for runs from the initial states, nor for runs of one step, whose
    /// step is known.
    pub(crate) fn starting_states(&mut self, run: &Run<'_>) -> Result<LastFiniteState> {
        let reads = run.states == StateKey::Run && run.n_steps > 1;
        Ok(LastFiniteState {
            done: 0,
            values: if reads { Some(self.read_states(run.states)?) } else { None },
        })
    }

    /// Returns an error for states that are not finite, `done` steps into a run from step `start`. Probes need not show them: a
    /// neuron with a current of NaN is silent.
    pub(crate) fn check_states(
        &mut self,
        run: &Run<'_>,
        good: &mut LastFiniteState,
        start: u64,
        done: usize,
    ) -> Result<()> {
        let values = self.read_states(run.states)?;
        let Some(bad) = self.nonfinite_among(&values) else {
            *good = LastFiniteState { done, values: Some(values) };
            return Ok(());
        };
        let (steps, end) = (done - good.done, start + done as u64);
        let from = format!("it comes from {FROM}");
        let (NonFiniteState { what, value, place }, step, from) = match self
            .first_nonfinite_step(run, good, start, done)?
        {
            Some((step, first)) => (first, step, from),
            None if steps == 1 => (bad, end - 1, from),
            None => (bad, end - 1, format!("it became so within {steps} steps; it comes from the inputs")),
        };
        Err(Error::NotFinite { what, value, step, hint: format!("at {place}; {from}") })
    }

    /// Returns an error for outputs of a window that are not finite, with a state that is not. The window ends `done` steps into
    /// a run from step `start`.
    pub(crate) fn check_outputs(
        &mut self,
        outputs: &[Array3<f32>],
        run: &Run<'_>,
        good: &LastFiniteState,
        (start, done): (u64, usize),
    ) -> Result<()> {
        let after = start + done as u64;
        for (probe, output) in outputs.iter().enumerate() {
            let Some(((_, t, _), &value)) = output.indexed_iter().find(|(_, x)| !x.is_finite()) else {
                continue;
            };
            let what = format!("the output of probe '{}'", self.network.probes[probe].name);
            let hint = match self.nonfinite_state(run.states)? {
                Some(state) => match self.first_nonfinite_step(run, good, start, done)? {
                    Some((step, first)) => format!("{first}, since step {step}"),
                    None => format!("{state}, after {after} time steps"),
                },
                None => format!("all states are finite, so it comes from {FROM}"),
            };
            let later = (output.len_of(Axis(1)) - 1 - t) as u64;
            let every = self.sample_every(ProbeId(probe)) as u64;
            let step = match self.is_of_parameter(ProbeId(probe)) {
                true => after - 1,
                false => (after / every - later) * every - 1,
            };
            return Err(Error::NotFinite { what, value, step, hint });
        }
        Ok(())
    }

    /// The first step after which a state is not finite, and that state. The steps since the last finite states are run again
    /// one by one; the current states are restored afterwards.
    fn first_nonfinite_step(
        &mut self,
        run: &Run<'_>,
        good: &LastFiniteState,
        start: u64,
        done: usize,
    ) -> Result<Option<(u64, NonFiniteState)>> {
        if done == good.done + 1 {
            return Ok(None);
        }
        let dims = Dims { batch: run.batch.len(), steps: 1 };
        let key = PlanKey { dims, held: run.held.to_vec(), states: run.states };
        let loaded = self.forward(&key)?;
        // Host callbacks may have states of their own, and must not be called twice for a step.
        if !loaded.calls.is_empty() {
            return Ok(None);
        }
        let now = self.read_states(run.states)?;
        let mut walk = || {
            match &good.values {
                Some(values) => self.write_states(values)?,
                None => self.reset_states(run.states)?,
            }
            for data_first in good.done..done {
                let first = start + data_first as u64;
                self.upload(&loaded, &run.input(first, data_first))?;
                self.engine.submit(&[&loaded.program], None)?;
                if let Some(state) = self.nonfinite_state(run.states)? {
                    return Ok(Some((first, state)));
                }
            }
            Ok(None)
        };
        let found = walk();
        self.write_states(&now)?;
        found
    }
}
