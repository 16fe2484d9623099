//! Discrete systems of synapses against Nengo's and closed forms.

use super::synapses::{DT, INTEGRATOR, filt, synapse};
use crate::common::golden::Golden;
use crate::common::messages::Messages;
use ndarray::Array2;
use nengo_wgpu::network::{Discrete, LinearFilter, Method, StateSpace, Synapse};

#[test]
fn discrete_systems_are_those_of_nengo() {
    let mut golden = Golden::open("synapses");
    for (name, case) in golden.cases() {
        let system = if name == INTEGRATOR {
            let system = StateSpace::from_transfer_function(&[1.0], &[1.0, 0.0]).unwrap();
            Discrete::Linear(system.discretise(DT, Method::Euler))
        } else {
            synapse(&case["synapse"]).discretise(&name, DT).unwrap()
        };
        match system {
            Discrete::Linear(StateSpace { a, b, c, d }) => {
                for (matrix, values) in [("A", a), ("B", b), ("C", c), ("D", Array2::from_elem((1, 1), d))] {
                    let values: Vec<f64> = values.iter().copied().collect();
                    golden.check_as(&format!("{name}/{matrix}"), "the host", &values);
                }
            }
            Discrete::Taps(taps) => golden.check_as(&format!("{name}/taps"), "the host", &taps),
        }
    }
    println!("worst: {:.2} of the tolerance", golden.worst);
}

#[test]
fn balancing_and_a_state_for_the_direct_way_change_no_output() {
    let mut golden = Golden::open("synapses");
    let x = golden.input("x").mapv(f64::from).into_dimensionality().unwrap();
    let impulse = golden.input("impulse").mapv(f64::from).into_dimensionality().unwrap();
    for (name, case) in golden.cases().into_iter().filter(|(name, _)| name != INTEGRATOR) {
        let filter = match synapse(&case["synapse"]).discretise(&name, DT).unwrap() {
            Discrete::Linear(system) => Discrete::Linear(system.strictly_proper().balanced()),
            taps => taps,
        };
        golden.check_as(&format!("{name}/filt"), "the host", &filt(&filter, &x));
        golden.check_as(&format!("{name}/impulse_response"), "the host", &filt(&filter, &impulse));
    }
}

#[test]
fn balanced_states_are_of_the_size_of_the_output() {
    // A sixth-order lowpass of 0.1 ms: its canonical states are of a size of 1e-20 and below.
    let tau: f64 = 1e-4;
    let denominator: Vec<f64> =
        [1.0, 6.0, 15.0, 20.0, 15.0, 6.0, 1.0].iter().zip(0..).map(|(c, k)| c * tau.powi(6 - k)).collect();
    let system = StateSpace::from_transfer_function(&[1.0], &denominator).unwrap();
    let system = system.discretise(1e-4, Method::ZeroOrderHold);
    let largest = |s: &StateSpace| s.b.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
    assert!(largest(&system) < 1e-3, "{}", largest(&system));
    let smallest = |s: &StateSpace| s.b.iter().fold(1.0_f64, |a, x| a.min(x.abs()));
    assert!(smallest(&system) < 1e-20);
    let balanced = system.balanced();
    assert!(smallest(&balanced) > 1e-5 && largest(&balanced) < 2.0, "{:?}", balanced.b);
    assert!(balanced.c.iter().all(|x| x.abs() < 10.0), "{:?}", balanced.c);
}

#[test]
fn zero_order_hold_is_exact_for_an_oscillator() {
    let (w, dt) = (300.0_f64, 0.002);
    let system = StateSpace::from_transfer_function(&[w], &[1.0, 0.0, w * w]).unwrap();
    let discrete = system.discretise(dt, Method::ZeroOrderHold);
    let expected = [(w * dt).cos(), -w * (w * dt).sin(), (w * dt).sin() / w, (w * dt).cos()];
    for (x, y) in discrete.a.iter().zip(expected) {
        assert!((x - y).abs() < 1e-13 * w, "{:?} for {expected:?}", discrete.a);
    }
    let poles = discrete.poles().unwrap();
    assert!(poles.iter().all(|(re, im)| (re.hypot(*im) - 1.0).abs() < 1e-12), "{poles:?}");
}

#[test]
fn triangles_are_as_long_as_in_nengo() {
    // As NumPy does, half a step is rounded to the even number.
    for (seconds, taps) in [(0.0, 1), (0.0005, 1), (0.0015, 3), (0.0024, 3), (0.0025, 3), (0.0026, 4)] {
        let Discrete::Taps(weights) = Synapse::Triangle(seconds).discretise("a", DT).unwrap() else {
            panic!("a triangle has taps")
        };
        assert_eq!(weights.len(), taps, "{seconds} s");
    }
}

#[test]
fn invalid_filters_are_refused_by_name() {
    let said = Messages::of("invalid filters are refused by name");
    let linear = |numerator: &[f64], denominator: &[f64]| LinearFilter::new(numerator, denominator);
    let matrices = |a: Array2<f64>, b, c| StateSpace { a, b, c, d: 0.0 };
    let cases: Vec<Synapse> = vec![
        Synapse::Lowpass(-0.1),
        Synapse::Alpha(f64::NAN),
        Synapse::Lowpass(1e4),
        Synapse::Triangle(f64::INFINITY),
        Synapse::Triangle(1e9),
        linear(&[1.0, 0.0, 0.0], &[1.0, 1.0]).into(),
        linear(&[1.0], &[]).into(),
        linear(&[1.0], &[0.0, 1.0]).into(),
        linear(&[f64::NAN], &[1.0, 1.0]).into(),
        linear(&[1.0], &vec![1.0; 1_000]).into(),
        linear(&[1.0], &[1.0, 0.0]).into(),
        linear(&[1.0], &[1.0, -1.0]).into(),
        linear(&[1.0], &[1.0, 0.0, 1e4]).into(),
        linear(&[1.0], &[1.0, -1.5]).digital().into(),
        linear(&[1.0], &[1e-4, 1.0]).method(Method::Euler).into(),
        LinearFilter::state_space(matrices(
            Array2::zeros((2, 2)),
            Array2::zeros((1, 1)),
            Array2::zeros((1, 2)),
        ))
        .into(),
    ];
    for synapse in cases {
        said.error(synapse.discretise("connection 'a->b'", DT));
    }
}
