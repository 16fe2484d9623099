//! Serialisation of matrices: a list of rows, or of numbers if rows have one column.

use ndarray::Array2;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Deserialize)]
enum Row {
    #[serde(rename = "$number")]
    One(f64),
    #[serde(rename = "$list:a list of numbers")]
    Many(Vec<f64>),
}

pub fn serialize<S: Serializer>(values: &Array2<f64>, to: S) -> Result<S::Ok, S::Error> {
    let rows: Vec<Vec<f64>> = values.rows().into_iter().map(|row| row.to_vec()).collect();
    rows.serialize(to)
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Array2<f64>, D::Error> {
    let rows: Vec<Row> = Vec::deserialize(from)?;
    let rows: Vec<Vec<f64>> = rows
        .into_iter()
        .map(|row| match row {
            Row::One(x) => vec![x],
            Row::Many(row) => row,
        })
        .collect();
    let size = rows.first().map_or(0, Vec::len);
    if let Some(i) = rows.iter().position(|row| row.len() != size) {
        let found = rows[i].len();
        return Err(D::Error::custom(format!("row {} has {found} values, row 1 has {size}", i + 1)));
    }
    Array2::from_shape_vec((rows.len(), size), rows.concat()).map_err(D::Error::custom)
}

/// Serialisation of an optional matrix.
pub mod option {
    use super::*;

    pub fn serialize<S: Serializer>(values: &Option<Array2<f64>>, to: S) -> Result<S::Ok, S::Error> {
        match values {
            Some(values) => super::serialize(values, to),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Array2<f64>>, D::Error> {
        super::deserialize(from).map(Some)
    }
}
