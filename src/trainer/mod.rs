//! Training: its settings (objective, penalties, optimiser, schedule), and the programs and loops that carry them out.

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
mod prepare;
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

/// Settings of a training, for [`Simulator::compile`](crate::Simulator::compile).
///
/// ```
/// use nengo_wgpu::train::{Loss, Objective, Optimiser, Penalty, Select, Training};
///
/// let objective = Objective::new().loss("p", Loss::MeanSquared);
/// let training = Training::new(objective, 0.01)
///     .optimiser(Optimiser::adam())
///     .penalty(Select::Weights, Penalty::L2Half(1e-4));
/// assert!(training.shuffle);
/// ```
#[derive(Clone, Debug)]
pub struct Training {
    /// Objective to minimise.
    pub objective: Objective,
    /// Optimiser; [`Optimiser::sgd`] by default.
    pub optimiser: Optimiser,
    /// Learning rate over the optimiser steps; constant by default.
    pub schedule: Schedule,
    /// Gradient clipping; [`Clip::None`] by default.
    pub clip: Clip,
    /// Penalties on parameters; none by default.
    pub penalties: Vec<(Select, Penalty)>,
    /// Parameters with a learning rate of their own, or frozen; none by default.
    pub groups: Vec<Group>,
    /// Metrics in addition to the loss; none by default.
    pub metrics: Vec<Metric>,
    /// Steps between two reports of the penalty on parameters, from the first step of each epoch; at least 1, the default. An
    /// epoch's penalty is the mean of these reports.
    pub report_every: usize,
    /// True if examples are shuffled before each epoch, with the simulator's seed; the default.
    pub shuffle: bool,
    /// Gradient of spiking neurons; [`Spiking::default`] by default.
    pub spiking: Spiking,
    /// Back-propagation through time. If `None`, the default, through the whole run if that fits into memory, else
    /// [`Backprop::Checkpointed`] with the largest window that fits.
    pub backprop: Option<Backprop>,
    /// Bytes that training may take on the device, including parameters and optimiser. If `None`, the default, there is no
    /// limit, or three quarters of the memory of the machine for devices that share it.
    pub memory_budget: Option<u64>,
}

impl Training {
    /// Returns an error for settings that are out of range in any network.
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

    /// Number of losses on probes and custom parts.
    pub(crate) fn losses(&self) -> usize {
        self.objective.terms.len() + self.objective.custom.len()
    }

    /// Number of scalars in the report, one on each line: losses, custom parts, the activity penalty, metrics.
    pub(crate) fn scalars(&self) -> usize {
        self.losses() + usize::from(!self.objective.activities.is_empty()) + self.metrics.len()
    }

    /// Stochastic gradient descent on an objective, with a constant learning rate and the defaults above.
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

    /// Sets the optimiser.
    pub fn optimiser(mut self, optimiser: Optimiser) -> Self {
        self.optimiser = optimiser;
        self
    }

    /// Sets the learning rate's schedule, in place of the constant rate.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Sets gradient clipping.
    pub fn clip(mut self, clip: Clip) -> Self {
        self.clip = clip;
        self
    }

    /// Adds a penalty on parameters.
    pub fn penalty(mut self, on: Select, penalty: Penalty) -> Self {
        self.penalties.push((on, penalty));
        self
    }

    /// Adds a group of parameters with a learning rate of their own.
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// Adds a metric.
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metrics.push(metric);
        self
    }

    /// Sets the gradient of spiking neurons.
    pub fn spiking(mut self, spiking: Spiking) -> Self {
        self.spiking = spiking;
        self
    }

    /// Sets back-propagation through time.
    pub fn backprop(mut self, backprop: Backprop) -> Self {
        self.backprop = Some(backprop);
        self
    }

    /// Sets the limit of memory on the device, in bytes.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = Some(bytes);
        self
    }

    /// Turns shuffling off.
    pub fn in_order(mut self) -> Self {
        self.shuffle = false;
        self
    }
}
