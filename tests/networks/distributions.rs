//! Distributions: their moments, supports and closed forms, files, and bad settings.

use std::f64::consts::PI;

use ndarray::{Array2, Axis, array};
use nengo_wgpu::network::{Distribution, Fan, Spread};
use nengo_wgpu::toml::read;
use proptest::prelude::*;

fn draw(distribution: &Distribution, n: usize, d: usize) -> Array2<f64> {
    distribution.sample("the test", n, d, 7).unwrap()
}

/// One of each kind that any number of rows and columns can be drawn from.
fn all() -> Vec<Distribution> {
    use Distribution as D;
    vec![
        D::Uniform(-2.0, 5.0),
        D::Gaussian(1.0, 2.0),
        D::Exponential { scale: 2.0, shift: -1.0, high: 4.0 },
        D::surface(),
        D::UniformHypersphere { surface: false, min_magnitude: 0.3 },
        D::scattered_surface(),
        D::ScatteredHypersphere { surface: false, min_magnitude: 0.3 },
        D::QuasirandomSequence,
        D::Pdf { x: vec![-1.0, 0.5, 2.0], p: vec![1.0, 0.0, 3.0] },
        D::SqrtBeta { n: 5, m: 2 },
        D::SubvectorLength { dimensions: 8, subdimensions: 3 },
        D::CosineSimilarity { dimensions: 6 },
        D::TruncatedNormal { mean: 1.0, std: 2.0, limit: Some(3.0) },
        D::VarianceScaling { scale: 2.0, mode: Fan::Out, distribution: Spread::Normal },
        D::Glorot { scale: 1.0, distribution: Spread::Uniform },
        D::He { scale: 1.5, distribution: Spread::Normal },
    ]
}

/// The largest distance between the shares of `values` (drawn) and the shares that `cdf` says.
fn distance(mut values: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    values.iter().enumerate().map(|(i, &x)| (cdf(x) - (i as f64 + 0.5) / n).abs()).fold(0.0, f64::max)
}

/// Kolmogorov and Smirnov's distance is beyond this in fewer than one of 10⁶ samples.
fn limit(n: usize) -> f64 {
    2.7 / (n as f64).sqrt()
}

fn column(values: &Array2<f64>, j: usize) -> Vec<f64> {
    values.column(j).to_vec()
}

/// Φ of the standard normal distribution, by Simpson's rule.
fn normal_cdf(x: f64) -> f64 {
    let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * PI).sqrt();
    let steps = 400;
    let h = x / f64::from(steps);
    let term = |k: i32| density(h * f64::from(k)) * if k % 2 == 1 { 4.0 } else { 2.0 };
    0.5 + h / 3.0 * (density(0.0) + density(x) + (1..steps).map(term).sum::<f64>())
}

#[test]
fn draws_follow_the_closed_forms_of_their_distributions() {
    use Distribution as D;
    let n = 40_000;
    type Cdf = fn(f64) -> f64;
    let cases: Vec<(D, Cdf)> = vec![
        (D::Uniform(-1.0, 3.0), |x| (x + 1.0) / 4.0),
        (D::Gaussian(1.0, 2.0), |x| normal_cdf((x - 1.0) / 2.0)),
        (D::Exponential { scale: 0.5, shift: 1.0, high: f64::INFINITY }, |x| 1.0 - (-(x - 1.0) / 0.5).exp()),
        // Beta(1/2, 1/2), (1, 1), (1/2, 1) and (1, 3/2), with x² in place of x.
        (D::SqrtBeta { n: 1, m: 1 }, |x| 2.0 / PI * x.asin()),
        (D::SqrtBeta { n: 2, m: 2 }, |x| x * x),
        (D::SqrtBeta { n: 2, m: 1 }, |x| x),
        (D::SubvectorLength { dimensions: 5, subdimensions: 2 }, |x| 1.0 - (1.0 - x * x).powf(1.5)),
        (D::CosineSimilarity { dimensions: 2 }, |x| 1.0 - x.acos() / PI),
        (D::CosineSimilarity { dimensions: 3 }, |x| (x + 1.0) / 2.0),
        (D::TruncatedNormal { mean: 1.0, std: 2.0, limit: None }, |x| {
            let tail = normal_cdf(-2.0);
            (normal_cdf((x - 1.0) / 2.0) - tail) / (1.0 - 2.0 * tail)
        }),
        (D::TruncatedNormal { mean: 0.0, std: 2.0, limit: Some(1.0) }, |x| {
            let tail = normal_cdf(-0.5);
            (normal_cdf(x / 2.0) - tail) / (1.0 - 2.0 * tail)
        }),
    ];
    for (distribution, cdf) in cases {
        let values = draw(&distribution, n / 4, 4).into_iter().collect();
        let off = distance(values, cdf);
        assert!(off < limit(n), "{distribution:?}: {off}");
    }
}

#[test]
fn a_number_of_a_pdf_is_interpolated_between_its_running_sums() {
    let pdf = Distribution::Pdf { x: vec![-1.0, 0.0, 2.0], p: vec![2.0, 2.0, 4.0] };
    let values = column(&draw(&pdf, 40_000, 1), 0);
    let share = |of: &dyn Fn(f64) -> bool| values.iter().filter(|x| of(**x)).count() as f64 / 40_000.0;
    // A quarter lies at the first value; another one up to the second, and half of them up to the third.
    assert!((share(&|x| x == -1.0) - 0.25).abs() < 0.01);
    assert!((share(&|x| -1.0 < x && x < 0.0) - 0.25).abs() < 0.01);
    assert!((share(&|x| x > 1.0) - 0.25).abs() < 0.01);
    assert!(values.iter().all(|x| (-1.0..=2.0).contains(x)));
}

#[test]
fn an_exponential_number_stays_below_high() {
    let distribution = Distribution::Exponential { scale: 3.0, shift: 1.0, high: 2.0 };
    let values = draw(&distribution, 1000, 2);
    assert!(values.iter().all(|x| (1.0..2.0).contains(x)));
    assert!(values.iter().any(|x| *x > 1.999_999));
}

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

#[test]
fn choices_come_as_often_as_their_weights_say() {
    let options = array![[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]];
    let even = draw(&Distribution::choice(options.clone()), 30_000, 2);
    let weighted = Distribution::Choice { options, weights: Some(vec![1.0, 0.0, 3.0]) };
    let weighted = draw(&weighted, 30_000, 2);
    let share = |of: &Array2<f64>, x: f64| column(of, 0).iter().filter(|v| **v == x).count() as f64 / 3e4;
    assert!(even.rows().into_iter().chain(weighted.rows()).all(|row| row[1] == 10.0 * row[0]));
    for x in [1.0, 2.0, 3.0] {
        assert!((share(&even, x) - 1.0 / 3.0).abs() < 0.015);
    }
    assert!((share(&weighted, 1.0) - 0.25).abs() < 0.015);
    assert_eq!(share(&weighted, 2.0), 0.0);
}

#[test]
fn samples_come_as_they_are() {
    let rows = array![[1.0, 2.0], [3.0, 4.0]];
    assert_eq!(draw(&rows.clone().into(), 2, 2), rows);
}

#[test]
fn weights_have_the_variance_that_their_fan_asks_for() {
    use Distribution as D;
    let (n, d) = (300, 200);
    // A normal distribution cut at two standard deviations has this share of its variance.
    let density = (-2.0_f64).exp() / (2.0 * PI).sqrt();
    let cut = 1.0 - 4.0 * density / (1.0 - 2.0 * normal_cdf(-2.0));
    let scaling = |mode, distribution| D::VarianceScaling { scale: 3.0, mode, distribution };
    for (distribution, variance) in [
        (scaling(Fan::In, Spread::Uniform), 3.0 / 200.0),
        (scaling(Fan::Out, Spread::Normal), cut * 3.0 / 300.0),
        (scaling(Fan::Average, Spread::Uniform), 3.0 / 250.0),
        (D::Glorot { scale: 1.0, distribution: Spread::Uniform }, 1.0 / 250.0),
        (D::He { scale: 2.0, distribution: Spread::Normal }, cut * 4.0 / 200.0),
    ] {
        let values = draw(&distribution, n, d);
        let found = values.iter().map(|x| x * x).sum::<f64>() / (n * d) as f64;
        assert!((found / variance - 1.0).abs() < 0.03, "{distribution:?}: {found}, not {variance}");
        assert!(values.mean().unwrap().abs() < 5.0 * (variance / (n * d) as f64).sqrt());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_seed_always_draws_the_same_finite_numbers_and_another_seed_others(
        which in 0..16_usize, n in 2..40_usize, d in 1..12_usize, seed: u64,
    ) {
        let distribution = &all()[which];
        let values = distribution.sample("it", n, d, seed).unwrap();
        prop_assert_eq!(values.dim(), (n, d));
        prop_assert!(values.iter().all(|x| x.is_finite()));
        prop_assert_eq!(&values, &distribution.sample("it", n, d, seed).unwrap());
        // Two ends of a line are all that a sphere in one dimension has.
        let two = d == 1 && matches!(
            distribution,
            Distribution::UniformHypersphere { surface: true, .. } | Distribution::ScatteredHypersphere { surface: true, .. }
        );
        // A pdf has a heavy first value.
        if !two && !matches!(distribution, Distribution::Pdf { .. }) {
            prop_assert_ne!(&values, &distribution.sample("it", n, d, !seed).unwrap());
        }
    }

    #[test]
    fn a_distribution_written_to_a_file_is_the_one_read(which in 0..16_usize) {
        let distribution = &all()[which];
        let text = toml::to_string(&std::collections::BTreeMap::from([("it", distribution)])).unwrap();
        let read: std::collections::BTreeMap<String, Distribution> = read::toml(&text, "a.toml".as_ref()).unwrap();
        prop_assert_eq!(&read["it"], distribution);
    }
}

#[test]
fn files_write_distributions_as_names_and_tables() {
    use Distribution as D;
    let read = |text: &str| {
        let table: std::collections::BTreeMap<String, Distribution> =
            read::toml(&format!("it = {text}"), "a.toml".as_ref()).unwrap_or_else(|e| panic!("{text}: {e}"));
        table["it"].clone()
    };
    assert_eq!(read("{ uniform = [200, 400] }"), D::Uniform(200.0, 400.0));
    assert_eq!(read("\"scattered-hypersphere\""), D::scattered_ball());
    assert_eq!(read("{ uniform-hypersphere = { surface = true } }"), D::surface());
    assert_eq!(read("\"quasirandom-sequence\""), D::QuasirandomSequence);
    assert_eq!(read("{ choice = { options = [1, -1] } }"), D::choice(array![[1.0], [-1.0]]));
    assert_eq!(read("{ choice = 0.5 }"), D::choice(array![[0.5]]));
    assert_eq!(read("{ choice = [0.5, 1] }"), D::choice(array![[0.5], [1.0]]));
    // Not the options and their weights, one after the other.
    assert_eq!(read("{ choice = [[100.0], [400.0]] }"), D::choice(array![[100.0], [400.0]]));
    assert_eq!(read("{ choice = [[1, 0], [0, -1]] }"), D::choice(array![[1.0, 0.0], [0.0, -1.0]]));
    assert_eq!(read("{ constant = 1 }"), D::Constant(1.0));
    assert_eq!(read("-2"), D::Constant(-2.0));
    assert_eq!(read("\"zeros\""), D::Zeros);
    assert_eq!(read("{ normal = [0, 1] }"), D::Gaussian(0.0, 1.0));
    assert_eq!(read("{ values = [1, 2] }"), D::Samples(array![[1.0], [2.0]]));
    assert_eq!(read("[[1], [2]]"), D::Samples(array![[1.0], [2.0]]));
    assert_eq!(read("{ kind = \"exponential\", scale = 2 }"), read("{ exponential = { scale = 2 } }"));
    assert_eq!(read("{ samples = [[1, 2], [3, 4]] }"), D::Samples(array![[1.0, 2.0], [3.0, 4.0]]));
    assert_eq!(read("\"he\""), D::He { scale: 1.0, distribution: Spread::Normal });
    assert_eq!(read("{ cosine-similarity = { dimensions = 4 } }"), D::CosineSimilarity { dimensions: 4 });
    for (text, part) in [
        ("{ unifrom = [0, 1] }", "did you mean 'uniform'?"),
        ("{ uniform-hypersphere = { surfaec = true } }", "surfaec"),
        ("{ samples = [[1, 2], [3]] }", "row 2 has 1 values, row 1 has 2"),
        ("\"uniform\"", "uniform"),
    ] {
        let read: Result<std::collections::BTreeMap<String, Distribution>, _> =
            read::toml(&format!("it = {text}"), "a.toml".as_ref());
        let message = read.unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    use Distribution as D;
    let nan = f64::NAN;
    let choice = |options, weights| D::Choice { options, weights };
    let pdf = |x: &[f64], p: &[f64]| D::Pdf { x: x.to_vec(), p: p.to_vec() };
    let sphere = |min_magnitude| D::UniformHypersphere { surface: false, min_magnitude };
    for (distribution, parts) in [
        (D::Uniform(1.0, 0.0), &["between 1 and 0", "smaller"][..]),
        (D::Uniform(0.0, f64::INFINITY), &["inf"]),
        (D::Gaussian(0.0, -1.0), &["-1"]),
        (D::Exponential { scale: -1.0, shift: 0.0, high: 1.0 }, &["scale -1"]),
        (D::Exponential { scale: 1.0, shift: 2.0, high: 1.0 }, &["high", "1"]),
        (sphere(1.0), &["min-magnitude", "1"]),
        (sphere(nan), &["min-magnitude", "NaN"]),
        (D::ScatteredHypersphere { surface: false, min_magnitude: -0.5 }, &["min-magnitude", "-0.5"]),
        (choice(Array2::zeros((0, 2)), None), &["nothing"]),
        (choice(array![[1.0, nan]], None), &["NaN"]),
        (choice(array![[1.0, 2.0]], Some(vec![1.0, 2.0])), &["1 long", "2 long", "weights"]),
        (choice(array![[1.0, 2.0]], Some(vec![0.0])), &["not all 0"]),
        (choice(array![[1.0, 2.0, 3.0]], None), &["2 dimensions", "3 dimensions"]),
        (D::Samples(Array2::zeros((3, 2))), &["4 rows", "3 rows"]),
        (D::Samples(Array2::zeros((4, 3))), &["2 dimensions", "3 dimensions"]),
        (D::Samples(array![[nan, 0.0]]), &["NaN"]),
        (pdf(&[1.0], &[]), &["1 long", "0 long"]),
        (pdf(&[], &[]), &["not all 0"]),
        (pdf(&[1.0, 0.0], &[1.0, 1.0]), &["rise", "[1.0, 0.0]"]),
        (pdf(&[0.0, 1.0], &[1.0, -1.0]), &["at least 0", "-1"]),
        (D::SqrtBeta { n: 3, m: 0 }, &["m must be"]),
        (D::SubvectorLength { dimensions: 3, subdimensions: 4 }, &["4 of 3"]),
        (D::CosineSimilarity { dimensions: 0 }, &["0 dimensions"]),
        (D::TruncatedNormal { mean: nan, std: 1.0, limit: None }, &["NaN"]),
        (D::TruncatedNormal { mean: 0.0, std: 1.0, limit: Some(0.0) }, &["limit", "0"]),
        (D::Glorot { scale: -1.0, distribution: Spread::Uniform }, &["scale", "-1"]),
    ] {
        let message = distribution.sample("the encoders of 'a'", 4, 2, 0).unwrap_err().to_string();
        assert!(message.contains("the encoders of 'a'"), "{message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{message}: not {parts:?}");
    }
    let too_many = D::Uniform(0.0, 1.0).sample("it", usize::MAX, 2, 0).unwrap_err().to_string();
    assert!(too_many.contains("cannot draw"), "{too_many}");
    assert!(D::Uniform(0.0, 1.0).sample("it", 2, 0, 0).is_err());
}

#[test]
fn the_length_of_all_coordinates_of_a_unit_vector_is_one() {
    let all = Distribution::SubvectorLength { dimensions: 3, subdimensions: 3 };
    assert_eq!(draw(&all, 5, 2), Array2::<f64>::ones((5, 2)));
    let line = draw(&Distribution::CosineSimilarity { dimensions: 1 }, 100, 1);
    assert!(line.iter().all(|x| x.abs() == 1.0) && line.iter().any(|x| *x < 0.0));
}
