//! Memory estimates of training, and the search for windows that fit. Nothing is allocated.

use crate::engine::allowance;
use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::sim::core::Core;
use crate::sim::data::Data;
use crate::sim::program::PlannedProgram;
use crate::trainer::compiled::Trainer;
use crate::trainer::key::TrainKey;
use crate::trainer::sizes::{parts_len, shared_floats};
use crate::trainer::windows::Windows;
use crate::trainer::{Backprop, Training};

/// Chosen windows of a run.
pub(crate) struct Cut {
    pub windows: Windows,
    /// Reason why it is cut without having been set to, in a sentence.
    pub note: Option<String>,
    /// The program of a run in one window.
    pub planned: Option<PlannedProgram>,
}

/// Device memory of a training in bytes; see [`Simulator::memory_estimate`](crate::Simulator::memory_estimate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryEstimate {
    /// Sum of the following.
    pub bytes: u64,
    /// Parameters, gradients, report and optimiser slots.
    pub shared: u64,
    /// Current and initial states.
    pub states: u64,
    /// States that are saved at the borders of windows.
    pub borders: u64,
    /// Data, histories and other buffers inside of windows.
    pub inside: u64,
    /// Number of steps of a window.
    pub window: usize,
    /// Number of windows.
    pub windows: usize,
}

impl Trainer {
    /// Device memory of a fit on these data, with `backprop` in place of the compiled one.
    pub(crate) fn memory_estimate(
        &self,
        core: &Core,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        backprop: Backprop,
    ) -> Result<MemoryEstimate> {
        backprop.check()?;
        let (examples, key) = self.key(core, inputs, targets, n_steps, true)?;
        self.estimate(core, &key, examples, backprop)
    }

    /// Device memory of runs of the whole run `key` on this many examples.
    pub(crate) fn estimate(
        &self,
        core: &Core,
        key: &TrainKey,
        examples: usize,
        backprop: Backprop,
    ) -> Result<MemoryEstimate> {
        self.planned_estimate(core, key, examples, backprop).map(|(estimate, _)| estimate)
    }

    /// [`Trainer::estimate`], and the program if the run is one window.
    fn planned_estimate(
        &self,
        core: &Core,
        key: &TrainKey,
        examples: usize,
        backprop: Backprop,
    ) -> Result<(MemoryEstimate, Option<PlannedProgram>)> {
        let windows = Windows::new(key.dims.steps, backprop, key.update);
        let (mut states, mut borders, mut inside, mut whole) = (0, 0, 0, None);
        let rest = examples % key.dims.batch;
        for batch in [key.dims.batch].into_iter().chain((rest > 0).then_some(rest)) {
            let mut len = (0, 0);
            for (pass, steps) in windows.passes() {
                let pass_key = TrainKey { dims: Dims { batch, steps }, pass, ..key.clone() };
                let planned = self.plan_training(core, &pass_key)?;
                inside += planned.bytes();
                len = (planned.layout.start.len() as u64, planned.layout.forward as u64);
                whole = whole.or((pass_key == *key).then_some(planned));
            }
            states += 2 * 4 * len.0;
            borders += 4 * len.1 * windows.borders() as u64;
        }
        let mut floats = shared_floats(core, &self.training);
        if windows.count() > 1 {
            floats += parts_len(core, self.training.scalars());
        }
        let shared = 4 * floats as u64;
        let (window, count) = (windows.window, windows.count());
        let bytes = shared + states + borders + inside;
        Ok((MemoryEstimate { bytes, shared, states, borders, inside, window, windows: count }, whole))
    }

    /// Windows for the runs of a key: as compiled, or the largest that fit.
    pub(crate) fn windows(&self, core: &Core, key: &TrainKey, examples: usize) -> Result<Cut> {
        let training = &self.training;
        let (budget, whose) = room(core, training);
        let wanted = training.backprop.unwrap_or(Backprop::Full);
        let asked = Windows::new(key.dims.steps, wanted, key.update);
        // Memory on the host for each window.
        let what = || format!("a run of {} steps in windows of {}", asked.steps, asked.window);
        allowance::check(what, [asked.count(), 2], 128)?;
        if let Some(who) = training.objective.needs_whole().filter(|_| asked.count() > 1) {
            let Windows { steps, window, .. } = asked;
            let problem = format!(
                "{who}, but the run of {steps} steps is cut into windows of {window}; use full back-propagation"
            );
            return Err(Error::invalid("back-propagation in windows", problem));
        }
        // Without a budget, the programs of the last examples are left out until they are compiled.
        let examples = if training.memory_budget.is_some() { examples } else { key.dims.batch };
        let Dims { batch, steps } = key.dims;
        let refused = match self.planned_estimate(core, key, examples, wanted) {
            Ok((estimate, planned)) if estimate.bytes <= budget => {
                return Ok(Cut { windows: asked, note: None, planned });
            }
            Ok((estimate, _)) => {
                let what = if key.update { "training" } else { "evaluation" };
                let what = format!("{what} of {batch} examples at once over {steps} steps");
                let (needed, limit) = (estimate.bytes, budget);
                Error::TooLarge { what, needed, limit, device: whose, hint: String::new() }
            }
            Err(error @ Error::TooLarge { .. }) => error,
            Err(error) => return Err(error),
        };
        let kind = if wanted == Backprop::Full { Backprop::Checkpointed(1) } else { wanted };
        let found = match training.objective.needs_whole() {
            Some(who) => Found::Whole(who),
            None => largest(steps, kind, budget, &|backprop| {
                self.estimate(core, key, examples, backprop).map(|estimate| estimate.bytes)
            })?,
        };
        // An evaluation has no gradient that windows could change.
        match found {
            Found::Fits(fits) if training.backprop.is_none() || !key.update => {
                let windows = Windows::new(steps, fits, key.update);
                let note = key.update.then(|| checkpoints(&refused, windows));
                Ok(Cut { windows, note, planned: None })
            }
            found => Err(with_hint(refused, found.hint(steps))),
        }
    }
}

/// The note for a run that is cut because it does not fit as a whole.
fn checkpoints(refused: &Error, windows: Windows) -> String {
    let Windows { steps, window, .. } = windows;
    let why = match refused {
        Error::TooLarge { what, needed, limit, device, .. } => {
            format!("{what} needs {needed} bytes, but {device} allows {limit}")
        }
        other => other.to_string(),
    };
    format!(
        "{why}: the run of {steps} steps is trained from checkpoints, as with backprop = \"checkpointed\" and window = \
         {window}; the gradient is the same, and most steps are computed twice"
    )
}

/// The error with another hint.
fn with_hint(error: Error, hint: String) -> Error {
    match error {
        Error::TooLarge { what, needed, limit, device, .. } => {
            Error::TooLarge { what, needed, limit, device, hint }
        }
        other => other,
    }
}

impl Found {
    /// Advice for a run of `steps` steps that does not fit as set.
    fn hint(self, steps: usize) -> String {
        match self {
            Found::Fits(fits) => {
                let name = match fits {
                    Backprop::Truncated(_) => "truncated",
                    _ => "checkpointed",
                };
                let window = fits.window(steps);
                format!("with backprop = \"{name}\", say a window of {window} steps, or allow more memory")
            }
            Found::Least(least) => {
                let least = least.map_or(String::new(), |(least, window)| {
                    format!(": windows of {window} steps need the least, {least} bytes")
                });
                format!("no window fits{least}; use a smaller minibatch or allow more memory")
            }
            Found::Whole(who) => format!(
                "{who}, so the run cannot be cut into windows; use a smaller minibatch or allow more memory"
            ),
        }
    }
}

/// Result of a search for windows that fit.
enum Found {
    /// The largest windows that fit.
    Fits(Backprop),
    /// No windows fit. The least bytes of any windows, and their steps; `None` if all exceed the limits of the device.
    Least(Option<(u64, usize)>),
    /// The run cannot be cut, for this reason.
    Whole(String),
}

/// Searches the longest windows that fit into `budget`, among windows of nearly equal length. Every number of windows is tried,
/// since memory is not monotonic in the length: a shorter last window has a program of its own.
fn largest(
    steps: usize,
    kind: Backprop,
    budget: u64,
    bytes: &dyn Fn(Backprop) -> Result<u64>,
) -> Result<Found> {
    let (mut least, mut window) = (None::<(u64, usize)>, steps);
    while window > 1 {
        // The next shorter length, with more windows.
        window = steps.div_ceil(steps.div_ceil(window - 1));
        let needed = match bytes(kind.with_window(window)) {
            Err(Error::TooLarge { needed, limit, .. }) => {
                // A buffer grows at most in proportion to the steps, so windows longer than `most` + 1 are skipped.
                let most = (window as u128 * u128::from(limit) / u128::from(needed.max(1))) as usize;
                window = window.min(most + 1);
                continue;
            }
            other => other?,
        };
        if needed <= budget {
            return Ok(Found::Fits(kind.with_window(window)));
        }
        least = least.into_iter().chain([(needed, window)]).min();
    }
    Ok(Found::Least(least))
}

/// Bytes that training may take, and the name of that limit: the budget, or three quarters of the machine's memory for devices
/// that share it.
fn room(core: &Core, training: &Training) -> (u64, String) {
    match (training.memory_budget, core.device.memory()) {
        (Some(budget), _) => (budget, "the memory budget".into()),
        (None, Some(memory)) => (memory / 4 * 3, format!("{} on this machine", core.device.name())),
        (None, None) => (u64::MAX, core.device.name().into()),
    }
}
