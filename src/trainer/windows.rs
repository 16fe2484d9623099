//! A training's run in windows.

use std::ops::Range;

use crate::trainer::Backprop;
use crate::trainer::key::Part;

/// A run in windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Steps of the run.
    pub steps: usize,
    /// Steps of a window; the last may be shorter.
    pub window: usize,
    /// Each window but the last is run twice: forward to its border, then with its gradient.
    pub twice: bool,
}

impl Windows {
    pub fn new(steps: usize, backprop: Backprop, update: bool) -> Self {
        let twice = update && matches!(backprop, Backprop::Checkpointed(_));
        Self { steps, window: backprop.window(steps), twice }
    }

    /// The back-propagation that goes through them.
    pub fn backprop(&self) -> Backprop {
        match (self.count(), self.twice) {
            (1, _) => Backprop::Full,
            (_, true) => Backprop::Checkpointed(self.window),
            (_, false) => Backprop::Truncated(self.window),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.steps.div_ceil(self.window)
    }

    /// Steps of window `i`.
    pub fn range(&self, i: usize) -> Range<usize> {
        i * self.window..((i + 1) * self.window).min(self.steps)
    }

    /// Borders that are saved: not the start, and not that of the last window, which is run first.
    pub fn borders(&self) -> usize {
        if self.twice { self.count().saturating_sub(2) } else { 0 }
    }

    /// Parts of the training programs that are needed, with their steps.
    pub fn parts(&self) -> Vec<(Part, usize)> {
        if self.count() == 1 {
            return vec![(Part::Whole, self.steps)];
        }
        let mut parts = vec![(Part::Window, self.window)];
        if self.twice {
            parts.push((Part::Forward, self.window));
        }
        let rest = self.steps % self.window;
        parts.extend((rest > 0).then_some((Part::Window, rest)));
        parts
    }
}

impl Windows {
    /// How often a run takes one of its [`Windows::parts`].
    pub fn times(&self, part: Part, steps: usize) -> usize {
        match part {
            Part::Whole => 1,
            Part::Forward => self.count() - 1,
            Part::Window if steps == self.window => self.steps / self.window,
            Part::Window => 1,
        }
    }
}
