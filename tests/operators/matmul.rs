//! Matrix products in every form, with every shader, on an adapter and on the CPU twin against f64.

use crate::common::{Case, Ready, compare, devices, dims, targets};
use nengo_wgpu::internals::engine::cpu::form::Form;
use nengo_wgpu::internals::graph::{Tensor, Type};
use nengo_wgpu::internals::op::Matmul;
use nengo_wgpu::internals::op::filter::lowpass;
use nengo_wgpu::internals::op::scan::Scan;

/// Rows of the first input, and sizes of the product: one, odd, whole vectors, and around the sizes of tiles.
const SIZES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (1, 17, 5),
    (3, 5, 7),
    (4, 8, 12),
    (5, 64, 16),
    (7, 1, 13),
    (13, 3, 1),
    (16, 32, 32),
    (17, 63, 65),
    (33, 36, 20),
    (63, 65, 17),
    (64, 64, 64),
    (65, 100, 63),
    (130, 68, 96),
];

fn check(what: &str, case: &Ready, tolerance: f64) {
    let reference = case.reference();
    for device in devices() {
        for target in targets(device) {
            let what = format!("{what} on {device} as {:?}", target.family);
            compare(&what, &case.run_as(device, &target), &reference, tolerance);
        }
    }
}

fn product<'s>(form: Form, groups: usize, x: Tensor<'s>, y: Tensor<'s>) -> Tensor<'s> {
    x.scope.apply(Matmul { form, groups, epilogue: None }, &[x, y])
}

#[test]
fn products_agree_in_every_form_at_every_size() {
    for (m, n, k) in SIZES {
        let case = crate::common::build(dims(m, 1), |c| {
            let (x, z) = (c.feed(Type::example(k)), c.feed(Type::example(n)));
            let w = c.parameter(n, k);
            let fixed = c.parameter(3, k);
            vec![
                product(Form::Nt, 1, x, w),
                product(Form::Nn, 1, z, w),
                product(Form::Tn, 1, z, x),
                product(Form::Nt, 1, fixed, w),
            ]
        });
        check(&format!("{m} x {n} x {k}"), &case, 1e-5);
    }
}

#[test]
fn products_in_groups_agree_in_every_form() {
    for (groups, (m, n, k)) in
        [(2, (5, 3, 7)), (3, (17, 8, 4)), (4, (1, 1, 1)), (2, (40, 36, 64)), (7, (3, 5, 1))]
    {
        let case = crate::common::build(dims(m, 1), |c| {
            let (x, z) = (c.feed(Type::example(groups * k)), c.feed(Type::example(groups * n)));
            let w = c.parameter(groups * n, k);
            vec![
                x.dot_groups(w, groups),
                product(Form::Nn, groups, z, w),
                product(Form::Tn, groups, z, x),
                (x.dot_groups(w, groups) + c.parameter(1, groups * n)).tanh(),
            ]
        });
        check(&format!("{groups} groups of {m} x {n} x {k}"), &case, 1e-5);
    }
}

#[test]
fn epilogues_with_every_kind_of_operand_agree() {
    for (m, n, k) in SIZES {
        let case = crate::common::build(dims(m, 1), |c| {
            let (x, z) = (c.feed(Type::example(k)), c.feed(Type::example(n)));
            let (w, bias) = (c.parameter(n, k), c.parameter(1, n));
            let (column, one) = (c.feed(Type::example(1)), c.feed(Type::fixed(1, 1)));
            vec![
                (x.dot(w) + bias).relu(),
                x.dot(w) * z,
                (x.dot(w) * column + one) * z - bias,
                (product(Form::Nn, 1, z, w) + column).sigmoid(),
                z - x.dot(w).scale(0.5),
            ]
        });
        check(&format!("{m} x {n} x {k}"), &case, 1e-5);
    }
}

#[test]
fn operands_that_start_anywhere_in_their_buffer_agree() {
    // The output of a delaying filter that runs backward starts one step into its history.
    for (m, n, k) in [(1, 4, 4), (3, 5, 7), (5, 12, 8), (3, 64, 3), (17, 33, 34)] {
        let filter = |backward| Scan { backward, ..lowpass(0.5, 0.5, true) };
        let case = crate::common::build(dims(m, 3), |c| {
            let (x, z) = (c.feed(Type::sequence(k)), c.feed(Type::sequence(n)));
            let w = c.parameter(n, k);
            let (x, z) = (x.filter(&filter(true)), z.filter(&filter(false)));
            vec![x.dot(w), product(Form::Nn, 1, z, w), product(Form::Tn, 1, z, x), x.dot(w).relu() * z]
        });
        check(&format!("{m} x {n} x {k}"), &case, 1e-5);
    }
}

#[test]
fn sums_over_many_rows_are_made_in_parts_and_agree() {
    for (rows, n, k) in [(512, 3, 5), (1030, 8, 4), (4099, 17, 1), (9000, 20, 12), (70_000, 2, 3)] {
        let case = crate::common::build(dims(rows, 1), |c| {
            let (x, z) = (c.feed(Type::example(k)), c.feed(Type::example(n)));
            vec![product(Form::Tn, 1, z, x)]
        });
        check(&format!("{rows} rows"), &case, 2e-5);
    }
    let case = crate::common::build(dims(1500, 1), |c| {
        let (x, z) = (c.feed(Type::example(6)), c.feed(Type::example(10)));
        vec![product(Form::Tn, 2, z, x)]
    });
    check("1500 rows in two groups", &case, 2e-5);
}

#[test]
fn products_in_a_loop_over_time_agree() {
    for (batch, n) in [(1, 1), (1, 4), (3, 5), (4, 8), (5, 64), (17, 13), (33, 68)] {
        let case = Case::new(dims(batch, 5));
        let outputs = {
            let (x, held) = (case.feed(Type::sequence(n)), case.feed(Type::example(n)));
            let w = case.parameter(n, n);
            let groups = if n % 2 == 0 { 2 } else { 1 };
            let blocks = case.parameter(n, n / groups);
            let on_cycle = |f: &dyn Fn(Tensor<'_>) -> nengo_wgpu::internals::graph::ValueId| {
                let state = case
                    .scope
                    .open(std::sync::Arc::new(nengo_wgpu::internals::op::Delay { backward: false }), x.ty());
                let y = case.scope.tensor(f(state));
                case.scope.close(state, y);
                y.id
            };
            let small = 1.0 / (n as f32).sqrt();
            vec![
                on_cycle(&|s| (case.scope.tensor(s.id).dot(w).scale(small) + x).tanh().id),
                on_cycle(&|s| (product(Form::Nn, 1, case.scope.tensor(s.id), w).scale(small) * held + x).id),
                on_cycle(&|s| (case.scope.tensor(s.id).dot_groups(blocks, groups).scale(small) + x).id),
            ]
        };
        check(&format!("{batch} x {n}"), &case.ready(outputs), 1e-5);
    }
}

#[test]
fn more_groups_than_workgroups_lie_along_an_axis_are_multiplied() {
    crate::common::check("70,000 groups", dims(2, 1), 1e-5, |c| {
        let groups = 70_000;
        vec![c.feed(Type::example(2 * groups)).dot_groups(c.parameter(groups, 2), groups)]
    });
}
