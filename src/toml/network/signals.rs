//! Synapses and processes.

use ndarray::Array2;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::network::{Draw, Interpolation, LinearFilter, Noise, Process, Synapse, WhiteSignal};
use crate::op::discretise::{Method, StateSpace};

/// A synapse: the time constant of a lowpass in seconds, or a table with one of its kinds.
#[derive(Clone, Debug, Deserialize)]
pub enum SynapseSpec {
    /// Time constant of a lowpass in seconds.
    #[serde(rename = "$number:a time constant in seconds")]
    Lowpass(f64),
    /// Any kind of synapse.
    #[serde(rename = "$table:a table with lowpass, alpha, triangle, linear or state-space")]
    Kind(SynapseKind),
}

/// Synapse of a connection or probe, or `"none"` to override a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "OrNone")]
pub struct ConnectionSynapse(pub Option<SynapseSpec>);

/// Form in a file.
#[derive(Deserialize)]
enum OrNone {
    #[serde(rename = "$word:none")]
    None,
    #[serde(rename = "$any")]
    Some(SynapseSpec),
}

impl From<OrNone> for ConnectionSynapse {
    fn from(synapse: OrNone) -> Self {
        match synapse {
            OrNone::None => Self(None),
            OrNone::Some(synapse) => Self(Some(synapse)),
        }
    }
}

/// A kind of synapse.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SynapseKind {
    /// First-order lowpass with this time constant in seconds.
    Lowpass(f64),
    /// Second-order lowpass with this time constant in seconds.
    Alpha(f64),
    /// Moving average with weights falling linearly to zero over this many seconds.
    Triangle(f64),
    /// A transfer function.
    Linear(TransferSpec),
    /// State-space matrices.
    StateSpace(StateSpaceSpec),
}

/// A transfer function, with coefficients from the highest power down.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferSpec {
    /// Coefficients of the numerator.
    pub numerator: Vec<f64>,
    /// Coefficients of the denominator.
    pub denominator: Vec<f64>,
    /// True for continuous time (in s), the default; false for time steps (in z).
    pub analog: Option<bool>,
    /// Discretisation method for continuous time; zero-order hold by default.
    pub method: Option<Method>,
}

/// The matrices of `x' = A x + B u`, `y = C x + D u` with one input and one output.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSpaceSpec {
    /// Rows of A.
    pub a: Vec<Vec<f64>>,
    /// B, one number per state.
    pub b: Vec<f64>,
    /// C, one number per state.
    pub c: Vec<f64>,
    /// D; 0 by default.
    #[serde(default)]
    pub d: f64,
    /// True for continuous time, the default; false for time steps.
    pub analog: Option<bool>,
    /// Discretisation method for continuous time; zero-order hold by default.
    pub method: Option<Method>,
}

/// Process of a node: a table with its kind, or its name if all settings have defaults, as `"white-noise"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessSpec {
    /// Rows presented in sequence.
    PresentInput(PresentSpec),
    /// Values at given times.
    Piecewise(PiecewiseSpec),
    /// A band-limited random signal.
    WhiteSignal(WhiteSignalSpec),
    /// White noise.
    WhiteNoise(NoiseSpec),
    /// White noise through a synapse.
    FilteredNoise(FilteredNoiseSpec),
    /// A random walk.
    BrownNoise(NoiseSpec),
}

/// Rows presented in sequence, repeating from the first.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PresentSpec {
    /// Rows to present.
    pub inputs: Vec<Vec<f32>>,
    /// Seconds per row.
    pub presentation_time: f64,
}

/// Values at given times.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PiecewiseSpec {
    /// Times in seconds, in rising order.
    pub times: Vec<f64>,
    /// Values, one row per time.
    pub values: Vec<Vec<f32>>,
    /// Interpolation between the times; `"zero"` by default, which holds each value.
    #[serde(default)]
    pub interpolation: Interpolation,
}

/// A band-limited random signal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhiteSignalSpec {
    /// Period in seconds.
    pub period: f64,
    /// Highest frequency in Hz.
    pub high: f64,
    /// Root mean square; 0.5 by default.
    pub rms: Option<f64>,
    /// Start where the signal is nearest to this value; unset by default.
    pub y0: Option<f64>,
    /// Seed; derived from the file's seed and the name by default.
    pub seed: Option<u64>,
}

/// White noise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseSpec {
    /// Distribution: `{ normal = [mean, std] }` or `{ uniform = [low, high] }`; standard normal by default.
    #[serde(default)]
    pub distribution: Draw,
    /// Multiply the numbers by `1 / sqrt(dt)`; true by default.
    pub scale: Option<bool>,
    /// Seed; derived from the file's seed and the name by default.
    pub seed: Option<u64>,
}

/// White noise through a synapse.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilteredNoiseSpec {
    /// Synapse, applied without its delay; a lowpass of 5 ms by default, as in Nengo.
    pub synapse: Option<SynapseSpec>,
    /// Distribution: `{ normal = [mean, std] }` or `{ uniform = [low, high] }`; standard normal by default.
    #[serde(default)]
    pub distribution: Draw,
    /// Multiply the numbers by `1 / sqrt(dt)`; true by default.
    pub scale: Option<bool>,
    /// Seed; derived from the file's seed and the name by default.
    pub seed: Option<u64>,
}

impl SynapseSpec {
    /// Builds the synapse of `what`.
    pub(super) fn build(&self, what: &str) -> Result<Synapse> {
        let finish =
            |filter: LinearFilter, analog: Option<bool>, method: Option<Method>| match (analog, method) {
                (Some(false), Some(_)) => {
                    let problem =
                        "its synapse is that of a time step already (analog = false): leave out the method";
                    Err(Error::invalid(what, problem))
                }
                (Some(false), None) => Ok(Synapse::from(filter.digital())),
                (_, method) => Ok(filter.method(method.unwrap_or_default()).into()),
            };
        Ok(match self {
            SynapseSpec::Lowpass(tau) | SynapseSpec::Kind(SynapseKind::Lowpass(tau)) => {
                Synapse::Lowpass(*tau)
            }
            SynapseSpec::Kind(SynapseKind::Alpha(tau)) => Synapse::Alpha(*tau),
            SynapseSpec::Kind(SynapseKind::Triangle(t)) => Synapse::Triangle(*t),
            SynapseSpec::Kind(SynapseKind::Linear(spec)) => {
                finish(LinearFilter::new(&spec.numerator, &spec.denominator), spec.analog, spec.method)?
            }
            SynapseSpec::Kind(SynapseKind::StateSpace(spec)) => {
                let system = StateSpace {
                    a: matrix(&spec.a, &format!("A of the synapse of {what}"))?,
                    b: Array2::from_shape_fn((spec.b.len(), 1), |(i, _)| spec.b[i]),
                    c: Array2::from_shape_fn((1, spec.c.len()), |(_, j)| spec.c[j]),
                    d: spec.d,
                };
                finish(LinearFilter::state_space(system), spec.analog, spec.method)?
            }
        })
    }
}

impl ConnectionSynapse {
    /// Builds the filter of `what`, if it has one.
    pub(super) fn build(&self, what: &str) -> Result<Option<Synapse>> {
        self.0.as_ref().map(|spec| spec.build(what)).transpose()
    }
}

impl ProcessSpec {
    /// Number of dimensions, if the process determines it.
    pub(super) fn size(&self) -> Option<usize> {
        match self {
            ProcessSpec::PresentInput(spec) => spec.inputs.first().map(Vec::len),
            ProcessSpec::Piecewise(spec) => spec.values.first().map(Vec::len),
            _ => None,
        }
    }

    /// Builds the process of `what` with `size` dimensions; processes with values have the size of these.
    pub(super) fn build(&self, what: &str, size: usize) -> Result<Process> {
        let noise = |noise: Noise, distribution, scale: Option<bool>, seed| {
            Noise { distribution, scale: scale.unwrap_or(true), seed, ..noise }.into()
        };
        Ok(match self {
            ProcessSpec::PresentInput(spec) => Process::PresentInput {
                inputs: matrix(&spec.inputs, &format!("the inputs of {what}"))?,
                presentation_time: spec.presentation_time,
            },
            ProcessSpec::Piecewise(spec) => Process::Piecewise {
                times: spec.times.clone(),
                values: matrix(&spec.values, &format!("the values of {what}"))?,
                interpolation: spec.interpolation,
            },
            ProcessSpec::WhiteSignal(spec) => {
                let &WhiteSignalSpec { period, high, rms, y0, seed } = spec;
                WhiteSignal { size, period, high, rms: rms.unwrap_or(0.5), y0, seed }.into()
            }
            ProcessSpec::WhiteNoise(s) => noise(Noise::white(size), s.distribution, s.scale, s.seed),
            ProcessSpec::BrownNoise(s) => noise(Noise::brown(size), s.distribution, s.scale, s.seed),
            ProcessSpec::FilteredNoise(s) => {
                let synapse = match &s.synapse {
                    Some(synapse) => synapse.build(what)?,
                    None => Synapse::Lowpass(0.005),
                };
                noise(Noise::filtered(size, synapse), s.distribution, s.scale, s.seed)
            }
        })
    }
}

/// Converts rows of equal length to a matrix.
pub(super) fn matrix<T: Copy>(rows: &[Vec<T>], what: &str) -> Result<Array2<T>> {
    let size = rows.first().map_or(0, Vec::len);
    if let Some((i, row)) = rows.iter().enumerate().find(|(_, row)| row.len() != size) {
        let (left, right) = (format!("row 1 of {what}"), format!("row {}", i + 1));
        return Err(Error::shape(left, format!("{size} values"), right, format!("{} values", row.len())));
    }
    Array2::from_shape_vec((rows.len(), size), rows.concat()).map_err(|e| Error::invalid(what, e.to_string()))
}
