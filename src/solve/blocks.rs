//! Large systems: their memory, and normal equations accumulated block by block.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};

use crate::engine::allowance::Allowance;
use crate::error::{Error, Result};
use crate::solve::{Job, Method, Solution, Solver, lstsq, silent_as_largest};

/// Bytes of the activities of a block; smaller systems are solved in one piece.
const BLOCK: usize = 64 << 20;

impl Solver {
    /// Peak memory in bytes to solve a system of `points` points and a shape of neurons × targets.
    pub fn bytes(&self, points: usize, shape: (usize, usize)) -> u64 {
        self.method.bytes(points, shape)
    }
}

impl Method {
    /// Peak memory in bytes to solve a system of `m` points, `n` neurons and `d` targets.
    fn bytes(&self, m: usize, (n, d): (usize, usize)) -> u64 {
        let block = self.block(m, n).unwrap_or(m) as f64;
        let (m, n, d) = (m as f64, n as f64, d as f64);
        // Activities exist twice while they are converted from one layout to the other.
        let numbers = match self {
            Self::LstsqL2 { .. } | Self::LstsqL2nz { .. } => 2.0 * block * n + m.min(n).powi(2),
            Self::NoSolver { .. } => 2.0 * m * n,
            _ => 4.0 * m * n + 4.0 * n * n,
        };
        (8.0 * (numbers + 4.0 * (m + n) * d)) as u64
    }

    /// Points per block, for a system that is solved in blocks.
    pub(super) fn block(&self, m: usize, n: usize) -> Option<usize> {
        let adds_up = matches!(self, Self::LstsqL2 { .. } | Self::LstsqL2nz { .. }) && m >= n;
        let rows = (BLOCK / 8 / n.max(1)).max(64);
        (adds_up && m > rows).then_some(rows)
    }
}

impl Job<'_> {
    /// Peak memory in bytes to solve the job.
    pub fn bytes(&self) -> u64 {
        self.solver.method.bytes(self.points, self.shape)
    }

    /// Rejects a system that needs more memory than allowed, reporting a number of points that would fit.
    pub(super) fn check_memory(&self, allowance: &Allowance) -> Result<()> {
        let needed = self.bytes();
        if needed <= allowance.bytes {
            return Ok(());
        }
        let does = |m: usize| self.solver.method.bytes(m, self.shape) <= allowance.bytes;
        let n = self.shape.0;
        let (mut fits, mut not) =
            if n < self.points && does(n) { (n, self.points) } else { (0, self.points.min(n)) };
        while fits + 1 < not {
            let m = fits + (not - fits) / 2;
            match does(m) {
                true => fits = m,
                false => not = m,
            }
        }
        let fewer = match fits {
            0 => "take fewer neurons".to_string(),
            _ => format!("take at most {fits} evaluation points (n-eval-points)"),
        };
        let what = format!(
            "solving for the decoders of {}, of {} with {} neurons at {} points,",
            self.what, self.of, n, self.points
        );
        allowance.check(&what, needed, &format!("{fewer}, or allow more by NENGO_WGPU_MEMORY"))
    }

    /// Regularised least squares by normal equations, without all activities in memory at once.
    pub(super) fn solve_in_blocks(&self, rows: usize) -> Result<Solution> {
        let (n, d) = self.shape;
        let m = self.points;
        let (mut gram, mut right, mut squares) = (Mat::zeros(n, n), Mat::zeros(n, d), vec![0.0; d]);
        let (mut largest, mut active) = (f64::NEG_INFINITY, vec![0; n]);
        for first in (0..m).step_by(rows) {
            let (a, y) = self.system(first..m.min(first + rows))?;
            squares.iter_mut().enumerate().for_each(|(k, sum)| *sum += y.col(k).squared_norm_l2());
            largest = largest.max(lstsq::largest(a.as_ref()));
            active.iter_mut().zip(lstsq::active(a.as_ref())).for_each(|(all, more)| *all += more);
            lstsq::add_gram(&mut gram, a.as_ref());
            matmul(right.as_mut(), Accum::Add, a.transpose(), y.as_ref(), 1.0, Par::Seq);
        }
        if (0..n).all(|i| gram[(i, i)] == 0.0) {
            return Err(Error::Solve { what: self.what.clone(), problem: (self.silent)() });
        }
        let whole = |reg: f64| m as f64 * (reg * largest).powi(2);
        let penalty = match self.solver.method {
            Method::LstsqL2nz { reg } => lstsq::shared(whole(reg), &active, m, silent_as_largest),
            Method::LstsqL2 { reg } => vec![whole(reg); n],
            _ => vec![0.0; n],
        };
        penalty.iter().enumerate().for_each(|(i, p)| gram[(i, i)] += p);
        let x = lstsq::cholesky(&self.what, gram, right.clone())?;
        // With (AᵀA + P) x = Aᵀy, |A x - y|² is yᵀy - xᵀAᵀy - xᵀP x.
        let explained =
            |k: usize| -> f64 { (0..n).map(|i| x[(i, k)] * (right[(i, k)] + penalty[i] * x[(i, k)])).sum() };
        let rest = |(k, squares): (usize, f64)| ((squares - explained(k)).max(0.0) / m as f64).sqrt();
        let rmse = squares.into_iter().enumerate().map(rest).collect();
        Ok(Solution { decoders: crate::solve::array(&x), rmse })
    }
}
