//! Evenly spread points: a quasi-random sequence, and its images on and in the unit sphere.

use std::f64::consts::{FRAC_PI_2, PI, TAU};

use faer::Mat;
use ndarray::Array2;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;

use crate::error::{Error, Result};
use crate::network::distribution::sphere::radius;

/// Most dimensions, since the rotation is a matrix of dimensions × dimensions.
const MAX_DIMENSIONS: usize = 8192;

/// Points of the R sequence in the unit cube, from a random start and in random order. In one dimension they are at equal
/// distances.
pub(super) fn sequence(n: usize, d: usize, rng: &mut Pcg64Mcg) -> Array2<f64> {
    let start: Vec<f64> = (0..d).map(|_| rng.random()).collect();
    let step: Vec<f64> = if d == 1 {
        vec![1.0 / n as f64]
    } else {
        let phi = root(d);
        (1..=d).map(|j| phi.powf(-(j as f64))).collect()
    };
    let mut order: Vec<usize> = (1..=n).collect();
    order.shuffle(rng);
    Array2::from_shape_fn((n, d), |(i, j)| (start[j] + order[i] as f64 * step[j]).fract())
}

/// Points on the line in random order, half of each sign. On the surface they are -1 and 1; in the ball the points of each
/// sign are at equal distances.
pub(super) fn line(n: usize, surface: bool, min_magnitude: f64, rng: &mut Pcg64Mcg) -> Array2<f64> {
    if surface {
        return sequence(n, 1, rng).mapv_into(|x| if x < 0.5 { -1.0 } else { 1.0 });
    }
    let mut points = Vec::with_capacity(n);
    for (count, sign) in [(n / 2, 1.0), (n - n / 2, -1.0)] {
        let lengths = sequence(count, 1, rng);
        points.extend(lengths.iter().map(|x| sign * (min_magnitude + (1.0 - min_magnitude) * x)));
    }
    points.shuffle(rng);
    Array2::from_shape_fn((n, 1), |(i, _)| points[i])
}

/// The positive root of `x^(d+1) = x + 1`, by Newton's method from `1 + 1 / d`, which lies above it.
fn root(d: usize) -> f64 {
    let power = d as f64;
    let mut x = 1.0 + 1.0 / power;
    loop {
        let next = x - (x.powf(power + 1.0) - x - 1.0) / ((power + 1.0) * x.powf(power) - 1.0);
        if next < x {
            x = next;
        } else {
            return x;
        }
    }
}

/// Points of the sequence on the sphere, or in the ball outside `min_magnitude`, rotated at random.
pub(super) fn hypersphere(
    what: &str,
    n: usize,
    d: usize,
    surface: bool,
    min_magnitude: f64,
    rng: &mut Pcg64Mcg,
) -> Result<Array2<f64>> {
    if d > MAX_DIMENSIONS {
        let problem = format!(
            "it is scattered in {d} dimensions, but {MAX_DIMENSIONS} is the most; take a uniform-hypersphere instead"
        );
        return Err(Error::invalid(what, problem));
    }
    let cube = sequence(n, if surface { d - 1 } else { d }, rng);
    let mut points = Array2::zeros((n, d));
    // Remaining length after the coordinates so far.
    let mut left: Vec<f64> = match surface {
        true => vec![1.0; n],
        false => (0..n).map(|i| radius(cube[(i, d - 1)], d, min_magnitude)).collect(),
    };
    for j in 0..d - 1 {
        let last = j == d - 2;
        let polar = Polar::new(d - 2 - j);
        for i in 0..n {
            let angle = if last { TAU * cube[(i, j)] } else { polar.quantile(cube[(i, j)]) };
            points[(i, j)] = left[i] * angle.cos();
            left[i] *= angle.sin();
        }
    }
    for i in 0..n {
        points[(i, d - 1)] = left[i];
    }
    Ok(points.dot(&rotation(d, rng)))
}

/// A random orthogonal matrix, uniformly distributed: Q of a matrix of normal numbers, with the signs of R's diagonal
/// (Mezzadri 2007).
fn rotation(d: usize, rng: &mut Pcg64Mcg) -> Array2<f64> {
    let normal = Mat::from_fn(d, d, |_, _| rng.sample::<f64, _>(StandardNormal));
    let qr = normal.qr();
    let (q, r) = (qr.compute_Q(), qr.R());
    Array2::from_shape_fn((d, d), |(i, j)| q[(i, j)] * r[(j, j)].signum())
}

/// The distribution of an angle between 0 and π with density proportional to `sin^power`.
///
/// It is symmetric. The integral is tabulated over the first half and continued from the nearest entry below by quadrature.
/// All terms are positive, so small quantiles are as precise as large ones.
struct Polar {
    power: i32,
    /// Integral up to each cell border.
    sums: Vec<f64>,
}

/// Cells between 0 and π / 2. The density of `sin^8192` is about two of them wide.
const CELLS: usize = 256;

/// Points and weights of Gauss–Legendre quadrature of order 5 on [-1, 1].
const QUADRATURE: [(f64, f64); 5] = [
    (-0.906_179_845_938_664, 0.236_926_885_056_189_1),
    (-0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
    (0.0, 0.568_888_888_888_888_9),
    (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
    (0.906_179_845_938_664, 0.236_926_885_056_189_1),
];

impl Polar {
    fn new(power: usize) -> Self {
        let mut polar = Self { power: power as i32, sums: vec![0.0] };
        let mut sum = 0.0;
        for cell in 0..CELLS {
            sum += polar.integral(border(cell), border(cell + 1));
            polar.sums.push(sum);
        }
        polar
    }

    fn density(&self, angle: f64) -> f64 {
        angle.sin().powi(self.power)
    }

    fn integral(&self, from: f64, to: f64) -> f64 {
        let (middle, half) = ((from + to) / 2.0, (to - from) / 2.0);
        QUADRATURE.iter().map(|(at, weight)| weight * half * self.density(middle + half * at)).sum()
    }

    /// The angle with the share `u` of the distribution below it.
    fn quantile(&self, u: f64) -> f64 {
        if u > 0.5 {
            return PI - self.quantile(1.0 - u);
        }
        let wanted = 2.0 * u * self.sums[CELLS];
        let cell = self.sums.partition_point(|&sum| sum <= wanted).clamp(1, CELLS) - 1;
        let start = border(cell);
        let (mut low, mut high) = (start, border(cell + 1));
        let rest = wanted - self.sums[cell];
        let share = rest / (self.sums[cell + 1] - self.sums[cell]);
        let mut angle = low + (high - low) * share.clamp(0.0, 1.0);
        // Newton's method, kept between the borders by bisection. Each step squares the error, so after
        // one this small only rounding remains.
        for _ in 0..50 {
            let excess = self.integral(start, angle) - rest;
            if excess > 0.0 {
                high = angle
            } else {
                low = angle
            }
            let newton = angle - excess / self.density(angle);
            let next = if newton >= low && newton <= high { newton } else { (low + high) / 2.0 };
            let step = (next - angle).abs();
            angle = next;
            if step <= 1e-9 {
                break;
            }
        }
        angle
    }
}

fn border(cell: usize) -> f64 {
    FRAC_PI_2 * cell as f64 / CELLS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantiles_of_an_angle_are_those_of_its_closed_forms() {
        for k in 0..=1000 {
            let u = f64::from(k) / 1000.0;
            let even = Polar::new(0).quantile(u);
            assert!((even - PI * u).abs() < 1e-13, "sin^0 at {u}: {even}");
            let quantile = |power| Polar::new(power).quantile(u);
            let share: [f64; 3] = [
                (1.0 - quantile(1).cos()) / 2.0,
                (quantile(2) - quantile(2).sin() * quantile(2).cos()) / PI,
                (quantile(3).cos().powi(3) - 3.0 * quantile(3).cos() + 2.0) / 4.0,
            ];
            for (i, share) in share.iter().enumerate() {
                assert!((share - u).abs() < 1e-13, "sin^{} at {u}: {share}", i + 1);
            }
        }
    }

    #[test]
    fn quantiles_rise_with_the_share_at_any_power() {
        for power in [0, 1, 5, 40, 300, 2000, 8190] {
            let polar = Polar::new(power);
            let angles: Vec<f64> = (0..=2000).map(|k| polar.quantile(f64::from(k) / 2000.0)).collect();
            assert!(angles.is_sorted(), "power {power}");
            assert!(angles.iter().all(|a| (0.0..=PI).contains(a)), "power {power}");
            // A coordinate of a unit vector in power + 2 dimensions has the variance 1 / (power + 2).
            let cells = 20_000;
            let middle = |k: i32| polar.quantile((f64::from(k) + 0.5) / f64::from(cells)).cos();
            let variance = (0..cells).map(|k| middle(k).powi(2)).sum::<f64>() / f64::from(cells);
            assert!((variance * (power + 2) as f64 - 1.0).abs() < 1e-3, "power {power}: {variance}");
        }
    }

    #[test]
    fn a_rotation_is_orthogonal() {
        use rand::SeedableRng;
        for d in [2, 3, 17] {
            let q = rotation(d, &mut Pcg64Mcg::seed_from_u64(d as u64));
            let off = q.t().dot(&q) - Array2::<f64>::eye(d);
            assert!(off.iter().all(|x| x.abs() < 1e-12));
        }
    }

    #[test]
    fn the_step_of_the_sequence_is_the_root_of_its_equation() {
        for d in [1, 2, 3, 10, 100, 5000] {
            let x = root(d);
            let off = x.powf(d as f64 + 1.0) / (x + 1.0) - 1.0;
            assert!(x > 1.0 && off.abs() < 1e-11, "{d}: {x}");
        }
    }
}
