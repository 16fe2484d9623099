//! Penalties on parameters and activities.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::graph::Tensor;
use crate::optim::update::Segment;

/// Penalty on a parameter or an activity: a term of the loss, or a decay of the weights. Its strength is at least 0.
///
/// | | penalty | gradient adds | same as |
/// |---|---|---|---|
/// | `L2Half(s)` | s·ΣW²/2 | s·W | `tf.contrib.layers.l2_regularizer(s)` |
/// | `L2Sum(s)` | s·ΣW² | 2s·W | `keras.regularizers.l2(s)` |
/// | `L1(s)` | s·Σ∣W∣ | s·sign(W) | `keras.regularizers.l1(s)` |
/// | `Norm(s)` | s·‖W‖₂ | s·W/‖W‖₂ | `nengo_dl.losses.Regularize` |
/// | `Decoupled(λ)` | none in the loss | W ← W − lr·λ·W | AdamW, SGDW |
///
/// For an activity (a probe), sums are over the dimensions of a row, and the penalty is their mean over examples and
/// steps.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Penalty {
    /// Half the sum of squares, s·ΣW²/2.
    L2Half(f32),
    /// Sum of squares, s·ΣW².
    L2Sum(f32),
    /// Sum of absolute values, s·Σ∣W∣.
    L1(f32),
    /// Euclidean norm, s·‖W‖₂.
    Norm(f32),
    /// Decoupled decay: it shrinks the weights, apart from the gradient. For parameters only.
    Decoupled(f32),
}

impl Penalty {
    /// Strength of the penalty.
    pub(crate) fn strength(self) -> f32 {
        match self {
            Penalty::L2Half(s)
            | Penalty::L2Sum(s)
            | Penalty::L1(s)
            | Penalty::Norm(s)
            | Penalty::Decoupled(s) => s,
        }
    }

    /// Key of the penalty in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Penalty::L2Half(_) => "l2-half",
            Penalty::L2Sum(_) => "l2-sum",
            Penalty::L1(_) => "l1",
            Penalty::Norm(_) => "norm",
            Penalty::Decoupled(_) => "decoupled",
        }
    }

    /// Checks that the strength is at least 0. `what` names the penalty in messages.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) fn check(self, what: &str) -> Result<()> {
        let s = self.strength();
        if s.is_finite() && s >= 0.0 {
            return Ok(());
        }
        Err(Error::invalid(what, format!("its {} is {s}, but must be at least 0", self.name())))
    }

    /// Adds the penalty to those of a parameter.
    pub(crate) fn add_to(self, segment: &mut Segment) {
        match self {
            Penalty::L2Half(s) => segment.l2 += s,
            Penalty::L2Sum(s) => segment.l2 += 2.0 * s,
            Penalty::L1(s) => segment.l1 += s,
            Penalty::Norm(s) => segment.norm += s,
            Penalty::Decoupled(s) => segment.decay += s,
        }
    }

    /// Penalty of an activity, a scalar; `None` for [`Penalty::Decoupled`].
    pub(crate) fn on_activity<'s>(self, x: Tensor<'s>) -> Option<Tensor<'s>> {
        let rows = x.ty().total_rows(x.scope.dims()) as f32;
        Some(match self {
            Penalty::L2Half(s) => x.square().sum_all().scale(0.5 * s / rows),
            Penalty::L2Sum(s) => x.square().sum_all().scale(s / rows),
            Penalty::L1(s) => x.abs().sum_all().scale(s / rows),
            // Without the constant, the derivative at a row of zeros would be infinite.
            Penalty::Norm(s) => {
                (x.square().sum_cols() + x.scope.constant(1e-12)).sqrt().sum_all().scale(s / rows)
            }
            Penalty::Decoupled(_) => return None,
        })
    }
}
