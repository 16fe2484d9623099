//! Slices: the dimensions of an object that a connection takes or reaches.

use std::fmt;
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo};
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::graph::Tensor;
use crate::op::Pattern;

/// Selection of an object's dimensions, with Python's indices: from 0, negative numbers from the end.
///
/// It converts from a number, a Rust range (`0..3`, `2..`, `-2..`), an array or list of numbers, and from Python's notation:
/// `"3"`, `"0:3"`, `"-2:"`, `"::-1"`, `"[2, 0, 1]"`. Unlike in Python, a bound beyond the object is an error.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Slice {
    /// All dimensions in order.
    #[default]
    All,
    /// From `start` to before `stop` in steps of `step`. A missing bound extends to the end on its side.
    Range {
        /// First dimension.
        start: Option<i64>,
        /// End, exclusive.
        stop: Option<i64>,
        /// Stride; negative strides go backward.
        step: i64,
    },
    /// These dimensions in this order, possibly repeated.
    List(Vec<i64>),
}

impl Slice {
    /// Every `step`-th dimension from `start` to before `stop`, like Python's `start:stop:step`.
    pub fn stepped(start: Option<i64>, stop: Option<i64>, step: i64) -> Self {
        Self::Range { start, stop, step }
    }

    /// The selected indices of an object with `size` dimensions.
    ///
    /// # Errors
    /// A message with the number and the size: an index beyond the object, a step of zero, or an empty selection.
    pub fn indices(&self, size: usize) -> Result<Vec<usize>, String> {
        let n = i64::try_from(size).map_err(|_| format!("{size} dimensions are too many"))?;
        let from_end = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
        let indices: Vec<usize> = match self {
            Slice::All => (0..size).collect(),
            Slice::List(list) => {
                if let Some(bad) = list.iter().find(|&&i| !(0..n).contains(&from_end(i))) {
                    return Err(format!("index {bad} is outside of its {size} dimensions"));
                }
                list.iter().map(|&i| from_end(i) as usize).collect()
            }
            Slice::Range { step: 0, .. } => return Err("the step must not be 0".into()),
            &Slice::Range { start, stop, step } => {
                if let Some(bad) = [start, stop].into_iter().flatten().find(|i| !(-n..=n).contains(i)) {
                    return Err(format!("bound {bad} is outside of its {size} dimensions"));
                }
                let (first, last) = if step > 0 { (0, n) } else { (n - 1, -1) };
                // As in Python, a backward slice without a start begins at the last dimension.
                let start = start.map_or(first, from_end).min(if step > 0 { n } else { n - 1 });
                let stop = stop.map_or(last, from_end);
                let inside = |&i: &i64| if step > 0 { i < stop } else { i > stop };
                let next = |i: &i64| i.checked_add(step);
                std::iter::successors(Some(start), next).take_while(inside).map(|i| i as usize).collect()
            }
        };
        if indices.is_empty() { Err(format!("none of its {size} dimensions is left")) } else { Ok(indices) }
    }
}

/// Python's notation, with the brackets of lists only.
impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = |i: &Option<i64>| i.map_or(String::new(), |i| i.to_string());
        match self {
            Slice::All => write!(f, ":"),
            Slice::Range { start, stop, step: 1 } => write!(f, "{}:{}", bound(start), bound(stop)),
            Slice::Range { start, stop, step } => write!(f, "{}:{}:{step}", bound(start), bound(stop)),
            Slice::List(list) => match list[..] {
                [one] => write!(f, "{one}"),
                _ => write!(f, "{list:?}"),
            },
        }
    }
}

impl FromStr for Slice {
    type Err = Error;

    /// Parses Python's notation, without the outer brackets.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            let problem = "a slice is a number, start:stop, start:stop:step or a list as [2, 0, 1]; all of these \
                           are whole numbers, and negative ones count from the end";
            Error::invalid(format!("the slice '{text}'"), problem)
        };
        let number = |s: &str| s.trim().parse::<i64>().map_err(|_| invalid());
        let trimmed = text.trim();
        if let Some(list) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return list.split(',').map(number).collect::<Result<_>>().map(Self::List);
        }
        let bound = |s: &str| if s.trim().is_empty() { Ok(None) } else { number(s).map(Some) };
        match trimmed.split(':').collect::<Vec<_>>()[..] {
            [one] => number(one).map(|i| Self::List(vec![i])),
            [start, stop] => Ok(Self::Range { start: bound(start)?, stop: bound(stop)?, step: 1 }),
            [start, stop, step] => {
                Ok(Self::Range { start: bound(start)?, stop: bound(stop)?, step: bound(step)?.unwrap_or(1) })
            }
            _ => Err(invalid()),
        }
    }
}

impl From<RangeFull> for Slice {
    fn from(_: RangeFull) -> Self {
        Self::All
    }
}

/// Clamps to `i64`, so that numbers beyond any object do not wrap around to negative ones.
fn whole(i: i128) -> i64 {
    i.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

macro_rules! from_numbers {
    ($($number:ty)*) => {$(
        impl From<$number> for Slice {
            fn from(i: $number) -> Self {
                Self::List(vec![whole(i as i128)])
            }
        }

        impl From<Range<$number>> for Slice {
            fn from(r: Range<$number>) -> Self {
                Self::stepped(Some(whole(r.start as i128)), Some(whole(r.end as i128)), 1)
            }
        }

        impl From<RangeInclusive<$number>> for Slice {
            fn from(r: RangeInclusive<$number>) -> Self {
                // The end after -1 would be 0, which is the first dimension; leave the end open.
                let stop = Some(whole(*r.end() as i128)).filter(|&end| end != -1).map(|end| end.saturating_add(1));
                Self::stepped(Some(whole(*r.start() as i128)), stop, 1)
            }
        }

        impl From<RangeFrom<$number>> for Slice {
            fn from(r: RangeFrom<$number>) -> Self {
                Self::stepped(Some(whole(r.start as i128)), None, 1)
            }
        }

        impl From<RangeTo<$number>> for Slice {
            fn from(r: RangeTo<$number>) -> Self {
                Self::stepped(None, Some(whole(r.end as i128)), 1)
            }
        }

        impl<const N: usize> From<[$number; N]> for Slice {
            fn from(list: [$number; N]) -> Self {
                Self::List(list.map(|i| whole(i as i128)).to_vec())
            }
        }

        impl From<Vec<$number>> for Slice {
            fn from(list: Vec<$number>) -> Self {
                Self::List(list.into_iter().map(|i| whole(i as i128)).collect())
            }
        }
    )*};
}

from_numbers! { i32 i64 isize usize }

/// Selected dimensions, as operators.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Columns {
    /// All dimensions in order.
    All,
    /// A contiguous range from this dimension on.
    From(usize),
    /// Arbitrary dimensions, selected by the pattern.
    List(Arc<Pattern>),
}

impl Columns {
    /// Resolves a slice of the object `name` with `size` dimensions; also returns the number of dimensions.
    pub fn new(slice: &Slice, name: &str, size: usize) -> Result<(Self, usize)> {
        if *slice == Slice::All {
            return Ok((Self::All, size));
        }
        let invalid = |problem| Error::invalid(format!("'{name}[{slice}]'"), problem);
        let indices = slice.indices(size).map_err(invalid)?;
        let n = indices.len();
        let columns = if n == size && indices.iter().enumerate().all(|(i, &j)| i == j) {
            Self::All
        } else if indices.windows(2).all(|w| w[0] + 1 == w[1]) {
            Self::From(indices[0])
        } else {
            Self::List(Arc::new(Pattern::select(size, &indices).map_err(invalid)?))
        };
        Ok((columns, n))
    }

    /// The transposed pattern, for [`Columns::place`].
    pub fn scatter(self) -> Self {
        match self {
            Self::List(pattern) => Self::List(Arc::new(pattern.transposed())),
            other => other,
        }
    }

    /// Selects `n` columns of `x`.
    pub fn take<'s>(&self, x: Tensor<'s>, n: usize) -> Tensor<'s> {
        match self {
            Self::All => x,
            Self::From(start) => x.slice(*start, n),
            Self::List(pattern) => x.sparse(pattern, None),
        }
    }

    /// Places `x` (see [`Columns::scatter`]) among `size` columns with zeros elsewhere. Values at the same place are summed.
    pub fn place<'s>(&self, x: Tensor<'s>, size: usize) -> Tensor<'s> {
        match self {
            Self::All => x,
            Self::From(start) => x.pad(*start, size),
            Self::List(pattern) => x.sparse(pattern, None),
        }
    }
}
