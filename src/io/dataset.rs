//! Examples to learn from: read as a TOML file describes them, scaled, and split.
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

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
pub use crate::io::columns::LabelColumn;
use crate::io::columns::{Answers, load_csv};
use crate::io::idx::Packed;
use crate::io::split::SplitSpec;
use ndarray::{Array2, Axis};

/// Examples: inputs and what a network should answer to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Examples × features.
    pub inputs: Array2<f32>,
    /// Examples × 1: the index of each example's class, from 0; or examples × the columns of [`DataSpec::Csv::targets`]. NaN where
    /// a target does not count.
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

/// Where the examples are and how they are written. Paths are relative to the TOML file's directory.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum DataSpec {
    #[serde(alias = "$tag:format")]
    /// A table of numbers with one example in a row, plain or packed with gzip; see [`read_csv`](crate::io::csv::read_csv).
    Csv {
        /// The file.
        path: PathBuf,
        /// The column of the class index, the last if not given; all others are inputs. An example whose class is `nan` does not
        /// count in the loss.
        label: Option<LabelColumn>,
        /// In place of a class: so many columns at the end are the numbers that the network should give, at once or step by
        /// step; all others are inputs. A target that is `nan` does not count in the loss.
        targets: Option<usize>,
        /// Inputs are multiplied by this; 1 by default.
        #[serde(default = "unscaled")]
        scale: f32,
    },
    /// Images and labels as IDX files, plain or packed with gzip; see [`read_idx`](crate::io::idx::read_idx). An image's pixels are its
    /// inputs, row by row.
    Idx {
        /// The directory of the files. The four standard names of MNIST are looked for in it, with and
        /// without `.gz`, unless the fields below name others.
        dir: Option<PathBuf>,
        /// Images to learn from.
        train_images: Option<PathBuf>,
        /// Their class indices.
        train_labels: Option<PathBuf>,
        /// Images to test with. Without a directory they may be left out, together with their labels.
        test_images: Option<PathBuf>,
        /// Their class indices.
        test_labels: Option<PathBuf>,
        /// Pixels, 0 to 255, are multiplied by this; 1/255 by default.
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
    /// Those of [`read_csv`](crate::io::csv::read_csv) and [`read_idx`](crate::io::idx::read_idx); [`Error::File`] for a class index that is not a whole number
    /// from 0, for files that do not fit together and for files without examples; [`Error::Invalid`] for
    /// settings that exclude each other or a part that leaves nothing to learn from.
    pub fn load(&self, split: &SplitSpec, base: &Path) -> Result<Splits> {
        self.load_for(split, base, None)
    }

    /// Like [`DataSpec::load`], of examples that are known to be of another size than they are before they are unpacked.
    ///
    /// # Errors
    /// As [`DataSpec::load`], and [`Error::Shape`] with the node and both sizes.
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

    /// Whether targets are numbers that a network should give, and no classes.
    pub fn has_numbers(&self) -> bool {
        matches!(self, Self::Csv { targets: Some(_), .. })
    }

    fn idx_files(&self, base: &Path) -> Result<IdxFiles> {
        let Self::Idx { dir, train_images, train_labels, test_images, test_labels, .. } = self else {
            return Err(Error::invalid("[data]", "not a data set of IDX files"));
        };
        let directory = dir.as_ref().map(|dir| base.join(dir));
        if let Some(directory) = &directory
            && !directory.is_dir()
        {
            return Err(Error::file(directory, format!("there is no such directory; {HINT}")));
        }
        let find = |field: &str, given: &Option<PathBuf>, standard: &str| match (given, &directory) {
            (Some(file), Some(directory)) => Ok(Some(directory.join(file))),
            (Some(file), None) => Ok(Some(base.join(file))),
            (None, Some(directory)) => standard_file(directory, field, standard).map(Some),
            (None, None) => Ok(None),
        };
        let pair = |part: &str, images: &Option<PathBuf>, labels: &Option<PathBuf>, standard: &str| {
            let images_name = format!("{part}-images");
            let labels_name = format!("{part}-labels");
            let images = find(&images_name, images, &format!("{standard}-images-idx3-ubyte"))?;
            let labels = find(&labels_name, labels, &format!("{standard}-labels-idx1-ubyte"))?;
            match (images, labels) {
                (Some(images), Some(labels)) => Ok(Some(IdxPair { images, labels })),
                (None, None) => Ok(None),
                (Some(_), None) => {
                    Err(Error::invalid("[data]", format!("{images_name} needs {labels_name} too")))
                }
                (None, Some(_)) => {
                    Err(Error::invalid("[data]", format!("{labels_name} needs {images_name} too")))
                }
            }
        };
        let train = pair("train", train_images, train_labels, "train")?;
        let test = pair("test", test_images, test_labels, "t10k")?;
        let Some(train) = train else {
            let problem = "format idx needs dir, or train-images and train-labels";
            return Err(Error::invalid("[data]", problem));
        };
        Ok(IdxFiles { train, test })
    }
}

/// Where to get a data set in this format, for whoever has none.
const HINT: &str = "on Debian `apt-get install dataset-fashion-mnist` brings Fashion-MNIST and \
     `dpkg -L dataset-fashion-mnist` tells its directory";

struct IdxFiles {
    train: IdxPair,
    test: Option<IdxPair>,
}

struct IdxPair {
    images: PathBuf,
    labels: PathBuf,
}

fn standard_file(directory: &Path, field: &str, name: &str) -> Result<PathBuf> {
    let candidates = [directory.join(name), directory.join(format!("{name}.gz"))];
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let problem =
            format!("there is neither {name} nor {name}.gz in it; name the file with {field}, or {HINT}");
        Error::file(directory, problem)
    })
}

fn load_idx(pair: &IdxPair, scale: f32, wanted: Option<Wanted<'_>>) -> Result<Dataset> {
    // All that the headers tell is compared before anything is unpacked.
    let (images, labels) = (Packed::open(&pair.images)?, Packed::open(&pair.labels)?);
    let (&[count, ref sides @ ..], [labelled]) = (&images.shape[..], &labels.shape[..]) else {
        let problem = format!("labels need 1 dimension, but these are {:?}", labels.shape);
        return Err(Error::file(&pair.labels, problem));
    };
    if sides.is_empty() || images.shape.contains(&0) {
        let problem = format!("dimensions {:?}; images need at least 2, none of them 0", images.shape);
        return Err(Error::file(&pair.images, problem));
    }
    if count != *labelled {
        let problem = format!("{count} images, but {} has {labelled} labels", pair.labels.display());
        return Err(Error::file(&pair.images, problem));
    }
    let features: usize = sides.iter().product();
    if let Some(wanted) = wanted {
        wanted.check(&pair.images, features)?;
    }
    let mut pixels = Vec::new();
    super::reserve(&pair.images, &mut pixels, count * features)?;
    pixels.extend(images.read()?.data.into_iter().map(f32::from));
    let labels = labels.read()?.data;
    let inputs = Array2::from_shape_vec((count, features), pixels);
    let inputs = inputs.map_err(|e| Error::file(&pair.images, e.to_string()))?;
    let targets = Array2::from_shape_fn((count, 1), |(row, _)| f32::from(labels[row]));
    Ok(Dataset { inputs: scaled(&pair.images, inputs, scale)?, targets })
}

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

fn check_same_features(train_file: &Path, train: &Dataset, test_file: &Path, test: &Dataset) -> Result<()> {
    let (ours, theirs) = (train.features(), test.features());
    if ours == theirs {
        return Ok(());
    }
    let problem = format!("{theirs} pixels an image, but {} has {ours}", train_file.display());
    Err(Error::file(test_file, problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::idx::tests::{gzip, idx_bytes};
    use crate::io::split::Part;
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
        crate::read::toml(toml, "a.toml".as_ref()).map_err(|e| e.to_string())
    }

    fn load(dir: &TempDir, toml: &str) -> Result<Splits> {
        let File { data, split } = parse(toml).unwrap();
        data.load(&split, dir.path())
    }

    fn problem(dir: &TempDir, toml: &str) -> String {
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

    fn labels(part: &Dataset) -> Vec<f32> {
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

    /// A library update that changes the order would change every reported accuracy without a word.
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

    const DIRECTORY: &str = "[data]\nformat = \"idx\"\ndir = \"mnist\"\n";

    /// Four IDX files in `mnist/`: 6 and 4 images of 2×2 pixels, all of the image's number.
    fn mnist() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("mnist")).unwrap();
        for (name, count) in [("train", 6), ("t10k", 4)] {
            let pixels: Vec<u8> = (0..count).flat_map(|i| [i as u8; 4]).collect();
            let labels: Vec<u8> = (0..count as u8).collect();
            write(&dir, &format!("{name}-images-idx3-ubyte"), &idx_bytes(8, &[count, 2, 2], &pixels));
            write(&dir, &format!("{name}-labels-idx1-ubyte.gz"), &gzip(&idx_bytes(8, &[count], &labels)));
        }
        dir
    }

    fn write(dir: &TempDir, name: &str, bytes: &[u8]) {
        std::fs::write(dir.path().join("mnist").join(name), bytes).unwrap();
    }

    #[test]
    fn the_standard_names_are_found_with_and_without_gz() {
        let parts = load(&mnist(), &format!("{DIRECTORY}[split]\nvalidation = 2\nshuffle = false")).unwrap();
        assert_eq!(labels(&parts.train), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(parts.train.inputs.row(3).to_vec(), [3.0 * (1.0 / 255.0); 4]);
        assert_eq!(labels(&parts.validation.unwrap()), [4.0, 5.0]);
        assert_eq!(labels(&parts.test.unwrap()), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(parts.classes, 6);
        let whole = load(&mnist(), &format!("{DIRECTORY}scale = 1")).unwrap();
        assert_eq!(
            (labels(&whole.train), whole.train.inputs[[5, 0]]),
            (vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 5.0)
        );
    }

    #[test]
    fn files_can_be_named_and_the_test_files_left_out() {
        let named = "[data]\nformat = \"idx\"\ntrain-images = \"mnist/train-images-idx3-ubyte\"\n\
                     train-labels = \"mnist/train-labels-idx1-ubyte.gz\"\n";
        assert_eq!(load(&mnist(), named).unwrap().test, None);
        assert_eq!(load(&mnist(), &format!("{named}[split]\ntest = 2")).unwrap().test.unwrap().len(), 2);
        let dir = mnist();
        write(&dir, "mine", &idx_bytes(8, &[4, 1, 4], &[9; 16]));
        let test =
            load(&dir, &format!("{DIRECTORY}test-images = \"mine\"\nscale = 1")).unwrap().test.unwrap();
        assert_eq!(test.inputs, Array2::from_elem((4, 4), 9.0));
    }

    #[test]
    fn idx_settings_that_exclude_each_other_are_refused() {
        let message = problem(&mnist(), &format!("{DIRECTORY}[split]\ntest = 2"));
        assert!(message.contains("the test examples have files of their own"), "{message}");
        assert!(problem(&mnist(), "[data]\nformat = \"idx\"").contains("needs dir, or train-images and"));
        let half = "[data]\nformat = \"idx\"\ntrain-images = \"a\"";
        assert!(problem(&mnist(), half).contains("train-images needs train-labels"));
    }

    #[test]
    fn a_missing_directory_or_file_comes_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let message = problem(&dir, DIRECTORY);
        assert!(message.contains("no such directory") && message.contains("apt-get install"), "{message}");
        let dir = mnist();
        std::fs::remove_file(dir.path().join("mnist/t10k-labels-idx1-ubyte.gz")).unwrap();
        let message = problem(&dir, DIRECTORY);
        assert!(
            message.contains("neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz"),
            "{message}"
        );
        assert!(message.contains("name the file with test-labels"), "{message}");
    }

    #[test]
    fn files_that_do_not_fit_together_are_named_with_both_sizes() {
        let dir = mnist();
        write(&dir, "train-labels-idx1-ubyte.gz", &idx_bytes(8, &[5], &[0; 5]));
        let message = problem(&dir, DIRECTORY);
        for part in ["train-images-idx3-ubyte: 6 images, but", "train-labels-idx1-ubyte.gz has 5 labels"] {
            assert!(message.contains(part), "{message}");
        }
        let dir = mnist();
        write(&dir, "t10k-images-idx3-ubyte", &idx_bytes(8, &[4, 3], &[0; 12]));
        let message = problem(&dir, DIRECTORY);
        assert!(message.contains("3 pixels an image, but") && message.contains("has 4"), "{message}");
        let dir = mnist();
        write(&dir, "train-labels-idx1-ubyte.gz", &idx_bytes(8, &[6, 1], &[0; 6]));
        assert!(problem(&dir, DIRECTORY).contains("labels need 1 dimension, but these are [6, 1]"));
        for shape in [&[0, 2, 2][..], &[6, 0, 2]] {
            write(&dir, "train-labels-idx1-ubyte.gz", &idx_bytes(8, &[6], &[0; 6]));
            write(&dir, "train-images-idx3-ubyte", &idx_bytes(8, shape, &[]));
            assert!(problem(&dir, DIRECTORY).contains("images need at least 2, none of them 0"));
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
