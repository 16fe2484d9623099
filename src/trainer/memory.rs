//! How much memory a training takes, and how its runs are cut to fit. Nothing here allocates.

use crate::engine::allowance;
use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::sim::core::Core;
use crate::sim::data::Data;
use crate::sim::program::PlannedProgram;
use crate::trainer::compiled::Trainer;
use crate::trainer::key::TrainKey;
use crate::trainer::sizes::{parts_len, training_sizes};
use crate::trainer::windows::Windows;
use crate::trainer::{Backprop, Training};

/// How a run is cut.
pub(crate) struct Cut {
    pub windows: Windows,
    /// Why it is cut though nobody asked for it, in a sentence.
    pub note: Option<String>,
    /// The program of a run in one window.
    pub planned: Option<PlannedProgram>,
}

/// The memory that training takes on the device, in bytes; see `Trainer::memory_estimate`.
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

impl Trainer {
    /// The memory that [`Simulator::fit`] on these data would take on the device, with back-propagation of this kind in
    /// place of the compiled one. It is planned, and nothing is allocated.
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

    /// The memory of runs of `key.dims.steps` steps on so many examples.
    pub(crate) fn estimate(
        &self,
        core: &Core,
        key: &TrainKey,
        examples: usize,
        backprop: Backprop,
    ) -> Result<MemoryEstimate> {
        self.planned_estimate(core, key, examples, backprop).map(|(estimate, _)| estimate)
    }

    /// The same, and the program of a run in one window.
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
            for (part, steps) in windows.parts() {
                let part_key = TrainKey { dims: Dims { batch, steps }, part, ..key.clone() };
                let planned = self.plan_training(core, &part_key)?;
                inside += planned.bytes();
                len = (planned.layout.start.len() as u64, planned.layout.forward as u64);
                whole = whole.or((part_key == *key).then_some(planned));
            }
            states += 2 * 4 * len.0;
            borders += 4 * len.1 * windows.borders() as u64;
        }
        let sizes = training_sizes(core, &self.training);
        let mut floats = core.layout.floats() + sizes.iter().map(|(_, len, _)| len).sum::<usize>();
        if windows.count() > 1 {
            floats += parts_len(core, self.training.scalars());
        }
        let shared = 4 * floats as u64;
        let (window, count) = (windows.window, windows.count());
        let bytes = shared + states + borders + inside;
        Ok((MemoryEstimate { bytes, shared, states, borders, inside, window, windows: count }, whole))
    }

    /// How the runs of a key are cut: as compiled, or so that they fit.
    pub(crate) fn windows(&self, core: &Core, key: &TrainKey, examples: usize) -> Result<Cut> {
        let training = &self.training;
        let (budget, whose) = room(core, training);
        let wanted = training.backprop.unwrap_or(Backprop::Full);
        let asked = Windows::new(key.dims.steps, wanted, key.update);
        // What the host keeps of each window.
        let what = || format!("a run of {} steps in windows of {}", asked.steps, asked.window);
        allowance::check(what, [asked.count(), 2], 128)?;
        if let Some(who) = training.objective.needs_whole().filter(|_| asked.count() > 1) {
            let Windows { steps, window, .. } = asked;
            let problem = format!(
                "{who}, but the run of {steps} steps is cut into windows of {window}; use full back-propagation"
            );
            return Err(Error::invalid("back-propagation in windows", problem));
        }
        // Without a budget, what the last examples take beside whole minibatches is not looked at before they come.
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

/// The sentence for a run that is cut because it was refused as a whole.
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

fn with_hint(error: Error, hint: String) -> Error {
    match error {
        Error::TooLarge { what, needed, limit, device, .. } => {
            Error::TooLarge { what, needed, limit, device, hint }
        }
        other => other,
    }
}

impl Found {
    /// What to do about a run of `steps` steps that does not fit as it was asked for.
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
                    format!(": windows of {window} steps need least, {least} bytes")
                });
                format!("no window fits{least}; use a smaller minibatch or allow more memory")
            }
            Found::Whole(who) => format!(
                "{who}, so the run cannot be cut into windows; use a smaller minibatch or allow more memory"
            ),
        }
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
            Err(Error::TooLarge { needed, limit, .. }) => {
                // What is too large for one binding grows with the steps, if it does at all.
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

/// Bytes that training may take, and who says so: the budget, or most of the memory of the machine where the device has
/// none of its own.
fn room(core: &Core, training: &Training) -> (u64, String) {
    match (training.memory_budget, core.device.memory()) {
        (Some(budget), _) => (budget, "the memory budget".into()),
        (None, Some(memory)) => (memory / 4 * 3, format!("{} on this machine", core.device.name())),
        (None, None) => (u64::MAX, core.device.name().into()),
    }
}
