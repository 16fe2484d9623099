//! Points of spheres, balls and cubes: scattered and quasi-random ones are spread evenly.

use super::distributions::{column, distance, draw, limit};
use ndarray::Axis;
use nengo_wgpu::network::Distribution;

#[test]
fn points_of_the_sphere_have_length_one_and_those_of_the_ball_fill_it_evenly() {
    for d in [1, 2, 3, 8, 40] {
        for (surface, ball) in [
            (
                Distribution::surface(),
                Distribution::UniformHypersphere { surface: false, min_magnitude: 0.4 },
            ),
            (
                Distribution::scattered_surface(),
                Distribution::ScatteredHypersphere { surface: false, min_magnitude: 0.4 },
            ),
        ] {
            let n = 4000;
            let length = |row: ndarray::ArrayView1<'_, f64>| row.dot(&row).sqrt();
            let points = draw(&surface, n, d);
            assert!(points.rows().into_iter().all(|row| (length(row) - 1.0).abs() < 1e-12));
            let balls = draw(&ball, n, d);
            let lengths: Vec<f64> = balls.rows().into_iter().map(length).collect();
            assert!(lengths.iter().all(|r| (0.4 - 1e-12..=1.0 + 1e-12).contains(r)));
            let power = d as f64;
            let inner = 0.4_f64.powf(power);
            let off = distance(lengths, |r| (r.powf(power) - inner) / (1.0 - inner));
            assert!(off < limit(n), "{ball:?} in {d}: {off}");
            for values in [&points, &balls] {
                let mean = values.mean_axis(Axis(0)).unwrap();
                let largest = mean.iter().fold(0.0, |a: f64, x| a.max(x.abs()));
                assert!(largest < 5.0 / (n as f64 * power).sqrt(), "{d}: mean {largest}");
                // All directions have the same variance, and no two go together.
                let second = values.t().dot(values) / n as f64;
                let trace = second.diag().sum() / power;
                for ((i, j), x) in second.indexed_iter() {
                    let wanted = if i == j { trace } else { 0.0 };
                    assert!((x - wanted).abs() < 8.0 / (n as f64).sqrt() / power, "{d}: ({i}, {j}) {x}");
                }
            }
        }
    }
}

#[test]
fn scattered_points_are_spread_more_evenly_than_drawn_ones() {
    // The share of points in a half-space or within a radius: errors fall nearly as 1 / n, not as 1 / sqrt(n).
    let n = 2000;
    for d in [2, 3, 4, 6] {
        let worst = |distribution: &Distribution| -> f64 {
            let points = draw(distribution, n, d);
            let coordinate = |j: usize| {
                let values = column(&points, j);
                values.iter().filter(|x| **x > 0.0).count() as f64 / n as f64 - 0.5
            };
            (0..d).map(|j| coordinate(j).powi(2)).sum::<f64>().sqrt()
        };
        let spread = |scattered: bool| -> f64 {
            (0..20)
                .map(|seed| {
                    let distribution =
                        if scattered { Distribution::scattered_ball() } else { Distribution::ball() };
                    let points = distribution.sample("it", n, d, seed).unwrap();
                    let above = points.column(0).iter().filter(|x| **x > 0.0).count();
                    (above as f64 / n as f64 - 0.5).powi(2)
                })
                .sum()
        };
        assert!(worst(&Distribution::scattered_surface()) < 0.02, "{d}");
        assert!(spread(true) < 0.5 * spread(false), "{d}: {} {}", spread(true), spread(false));
    }
}

#[test]
fn scattered_points_of_the_line_have_half_of_each_sign_in_random_order() {
    let ball = |min_magnitude| Distribution::ScatteredHypersphere { surface: false, min_magnitude };
    for (n, seed) in [(2, 0), (3, 1), (7, 2), (50, 3), (751, 4)] {
        let signs = Distribution::scattered_surface().sample("it", n, 1, seed).unwrap();
        assert!(signs.iter().all(|x| x.abs() == 1.0));
        assert!(signs.sum().abs() as usize == n % 2, "{n}: {}", signs.sum());
        for min_magnitude in [0.0, 0.5] {
            let values = column(&ball(min_magnitude).sample("it", n, 1, seed).unwrap(), 0);
            let of_sign = |sign: f64| {
                let mut lengths: Vec<f64> = values.iter().map(|x| sign * x).filter(|x| *x > 0.0).collect();
                lengths.sort_by(f64::total_cmp);
                lengths
            };
            for (lengths, count) in [(of_sign(1.0), n / 2), (of_sign(-1.0), n - n / 2)] {
                assert_eq!(lengths.len(), count, "{n}");
                let step = (1.0 - min_magnitude) / count as f64;
                assert!(lengths.windows(2).all(|pair| (pair[1] - pair[0] - step).abs() < 1e-12), "{n}");
                assert!(lengths.iter().all(|x| (min_magnitude..=1.0).contains(x)), "{n}");
            }
            assert!(n < 5 || (!values.is_sorted() && values.windows(2).any(|pair| pair[0] < pair[1])));
        }
    }
}

/// Means over the seeds 0 to 299 of nengo 4.1.0, of 50 points each, and their standard errors: the length of the mean, the
/// mean length, the mean distance to the nearest other point, and the mean square of the first coordinate.
#[test]
fn scattered_and_uniform_points_are_spread_as_nengos() {
    let scattered = |surface, min_magnitude| Distribution::ScatteredHypersphere { surface, min_magnitude };
    let uniform = |surface, min_magnitude| Distribution::UniformHypersphere { surface, min_magnitude };
    let (n, seeds) = (50, 300);
    for (d, distribution, means, errors) in [
        (2, scattered(true, 0.0), [0.0, 1.0, 0.1241, 0.5], [0.0, 0.0, 2e-5, 2e-5]),
        (2, scattered(false, 0.0), [0.0171, 0.6651, 0.2028, 0.2495], [5e-4, 1e-3, 1.9e-4, 6.1e-4]),
        (2, scattered(false, 0.5), [0.0169, 0.7769, 0.1646, 0.3123], [3.1e-4, 5.5e-4, 9e-5, 5e-4]),
        (2, uniform(true, 0.0), [0.1276, 1.0, 0.0627, 0.4964], [3.9e-3, 0.0, 3.9e-4, 2.9e-3]),
        (2, uniform(false, 0.5), [0.102, 0.7787, 0.1193, 0.3099], [3.1e-3, 1.1e-3, 5.5e-4, 2.2e-3]),
        (3, scattered(true, 0.0), [0.0225, 1.0, 0.3825, 0.3332], [4.2e-4, 0.0, 2.5e-4, 3.2e-4]),
        (3, scattered(false, 0.0), [0.0272, 0.7504, 0.2831, 0.2002], [7.1e-4, 5.9e-4, 4.9e-4, 6.2e-4]),
        (3, scattered(false, 0.5), [0.0268, 0.8038, 0.2662, 0.2216], [6.6e-4, 3.6e-4, 3.9e-4, 5.5e-4]),
        (5, scattered(true, 0.0), [0.0693, 1.0, 0.6618, 0.1988], [1.4e-3, 0.0, 7.2e-4, 1.4e-3]),
        (5, scattered(false, 0.0), [0.0402, 0.8328, 0.5456, 0.1419], [6.9e-4, 3.6e-4, 4.7e-4, 6.9e-4]),
        (5, uniform(false, 0.5), [0.1178, 0.8467, 0.4707, 0.1444], [2.1e-3, 9.1e-4, 1.1e-3, 1.3e-3]),
        (16, scattered(true, 0.0), [0.1033, 1.0, 1.0157, 0.0617], [1.4e-3, 0.0, 7.3e-4, 5.6e-4]),
        (16, scattered(false, 0.5), [0.0673, 0.9411, 0.949, 0.0558], [8.2e-4, 1.6e-4, 7.1e-4, 4.6e-4]),
    ] {
        let mut found = [0.0; 4];
        for seed in 0..seeds {
            let points = distribution.sample("it", n, d, seed).unwrap();
            let length = |v: ndarray::Array1<f64>| v.dot(&v).sqrt();
            let rows: Vec<_> = points.rows().into_iter().map(|row| row.to_owned()).collect();
            let nearest = |i: usize| {
                let others = (0..n).filter(|j| *j != i).map(|j| length(&rows[i] - &rows[j]));
                others.fold(f64::INFINITY, f64::min)
            };
            let mean = |of: &dyn Fn(usize) -> f64| (0..n).map(of).sum::<f64>() / n as f64;
            found[0] += length(points.mean_axis(Axis(0)).unwrap());
            found[1] += mean(&|i| length(rows[i].clone()));
            found[2] += mean(&nearest);
            found[3] += mean(&|i| rows[i][0].powi(2));
        }
        for ((found, mean), error) in found.into_iter().zip(means).zip(errors) {
            // Nengo's quantiles are interpolated from a table, ours are exact.
            let (found, tolerance) = (found / seeds as f64, 1e-4 + 0.015 * mean + 6.0 * error);
            assert!(
                (found - mean).abs() < tolerance,
                "{distribution:?} in {d}: {found}, Nengo {mean} ± {error}"
            );
        }
    }
}

#[test]
fn two_draws_of_a_quasi_random_sequence_do_not_go_together() {
    for (distribution, d) in [
        (Distribution::QuasirandomSequence, 1),
        (Distribution::QuasirandomSequence, 3),
        (Distribution::scattered_ball(), 1),
    ] {
        let n = 400;
        let of = |seed| {
            let values = column(&distribution.sample("it", n, d, seed).unwrap(), 0);
            let mean = values.iter().sum::<f64>() / n as f64;
            values.into_iter().map(|x| x - mean).collect::<Vec<f64>>()
        };
        let (a, b) = (of(1), of(2));
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let correlation = product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt();
        assert!(correlation.abs() < 5.0 / (n as f64).sqrt(), "{distribution:?}: {correlation}");
    }
}

#[test]
fn a_quasi_random_sequence_puts_nearly_the_same_number_of_points_into_each_part_of_the_cube() {
    for seed in 0..5 {
        let line = Distribution::QuasirandomSequence.sample("it", 100, 1, seed).unwrap();
        let mut values = column(&line, 0);
        values.sort_by(f64::total_cmp);
        assert!(values.windows(2).all(|pair| (pair[1] - pair[0] - 0.01).abs() < 1e-12));
        let square = Distribution::QuasirandomSequence.sample("it", 1600, 2, seed).unwrap();
        let mut counts = [0; 16];
        for row in square.rows() {
            assert!(row.iter().all(|x| (0.0..1.0).contains(x)));
            counts[(row[0] * 4.0) as usize * 4 + (row[1] * 4.0) as usize] += 1;
        }
        assert!(counts.iter().all(|c| (95..=105).contains(c)), "{counts:?}");
    }
}
