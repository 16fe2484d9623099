//! Penalties on parameters and activities.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::graph::Tensor;
use crate::optim::update::Segment;

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

    /// Its key in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Penalty::L2Half(_) => "l2-half",
            Penalty::L2Sum(_) => "l2-sum",
            Penalty::L1(_) => "l1",
            Penalty::Norm(_) => "norm",
            Penalty::Decoupled(_) => "decoupled",
        }
    }

    /// Refuses strengths that make no sense; `what` names the penalty.
    pub(crate) fn check(self, what: &str) -> Result<()> {
        let s = self.strength();
        if s.is_finite() && s >= 0.0 {
            return Ok(());
        }
        Err(Error::invalid(what, format!("its {} is {s}, but must be at least 0", self.name())))
    }

    /// Adds it to those of a parameter.
    pub(crate) fn add_to(self, segment: &mut Segment) {
        match self {
            Penalty::L2Half(s) => segment.l2 += s,
            Penalty::L2Sum(s) => segment.l2 += 2.0 * s,
            Penalty::L1(s) => segment.l1 += s,
            Penalty::Norm(s) => segment.norm += s,
            Penalty::Decoupled(s) => segment.decay += s,
        }
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
