//! Linear systems and their form at a time step.

use faer::Mat;
use faer::prelude::Solve;
use ndarray::{Array2, ArrayView2, Axis, array, concatenate, s};

/// A linear system of one input and one output: `x' = A x + B u`, `y = C x + D u`.
///
/// In continuous time `x'` is the derivative; in discrete time it is the state after the step.
#[derive(Clone, Debug, PartialEq)]
pub struct StateSpace {
    /// order × order
    pub a: Array2<f64>,
    /// order × 1
    pub b: Array2<f64>,
    /// 1 × order
    pub c: Array2<f64>,
    /// The direct way from input to output.
    pub d: f64,
}

/// A synapse at a time step.
#[derive(Clone, Debug, PartialEq)]
pub enum Discrete {
    /// `y = C x + D u, x <- A x + B u` where D is not 0, else `x <- A x + B u, y = C x`.
    Linear(StateSpace),
    /// `y = sum of w_k u_k`, with `u_k` the input k steps ago.
    Taps(Vec<f64>),
}

/// Method that turns a system in continuous time into one in time steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The input is held during a step; exact for inputs that change at steps only.
    #[default]
    ZeroOrderHold,
    /// The trapezoid rule (Tustin).
    Bilinear,
    /// The derivative at the step's start.
    Euler,
    /// The derivative at the step's end.
    BackwardDifference,
}

impl StateSpace {
    /// The controllable canonical form of a transfer function, coefficients from the highest power down.
    ///
    /// With `a_0 = 1`: the first row of A is `-a_1 … -a_n`, ones stand below its diagonal, B is the first unit vector,
    /// `C_i = b_i - a_i b_0` and `D = b_0`.
    ///
    /// # Errors
    /// Error message for invalid coefficients.
    pub fn from_transfer_function(numerator: &[f64], denominator: &[f64]) -> Result<Self, String> {
        let list = |values: &[f64]| format!("{values:?}");
        if let Some(bad) = numerator.iter().chain(denominator).find(|x| !x.is_finite()) {
            return Err(format!("one of its coefficients is {bad}"));
        }
        if numerator.is_empty() {
            return Err("its numerator is empty; give it at least one coefficient".into());
        }
        let leading = match denominator.first() {
            None => return Err("its denominator is empty; give it at least one coefficient".into()),
            Some(0.0) => {
                let given = list(denominator);
                return Err(format!("its denominator {given} starts with 0; leave leading zeros out"));
            }
            Some(&leading) => leading,
        };
        let zeros = numerator.iter().take_while(|x| **x == 0.0).count();
        let numerator = &numerator[zeros..];
        if numerator.len() > denominator.len() {
            return Err(format!(
                "its numerator {} is of a higher degree than its denominator {}, so it would have to know the \
                 input's derivative; the degree may be the same at most",
                list(numerator),
                list(denominator)
            ));
        }
        let order = denominator.len() - 1;
        let pad = denominator.len() - numerator.len();
        let b = |i: usize| if i < pad { 0.0 } else { numerator[i - pad] / leading };
        let a = |i: usize| denominator[i] / leading;
        let below = |i: usize, j: usize| if i == j + 1 { 1.0 } else { 0.0 };
        Ok(Self {
            a: Array2::from_shape_fn((order, order), |(i, j)| if i == 0 { -a(j + 1) } else { below(i, j) }),
            b: Array2::from_shape_fn((order, 1), |(i, _)| if i == 0 { 1.0 } else { 0.0 }),
            c: Array2::from_shape_fn((1, order), |(_, j)| b(j + 1) - a(j + 1) * b(0)),
            d: b(0),
        })
    }

    /// A factor without a state.
    pub fn gain(d: f64) -> Self {
        Self { a: Array2::zeros((0, 0)), b: Array2::zeros((0, 1)), c: Array2::zeros((1, 0)), d }
    }

    /// Number of states.
    pub fn order(&self) -> usize {
        self.a.nrows()
    }

    /// Refuses matrices whose shapes do not fit together, and numbers that are not finite.
    ///
    /// # Errors
    /// Error message.
    pub fn check(&self) -> Result<(), String> {
        let n = self.order();
        for (name, matrix, rows, cols) in [("A", &self.a, n, n), ("B", &self.b, n, 1), ("C", &self.c, 1, n)] {
            if matrix.dim() != (rows, cols) {
                let (r, c) = matrix.dim();
                return Err(format!(
                    "its {name} is {r} x {c}, but must be {rows} x {cols} as A has {n} rows"
                ));
            }
        }
        let values = self.a.iter().chain(&self.b).chain(&self.c).chain([&self.d]);
        match values.copied().find(|x| !x.is_finite()) {
            Some(bad) => Err(format!("one of its numbers is {bad}")),
            None => Ok(()),
        }
    }

    /// The system at steps of `dt` seconds.
    ///
    /// Zero-order hold takes A and B from `exp([[A, B], [0, 0]] dt)`. The others are one formula with a weight w of the
    /// step's end, 1/2, 0 or 1: with `M = (1 - w dt A)^-1`, A is `M (1 + (1 - w) dt A)`, B is `M B dt`, C is `C M` and
    /// D is `D + w C B` with the new B.
    pub fn discretise(&self, dt: f64, method: Method) -> Self {
        let n = self.order();
        let weight = match method {
            Method::ZeroOrderHold => {
                let mut block = Array2::zeros((n + 1, n + 1));
                block.slice_mut(s![..n, ..n]).assign(&(&self.a * dt));
                block.slice_mut(s![..n, n..]).assign(&(&self.b * dt));
                let exp = exponential(&block);
                let (a, b) = (exp.slice(s![..n, ..n]).to_owned(), exp.slice(s![..n, n..]).to_owned());
                return Self { a, b, ..self.clone() };
            }
            Method::Bilinear => 0.5,
            Method::Euler => 0.0,
            Method::BackwardDifference => 1.0,
        };
        let one = Array2::<f64>::eye(n);
        let left = &one - &(&self.a * (weight * dt));
        let a = solve(&left, &(&one + &(&self.a * ((1.0 - weight) * dt))));
        let b = solve(&left, &(&self.b * dt));
        let c = solve(&left.t().to_owned(), &self.c.t().to_owned()).t().to_owned();
        let d = self.d + weight * self.c.dot(&b).sum();
        Self { a, b, c, d }
    }

    /// Eigenvalues of A, the largest magnitude first, as real and imaginary parts; nothing if they cannot be found.
    pub fn poles(&self) -> Option<Vec<(f64, f64)>> {
        let scale = balancing(&self.a);
        let entry = |i: usize, j: usize| self.a[[i, j]] * scale[j] / scale[i];
        let found = Mat::from_fn(self.order(), self.order(), entry).eigenvalues().ok()?;
        let mut poles: Vec<(f64, f64)> = found.iter().map(|z| (z.re, z.im)).collect();
        poles.sort_by(|p, q| q.0.hypot(q.1).total_cmp(&p.0.hypot(p.1)));
        Some(poles)
    }

    /// The same discrete system without a direct way: with one, the output becomes a state of its own.
    ///
    /// So `x <- A x + B u, y = C x` says it all. With the output taken after the step it is the filter that sees this
    /// step's input; with the output taken before it, the filter is one step late.
    pub fn strictly_proper(&self) -> Self {
        if self.d == 0.0 && self.order() > 0 {
            return self.clone();
        }
        let n = self.order();
        let stack = |parts: &[ArrayView2<'_, f64>], axis| concatenate(Axis(axis), parts).unwrap_or_default();
        let tall = stack(&[self.a.view(), self.c.view()], 0);
        let mut c = Array2::zeros((1, n + 1));
        c[[0, n]] = 1.0;
        Self {
            a: stack(&[tall.view(), Array2::zeros((n + 1, 1)).view()], 1),
            b: stack(&[self.b.view(), array![[self.d]].view()], 0),
            c,
            d: 0.0,
        }
    }

    /// The same discrete system with states of about the size that they have for inputs of size 1.
    ///
    /// Each state is scaled by a power of two near the root of its sum of squares over the impulse response, the
    /// diagonal of `P = A P A' + B B'`; canonical forms have states of very different sizes, too small for `f32`.
    pub fn balanced(&self) -> Self {
        let mut power = self.a.clone();
        let mut gramian = self.b.dot(&self.b.t());
        // Doubles the number of steps each time; an integrator's grows for ever, so it ends after 2^20 steps.
        for _ in 0..20 {
            gramian = &gramian + &power.dot(&gramian).dot(&power.t());
            power = power.dot(&power);
        }
        let scale = |i: usize| {
            let size: f64 = gramian[[i, i]].sqrt();
            if size.is_normal() { size.log2().round().exp2() } else { 1.0 }
        };
        let mut balanced = self.clone();
        for ((i, j), x) in balanced.a.indexed_iter_mut() {
            *x *= scale(j) / scale(i);
        }
        balanced.b.indexed_iter_mut().for_each(|((i, _), x)| *x /= scale(i));
        balanced.c.indexed_iter_mut().for_each(|((_, j), x)| *x *= scale(j));
        balanced
    }
}

impl StateSpace {
    /// The same system without a direct way in other states, the first of which is the output: it takes the place of
    /// the state that has most weight in it.
    pub fn output_first(&self) -> Self {
        let n = self.order();
        let weight = |k: usize| self.c[[0, k]].abs();
        let Some(k) = (0..n).max_by(|&i, &j| weight(i).total_cmp(&weight(j))).filter(|&k| weight(k) > 0.0)
        else {
            // An output that is always zero.
            return Self { a: Array2::zeros((1, 1)), b: Array2::zeros((1, 1)), c: array![[1.0]], d: 0.0 };
        };
        let others = (0..n).filter(|&j| j != k);
        // z = T x; row 0 of T is C, the others are those of the unit matrix without row k.
        let mut to = Array2::zeros((n, n));
        to.row_mut(0).assign(&self.c.row(0));
        others.enumerate().for_each(|(i, j)| to[[i + 1, j]] = 1.0);
        let from = solve(&to, &Array2::eye(n));
        let mut c = Array2::zeros((1, n));
        c[[0, 0]] = 1.0;
        Self { a: to.dot(&self.a).dot(&from), b: to.dot(&self.b), c, d: 0.0 }
    }
}

/// `e^M` by scaling and squaring: the series of a matrix with a norm below 1/2, squared as often as it was halved.
///
/// Each squaring doubles the rounding, so the matrix is balanced first: the canonical form of a fast filter of a high
/// order has entries of a size of 1e24 beside ones.
fn exponential(matrix: &Array2<f64>) -> Array2<f64> {
    let scale = balancing(matrix);
    let mut matrix = matrix.clone();
    matrix.indexed_iter_mut().for_each(|((i, j), x)| *x *= scale[j] / scale[i]);
    let norm = matrix.rows().into_iter().map(|r| r.iter().map(|x| x.abs()).sum()).fold(0.0_f64, f64::max);
    let halvings = (norm.log2() + 1.0).ceil().clamp(0.0, 1000.0) as i32;
    let small = matrix * 0.5_f64.powi(halvings);
    let mut sum = Array2::<f64>::eye(small.nrows());
    let mut term = sum.clone();
    // (1/2)^18 / 18! is below the rounding of 1.
    for k in 1..=18 {
        term = term.dot(&small) / f64::from(k);
        sum += &term;
    }
    for _ in 0..halvings {
        sum = sum.dot(&sum);
    }
    sum.indexed_iter_mut().for_each(|((i, j), x)| *x *= scale[i] / scale[j]);
    sum
}

/// Powers of two d such that row i and column i of `m_ij d_j / d_i` are of about the same size (Osborne 1960).
fn balancing(matrix: &Array2<f64>) -> Vec<f64> {
    let n = matrix.nrows();
    let mut scale = vec![1.0; n];
    // Each round brings the sizes nearer to each other; a few are enough for any start.
    for _ in 0..20 {
        for i in 0..n {
            let others = (0..n).filter(|&j| j != i);
            let size = |from: usize, to: usize| (matrix[[to, from]] * scale[from] / scale[to]).abs();
            let column: f64 = others.clone().map(|j| size(i, j)).sum();
            let row: f64 = others.map(|j| size(j, i)).sum();
            let factor = (row / column).sqrt().log2().round().exp2();
            if factor.is_normal() {
                scale[i] *= factor;
            }
        }
    }
    scale
}

fn dense(matrix: &ArrayView2<'_, f64>) -> Mat<f64> {
    Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[[i, j]])
}

/// `X` of `A X = B`.
fn solve(a: &Array2<f64>, b: &Array2<f64>) -> Array2<f64> {
    let x = dense(&a.view()).partial_piv_lu().solve(dense(&b.view()));
    Array2::from_shape_fn(b.dim(), |(i, j)| x[(i, j)])
}
