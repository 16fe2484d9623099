//! Linear transforms of connections.

use std::sync::Arc;

use ndarray::{Array1, Array2};

use crate::error::{Error, Result};
use crate::graph::Tensor;
use crate::network::{Convolution, Distribution, Init, Pool};
use crate::op::{self, Pattern};

/// Linear transform of a connection. `size_in` and `size_out` are the dimensions of its two ends, after slicing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Transform {
    /// The identity.
    Identity,
    /// One number for all dimensions, with this initial value: the parameter `CONNECTION/weights`, `[1, 1]`, trained like any
    /// other. In a connection from an ensemble it is part of the decoders.
    Scalar(f32),
    /// One factor per dimension.
    Vector(Init),
    /// A matrix of size_out × size_in.
    Dense(Init),
    /// A sparse matrix of size_out × size_in.
    Sparse(Sparse),
    /// A convolution of an image.
    Convolution(Convolution),
    /// The adjoint of a convolution, which enlarges images.
    ///
    /// Its parameter has a row per input channel, `[channels, kernel elements * n_filters / groups]`, with filters last in a
    /// row. This is Nengo's kernel with the channels moved to the front.
    ConvolutionTranspose(Convolution),
    /// Means or maxima over windows of an image.
    Pool(Pool),
}

/// Entries of a sparse matrix. Entry `k` is at row `rows[k]` (a dimension of the post object) and column `cols[k]` (a
/// dimension of the pre object).
///
/// Its parameter `CONNECTION/weights`, `[1, entries]`, holds the entries sorted by row, then by column. Entries at the same
/// place are merged, and their given values summed.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sparse {
    /// Row of each entry.
    pub rows: Vec<usize>,
    /// Column of each entry.
    pub cols: Vec<usize>,
    /// Initial values of the entries: [`Init::Values`] in the order of `rows` and `cols`.
    pub init: Init,
}

/// A number is a [`Transform::Scalar`], a list one number for each dimension, and rows are a matrix of size_out × size_in,
/// whose shape is compared with the ends of its connection.
macro_rules! from_numbers {
    ($($number:ty)*) => {$(
        impl From<$number> for Transform {
            fn from(factor: $number) -> Self {
                Self::Scalar(factor as f32)
            }
        }

        impl<const N: usize> From<[$number; N]> for Transform {
            fn from(factors: [$number; N]) -> Self {
                Self::Vector(Init::Values(factors.map(|x| x as f32).to_vec()))
            }
        }

        impl<const ROWS: usize, const COLS: usize> From<[[$number; COLS]; ROWS]> for Transform {
            fn from(rows: [[$number; COLS]; ROWS]) -> Self {
                Array2::from(rows.to_vec()).into()
            }
        }

        impl From<Array1<$number>> for Transform {
            fn from(factors: Array1<$number>) -> Self {
                Self::Vector(Init::Values(factors.iter().map(|x| *x as f32).collect()))
            }
        }

        impl From<Array2<$number>> for Transform {
            fn from(matrix: Array2<$number>) -> Self {
                Self::Dense(Distribution::Samples(matrix.mapv(f64::from)).into())
            }
        }
    )*};
}

from_numbers! { f32 f64 }

impl From<Sparse> for Transform {
    fn from(sparse: Sparse) -> Self {
        Self::Sparse(sparse)
    }
}

impl From<Pool> for Transform {
    fn from(pool: Pool) -> Self {
        Self::Pool(pool)
    }
}

/// A transform between two ends whose sizes are known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Product {
    Identity,
    /// A factor for each dimension, or one for all.
    Factors,
    Dense,
    Sparse(Arc<Pattern>),
    Convolution(op::Convolution),
    Pool(op::Pool),
}

/// A transform resolved for two ends.
pub(crate) struct Between {
    /// Its computation.
    pub product: Product,
    /// Rows, columns and start of its parameter.
    pub weights: Option<(usize, usize, Init)>,
    /// Number of output dimensions.
    pub size_out: usize,
}

impl Transform {
    /// Resolves the transform for ends of these sizes; `connection` is for messages. The output may differ from `size_out`.
    ///
    /// # Errors
    /// Numbers that are not finite, or indices out of range.
    pub(crate) fn between(&self, connection: &str, size_in: usize, size_out: usize) -> Result<Between> {
        let invalid = |problem: String| Error::invalid(format!("connection '{connection}'"), problem);
        let image = |shape: &[usize]| {
            let size = shape.iter().try_fold(1_usize, |a, &b| a.checked_mul(b));
            if size == Some(size_in) {
                return Ok(());
            }
            let left = format!("the input shape of connection '{connection}'");
            let right = "what comes in".to_string();
            Err(Error::shape(left, format!("{shape:?}"), right, format!("{size_in} values")))
        };
        let (product, weights) = match self {
            Transform::Identity => (Product::Identity, None),
            Transform::Scalar(c) if !c.is_finite() => return Err(invalid(format!("its transform is {c}"))),
            Transform::Scalar(c) => (Product::Factors, Some((1, 1, Init::Constant(*c)))),
            Transform::Vector(init) => (Product::Factors, Some((1, size_in, init.clone()))),
            Transform::Dense(init) => (Product::Dense, Some((size_out, size_in, init.clone()))),
            Transform::Sparse(sparse) => {
                let (pattern, init) = sparse.compress(size_out, size_in).map_err(invalid)?;
                let entries = pattern.entries;
                (Product::Sparse(Arc::new(pattern)), Some((1, entries, init)))
            }
            Transform::Convolution(described) | Transform::ConvolutionTranspose(described) => {
                let transposed = matches!(self, Transform::ConvolutionTranspose(_));
                let operator = if transposed { described.transposed() } else { described.operator() };
                let operator = operator.map_err(invalid)?;
                image(&described.input_shape)?;
                let (rows, cols) = operator.weights();
                (Product::Convolution(operator), Some((rows, cols, described.start(&operator))))
            }
            Transform::Pool(described) => {
                let operator = described.operator().map_err(invalid)?;
                image(&described.input_shape)?;
                (Product::Pool(operator), None)
            }
        };
        Ok(Between { product, weights, size_out: self.size_out(size_in).unwrap_or(size_out) })
    }

    /// Number of output dimensions for `size_in`; `None` if the transform has as many as requested.
    pub(crate) fn size_out(&self, size_in: usize) -> Option<usize> {
        match self {
            Transform::Identity | Transform::Scalar(_) | Transform::Vector(_) => Some(size_in),
            Transform::Dense(_) | Transform::Sparse(_) => None,
            Transform::Convolution(image) => Some(image.output_shape().ok()?.iter().product()),
            Transform::ConvolutionTranspose(image) => {
                Some(image.output_shape_transposed().ok()?.iter().product())
            }
            Transform::Pool(image) => Some(image.output_shape().ok()?.iter().product()),
        }
    }
}

impl Sparse {
    /// Merges entries at the same place and sorts them by row; returns the pattern and the initial values.
    fn compress(&self, size_out: usize, size_in: usize) -> Result<(Pattern, Init), String> {
        let Self { rows, cols, init } = self;
        let lengths = |what: &str, n: usize| {
            Err(format!("its sparse transform has {} rows, but {n} {what}; give each entry one", rows.len()))
        };
        if rows.len() != cols.len() {
            return lengths("columns", cols.len());
        }
        let values = match init {
            Init::Values(values) if values.len() != rows.len() => return lengths("values", values.len()),
            Init::Values(values) => Some(values),
            _ => None,
        };
        if rows.is_empty() {
            return Err("its sparse transform has no entries; give it at least 1".into());
        }
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&k| (rows[k], cols[k]));
        let (mut places, mut sums): (Vec<(usize, usize)>, Vec<f32>) = Default::default();
        for k in order {
            if places.last() != Some(&(rows[k], cols[k])) {
                places.push((rows[k], cols[k]));
                sums.push(0.0);
            }
            let last = sums.len() - 1;
            sums[last] += values.map_or(0.0, |v| v[k]);
        }
        let pattern = Pattern::new(size_out, size_in, &places)
            .map_err(|e| format!("its sparse transform does not fit: {e}"))?;
        // The fans count the entries that meet in one sum; in a dense matrix that is a whole row or column.
        let mean = |n: usize| places.len().div_ceil(n);
        let init = match values {
            Some(_) => Init::Values(sums),
            None => init.for_fans(mean(size_out), mean(size_in)),
        };
        Ok((pattern, init))
    }
}

impl Product {
    /// Its matrix of size_out × size_in; `None` for identities. Image transforms are an error.
    pub fn matrix(
        &self,
        size_in: usize,
        size_out: usize,
        weights: Option<Vec<f32>>,
    ) -> Option<Option<Array2<f64>>> {
        let weights = weights.unwrap_or_default();
        let factor = |i: usize| f64::from(weights[if weights.len() == 1 { 0 } else { i }]);
        Some(match self {
            Product::Identity => None,
            Product::Factors => {
                Some(Array2::from_shape_fn(
                    (size_out, size_in),
                    |(i, j)| if i == j { factor(i) } else { 0.0 },
                ))
            }
            Product::Dense => {
                let all = weights.into_iter().map(f64::from).collect();
                Some(Array2::from_shape_vec((size_out, size_in), all).ok()?)
            }
            Product::Sparse(pattern) => {
                let mut all = Array2::zeros((size_out, size_in));
                weights.iter().enumerate().for_each(|(e, w)| all[pattern.entry(e)] = f64::from(*w));
                Some(all)
            }
            Product::Convolution(_) | Product::Pool(_) => return None,
        })
    }

    /// Applies it to `x`; `weights` is its parameter.
    pub fn apply<'s>(&self, x: Tensor<'s>, weights: Option<Tensor<'s>>) -> Tensor<'s> {
        match (self, weights) {
            (Product::Factors, Some(w)) => x * w,
            (Product::Dense, Some(w)) => x.dot(w),
            (Product::Sparse(pattern), w) => x.sparse(pattern, w),
            (Product::Convolution(convolution), Some(w)) => x.convolve(*convolution, w),
            (Product::Pool(pool), _) => x.pool(*pool),
            (Product::Identity | Product::Factors | Product::Dense | Product::Convolution(_), _) => x,
        }
    }
}
