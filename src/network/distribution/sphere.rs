//! Points on and in the unit sphere.

use ndarray::Array2;
use rand::RngExt;
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;

/// Points uniform on the sphere, or in the ball outside `min_magnitude`: normal vectors scaled to their length
/// (Muller 1959).
pub(super) fn uniform(
    n: usize,
    d: usize,
    surface: bool,
    min_magnitude: f64,
    rng: &mut Pcg64Mcg,
) -> Array2<f64> {
    let mut points = Array2::<f64>::zeros((n, d));
    for mut row in points.rows_mut() {
        let mut length = 0.0;
        // A zero vector has no direction; draw again.
        while length == 0.0 {
            row.map_inplace(|x| *x = rng.sample(StandardNormal));
            length = row.dot(&row).sqrt();
        }
        let wanted = if surface { 1.0 } else { radius(rng.random(), d, min_magnitude) };
        row *= wanted / length;
    }
    points
}

/// The radius that encloses the share `u` of the ball outside `min_magnitude`. The share of the ball within r is r^d.
pub(super) fn radius(u: f64, d: usize, min_magnitude: f64) -> f64 {
    let inner = min_magnitude.powf(d as f64);
    (inner + (1.0 - inner) * u).powf(1.0 / d as f64)
}
