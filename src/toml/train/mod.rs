//! `[train]`: training settings.

mod settings;

use serde::Deserialize;

pub use settings::{ActivitySpec, BackpropName, Bytes, GroupSpec, PenaltySpec, ScheduleKind, ScheduleSpec};

use crate::error::{Error, Result};
use crate::network::{Network, Target};
use crate::neuron::Spiking;
use crate::optim::{Clip, Optimiser, Schedule};
use crate::trainer::EarlyStopping;
use crate::trainer::{Backprop, Group, Loss, Metric, Objective, Over, Term, Training};
use settings::select;

/// Training settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainSpec {
    /// Node that receives the data; optional if the network has one input node.
    pub input: Option<String>,
    /// Number of passes over all examples, at least 1.
    pub epochs: u64,
    /// Examples per training step; 32 by default.
    #[serde(default = "minibatch")]
    pub minibatch: usize,
    /// Learning rate after the warm-up.
    pub learning_rate: f32,
    /// Time steps per example; 1 by default.
    #[serde(default = "one")]
    pub steps: usize,
    /// Objective to minimise: a loss on the only probe of an output, or a list of losses on probes.
    pub loss: LossSpec,
    /// Reduction over time of a loss on the only probe; see [`TermSpec::over`].
    #[serde(default)]
    pub over: Over,
    /// Metrics; by default the accuracy if a loss is the cross-entropy, else none.
    pub metrics: Option<Vec<MetricSpec>>,
    /// Optimiser; plain gradient descent by default.
    #[serde(default = "Optimiser::sgd")]
    pub optimiser: Optimiser,
    /// Schedule of the learning rate; constant by default.
    pub schedule: Option<ScheduleSpec>,
    /// Limits on the gradient; none by default.
    #[serde(default)]
    pub clip: Clip,
    /// Penalties on parameters.
    #[serde(default)]
    pub penalty: Vec<PenaltySpec>,
    /// Penalties on the output of probes.
    #[serde(default)]
    pub activity: Vec<ActivitySpec>,
    /// Parameter groups with a learning rate of their own.
    #[serde(default)]
    pub group: Vec<GroupSpec>,
    /// Stops training early when the validation loss no longer falls; off by default.
    pub early_stopping: Option<EarlyStopping>,
    /// Shuffle the examples before each epoch; true by default.
    #[serde(default = "yes")]
    pub shuffle: bool,
    /// Method to train through spikes: `"rate-swap"` by default, `{ smooth-rate-swap = WIDTH }`,
    /// `{ surrogate = { fast-sigmoid = SLOPE } }` or `{ soft-lif = WIDTH }`, also called `rate-gradient`.
    #[serde(default)]
    pub spiking: Spiking,
    /// Reach of gradients back in time: `"full"`, `"truncated"` or `"checkpointed"`; by default the one that fits into
    /// `memory-budget`.
    pub backprop: Option<BackpropName>,
    /// Steps per window of truncated or checkpointed back-propagation.
    pub window: Option<usize>,
    /// Device memory that training may use: bytes, or a text such as `"2 GiB"`.
    pub memory_budget: Option<Bytes>,
    /// Training steps between reports of the parameter penalty; 1 by default, see [`Training::report_every`].
    #[serde(default = "one")]
    pub report_every: usize,
}

/// A single loss, or a list of losses on probes.
#[derive(Clone, Debug, Deserialize)]
pub enum LossSpec {
    /// A loss on the only probe of an output.
    #[serde(rename = "$name:a loss")]
    Only(Loss),
    /// Losses on named probes.
    #[serde(rename = "$list:a list of tables with probe and loss")]
    Terms(Vec<TermSpec>),
}

/// A loss on a probe.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermSpec {
    /// Name of the probe.
    pub probe: String,
    /// Loss function.
    pub loss: Loss,
    /// Factor in the sum of losses; 1 by default.
    #[serde(default = "whole")]
    pub weight: f32,
    /// Reduction over time: `"every"` step (the default), the `"last"` step, the `"sum"` or the `"mean"`.
    #[serde(default)]
    pub over: Over,
    /// Targets; by default as [`TargetSpec`] says.
    pub target: Option<TargetSpec>,
}

/// Targets of a loss, made from an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSpec {
    /// Index of the class; the default of the cross-entropy for data with classes.
    Class,
    /// 1 at the class and 0 elsewhere; the default of other losses for data with classes.
    OneHot,
    /// Numbers of `[data] targets`, constant or with a row per step; the default of every loss for data with numbers.
    Numbers,
    /// The input itself, constant or step by step as the node gets it.
    Input,
}

impl TargetSpec {
    /// Name in a file.
    pub(super) fn name(self) -> &'static str {
        match self {
            TargetSpec::Class => "\"class\"",
            TargetSpec::OneHot => "\"one-hot\"",
            TargetSpec::Numbers => "\"numbers\"",
            TargetSpec::Input => "\"input\"",
        }
    }
}

/// A metric on the probe of the first loss, or on a named probe.
#[derive(Clone, Debug, Deserialize)]
pub enum MetricSpec {
    /// A metric on the probe of the first loss.
    #[serde(rename = "$text:the name of a metric")]
    First(MetricName),
    /// A metric on a named probe.
    #[serde(rename = "$table:a table as { accuracy = PROBE }")]
    On(Metric),
}

/// Name of a metric.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricName {
    /// Share of rows whose largest output is at the target's class.
    Accuracy,
    /// Mean absolute error.
    MeanError,
}

fn minibatch() -> usize {
    32
}
fn one() -> usize {
    1
}
fn whole() -> f32 {
    1.0
}
fn yes() -> bool {
    true
}

impl TrainSpec {
    /// The training settings for a network and a number of examples.
    pub(super) fn training(&self, network: &Network, examples: usize) -> Result<Training> {
        if self.epochs == 0 {
            return Err(Error::invalid("[train] epochs", "it is 0, but must be at least 1"));
        }
        let terms = self.terms(network)?;
        let mut objective = Objective::new();
        for term in &terms {
            objective.terms.push(Term {
                probe: term.probe.clone(),
                loss: term.loss,
                weight: term.weight,
                over: term.over,
            });
        }
        for activity in &self.activity {
            let what = format!("[[train.activity]] of '{}'", activity.probe);
            for penalty in activity.penalties().on(&what)? {
                objective = objective.activity(&activity.probe, penalty);
            }
        }
        let minibatches = examples.div_ceil(self.minibatch.max(1)) as u64;
        let steps = minibatches.saturating_mul(self.epochs);
        let schedule = match &self.schedule {
            Some(schedule) => schedule.build(self.learning_rate, steps)?,
            None => Schedule::constant(self.learning_rate),
        };
        let mut training = Training::new(objective, self.learning_rate)
            .optimiser(self.optimiser)
            .schedule(schedule)
            .clip(self.clip);
        for penalty in &self.penalty {
            for one in penalty.penalties().on(&format!("[[train.penalty]] on '{}'", penalty.on))? {
                training = training.penalty(select(&penalty.on), one);
            }
        }
        for group in &self.group {
            training = training.group(Group { parameters: select(&group.on), rate: group.rate });
        }
        training.metrics = self.metrics(&terms);
        training.shuffle = self.shuffle;
        training.spiking = self.spiking;
        training.report_every = self.report_every;
        training.backprop = self.backprop()?;
        training.memory_budget = self.memory_budget.map(|b| b.0);
        Ok(training)
    }

    pub(super) fn terms(&self, network: &Network) -> Result<Vec<TermSpec>> {
        let loss = match &self.loss {
            LossSpec::Terms(_) if self.over != Over::Every => {
                let problem = "it is for a loss on the only probe; set over in each [[train.loss]]";
                return Err(Error::invalid("[train] over", problem));
            }
            LossSpec::Terms(terms) => return Ok(terms.clone()),
            LossSpec::Only(loss) => *loss,
        };
        let outputs = network.probes.iter().filter(|p| matches!(p.target, Target::Output(..)));
        let outputs: Vec<&str> = outputs.map(|p| p.name.as_str()).collect();
        let [probe] = outputs[..] else {
            let there = if outputs.is_empty() { "none".into() } else { outputs.join(", ") };
            let problem = format!(
                "it needs exactly one probe of an object's output, but there is: {there}; \
                 use [[train.loss]] with probe and loss"
            );
            return Err(Error::invalid("[train] loss", problem));
        };
        Ok(vec![TermSpec { probe: probe.into(), loss, weight: 1.0, over: self.over, target: None }])
    }

    fn backprop(&self) -> Result<Option<Backprop>> {
        let needed = || {
            let problem =
                "it is missing; truncated and checkpointed back-propagation need the steps of a window";
            self.window.ok_or_else(|| Error::invalid("[train] window", problem))
        };
        Ok(match self.backprop {
            Some(BackpropName::Truncated) => Some(Backprop::Truncated(needed()?)),
            Some(BackpropName::Checkpointed) => Some(Backprop::Checkpointed(needed()?)),
            _ if self.window.is_some() => {
                let problem = "it is for backprop = \"truncated\" or \"checkpointed\"; set one of them";
                return Err(Error::invalid("[train] window", problem));
            }
            Some(BackpropName::Full) => Some(Backprop::Full),
            None => None,
        })
    }

    pub(super) fn metrics(&self, terms: &[TermSpec]) -> Vec<Metric> {
        let first = terms.first().map(|t| t.probe.clone()).unwrap_or_default();
        match &self.metrics {
            None => {
                let classes = terms.iter().filter(|t| t.loss == Loss::CrossEntropy);
                classes.map(|t| Metric::Accuracy(t.probe.clone())).collect()
            }
            Some(metrics) => {
                let each = metrics.iter().map(|metric| match metric {
                    MetricSpec::First(MetricName::Accuracy) => Metric::Accuracy(first.clone()),
                    MetricSpec::First(MetricName::MeanError) => Metric::MeanError(first.clone()),
                    MetricSpec::On(metric) => metric.clone(),
                });
                // A metric that is listed twice is measured once.
                each.fold(Vec::new(), |mut all, metric| {
                    all.extend((!all.contains(&metric)).then_some(metric));
                    all
                })
            }
        }
    }
}
