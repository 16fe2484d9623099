//! Types of values and their places in buffers.

use std::fmt;

use crate::engine::Binding;

/// Number of times that a value exists in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extent {
    /// Once.
    Fixed,
    /// Once per item of the minibatch.
    Example,
    /// Once per time step and item.
    Sequence,
}

/// Extent and size of a value. `rows` counts for `Fixed` values only and is 1 for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Type {
    /// Its extent.
    pub extent: Extent,
    /// Rows of a fixed matrix; 1 for an example or a step.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

impl Type {
    /// A matrix that exists once.
    pub fn fixed(rows: usize, cols: usize) -> Self {
        Self { extent: Extent::Fixed, rows, cols }
    }

    /// One row of `cols` per example.
    pub fn example(cols: usize) -> Self {
        Self { extent: Extent::Example, rows: 1, cols }
    }

    /// One row of `cols` per time step and example.
    pub fn sequence(cols: usize) -> Self {
        Self { extent: Extent::Sequence, rows: 1, cols }
    }

    /// The same with another number of columns.
    pub fn with_cols(self, cols: usize) -> Self {
        Self { cols, ..self }
    }

    /// Rows of the whole matrix in a run of `dims`.
    pub fn total_rows(&self, dims: Dims) -> usize {
        match self.extent {
            Extent::Fixed => self.rows,
            Extent::Example => dims.batch,
            Extent::Sequence => dims.batch * dims.steps,
        }
    }

    /// Elements of the whole matrix in a run of `dims`.
    pub fn elements(&self, dims: Dims) -> usize {
        self.total_rows(dims) * self.cols
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.extent {
            Extent::Fixed => write!(f, "[{}, {}]", self.rows, self.cols),
            Extent::Example => write!(f, "[example, {}]", self.cols),
            Extent::Sequence => write!(f, "[step, example, {}]", self.cols),
        }
    }
}

/// Examples at once and time steps of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dims {
    /// Items of the minibatch.
    pub batch: usize,
    /// Time steps.
    pub steps: usize,
}

/// Place of a value: a range of a buffer, and the first element of its first row there.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// The range of a buffer.
    pub binding: Binding,
    /// First element of row 0, counted from the binding's start.
    pub start: usize,
    /// Shape and extent of the value.
    pub ty: Type,
}

/// An input of a dispatch: rows repeat with a period, a single column stands for all.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand {
    /// Its place.
    pub placed: Placed,
    /// Row `r` of the output reads row `r % period` of the operand.
    pub period: usize,
}

/// Place of an operator's states, which lie one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedStates {
    /// All of them; `start` is the first element of the first.
    pub placed: Placed,
    /// True if each has a history of `steps + 1` blocks of `batch` rows; else each has its current block alone.
    pub kept: bool,
}
