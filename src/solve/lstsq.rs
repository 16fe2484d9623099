//! Least squares: normal equations in primal or dual form, and singular values.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltRegularization, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{Accum, Mat, MatRef, Par, Spec};

use crate::error::{Error, Result};

/// The largest activity, max(A).
pub(super) fn largest(a: MatRef<'_, f64>) -> f64 {
    a.col_iter().flat_map(|column| column.iter()).copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The penalty m σ² with σ = reg · max(A), for m points.
pub(super) fn penalty(a: MatRef<'_, f64>, reg: f64) -> f64 {
    a.nrows() as f64 * (reg * largest(a)).powi(2)
}

/// The penalty m σ² of each neuron, multiplied by the share of points at which it is active. `silent` computes the penalty of
/// neurons that are active nowhere from those of all neurons.
pub(super) fn penalty_where_active(a: MatRef<'_, f64>, reg: f64, silent: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    shared(penalty(a, reg), &active(a), a.nrows(), silent)
}

/// Like [`penalty_where_active`], from the penalty of a neuron that is active at all `m` points.
pub(super) fn shared(whole: f64, active: &[usize], m: usize, silent: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut penalty: Vec<f64> = active.iter().map(|n| whole * (*n as f64 / m as f64)).collect();
    let silent = silent(&penalty);
    penalty.iter_mut().filter(|p| **p == 0.0).for_each(|p| *p = silent);
    penalty
}

/// Number of points at which each neuron is active.
pub(super) fn active(a: MatRef<'_, f64>) -> Vec<usize> {
    a.col_iter().map(|column| column.iter().filter(|activity| **activity > 0.0).count()).collect()
}

/// Solves (AᵀA + P) X = AᵀY with P = diag(penalty).
///
/// With fewer points than neurons it solves a smaller system: with B = A P^-1/2, (B Bᵀ + I) Z = Y and X = P^-1/2 Bᵀ Z. If all
/// penalties equal p, this is (A Aᵀ + p I) Z = Y and X = AᵀZ.
pub(super) fn regularised(
    what: &str,
    a: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    penalty: &[f64],
) -> Result<Mat<f64>> {
    let (m, n) = (a.nrows(), a.ncols());
    if m >= n {
        let mut gram = gram(a);
        for (i, p) in penalty.iter().enumerate() {
            gram[(i, i)] += p;
        }
        return cholesky(what, gram, times(a.transpose(), y));
    }
    if penalty.iter().all(|p| *p == penalty[0]) {
        let z = dual(what, a.transpose(), penalty[0], y)?;
        return Ok(times(a.transpose(), z.as_ref()));
    }
    let root = |j: usize| penalty[j].sqrt();
    let scaled = Mat::from_fn(n, m, |j, i| a[(i, j)] / root(j));
    let z = dual(what, scaled.as_ref(), 1.0, y)?;
    let x = times(scaled.as_ref(), z.as_ref());
    Ok(Mat::from_fn(n, x.ncols(), |j, k| x[(j, k)] / root(j)))
}

/// Solves (BᵀB + p I) Z = Y.
fn dual(what: &str, b: MatRef<'_, f64>, p: f64, y: MatRef<'_, f64>) -> Result<Mat<f64>> {
    let mut gram = gram(b);
    for i in 0..gram.nrows() {
        gram[(i, i)] += p;
    }
    cholesky(what, gram, y.to_owned())
}

/// The minimum-norm least-squares solution of A X = Y, ignoring singular values below `rcond` times the largest.
pub(super) fn by_singular_values(
    what: &str,
    a: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    rcond: f64,
) -> Result<Mat<f64>> {
    let problem = "its activities have no singular values that could be computed; use lstsq-l2";
    let svd = a.thin_svd().map_err(|_| Error::Solve { what: what.into(), problem: problem.into() })?;
    let values: Vec<f64> = svd.S().column_vector().iter().copied().collect();
    let smallest = rcond.max(f64::EPSILON) * values.iter().copied().fold(0.0, f64::max);
    let mut along = times(svd.U().transpose(), y);
    for (i, value) in values.iter().enumerate() {
        let factor = if *value > smallest { 1.0 / value } else { 0.0 };
        along.row_mut(i).iter_mut().for_each(|x| *x *= factor);
    }
    Ok(times(svd.V(), along.as_ref()))
}

/// AᵀA; only the lower half is computed.
fn gram(a: MatRef<'_, f64>) -> Mat<f64> {
    let mut gram = Mat::zeros(a.ncols(), a.ncols());
    add_gram(&mut gram, a);
    gram
}

/// Adds AᵀA to the lower half of `gram`.
pub(super) fn add_gram(gram: &mut Mat<f64>, a: MatRef<'_, f64>) {
    triangular::matmul(
        gram.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Add,
        a.transpose(),
        BlockStructure::Rectangular,
        a,
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
}

/// AᵀA with both halves.
pub(super) fn whole_gram(a: MatRef<'_, f64>) -> Mat<f64> {
    let lower = gram(a);
    Mat::from_fn(a.ncols(), a.ncols(), |i, j| lower[(i.max(j), i.min(j))])
}

/// The product A B.
pub(super) fn times(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut product = Mat::zeros(a.nrows(), b.ncols());
    matmul(product.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    product
}

/// Solves G X = B for the lower half of a positive definite G, in place.
pub(super) fn cholesky(what: &str, mut g: Mat<f64>, mut b: Mat<f64>) -> Result<Mat<f64>> {
    let n = g.nrows();
    let largest = (0..n).map(|i| g[(i, i)]).fold(0.0, f64::max);
    let smallest = n as f64 * f64::EPSILON * largest;
    let mut scratch = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, Spec::default()));
    let stack = MemStack::new(&mut scratch);
    if cholesky_in_place(g.as_mut(), LltRegularization::default(), Par::Seq, stack, Spec::default()).is_ok() {
        solve_lower_triangular_in_place(g.as_ref(), b.as_mut(), Par::Seq);
        solve_upper_triangular_in_place(g.transpose(), b.as_mut(), Par::Seq);
        // A pivot at the level of rounding errors would give decoders that are meaningless.
        let sound = (0..n).all(|i| g[(i, i)].powi(2) > smallest);
        if sound && b.is_all_finite() {
            return Ok(b);
        }
    }
    let problem = "the system is singular, since neurons are silent or alike at all points; raise the reg of its solver, \
                   use lstsq-l2, or take more points";
    Err(Error::Solve { what: what.into(), problem: problem.into() })
}
