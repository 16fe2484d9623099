//! Solvers of decoders: least squares of many kinds between activities and targets, in 64 bits on the host.

mod lstsq;

use ndarray::{Array2, ArrayView2};

use crate::error::{Error, Result};
use crate::named::name_or_table;

/// How the decoders of a connection are found, and whether it keeps them apart from its encoders.
///
/// The default is Nengo's: least squares with L2 regularisation of 0.1.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Solver {
    /// The method.
    #[serde(default)]
    pub method: Method,
    /// Whether the connection has one full matrix of weights, from neuron to neuron, in place of decoders (and of
    /// encoders behind them).
    #[serde(default)]
    pub weights: bool,
}

/// A method to find decoders X with A X ≈ Y, for activities A (points × neurons) and targets Y (points × size).
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields, remote = "Self")]
#[non_exhaustive]
pub enum Method {
    /// Least squares with L2 regularisation: with σ = reg · max(A) and m points, (AᵀA + m σ² I) X = AᵀY.
    LstsqL2 {
        /// σ as a share of the largest activity; 0.1 by default.
        #[serde(default = "lstsq::default_reg")]
        reg: f64,
    },
}
name_or_table!(Method, "a solver, \"lstsq-l2\" or { lstsq-l2 = { reg = 0.1 } }");

/// What a solver found.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// neurons × size
    pub decoders: Array2<f64>,
    /// Root of the mean squared error over the points, for each column of the targets.
    pub rmse: Vec<f64>,
}

impl Default for Method {
    fn default() -> Self {
        Self::LstsqL2 { reg: lstsq::default_reg() }
    }
}

impl From<Method> for Solver {
    fn from(method: Method) -> Self {
        Self { method, weights: false }
    }
}

impl Solver {
    /// With one full matrix of weights.
    pub fn weights(self) -> Self {
        Self { weights: true, ..self }
    }

    /// Refuses settings out of their range.
    ///
    /// # Errors
    /// The setting and what is right, under the name `what`.
    pub fn check(&self, what: &str) -> Result<()> {
        match &self.method {
            Method::LstsqL2 { reg } if !(reg.is_finite() && *reg >= 0.0) => {
                Err(Error::invalid(what, format!("the reg of its solver is {reg}, but must be at least 0")))
            }
            _ => Ok(()),
        }
    }

    /// The decoders of `what` (the user's name of the connection) for activities (points × neurons) in Hz and targets
    /// (points × size). `seed` is used by the methods that draw random numbers.
    ///
    /// # Errors
    /// Settings out of their range, shapes that do not fit, nothing to solve, numbers that are not finite, neurons that
    /// are all silent, or a system without a unique answer; each names `what`.
    pub fn solve(
        &self,
        what: &str,
        activities: ArrayView2<'_, f64>,
        targets: ArrayView2<'_, f64>,
        seed: u64,
    ) -> Result<Solution> {
        self.check(what)?;
        check_system(what, activities, targets)?;
        let _ = seed;
        let decoders = match &self.method {
            Method::LstsqL2 { reg } => {
                let penalty = vec![lstsq::penalty(activities, *reg); activities.ncols()];
                lstsq::regularised(what, activities, targets, &penalty)?
            }
        };
        let rmse = rmse(activities, targets, &decoders);
        Ok(Solution { decoders, rmse })
    }
}

fn check_system(what: &str, a: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>) -> Result<()> {
    let unsolved = |problem: String| Err(Error::Solve { what: what.into(), problem });
    let points = |m: usize| format!("{m} points");
    if a.nrows() != y.nrows() {
        let (left, right) = (format!("the activities of {what}"), format!("the targets of {what}"));
        return Err(Error::shape(left, points(a.nrows()), right, points(y.nrows())));
    }
    if a.is_empty() || y.is_empty() {
        let (m, n, d) = (a.nrows(), a.ncols(), y.ncols());
        return unsolved(format!(
            "there are {m} points, {n} neurons and {d} targets; each must be at least 1"
        ));
    }
    for (name, values) in [("an activity", a), ("a target", y)] {
        if let Some((point, bad)) = values.indexed_iter().find(|(_, x)| !x.is_finite()) {
            return unsolved(format!("{name} is {bad} at point {}; all must be finite", point.0));
        }
    }
    if a.iter().all(|x| *x == 0.0) {
        return unsolved("all neurons are silent at all points; move their intercepts into the range of the points, or raise their biases".into());
    }
    Ok(())
}

fn rmse(a: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>, x: &Array2<f64>) -> Vec<f64> {
    let error = lstsq::product(a, x.view()) - y;
    let mean = |column: ndarray::ArrayView1<'_, f64>| column.dot(&column) / column.len() as f64;
    error.columns().into_iter().map(|column| mean(column).sqrt()).collect()
}
