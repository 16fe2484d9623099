//! Objectives (losses, activity penalties and custom parts), and metrics.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::expr::Unary;
use crate::graph::Tensor;
use crate::network::Bound;
use crate::trainer::{Over, Penalty};

/// Loss between the output of a probe and its targets, as a mean over examples and steps.
///
/// A target of NaN does not count: the mean is over the targets that count, and 0 if none does. For the cross-entropy, a row
/// counts if any of its targets does.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Loss {
    /// Mean of squared errors over examples, steps and dimensions.
    MeanSquared,
    /// Mean of absolute errors over examples, steps and dimensions.
    MeanAbsolute,
    /// Huber loss (Huber 1964): quadratic up to this error, linear beyond; mean over examples, steps and dimensions. The limit is
    /// above 0.
    Huber(f32),
    /// Softmax cross-entropy of logits; mean over examples and steps. Targets are class indices (size 1, from 0) or class weights
    /// (the size of the output).
    CrossEntropy,
}

impl Loss {
    /// The loss as a scalar of the graph.
    pub fn tensor<'s>(self, output: Tensor<'s>, target: Tensor<'s>) -> Tensor<'s> {
        match self {
            Loss::MeanSquared => output.residual(target).square().mean_all(),
            Loss::MeanAbsolute => output.residual(target).abs().mean_all(),
            Loss::Huber(limit) => output.residual(target).unary(Unary::Huber(limit)).mean_all(),
            Loss::CrossEntropy => output.cross_entropy(target).mean_all(),
        }
    }
}

/// Term of an objective: a loss on a probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Name of the probe.
    pub probe: String,
    /// Loss function.
    pub loss: Loss,
    /// Factor in the objective's sum; finite.
    pub weight: f32,
    /// Steps of the run that it covers.
    pub over: Over,
}

/// Outputs, targets and parameters for a custom part of an objective, by name. An unknown name is an error of the training's
/// programs.
pub struct Terms<'s> {
    pub(crate) outputs: Bound<'s>,
    pub(crate) targets: Bound<'s>,
    pub(crate) parameters: Bound<'s>,
}

impl<'s> Terms<'s> {
    /// Output of a probe.
    pub fn output(&self, probe: &str) -> Tensor<'s> {
        self.outputs.get(probe)
    }

    /// Targets of a probe.
    pub fn target(&self, probe: &str) -> Tensor<'s> {
        self.targets.get(probe)
    }

    /// Values of a parameter.
    pub fn parameter(&self, name: &str) -> Tensor<'s> {
        self.parameters.get(name)
    }
}

/// Function of a custom part of an objective. It returns a scalar of the graph.
pub type Custom = Arc<dyn for<'a, 's> Fn(&'a Terms<'s>) -> Tensor<'s> + Send + Sync>;

/// Custom part of an objective.
#[derive(Clone)]
pub struct Part {
    /// Name for messages.
    pub name: String,
    /// Function that computes it.
    pub value: Custom,
    /// True if it is a mean over steps or does not depend on time, so that a run may be cut into windows.
    pub every_step: bool,
}

/// Objective to minimise: a sum of losses on probes, activity penalties and custom parts.
///
/// ```
/// use nengo_wgpu::train::{Loss, Objective, Over, Penalty};
///
/// let objective = Objective::new()
///     .loss("output", Loss::CrossEntropy)
///     .over(Over::Last)
///     .activity("hidden", Penalty::L2Half(1e-3));
/// assert_eq!(objective.terms[0].over, Over::Last);
/// ```
#[derive(Clone, Default)]
pub struct Objective {
    /// Losses on probes.
    pub terms: Vec<Term>,
    /// Penalties on the output of probes.
    pub activities: Vec<(String, Penalty)>,
    /// Custom parts.
    pub custom: Vec<Part>,
    /// True if [`Objective::over`] was called before the first loss.
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
    /// An objective without losses.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a loss on a probe, over every step.
    pub fn loss(self, probe: &str, loss: Loss) -> Self {
        self.weighted(probe, loss, 1.0)
    }

    /// Adds a loss on a probe, multiplied by `weight`.
    pub fn weighted(mut self, probe: &str, loss: Loss, weight: f32) -> Self {
        self.terms.push(Term { probe: probe.into(), loss, weight, over: Over::Every });
        self
    }

    /// Sets the steps that the last added loss covers; [`Over::Every`] by default. Metrics on a probe cover the same steps as
    /// the first loss on it.
    pub fn over(mut self, over: Over) -> Self {
        match self.terms.last_mut() {
            Some(term) => term.over = over,
            None => self.misplaced = true,
        }
        self
    }

    /// Adds a penalty on the output of a probe.
    pub fn activity(mut self, probe: &str, penalty: Penalty) -> Self {
        self.activities.push((probe.into(), penalty));
        self
    }

    /// Adds a custom part: a closure that computes a scalar from outputs, targets and parameters.
    ///
    /// It covers the whole run, which therefore cannot be cut into windows; see [`Objective::custom_mean`].
    pub fn custom(
        mut self,
        name: &str,
        part: impl for<'a, 's> Fn(&'a Terms<'s>) -> Tensor<'s> + Send + Sync + 'static,
    ) -> Self {
        self.custom.push(Part { name: name.into(), value: Arc::new(part), every_step: false });
        self
    }

    /// Like [`Objective::custom`], for a part that is a mean over steps or does not depend on time. The value of a run in windows
    /// is the mean over the windows, weighted by their steps.
    pub fn custom_mean(
        mut self,
        name: &str,
        part: impl for<'a, 's> Fn(&'a Terms<'s>) -> Tensor<'s> + Send + Sync + 'static,
    ) -> Self {
        self.custom.push(Part { name: name.into(), value: Arc::new(part), every_step: true });
        self
    }

    /// Steps that the metrics on a probe cover.
    pub(crate) fn over_of(&self, probe: &str) -> Over {
        self.terms.iter().find(|t| t.probe == probe).map_or(Over::Every, |t| t.over)
    }

    /// Description of a part that needs the whole run in one window, if any.
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

    /// Returns an error for an objective without a loss, and for settings out of range.
    pub(crate) fn check(&self) -> Result<()> {
        if self.terms.is_empty() && self.custom.is_empty() {
            return Err(Error::invalid("the objective", "it has no loss; give it one on a probe"));
        }
        if self.misplaced {
            return Err(Error::invalid("the objective", "over must follow the loss that it applies to"));
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

/// Metric that is reported in addition to the loss. A target of NaN does not count.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Metric {
    /// Accuracy on a probe: the share of rows whose largest output is at the target's class, 0 to 1.
    Accuracy(String),
    /// Mean absolute error on a probe.
    MeanError(String),
}

impl Metric {
    /// Share of rows of a probe whose largest output is at the target's class.
    ///
    /// ```
    /// use nengo_wgpu::train::Metric;
    ///
    /// assert_eq!(Metric::accuracy("p"), Metric::Accuracy("p".into()));
    /// ```
    pub fn accuracy(probe: &str) -> Self {
        Self::Accuracy(probe.into())
    }

    /// Mean absolute error of a probe.
    pub fn mean_error(probe: &str) -> Self {
        Self::MeanError(probe.into())
    }

    /// Its name in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Metric::Accuracy(_) => "accuracy",
            Metric::MeanError(_) => "mean_error",
        }
    }

    /// Name of the probe.
    pub fn probe(&self) -> &str {
        match self {
            Metric::Accuracy(probe) | Metric::MeanError(probe) => probe,
        }
    }

    /// The metric as a scalar of the graph; with `gaps`, targets may be NaN.
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
