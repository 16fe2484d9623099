//! Tables of examples: which columns are inputs, and what an example should be answered with.

use std::fmt;
use std::path::Path;

use ndarray::{Array2, Axis};
use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::csv::read_csv;
use super::dataset::{Dataset, scaled};
use crate::error::{Error, Result};

/// 32-bit floats hold every integer up to here, so a class index below it is exact.
const MOST_CLASSES: f32 = (1 << 24) as f32;

/// The column of a table that holds the class index: `"first"`, `"last"` or a number, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelColumn {
    /// The first column.
    First,
    /// The last column.
    #[default]
    Last,
    /// The column with this index, from 0.
    Index(usize),
}

impl<'de> Deserialize<'de> for LabelColumn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = LabelColumn;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("\"first\", \"last\" or the label's column, counted from 0")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<LabelColumn, E> {
                match text {
                    "first" => Ok(LabelColumn::First),
                    "last" => Ok(LabelColumn::Last),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, index: i64) -> Result<LabelColumn, E> {
                let unexpected = de::Unexpected::Signed(index);
                usize::try_from(index)
                    .map(LabelColumn::Index)
                    .map_err(|_| E::invalid_value(unexpected, &self))
            }

            fn visit_u64<E: de::Error>(self, index: u64) -> Result<LabelColumn, E> {
                let unexpected = de::Unexpected::Unsigned(index);
                usize::try_from(index)
                    .map(LabelColumn::Index)
                    .map_err(|_| E::invalid_value(unexpected, &self))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// What an example should be answered with.
#[derive(Clone, Copy)]
pub(super) enum Answers {
    /// A class.
    Class(LabelColumn),
    /// Numbers in so many columns at the end.
    Numbers(usize),
}

pub(super) fn load_csv(path: &Path, answers: Answers, scale: f32) -> Result<Dataset> {
    let table = read_csv(path)?;
    let (inputs, targets) = match answers {
        Answers::Class(label) => with_label(path, table, label)?,
        Answers::Numbers(n) if (1..table.ncols()).contains(&n) => {
            let (inputs, targets) = table.view().split_at(Axis(1), table.ncols() - n);
            (inputs.to_owned(), targets.to_owned())
        }
        Answers::Numbers(n) => {
            let problem = format!(
                "[data] says targets = {n}, but of the table's {} columns at least one must be a target and one an input",
                table.ncols()
            );
            return Err(Error::file(path, problem));
        }
    };
    Ok(Dataset { inputs: scaled(path, inputs, scale)?, targets })
}

/// Inputs, and the class index of each example.
fn with_label(path: &Path, mut table: Array2<f32>, label: LabelColumn) -> Result<(Array2<f32>, Array2<f32>)> {
    let columns = table.ncols();
    if columns < 2 {
        return Err(Error::file(path, "has 1 column, but a label and at least one input are needed"));
    }
    let label = match label {
        LabelColumn::First => 0,
        LabelColumn::Last => columns - 1,
        LabelColumn::Index(index) if index < columns => index,
        LabelColumn::Index(index) => {
            let problem =
                format!("label is column {index}, but the table's {columns} columns are numbered from 0");
            return Err(Error::file(path, problem));
        }
    };
    let targets = table.column(label).to_owned().insert_axis(Axis(1));
    for (row, &value) in targets.iter().enumerate() {
        if value < 0.0 || value.fract() != 0.0 || value >= MOST_CLASSES {
            let problem = format!(
                "the label of example {} is {value}; labels are class indices, whole numbers from 0 and below \
                 {MOST_CLASSES} (for numbers to be given, say [data] targets = 1)",
                row + 1
            );
            return Err(Error::file(path, problem));
        }
    }
    table.remove_index(Axis(1), label);
    Ok((table, targets))
}
