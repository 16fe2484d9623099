//! Least squares: by normal equations in their primal or dual form, and by singular values.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::prelude::Solve;
use faer::{Accum, Mat, MatRef, Par, Side};

use crate::error::{Error, Result};

/// max(A)
pub(super) fn largest(a: MatRef<'_, f64>) -> f64 {
    a.col_iter().flat_map(|column| column.iter()).copied().fold(f64::NEG_INFINITY, f64::max)
}

/// m σ² with σ = reg · max(A), for m points.
pub(super) fn penalty(a: MatRef<'_, f64>, reg: f64) -> f64 {
    a.nrows() as f64 * (reg * largest(a)).powi(2)
}

/// m σ² of each neuron, where σ² is multiplied by the share of points at which it is active. `silent` says, from those of
/// all neurons, that of neurons which are active nowhere.
pub(super) fn penalty_where_active(a: MatRef<'_, f64>, reg: f64, silent: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let whole = penalty(a, reg);
    let share =
        |j: usize| a.col(j).iter().filter(|activity| **activity > 0.0).count() as f64 / a.nrows() as f64;
    let mut penalty: Vec<f64> = (0..a.ncols()).map(|j| whole * share(j)).collect();
    let silent = silent(&penalty);
    penalty.iter_mut().filter(|p| **p == 0.0).for_each(|p| *p = silent);
    penalty
}

/// X of (AᵀA + P) X = AᵀY with P = diag(penalty).
///
/// With fewer points than neurons it is found by a smaller system: with B = A P^-1/2, (B Bᵀ + I) Z = Y and
/// X = P^-1/2 Bᵀ Z; or, where all penalties are the same p, (A Aᵀ + p I) Z = Y and X = AᵀZ.
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
        return cholesky(what, &gram, times(a.transpose(), y));
    }
    let even = penalty.iter().all(|p| *p == penalty[0]);
    let root = |j: usize| if even { 1.0 } else { penalty[j].sqrt() };
    let scaled = Mat::from_fn(n, m, |j, i| a[(i, j)] / root(j));
    let mut gram = gram(scaled.as_ref());
    for i in 0..m {
        gram[(i, i)] += if even { penalty[0] } else { 1.0 };
    }
    let z = cholesky(what, &gram, y.to_owned())?;
    let x = times(scaled.as_ref(), z.as_ref());
    Ok(Mat::from_fn(n, x.ncols(), |j, k| x[(j, k)] / root(j)))
}

/// The shortest X of the least |A X - Y|, without the singular values below `rcond` times the largest.
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

/// AᵀA; only its lower half is computed.
fn gram(a: MatRef<'_, f64>) -> Mat<f64> {
    let mut gram = Mat::zeros(a.ncols(), a.ncols());
    triangular::matmul(
        gram.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Replace,
        a.transpose(),
        BlockStructure::Rectangular,
        a,
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
    gram
}

/// AᵀA with both its halves.
pub(super) fn whole_gram(a: MatRef<'_, f64>) -> Mat<f64> {
    let lower = gram(a);
    Mat::from_fn(a.ncols(), a.ncols(), |i, j| lower[(i.max(j), i.min(j))])
}

/// A B
pub(super) fn times(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut product = Mat::zeros(a.nrows(), b.ncols());
    matmul(product.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    product
}

/// X of G X = B for the lower half of a positive definite G.
fn cholesky(what: &str, g: &Mat<f64>, b: Mat<f64>) -> Result<Mat<f64>> {
    let largest = (0..g.nrows()).map(|i| g[(i, i)]).fold(0.0, f64::max);
    let smallest = g.nrows() as f64 * f64::EPSILON * largest;
    if let Ok(llt) = g.llt(Side::Lower) {
        let l = llt.L();
        // A pivot that is all rounding error would give decoders that are, too.
        let sound = (0..g.nrows()).all(|i| l[(i, i)].powi(2) > smallest);
        let x = llt.solve(b);
        if sound && x.is_all_finite() {
            return Ok(x);
        }
    }
    let problem = "the system is singular, since neurons are silent or alike at all points; raise the reg of its solver, \
                   use lstsq-l2, or take more points";
    Err(Error::Solve { what: what.into(), problem: problem.into() })
}
