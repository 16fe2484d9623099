//! Settings of learning rate schedules, penalties and parameter groups in `[train]`.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::optim::{Decay, Penalty, Schedule};
use crate::trainer::Select;

/// Schedule of the learning rate over training steps.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ScheduleSpec {
    /// Kind of schedule; may replace the whole table.
    #[serde(default, alias = "$short")]
    pub kind: ScheduleKind,
    /// Training steps per reduction; required for `step` and `exponential`.
    pub every: Option<u64>,
    /// Factor per reduction; required for `step` and `exponential`.
    pub factor: Option<f64>,
    /// Training steps until `cosine` reaches its floor; all steps after the warm-up by default.
    pub steps: Option<u64>,
    /// Share of the rate that `cosine` ends at; 0 by default.
    pub floor: Option<f64>,
    /// Training steps of linear warm-up from zero; 0 by default.
    #[serde(default)]
    pub warm_up: u64,
}

/// Kind of schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Constant rate.
    #[default]
    Constant,
    /// Multiplies the rate by `factor` after every `every` steps.
    Step,
    /// Multiplies the rate by `factor` over each `every` steps, smoothly.
    Exponential,
    /// Half a cosine from the rate to its floor.
    Cosine,
}

/// Penalties on parameters; all that are given are added. Each value is a strength s.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PenaltySpec {
    /// Parameters: `"weights"`, `"biases"`, `"all"` or the name of one.
    pub on: String,
    /// Penalty s·ΣW²/2.
    pub l2_half: Option<f32>,
    /// Penalty s·ΣW².
    pub l2_sum: Option<f32>,
    /// Penalty s·Σ∣W∣.
    pub l1: Option<f32>,
    /// Penalty s·‖W‖₂.
    pub norm: Option<f32>,
    /// Decoupled weight decay, which shrinks weights separately from the gradient.
    pub decoupled: Option<f32>,
}

/// Penalties on the output of a probe; all that are given are added. Each value is a strength s.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ActivitySpec {
    /// Name of the probe.
    pub probe: String,
    /// Penalty s·Σx²/2.
    pub l2_half: Option<f32>,
    /// Penalty s·Σx².
    pub l2_sum: Option<f32>,
    /// Penalty s·Σ∣x∣.
    pub l1: Option<f32>,
    /// Penalty s·‖x‖₂.
    pub norm: Option<f32>,
}

/// Kind of back-propagation through time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackpropName {
    /// Through the whole run at once.
    Full,
    /// Within each window of steps.
    Truncated,
    /// Through the whole run, with states saved at the borders of windows.
    Checkpointed,
}

/// A number of bytes: a whole number, or a text with a unit (`kB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BytesText")]
pub struct Bytes(pub u64);

#[derive(Deserialize)]
enum BytesText {
    #[serde(rename = "$whole:a whole number of bytes")]
    Number(u64),
    #[serde(rename = "$text:a text such as \"2 GiB\"")]
    Text(String),
}

impl TryFrom<BytesText> for Bytes {
    type Error = String;

    fn try_from(from: BytesText) -> Result<Self, String> {
        let text = match from {
            BytesText::Number(n) => return Ok(Self(n)),
            BytesText::Text(text) => text,
        };
        let wrong = || format!("\"{text}\" is not a size of memory; write it as \"512 MiB\" or \"2 GiB\"");
        // Texts need a unit.
        let named = text.chars().any(char::is_alphabetic);
        crate::engine::allowance::parse(&text).filter(|_| named).map(Self).ok_or_else(wrong)
    }
}

/// A group of parameters with its own learning rate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Parameters: `"weights"`, `"biases"`, `"all"` or the name of one.
    pub on: String,
    /// Factor on the learning rate; 0 freezes the parameters.
    pub rate: f32,
}

/// The selection for a name. Names of parameters contain '/', so none equals one of the special words.
pub(super) fn select(on: &str) -> Select {
    match on {
        "weights" => Select::Weights,
        "biases" => Select::Biases,
        "all" => Select::All,
        name => Select::parameter(name),
    }
}

impl ScheduleSpec {
    /// The schedule for a training of `all` steps that starts at `rate`.
    pub(super) fn build(&self, rate: f32, all: u64) -> Result<Schedule> {
        let needed = || match (self.every, self.factor) {
            (Some(every), Some(factor)) => Ok((every, factor)),
            _ => Err(Error::invalid("[train.schedule]", "this kind needs every and factor")),
        };
        let (falls, cosine) = match self.kind {
            ScheduleKind::Constant => (false, false),
            ScheduleKind::Cosine => (false, true),
            _ => (true, false),
        };
        // A setting without effect would be an unnoticed mistake.
        if !falls && (self.every.is_some() || self.factor.is_some()) {
            return Err(Error::invalid("[train.schedule]", "every and factor are for step and exponential"));
        }
        if !cosine && (self.steps.is_some() || self.floor.is_some()) {
            return Err(Error::invalid("[train.schedule]", "steps and floor are for cosine"));
        }
        let decay = match self.kind {
            ScheduleKind::Constant => Decay::Constant,
            ScheduleKind::Step => needed().map(|(every, factor)| Decay::Step { every, factor })?,
            ScheduleKind::Exponential => {
                needed().map(|(every, factor)| Decay::Exponential { every, factor })?
            }
            ScheduleKind::Cosine => {
                let steps = self.steps.unwrap_or_else(|| all.saturating_sub(self.warm_up).max(1));
                Decay::Cosine { steps, floor: self.floor.unwrap_or(0.0) }
            }
        };
        Ok(Schedule::constant(rate).decay(decay).warm_up(self.warm_up))
    }
}

/// Strengths that are given, and the names of the keys for them.
pub(super) struct Strengths {
    given: Vec<Penalty>,
    keys: &'static str,
}

impl Strengths {
    pub(super) fn on(self, what: &str) -> Result<impl Iterator<Item = Penalty>> {
        if self.given.is_empty() {
            return Err(Error::invalid(what, format!("it has no strength; give it {}", self.keys)));
        }
        Ok(self.given.into_iter())
    }
}

impl PenaltySpec {
    pub(super) fn penalties(&self) -> Strengths {
        let given = [
            self.l2_half.map(Penalty::L2Half),
            self.l2_sum.map(Penalty::L2Sum),
            self.l1.map(Penalty::L1),
            self.norm.map(Penalty::Norm),
            self.decoupled.map(Penalty::Decoupled),
        ];
        let keys = "l2-half, l2-sum, l1, norm or decoupled";
        Strengths { given: given.into_iter().flatten().collect(), keys }
    }
}

impl ActivitySpec {
    pub(super) fn penalties(&self) -> Strengths {
        let given = [
            self.l2_half.map(Penalty::L2Half),
            self.l2_sum.map(Penalty::L2Sum),
            self.l1.map(Penalty::L1),
            self.norm.map(Penalty::Norm),
        ];
        Strengths { given: given.into_iter().flatten().collect(), keys: "l2-half, l2-sum, l1 or norm" }
    }
}
