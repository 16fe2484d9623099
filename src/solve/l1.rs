//! Sparse decoders, by L1 regularisation or by dropping the smallest.

use faer::{Mat, MatRef};

use crate::error::Result;
use crate::solve::lstsq;

/// Relative change of the decoders, compared to the largest, below which iteration stops.
const TOLERANCE: f64 = 1e-10;

/// Minimises |A x − y|² / (2 m) + a |x|₁ + b |x|² / 2 for each column y of Y, with a = l1 · max(A) and b = l2 · max(A)², by
/// coordinate descent (Friedman, Hastie and Tibshirani 2010).
pub(super) fn elastic_net(
    a: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    l1: f64,
    l2: f64,
    max_iter: usize,
) -> Mat<f64> {
    let m = a.nrows() as f64;
    let largest = lstsq::largest(a).abs();
    let (threshold, ridge) = (l1 * largest, l2 * largest * largest);
    let gram = lstsq::whole_gram(a);
    let right = lstsq::times(a.transpose(), y);
    let mut x = Mat::zeros(a.ncols(), y.ncols());
    for k in 0..y.ncols() {
        // The residual's correlations Aᵀ (y - A x), updated with x.
        let mut rest: Vec<f64> = right.col(k).iter().copied().collect();
        let mut column = vec![0.0_f64; a.ncols()];
        for _ in 0..max_iter {
            let mut change = 0.0_f64;
            for j in 0..column.len() {
                let own = gram[(j, j)] / m;
                if own == 0.0 {
                    continue; // a silent neuron
                }
                let pull = rest[j] / m + own * column[j];
                let next = (pull.abs() - threshold).max(0.0).copysign(pull) / (own + ridge);
                let step = next - column[j];
                if step != 0.0 {
                    column[j] = next;
                    rest.iter_mut().zip(gram.col(j).iter()).for_each(|(r, g)| *r -= step * g);
                    change = change.max(step.abs());
                }
            }
            let largest = column.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
            if change <= TOLERANCE * largest {
                break;
            }
        }
        x.col_mut(k).iter_mut().zip(column).for_each(|(x, value)| *x = value);
    }
    x
}

/// Regularised least squares; then sets the smallest share `drop` of the decoders to zero and solves for the others again, for
/// each column.
pub(super) fn drop_smallest(
    what: &str,
    a: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    drop: f64,
    first_reg: f64,
    reg: f64,
) -> Result<Mat<f64>> {
    let solve = |a: MatRef<'_, f64>, y: MatRef<'_, f64>, reg: f64| {
        lstsq::regularised(what, a, y, &vec![lstsq::penalty(a, reg); a.ncols()])
    };
    let first = solve(a, y, first_reg)?;
    let mut sizes: Vec<f64> = first.col_iter().flat_map(|column| column.iter()).map(|x| x.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let dropped = (drop * sizes.len() as f64).round() as usize;
    let threshold = sizes[dropped.min(sizes.len() - 1)];
    let mut x = Mat::zeros(a.ncols(), y.ncols());
    for k in 0..y.ncols() {
        let kept: Vec<usize> =
            (0..a.ncols()).filter(|&j| first[(j, k)] != 0.0 && first[(j, k)].abs() >= threshold).collect();
        let some = Mat::from_fn(a.nrows(), kept.len(), |i, j| a[(i, kept[j])]);
        if kept.is_empty() {
            continue;
        }
        let again = solve(some.as_ref(), y.subcols(k, 1), reg)?;
        for (j, &neuron) in kept.iter().enumerate() {
            x[(neuron, k)] = again[(j, 0)];
        }
    }
    Ok(x)
}
