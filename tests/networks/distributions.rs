//! Distributions: their moments, supports and closed forms, files, and bad settings.

use crate::common::messages::Messages;
use std::f64::consts::PI;

use ndarray::{Array2, array};
use nengo_wgpu::internals::read;
use nengo_wgpu::network::{Distribution, Fan, Spread};
use proptest::prelude::*;

pub(super) fn draw(distribution: &Distribution, n: usize, d: usize) -> Array2<f64> {
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
pub(super) fn distance(mut values: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    values.iter().enumerate().map(|(i, &x)| (cdf(x) - (i as f64 + 0.5) / n).abs()).fold(0.0, f64::max)
}

/// Kolmogorov and Smirnov's distance is beyond this in fewer than one of 10⁶ samples.
pub(super) fn limit(n: usize) -> f64 {
    2.7 / (n as f64).sqrt()
}

pub(super) fn column(values: &Array2<f64>, j: usize) -> Vec<f64> {
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
    let said = Messages::of("files write distributions as names and tables");
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
    for text in [
        "{ unifrom = [0, 1] }",
        "{ uniform-hypersphere = { surfaec = true } }",
        "{ samples = [[1, 2], [3]] }",
        "\"uniform\"",
    ] {
        let read: Result<std::collections::BTreeMap<String, Distribution>, _> =
            read::toml(&format!("it = {text}"), "a.toml".as_ref());
        said.error(read);
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let said = Messages::of("settings out of range are refused by name");
    use Distribution as D;
    let nan = f64::NAN;
    let choice = |options, weights| D::Choice { options, weights };
    let pdf = |x: &[f64], p: &[f64]| D::Pdf { x: x.to_vec(), p: p.to_vec() };
    let sphere = |min_magnitude| D::UniformHypersphere { surface: false, min_magnitude };
    for distribution in [
        D::Uniform(1.0, 0.0),
        D::Uniform(0.0, f64::INFINITY),
        D::Gaussian(0.0, -1.0),
        D::Exponential { scale: -1.0, shift: 0.0, high: 1.0 },
        D::Exponential { scale: 1.0, shift: 2.0, high: 1.0 },
        sphere(1.0),
        sphere(nan),
        D::ScatteredHypersphere { surface: false, min_magnitude: -0.5 },
        choice(Array2::zeros((0, 2)), None),
        choice(array![[1.0, nan]], None),
        choice(array![[1.0, 2.0]], Some(vec![1.0, 2.0])),
        choice(array![[1.0, 2.0]], Some(vec![0.0])),
        choice(array![[1.0, 2.0, 3.0]], None),
        D::Samples(Array2::zeros((3, 2))),
        D::Samples(Array2::zeros((4, 3))),
        D::Samples(array![[nan, 0.0]]),
        pdf(&[1.0], &[]),
        pdf(&[], &[]),
        pdf(&[1.0, 0.0], &[1.0, 1.0]),
        pdf(&[0.0, 1.0], &[1.0, -1.0]),
        D::SqrtBeta { n: 3, m: 0 },
        D::SubvectorLength { dimensions: 3, subdimensions: 4 },
        D::CosineSimilarity { dimensions: 0 },
        D::TruncatedNormal { mean: nan, std: 1.0, limit: None },
        D::TruncatedNormal { mean: 0.0, std: 1.0, limit: Some(0.0) },
        D::Glorot { scale: -1.0, distribution: Spread::Uniform },
    ] {
        said.error(distribution.sample("the encoders of 'a'", 4, 2, 0));
    }
    said.error(D::Uniform(0.0, 1.0).sample("it", usize::MAX, 2, 0));
    assert!(D::Uniform(0.0, 1.0).sample("it", 2, 0, 0).is_err());
}

#[test]
fn the_length_of_all_coordinates_of_a_unit_vector_is_one() {
    let all = Distribution::SubvectorLength { dimensions: 3, subdimensions: 3 };
    assert_eq!(draw(&all, 5, 2), Array2::<f64>::ones((5, 2)));
    let line = draw(&Distribution::CosineSimilarity { dimensions: 1 }, 100, 1);
    assert!(line.iter().all(|x| x.abs() == 1.0) && line.iter().any(|x| *x < 0.0));
}
