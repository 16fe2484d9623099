//! Examples to learn from, and their parts.

use std::path::Path;

use ndarray::{Array2, Axis};

use crate::error::{Error, Result};

/// Examples: inputs and what a network should answer to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Examples × features.
    pub inputs: Array2<f32>,
    /// Examples × 1: the index of each example's class, from 0; or examples × the numbers that a network should
    /// give. NaN where a target does not count.
    pub targets: Array2<f32>,
}

impl Dataset {
    /// The number of examples.
    pub fn len(&self) -> usize {
        self.inputs.nrows()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers that describe one example.
    pub fn features(&self) -> usize {
        self.inputs.ncols()
    }

    /// The examples with these indices, in this order.
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    pub fn select(&self, indices: &[usize]) -> Self {
        Self { inputs: self.inputs.select(Axis(0), indices), targets: self.targets.select(Axis(0), indices) }
    }
}

/// What the examples are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The node that gets them.
    pub node: &'a str,
    /// The numbers that it takes of each example.
    pub numbers: usize,
}

impl Wanted<'_> {
    /// Whether examples of a file are of the right size.
    pub(super) fn check(&self, path: &Path, numbers: usize) -> Result<()> {
        if numbers == self.numbers {
            return Ok(());
        }
        let (node, of) = (format!("node '{}'", self.node), format!("an example of {}", path.display()));
        Err(Error::shape(node, format!("{} numbers", self.numbers), of, format!("{numbers} numbers")))
    }
}

/// What was read: the parts of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Splits {
    /// The examples to learn from; never empty.
    pub train: Dataset,
    /// Examples kept back from training to watch it; `None` if none were asked for, and never empty.
    pub validation: Option<Dataset>,
    /// Examples that only the finished network sees; `None` if there are no test files and none were asked
    /// for, and never empty.
    pub test: Option<Dataset>,
    /// One more than the largest class index in any part; 0 where targets are no classes.
    pub classes: usize,
}

/// Inputs times a scale; what is not finite then is an error.
pub(super) fn scaled(path: &Path, mut inputs: Array2<f32>, scale: f32) -> Result<Array2<f32>> {
    if !scale.is_finite() || scale == 0.0 {
        return Err(Error::invalid("scale", format!("{scale} is not a finite number other than 0")));
    }
    if scale != 1.0 {
        inputs *= scale;
    }
    if let Some(((row, column), value)) = inputs.indexed_iter().find(|(_, value)| !value.is_finite()) {
        let place = format!("input {} of example {}", column + 1, row + 1);
        return Err(Error::file(path, format!("{place} is {value} when multiplied by scale = {scale}")));
    }
    Ok(inputs)
}
