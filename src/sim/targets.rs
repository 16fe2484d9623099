//! Targets in a program's feeds, and the share of them that counts.

use crate::builder::Counted;
use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::network::ProbeId;
use crate::sim::core::Core;
use crate::sim::data::{Data, Signal};
use crate::sim::window_input::WindowInput;

/// The targets of a probe.
pub(crate) fn targets_of<'d>(core: &Core, targets: &'d Data, probe: usize) -> Result<&'d Signal> {
    let name = core.network.probe_name(ProbeId(probe));
    let missing = || Error::invalid(format!("probe '{name}'"), "it has no targets");
    targets.get(name).ok_or_else(missing)
}

/// The share of a minibatch's targets that count, and the factor from the mean over all targets to the mean over those that
/// count.
pub(crate) fn counted(core: &Core, key: Counted, input: &WindowInput<'_>) -> Result<(f64, f64)> {
    let signal = targets_of(core, input.targets, key.probe)?;
    let every = core.sample_every(ProbeId(key.probe));
    let counted = |row: ndarray::ArrayView1<'_, f32>| {
        let n = row.iter().filter(|x| !x.is_nan()).count();
        if key.by_row { n.min(1) } else { n }
    };
    let (mut count, mut rows) = (0, 0);
    for &example in input.batch {
        match signal {
            Signal::Held(a) => (count, rows) = (count + counted(a.row(example)), rows + 1),
            Signal::Steps(a) => {
                let steps = a.index_axis(ndarray::Axis(0), example);
                let first = if key.last { steps.nrows().saturating_sub(1) } else { 0 };
                (first..steps.nrows()).for_each(|t| count += counted(steps.row(t)));
                rows += steps.nrows() - first;
            }
        }
    }
    let share = count as f64 / (rows * if key.by_row { 1 } else { signal.size() }).max(1) as f64;
    // The share of the run's steps with a row.
    let seen = match key.spread {
        true => (if key.last { 1 } else { input.run / every }) as f64 / input.run as f64,
        false => 1.0,
    };
    Ok((share, if count == 0 { 0.0 } else { 1.0 / (share * seen) }))
}

impl Signal {
    /// Writes rows of [`Feed::Spread`](crate::builder::Feed::Spread) for a window from step `first` of a run of `run` steps: a
    /// target at each step that a probe records, one in `every`, or only at the last of these; NaN at the others.
    pub(crate) fn spread(
        &self,
        (batch, every, last): (&[usize], usize, bool),
        (first, run): (usize, usize),
        dims: Dims,
        to: &mut [f32],
    ) {
        to.fill(f32::NAN);
        let size = self.size();
        for (r, to) in to.chunks_exact_mut(size).take(dims.batch * dims.steps).enumerate() {
            let (done, example) = (first + r / dims.batch + 1, batch[r % dims.batch]);
            let row = done / every;
            if done % every != 0 || (last && row != run / every) {
                continue;
            }
            let from = match self {
                Signal::Held(a) => a.row(example),
                Signal::Steps(a) => a.slice(ndarray::s![example, row - 1, ..]),
            };
            to.iter_mut().zip(from).for_each(|(to, x)| *to = *x);
        }
    }
}
