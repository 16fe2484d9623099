//! Synapses and processes as a TOML file describes them.

use ndarray::Array2;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::network::{Draw, Interpolation, LinearFilter, Noise, Process, Synapse, WhiteSignal};
use crate::op::discretise::{Method, StateSpace};

/// A synapse: the time constant of a lowpass in seconds, or a table with one of its kinds.
#[derive(Clone, Debug, Deserialize)]
pub enum SynapseSpec {
    /// Time constant of a lowpass.
    #[serde(rename = "$number:a time constant in seconds")]
    Lowpass(f64),
    /// Any kind.
    #[serde(rename = "$table:a table with lowpass, alpha, triangle, linear or state-space")]
    Kind(SynapseKind),
}

/// The filter of a connection, which may have none though others have.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "OrNone")]
pub struct ConnectionSynapse(pub Option<SynapseSpec>);

/// How a file writes it.
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
    /// Weights that fall in a line to zero over this many seconds.
    Triangle(f64),
    /// A transfer function.
    Linear(TransferSpec),
    /// Matrices.
    StateSpace(StateSpaceSpec),
}

/// A transfer function, coefficients from the highest power down.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferSpec {
    /// Of the numerator.
    pub numerator: Vec<f64>,
    /// Of the denominator.
    pub denominator: Vec<f64>,
    /// In continuous time (in s); true by default.
    pub analog: Option<bool>,
    /// How one in continuous time is brought to time steps; by zero-order hold if not given.
    pub method: Option<Method>,
}

/// The matrices of `x' = A x + B u`, `y = C x + D u` with one input and one output.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSpaceSpec {
    /// Rows of A.
    pub a: Vec<Vec<f64>>,
    /// B, a number for each state.
    pub b: Vec<f64>,
    /// C, a number for each state.
    pub c: Vec<f64>,
    /// D; 0 by default.
    #[serde(default)]
    pub d: f64,
    /// In continuous time; true by default.
    pub analog: Option<bool>,
    /// How one in continuous time is brought to time steps; by zero-order hold if not given.
    pub method: Option<Method>,
}

/// A process of a node: by its name alone where that says all, as `"white-noise"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessSpec {
    /// Rows shown one after the other.
    PresentInput(PresentSpec),
    /// Values at points in time.
    Piecewise(PiecewiseSpec),
    /// A random signal without high frequencies.
    WhiteSignal(WhiteSignalSpec),
    /// Random numbers at each step.
    WhiteNoise(NoiseSpec),
    /// Random numbers through a synapse.
    FilteredNoise(FilteredNoiseSpec),
    /// A random walk.
    BrownNoise(NoiseSpec),
}

/// Rows shown one after the other, and again from the first.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PresentSpec {
    /// The rows.
    pub inputs: Vec<Vec<f32>>,
    /// How long each is shown, in seconds.
    pub presentation_time: f64,
}

/// Values at points in time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PiecewiseSpec {
    /// In seconds, growing.
    pub times: Vec<f64>,
    /// A row for each time.
    pub values: Vec<Vec<f32>>,
    /// What lies between.
    #[serde(default)]
    pub interpolation: Interpolation,
}

/// A random signal without high frequencies.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhiteSignalSpec {
    /// In seconds.
    pub period: f64,
    /// Highest frequency in Hz.
    pub high: f64,
    /// Root of the mean square; 0.5 by default.
    pub rms: Option<f64>,
    /// It starts where it is nearest to this.
    pub y0: Option<f64>,
    /// Seed of its own.
    pub seed: Option<u64>,
}

/// Random numbers at each step.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseSpec {
    /// `{ normal = [mean, std] }` or `{ uniform = [low, high] }`; normal with 0 and 1 by default.
    #[serde(default)]
    pub distribution: Draw,
    /// Whether numbers are multiplied by `1 / sqrt(dt)`; true by default.
    pub scale: Option<bool>,
    /// Seed of its own.
    pub seed: Option<u64>,
}

/// Random numbers through a synapse.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilteredNoiseSpec {
    /// The synapse, which does not delay here; a lowpass of 5 ms by default, as in Nengo.
    pub synapse: Option<SynapseSpec>,
    /// `{ normal = [mean, std] }` or `{ uniform = [low, high] }`; normal with 0 and 1 by default.
    #[serde(default)]
    pub distribution: Draw,
    /// Whether numbers are multiplied by `1 / sqrt(dt)`; true by default.
    pub scale: Option<bool>,
    /// Seed of its own.
    pub seed: Option<u64>,
}

impl SynapseSpec {
    /// The synapse of `what`.
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
    /// The filter of `what`, if it has one.
    pub(super) fn build(&self, what: &str) -> Result<Option<Synapse>> {
        self.0.as_ref().map(|spec| spec.build(what)).transpose()
    }
}

impl ProcessSpec {
    /// Dimensions, where the process itself says them.
    pub(super) fn size(&self) -> Option<usize> {
        match self {
            ProcessSpec::PresentInput(spec) => spec.inputs.first().map(Vec::len),
            ProcessSpec::Piecewise(spec) => spec.values.first().map(Vec::len),
            _ => None,
        }
    }

    /// The process of `what` with `size` dimensions; the size is that of the values where there are some.
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

/// Rows of one length as a matrix.
pub(super) fn matrix<T: Copy>(rows: &[Vec<T>], what: &str) -> Result<Array2<T>> {
    let size = rows.first().map_or(0, Vec::len);
    if let Some((i, row)) = rows.iter().enumerate().find(|(_, row)| row.len() != size) {
        let (left, right) = (format!("row 1 of {what}"), format!("row {}", i + 1));
        return Err(Error::shape(left, format!("{size} values"), right, format!("{} values", row.len())));
    }
    Array2::from_shape_vec((rows.len(), size), rows.concat()).map_err(|e| Error::invalid(what, e.to_string()))
}
