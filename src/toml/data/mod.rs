//! `[data]`: location, format and scale of the examples.
//!
//! ```toml
//! [data]
//! format = "csv"
//! path = "data/digits.csv.gz"
//! scale = 0.0625
//!
//! [split]
//! test = 360
//! validation = 0.1
//! shuffle = false
//! ```

mod files;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};
use crate::io::LabelColumn;
use crate::io::columns::{Answers, load_csv};
use crate::io::dataset::{Splits, Wanted};
use crate::io::images::{check_same_features, load_idx};
use crate::toml::split::SplitSpec;

/// Location and format of the examples. Paths are relative to the TOML file's directory.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum DataSpec {
    #[serde(alias = "$tag:format")]
    /// A table of numbers with one example per row, plain or gzipped; see [`read_csv`](crate::io::csv::read_csv).
    Csv {
        /// Path of the file.
        path: PathBuf,
        /// Column of the class index; the last by default. All other columns are inputs. An example with the class `nan` does not
        /// count in the loss.
        label: Option<LabelColumn>,
        /// Number of target columns at the end, instead of a class: the desired output of the network, for the whole run or step by
        /// step. All other columns are inputs. A target of `nan` does not count in the loss.
        targets: Option<usize>,
        /// Factor on the inputs; 1 by default.
        #[serde(default = "unscaled")]
        scale: f32,
    },
    /// Images and labels as IDX files, plain or gzipped; see [`read_idx`](crate::io::idx::read_idx). The inputs are the pixels of
    /// an image, row by row.
    Idx {
        /// Directory of the files. MNIST's four standard names, with or without `.gz`, are used unless the keys below name other
        /// files.
        dir: Option<PathBuf>,
        /// Training images.
        train_images: Option<PathBuf>,
        /// Class indices of the training images.
        train_labels: Option<PathBuf>,
        /// Test images. Without `dir` they are optional, together with their labels.
        test_images: Option<PathBuf>,
        /// Class indices of the test images.
        test_labels: Option<PathBuf>,
        /// Factor on the pixels, which range from 0 to 255; 1/255 by default.
        #[serde(default = "bytes_to_one")]
        scale: f32,
    },
}

fn unscaled() -> f32 {
    1.0
}

fn bytes_to_one() -> f32 {
    1.0 / 255.0
}

impl DataSpec {
    /// Reads the examples and splits them. Relative paths start at `base`, the TOML file's directory.
    ///
    /// # Errors
    /// Errors of [`read_csv`](crate::io::csv::read_csv) and [`read_idx`](crate::io::idx::read_idx); [`Error::File`] for a class
    /// index that is not a whole number from 0, for files that do not match, and for files without examples;
    /// [`Error::Invalid`] for conflicting settings or a split that leaves no training examples.
    pub fn load(&self, split: &SplitSpec, base: &Path) -> Result<Splits> {
        self.load_for(split, base, None)
    }

    /// Like [`DataSpec::load`]; also rejects examples of the wrong size before they are unpacked.
    ///
    /// # Errors
    /// As [`DataSpec::load`], and [`Error::Shape`] naming the node and both sizes.
    pub fn load_for(&self, split: &SplitSpec, base: &Path, wanted: Option<Wanted<'_>>) -> Result<Splits> {
        let (name, train, test) = match self {
            Self::Csv { path, label, targets, scale } => {
                let path = base.join(path);
                let answers = match (label, targets) {
                    (Some(_), Some(_)) => {
                        let problem = "label is for classes and targets for numbers; give it one of them";
                        return Err(Error::invalid("[data]", problem));
                    }
                    (label, None) => Answers::Class(label.unwrap_or_default()),
                    (None, Some(columns)) => Answers::Numbers(*columns),
                };
                let all = load_csv(&path, answers, *scale, wanted)?;
                (path, all, None)
            }
            Self::Idx { scale, .. } => {
                let files = self.idx_files(base)?;
                let train = load_idx(&files.train, *scale, wanted)?;
                let test = files.test.as_ref().map(|pair| load_idx(pair, *scale, wanted)).transpose()?;
                if let (Some(test), Some(pair)) = (&test, &files.test) {
                    check_same_features(&files.train.images, &train, &pair.images, test)?;
                }
                (files.train.images, train, test)
            }
        };
        let parts = [Some(&train), test.as_ref()];
        let largest = parts.iter().flatten().flat_map(|part| &part.targets).fold(0f32, |a, &b| a.max(b));
        let classes = if self.has_numbers() { 0 } else { largest as usize + 1 };
        let (train, validation, test) = split.apply(&name, train, test)?;
        Ok(Splits { train, validation, test, classes })
    }

    /// True if targets are numbers, not classes.
    pub fn has_numbers(&self) -> bool {
        matches!(self, Self::Csv { targets: Some(_), .. })
    }
}

/// Form of the label column in a file.
#[derive(Deserialize)]
enum Form {
    #[serde(rename = "$word:first")]
    First,
    #[serde(rename = "$word:last")]
    Last,
    #[serde(rename = "$whole:the label's column, counted from 0")]
    Index(usize),
}

impl<'de> Deserialize<'de> for LabelColumn {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match Form::deserialize(from)? {
            Form::First => Self::First,
            Form::Last => Self::Last,
            Form::Index(index) => Self::Index(index),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::dataset::Dataset;
    use crate::toml::split::Part;
    use ndarray::array;
    use tempfile::TempDir;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        data: DataSpec,
        #[serde(default)]
        split: SplitSpec,
    }

    fn parse(toml: &str) -> Result<File, String> {
        crate::toml::read::toml(toml, "a.toml".as_ref()).map_err(|e| e.to_string())
    }

    pub fn load(dir: &TempDir, toml: &str) -> Result<Splits> {
        let File { data, split } = parse(toml).unwrap();
        data.load(&split, dir.path())
    }

    pub fn problem(dir: &TempDir, toml: &str) -> String {
        load(dir, toml).unwrap_err().to_string()
    }

    fn with_table(text: &str) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("table.csv"), text).unwrap();
        dir
    }

    const TABLE: &str = "[data]\nformat = \"csv\"\npath = \"table.csv\"\n";

    /// Ten examples with the inputs (i, -i) and the label i.
    fn ten() -> TempDir {
        with_table(&(0..10).map(|i| format!("{i},-{i},{i}\n")).collect::<String>())
    }

    pub fn labels(part: &Dataset) -> Vec<f32> {
        part.targets.iter().copied().collect()
    }

    #[test]
    fn the_label_is_taken_from_the_column_that_was_asked_for() {
        let dir = with_table("7,8,1\n5,6,0\n");
        let all = load(&dir, TABLE).unwrap();
        assert_eq!(
            all.train,
            Dataset { inputs: array![[7.0, 8.0], [5.0, 6.0]], targets: array![[1.0], [0.0]] }
        );
        assert_eq!((all.classes, all.validation, all.test), (2, None, None));
        let first = load(&dir, &format!("{TABLE}label = \"first\"\nscale = 2")).unwrap();
        assert_eq!(first.train.inputs, array![[16.0, 2.0], [12.0, 0.0]]);
        assert_eq!((labels(&first.train), first.classes), (vec![7.0, 5.0], 8));
        let middle = load(&dir, &format!("{TABLE}label = 1")).unwrap();
        assert_eq!((middle.train.inputs, middle.classes), (array![[7.0, 1.0], [5.0, 0.0]], 9));
    }

    #[test]
    fn labels_that_are_no_class_indices_are_refused() {
        for (label, shown) in [("-1", "-1"), ("0.5", "0.5"), ("16777216", "16777216")] {
            let dir = with_table(&format!("7,8,0\n5,6,{label}\n"));
            let message = problem(&dir, TABLE);
            assert!(message.contains("table.csv"), "{message}");
            assert!(message.contains(&format!("label of example 2 is {shown};")), "{message}");
        }
        assert!(problem(&with_table("1\n2\n"), TABLE).contains("has 1 column"));
        let message = problem(&ten(), &format!("{TABLE}label = 3"));
        assert!(message.contains("label is column 3, but the table's 3 columns"), "{message}");
    }

    #[test]
    fn targets_may_be_numbers_of_several_columns() {
        let all =
            load(&with_table("7,0.5,-3\n5,6,1e3\n"), &format!("{TABLE}targets = 2\nscale = 2")).unwrap();
        let wanted = Dataset { inputs: array![[14.0], [10.0]], targets: array![[0.5, -3.0], [6.0, 1e3]] };
        assert_eq!((all.train, all.classes), (wanted, 0));
        for targets in [0, 3] {
            let message = problem(&ten(), &format!("{TABLE}targets = {targets}"));
            assert!(message.contains(&format!("targets = {targets}, but")), "{message}");
        }
        assert!(problem(&ten(), &format!("{TABLE}targets = 1\nlabel = 0")).contains("give it one of them"));
    }

    #[test]
    fn a_scale_that_ruins_the_inputs_is_refused() {
        for scale in ["0", "nan", "inf"] {
            let message = problem(&ten(), &format!("{TABLE}scale = {scale}"));
            assert!(message.starts_with("scale: "), "{message}");
        }
        let message = problem(&with_table("1,0\n1e30,0\n"), &format!("{TABLE}scale = 1e10"));
        assert!(message.contains("input 1 of example 2 is inf"), "{message}");
    }

    #[test]
    fn without_shuffling_the_parts_follow_the_order_of_the_file() {
        let toml = format!("{TABLE}[split]\ntest = 3\nvalidation = 0.3\nshuffle = false");
        let parts = load(&ten(), &toml).unwrap();
        assert_eq!(labels(&parts.train), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(labels(&parts.validation.unwrap()), [5.0, 6.0]); // 0.3 of 7, rounded
        let test = parts.test.unwrap();
        assert_eq!(labels(&test), [7.0, 8.0, 9.0]);
        assert_eq!(test.inputs.row(0).to_vec(), [7.0, -7.0]);
        assert_eq!(parts.classes, 10);
    }

    /// A library update that changes the order would silently change every reported accuracy.
    #[test]
    fn the_random_order_of_a_seed_stays_what_it_is() {
        let order = |seed: u32| {
            let toml = format!("{TABLE}[split]\ntest = 4\nseed = {seed}");
            let parts = load(&ten(), &toml).unwrap();
            [labels(&parts.train), labels(&parts.test.unwrap())].concat()
        };
        assert_eq!(order(0), ORDER_OF_SEED_0);
        assert_ne!(order(1), ORDER_OF_SEED_0);
    }

    const ORDER_OF_SEED_0: [f32; 10] = [3.0, 5.0, 9.0, 0.0, 8.0, 2.0, 7.0, 4.0, 6.0, 1.0];

    #[test]
    fn a_part_that_leaves_nothing_to_learn_from_is_refused_with_both_sizes() {
        let message = problem(&ten(), &format!("{TABLE}[split]\ntest = 10"));
        assert!(message.starts_with("[split] test: 10 of the 10 examples in "), "{message}");
        let message = problem(&ten(), &format!("{TABLE}[split]\ntest = 4\nvalidation = 6"));
        assert!(message.starts_with("[split] validation: 6 of the 6 examples in "), "{message}");
        assert!(problem(&ten(), &format!("{TABLE}[split]\ntest = 0.99")).contains("0.99 of the 10 examples"));
        assert_eq!(
            load(&ten(), &format!("{TABLE}[split]\ntest = 0\nvalidation = 0.0")).unwrap().train.len(),
            10
        );
    }

    #[test]
    fn descriptions_with_mistakes_say_what_is_expected() {
        for (toml, expected) in [
            ("[data]\nformat = \"png\"", "it must be one of \"csv\" and \"idx\", but is \"png\""),
            ("[data]\npath = \"a\"", "the key 'format' is missing; it must be one of \"csv\" and \"idx\""),
            ("[data]\nformat = \"csv\"", "the key 'path' is missing"),
            ("[data]\nformat = \"csv\"\npath = \"a\"\nfile = 1", "there is no key 'file' here"),
            (
                "[data]\nformat = \"csv\"\npath = \"a\"\nlabel = \"middle\"",
                "it must be \"first\", \"last\" or the",
            ),
            (
                "[data]\nformat = \"csv\"\npath = \"a\"\nlabel = -1",
                "a whole number from 0 on, or \"first\", or",
            ),
            ("[data]\nformat = \"idx\"\ntest_images = \"a\"", "(did you mean 'test-images'?)"),
            ("[data]\nformat = \"idx\"\n[split]\ntest = 1.0", "a fraction from 0.0 to below 1.0"),
            ("[data]\nformat = \"idx\"\n[split]\ntest = -3", "a whole number from 0 on, or a fraction"),
            ("[data]\nformat = \"idx\"\n[split]\ntest = \"all\"", "a number of examples"),
            ("[data]\nformat = \"idx\"\n[split]\ntests = 3", "(did you mean 'test'?)"),
        ] {
            let message = parse(toml).unwrap_err();
            assert!(message.contains(expected), "{toml}: {message}");
        }
    }

    #[test]
    fn the_digits_of_the_examples_folder_are_read() {
        let data =
            DataSpec::Csv { path: "digits.csv.gz".into(), label: None, targets: None, scale: 1.0 / 16.0 };
        let split = SplitSpec { test: Some(Part::Count(360)), shuffle: false, ..SplitSpec::default() };
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
        let parts = data.load(&split, &base).unwrap();
        let test = parts.test.unwrap();
        assert_eq!((parts.train.len(), test.len(), test.features(), parts.classes), (1437, 360, 64, 10));
        assert_eq!(parts.train.inputs.iter().copied().fold(0f32, f32::max), 1.0);
    }
}
