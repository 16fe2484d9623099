//! How far back in time gradients go, and what of a run a loss sees.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::graph::{Extent, Tensor, Type};

/// Back-propagation through time.
///
/// A run of `S` steps is cut into windows of `W`, of which the last may be shorter. Memory for the inside of a window grows
/// with `W`; the gradients of all windows are summed, and parameters are updated once a minibatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backprop {
    /// Through the whole run at once.
    Full,
    /// Windows of at most so many steps, one after the other: states are carried on, but no gradient goes from a window into
    /// the one before (truncated back-propagation, Williams and Peng 1990, with windows that do not overlap).
    Truncated(usize),
    /// The same gradient as [`Backprop::Full`] from windows of at most so many steps: a first pass saves the states at the
    /// borders, then each window, from the last to the first, is run again and gone back through (Chen et al. 2016).
    /// Each step but those of the last window is computed twice.
    Checkpointed(usize),
}

impl Backprop {
    /// Steps of a window in a run of `steps`.
    pub fn window(self, steps: usize) -> usize {
        match self {
            Backprop::Full => steps,
            Backprop::Truncated(window) | Backprop::Checkpointed(window) => window.min(steps),
        }
    }

    /// The same with windows of another length.
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

    pub(crate) fn check(self) -> Result<()> {
        if self.window(1) > 0 {
            return Ok(());
        }
        Err(Error::invalid("the window of back-propagation", "it is 0 steps, but must be at least 1"))
    }
}

/// What of a run a loss sees of its probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// Each step; the loss is the mean over them.
    #[default]
    Every,
    /// The last step alone, as with `keep_history = false` in NengoDL.
    Last,
    /// The sum over time, for example spikes counted.
    Sum,
    /// The mean over time, for example firing rates.
    Mean,
}

impl Over {
    /// Whether it needs all steps together, so that they cannot be cut into windows.
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

    /// What is seen of an output.
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

    /// What is seen of the targets of `probe`.
    ///
    /// # Errors
    /// A row for each step, where all steps together are compared with one.
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
