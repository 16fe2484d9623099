//! What training makes small, and what is measured besides.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::expr::Unary;
use crate::graph::Tensor;
use crate::network::Bound;

use crate::trainer::{Over, Penalty};

/// A distance between outputs and targets. A target of NaN does not count: each loss is the mean over those that do, and 0 where
/// none does. Of the cross-entropy a row counts if one of its targets does.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Mean of squares over examples, steps and dimensions.
    MeanSquared,
    /// Mean of absolute values.
    MeanAbsolute,
    /// Squares up to this distance, straight lines from there on (Huber 1964); their mean.
    Huber(f32),
    /// Softmax cross-entropy of logits with class indices or class weights; mean over examples and steps.
    CrossEntropy,
}

impl Loss {
    /// The loss as one number.
    pub fn tensor<'s>(self, output: Tensor<'s>, target: Tensor<'s>) -> Tensor<'s> {
        match self {
            Loss::MeanSquared => output.residual(target).square().mean_all(),
            Loss::MeanAbsolute => output.residual(target).abs().mean_all(),
            Loss::Huber(limit) => output.residual(target).unary(Unary::Huber(limit)).mean_all(),
            Loss::CrossEntropy => output.cross_entropy(target).mean_all(),
        }
    }
}

/// A loss on a probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Name of the probe.
    pub probe: String,
    /// The distance to its targets.
    pub loss: Loss,
    /// Factor in the sum.
    pub weight: f32,
    /// What of the run it sees.
    pub over: Over,
}

/// Outputs, targets and parameters of a custom objective, by name.
pub struct Terms<'s> {
    pub(crate) outputs: Bound<'s>,
    pub(crate) targets: Bound<'s>,
    pub(crate) parameters: Bound<'s>,
}

impl<'s> Terms<'s> {
    /// The output of a probe.
    pub fn output(&self, probe: &str) -> Tensor<'s> {
        self.outputs.get(probe)
    }

    /// The targets of a probe.
    pub fn target(&self, probe: &str) -> Tensor<'s> {
        self.targets.get(probe)
    }

    /// A parameter.
    pub fn parameter(&self, name: &str) -> Tensor<'s> {
        self.parameters.get(name)
    }
}

/// A custom part of an objective: any scalar of the graph.
pub type Custom = Arc<dyn for<'a, 's> Fn(&'a Terms<'s>) -> Tensor<'s> + Send + Sync>;

/// A custom part of an objective with its name.
#[derive(Clone)]
pub struct Part {
    /// For messages.
    pub name: String,
    /// What it computes.
    pub value: Custom,
    /// It is a mean over steps, or does not depend on time: of a run in windows it is the windows' mean.
    pub every_step: bool,
}

/// A sum of losses on probes, penalties on activities, and custom parts.
#[derive(Clone, Default)]
pub struct Objective {
    /// Losses on probes.
    pub terms: Vec<Term>,
    /// Penalties on the output of probes.
    pub activities: Vec<(String, Penalty)>,
    /// Parts of the user's own.
    pub custom: Vec<Part>,
    /// [`Objective::over`] was called before there was a loss.
    misplaced: bool,
}

impl fmt::Debug for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let custom: Vec<&String> = self.custom.iter().map(|part| &part.name).collect();
        f.debug_struct("Objective")
            .field("terms", &self.terms)
            .field("activities", &self.activities)
            .field("custom", &custom)
            .finish()
    }
}

impl Objective {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a loss on a probe.
    pub fn loss(self, probe: &str, loss: Loss) -> Self {
        self.weighted(probe, loss, 1.0)
    }

    /// With a loss on a probe, times a factor.
    pub fn weighted(mut self, probe: &str, loss: Loss, weight: f32) -> Self {
        self.terms.push(Term { probe: probe.into(), loss, weight, over: Over::Every });
        self
    }

    /// With the last loss seeing this of the run, and no longer every step. Metrics see of a probe what the first loss on it
    /// sees.
    pub fn over(mut self, over: Over) -> Self {
        match self.terms.last_mut() {
            Some(term) => term.over = over,
            None => self.misplaced = true,
        }
        self
    }

    /// With a penalty on the output of a probe.
    pub fn activity(mut self, probe: &str, penalty: Penalty) -> Self {
        self.activities.push((probe.into(), penalty));
        self
    }

    /// With a part of the user's own: a closure that gives one number from outputs, targets and parameters.
    ///
    /// It sees the whole run, which therefore cannot be cut into windows; see [`Objective::custom_mean`].
    pub fn custom(
        mut self,
        name: &str,
        part: impl for<'a, 's> Fn(&'a Terms<'s>) -> Tensor<'s> + Send + Sync + 'static,
    ) -> Self {
        self.custom.push(Part { name: name.into(), value: Arc::new(part), every_step: false });
        self
    }

    /// Like [`Objective::custom`], for a part that is a mean over steps or does not depend on time: the value of a run in
    /// windows is the mean of theirs, by their steps.
    pub fn custom_mean(
        mut self,
        name: &str,
        part: impl for<'a, 's> Fn(&'a Terms<'s>) -> Tensor<'s> + Send + Sync + 'static,
    ) -> Self {
        self.custom.push(Part { name: name.into(), value: Arc::new(part), every_step: true });
        self
    }

    /// What of the run the metrics of a probe see.
    pub(crate) fn over_of(&self, probe: &str) -> Over {
        self.terms.iter().find(|t| t.probe == probe).map_or(Over::Every, |t| t.over)
    }

    /// A part that needs all steps together, in words.
    pub(crate) fn needs_whole(&self) -> Option<String> {
        let term = self.terms.iter().find(|t| t.over.whole());
        let custom = self.custom.iter().find(|p| !p.every_step);
        let of_term =
            |t: &Term| format!("the loss of probe '{}' sees the {} over time", t.probe, t.over.name());
        let of_custom = |p: &Part| {
            format!(
                "the objective '{}' sees the whole run (if it is a mean over steps, use custom_mean)",
                p.name
            )
        };
        term.map(of_term).or_else(|| custom.map(of_custom))
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.terms.is_empty() && self.custom.is_empty() {
            return Err(Error::invalid("the objective", "it has no loss; give it one on a probe"));
        }
        if self.misplaced {
            return Err(Error::invalid("the objective", "over comes after the loss that it is about"));
        }
        for term in &self.terms {
            let what = format!("the loss on probe '{}'", term.probe);
            if !term.weight.is_finite() {
                return Err(Error::invalid(what, format!("its weight is {}", term.weight)));
            }
            if let Loss::Huber(limit) = term.loss
                && !(limit.is_finite() && limit > 0.0)
            {
                return Err(Error::invalid(what, format!("its limit is {limit}, but must be above 0")));
            }
        }
        for (probe, penalty) in &self.activities {
            let what = format!("the penalty on probe '{probe}'");
            penalty.check(&what)?;
            if matches!(penalty, Penalty::Decoupled(_)) {
                let problem = "decoupled decay is for parameters; choose another penalty";
                return Err(Error::invalid(what, problem));
            }
        }
        Ok(())
    }
}

/// What is measured besides the loss.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Share of rows whose largest output is at the target's class.
    Accuracy(String),
    /// Mean absolute error of a probe.
    MeanError(String),
}

impl Metric {
    /// Its name in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Metric::Accuracy(_) => "accuracy",
            Metric::MeanError(_) => "mean_error",
        }
    }

    pub(crate) fn probe(&self) -> &str {
        match self {
            Metric::Accuracy(probe) | Metric::MeanError(probe) => probe,
        }
    }

    /// The metric as one number; with `gaps`, targets may be NaN.
    pub(crate) fn tensor<'s>(&self, output: Tensor<'s>, target: Tensor<'s>, gaps: bool) -> Tensor<'s> {
        match self {
            Metric::Accuracy(_) if gaps => {
                let (zero, one) = (output.scope.constant(0.0), output.scope.constant(1.0));
                let (known, filled) = (target.unary(Unary::NotNan), zero.residual(target).scale(-1.0));
                (output.is_class(filled) * known.sum_cols().min(one)).mean_all()
            }
            Metric::Accuracy(_) => output.is_class(target).mean_all(),
            Metric::MeanError(_) => Loss::MeanAbsolute.tensor(output, target),
        }
    }
}
