//! What encoders, rates, points and other starting values are drawn from.

mod sphere;

use ndarray::{Array2, Axis};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::error::{Error, Result};
use crate::named::name_or_table;

/// A distribution of vectors, under Nengo's names and with Nengo's defaults.
///
/// In a file it is a table with one entry, `{ uniform = [200, 400] }` or `{ uniform-hypersphere = { surface = true } }`,
/// or its name alone where all settings have defaults.
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
#[serde(rename_all = "kebab-case", remote = "Self")]
#[non_exhaustive]
pub enum Distribution {
    /// Each coordinate uniform from the first number up to the second.
    Uniform(f64, f64),
    /// Vectors of length 1 at most, uniform in the ball or on its surface.
    UniformHypersphere {
        /// All of length 1.
        #[serde(default)]
        surface: bool,
        /// No vector of the ball is shorter; 0 by default.
        #[serde(default)]
        min_magnitude: f64,
    },
    /// One of the rows of `options`, each with the chance that its weight gives, or all with the same.
    Choice {
        /// options × dimensions
        #[serde(with = "rows")]
        options: Array2<f64>,
        /// One for each option; they need not sum to 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weights: Option<Vec<f64>>,
    },
    /// These rows, in their order: there must be as many as are asked for.
    #[serde(with = "rows")]
    Samples(Array2<f64>),
}
name_or_table!(
    Distribution,
    "a distribution, { uniform = [200, 400] } or { uniform-hypersphere = { surface = true } }"
);

impl Distribution {
    /// Uniform on the surface of the unit sphere: Nengo's default of encoders.
    pub fn surface() -> Self {
        Self::UniformHypersphere { surface: true, min_magnitude: 0.0 }
    }

    /// Uniform in the unit ball.
    pub fn ball() -> Self {
        Self::UniformHypersphere { surface: false, min_magnitude: 0.0 }
    }

    /// One of these rows, all with the same chance.
    pub fn choice(options: Array2<f64>) -> Self {
        Self::Choice { options, weights: None }
    }

    /// `n` vectors of `d` dimensions, one in each row, from a seed that belongs to `what` alone.
    ///
    /// # Errors
    /// Settings out of their range, or rows of another number or size than is asked for; `what` is the user's name of
    /// what the vectors are for.
    pub fn sample(&self, what: &str, n: usize, d: usize, seed: u64) -> Result<Array2<f64>> {
        self.check(what)?;
        if d == 0 || n.checked_mul(d).is_none_or(|numbers| numbers > 1 << 31) {
            let problem = format!("cannot draw {n} vectors of {d} dimensions");
            return Err(Error::invalid(what, problem));
        }
        let rng = &mut Pcg64Mcg::seed_from_u64(seed);
        match self {
            Self::Uniform(low, high) => {
                Ok(Array2::from_shape_simple_fn((n, d), || low + (high - low) * rng.random::<f64>()))
            }
            Self::UniformHypersphere { surface: true, .. } => Ok(sphere::directions(n, d, rng)),
            Self::UniformHypersphere { surface: false, min_magnitude } => {
                Ok(sphere::ball(n, d, *min_magnitude, rng))
            }
            Self::Choice { options, weights } => {
                width(what, options, d)?;
                let mut sums = Vec::with_capacity(options.nrows());
                let mut sum = 0.0;
                for i in 0..options.nrows() {
                    sum += weights.as_ref().map_or(1.0, |weights| weights[i]);
                    sums.push(sum);
                }
                let picks: Vec<usize> = std::iter::repeat_with(|| sum * rng.random::<f64>())
                    .map(|at| sums.partition_point(|&s| s <= at))
                    .take(n)
                    .collect();
                Ok(options.select(Axis(0), &picks))
            }
            Self::Samples(samples) => {
                width(what, samples, d)?;
                if samples.nrows() != n {
                    let shape = |n| format!("{n} rows");
                    return Err(Error::shape(what, shape(n), "its samples", shape(samples.nrows())));
                }
                Ok(samples.clone())
            }
        }
    }

    /// Refuses settings out of their range.
    ///
    /// # Errors
    /// The setting and what is right, under the name `what`.
    pub fn check(&self, what: &str) -> Result<()> {
        let wrong = |problem: String| Err(Error::invalid(what, problem));
        match self {
            Self::Uniform(low, high) if !(low.is_finite() && high.is_finite() && low <= high) => {
                wrong(format!("it is uniform between {low} and {high}: the first must be the smaller"))
            }
            Self::UniformHypersphere { min_magnitude: r, .. } if !(0.0..1.0).contains(r) => {
                wrong(format!("its min-magnitude is {r}, but must be at least 0 and below 1"))
            }
            Self::Choice { options, weights } => {
                if options.is_empty() {
                    return wrong("it is a choice from nothing; give it options".into());
                }
                finite(what, "it may choose", options)?;
                let Some(weights) = weights else { return Ok(()) };
                if weights.len() != options.nrows() {
                    let (left, right) = (format!("{} options", options.nrows()), weights.len());
                    return Err(Error::shape(what, left, "the weights of its choice", right));
                }
                if weights.iter().any(|w| !(w.is_finite() && *w >= 0.0)) || weights.iter().sum::<f64>() <= 0.0
                {
                    return wrong(format!(
                        "the weights of its choice are {weights:?}; they must be at least 0, and not all 0"
                    ));
                }
                Ok(())
            }
            Self::Samples(samples) => finite(what, "it holds", samples),
            _ => Ok(()),
        }
    }
}

impl From<Array2<f64>> for Distribution {
    fn from(samples: Array2<f64>) -> Self {
        Self::Samples(samples)
    }
}

fn finite<'a>(what: &str, how: &str, values: impl IntoIterator<Item = &'a f64>) -> Result<()> {
    match values.into_iter().find(|x| !x.is_finite()) {
        Some(bad) => Err(Error::invalid(what, format!("{how} {bad}"))),
        None => Ok(()),
    }
}

fn width(what: &str, rows: &Array2<f64>, d: usize) -> Result<()> {
    if rows.ncols() == d {
        return Ok(());
    }
    let size = |d| format!("{d} dimensions");
    Err(Error::shape(what, size(d), "a row of its distribution", size(rows.ncols())))
}

/// Matrices in files: a list of rows, or of numbers where a row is one number.
mod rows {
    use ndarray::Array2;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Row {
        One(f64),
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
}
