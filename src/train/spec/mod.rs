//! Training as the `[train]` table of a TOML file describes it.

mod settings;

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Deserialize;

pub use settings::{ActivitySpec, BackpropName, Bytes, GroupSpec, PenaltySpec, ScheduleKind, ScheduleSpec};

use super::{Backprop, Clip, Group, Loss, Metric, Objective, Optimiser, Over, Schedule, Term, Training};
use crate::error::{Error, Result};
use crate::io::dataset::Dataset;
use crate::network::{Network, NetworkSpec, Target};
use crate::op::neuron::Spiking;
use crate::sim::{Data, EarlyStopping, Signal};
use settings::select;

/// How a network is trained.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainSpec {
    /// The node that gets the data; may be left out if the network has one input node.
    pub input: Option<String>,
    /// How often all examples are trained on.
    pub epochs: u64,
    /// Examples of a training step; 32 by default.
    #[serde(default = "minibatch")]
    pub minibatch: usize,
    /// The rate in the beginning, after the warm-up.
    pub learning_rate: f32,
    /// Steps of simulated time for each example; 1 by default.
    #[serde(default = "one")]
    pub steps: usize,
    /// What is made small: a loss on the only probe of an output, or a list of losses on probes.
    pub loss: LossSpec,
    /// What of the run the loss sees, where it is one on the only probe; see [`TermSpec::over`].
    #[serde(default)]
    pub over: Over,
    /// What is measured besides; the accuracy where a loss is the cross-entropy, if nothing is said.
    pub metrics: Option<Vec<MetricSpec>>,
    /// How parameters follow the gradient; plain gradient descent by default.
    #[serde(default = "Optimiser::sgd")]
    pub optimiser: Optimiser,
    /// How the learning rate changes; not at all by default.
    pub schedule: Option<ScheduleSpec>,
    /// Limits of the gradient.
    #[serde(default)]
    pub clip: Clip,
    /// Penalties on parameters.
    #[serde(default)]
    pub penalty: Vec<PenaltySpec>,
    /// Penalties on the output of probes.
    #[serde(default)]
    pub activity: Vec<ActivitySpec>,
    /// Parameters with a learning rate of their own.
    #[serde(default)]
    pub group: Vec<GroupSpec>,
    /// Ends the training when the validation loss no longer falls.
    pub early_stopping: Option<EarlyStopping>,
    /// Whether examples are shuffled before each epoch; true by default.
    #[serde(default = "yes")]
    pub shuffle: bool,
    /// How spikes are trained through: `"rate-swap"` by default, `{ smooth-rate-swap = WIDTH }`,
    /// `{ surrogate = { fast-sigmoid = SLOPE } }` or `{ rate-gradient = WIDTH }`.
    #[serde(default)]
    pub spiking: Spiking,
    /// How far back in time gradients go: `"full"`, `"truncated"` or `"checkpointed"`; what fits into `memory-budget` if
    /// nothing is said.
    pub backprop: Option<BackpropName>,
    /// Steps of a window of truncated or checkpointed back-propagation.
    pub window: Option<usize>,
    /// Memory that training may take on the device: bytes, or a text such as `"2 GiB"`.
    pub memory_budget: Option<Bytes>,
    /// Training steps between two looks at the penalty; 10 by default.
    #[serde(default = "ten")]
    pub report_every: usize,
}

/// One loss, or several on probes.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"cross-entropy\", \"mean-squared\", \"mean-absolute\" or { huber = LIMIT }, or a list of \
                 tables with probe and loss"
)]
pub enum LossSpec {
    /// On the only probe of an output.
    Only(Loss),
    /// On the probes that are named.
    Terms(Vec<TermSpec>),
}

/// A loss on a probe.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermSpec {
    /// The probe.
    pub probe: String,
    /// The distance to its targets.
    pub loss: Loss,
    /// Factor in the sum; 1 by default.
    #[serde(default = "whole")]
    pub weight: f32,
    /// What of the run it sees: `"every"` step (default), the `"last"` one, the `"sum"` or the `"mean"` over time.
    #[serde(default)]
    pub over: Over,
    /// What its targets are.
    pub target: Option<TargetSpec>,
}

/// What of an example a probe should give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSpec {
    /// The index of its class; what the cross-entropy takes if nothing is said.
    Class,
    /// 1 at its class and 0 elsewhere; what other losses take if nothing is said.
    OneHot,
    /// The input itself.
    Input,
}

/// A metric on the probe of the first loss, or on the probe that is named.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected \"accuracy\", \"mean-error\" or { accuracy = PROBE }")]
pub enum MetricSpec {
    /// On the probe of the first loss.
    First(MetricName),
    /// On a probe.
    On(Metric),
}

/// What a metric measures.
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
fn ten() -> usize {
    10
}
fn whole() -> f32 {
    1.0
}
fn yes() -> bool {
    true
}

impl NetworkSpec {
    /// The `[train]` table.
    ///
    /// # Errors
    /// There is none.
    pub fn train(&self) -> Result<&TrainSpec> {
        let problem = "it is missing; say there how to train: epochs, learning-rate and loss";
        self.train.as_ref().ok_or_else(|| Error::invalid("[train]", problem))
    }

    /// The node that gets the data: what `[train]` says, or the only input.
    ///
    /// # Errors
    /// A name that does not exist, no input at all, or several without a word which one.
    pub fn input_node(&self) -> Result<&str> {
        let inputs: Vec<&str> = self.node.iter().filter(|n| n.is_input()).map(|n| n.name.as_str()).collect();
        match (self.train.as_ref().and_then(|t| t.input.as_deref()), &inputs[..]) {
            (Some(name), _) if inputs.contains(&name) => Ok(name),
            (Some(name), _) => Err(Error::unknown("input node", name, inputs)),
            (None, &[only]) => Ok(only),
            (None, []) => Err(Error::invalid("the data", "no node takes them; give one a size")),
            (None, _) => {
                let problem =
                    format!("several nodes could take them ({}); say [train] input", inputs.join(", "));
                Err(Error::invalid("the data", problem))
            }
        }
    }

    /// How to train a network on so many examples.
    ///
    /// # Errors
    /// No `[train]`, settings that are missing, or a loss without a probe where there is not exactly one.
    pub fn training(&self, network: &Network, examples: usize) -> Result<Training> {
        let train = self.train()?;
        let terms = train.terms(network)?;
        let mut objective = Objective::new();
        for term in &terms {
            objective.terms.push(Term {
                probe: term.probe.clone(),
                loss: term.loss,
                weight: term.weight,
                over: term.over,
            });
        }
        for activity in &train.activity {
            let of = format!("[[train.activity]] of '{}'", activity.probe);
            for penalty in activity.penalties().on(&of)? {
                objective = objective.activity(&activity.probe, penalty);
            }
        }
        let minibatches = examples.div_ceil(train.minibatch.max(1)) as u64;
        let steps = minibatches.saturating_mul(train.epochs);
        let schedule = match &train.schedule {
            Some(schedule) => schedule.build(train.learning_rate, steps)?,
            None => Schedule::constant(train.learning_rate),
        };
        let mut training = Training::new(objective, train.learning_rate)
            .optimiser(train.optimiser)
            .schedule(schedule)
            .clip(train.clip);
        for penalty in &train.penalty {
            for one in penalty.penalties().on(&format!("[[train.penalty]] on '{}'", penalty.on))? {
                training = training.penalty(select(&penalty.on), one);
            }
        }
        for group in &train.group {
            training = training.group(Group { parameters: select(&group.on), rate: group.rate });
        }
        training.metrics = train.metrics(&terms);
        training.shuffle = train.shuffle;
        training.spiking = train.spiking;
        training.report_every = train.report_every;
        training.backprop = train.backprop()?;
        training.memory_budget = train.memory_budget.map(|b| b.0);
        Ok(training)
    }

    /// Examples as inputs and targets of the network.
    ///
    /// # Errors
    /// As [`NetworkSpec::input_node`] and [`NetworkSpec::training`]; a class that an output has no place for.
    pub fn signals(&self, network: &Network, examples: &Dataset) -> Result<(Data, Data)> {
        let train = self.train()?;
        let inputs = Data::new().with(self.input_node()?, self.input_signal(&examples.inputs)?);
        let terms = train.terms(network)?;
        let mut targets = Data::new();
        for term in &terms {
            let default =
                if term.loss == Loss::CrossEntropy { TargetSpec::Class } else { TargetSpec::OneHot };
            let values = match term.target.unwrap_or(default) {
                TargetSpec::Class => examples.targets.clone(),
                TargetSpec::Input => examples.inputs.clone(),
                TargetSpec::OneHot => one_hot(network, &term.probe, &examples.targets)?,
            };
            targets = targets.with(&term.probe, values);
        }
        for metric in train.metrics(&terms).iter().filter(|m| terms.iter().all(|t| t.probe != m.probe())) {
            targets = targets.with(metric.probe(), examples.targets.clone());
        }
        Ok((inputs, targets))
    }
}

impl NetworkSpec {
    /// What the input node is given of examples: their numbers at once, or in the node's number of steps.
    ///
    /// # Errors
    /// No input node, or examples that are not `size` numbers for each step.
    pub fn input_signal(&self, examples: &Array2<f32>) -> Result<Signal> {
        let name = self.input_node()?;
        let node = self.node.iter().find(|n| n.name == name);
        let Some((size, steps)) = node.and_then(|n| Some((n.size?, n.steps?))) else {
            return Ok(examples.clone().into());
        };
        let shape = (examples.nrows(), steps, size);
        let split = examples.as_standard_layout().into_owned().into_shape_with_order(shape);
        split.map(Signal::from).map_err(|_| {
            let node = format!("node '{name}'");
            let wanted = format!("{steps} steps of {size} numbers");
            Error::shape(node, wanted, "an example of the data", format!("{} numbers", examples.ncols()))
        })
    }

    /// Random inputs between -1 and 1 for each input node, and targets that fit the losses and metrics of `[train]`: for
    /// checks of a network without data.
    ///
    /// # Errors
    /// As [`NetworkSpec::training`].
    pub fn random_signals(&self, network: &Network, examples: usize) -> Result<(Data, Data)> {
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed);
        let mut uniform =
            |size: usize| Array2::from_shape_simple_fn((examples, size), || 2.0 * rng.random::<f32>() - 1.0);
        let mut inputs = Data::new();
        for node in self.node.iter().filter(|n| n.is_input()) {
            inputs = inputs.with(&node.name, uniform(node.size.unwrap_or(1)));
        }
        let train = self.train()?;
        let terms = train.terms(network)?;
        let mut targets = Data::new();
        for term in &terms {
            let size = output_size(network, &term.probe)?;
            let class = matches!(term.target, None | Some(TargetSpec::Class));
            let values = uniform(size);
            let values = if term.loss == Loss::CrossEntropy && class { classes(&values) } else { values };
            targets = targets.with(&term.probe, values);
        }
        for metric in train.metrics(&terms).iter().filter(|m| terms.iter().all(|t| t.probe != m.probe())) {
            targets = targets.with(metric.probe(), uniform(output_size(network, metric.probe())?));
        }
        Ok((inputs, targets))
    }
}

/// The column of the largest element of each row.
fn classes(rows: &Array2<f32>) -> Array2<f32> {
    let largest = |row: ndarray::ArrayView1<'_, f32>| {
        let place = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        place.map_or(0.0, |(i, _)| i as f32)
    };
    rows.map_axis(ndarray::Axis(1), largest).insert_axis(ndarray::Axis(1))
}

fn output_size(network: &Network, probe: &str) -> Result<usize> {
    match &network.probes[network.find_probe(probe)?.0].target {
        Target::Output(object, _) | Target::Input(object) => network.size_out(*object),
        _ => {
            let problem = "a loss compares what an object gives or gets; a state, a parameter or a signal of a learning \
                           rule has no targets";
            Err(Error::invalid(format!("probe '{probe}'"), problem))
        }
    }
}

/// A row for each example with 1 at its class.
fn one_hot(network: &Network, probe: &str, classes: &Array2<f32>) -> Result<Array2<f32>> {
    let size = output_size(network, probe)?;
    let mut rows = Array2::zeros((classes.nrows(), size));
    for (mut row, &class) in rows.rows_mut().into_iter().zip(classes) {
        let problem = || format!("they hold the class {class}, but it has {size} dimensions");
        *row.get_mut(class as usize)
            .ok_or_else(|| Error::invalid(format!("the targets of probe '{probe}'"), problem()))? = 1.0;
    }
    Ok(rows)
}

impl TrainSpec {
    fn terms(&self, network: &Network) -> Result<Vec<TermSpec>> {
        let loss = match &self.loss {
            LossSpec::Terms(_) if self.over != Over::Every => {
                let problem = "it is for a loss on the only probe; say over in each [[train.loss]]";
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
                 say [[train.loss]] with probe and loss"
            );
            return Err(Error::invalid("[train] loss", problem));
        };
        Ok(vec![TermSpec { probe: probe.into(), loss, weight: 1.0, over: self.over, target: None }])
    }

    fn backprop(&self) -> Result<Option<Backprop>> {
        let needed = || {
            let problem =
                "it is missing; truncated and checkpointed back-propagation need its number of steps";
            self.window.ok_or_else(|| Error::invalid("[train] window", problem))
        };
        Ok(match self.backprop {
            Some(BackpropName::Truncated) => Some(Backprop::Truncated(needed()?)),
            Some(BackpropName::Checkpointed) => Some(Backprop::Checkpointed(needed()?)),
            _ if self.window.is_some() => {
                let problem = "it is for backprop = \"truncated\" or \"checkpointed\"; say one of them";
                return Err(Error::invalid("[train] window", problem));
            }
            Some(BackpropName::Full) => Some(Backprop::Full),
            None => None,
        })
    }

    fn metrics(&self, terms: &[TermSpec]) -> Vec<Metric> {
        let first = terms.first().map(|t| t.probe.clone()).unwrap_or_default();
        match &self.metrics {
            None => {
                let classes = terms.iter().filter(|t| t.loss == Loss::CrossEntropy);
                classes.map(|t| Metric::Accuracy(t.probe.clone())).collect()
            }
            Some(metrics) => metrics
                .iter()
                .map(|metric| match metric {
                    MetricSpec::First(MetricName::Accuracy) => Metric::Accuracy(first.clone()),
                    MetricSpec::First(MetricName::MeanError) => Metric::MeanError(first.clone()),
                    MetricSpec::On(metric) => metric.clone(),
                })
                .collect(),
        }
    }
}
