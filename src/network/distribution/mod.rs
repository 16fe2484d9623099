//! Distributions of encoders, rates, points and other initial values.

mod check;
mod scattered;
mod sphere;

use ndarray::{Array2, Axis};
use rand::{RngExt, SeedableRng};
use rand_distr::{Beta, Distribution as _, Exp1, StandardNormal};
use rand_pcg::Pcg64Mcg;

use crate::engine::allowance;
use crate::error::{Error, Result};

/// A distribution of vectors, with Nengo's names and defaults.
///
/// In a file it is a table with one entry, `{ uniform = [200, 400] }` or `{ uniform-hypersphere = { surface = true } }`, or its
/// name alone if all settings have defaults. A number stands for [`Distribution::Constant`], a list for
/// [`Distribution::Samples`]. `{ choice = [0.5, 1.0] }` and `{ choice = [[1.0], [-1.0]] }` are choices without weights.
///
/// ```
/// use nengo_wgpu::network::Distribution;
///
/// # fn main() -> nengo_wgpu::Result<()> {
/// let sphere = Distribution::UniformHypersphere { surface: true, min_magnitude: 0.0 };
/// let encoders = sphere.sample("the encoders of 'a'", 50, 3, 0)?;
/// assert_eq!(encoders.dim(), (50, 3));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Distribution {
    /// Each coordinate uniform between the first number (inclusive) and the second (exclusive).
    Uniform(f64, f64),
    /// Each coordinate zero.
    Zeros,
    /// Each coordinate this number.
    #[serde(alias = "$number")]
    Constant(f64),
    /// Each coordinate normal with this mean and standard deviation; in files also `normal`.
    #[serde(alias = "normal")]
    Gaussian(f64, f64),
    /// Each coordinate `shift` plus an exponentially distributed number of mean `scale`, clipped to just below `high`.
    Exponential {
        /// Mean without the shift.
        scale: f64,
        /// Smallest number; 0 by default.
        #[serde(default)]
        shift: f64,
        /// Upper bound, exclusive; infinity by default.
        #[serde(default = "infinity")]
        high: f64,
    },
    /// Vectors of length at most 1, uniform in the unit ball or on its surface.
    UniformHypersphere {
        /// Draw from the surface; false by default.
        #[serde(default)]
        surface: bool,
        /// Smallest length in the ball, at least 0 and below 1; 0 by default.
        #[serde(default)]
        min_magnitude: f64,
    },
    /// Like [`Distribution::UniformHypersphere`], but evenly spread: the points of [`Distribution::QuasirandomSequence`] mapped
    /// to the sphere or ball, and rotated at random. In one dimension each sign gets half of the points (one sign gets one more
    /// if their number is odd), at equal distances in the ball.
    ///
    /// Each angle of the spherical coordinates is the quantile of its distribution at one coordinate of the sequence
    /// (Fang and Wang 1994, section 1.5).
    ScatteredHypersphere {
        /// Draw from the surface; false by default.
        #[serde(default)]
        surface: bool,
        /// Smallest length in the ball, at least 0 and below 1; 0 by default.
        #[serde(default)]
        min_magnitude: f64,
    },
    /// Points evenly spread in the unit cube: the R sequence of Roberts (2018) from a random start, in random order. Coordinate j
    /// of point i is the fractional part of `start_j + i / φ^j`, where φ is the positive root of `φ^(d+1) = φ + 1`.
    QuasirandomSequence,
    /// One of the rows of `options`, with probabilities in proportion to `weights`, or equal ones.
    Choice {
        /// Options, options × dimensions.
        #[serde(alias = "$short", with = "crate::solve::rows")]
        options: Array2<f64>,
        /// One weight per option, at least 0; they need not sum to 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weights: Option<Vec<f64>>,
    },
    /// These rows in order; their number must be the number requested. In files also `values`.
    #[serde(alias = "values", alias = "$list", with = "crate::solve::rows")]
    Samples(Array2<f64>),
    /// Each coordinate drawn from a tabulated density: `p` is normalised and summed up, and the inverse of these sums is
    /// interpolated between the values `x` at a uniform number.
    Pdf {
        /// Values, in rising order.
        x: Vec<f64>,
        /// Density at each value, at least 0.
        p: Vec<f64>,
    },
    /// Each coordinate the square root of a Beta(m / 2, n / 2) variable: the length of m coordinates of a random unit vector in
    /// n + m dimensions.
    SqrtBeta {
        /// Number of coordinates left out.
        n: usize,
        /// Number of coordinates taken, at least 1; 1 by default.
        #[serde(default = "one")]
        m: usize,
    },
    /// Each coordinate the length of `subdimensions` coordinates of a random unit vector.
    SubvectorLength {
        /// Dimensions of the unit vector.
        dimensions: usize,
        /// Coordinates taken, from 1 to `dimensions`; 1 by default.
        #[serde(default = "one")]
        subdimensions: usize,
    },
    /// Each coordinate the cosine of the angle between two random vectors, or one coordinate of a random unit vector.
    CosineSimilarity {
        /// Dimensions of the vectors, at least 1.
        dimensions: usize,
    },
    /// Each coordinate normal, redrawn while farther from the mean than `limit`.
    TruncatedNormal {
        /// Mean; 0 by default.
        #[serde(default)]
        mean: f64,
        /// Standard deviation before truncation; 1 by default.
        #[serde(default = "unit")]
        std: f64,
        /// Largest distance from the mean, above 0; two standard deviations by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<f64>,
    },
    /// Weights of variance `scale / fan`, for n outputs (rows) of d inputs. Normal weights are truncated at two standard
    /// deviations, which reduces their variance.
    VarianceScaling {
        /// Factor on the variance, at least 0; 1 by default.
        #[serde(default = "unit")]
        scale: f64,
        /// Divisor of the variance; the average of both fans by default.
        #[serde(default)]
        mode: Fan,
        /// Shape of the distribution; uniform by default.
        #[serde(default)]
        distribution: Spread,
    },
    /// Weights of variance `scale / ((inputs + outputs) / 2)` (Glorot and Bengio 2010).
    Glorot {
        /// Factor on the variance, at least 0; 1 by default.
        #[serde(default = "unit")]
        scale: f64,
        /// Shape of the distribution; uniform by default.
        #[serde(default)]
        distribution: Spread,
    },
    /// Weights of variance `scale² / inputs` (He et al. 2015). With rectified linear units, a scale of sqrt(2) preserves the
    /// variance from layer to layer.
    He {
        /// Factor on the standard deviation, at least 0; 1 by default.
        #[serde(default = "unit")]
        scale: f64,
        /// Shape of the distribution; normal by default.
        #[serde(default = "normal")]
        distribution: Spread,
    },
}

/// Divisor of the variance of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub enum Fan {
    /// The number of inputs.
    #[serde(rename = "fan-in")]
    In,
    /// The number of outputs.
    #[serde(rename = "fan-out")]
    Out,
    /// The average of both.
    #[default]
    #[serde(rename = "fan-avg")]
    Average,
}

/// Shape of a distribution of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// Uniform around 0.
    #[default]
    Uniform,
    /// Normal with mean 0, truncated at two standard deviations.
    Normal,
}

fn infinity() -> f64 {
    f64::INFINITY
}

fn one() -> usize {
    1
}

fn unit() -> f64 {
    1.0
}

fn normal() -> Spread {
    Spread::Normal
}

impl Distribution {
    /// Uniform on the surface of the unit sphere.
    pub fn surface() -> Self {
        Self::UniformHypersphere { surface: true, min_magnitude: 0.0 }
    }

    /// Uniform in the unit ball.
    pub fn ball() -> Self {
        Self::UniformHypersphere { surface: false, min_magnitude: 0.0 }
    }

    /// Evenly spread on the surface of the unit sphere: Nengo's default for encoders.
    pub fn scattered_surface() -> Self {
        Self::ScatteredHypersphere { surface: true, min_magnitude: 0.0 }
    }

    /// Evenly spread in the unit ball: Nengo's default for evaluation points.
    pub fn scattered_ball() -> Self {
        Self::ScatteredHypersphere { surface: false, min_magnitude: 0.0 }
    }

    /// One of these rows, with equal probability.
    pub fn choice(options: Array2<f64>) -> Self {
        Self::Choice { options, weights: None }
    }

    /// Draws `n` vectors of `d` dimensions, one per row. The seed should belong to `what` alone.
    ///
    /// # Errors
    /// Settings out of range, or samples of another number or size than requested. `what` names the vectors in the error.
    pub fn sample(&self, what: &str, n: usize, d: usize, seed: u64) -> Result<Array2<f64>> {
        self.fits(what, n, d)?;
        if d == 0 || n.checked_mul(d).is_none_or(|numbers| numbers > 1 << 31) {
            let problem = format!("cannot draw {n} vectors of {d} dimensions");
            return Err(Error::invalid(what, problem));
        }
        allowance::check(|| format!("{what}, {n} vectors of {d} dimensions,"), [n, d], 3 * 8)?;
        let rng = &mut Pcg64Mcg::seed_from_u64(seed);
        Ok(match self {
            Self::Uniform(low, high) => each(n, d, || low + (high - low) * rng.random::<f64>()),
            Self::Zeros => Array2::zeros((n, d)),
            Self::Constant(c) => Array2::from_elem((n, d), *c),
            Self::Gaussian(mean, std) => each(n, d, || mean + std * rng.sample::<f64, _>(StandardNormal)),
            Self::Exponential { scale, shift, high } => {
                each(n, d, || (shift + scale * rng.sample::<f64, _>(Exp1)).min(high.next_down()))
            }
            Self::UniformHypersphere { surface, min_magnitude } => {
                sphere::uniform(n, d, *surface, *min_magnitude, rng)
            }
            Self::ScatteredHypersphere { surface, min_magnitude } if d == 1 => {
                scattered::line(n, *surface, *min_magnitude, rng)
            }
            Self::ScatteredHypersphere { surface, min_magnitude } => {
                scattered::hypersphere(what, n, d, *surface, *min_magnitude, rng)?
            }
            Self::QuasirandomSequence => scattered::sequence(n, d, rng),
            Self::Choice { options, weights } => {
                let weight = |i: usize| weights.as_ref().map_or(1.0, |weights| weights[i]);
                let sums = running_sums((0..options.nrows()).map(weight));
                let sum = sums[sums.len() - 1];
                let places = std::iter::repeat_with(|| sum * rng.random::<f64>());
                let picks: Vec<usize> =
                    places.map(|place| sums.partition_point(|&s| s <= place)).take(n).collect();
                options.select(Axis(0), &picks)
            }
            Self::Samples(samples) => samples.clone(),
            Self::Pdf { x, p } => {
                let sums = running_sums(p.iter().copied());
                let sum = sums[sums.len() - 1];
                each(n, d, || interpolate(&sums, x, sum * rng.random::<f64>()))
            }
            Self::SqrtBeta { n: left_out, m } => lengths(what, n, d, *left_out, *m, rng)?,
            Self::SubvectorLength { dimensions, subdimensions } => {
                lengths(what, n, d, dimensions - subdimensions, *subdimensions, rng)?
            }
            Self::CosineSimilarity { dimensions } => {
                let lengths = lengths(what, n, d, dimensions - 1, 1, rng)?;
                lengths.mapv_into(|length| if rng.random() { length } else { -length })
            }
            Self::TruncatedNormal { mean, std, limit } => {
                let limit = limit.unwrap_or(2.0 * std);
                each(n, d, || mean + truncated_normal(*std, limit, rng))
            }
            Self::VarianceScaling { scale, mode, distribution } => {
                let fan = match mode {
                    Fan::In => d as f64,
                    Fan::Out => n as f64,
                    Fan::Average => (n + d) as f64 / 2.0,
                };
                let std = (scale / fan).sqrt();
                match distribution {
                    Spread::Uniform => {
                        each(n, d, || 3.0_f64.sqrt() * std * (2.0 * rng.random::<f64>() - 1.0))
                    }
                    Spread::Normal => each(n, d, || truncated_normal(std, 2.0 * std, rng)),
                }
            }
            Self::Glorot { scale, distribution } => {
                let (scale, distribution) = (*scale, *distribution);
                Self::VarianceScaling { scale, mode: Fan::Average, distribution }.sample(what, n, d, seed)?
            }
            Self::He { scale, distribution } => {
                let (scale, distribution) = (scale * scale, *distribution);
                Self::VarianceScaling { scale, mode: Fan::In, distribution }.sample(what, n, d, seed)?
            }
        })
    }
}

impl From<Array2<f64>> for Distribution {
    fn from(samples: Array2<f64>) -> Self {
        Self::Samples(samples)
    }
}

fn each(n: usize, d: usize, draw: impl FnMut() -> f64) -> Array2<f64> {
    Array2::from_shape_simple_fn((n, d), draw)
}

fn running_sums(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let add = |sum: &mut f64, x: f64| {
        *sum += x;
        Some(*sum)
    };
    values.scan(0.0, add).collect()
}

/// Interpolates `values` at `place` between the rising `places`; outside, gives the first or last value.
fn interpolate(places: &[f64], values: &[f64], place: f64) -> f64 {
    let right = places.partition_point(|&p| p <= place);
    if right == 0 || right == places.len() {
        return values[right.saturating_sub(1)];
    }
    let share = (place - places[right - 1]) / (places[right] - places[right - 1]);
    values[right - 1] + share * (values[right] - values[right - 1])
}

/// Lengths of `taken` coordinates of random unit vectors that have `left_out` others.
fn lengths(
    what: &str,
    n: usize,
    d: usize,
    left_out: usize,
    taken: usize,
    rng: &mut Pcg64Mcg,
) -> Result<Array2<f64>> {
    if left_out == 0 {
        return Ok(Array2::ones((n, d)));
    }
    let beta = Beta::new(taken as f64 / 2.0, left_out as f64 / 2.0);
    let beta = beta.map_err(|e| Error::invalid(what, e.to_string()))?;
    Ok(each(n, d, || beta.sample(rng).sqrt()))
}

/// A normal number of mean 0 within the limit. For narrow limits it is rejected from a uniform number, so that few are
/// rejected.
fn truncated_normal(std: f64, limit: f64, rng: &mut Pcg64Mcg) -> f64 {
    if std == 0.0 {
        return 0.0;
    }
    loop {
        if limit < std {
            let x = limit * (2.0 * rng.random::<f64>() - 1.0);
            if rng.random::<f64>() <= (-0.5 * (x / std).powi(2)).exp() {
                return x;
            }
        } else {
            let x = std * rng.sample::<f64, _>(StandardNormal);
            if x.abs() <= limit {
                return x;
            }
        }
    }
}
