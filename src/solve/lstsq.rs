//! Least squares: regularised by way of the normal equations, in their primal or dual form.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::prelude::Solve;
use faer::{Accum, Mat, MatRef, Par, Side};
use ndarray::{Array2, ArrayView2};

use crate::error::{Error, Result};

pub(super) fn default_reg() -> f64 {
    0.1
}

/// m σ² with σ = reg · max(A), for m points.
pub(super) fn penalty(a: ArrayView2<'_, f64>, reg: f64) -> f64 {
    let largest = a.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    a.nrows() as f64 * (reg * largest).powi(2)
}

/// X of (AᵀA + diag(penalty)) X = AᵀY.
///
/// With fewer points than neurons it is found by the smaller system (A P⁻¹ Aᵀ + I) Z = Y, X = P⁻¹ Aᵀ Z with
/// P = diag(penalty).
pub(super) fn regularised(
    what: &str,
    a: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    penalty: &[f64],
) -> Result<Array2<f64>> {
    let (m, n) = a.dim();
    let (a, y) = (mat(a), mat(y));
    if m >= n || penalty.contains(&0.0) {
        let mut gram = gram(a.as_ref());
        for (i, p) in penalty.iter().enumerate() {
            gram[(i, i)] += p;
        }
        let right = times(a.transpose(), y.as_ref());
        return Ok(array(cholesky(what, &gram, &right)?.as_ref()));
    }
    let scaled = Mat::from_fn(n, m, |j, i| a[(i, j)] / penalty[j].sqrt());
    let mut gram = gram(scaled.as_ref());
    for i in 0..m {
        gram[(i, i)] += 1.0;
    }
    let z = cholesky(what, &gram, &y)?;
    let x = times(scaled.as_ref(), z.as_ref());
    Ok(Array2::from_shape_fn((n, x.ncols()), |(j, k)| x[(j, k)] / penalty[j].sqrt()))
}

/// A X.
pub(super) fn product(a: ArrayView2<'_, f64>, x: ArrayView2<'_, f64>) -> Array2<f64> {
    array(times(mat(a).as_ref(), mat(x).as_ref()).as_ref())
}

/// The lower half of AᵀA.
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

fn times(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut product = Mat::zeros(a.nrows(), b.ncols());
    matmul(product.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    product
}

/// X of G X = B for the lower half of a positive definite G.
fn cholesky(what: &str, g: &Mat<f64>, b: &Mat<f64>) -> Result<Mat<f64>> {
    let x = g.llt(Side::Lower).ok().map(|llt| llt.solve(b));
    x.filter(|x| x.is_all_finite()).ok_or_else(|| singular(what))
}

fn singular(what: &str) -> Error {
    let problem = "the system is singular, since neurons are silent or alike at all points; raise the reg of its solver, \
                   use lstsq-l2, or take more points";
    Error::Solve { what: what.into(), problem: problem.into() }
}

fn mat(a: ArrayView2<'_, f64>) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)])
}

fn array(a: MatRef<'_, f64>) -> Array2<f64> {
    Array2::from_shape_fn((a.nrows(), a.ncols()), |(i, j)| a[(i, j)])
}
