//! Back-propagation through time, and the steps of a run that a loss covers.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::graph::{Extent, Tensor, Type};

/// Back-propagation through time.
///
/// A run of `S` steps is cut into windows of `W` steps, of which the last may be shorter. Memory for the inside of a window grows
/// with `W`. The gradients of all windows are summed, and parameters are updated once for each minibatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Backprop {
    /// Through the whole run, in one window.
    Full,
    /// Truncated back-propagation (Williams and Peng 1990) in windows of at most this many steps, which do not overlap. States
    /// continue from window to window; gradients do not cross their borders.
    Truncated(usize),
    /// Checkpoints (Chen et al. 2016) at the borders of windows of at most this many steps, with the gradient of
    /// [`Backprop::Full`]. A first pass saves the states at the borders. Then each window, from the last to the first, is
    /// rematerialised and back-propagated through. Each step but those of the last window is computed twice.
    Checkpointed(usize),
}

impl Backprop {
    /// Number of steps of a window in a run of `steps` steps.
    pub fn window(self, steps: usize) -> usize {
        match self {
            Backprop::Full => steps,
            Backprop::Truncated(window) | Backprop::Checkpointed(window) => window.min(steps),
        }
    }

    /// The same kind with windows of another length.
    pub fn with_window(self, window: usize) -> Self {
        match self {
            Backprop::Full => Backprop::Full,
            Backprop::Truncated(_) => Backprop::Truncated(window),
            Backprop::Checkpointed(_) => Backprop::Checkpointed(window),
        }
    }

    /// Its name in files, if it cuts runs into windows.
    pub(crate) fn in_windows(self) -> Option<&'static str> {
        match self {
            Backprop::Full => None,
            Backprop::Truncated(_) => Some("truncated"),
            Backprop::Checkpointed(_) => Some("checkpointed"),
        }
    }

    /// Returns an error for windows of 0 steps.
    pub(crate) fn check(self) -> Result<()> {
        if self.window(1) > 0 {
            return Ok(());
        }
        Err(Error::invalid("the window of back-propagation", "it is 0 steps, but must be at least 1"))
    }
}

/// Steps of a run that a loss on a probe covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Over {
    /// Every step; the loss is the mean over the steps.
    #[default]
    Every,
    /// The last step only, as with `keep_history = false` in NengoDL.
    Last,
    /// The sum of the output over time, for example spike counts. Targets have one row for each example.
    Sum,
    /// The mean of the output over time, for example firing rates. Targets have one row for each example.
    Mean,
}

impl Over {
    /// True if it needs all steps in one window.
    pub fn whole(self) -> bool {
        matches!(self, Over::Sum | Over::Mean)
    }

    /// Its name in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Over::Every => "every",
            Over::Last => "last",
            Over::Sum => "sum",
            Over::Mean => "mean",
        }
    }

    /// The part of an output that the loss covers.
    pub(crate) fn of(self, x: Tensor<'_>) -> Tensor<'_> {
        let (ty, steps) = (x.ty(), x.scope.dims().steps as f32);
        let in_time = ty.extent == Extent::Sequence;
        match self {
            Over::Every => x,
            Over::Last => x.last(),
            Over::Sum if in_time => x.reduce_to(Type::example(ty.cols)),
            Over::Sum => x.scale(steps),
            Over::Mean if in_time => x.reduce_to(Type::example(ty.cols)).scale(1.0 / steps),
            Over::Mean => x,
        }
    }

    /// The part of the targets of `probe` that the loss covers.
    ///
    /// # Errors
    /// A row for each step, where the loss needs one row for each example.
    pub(crate) fn of_target<'s>(self, probe: &str, x: Tensor<'s>) -> Result<Tensor<'s>> {
        if self.whole() && x.ty().extent == Extent::Sequence {
            let problem = format!(
                "there is a row for each step, but the loss sees the {} over time; give one row an example",
                self.name()
            );
            return Err(Error::invalid(format!("the targets of probe '{probe}'"), problem));
        }
        Ok(if self == Over::Last { x.last() } else { x })
    }
}
