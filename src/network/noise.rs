//! Noise: random numbers at each step, drawn on the device.

use crate::error::{Error, Result};
use crate::network::{Discrete, LinearFilter, Synapse};
use crate::op::discretise::{Method, StateSpace};

/// Random numbers, drawn for each step, example and dimension, and optionally filtered.
///
/// A number depends only on the seed, the step since the last reset, the example and the dimension. The noise is therefore
/// the same whether a run is split into parts or not, and for minibatches of any size. In training each update draws other
/// numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// Number of dimensions.
    pub size: usize,
    /// Distribution of the numbers; standard normal by default.
    pub distribution: Draw,
    /// Multiply the numbers by `1 / sqrt(dt)`, so that the power of filtered noise does not depend on the time step; true by
    /// default.
    pub scale: bool,
    /// Filter applied to the numbers.
    pub filter: NoiseFilter,
    /// Seed; derived from the network's seed and the node's name by default.
    pub seed: Option<u64>,
}

/// Filter of a [`Noise`].
#[derive(Clone, Debug, PartialEq)]
pub enum NoiseFilter {
    /// No filter: white noise.
    None,
    /// A synapse, applied without its delay.
    Synapse(Synapse),
    /// Sum over time: brown noise, a random walk.
    Integral,
}

/// Distribution of a [`Noise`].
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Draw {
    /// Uniform between the first number (inclusive) and the second (exclusive).
    Uniform(f32, f32),
    /// Normal with this mean and standard deviation; in files also `gaussian`.
    #[serde(alias = "gaussian")]
    Normal(f32, f32),
}

impl Default for Draw {
    /// Normal with mean 0 and standard deviation 1.
    fn default() -> Self {
        Self::Normal(0.0, 1.0)
    }
}

impl Noise {
    fn with(size: usize, filter: NoiseFilter) -> Self {
        Self { size, distribution: Draw::default(), scale: true, filter, seed: None }
    }

    /// Standard normal white noise, scaled by `1 / sqrt(dt)`.
    pub fn white(size: usize) -> Self {
        Self::with(size, NoiseFilter::None)
    }

    /// White noise through a synapse, applied without its delay.
    pub fn filtered(size: usize, synapse: impl Into<Synapse>) -> Self {
        Self::with(size, NoiseFilter::Synapse(synapse.into()))
    }

    /// The integral of white noise. After t seconds its standard deviation is `sqrt(t)`.
    pub fn brown(size: usize) -> Self {
        Self::with(size, NoiseFilter::Integral)
    }

    /// Sets the distribution.
    pub fn distribution(self, distribution: Draw) -> Self {
        Self { distribution, ..self }
    }

    /// Does not multiply by `1 / sqrt(dt)`.
    pub fn unscaled(self) -> Self {
        Self { scale: false, ..self }
    }

    /// Sets the seed.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    pub(crate) fn check(&self, what: &str) -> Result<()> {
        let invalid = |problem: String| Err(Error::invalid(what, problem));
        match self.distribution {
            Draw::Uniform(low, high) if !(low.is_finite() && high.is_finite() && low <= high) => {
                return invalid(format!(
                    "its noise is uniform between {low} and {high}: the first must be the smaller"
                ));
            }
            Draw::Normal(mean, std) if !(mean.is_finite() && std.is_finite() && std >= 0.0) => {
                return invalid(format!("its noise is normal with mean {mean} and standard deviation {std}"));
            }
            _ => {}
        }
        match &self.filter {
            NoiseFilter::Synapse(synapse) => synapse.check(what),
            NoiseFilter::None | NoiseFilter::Integral => Ok(()),
        }
    }

    /// Factor on the numbers.
    pub(crate) fn factor(&self, dt: f64) -> f64 {
        if self.scale { 1.0 / dt.sqrt() } else { 1.0 }
    }

    /// The filter at steps of `dt` seconds, if there is one. It includes a step's numbers at that step.
    pub(crate) fn discretise(&self, what: &str, dt: f64) -> Result<Option<Discrete>> {
        match &self.filter {
            NoiseFilter::None => Ok(None),
            NoiseFilter::Synapse(synapse) => synapse.discretise(what, dt).map(Some),
            NoiseFilter::Integral => {
                let integral = LinearFilter::new(&[1.0], &[1.0, 0.0]).method(Method::Euler);
                let system: Result<StateSpace, String> = integral.at(dt);
                system.map(|s| Some(Discrete::Linear(s))).map_err(|e| Error::invalid(what, e))
            }
        }
    }
}
