//! Validation of distributions' settings.

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::network::distribution::{Distribution, Fan, Spread};

impl Distribution {
    /// Rejects settings out of range.
    ///
    /// # Errors
    /// The setting and its valid range; `what` names the distribution's user.
    pub fn check(&self, what: &str) -> Result<()> {
        let wrong = |problem: String| Err(Error::invalid(what, problem));
        match self {
            Self::Uniform(low, high) if !(low.is_finite() && high.is_finite() && low <= high) => {
                wrong(format!("it is uniform between {low} and {high}: the first must be the smaller"))
            }
            Self::Constant(c) if !c.is_finite() => wrong(format!("it is {c}")),
            Self::Gaussian(mean, std) if !(mean.is_finite() && not_negative(*std)) => {
                wrong(format!("it is gaussian with mean {mean} and standard deviation {std}"))
            }
            Self::Exponential { scale, shift, high } => {
                if !(not_negative(*scale) && shift.is_finite()) {
                    return wrong(format!("it is exponential with scale {scale} and shift {shift}"));
                }
                match high > shift {
                    true => Ok(()),
                    false => {
                        wrong(format!("it is exponential from {shift}, so high must be more, but is {high}"))
                    }
                }
            }
            Self::UniformHypersphere { min_magnitude: r, .. }
            | Self::ScatteredHypersphere { min_magnitude: r, .. }
                if !(0.0..1.0).contains(r) =>
            {
                wrong(format!("its min-magnitude is {r}, but must be at least 0 and below 1"))
            }
            Self::Choice { options, weights } => {
                if options.is_empty() {
                    return wrong("its choice has no options; give it at least 1".into());
                }
                finite(what, "it may choose", options)?;
                let Some(weights) = weights else { return Ok(()) };
                same_number(what, "options", options.nrows(), "weights", weights.len())?;
                chances(what, "the weights of its choice", weights)
            }
            Self::Samples(samples) => finite(what, "it holds", samples),
            Self::Pdf { x, p } => {
                same_number(what, "values", x.len(), "probabilities", p.len())?;
                finite(what, "its values hold", x)?;
                if !x.is_sorted() {
                    return wrong(format!("the values of its pdf must rise, but are {}", few(x)));
                }
                chances(what, "the probabilities of its pdf", p)
            }
            Self::SqrtBeta { m: 0, .. } => wrong("its m must be at least 1".into()),
            Self::SubvectorLength { dimensions, subdimensions }
                if *subdimensions == 0 || subdimensions > dimensions =>
            {
                let problem = format!(
                    "it is the length of {subdimensions} of {dimensions} coordinates; take at least 1, and at most all"
                );
                wrong(problem)
            }
            Self::CosineSimilarity { dimensions: 0 } => {
                wrong("it is a cosine similarity of vectors of 0 dimensions; give them at least 1".into())
            }
            Self::TruncatedNormal { mean, std, limit } => {
                if !(mean.is_finite() && not_negative(*std)) {
                    let problem = format!("it is a truncated normal with mean {mean} and std {std}");
                    return wrong(problem);
                }
                match limit {
                    Some(limit) if limit.is_nan() || *limit <= 0.0 => {
                        wrong(format!("the limit of its truncated normal is {limit}, but must be above 0"))
                    }
                    _ => Ok(()),
                }
            }
            Self::VarianceScaling { scale, .. } | Self::Glorot { scale, .. } | Self::He { scale, .. }
                if !not_negative(*scale) =>
            {
                wrong(format!("its scale is {scale}, but must be at least 0"))
            }
            _ => Ok(()),
        }
    }

    /// Rejects settings out of range, and samples that are not `n` vectors of `d` dimensions.
    pub(in crate::network) fn fits(&self, what: &str, n: usize, d: usize) -> Result<()> {
        self.check(what)?;
        match self {
            Self::Choice { options, .. } => width(what, options, d),
            Self::Samples(samples) => {
                width(what, samples, d)?;
                if samples.nrows() == n {
                    return Ok(());
                }
                let rows = |n| format!("{n} rows");
                Err(Error::shape(what, rows(n), "its samples", rows(samples.nrows())))
            }
            _ => Ok(()),
        }
    }

    /// The same for weights where `fan_in` terms meet in a sum and an input goes to `fan_out` sums, which may not follow from
    /// their shape.
    pub(in crate::network) fn for_fans(&self, fan_in: usize, fan_out: usize) -> Self {
        let (scale, mode, spread) = match *self {
            Self::VarianceScaling { scale, mode, distribution } => (scale, mode, distribution),
            Self::Glorot { scale, distribution } => (scale, Fan::Average, distribution),
            Self::He { scale, distribution } => (scale * scale, Fan::In, distribution),
            _ => return self.clone(),
        };
        let fan = match mode {
            Fan::In => fan_in as f64,
            Fan::Out => fan_out as f64,
            Fan::Average => (fan_in + fan_out) as f64 / 2.0,
        };
        let std = (scale / fan).sqrt();
        match spread {
            Spread::Uniform => Self::Uniform(-(3.0_f64.sqrt()) * std, 3.0_f64.sqrt() * std),
            Spread::Normal => Self::TruncatedNormal { mean: 0.0, std, limit: None },
        }
    }
}

fn width(what: &str, rows: &Array2<f64>, d: usize) -> Result<()> {
    if rows.ncols() == d {
        return Ok(());
    }
    let size = |d| format!("{d} dimensions");
    Err(Error::shape(what, size(d), "a row of its distribution", size(rows.ncols())))
}

fn not_negative(x: f64) -> bool {
    x.is_finite() && x >= 0.0
}

/// The first values of a list, shortened for an error message.
fn few(values: &[f64]) -> String {
    match values.len() {
        0..=8 => format!("{values:?}"),
        n => format!("{:?} and {} more", &values[..8], n - 8),
    }
}

fn finite<'a>(what: &str, how: &str, values: impl IntoIterator<Item = &'a f64>) -> Result<()> {
    match values.into_iter().find(|x| !x.is_finite()) {
        Some(bad) => Err(Error::invalid(what, format!("{how} {bad}"))),
        None => Ok(()),
    }
}

fn same_number(what: &str, left: &str, n: usize, right: &str, m: usize) -> Result<()> {
    if n == m {
        return Ok(());
    }
    let (left, right) = (format!("the {left} of {what}"), format!("the {right} of {what}"));
    Err(Error::shape(left, format!("{n} long"), right, format!("{m} long")))
}

fn chances(what: &str, name: &str, values: &[f64]) -> Result<()> {
    let sum: f64 = values.iter().sum();
    if values.iter().all(|&x| not_negative(x)) && sum > 0.0 && sum.is_finite() {
        return Ok(());
    }
    let problem = format!("{name} must be at least 0, and not all 0, but are {}", few(values));
    Err(Error::invalid(what, problem))
}
