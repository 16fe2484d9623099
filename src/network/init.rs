//! Initial values of parameters.

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::error::{Error, Result};
use crate::network::Distribution;

/// Initial values of a parameter of shape `[rows, cols]` (size_out × size_in): a distribution or given values.
///
/// A file writes it like any [`Distribution`], plus `"zeros"`, `"glorot"` and `"he"` for the variants defined here.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(from = "Form", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Init {
    /// All zero.
    Zeros,
    /// All equal to this number.
    Constant(f32),
    /// Uniform between the two numbers.
    Uniform(f32, f32),
    /// Normal with a mean and a standard deviation.
    Normal(f32, f32),
    /// Uniform in ± sqrt(6 / (size_in + size_out)) (Glorot and Bengio 2010).
    Glorot,
    /// Normal with standard deviation sqrt(2 / size_in) (He et al. 2015).
    He,
    /// Each value one of these, with equal probability.
    Choice(Vec<f32>),
    /// These values, in row-major order.
    Values(Vec<f32>),
    /// Any other distribution: a vector of `cols` numbers per row. Distributions of single numbers, such as a choice, are drawn
    /// for each value separately. So are vectors in a sphere if there is only one row: gains, biases and states.
    Drawn(Distribution),
}

/// Form in a file.
#[derive(serde::Deserialize)]
enum Form {
    #[serde(rename = "$word:zeros")]
    Zeros,
    #[serde(rename = "$word:glorot")]
    Glorot,
    #[serde(rename = "$word:he")]
    He,
    #[serde(rename = "$any")]
    Drawn(Distribution),
}

impl From<Form> for Init {
    fn from(form: Form) -> Self {
        match form {
            Form::Zeros => Self::Zeros,
            Form::Glorot => Self::Glorot,
            Form::He => Self::He,
            Form::Drawn(distribution) => distribution.into(),
        }
    }
}

impl From<Distribution> for Init {
    fn from(distribution: Distribution) -> Self {
        let single = |rows: &Array2<f64>| rows.iter().map(|x| *x as f32).collect();
        match &distribution {
            Distribution::Zeros => Self::Zeros,
            Distribution::Constant(c) => Self::Constant(*c as f32),
            Distribution::Uniform(low, high) => Self::Uniform(*low as f32, *high as f32),
            Distribution::Gaussian(mean, std) => Self::Normal(*mean as f32, *std as f32),
            Distribution::Choice { options, weights: None } if options.ncols() == 1 => {
                Self::Choice(single(options))
            }
            Distribution::Samples(rows) if rows.ncols() == 1 || rows.nrows() == 1 => {
                Self::Values(single(rows))
            }
            _ => Self::Drawn(distribution),
        }
    }
}

impl Init {
    pub(crate) fn check(&self, name: &str, rows: usize, cols: usize) -> Result<()> {
        let invalid = |problem: String| Err(Error::invalid(format!("the start of '{name}'"), problem));
        match self {
            Init::Values(values) if values.len() != rows * cols => Err(Error::shape(
                format!("'{name}'"),
                format!("[{rows}, {cols}]"),
                "its start",
                format!("{} values", values.len()),
            )),
            Init::Values(values) => match values.iter().find(|x| !x.is_finite()) {
                Some(bad) => invalid(format!("it holds {bad}")),
                None => Ok(()),
            },
            Init::Uniform(low, high) if !(low.is_finite() && high.is_finite() && low <= high) => {
                invalid(format!("uniform between {low} and {high}: the first must be the smaller"))
            }
            Init::Normal(mean, std) if !(mean.is_finite() && std.is_finite() && *std >= 0.0) => {
                invalid(format!("normal with mean {mean} and standard deviation {std}"))
            }
            Init::Choice(values) if values.is_empty() => invalid("its choice has no options".into()),
            Init::Choice(values) => match values.iter().find(|x| !x.is_finite()) {
                Some(bad) => invalid(format!("it may choose {bad}")),
                None => Ok(()),
            },
            Init::Constant(c) if !c.is_finite() => invalid(format!("it is {c}")),
            Init::Drawn(distribution) => {
                let (n, d) = Self::vectors(distribution, rows, cols);
                distribution.fits(&format!("the start of '{name}'"), n, d)
            }
            _ => Ok(()),
        }
    }

    /// The same for sums of `fan_in` terms over inputs that go to `fan_out` sums, where these do not follow from the shape.
    pub(super) fn for_fans(&self, fan_in: usize, fan_out: usize) -> Self {
        match self {
            Init::Glorot => {
                let limit = (6.0 / (fan_in + fan_out) as f32).sqrt();
                Init::Uniform(-limit, limit)
            }
            Init::He => Init::Normal(0.0, (2.0 / fan_in as f32).sqrt()),
            Init::Drawn(distribution) => Init::Drawn(distribution.for_fans(fan_in, fan_out)),
            other => other.clone(),
        }
    }

    /// Number and size of the vectors drawn for a matrix.
    fn vectors(distribution: &Distribution, rows: usize, cols: usize) -> (usize, usize) {
        let single = match distribution {
            Distribution::Choice { options: rows, .. } | Distribution::Samples(rows) => rows.ncols() == 1,
            Distribution::UniformHypersphere { .. }
            | Distribution::ScatteredHypersphere { .. }
            | Distribution::QuasirandomSequence => rows == 1,
            _ => false,
        };
        if single { (rows.saturating_mul(cols), 1) } else { (rows, cols) }
    }

    /// The values in row-major order, drawn from a seed that belongs to this parameter alone.
    pub fn values(&self, rows: usize, cols: usize, seed: u64) -> Vec<f32> {
        let n = rows * cols;
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut uniform = |low: f32, high: f32| -> Vec<f32> {
            (0..n).map(|_| low + (high - low) * rng.random::<f32>()).collect()
        };
        match self {
            Init::Zeros => vec![0.0; n],
            Init::Constant(c) => vec![*c; n],
            Init::Uniform(low, high) => uniform(*low, *high),
            Init::Glorot => {
                let limit = (6.0 / (rows + cols) as f32).sqrt();
                uniform(-limit, limit)
            }
            Init::Normal(mean, std) => normal(&mut rng, n, *mean, *std),
            Init::He => normal(&mut rng, n, 0.0, (2.0 / cols as f32).sqrt()),
            Init::Choice(values) => {
                (0..n).map(|_| values[(rng.random::<f64>() * values.len() as f64) as usize]).collect()
            }
            Init::Values(values) => values.clone(),
            Init::Drawn(distribution) => {
                let (vectors, size) = Self::vectors(distribution, rows, cols);
                // The check has rejected samples that do not fit.
                let drawn = distribution.sample("a parameter", vectors, size, seed);
                drawn.map_or_else(|_| vec![0.0; n], |all| all.into_iter().map(|x| x as f32).collect())
            }
        }
    }
}

/// Derives a seed from a name (FNV-1a), so that adding a parameter changes no other.
pub(crate) fn seed_of(seed: u64, name: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    name.bytes().fold(start, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Normally distributed numbers.
fn normal(rng: &mut Pcg64Mcg, n: usize, mean: f32, std: f32) -> Vec<f32> {
    (0..n).map(|_| mean + std * standard_normal(rng) as f32).collect()
}

/// A standard normal number (Box and Muller 1958).
pub(super) fn standard_normal(rng: &mut Pcg64Mcg) -> f64 {
    let (u, v) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
