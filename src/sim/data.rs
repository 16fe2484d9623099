//! Data for runs: arrays for input nodes and probes, and their copies into the rows of a feed.

use std::collections::BTreeMap;

use ndarray::{Array2, Array3, ArrayView3, Axis};

use crate::error::{Error, Result};
use crate::graph::Dims;

/// Values for each example: one row that is held during the run, or a row for each step. Converted from [`Array2`] or
/// [`Array3`].
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// One row for each example, as (batch, size).
    Held(Array2<f32>),
    /// A row for each example and step, as (batch, n_steps, size).
    Steps(Array3<f32>),
}

impl From<Array2<f32>> for Signal {
    fn from(array: Array2<f32>) -> Self {
        Self::Held(array)
    }
}

impl From<Array3<f32>> for Signal {
    fn from(array: Array3<f32>) -> Self {
        Self::Steps(array)
    }
}

impl Signal {
    /// Number of examples.
    pub fn examples(&self) -> usize {
        match self {
            Signal::Held(a) => a.nrows(),
            Signal::Steps(a) => a.len_of(Axis(0)),
        }
    }

    /// Number of steps; `None` if held.
    pub fn steps(&self) -> Option<usize> {
        match self {
            Signal::Held(_) => None,
            Signal::Steps(a) => Some(a.len_of(Axis(1))),
        }
    }

    /// Number of values in a row.
    pub fn size(&self) -> usize {
        match self {
            Signal::Held(a) => a.ncols(),
            Signal::Steps(a) => a.len_of(Axis(2)),
        }
    }

    fn shape(&self) -> String {
        match self {
            Signal::Held(a) => format!("{:?}", a.shape()),
            Signal::Steps(a) => format!("{:?}", a.shape()),
        }
    }

    /// Returns an error for rows of another size than `size`, and for values that are not finite; NaN passes with
    /// `nan_allowed`. Returns true if all values are finite.
    pub(crate) fn check(&self, what: &str, size: usize, nan_allowed: bool) -> Result<bool> {
        if self.size() != size {
            let data = format!("the data for {what}");
            return Err(Error::shape(data, self.shape(), what, format!("{size} dimensions")));
        }
        // All bits of the exponent are set in values that are not finite. The fold has no branch.
        let finite = |all: &[f32]| all.iter().fold(true, |ok, x| ok & (x.to_bits() << 1 < 0xff << 24));
        let slice = match self {
            Signal::Held(a) => a.as_slice(),
            Signal::Steps(a) => a.as_slice(),
        };
        if slice.is_some_and(finite) {
            return Ok(true);
        }
        let wrong = |x: &f32| !(x.is_finite() || (nan_allowed && x.is_nan()));
        let (mut bad, mut gaps) = (None, false);
        let mut look = |x: f32, row: usize, step: u64, column: usize| {
            gaps |= x.is_nan();
            if bad.is_none() && wrong(&x) {
                bad = Some((x, row, step, column));
            }
        };
        match self {
            Signal::Held(a) => a.indexed_iter().for_each(|((b, c), x)| look(*x, b, 0, c)),
            Signal::Steps(a) => a.indexed_iter().for_each(|((b, t, c), x)| look(*x, b, t as u64, c)),
        }
        match bad {
            None => Ok(!gaps),
            Some((value, row, step, column)) => {
                let what = format!("the data for {what}, example {row}, column {column},");
                let hint = if nan_allowed {
                    "clean the data first; a target that does not count is NaN"
                } else {
                    "clean the data first; NaN is for targets that do not count"
                };
                Err(Error::NotFinite { what, value, step, hint: hint.into() })
            }
        }
    }

    /// Copies the steps from `first` of the examples `batch` to a feed; step t of example b is row `t * batch + b`.
    pub(crate) fn gather(&self, batch: &[usize], first: usize, dims: Dims, to: &mut [f32]) {
        let size = self.size();
        match self {
            Signal::Held(a) => {
                for (to, &b) in to.chunks_exact_mut(size).zip(batch) {
                    copy_row(to, a.row(b));
                }
            }
            Signal::Steps(a) if a.is_standard_layout() && size > 0 => {
                let (data, all) = (a.as_slice().unwrap_or_default(), a.dim().1);
                // One page of each example at a time, since a processor prefetches few streams at once.
                let some = PAGE.div_ceil(size);
                for t in (0..dims.steps).step_by(some) {
                    for (b, &example) in batch.iter().enumerate().take(dims.batch) {
                        let rows =
                            example * all + first + t..example * all + first + dims.steps.min(t + some);
                        let from = data[rows.start * size..rows.end * size].chunks_exact(size);
                        let to = to[(t * dims.batch + b) * size..].chunks_mut(dims.batch * size);
                        from.zip(to).for_each(|(from, to)| to[..size].copy_from_slice(from));
                    }
                }
            }
            Signal::Steps(a) => {
                for (r, to) in to.chunks_exact_mut(size).take(dims.batch * dims.steps).enumerate() {
                    copy_row(to, a.slice(ndarray::s![batch[r % dims.batch], first + r / dims.batch, ..]));
                }
            }
        }
    }

    /// A copy of the given examples, in this order.
    pub fn select(&self, examples: &[usize]) -> Self {
        match self {
            Signal::Held(a) => Signal::Held(a.select(Axis(0), examples)),
            Signal::Steps(a) => Signal::Steps(a.select(Axis(0), examples)),
        }
    }
}

/// Floats of an example that are copied at a time.
const PAGE: usize = 1024;

fn copy_row(to: &mut [f32], row: ndarray::ArrayView1<'_, f32>) {
    match row.as_slice() {
        Some(row) => to.copy_from_slice(row),
        None => to.iter_mut().zip(row).for_each(|(to, x)| *to = *x),
    }
}

/// Signals by the name of an input node (inputs) or a probe (targets). All have the same number of examples.
///
/// A target of NaN does not count in losses and metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Data {
    pub(crate) signals: BTreeMap<String, Signal>,
}

impl Data {
    /// Data without signals.
    pub const fn new() -> Self {
        Self { signals: BTreeMap::new() }
    }

    /// Adds or replaces the signal of the node or probe `name`.
    pub fn with(mut self, name: &str, signal: impl Into<Signal>) -> Self {
        self.signals.insert(name.to_string(), signal.into());
        self
    }

    /// Signal of the node or probe `name`.
    pub fn get(&self, name: &str) -> Option<&Signal> {
        self.signals.get(name)
    }

    /// Number of examples; `None` without signals.
    ///
    /// # Errors
    /// [`Error::Shape`] with the names of two signals whose numbers differ.
    pub fn examples(&self) -> Result<Option<usize>> {
        agree(all_signals(&[self]), "examples", |s| Some(s.examples()))
    }

    /// Number of steps; `None` if all signals are held.
    ///
    /// # Errors
    /// [`Error::Shape`] with the names of two signals whose numbers differ.
    pub fn steps(&self) -> Result<Option<usize>> {
        agree(all_signals(&[self]), "steps", Signal::steps)
    }

    /// A copy of the given examples, in this order.
    pub fn select(&self, examples: &[usize]) -> Self {
        Self { signals: self.signals.iter().map(|(n, s)| (n.clone(), s.select(examples))).collect() }
    }
}

/// Names and signals of several data.
pub(crate) fn all_signals<'a>(data: &[&'a Data]) -> impl Iterator<Item = (&'a str, &'a Signal)> + use<'a> {
    let all: Vec<_> = data.iter().flat_map(|d| &d.signals).map(|(n, s)| (n.as_str(), s)).collect();
    all.into_iter()
}

/// The count that all signals with one have in common, such as their number of examples.
pub(crate) fn agree<'a>(
    signals: impl Iterator<Item = (&'a str, &'a Signal)>,
    what: &str,
    count: impl Fn(&Signal) -> Option<usize>,
) -> Result<Option<usize>> {
    let mut first: Option<(&str, usize)> = None;
    for (name, signal) in signals {
        match (first, count(signal)) {
            (Some((other, n)), Some(m)) if n != m => {
                let (left, right) = (format!("the data of '{other}'"), format!("that of '{name}'"));
                return Err(Error::shape(left, format!("{n} {what}"), right, format!("{m} {what}")));
            }
            (None, Some(n)) => first = Some((name, n)),
            _ => {}
        }
    }
    Ok(first.map(|(_, n)| n))
}

/// Rows `t * batch + b` as (batch, steps, size).
pub(crate) fn by_example(rows: &[f32], dims: Dims, size: usize) -> Array3<f32> {
    let view = ArrayView3::from_shape((dims.steps, dims.batch, size), rows);
    view.map(|v| v.permuted_axes([1, 0, 2]).as_standard_layout().into_owned()).unwrap_or_default()
}
