//! Penalties on parameters and activities, and groups of parameters.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::graph::Tensor;
use crate::network::{Network, ParameterDef};
use crate::op::update::Segments;

use super::Optimiser;

/// What is added to the loss, or taken off the weights.
///
/// | | penalty | gradient adds | same as |
/// |---|---|---|---|
/// | `L2Half(s)` | s·ΣW²/2 | s·W | `tf.contrib.layers.l2_regularizer(s)` |
/// | `L2Sum(s)` | s·ΣW² | 2s·W | `keras.regularizers.l2(s)` |
/// | `L1(s)` | s·Σ∣W∣ | s·sign(W) | `keras.regularizers.l1(s)` |
/// | `Norm(s)` | s·‖W‖₂ | s·W/‖W‖₂ | `nengo_dl.losses.Regularize` |
/// | `Decoupled(λ)` | none in the loss | W ← W − lr·λ·W | AdamW, SGDW |
///
/// On an activity (a probe), sums run over the dimensions of a row, and the mean is taken over examples and steps.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Penalty {
    /// s·ΣW²/2
    L2Half(f32),
    /// s·ΣW²
    L2Sum(f32),
    /// s·Σ∣W∣
    L1(f32),
    /// s·‖W‖₂
    Norm(f32),
    /// Shrinks weights apart from the gradient.
    Decoupled(f32),
}

impl Penalty {
    pub(crate) fn strength(self) -> f32 {
        match self {
            Penalty::L2Half(s)
            | Penalty::L2Sum(s)
            | Penalty::L1(s)
            | Penalty::Norm(s)
            | Penalty::Decoupled(s) => s,
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        let s = self.strength();
        if s.is_finite() && s >= 0.0 {
            return Ok(());
        }
        Err(Error::invalid("a penalty", format!("its strength is {s}, but must be at least 0")))
    }

    /// The penalty on an activity, as one number.
    pub(crate) fn on_activity<'s>(self, x: Tensor<'s>) -> Option<Tensor<'s>> {
        let rows = x.ty().total_rows(x.scope.dims()) as f32;
        Some(match self {
            Penalty::L2Half(s) => x.square().sum_all().scale(0.5 * s / rows),
            Penalty::L2Sum(s) => x.square().sum_all().scale(s / rows),
            Penalty::L1(s) => x.abs().sum_all().scale(s / rows),
            // The root's derivative at a row of zeros would be infinite.
            Penalty::Norm(s) => {
                (x.square().sum_cols() + x.scope.constant(1e-12)).sqrt().sum_all().scale(s / rows)
            }
            Penalty::Decoupled(_) => return None,
        })
    }
}

/// Which parameters are meant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Select {
    /// One, by its name.
    Parameter(String),
    /// All whose name does not end in `/bias`.
    Weights,
    /// All whose name ends in `/bias`.
    Biases,
    /// All.
    All,
}

impl Select {
    /// One parameter.
    pub fn parameter(name: &str) -> Self {
        Self::Parameter(name.to_string())
    }

    fn takes(&self, parameter: &ParameterDef) -> bool {
        let bias = parameter.name.ends_with("/bias");
        match self {
            Select::Parameter(name) => parameter.name == *name,
            Select::Weights => !bias,
            Select::Biases => bias,
            Select::All => true,
        }
    }

    fn check(&self, network: &Network) -> Result<()> {
        match self {
            Select::Parameter(name) => network.parameter_index(name).map(drop),
            _ => Ok(()),
        }
    }
}

/// Parameters that are trained in their own way.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Group {
    /// Which ones.
    pub parameters: Select,
    /// Factor on the learning rate; 0 freezes them.
    pub rate: f32,
}

/// Fills in how each parameter is trained.
pub(crate) fn apply(
    segments: &mut Segments,
    network: &Network,
    penalties: &[(Select, Penalty)],
    groups: &[Group],
    optimiser: &Optimiser,
) -> Result<()> {
    for (parameter, segment) in network.parameters().iter().zip(&mut segments.list) {
        (segment.l2, segment.l1, segment.norm, segment.decay) = (0.0, 0.0, 0.0, 0.0);
        segment.rate = f32::from(parameter.trainable);
        if let Optimiser::AdamW { decay, .. } = optimiser
            && Select::Weights.takes(parameter)
        {
            segment.decay = *decay;
        }
    }
    for group in groups {
        group.parameters.check(network)?;
        if !(group.rate.is_finite() && group.rate >= 0.0) {
            let problem = format!("its rate is {}, but must be at least 0", group.rate);
            return Err(Error::invalid("a group of parameters", problem));
        }
        for (parameter, segment) in network.parameters().iter().zip(&mut segments.list) {
            if group.parameters.takes(parameter) {
                segment.rate *= group.rate;
            }
        }
    }
    for (select, penalty) in penalties {
        select.check(network)?;
        penalty.check()?;
        for (parameter, segment) in network.parameters().iter().zip(&mut segments.list) {
            if select.takes(parameter) {
                match *penalty {
                    Penalty::L2Half(s) => segment.l2 += s,
                    Penalty::L2Sum(s) => segment.l2 += 2.0 * s,
                    Penalty::L1(s) => segment.l1 += s,
                    Penalty::Norm(s) => segment.norm += s,
                    Penalty::Decoupled(s) => segment.decay += s,
                }
            }
        }
    }
    Ok(())
}
