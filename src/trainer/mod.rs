//! How a network is trained: objective, penalties, optimiser, schedule. Plain data; the simulator carries it out.

mod backprop;
mod best;
mod checkpoint;
mod compile;
pub(crate) mod compiled;
mod decode;
mod fit;
mod gradient_accumulator;
mod gradient_check;
mod group;
mod idle;
mod judge;
mod key;
mod losses;
mod memory;
mod minibatch;
mod objective;
mod outline;
mod reports;
mod resume;
mod sizes;
mod stopping;
mod targets;
pub(crate) mod trained;
mod update;
mod windows;
mod words;

pub use backprop::{Backprop, Over};
pub use gradient_check::CheckedGradient;
pub(crate) use group::Roles;
pub use group::{Group, Select};
pub use judge::Verdict;
pub use memory::MemoryEstimate;
pub use objective::{Loss, Metric, Objective, Part, Term, Terms};
pub use reports::{EarlyStopping, EpochReport, Evaluation, Fit, Progress, StepReport};
pub(crate) use words::{Words, written, written_kind};

use crate::error::{Error, Result};
use crate::neuron::Spiking;
use crate::optim::{Clip, Optimiser, Penalty, Schedule};

/// Everything that [`crate::Simulator::compile`] needs.
#[derive(Clone, Debug)]
pub struct Training {
    /// What is made small.
    pub objective: Objective,
    /// How parameters follow the gradient.
    pub optimiser: Optimiser,
    /// The learning rate over the steps.
    pub schedule: Schedule,
    /// Limits of the gradient.
    pub clip: Clip,
    /// Penalties on parameters.
    pub penalties: Vec<(Select, Penalty)>,
    /// Parameters with a learning rate of their own, or frozen.
    pub groups: Vec<Group>,
    /// What is measured besides.
    pub metrics: Vec<Metric>,
    /// Steps between two looks at the penalty on parameters, of which each epoch begins with one; 1 by default, so that an
    /// epoch's penalty is the mean over its steps. With more it is the mean of the looks.
    pub report_every: usize,
    /// Whether examples are shuffled before each epoch, by the simulator's seed.
    pub shuffle: bool,
    /// How spikes are trained through.
    pub spiking: Spiking,
    /// How far back in time gradients go. Without it, through the whole run if that fits into `memory_budget`, else
    /// [`Backprop::Checkpointed`] with the largest window that does.
    pub backprop: Option<Backprop>,
    /// Bytes that training may take on the device, parameters and optimiser included; no limit if not given.
    pub memory_budget: Option<u64>,
}

impl Training {
    /// Refuses settings that make no sense in any network.
    pub(crate) fn check(&self) -> Result<()> {
        self.objective.check()?;
        self.optimiser.check()?;
        self.schedule.check()?;
        self.clip.check()?;
        self.spiking.check()?;
        if let Some(backprop) = self.backprop {
            backprop.check()?;
        }
        if self.report_every == 0 {
            return Err(Error::invalid("report-every", "it is 0, but must be at least 1"));
        }
        Ok(())
    }

    /// Losses on probes and custom parts.
    pub(crate) fn losses(&self) -> usize {
        self.objective.terms.len() + self.objective.custom.len()
    }

    /// Floats on lines of their own in the report: loss terms, custom parts, activity penalties, metrics.
    pub(crate) fn scalars(&self) -> usize {
        self.losses() + usize::from(!self.objective.activities.is_empty()) + self.metrics.len()
    }

    /// Gradient descent on an objective with a constant learning rate.
    pub fn new(objective: Objective, learning_rate: f32) -> Self {
        Self {
            objective,
            optimiser: Optimiser::sgd(),
            schedule: Schedule::constant(learning_rate),
            clip: Clip::None,
            penalties: Vec::new(),
            groups: Vec::new(),
            metrics: Vec::new(),
            report_every: 1,
            shuffle: true,
            spiking: Spiking::default(),
            backprop: None,
            memory_budget: None,
        }
    }

    /// With another optimiser.
    pub fn optimiser(mut self, optimiser: Optimiser) -> Self {
        self.optimiser = optimiser;
        self
    }

    /// With a learning rate that changes.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// With a limit of the gradient.
    pub fn clip(mut self, clip: Clip) -> Self {
        self.clip = clip;
        self
    }

    /// With a penalty on parameters.
    pub fn penalty(mut self, on: Select, penalty: Penalty) -> Self {
        self.penalties.push((on, penalty));
        self
    }

    /// With a group of parameters that are trained in their own way.
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// With a metric.
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metrics.push(metric);
        self
    }

    /// With another way to train through spikes.
    pub fn spiking(mut self, spiking: Spiking) -> Self {
        self.spiking = spiking;
        self
    }

    /// With gradients that go so far back in time.
    pub fn backprop(mut self, backprop: Backprop) -> Self {
        self.backprop = Some(backprop);
        self
    }

    /// With a limit of the memory on the device, in bytes.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = Some(bytes);
        self
    }

    /// Without shuffling.
    pub fn in_order(mut self) -> Self {
        self.shuffle = false;
        self
    }
}
