//! Distributions: their moments, supports and closed forms, files, and bad settings.

use std::f64::consts::PI;

use ndarray::{Array2, Axis, array};
use nengo_wgpu::network::{Distribution, Fan, Spread};
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
        assert!(spread(true) < 0.25 * spread(false), "{d}: {} {}", spread(true), spread(false));
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
        let read: std::collections::BTreeMap<String, Distribution> = toml::from_str(&text).unwrap();
        prop_assert_eq!(&read["it"], distribution);
    }
}

#[test]
fn files_write_distributions_as_names_and_tables() {
    use Distribution as D;
    let read = |text: &str| {
        let table: std::collections::BTreeMap<String, Distribution> =
            toml::from_str(&format!("it = {text}")).unwrap_or_else(|e| panic!("{text}: {e}"));
        table["it"].clone()
    };
    assert_eq!(read("{ uniform = [200, 400] }"), D::Uniform(200.0, 400.0));
    assert_eq!(read("\"scattered-hypersphere\""), D::scattered_ball());
    assert_eq!(read("{ uniform-hypersphere = { surface = true } }"), D::surface());
    assert_eq!(read("\"quasirandom-sequence\""), D::QuasirandomSequence);
    assert_eq!(read("{ choice = { options = [1, -1] } }"), D::choice(array![[1.0], [-1.0]]));
    assert_eq!(read("{ samples = [[1, 2], [3, 4]] }"), D::Samples(array![[1.0, 2.0], [3.0, 4.0]]));
    assert_eq!(read("\"he\""), D::He { scale: 1.0, distribution: Spread::Normal });
    assert_eq!(read("{ cosine-similarity = { dimensions = 4 } }"), D::CosineSimilarity { dimensions: 4 });
    for (text, part) in [
        ("{ unifrom = [0, 1] }", "unknown variant"),
        ("{ uniform-hypersphere = { surfaec = true } }", "surfaec"),
        ("{ samples = [[1, 2], [3]] }", "row 2 has 1 values, row 1 has 2"),
        ("\"uniform\"", "uniform"),
    ] {
        let read: Result<std::collections::BTreeMap<String, Distribution>, _> =
            toml::from_str(&format!("it = {text}"));
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
