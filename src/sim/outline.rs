//! Outlines of runs: programs, dispatches and memory, before anything is allocated.

use std::fmt;

use serde::Serialize;

use crate::error::Result;
use crate::graph::Dims;
use crate::network::ObjectId;
use crate::plan::report::Bytes;
use crate::plan::{Report, Stage};
use crate::sim::core::Core;
use crate::sim::data::Data;
use crate::sim::program::PlanKey;
use crate::sim::states::StateKey;
use crate::sim::stream::{WINDOW, check_length};

/// Programs, dispatches and memory of a run or a training step, as planned. [`fmt::Display`] writes it as text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Outline {
    /// Name of the device.
    pub device: String,
    /// Number of examples in a minibatch.
    pub minibatch: usize,
    /// Number of time steps of the run.
    pub steps: usize,
    /// Reason why a training run is cut into windows without having been set to, in a sentence.
    pub note: Option<String>,
    /// Programs of the run.
    pub parts: Vec<Part>,
    /// Number of dispatches of the whole run for one minibatch.
    pub dispatches: usize,
    /// Bytes of parameters; in training also of gradients and optimiser slots.
    pub parameter_bytes: u64,
    /// Bytes of states between windows.
    pub state_bytes: u64,
    /// Bytes of all buffers on the device.
    pub bytes: u64,
    /// Bytes on the host for the largest system of equations that is solved for decoders; 0 without one. Decoders in the cache
    /// need none.
    pub solving_bytes: u64,
}

/// Program of an [`Outline`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Part {
    /// Number of executions for one minibatch.
    pub times: usize,
    /// Stages, dispatches and memory of the program.
    pub program: Report,
}

impl Core {
    /// Outline of a run with held inputs.
    pub(crate) fn outline(&self, n_steps: usize) -> Result<Outline> {
        self.outline_held(n_steps, (0..self.network.objects.len()).map(ObjectId).collect())
    }

    /// Outline of a run with these inputs.
    pub(crate) fn outline_run(&self, inputs: &Data, n_steps: usize) -> Result<Outline> {
        self.check_run(n_steps, inputs)?;
        self.outline_held(n_steps, self.held_inputs(inputs))
    }

    /// Stages of a prediction of `n_steps` steps with held inputs.
    pub(crate) fn stages(&self, n_steps: usize) -> Result<Vec<Stage>> {
        let held = (0..self.network.objects.len()).map(ObjectId).collect();
        let dims = Dims { batch: self.minibatch, steps: n_steps };
        let key = PlanKey { dims, held, states: StateKey::Predict(dims.batch) };
        Ok(self.plan_forward(&key)?.plan.stages)
    }

    fn outline_held(&self, n_steps: usize, held: Vec<ObjectId>) -> Result<Outline> {
        check_length(n_steps)?;
        let key = |steps| {
            let dims = Dims { batch: self.minibatch, steps };
            PlanKey { dims, held: held.clone(), states: StateKey::Run }
        };
        let fixed = self.window_limit.is_some() || !self.step_by_step.is_empty();
        let most = if fixed { self.most_steps(&key(0)) } else { WINDOW };
        let (first, planned) = self.fitting_window(key(n_steps.min(most)))?;
        let (window, states) = (first.dims.steps, planned.layout.start.len());
        let mut parts = vec![Part { times: n_steps / window, program: Report::of(&planned.plan) }];
        if !n_steps.is_multiple_of(window) {
            let rest = self.plan_forward(&key(n_steps % window))?;
            parts.push(Part { times: 1, program: Report::of(&rest.plan) });
        }
        self.outlined(n_steps, parts, 4 * self.layout.floats() as u64, 2 * 4 * states as u64)
    }

    /// An outline of these parts, with the sums over them.
    pub(crate) fn outlined(
        &self,
        steps: usize,
        parts: Vec<Part>,
        parameter_bytes: u64,
        state_bytes: u64,
    ) -> Result<Outline> {
        Ok(Outline {
            solving_bytes: self.network.solving_bytes()?,
            device: self.device.name().to_string(),
            minibatch: self.minibatch,
            steps,
            note: None,
            dispatches: parts.iter().map(|p| p.times * p.program.dispatches).sum(),
            parameter_bytes,
            state_bytes,
            bytes: parameter_bytes + state_bytes + parts.iter().map(|p| p.program.bytes).sum::<u64>(),
            parts,
        })
    }
}

impl fmt::Display for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Part { times, program } in &self.parts {
            writeln!(f, "{times} x {program}")?;
        }
        let (parameters, states) = (Bytes(self.parameter_bytes), Bytes(self.state_bytes));
        self.note.iter().try_for_each(|note| writeln!(f, "{note}"))?;
        write!(
            f,
            "{} steps of {} examples on {}: {} dispatches\nbytes in all: {}, of them parameters {parameters}, states \
             {states}",
            self.steps,
            self.minibatch,
            self.device,
            self.dispatches,
            Bytes(self.bytes)
        )?;
        match self.solving_bytes {
            0 => Ok(()),
            bytes => write!(f, "\nsolving for decoders: {} of the host's memory", Bytes(bytes)),
        }
    }
}
