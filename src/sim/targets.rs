//! WindowInput of targets for a program's inputs, and which of them count.

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

/// How many of a minibatch's targets count, as a share of all; and the factor that makes the mean over all that over them.
pub(crate) fn counted(core: &Core, of: Counted, from: &WindowInput<'_>) -> Result<(f64, f64)> {
    let signal = targets_of(core, from.targets, of.probe)?;
    let every = core.sample_every(ProbeId(of.probe));
    let counted = |row: ndarray::ArrayView1<'_, f32>| {
        let n = row.iter().filter(|x| !x.is_nan()).count();
        if of.by_row { n.min(1) } else { n }
    };
    let (mut count, mut rows) = (0, 0);
    for &example in from.batch {
        match signal {
            Signal::Held(a) => (count, rows) = (count + counted(a.row(example)), rows + 1),
            Signal::Steps(a) => {
                let all = a.index_axis(ndarray::Axis(0), example);
                let first = if of.last { all.nrows().saturating_sub(1) } else { 0 };
                (first..all.nrows()).for_each(|t| count += counted(all.row(t)));
                rows += all.nrows() - first;
            }
        }
    }
    let share = count as f64 / (rows * if of.by_row { 1 } else { signal.size() }).max(1) as f64;
    // Of a run's steps those that have a row.
    let seen = match of.spread {
        true => (if of.last { 1 } else { from.run / every }) as f64 / from.run as f64,
        false => 1.0,
    };
    Ok((share, if count == 0 { 0.0 } else { 1.0 / (share * seen) }))
}

impl Signal {
    /// Writes rows of [`Feed::Spread`] for a window that starts at step `first` of a run of `run` steps: a row at each step
    /// that a probe records, one in `every`, and NaN at the others; or at the last of these alone.
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
