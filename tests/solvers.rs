//! Solvers of decoders: against Nengo's golden numbers, by the equations that they solve, and on bad input.

mod common;

use common::golden::Golden;
use ndarray::{Array2, Ix2};
use nengo_wgpu::solve::{Method, Solver};
use serde_json::Value;

fn method(case: &Value) -> Option<Method> {
    let option = |name: &str| case["options"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {case}"));
    Some(match case["solver"].as_str().unwrap() {
        "LstsqL2" => Method::LstsqL2 { reg: option("reg") },
        _ => return None,
    })
}

fn matrix(golden: &mut Golden, name: &str) -> Array2<f64> {
    golden.input(name).mapv(f64::from).into_dimensionality::<Ix2>().unwrap()
}

#[test]
fn every_method_finds_the_decoders_that_nengo_finds() {
    let mut golden = Golden::open("decoders");
    for (name, case) in golden.cases() {
        let system = case["system"].as_str().unwrap().to_string();
        let Some(method) = method(&case) else { continue };
        let a = matrix(&mut golden, &format!("{system}/A"));
        let y = matrix(&mut golden, &format!("{system}/Y"));
        let solution = Solver::from(method).solve(&name, a.view(), y.view(), 0).unwrap();
        let estimate = a.dot(&solution.decoders);
        let flat = |values: &Array2<f64>| values.iter().copied().collect::<Vec<_>>();
        golden.check_as(&format!("{name}/decoders"), "the host", &flat(&solution.decoders));
        golden.check_as(&format!("{name}/estimate"), "the host", &flat(&estimate));
        golden.check_as(&format!("{name}/rmse"), "the host", &solution.rmse);
    }
    println!("worst: {:.2e} of the tolerance", golden.worst);
}
