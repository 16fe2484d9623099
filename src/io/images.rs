//! Examples from two IDX files: images and labels.

use std::path::{Path, PathBuf};

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::io::dataset::{Dataset, Wanted, scaled};
use crate::io::idx::Packed;

/// Paths of images and of their class indices.
pub(crate) struct IdxPair {
    pub images: PathBuf,
    pub labels: PathBuf,
}

/// Reads both files; their headers and `wanted` are checked before anything is unpacked.
pub(crate) fn load_idx(pair: &IdxPair, scale: f32, wanted: Option<Wanted<'_>>) -> Result<Dataset> {
    // Check the headers before unpacking.
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
    crate::io::reserve(&pair.images, &mut pixels, count * features)?;
    pixels.extend(images.read()?.data.into_iter().map(f32::from));
    let labels = labels.read()?.data;
    let inputs = Array2::from_shape_vec((count, features), pixels);
    let inputs = inputs.map_err(|e| Error::file(&pair.images, e.to_string()))?;
    let targets = Array2::from_shape_fn((count, 1), |(row, _)| f32::from(labels[row]));
    Ok(Dataset { inputs: scaled(&pair.images, inputs, scale)?, targets })
}

/// Rejects test images of another size than the training images.
pub(crate) fn check_same_features(
    train_file: &Path,
    train: &Dataset,
    test_file: &Path,
    test: &Dataset,
) -> Result<()> {
    let (ours, theirs) = (train.features(), test.features());
    if ours == theirs {
        return Ok(());
    }
    let problem = format!("{theirs} pixels an image, but {} has {ours}", train_file.display());
    Err(Error::file(test_file, problem))
}
