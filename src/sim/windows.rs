//! How a training's run is cut into windows, and how much memory that takes. Nothing here allocates.

use std::ops::Range;

use super::Simulator;
use super::data::Data;
use super::train::{Compiled, Part, TrainKey};
use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::train::Backprop;

/// A run in windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    /// Steps of the run.
    pub steps: usize,
    /// Steps of a window; the last may be shorter.
    pub window: usize,
    /// Each window but the last is run twice: forward to its border, then with its gradient.
    pub twice: bool,
}

impl Windows {
    fn new(steps: usize, backprop: Backprop, update: bool) -> Self {
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

/// The memory that training takes on the device, in bytes; see [`Simulator::memory_estimate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// All together.
    pub bytes: u64,
    /// Parameters, gradients and the optimiser's slots.
    pub shared: u64,
    /// States as they are and as they start.
    pub states: u64,
    /// States at the borders of windows.
    pub borders: u64,
    /// Data, histories and everything else inside of windows.
    pub inside: u64,
    /// Steps of a window.
    pub window: usize,
    /// Number of windows.
    pub windows: usize,
}

impl Simulator {
    /// The memory that [`Simulator::fit`] on these data would take on the device, with back-propagation of this kind in
    /// place of the compiled one. It is planned, and nothing is allocated.
    ///
    /// # Errors
    /// As [`Simulator::fit`] for data that do not fit, and those of a run that cannot be planned.
    pub fn memory_estimate(
        &self,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        backprop: Backprop,
    ) -> Result<MemoryEstimate> {
        backprop.check()?;
        let (examples, key) = self.key(inputs, targets, n_steps, true)?;
        self.estimate(&key, examples, backprop)
    }

    /// The memory of runs of `key.dims.steps` steps on so many examples.
    pub(super) fn estimate(
        &self,
        key: &TrainKey,
        examples: usize,
        backprop: Backprop,
    ) -> Result<MemoryEstimate> {
        let compiled = self.compiled()?;
        let windows = Windows::new(key.dims.steps, backprop, key.update);
        let (mut states, mut borders, mut inside) = (0, 0, 0);
        let batch = key.dims.batch;
        let rest = examples % batch;
        for batch in [batch].into_iter().chain((rest > 0).then_some(rest)) {
            let mut len = (0, 0);
            for (part, steps) in windows.parts() {
                let key = TrainKey { dims: Dims { batch, steps }, part, ..key.clone() };
                let planned = self.plan_training(&key, compiled)?;
                inside += planned.bytes();
                len = (planned.layout.start.len() as u64, planned.layout.forward as u64);
            }
            states += 2 * 4 * len.0;
            borders += 4 * len.1 * windows.borders() as u64;
        }
        let sizes = self.training_sizes(compiled.scalars(), &compiled.training);
        let mut floats = self.layout.floats() + sizes.iter().map(|(_, len, _)| len).sum::<usize>();
        if windows.count() > 1 {
            floats += self.parts_len(compiled.scalars());
        }
        let shared = 4 * floats as u64;
        let (window, count) = (windows.window, windows.count());
        let bytes = shared + states + borders + inside;
        Ok(MemoryEstimate { bytes, shared, states, borders, inside, window, windows: count })
    }

    /// How the runs of a key are cut: as compiled, or so that they fit into the budget.
    pub(super) fn windows(&self, key: &TrainKey, examples: usize) -> Result<Windows> {
        let compiled = self.compiled()?;
        let training = &compiled.training;
        let steps = key.dims.steps;
        let wanted = training.backprop.unwrap_or(Backprop::Full);
        let chosen = match training.memory_budget {
            None => wanted,
            Some(budget) => self.fitting(key, examples, wanted, budget, compiled)?,
        };
        let windows = Windows::new(steps, chosen, key.update);
        match training.objective.needs_whole().filter(|_| windows.count() > 1) {
            None => Ok(windows),
            Some(who) => {
                let problem = format!(
                    "{who}, but the run of {steps} steps is cut into windows of {}; use full back-propagation",
                    windows.window
                );
                Err(Error::invalid("back-propagation in windows", problem))
            }
        }
    }

    /// Back-propagation that fits into `budget` bytes.
    fn fitting(
        &self,
        key: &TrainKey,
        examples: usize,
        wanted: Backprop,
        budget: u64,
        compiled: &Compiled,
    ) -> Result<Backprop> {
        let bytes = |backprop| self.estimate(key, examples, backprop).map(|e| e.bytes);
        let needed = match bytes(wanted) {
            Ok(bytes) if bytes <= budget => return Ok(wanted),
            Ok(bytes) => bytes,
            Err(Error::TooLarge { needed, .. }) => needed,
            Err(error) => return Err(error),
        };
        let kind = if wanted == Backprop::Full { Backprop::Checkpointed(1) } else { wanted };
        let found = match compiled.training.objective.needs_whole() {
            Some(who) => Found::Whole(who),
            None => largest(key.dims.steps, kind, budget, &bytes)?,
        };
        // An evaluation has no gradient that windows could change.
        let free = compiled.training.backprop.is_none() || !key.update;
        let hint = match found {
            Found::Fits(fits) if free => return Ok(fits),
            Found::Fits(fits) => {
                let window = fits.window(key.dims.steps);
                format!("{fits:?} would fit: say a window of {window} steps, or allow more memory")
            }
            Found::Least(least) => {
                let least = least.map_or(String::new(), |(least, window)| {
                    format!(": windows of {window} steps need least, {least} bytes")
                });
                format!("no window fits{least}; use a smaller minibatch or allow more memory")
            }
            Found::Whole(who) => format!(
                "{who}, so the run cannot be cut into windows; use a smaller minibatch or allow more memory"
            ),
        };
        let Dims { batch, steps } = key.dims;
        let what = if key.update { "training" } else { "evaluation" };
        Err(Error::TooLarge {
            what: format!(
                "{what} with {wanted:?} back-propagation, {batch} examples at once over {steps} steps,"
            ),
            needed,
            limit: budget,
            device: "the memory budget".into(),
            hint,
        })
    }
}

/// What came of a search for windows that fit.
enum Found {
    /// The largest that were found.
    Fits(Backprop),
    /// None; the least bytes that any needed, and its steps, if there was one that the device would hold.
    Least(Option<(u64, usize)>),
    /// The run cannot be cut, for this reason.
    Whole(String),
}

/// The longest windows that fit into `budget`, of those of equal length or nearly so; or the least memory that was found,
/// with its window. Every length is tried, since memory neither falls nor rises with it all the way: a rest at the end is a
/// program of its own.
fn largest(
    steps: usize,
    kind: Backprop,
    budget: u64,
    bytes: &dyn Fn(Backprop) -> Result<u64>,
) -> Result<Found> {
    let (mut least, mut window) = (None::<(u64, usize)>, steps);
    while window > 1 {
        // The next shorter one that cuts the run into more pieces.
        window = steps.div_ceil(steps.div_ceil(window - 1));
        let needed = match bytes(kind.with_window(window)) {
            Err(Error::TooLarge { .. }) => continue,
            other => other?,
        };
        if needed <= budget {
            return Ok(Found::Fits(kind.with_window(window)));
        }
        least = least.into_iter().chain([(needed, window)]).min();
    }
    Ok(Found::Least(least))
}
