//! The IDX files of a data set.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::images::IdxPair;
use crate::toml::data::DataSpec;

/// Advice on a source of a data set in this format.
const HINT: &str = "on Debian `apt-get install dataset-fashion-mnist` installs Fashion-MNIST and \
     `dpkg -L dataset-fashion-mnist` shows its directory";

pub(super) struct IdxFiles {
    pub train: IdxPair,
    pub test: Option<IdxPair>,
}

impl DataSpec {
    pub(super) fn idx_files(&self, base: &Path) -> Result<IdxFiles> {
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

fn standard_file(directory: &Path, field: &str, name: &str) -> Result<PathBuf> {
    let candidates = [directory.join(name), directory.join(format!("{name}.gz"))];
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let problem =
            format!("there is neither {name} nor {name}.gz in it; name the file with {field}, or {HINT}");
        Error::file(directory, problem)
    })
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use tempfile::TempDir;

    use crate::io::idx::tests::{gzip, idx_bytes};
    use crate::toml::data::tests::{labels, load, problem};

    const DIRECTORY: &str = "[data]\nformat = \"idx\"\ndir = \"mnist\"\n";

    /// Four IDX files in `mnist/`: 6 and 4 images of 2×2 pixels, with pixels equal to the image's number.
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
}
