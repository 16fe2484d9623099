//! Steps applied through time: on both devices, in both directions, in and out of loops, and their adjoints.

use std::sync::Arc;

use crate::common::{Case, check, dims};
use nengo_wgpu::internals::expr::real::{Real, Var};
use nengo_wgpu::internals::expr::step::Step;
use nengo_wgpu::internals::expr::{Surrogate, Unary};
use nengo_wgpu::internals::graph::{State, Tensor, Type};
use nengo_wgpu::internals::op::Delay;
use nengo_wgpu::internals::op::scan::{Emits, Scan};

/// Two coupled states with a smooth step of two operands.
fn coupled(backward: bool) -> Scan {
    let step = Step::new(4, |x| {
        let [a, b, u, v] = x else { unreachable!() };
        let next_u = (*a * *v + Var::number(0.5) * *u).unary(Unary::Tanh);
        let next_v = Var::number(0.6) * *v + Var::number(0.3) * *u + *b * *a;
        vec![next_u * *b + next_v, next_u, next_v]
    });
    let states = vec![State::at("u", 0.25), State::at("v", -0.5)];
    Scan { name: "coupled", step, states, emits: Emits::Result, linear: false, backward }
}

/// A second-order filter, delayed as on a connection.
fn filter(backward: bool) -> Scan {
    let step = Step::new(3, |x| {
        let [input, s, y] = x else { unreachable!() };
        let next = Var::number(0.7) * *s + Var::number(0.3) * *input;
        vec![Var::number(0.8) * *y + Var::number(0.2) * next, next]
    });
    let states = vec![State::at("s", 0.0)];
    Scan { name: "filter", step, states, emits: Emits::Delayed, linear: true, backward }
}

fn all<'s>(c: &'s Case, cols: usize, backward: bool) -> Vec<Tensor<'s>> {
    let x = c.feed(Type::sequence(cols));
    let (held, row, column) = (c.feed(Type::example(cols)), c.parameter(1, cols), c.feed(Type::sequence(1)));
    let two = |a, b| c.scope.apply(coupled(backward), &[a, b]);
    let y = two(x, row);
    let mut all = vec![y, y.state(0, true), y.state(1, false), two(x, held), two(column, x), two(held, row)];
    all.push(two(x.tanh(), c.scope.constant(0.5)));
    all.extend([x, held].map(|v| c.scope.apply(filter(backward), &[v])));
    let z = c.scope.apply(filter(backward), &[x * held]);
    all.extend([z.state(0, true), z.state(0, false), z]);
    all
}

#[test]
fn scans_agree_in_both_directions_of_time() {
    for (batch, cols) in [(1, 1), (3, 5), (4, 8), (65, 3), (1, 1100), (2, 516)] {
        for steps in [1, 2, 9, 40] {
            for backward in [false, true] {
                check(&format!("{batch} x {cols}, {steps} steps"), dims(batch, steps), 1e-5, |c| {
                    all(c, cols, backward)
                });
            }
        }
    }
}

#[test]
fn scans_of_more_columns_than_a_grid_is_wide_agree() {
    check("9 x 70001", dims(9, 2), 1e-5, |c| {
        let x = c.feed(Type::sequence(70_001));
        vec![c.scope.apply(coupled(false), &[x, x]), c.scope.apply(filter(false), &[x])]
    });
}

fn in_loop<'s>(c: &'s Case, x: Tensor<'s>, f: impl Fn(Tensor<'s>) -> Tensor<'s>) -> Tensor<'s> {
    let state = c.scope.open(Arc::new(Delay { backward: false }), x.ty());
    let y = f(x + state.scale(0.4));
    c.scope.close(state, y);
    y
}

#[test]
fn scans_in_a_loop_agree() {
    for (batch, cols) in [(1, 1), (3, 5), (4, 8), (33, 36)] {
        check(&format!("{batch} x {cols} in a loop"), dims(batch, 7), 3e-5, |c| {
            let (x, row) = (c.feed(Type::sequence(cols)), c.parameter(1, cols));
            let y = in_loop(c, x, |x| c.scope.apply(coupled(false), &[x, row]));
            let kept = y.state(1, false);
            let z = in_loop(c, x, |x| c.scope.apply(filter(false), &[x]).tanh() + x * row);
            vec![y, kept, z]
        });
    }
}

#[test]
fn scans_have_their_derivatives() {
    for backward in [false, true] {
        crate::common::check_gradients("two operands", dims(3, 6), |c| {
            let x = c.feed(Type::sequence(5)) * c.parameter(1, 5);
            let y = c.scope.apply(coupled(backward), &[x, c.parameter(1, 5)]);
            (y * c.feed(Type::sequence(5))).mean_all()
        });
        crate::common::check_gradients("a held operand and a narrow one", dims(3, 6), |c| {
            let held = c.feed(Type::example(5)) * c.parameter(1, 5);
            let narrow = c.feed(Type::sequence(1)) * c.parameter(1, 1);
            let y = c.scope.apply(coupled(backward), &[held, narrow]);
            (y * c.feed(Type::sequence(5))).mean_all()
        });
        crate::common::check_gradients("a delayed filter", dims(3, 6), |c| {
            let x = c.feed(Type::sequence(5)) * c.parameter(1, 5);
            let y = c.scope.apply(filter(backward), &[x]);
            (y.tanh() * c.feed(Type::sequence(5))).mean_all()
        });
    }
    crate::common::check_gradients("in a loop", dims(3, 6), |c| {
        let w = c.parameter(5, 5);
        let (x, row) = (c.feed(Type::sequence(5)), c.parameter(1, 5));
        let y = in_loop(c, x, |x| {
            c.scope.apply(coupled(false), &[c.scope.apply(filter(false), &[x.dot(w).scale(0.3)]), row])
        });
        (y * c.feed(Type::sequence(5))).mean_all()
    });
}

#[test]
fn a_spike_has_the_derivative_of_its_surrogate() {
    // Of `spike(x w)`, summed: the surrogate's slope times x.
    for (surrogate, slope) in [
        (Surrogate::FastSigmoid(5.0), (|u: f64| 1.0 / (1.0 + 5.0 * u.abs()).powi(2)) as fn(f64) -> f64),
        (Surrogate::Arctan(2.0), |u| 1.0 / (1.0 + (std::f64::consts::PI * u).powi(2))),
        (Surrogate::Triangle(1.5), |u| 1.5 * (1.0 - 1.5 * u.abs()).max(0.0)),
        (Surrogate::StraightThrough, |_| 1.0),
    ] {
        let step = Step::new(1, |x| vec![x[0].spike(surrogate.bump())]);
        let adjoint = step.adjoint(1, 0, 0);
        for u in [-1.3, -0.2, 0.0, 0.4, 2.0] {
            assert_eq!(step.reference(|_| u), [f64::from(u > 0.0)]);
            let got = adjoint.reference(|i| if i == 0 { u } else { 3.0 })[0];
            // Its form has the coefficients in f32.
            assert!((got - 3.0 * slope(u)).abs() < 1e-6, "{surrogate:?} at {u}: {got}");
        }
    }
}
