//! Solvers for decoders: least-squares methods for activities and targets, in 64 bits on the host.
//!
//! ```
//! use ndarray::array;
//! use nengo_wgpu::internals::solve::{Method, Solver};
//!
//! # fn main() -> nengo_wgpu::Result<()> {
//! let rates = array![[0.0, 90.0], [40.0, 50.0], [80.0, 10.0]];
//! let values = array![[-1.0], [0.0], [1.0]];
//! let solver = Solver::from(Method::LstsqL2 { reg: 0.01 });
//! let solution = solver.solve("connection 'a -> b'", rates.view(), values.view(), 0)?;
//! assert_eq!(solution.decoders.dim(), (2, 1));
//! assert!(solution.rmse[0] < 0.1);
//! # Ok(())
//! # }
//! ```

mod batch;
mod blocks;
mod cache;
mod l1;
mod lstsq;
mod method;
mod nnls;
pub(crate) mod rows;

use faer::{Mat, MatRef};
use ndarray::{Array2, ArrayView2};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;

pub use batch::{Job, System, solve_all};
pub use cache::{Cache, Key};
pub use method::Method;

use crate::error::{Error, Result};

/// Settings to solve for the decoders of a connection, and to combine them with encoders.
///
/// The default is Nengo's: least squares with L2 regularisation of 0.1.
///
/// A file writes a table with both keys, or the method alone.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Solver {
    /// Method; [`Method::LstsqL2`] by default.
    #[serde(alias = "$short")]
    pub method: Method,
    /// Use a full weight matrix from neuron to neuron instead of decoders and encoders; false by default. If the method is not
    /// [compositional](Method::compositional), this solves for the weights directly, with the targets multiplied by the
    /// encoders.
    pub weights: bool,
}

/// Result of a solver.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// Decoders, neurons × size.
    pub decoders: Array2<f64>,
    /// Root mean square error over the points, one per column of the targets.
    pub rmse: Vec<f64>,
}

impl From<Method> for Solver {
    fn from(method: Method) -> Self {
        Self { method, weights: false }
    }
}

impl Solver {
    /// Uses a full weight matrix.
    pub fn weights(self) -> Self {
        Self { weights: true, ..self }
    }

    /// Rejects settings out of range.
    ///
    /// # Errors
    /// The setting and its valid range; `what` names the solver's connection.
    pub fn check(&self, what: &str) -> Result<()> {
        self.method.check(what)
    }

    /// Solves for decoders from activities (points × neurons, in Hz) and targets (points × size). `what` names the connection in
    /// errors; `seed` is used by methods that draw random numbers.
    ///
    /// # Errors
    /// Settings out of range; shapes that do not match; an empty system; numbers that are not finite; neurons that are all
    /// silent; a singular system. Each error names `what`.
    pub fn solve(
        &self,
        what: &str,
        activities: ArrayView2<'_, f64>,
        targets: ArrayView2<'_, f64>,
        seed: u64,
    ) -> Result<Solution> {
        self.check(what)?;
        check_system(what, activities, targets)?;
        let silent = || {
            "all neurons are silent at all points; move their intercepts into the range of the points, or raise their \
             biases"
                .to_string()
        };
        self.solve_checked(what, mat(activities), mat(targets), seed, &silent)
    }

    /// Solves a checked system; `silent` is the message for neurons that are all silent.
    fn solve_checked(
        &self,
        what: &str,
        a: Mat<f64>,
        y: Mat<f64>,
        seed: u64,
        silent: &dyn Fn() -> String,
    ) -> Result<Solution> {
        let all_zero = a.col_iter().all(|column| column.iter().all(|x| *x == 0.0));
        if all_zero && !matches!(self.method, Method::NoSolver { .. }) {
            return Err(Error::Solve { what: what.into(), problem: silent() });
        }
        let x = decoders(&self.method, what, a.as_ref(), y.as_ref(), seed)?;
        let error = lstsq::times(a.as_ref(), x.as_ref()) - y;
        let mean = |squares: f64| (squares / error.nrows() as f64).sqrt();
        let rmse = (0..error.ncols()).map(|k| mean(error.col(k).squared_norm_l2())).collect();
        Ok(Solution { decoders: array(&x), rmse })
    }
}

fn decoders(
    method: &Method,
    what: &str,
    a: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    seed: u64,
) -> Result<Mat<f64>> {
    let even = |penalty: f64| vec![penalty; a.ncols()];
    match *method {
        Method::Lstsq { rcond } => lstsq::by_singular_values(what, a, y, rcond),
        Method::LstsqL2 { reg } => lstsq::regularised(what, a, y, &even(lstsq::penalty(a, reg))),
        Method::LstsqL2nz { reg } => {
            let penalty = lstsq::penalty_where_active(a, reg, silent_as_largest);
            lstsq::regularised(what, a, y, &penalty)
        }
        Method::LstsqL1 { l1, l2, max_iter } => Ok(l1::elastic_net(a, y, l1, l2, max_iter)),
        Method::LstsqNoise { noise } => {
            let (std, mut normal) = (noise * lstsq::largest(a), normal(seed));
            let noisy = Mat::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)] + std * normal());
            lstsq::regularised(what, noisy.as_ref(), y, &even(0.0))
        }
        Method::LstsqMultNoise { noise } => {
            let mut normal = normal(seed);
            let noisy = Mat::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)] * (1.0 + noise * normal()));
            lstsq::regularised(what, noisy.as_ref(), y, &even(0.0))
        }
        Method::LstsqDrop { drop, first_reg, reg } => l1::drop_smallest(what, a, y, drop, first_reg, reg),
        Method::Nnls => nnls::each_column(what, a, y),
        Method::NnlsL2 { reg } => nnls::of_normal_equations(what, a, y, &even(lstsq::penalty(a, reg))),
        Method::NnlsL2nz { reg } => {
            let all_points = |_: &[f64]| a.nrows() as f64;
            nnls::of_normal_equations(what, a, y, &lstsq::penalty_where_active(a, reg, all_points))
        }
        Method::NoSolver { ref values } => match values {
            None => Ok(Mat::zeros(a.ncols(), y.ncols())),
            Some(values) if values.dim() == (a.ncols(), y.ncols()) => Ok(mat(values.view())),
            Some(values) => {
                let wanted = format!("{} neurons x {} targets", a.ncols(), y.ncols());
                Err(Error::shape(
                    format!("the decoders of {what}"),
                    wanted,
                    "the values of its solver",
                    format!("{} x {}", values.nrows(), values.ncols()),
                ))
            }
        },
    }
}

/// The largest penalty, for neurons that are active nowhere.
fn silent_as_largest(penalty: &[f64]) -> f64 {
    penalty.iter().copied().fold(0.0, f64::max)
}

/// Generator of standard normal numbers.
fn normal(seed: u64) -> impl FnMut() -> f64 {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    move || rng.sample(StandardNormal)
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
        if let Some(((point, _), bad)) = values.indexed_iter().find(|(_, x)| !x.is_finite()) {
            return unsolved(format!("{name} is {bad} at point {point} (from 0); all must be finite"));
        }
    }
    Ok(())
}

fn mat(a: ArrayView2<'_, f64>) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)])
}

fn array(a: &Mat<f64>) -> Array2<f64> {
    Array2::from_shape_fn((a.nrows(), a.ncols()), |(i, j)| a[(i, j)])
}
