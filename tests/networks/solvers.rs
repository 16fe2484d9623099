//! Solvers of decoders: against Nengo's golden numbers, by the equations that they solve, and on bad input.

use crate::common::golden::Golden;
use crate::common::messages::Messages;
use ndarray::{Array1, Array2, Axis, Ix2, array, s};
use nengo_wgpu::Result;
use nengo_wgpu::internals::solve::{Method, Solution, Solver};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::Value;

fn method(case: &Value) -> Method {
    let option = |name: &str| case["options"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {case}"));
    match case["solver"].as_str().unwrap() {
        "Lstsq" => Method::Lstsq { rcond: option("rcond") },
        "LstsqL2" => Method::LstsqL2 { reg: option("reg") },
        "LstsqL2nz" => Method::LstsqL2nz { reg: option("reg") },
        "Nnls" => Method::Nnls,
        "NnlsL2" => Method::NnlsL2 { reg: option("reg") },
        "NnlsL2nz" => Method::NnlsL2nz { reg: option("reg") },
        other => panic!("unknown solver {other}"),
    }
}

fn matrix(golden: &mut Golden, name: &str) -> Array2<f64> {
    golden.input(name).mapv(f64::from).into_dimensionality::<Ix2>().unwrap()
}

#[test]
fn every_method_finds_the_decoders_that_nengo_finds() {
    let mut golden = Golden::open("decoders");
    for (name, case) in golden.cases() {
        let system = case["system"].as_str().unwrap().to_string();
        let a = matrix(&mut golden, &format!("{system}/A"));
        let y = matrix(&mut golden, &format!("{system}/Y"));
        let solution = Solver::from(method(&case)).solve(&name, a.view(), y.view(), 0).unwrap();
        let estimate = a.dot(&solution.decoders);
        let flat = |values: &Array2<f64>| values.iter().copied().collect::<Vec<_>>();
        golden.check_as(&format!("{name}/decoders"), "the host", &flat(&solution.decoders));
        golden.check_as(&format!("{name}/estimate"), "the host", &flat(&estimate));
        golden.check_as(&format!("{name}/rmse"), "the host", &solution.rmse);
    }
    println!("worst: {:.2e} of the tolerance", golden.worst);
}

/// Rates of rectified neurons over points between -1 and 1, in Hz: silent in part, as those of ensembles are.
fn rates(points: usize, neurons: usize, seed: u64) -> Array2<f64> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let tuning: Vec<(f64, f64)> = (0..neurons)
        .map(|j| {
            let sign = if j % 2 == 0 { 1.0 } else { -1.0 };
            (sign * rng.random_range(100.0..200.0), rng.random_range(-80.0..90.0))
        })
        .collect();
    let at = |i: usize| 2.0 * (i as f64 + 0.5) / points as f64 - 1.0;
    Array2::from_shape_fn((points, neurons), |(i, j)| (tuning[j].0 * at(i) + tuning[j].1).max(0.0))
}

fn targets(points: usize) -> Array2<f64> {
    let at = |i: usize| 2.0 * (i as f64 + 0.5) / points as f64 - 1.0;
    Array2::from_shape_fn((points, 2), |(i, k)| if k == 0 { at(i) } else { at(i).powi(2) - 0.4 })
}

fn solve(method: Method, a: &Array2<f64>, y: &Array2<f64>) -> Array2<f64> {
    Solver::from(method).solve("the test", a.view(), y.view(), 3).unwrap().decoders
}

fn largest(values: &Array2<f64>) -> f64 {
    values.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()))
}

/// (AᵀA + diag(penalty)) X - AᵀY, as a share of its second term.
fn normal_equations(a: &Array2<f64>, y: &Array2<f64>, x: &Array2<f64>, penalty: &Array1<f64>) -> f64 {
    let right = a.t().dot(y);
    let left = a.t().dot(&a.dot(x)) + penalty.view().insert_axis(Axis(1)).to_owned() * x;
    largest(&(left - &right)) / largest(&right)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn regularised_decoders_satisfy_their_normal_equations(
        m in 2..60_usize, n in 1..60_usize, reg in 0.01..0.5_f64, seed: u64,
    ) {
        let mut a = rates(m, n, seed);
        a[(0, 0)] = 50.0; // at least one neuron is active
        let y = targets(m);
        let sigma2 = (reg * largest(&a)).powi(2);
        let x = solve(Method::LstsqL2 { reg }, &a, &y);
        let even = Array1::from_elem(n, m as f64 * sigma2);
        prop_assert!(normal_equations(&a, &y, &x, &even) < 1e-9);

        let x = solve(Method::LstsqL2nz { reg }, &a, &y);
        let active = a.mapv(|r| f64::from(r > 0.0)).sum_axis(Axis(0));
        let most = active.iter().copied().fold(0.0, f64::max);
        let penalty = active.mapv(|count| sigma2 * if count == 0.0 { most } else { count });
        prop_assert!(normal_equations(&a, &y, &x, &penalty) < 1e-9);
    }

    #[test]
    fn decoders_of_at_least_zero_are_the_best_such(m in 2..40_usize, n in 1..40_usize, seed: u64) {
        let mut a = rates(m, n, seed);
        a[(0, 0)] = 50.0;
        let y = targets(m);
        let x = solve(Method::Nnls, &a, &y);
        prop_assert!(x.iter().all(|x| *x >= 0.0));
        // The error falls in no direction that is allowed (Karush, Kuhn and Tucker).
        let pull = a.t().dot(&(&y - &a.dot(&x)));
        let scale = largest(&a) * m as f64;
        for (x, pull) in x.iter().zip(&pull) {
            prop_assert!(*pull < 1e-9 * scale, "{x} {pull}");
            prop_assert!(*x == 0.0 || pull.abs() < 1e-9 * scale, "{x} {pull}");
        }
    }

    #[test]
    fn l1_decoders_are_where_no_neuron_can_better_them(
        m in 10..40_usize, n in 1..12_usize, l1 in 1e-4..1e-2_f64, seed: u64,
    ) {
        let mut a = rates(m, n, seed);
        a[(0, 0)] = 50.0;
        let y = targets(m);
        let l2 = 1e-3;
        let x = solve(Method::LstsqL1 { l1, l2, max_iter: 200_000 }, &a, &y);
        let (threshold, ridge) = (l1 * largest(&a), l2 * largest(&a).powi(2));
        let pull = a.t().dot(&(&y - &a.dot(&x))) / m as f64 - ridge * &x;
        for (x, pull) in x.iter().zip(&pull) {
            let off = if *x == 0.0 { pull.abs() - threshold } else { (pull - threshold.copysign(*x)).abs() };
            prop_assert!(off < 1e-6 * threshold, "{x}: {pull}, threshold {threshold}");
        }
    }
}

#[test]
fn l1_decoders_of_neurons_that_never_fire_together_are_cut_least_squares() {
    let a = array![[4.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]];
    let y = array![[8.0], [-0.5], [3.0], [0.0]];
    let x = solve(Method::LstsqL1 { l1: 0.1, l2: 0.05, max_iter: 100 }, &a, &y);
    // Pulls are a_j y_j / 4, thresholds 0.1 · 4, and curvatures a_j² / 4 + 0.05 · 16.
    let wanted = array![[(8.0 - 0.4) / (4.0 + 0.8)], [0.0], [(0.75 - 0.4) / (0.25 + 0.8)]];
    assert!(largest(&(&x - &wanted)) < 1e-12, "{x}");
}

#[test]
fn without_regularisation_the_shortest_of_many_answers_is_found() {
    let one = rates(30, 4, 1);
    let y = targets(30);
    let twice = ndarray::concatenate![Axis(1), one, one];
    let x = solve(Method::Lstsq { rcond: 0.0 }, &one, &y);
    let halves = solve(Method::Lstsq { rcond: 1e-10 }, &twice, &y);
    assert!(largest(&(&halves.slice(s![..4, ..]) * 2.0 - &x)) < 1e-9 * largest(&x));
    assert!(largest(&(&halves.slice(s![4.., ..]) * 2.0 - &x)) < 1e-9 * largest(&x));
    let none = Array1::zeros(4);
    assert!(normal_equations(&one, &y, &x, &none) < 1e-10);
}

#[test]
fn noise_on_activities_regularises_as_its_variance_does() {
    let (m, n) = (40_000, 6);
    let (a, y) = (rates(m, n, 5), targets(m));
    let plain = solve(Method::Lstsq { rcond: 0.0 }, &a, &y);
    let sigma2 = (0.3 * largest(&a)).powi(2);
    let even = Array1::from_elem(n, m as f64 * sigma2);
    let each = (&a * &a).sum_axis(Axis(0)) * 0.3_f64.powi(2);
    for (method, penalty) in
        [(Method::LstsqNoise { noise: 0.3 }, even), (Method::LstsqMultNoise { noise: 0.3 }, each)]
    {
        let noisy = normal_equations(&a, &y, &solve(method.clone(), &a, &y), &penalty);
        let without = normal_equations(&a, &y, &plain, &penalty);
        assert!(noisy < 0.03 && without > 0.1, "{method:?}: {noisy}, {without} without noise");
    }
}

#[test]
fn random_methods_follow_their_seed() {
    let (a, y) = (rates(200, 10, 5), targets(200));
    for method in [Method::LstsqNoise { noise: 0.1 }, Method::LstsqMultNoise { noise: 0.1 }] {
        let solve = |seed| Solver::from(method.clone()).solve("it", a.view(), y.view(), seed).unwrap();
        assert_eq!(solve(1), solve(1));
        assert_ne!(solve(1), solve(2));
    }
}

#[test]
fn the_smallest_decoders_are_dropped_and_the_others_found_again() {
    let (a, y) = (rates(100, 20, 9), targets(100));
    let first = solve(Method::LstsqL2 { reg: 0.02 }, &a, &y);
    let x = solve(Method::LstsqDrop { drop: 0.3, first_reg: 0.02, reg: 0.1 }, &a, &y);
    assert_eq!(x.iter().filter(|x| **x == 0.0).count(), 12, "30 % of 40");
    let kept = x.iter().zip(&first).filter(|(x, _)| **x != 0.0).map(|(_, first)| first.abs());
    let dropped = x.iter().zip(&first).filter(|(x, _)| **x == 0.0).map(|(_, first)| first.abs());
    assert!(dropped.fold(0.0, f64::max) < kept.fold(f64::INFINITY, f64::min));
    for k in 0..2 {
        let neurons: Vec<usize> = (0..20).filter(|&j| x[(j, k)] != 0.0).collect();
        let column = y.slice(s![.., k..k + 1]).to_owned();
        let again = solve(Method::LstsqL2 { reg: 0.1 }, &a.select(Axis(1), &neurons), &column);
        assert!(neurons.iter().zip(&again).all(|(&j, again)| (x[(j, k)] - again).abs() < 1e-12));
    }
}

#[test]
fn without_a_solver_decoders_are_given_or_zero() {
    let (a, y) = (rates(10, 3, 0), targets(10));
    let values = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
    assert_eq!(solve(Method::NoSolver { values: None }, &a, &y), Array2::<f64>::zeros((3, 2)));
    assert_eq!(solve(Method::NoSolver { values: Some(values.clone()) }, &a, &y), values);
    assert_eq!(solve(Method::NoSolver { values: Some(values.clone()) }, &(a * 0.0), &y), values);
}

#[test]
fn compositional_methods_decode_a_transform_by_transformed_decoders() {
    let (a, y) = (rates(50, 8, 2), targets(50));
    let transform = array![[1.0, -2.0, 0.5], [0.3, 1.0, -1.0]];
    for (method, compositional) in [
        (Method::Lstsq { rcond: 0.01 }, true),
        (Method::LstsqL2 { reg: 0.1 }, true),
        (Method::LstsqL2nz { reg: 0.1 }, true),
        (Method::LstsqNoise { noise: 0.1 }, true),
        (Method::LstsqMultNoise { noise: 0.1 }, true),
        (Method::LstsqL1 { l1: 1e-2, l2: 1e-3, max_iter: 1000 }, false),
        (Method::LstsqDrop { drop: 0.4, first_reg: 0.01, reg: 0.1 }, false),
        (Method::Nnls, false),
        (Method::NnlsL2 { reg: 0.1 }, false),
        (Method::NnlsL2nz { reg: 0.1 }, false),
    ] {
        let first = solve(method.clone(), &a, &y.dot(&transform));
        let after = solve(method.clone(), &a, &y).dot(&transform);
        let same = largest(&(&first - &after)) < 1e-8 * largest(&first);
        assert_eq!(method.compositional(), compositional);
        assert_eq!(same, compositional, "{method:?}");
    }
}

#[test]
fn the_error_is_the_root_of_the_mean_square_over_the_points() {
    let (a, y) = (rates(40, 5, 3), targets(40));
    let solution = Solver::default().solve("it", a.view(), y.view(), 0).unwrap();
    let error = a.dot(&solution.decoders) - &y;
    let rmse = (&error * &error).mean_axis(Axis(0)).unwrap().mapv(f64::sqrt);
    assert!(solution.rmse.iter().zip(&rmse).all(|(a, b)| (a - b).abs() < 1e-12));
}

fn message(result: Result<Solution>) -> String {
    let message = result.unwrap_err().to_string();
    assert!(message.contains("'a -> b'"), "{message}");
    message
}

#[test]
fn systems_without_an_answer_are_refused_by_name() {
    let said = Messages::of("systems without an answer are refused by name");
    let (a, y) = (rates(10, 4, 0), targets(10));
    let solve = |method: Method, a: &Array2<f64>, y: &Array2<f64>| {
        message(Solver::from(method).solve("connection 'a -> b'", a.view(), y.view(), 0))
    };
    let l2 = |reg| Method::LstsqL2 { reg };
    let twins = ndarray::concatenate![Axis(1), a, a];
    let mut holed = a.clone();
    holed[(3, 1)] = f64::NAN;
    let mut endless = y.clone();
    endless[(7, 0)] = f64::INFINITY;
    for text in [
        solve(l2(0.1), &a, &targets(9)),
        solve(l2(0.1), &Array2::zeros((0, 4)), &Array2::zeros((0, 1))),
        solve(l2(0.1), &Array2::zeros((10, 0)), &y),
        solve(l2(0.1), &a, &Array2::zeros((10, 0))),
        solve(l2(0.1), &Array2::zeros((10, 4)), &y),
        solve(l2(0.1), &holed, &y),
        solve(l2(0.1), &a, &endless),
        solve(l2(0.0), &twins, &y),
        solve(l2(-0.1), &a, &y),
        solve(Method::Lstsq { rcond: 1.0 }, &a, &y),
        solve(Method::LstsqNoise { noise: f64::NAN }, &a, &y),
        solve(Method::LstsqDrop { drop: 1.0, first_reg: 0.0, reg: 0.1 }, &a, &y),
        solve(Method::LstsqL1 { l1: 0.1, l2: 0.0, max_iter: 0 }, &a, &y),
        solve(Method::NoSolver { values: Some(y.clone()) }, &a, &y),
        solve(Method::NoSolver { values: Some(array![[f64::NAN]]) }, &a, &y),
    ] {
        said.text(&text);
    }
}

#[test]
fn files_write_solvers_as_names_and_tables() {
    let said = Messages::of("files write solvers as names and tables");
    let read = |text: &str| nengo_wgpu::internals::read::toml::<Solver>(text, "a.toml".as_ref());
    let solver = |method: Method| Solver::from(method);
    for (text, wanted) in [
        ("", Solver::default()),
        ("weights = true", Solver::default().weights()),
        ("method = \"lstsq-l2\"", Solver::default()),
        ("method = { lstsq-l2nz = { reg = 0.01 } }", solver(Method::LstsqL2nz { reg: 0.01 })),
        ("method = \"lstsq-drop\"", solver(Method::LstsqDrop { drop: 0.25, first_reg: 0.001, reg: 0.1 })),
        (
            "method = { lstsq-l1 = { max-iter = 10 } }",
            solver(Method::LstsqL1 { l1: 1e-4, l2: 1e-6, max_iter: 10 }),
        ),
        ("method = \"nnls\"", solver(Method::Nnls)),
        ("method = \"no-solver\"", solver(Method::NoSolver { values: None })),
        (
            "method = { no-solver = { values = [[1, 2]] } }",
            solver(Method::NoSolver { values: Some(array![[1.0, 2.0]]) }),
        ),
    ] {
        let solver = read(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(solver, wanted, "{text}");
        assert_eq!(read(&toml::to_string(&solver).unwrap()).unwrap(), wanted, "{text}");
    }
    for text in ["method = \"lstsq-l3\"", "method = { lstsq-l2 = { rge = 0.1 } }"] {
        said.error(read(text));
    }
}
