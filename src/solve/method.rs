//! Methods for decoders, and their settings.

use ndarray::Array2;

use crate::error::{Error, Result};

/// A method for decoders X with A X ≈ Y, where A are the activities (m points × neurons) and Y the targets (points × size).
/// Names and defaults are Nengo's.
///
/// A file writes its name, `"lstsq-l2"`, or a table with one entry, `{ lstsq-l2 = { reg = 0.01 } }`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Method {
    /// Least squares without regularisation; the minimum-norm solution if there are many.
    Lstsq {
        /// Share of the largest singular value below which others count as zero; 0.01 by default.
        #[serde(default = "hundredth")]
        rcond: f64,
    },
    /// Least squares with L2 regularisation: with σ = reg · max(A), (AᵀA + m σ² I) X = AᵀY.
    LstsqL2 {
        /// σ as a share of the largest activity, at least 0; 0.1 by default.
        #[serde(default = "tenth")]
        reg: f64,
    },
    /// Like [`Method::LstsqL2`], with σ² multiplied by the share of points at which a neuron is active. Neurons that are active
    /// nowhere get the largest σ.
    LstsqL2nz {
        /// σ as a share of the largest activity, at least 0; 0.1 by default.
        #[serde(default = "tenth")]
        reg: f64,
    },
    /// Least squares with L1 regularisation, which sets many decoders to zero, and a little L2. It minimises
    /// |A x − y|² / (2 m) + a |x|₁ + b |x|² / 2 with a = l1 · max(A) and b = l2 · max(A)², for each column by coordinate
    /// descent.
    LstsqL1 {
        /// Strength of the L1 penalty, at least 0; 1e-4 by default.
        #[serde(default = "l1")]
        l1: f64,
        /// Strength of the L2 penalty, at least 0; 1e-6 by default.
        #[serde(default = "l2")]
        l2: f64,
        /// Most passes over all neurons; the result is used even if it has not converged. At least 1; 1000 by default.
        #[serde(default = "max_iter")]
        max_iter: usize,
    },
    /// Least squares after adding normal noise to the activities.
    LstsqNoise {
        /// Standard deviation as a share of the largest activity, at least 0; 0.1 by default.
        #[serde(default = "tenth")]
        noise: f64,
    },
    /// Least squares after multiplying each activity by 1 plus normal noise.
    LstsqMultNoise {
        /// Standard deviation, at least 0; 0.1 by default.
        #[serde(default = "tenth")]
        noise: f64,
    },
    /// [`Method::LstsqL2`], then sets the smallest decoders to zero and solves for the others again.
    LstsqDrop {
        /// Share of decoders set to zero, at least 0 and below 1; 0.25 by default.
        #[serde(default = "quarter")]
        drop: f64,
        /// Regularisation of the first solution, at least 0; 0.001 by default.
        #[serde(default = "thousandth")]
        first_reg: f64,
        /// Regularisation of the second solution, at least 0; 0.1 by default.
        #[serde(default = "tenth")]
        reg: f64,
    },
    /// Least squares with decoders of at least 0 (Lawson and Hanson 1974).
    Nnls,
    /// The x ≥ 0 that minimises |G x − Aᵀy| with G = AᵀA + m σ² I, the matrix of the regularised normal equations. Negative
    /// targets are set to zero first.
    NnlsL2 {
        /// σ as a share of the largest activity, at least 0; 0.1 by default.
        #[serde(default = "tenth")]
        reg: f64,
    },
    /// Like [`Method::NnlsL2`] with the σ of [`Method::LstsqL2nz`], and σ = 1 for a neuron that is active nowhere.
    NnlsL2nz {
        /// σ as a share of the largest activity, at least 0; 0.1 by default.
        #[serde(default = "tenth")]
        reg: f64,
    },
    /// No solver: uses the given decoders, or zeros.
    NoSolver {
        /// Decoders, neurons × size; zeros by default.
        #[serde(default, with = "crate::solve::rows::option", skip_serializing_if = "Option::is_none")]
        values: Option<Array2<f64>>,
    },
}

fn hundredth() -> f64 {
    0.01
}

fn tenth() -> f64 {
    0.1
}

fn thousandth() -> f64 {
    0.001
}

fn quarter() -> f64 {
    0.25
}

fn l1() -> f64 {
    1e-4
}

fn l2() -> f64 {
    1e-6
}

fn max_iter() -> usize {
    1000
}

impl Default for Method {
    fn default() -> Self {
        Self::LstsqL2 { reg: 0.1 }
    }
}

impl Method {
    /// True if the decoders of a target depend on the other targets solved with it.
    pub fn compares_targets(&self) -> bool {
        matches!(self, Self::LstsqDrop { .. })
    }

    /// True if the decoders of targets times a matrix are the decoders of the targets times that matrix. If not, a connection
    /// with full weights must solve for the weights themselves.
    pub fn compositional(&self) -> bool {
        match self {
            Self::Lstsq { .. }
            | Self::LstsqL2 { .. }
            | Self::LstsqL2nz { .. }
            | Self::LstsqNoise { .. }
            | Self::LstsqMultNoise { .. }
            | Self::NoSolver { .. } => true,
            Self::LstsqL1 { .. }
            | Self::LstsqDrop { .. }
            | Self::Nnls
            | Self::NnlsL2 { .. }
            | Self::NnlsL2nz { .. } => false,
        }
    }

    /// Rejects settings out of range.
    pub(super) fn check(&self, what: &str) -> Result<()> {
        let at_least_zero = |name: &str, x: f64| {
            if x.is_finite() && x >= 0.0 {
                return Ok(());
            }
            Err(Error::invalid(what, format!("the {name} of its solver is {x}, but must be at least 0")))
        };
        let share = |name: &str, x: f64| {
            if (0.0..1.0).contains(&x) {
                return Ok(());
            }
            let problem = format!("the {name} of its solver is {x}, but must be at least 0 and below 1");
            Err(Error::invalid(what, problem))
        };
        match self {
            Self::Lstsq { rcond } => share("rcond", *rcond),
            Self::LstsqL2 { reg }
            | Self::LstsqL2nz { reg }
            | Self::NnlsL2 { reg }
            | Self::NnlsL2nz { reg } => at_least_zero("reg", *reg),
            Self::LstsqL1 { l1, l2, max_iter } => {
                at_least_zero("l1", *l1)?;
                at_least_zero("l2", *l2)?;
                match max_iter {
                    0 => Err(Error::invalid(what, "the max-iter of its solver must be at least 1")),
                    _ => Ok(()),
                }
            }
            Self::LstsqNoise { noise } | Self::LstsqMultNoise { noise } => at_least_zero("noise", *noise),
            Self::LstsqDrop { drop, first_reg, reg } => {
                share("drop", *drop)?;
                at_least_zero("first-reg", *first_reg)?;
                at_least_zero("reg", *reg)
            }
            Self::NoSolver { values: Some(values) } => match values.iter().find(|x| !x.is_finite()) {
                Some(bad) => Err(Error::invalid(what, format!("the values of its solver hold {bad}"))),
                None => Ok(()),
            },
            Self::Nnls | Self::NoSolver { values: None } => Ok(()),
        }
    }
}
