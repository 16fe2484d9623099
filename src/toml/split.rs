//! `[split]`: training, validation and test parts of a data set.

use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use serde::de;
use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};
use crate::io::dataset::Dataset;

/// Size of a part: a whole number of examples, or a fraction between 0 and 1 (`0.2`).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub enum Part {
    /// This many examples; 0 for none.
    #[serde(rename = "$whole:a number of examples, as 360")]
    Count(usize),
    /// This share of the examples, rounded.
    #[serde(rename = "$number:a fraction from 0.0 to below 1.0, as 0.2", deserialize_with = "fraction")]
    Fraction(f64),
}

/// Split of examples into parts.
///
/// The examples are taken in the order of the file or in a random order. The last ones form the test part, those before them
/// the validation part, and the rest is for training.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SplitSpec {
    /// Size of the test part; not allowed if the test examples have files of their own. None by default.
    pub test: Option<Part>,
    /// Size of the validation part; a fraction is one of the examples that the test part leaves. None by default.
    pub validation: Option<Part>,
    /// Shuffle the examples first; true by default.
    pub shuffle: bool,
    /// Seed of the random order; 0 by default.
    pub seed: u64,
}

impl Default for SplitSpec {
    fn default() -> Self {
        Self { test: None, validation: None, shuffle: true, seed: 0 }
    }
}

impl SplitSpec {
    /// Splits the parts off `train`; the path is used in messages.
    pub(super) fn apply(
        &self,
        path: &Path,
        train: Dataset,
        test: Option<Dataset>,
    ) -> Result<(Dataset, Option<Dataset>, Option<Dataset>)> {
        let total = train.len();
        if test.is_some() && self.test.is_some() {
            let problem = "the test examples have files of their own; leave this out";
            return Err(Error::invalid("[split] test", problem));
        }
        let for_test = part_of(self.test, "test", total, path)?;
        let for_validation = part_of(self.validation, "validation", total - for_test, path)?;
        if for_test + for_validation == 0 {
            return Ok((train, None, test));
        }
        let mut order: Vec<usize> = (0..total).collect();
        if self.shuffle {
            order.shuffle(&mut Pcg64Mcg::seed_from_u64(self.seed));
        }
        let (rest, last) = order.split_at(total - for_test);
        let (first, middle) = rest.split_at(rest.len() - for_validation);
        let part = |indices: &[usize]| (!indices.is_empty()).then(|| train.select(indices));
        Ok((train.select(first), part(middle), part(last).or(test)))
    }
}

/// Number of examples in a part of `total`; at least one must be left.
fn part_of(part: Option<Part>, name: &str, total: usize, path: &Path) -> Result<usize> {
    let (count, said) = match part {
        None => return Ok(0),
        Some(Part::Count(count)) => (count, count.to_string()),
        // Rounds to less than or equal to `total`, since fractions read from TOML are below 1.
        Some(Part::Fraction(share)) => ((total as f64 * share).round() as usize, share.to_string()),
    };
    if count == 0 && matches!(part, Some(Part::Fraction(share)) if share > 0.0) {
        let problem =
            format!("{said} of the {total} examples in {} is none; take more, or set 0", path.display());
        return Err(Error::invalid(format!("[split] {name}"), problem));
    }
    if count < total {
        return Ok(count);
    }
    let problem = format!("{said} of the {total} examples in {} leaves none for training", path.display());
    Err(Error::invalid(format!("[split] {name}"), problem))
}

fn fraction<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(from)?;
    if (0.0..1.0).contains(&share) {
        return Ok(share);
    }
    let problem = format!(
        "it must be a number of examples, as 360, or a fraction from 0.0 to below 1.0, as 0.2, but is {share}"
    );
    Err(de::Error::custom(problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn every_example_is_in_exactly_one_part(
            test in 0usize..5, share in 0.0..0.4f64, shuffle in any::<bool>(), seed in 0u64..99,
        ) {
            let none = share > 0.0 && ((10 - test) as f64 * share).round() == 0.0;
            let (test, validation) = (Some(Part::Count(test)), Some(Part::Fraction(share)));
            let spec = SplitSpec { test, validation, shuffle, seed };
            let all = Array2::from_shape_fn((10, 1), |(row, _)| row as f32);
            let all = Dataset { inputs: all.clone(), targets: all };
            let split = spec.apply(Path::new("x"), all, None);
            if none {
                prop_assert!(split.unwrap_err().to_string().contains("is none"));
                return Ok(());
            }
            let (train, validation, test) = split.unwrap();
            let parts = [Some(train), validation, test];
            let mut seen: Vec<f32> = parts.iter().flatten().flat_map(|part| &part.targets).copied().collect();
            seen.sort_by(f32::total_cmp);
            prop_assert_eq!(seen, (0..10).map(|i| i as f32).collect::<Vec<_>>());
            for part in parts.iter().flatten() {
                prop_assert_eq!(&part.inputs, &part.targets);
            }
        }
    }
}
