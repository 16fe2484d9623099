//! Data sets and their parts.

use std::path::Path;

use ndarray::{Array2, Axis};

use crate::error::{Error, Result};

/// Examples: inputs and targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Inputs, examples × features.
    pub inputs: Array2<f32>,
    /// Targets: class indices from 0, examples × 1; or desired outputs, examples × numbers. NaN marks a target that does not
    /// count.
    pub targets: Array2<f32>,
}

impl Dataset {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.inputs.nrows()
    }

    /// True if there are no examples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of input values per example.
    pub fn features(&self) -> usize {
        self.inputs.ncols()
    }

    /// The examples at these indices, in this order.
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    pub fn select(&self, indices: &[usize]) -> Self {
        Self { inputs: self.inputs.select(Axis(0), indices), targets: self.targets.select(Axis(0), indices) }
    }
}

/// Expected size of examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Name of the node that receives them.
    pub node: &'a str,
    /// Number of values that the node takes per example.
    pub numbers: usize,
}

impl Wanted<'_> {
    /// Checks the size of a file's examples.
    pub(super) fn check(&self, path: &Path, numbers: usize) -> Result<()> {
        if numbers == self.numbers {
            return Ok(());
        }
        let (node, of) = (format!("node '{}'", self.node), format!("an example of {}", path.display()));
        Err(Error::shape(node, format!("{} numbers", self.numbers), of, format!("{numbers} numbers")))
    }
}

/// The parts of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Splits {
    /// Training examples; never empty.
    pub train: Dataset,
    /// Validation examples; `None` if none were requested, else not empty.
    pub validation: Option<Dataset>,
    /// Test examples; `None` if there are no test files and none were requested, else not empty.
    pub test: Option<Dataset>,
    /// One more than the largest class index in any part; 0 if targets are not classes.
    pub classes: usize,
}

/// Multiplies inputs by a scale; values that are not finite afterwards are an error.
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
