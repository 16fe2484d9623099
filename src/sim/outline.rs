//! What a run or a training does and costs, before anything is allocated.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::network::ObjectId;
use crate::plan::Report;
use crate::plan::report::Bytes;
use crate::sim::core::Core;
use crate::sim::data::Data;
use crate::sim::program::PlanKey;
use crate::sim::states::StateKey;

/// What a run or a training step does and costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outline {
    /// The device.
    pub device: String,
    /// Examples at once.
    pub minibatch: usize,
    /// Steps of the run.
    pub steps: usize,
    /// Why a training run is cut into windows that nobody asked for, in a sentence.
    pub note: Option<String>,
    /// Programs that are run, each as often as it says.
    pub parts: Vec<Part>,
    /// Dispatches of the whole run for one minibatch.
    pub dispatches: usize,
    /// Bytes of parameters, and in training of their gradients and the optimiser's slots.
    pub parameter_bytes: u64,
    /// Bytes of states that are carried from window to window.
    pub state_bytes: u64,
    /// Bytes of all buffers on the device.
    pub bytes: u64,
    /// Bytes on the host for the largest system that decoders are solved from when a simulator is made; 0 where none is. What
    /// is found in the cache takes none.
    pub solving_bytes: u64,
}

/// A program of an [`Outline`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// How often it is run for one minibatch.
    pub times: usize,
    /// What it does.
    pub program: Report,
}

impl Core {
    /// What a run of `n_steps` steps from here does and costs, with held inputs.
    pub(crate) fn outline(&self, n_steps: usize) -> Result<Outline> {
        self.outline_held(n_steps, (0..self.network.objects.len()).map(ObjectId).collect())
    }

    /// What a run of `n_steps` steps from here does and costs, with inputs that are held or have steps as these.
    pub(crate) fn outline_run(&self, inputs: &Data, n_steps: usize) -> Result<Outline> {
        self.check_run(n_steps, inputs)?;
        self.outline_held(n_steps, self.held_inputs(inputs))
    }

    fn outline_held(&self, n_steps: usize, held: Vec<ObjectId>) -> Result<Outline> {
        if n_steps == 0 {
            return Err(Error::invalid("the length of a run", "it is 0 steps, but must be at least 1"));
        }
        let key = |steps| {
            let dims = Dims { batch: self.minibatch, steps };
            PlanKey { dims, held: held.clone(), states: StateKey::Run }
        };
        let fixed = self.window_limit.is_some() || !self.step_by_step.is_empty();
        let most = if fixed { self.most_steps(&key(0)) } else { crate::sim::stream::WINDOW };
        let (first, planned) = self.fitting_window(key(n_steps.min(most)))?;
        let (window, states) = (first.dims.steps, planned.layout.start.len());
        let mut parts = vec![Part { times: n_steps / window, program: Report::of(&planned.plan) }];
        if !n_steps.is_multiple_of(window) {
            let rest = self.plan_forward(&key(n_steps % window))?;
            parts.push(Part { times: 1, program: Report::of(&rest.plan) });
        }
        self.outlined(n_steps, parts, 4 * self.layout.floats() as u64, 2 * 4 * states as u64)
    }

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
