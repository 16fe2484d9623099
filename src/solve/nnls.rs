//! Least squares with decoders of at least 0, by the active-set method of Lawson and Hanson (1974, chapter 23).

use faer::{Col, ColRef, Mat, MatRef};

use crate::error::{Error, Result};
use crate::solve::lstsq;

/// Minimises |A x - y| over x ≥ 0, for each column y of Y.
pub(super) fn each_column(what: &str, a: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<Mat<f64>> {
    let mut x = Mat::zeros(a.ncols(), y.ncols());
    let gram = lstsq::whole_gram(a);
    for k in 0..y.ncols() {
        let problem = Problem { what, a, gram: gram.as_ref(), y: y.col(k) };
        x.col_mut(k).copy_from(&problem.solve()?);
    }
    Ok(x)
}

/// Minimises |G x - Aᵀy| over x ≥ 0 with G = AᵀA + diag(penalty), for each column y of Y with negative entries set to zero.
pub(super) fn of_normal_equations(
    what: &str,
    a: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    penalty: &[f64],
) -> Result<Mat<f64>> {
    let mut gram = lstsq::whole_gram(a);
    for (i, p) in penalty.iter().enumerate() {
        gram[(i, i)] += p;
    }
    let y = Mat::from_fn(y.nrows(), y.ncols(), |i, k| y[(i, k)].max(0.0));
    each_column(what, gram.as_ref(), lstsq::times(a.transpose(), y.as_ref()).as_ref())
}

struct Problem<'a> {
    what: &'a str,
    a: MatRef<'a, f64>,
    /// AᵀA
    gram: MatRef<'a, f64>,
    y: ColRef<'a, f64>,
}

impl Problem<'_> {
    fn solve(&self) -> Result<Col<f64>> {
        let n = self.a.ncols();
        let mut x = Col::<f64>::zeros(n);
        let mut passive = Passive::default();
        // Neurons that are numerically linear combinations of the passive ones. They are free again once one leaves.
        let mut dependent = vec![false; n];
        let tolerance = self.tolerance();
        for _ in 0..10 * n + 10 {
            let pull = self.a.transpose() * (self.y - self.a * &x);
            let free = |j: &usize| !dependent[*j] && !passive.columns.contains(j) && pull[*j] > tolerance;
            let Some(next) = (0..n).filter(free).max_by(|i, j| pull[*i].total_cmp(&pull[*j])) else {
                return Ok(x);
            };
            if !passive.add(self.gram, next) {
                dependent[next] = true;
                continue;
            }
            let mut wanted = self.least_squares(&passive);
            if wanted[wanted.len() - 1] <= 0.0 {
                // Its pull was a rounding error: it would leave at once and enter again.
                passive.columns.pop();
                passive.factor.pop();
                dependent[next] = true;
                continue;
            }
            while wanted.iter().any(|w| *w <= 0.0) {
                // Move towards the unconstrained solution until a value reaches 0; that one leaves.
                let mut share = 1.0_f64;
                for (&j, &w) in passive.columns.iter().zip(&wanted).filter(|(_, w)| **w <= 0.0) {
                    share = share.min(x[j] / (x[j] - w));
                }
                let mut leaving = Vec::new();
                for (place, (&j, &w)) in passive.columns.iter().zip(&wanted).enumerate() {
                    let bound = w <= 0.0 && x[j] / (x[j] - w) <= share;
                    x[j] += share * (w - x[j]);
                    if bound || x[j] <= 0.0 {
                        x[j] = 0.0;
                        leaving.push(place);
                    }
                }
                passive.remove(self.gram, &leaving);
                dependent.fill(false);
                if passive.columns.is_empty() {
                    break;
                }
                wanted = self.least_squares(&passive);
            }
            for (&j, &w) in passive.columns.iter().zip(&wanted) {
                x[j] = w;
            }
        }
        let problem = "the search for decoders of at least 0 does not end; use nnls-l2, or raise its reg";
        Err(Error::Solve { what: self.what.into(), problem: problem.into() })
    }

    /// Bound on rounding errors of a pull, an entry of Aᵀ(y - A x).
    fn tolerance(&self) -> f64 {
        let sum = |column: ColRef<'_, f64>| column.iter().map(|x| x.abs()).sum::<f64>();
        let norm = self.a.col_iter().map(sum).fold(0.0, f64::max);
        let largest = self.y.iter().fold(0.0_f64, |largest, y| largest.max(y.abs()));
        10.0 * f64::EPSILON * self.a.nrows().max(self.a.ncols()) as f64 * norm * largest
    }

    /// Least squares on the passive columns by normal equations with one refinement step, about as accurate as an orthogonal
    /// factorisation (Björck 1987).
    fn least_squares(&self, passive: &Passive) -> Vec<f64> {
        let pull = |rest: &Col<f64>| -> Vec<f64> {
            passive.columns.iter().map(|&j| self.a.col(j).transpose() * rest).collect()
        };
        let mut rest = self.y.to_owned();
        let mut x = passive.solve(pull(&rest));
        for (&j, &value) in passive.columns.iter().zip(&x) {
            rest -= faer::Scale(value) * self.a.col(j);
        }
        x.iter_mut().zip(passive.solve(pull(&rest))).for_each(|(x, more)| *x += more);
        x
    }
}

/// The columns not held at 0, in order of entry, and the Cholesky factor of their part of AᵀA.
#[derive(Default)]
struct Passive {
    columns: Vec<usize>,
    /// Row i has i + 1 entries.
    factor: Vec<Vec<f64>>,
}

impl Passive {
    /// Adds a column unless it is numerically dependent on the present ones; returns true if added.
    fn add(&mut self, gram: MatRef<'_, f64>, column: usize) -> bool {
        let right: Vec<f64> = self.columns.iter().map(|&j| gram[(j, column)]).collect();
        let mut row = self.forward(right);
        let own = gram[(column, column)];
        let pivot = own - row.iter().map(|x| x * x).sum::<f64>();
        let rounding = 10.0 * f64::EPSILON * (self.columns.len() + 1) as f64 * own;
        if pivot.is_nan() || pivot <= rounding {
            return false;
        }
        row.push(pivot.sqrt());
        self.factor.push(row);
        self.columns.push(column);
        true
    }

    /// Removes the columns at these places, which are in rising order.
    fn remove(&mut self, gram: MatRef<'_, f64>, places: &[usize]) {
        let Some(&first) = places.first() else { return };
        let after = self.columns.split_off(first);
        self.factor.truncate(first);
        for (i, column) in after.into_iter().enumerate() {
            if !places.contains(&(first + i)) {
                // It was independent of a superset of the remaining columns.
                self.add(gram, column);
            }
        }
    }

    /// Solves L z = b.
    fn forward(&self, mut b: Vec<f64>) -> Vec<f64> {
        for i in 0..b.len() {
            let sum: f64 = self.factor[i].iter().zip(&b[..i]).map(|(l, z)| l * z).sum();
            b[i] = (b[i] - sum) / self.factor[i][i];
        }
        b
    }

    /// Solves L Lᵀ x = b.
    fn solve(&self, b: Vec<f64>) -> Vec<f64> {
        let mut x = self.forward(b);
        for i in (0..x.len()).rev() {
            x[i] /= self.factor[i][i];
            let value = x[i];
            x[..i].iter_mut().zip(&self.factor[i]).for_each(|(x, l)| *x -= l * value);
        }
        x
    }
}
