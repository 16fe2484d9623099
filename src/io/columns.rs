//! Tables of examples: input columns and target columns.

use std::path::Path;

use ndarray::{Array2, Axis};

use crate::error::{Error, Result};
use crate::io::csv::{Columns, read_csv_with};
use crate::io::dataset::{Dataset, Wanted, scaled};

/// Largest number of classes. 32-bit floats represent integers up to here exactly.
const MAX_CLASSES: f32 = (1 << 24) as f32;

/// The column of a table that holds the class index.
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

/// Targets of an example.
#[derive(Clone, Copy)]
pub(crate) enum Answers {
    /// A class.
    Class(LabelColumn),
    /// Numbers in this many columns at the end.
    Numbers(usize),
}

pub(crate) fn load_csv(
    path: &Path,
    answers: Answers,
    scale: f32,
    wanted: Option<Wanted<'_>>,
) -> Result<Dataset> {
    // NaN marks targets that do not count.
    let gaps = |column: usize, columns: usize| match answers {
        Answers::Class(LabelColumn::First) => column == 0,
        Answers::Class(LabelColumn::Last) => column + 1 == columns,
        Answers::Class(LabelColumn::Index(label)) => column == label,
        Answers::Numbers(n) => column + n >= columns,
    };
    let own = match answers {
        Answers::Class(_) => 1,
        Answers::Numbers(n) => n,
    };
    let right = |columns: usize| match (wanted, columns.checked_sub(own)) {
        (Some(wanted), Some(inputs @ 1..)) => wanted.check(path, inputs),
        // Tables without inputs are reported separately.
        _ => Ok(()),
    };
    let table = read_csv_with(path, Columns { right: &right, gaps: &gaps })?;
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

/// Splits a table into inputs and the class index of each example.
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
        let class = (0.0..MAX_CLASSES).contains(&value) && value.fract() == 0.0;
        if !class && !value.is_nan() {
            let problem = format!(
                "the label of example {} is {value}; labels are class indices, whole numbers from 0 and below \
                 {MAX_CLASSES} (for numbers to be given, say [data] targets = 1)",
                row + 1
            );
            return Err(Error::file(path, problem));
        }
    }
    table.remove_index(Axis(1), label);
    Ok((table, targets))
}
