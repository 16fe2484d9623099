//! Points on and in the unit sphere.

use ndarray::Array2;
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use crate::network::init::standard_normal;

/// Points uniform on the sphere: normal vectors brought to length 1 (Muller 1959).
pub(super) fn directions(n: usize, d: usize, rng: &mut Pcg64Mcg) -> Array2<f64> {
    let mut points = Array2::zeros((n, d));
    for mut row in points.rows_mut() {
        let mut length = 0.0;
        // A vector without a direction is all but impossible, and is drawn again.
        while length == 0.0 {
            row.map_inplace(|x| *x = standard_normal(rng));
            length = row.dot(&row).sqrt();
        }
        row /= length;
    }
    points
}

/// Points uniform in the ball outside of `min_magnitude`: the share of the ball within a radius r is r^d.
pub(super) fn ball(n: usize, d: usize, min_magnitude: f64, rng: &mut Pcg64Mcg) -> Array2<f64> {
    let mut points = directions(n, d, rng);
    for mut row in points.rows_mut() {
        row *= radius(rng.random(), d, min_magnitude);
    }
    points
}

/// The radius within which lies the share `u` of what the ball holds outside of `min_magnitude`.
fn radius(u: f64, d: usize, min_magnitude: f64) -> f64 {
    let inner = min_magnitude.powf(d as f64);
    (inner + (1.0 - inner) * u).powf(1.0 / d as f64)
}
