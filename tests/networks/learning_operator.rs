//! The operator of changing weights against its reference.

use std::sync::Arc;

use crate::common::{Case, check, dims};
use nengo_wgpu::internals::graph::{State, Tensor, Type};
use nengo_wgpu::internals::op::{Delay, Learn};

/// Random signals and weights of 3 × 37 through the operator.
fn learn<'s>(c: &'s Case, decays: bool, based: bool) -> Tensor<'s> {
    let (rows, cols) = (3, 37);
    let signal = |cols: usize| c.feed(Type::sequence(cols));
    let mut inputs = vec![signal(cols), signal(rows), signal(cols)];
    inputs.extend(decays.then(|| signal(rows).square().scale(0.5)));
    inputs.extend(based.then(|| c.parameter(rows, cols)));
    let start = crate::common::uniform(5, rows * cols, -1.0, 1.0);
    c.scope.apply(Learn { rows, cols, decays, based, change: [State { name: "change", start }] }, &inputs)
}

#[test]
fn products_with_changing_weights_are_those_of_the_reference() {
    for (decays, based) in [(false, false), (false, true), (true, false), (true, true)] {
        let what = format!("decays: {decays}, based: {based}");
        check(&what, dims(3, 5), 1e-5, |c| vec![learn(c, decays, based)]);
        check(&format!("{what}, with history"), dims(2, 4), 1e-5, |c| {
            let y = learn(c, decays, based);
            vec![y, y.state(0, true), y.state(0, false)]
        });
    }
}

#[test]
fn weights_may_depend_on_what_they_gave_before() {
    for history in [false, true] {
        check(&format!("a loop, history: {history}"), dims(2, 6), 1e-5, |c| {
            let (rows, cols) = (3, 37);
            let late = c.scope.open(Arc::new(Delay { backward: false }), Type::sequence(rows));
            let inputs = [c.feed(Type::sequence(cols)), late, c.feed(Type::sequence(cols))];
            let change = [State::at("change", 0.1)];
            let y = c.scope.apply(Learn { rows, cols, decays: false, based: false, change }, &inputs);
            c.scope.close(late, y.scale(0.1));
            if history { vec![y, y.state(0, true)] } else { vec![y] }
        });
    }
}

#[test]
fn a_sum_of_columns_in_a_loop_stays_in_its_row() {
    check("a loop", dims(1, 5), 1e-5, |c| {
        let late = c.scope.open(Arc::new(Delay { backward: false }), Type::sequence(1));
        let sum = (c.feed(Type::sequence(7)) + late).sum_cols();
        c.scope.close(late, sum.scale(0.1));
        vec![sum]
    });
}
