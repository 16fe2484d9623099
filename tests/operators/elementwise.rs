//! Functions of one and two values, broadcasts and sums, element by element.

use super::operators::SIZES;
use crate::common::{build, check, devices, dims};
use nengo_wgpu::internals::expr::Expr;
use nengo_wgpu::internals::expr::Unary;
use nengo_wgpu::internals::graph::{Tensor, Type};
use nengo_wgpu::internals::op::map::{MAX_INPUTS, Map};

const UNARY: [Unary; 26] = [
    Unary::Identity,
    Unary::Neg,
    Unary::Relu,
    Unary::LeakyRelu(0.1),
    Unary::Step(0.25),
    Unary::Sigmoid,
    Unary::Tanh,
    Unary::Softplus,
    Unary::Gelu,
    Unary::GeluSlope,
    Unary::Exp,
    Unary::Log,
    Unary::Sqrt,
    Unary::Square,
    Unary::Abs,
    Unary::Sign,
    Unary::Reciprocal,
    Unary::NotNan,
    Unary::Clamp(0.7),
    Unary::Huber(0.7),
    Unary::Sin,
    Unary::Cos,
    Unary::Expm1,
    Unary::Log1p,
    Unary::LifRate(0.002, 0.02),
    Unary::LifSlope(0.02),
];

#[test]
fn unary_functions_agree_with_f64_element_by_element() {
    let inputs: Vec<f32> = crate::common::uniform(3, 4096, -12.0, 12.0)
        .into_iter()
        .chain([0.0, 1e-3, -1e-3, 1e-6, 20.0, -20.0, 80.0, -80.0, 1.0, -1.0, 3e-20])
        .collect();
    let case = build(dims(inputs.len(), 1), |c| {
        let x = c.feed_of(Type::example(1), |i, _| inputs[i]);
        let positive = c.feed_of(Type::example(1), |i, _| inputs[i].abs().max(1e-6));
        let of = |f: &Unary| if matches!(f, Unary::Log | Unary::Sqrt | Unary::Log1p) { positive } else { x };
        UNARY.iter().map(|f| of(f).unary(*f)).collect()
    });
    let reference = case.reference();
    for device in devices() {
        for ((f, ours), reference) in UNARY.iter().zip(case.run(device)).zip(&reference) {
            for ((&y, &want), x) in ours.iter().zip(reference).zip(&inputs) {
                let close = (f64::from(y) - want).abs() <= 2e-5 * want.abs() + 3e-6 || f64::from(y) == want;
                let beyond = want.abs() > f64::from(f32::MAX) && y.is_infinite();
                assert!(close || beyond, "{f:?} of {x} on {device}: {y} for {want}");
            }
        }
    }
}

#[test]
fn functions_of_nan_and_infinity_agree() {
    check("edges", dims(4, 1), 1e-6, |c| {
        let edges = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.5];
        let x = c.feed_of(Type::example(1), |i, _| edges[i]);
        let one = c.feed_of(Type::example(1), |_, _| 1.0);
        vec![x.unary(Unary::NotNan), one.residual(x), x.unary(Unary::NotNan) * one, x.abs()]
    });
    // NaN passes through a ReLU, so that a run that went wrong is seen.
    let case = build(dims(1, 1), |c| vec![c.feed_of(Type::example(1), |_, _| f32::NAN).relu()]);
    for device in devices() {
        assert!(case.run(device)[0][0].is_nan(), "{device}");
    }
    // So does what has no result, whatever the device makes of it; and zero and one have theirs.
    let inputs = [-0.5, -2.0, -1e30, f32::NEG_INFINITY, f32::NAN];
    let one = |f: Unary, x: f32| {
        if f == Unary::Log1p { x - 1.0 } else { x }
    };
    for f in [Unary::Log, Unary::Sqrt, Unary::Log1p] {
        let case = build(dims(inputs.len(), 1), |c| {
            let x = c.feed_of(Type::example(1), |i, _| one(f, inputs[i]));
            let edges = c.feed_of(Type::example(1), |i, _| one(f, [0.0, 1.0, f32::INFINITY][i % 3]));
            vec![x.unary(f), edges.unary(f)]
        });
        let zero = if f == Unary::Sqrt { 0.0 } else { f32::NEG_INFINITY };
        let at_one = if f == Unary::Sqrt { 1.0 } else { 0.0 };
        for device in devices() {
            let results = case.run(device);
            for (y, x) in results[0].iter().zip(inputs) {
                assert!(y.is_nan(), "{f:?} of {x} on {device}: {y}");
            }
            assert_eq!(results[1][..3], [zero, at_one, f32::INFINITY], "{f:?} on {device}");
        }
    }
}

#[test]
fn binary_functions_and_broadcasts_agree() {
    for (batch, cols) in SIZES {
        check(&format!("{batch} x {cols}"), dims(batch, 3), 1e-5, |c| {
            let step = c.feed(Type::sequence(cols));
            let example = c.feed_of(Type::example(cols), |_, x| x + 2.0);
            let row = c.feed_of(Type::fixed(1, cols), |_, x| x + 2.0);
            let one = c.feed_of(Type::fixed(1, 1), |_, x| x + 2.0);
            let column = c.feed_of(Type::sequence(1), |_, x| x + 2.0);
            let matrix = c.parameter(batch + 2, cols);
            let narrow = c.parameter(batch + 2, 1);
            let some = c.feed_of(Type::example(cols), |i, x| if i % 3 == 0 { f32::NAN } else { x });
            vec![
                step + step.relu(),
                step - example,
                row * step,
                step / one,
                step / column + example,
                example * example / row,
                matrix * narrow + row,
                step.residual(some),
                (step - one).expand(Type::sequence(cols)),
                row.expand(Type::sequence(cols)),
                column.expand(Type::sequence(cols)),
                row.tanh() + one,
                example.delay() * row,
                step.max(one),
                step.min(row),
                // Bases above zero with any exponent, and all bases with whole ones.
                step.abs().pow(row),
                step.pow(c.scope.constant(3.0)) + row.pow(c.scope.constant(-2.0)),
            ]
        });
    }
}

#[test]
fn sums_of_any_number_of_values_agree() {
    check("sums", dims(5, 2), 1e-5, |c| {
        let all: Vec<Tensor<'_>> = (0..17)
            .map(|i| match i % 3 {
                0 => c.feed(Type::sequence(7)),
                1 => c.feed(Type::example(7)),
                _ => c.feed(Type::fixed(1, 1)),
            })
            .collect();
        (1..=all.len()).map(|n| c.scope.sum(&all[..n])).collect()
    });
    check("a map of as many inputs as it may have", dims(65, 1), 1e-5, |c| {
        let all: Vec<Tensor<'_>> = (0..MAX_INPUTS).map(|_| c.feed(Type::example(13))).collect();
        vec![c.scope.apply(Map::new(Expr::sum(MAX_INPUTS)), &all)]
    });
}
