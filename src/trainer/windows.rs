//! Windows of a training run.

use std::ops::Range;

use crate::trainer::Backprop;
use crate::trainer::key::Pass;

/// Cut of a run into windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Number of steps of the run.
    pub steps: usize,
    /// Number of steps of a window; the last may be shorter.
    pub window: usize,
    /// True if each window but the last is run twice: forward to its border, then with its gradient.
    pub twice: bool,
}

impl Windows {
    pub fn new(steps: usize, backprop: Backprop, update: bool) -> Self {
        let twice = update && matches!(backprop, Backprop::Checkpointed(_));
        Self { steps, window: backprop.window(steps), twice }
    }

    /// Back-propagation with these windows.
    pub fn backprop(&self) -> Backprop {
        match (self.count(), self.twice) {
            (1, _) => Backprop::Full,
            (_, true) => Backprop::Checkpointed(self.window),
            (_, false) => Backprop::Truncated(self.window),
        }
    }

    /// Number of windows.
    pub fn count(&self) -> usize {
        self.steps.div_ceil(self.window)
    }

    /// Steps of window `i`.
    pub fn range(&self, i: usize) -> Range<usize> {
        i * self.window..((i + 1) * self.window).min(self.steps)
    }

    /// Number of saved borders: not the start of the run, and not that of the last window, which is run first.
    pub fn borders(&self) -> usize {
        if self.twice { self.count().saturating_sub(2) } else { 0 }
    }

    /// Passes that need a program each, with their steps.
    pub fn passes(&self) -> Vec<(Pass, usize)> {
        if self.count() == 1 {
            return vec![(Pass::Whole, self.steps)];
        }
        let mut passes = vec![(Pass::Window, self.window)];
        if self.twice {
            passes.push((Pass::Forward, self.window));
        }
        let rest = self.steps % self.window;
        passes.extend((rest > 0).then_some((Pass::Window, rest)));
        passes
    }

    /// Number of executions of one of [`Windows::passes`] in a run.
    pub fn times(&self, pass: Pass, steps: usize) -> usize {
        match pass {
            Pass::Whole => 1,
            Pass::Forward => self.count() - 1,
            Pass::Window if steps == self.window => self.steps / self.window,
            Pass::Window => 1,
        }
    }
}
