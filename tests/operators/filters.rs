//! Filters as operators: in graphs, in loops and in chunks of time.

use std::sync::Arc;

use super::synapses::{DT, synapses, wide};
use crate::common::golden::Golden;
use crate::common::{Case, devices, dims};
use nengo_wgpu::internals::engine::Command;
use nengo_wgpu::internals::graph::{Tensor, Type};
use nengo_wgpu::internals::op::Delay;
use nengo_wgpu::internals::op::filter::{filter, lowpass};
use nengo_wgpu::internals::op::scan::Scan;
use nengo_wgpu::network::Synapse;

/// A filter of each kind, with and without a delay.
fn filters() -> Vec<(String, Scan)> {
    let mut filters = Vec::new();
    let golden = Golden::open("synapses");
    let kinds = ["lowpass_5ms", "alpha", "second_order", "pass_through_2", "gain", "triangle_10ms"];
    let kind = |(name, _): &(String, Synapse)| kinds.iter().any(|kind| name.contains(kind));
    for (name, synapse) in synapses(&golden).into_iter().filter(kind) {
        for delays in [false, true] {
            let scan = filter(&synapse.discretise(&name, DT).unwrap(), delays);
            filters.push((format!("{name}, delays: {delays}"), scan));
        }
    }
    filters
}

#[test]
fn filters_without_a_delay_see_their_input_at_once() {
    let mut golden = Golden::open("synapses");
    let x = golden.input("x");
    let given: Vec<f32> = x.iter().copied().collect();
    let names: Vec<(String, Synapse)> = synapses(&golden);
    let case = crate::common::build(dims(1, 200), |c| {
        let x = c.feed_of(Type::sequence(3), |i, _| given[i]);
        let one = |(name, s): &(String, Synapse)| x.filter(&filter(&s.discretise(name, DT).unwrap(), false));
        names.iter().map(one).collect()
    });
    for device in devices() {
        for ((name, _), y) in names.iter().zip(case.run(device)) {
            golden.check(&format!("{name}/filt"), device, &wide(&y));
        }
    }
    // `FilteredNoise` with given draws.
    let mut golden = Golden::open("processes");
    let draws: Vec<f32> = golden.input("filtered_noise/draws").iter().copied().collect();
    let case = crate::common::build(dims(1, 100), |c| {
        let x = c.feed_of(Type::sequence(2), |i, _| draws[i] / (DT as f32).sqrt());
        vec![x.filter(&filter(&Synapse::Lowpass(0.01).discretise("x", DT).unwrap(), false))]
    });
    for device in devices() {
        golden.check("filtered_noise/output", device, &wide(&case.run(device)[0]));
    }
}

/// `f` of an input and of what it gave the step before.
fn in_loop<'s>(c: &'s Case, x: Tensor<'s>, f: impl Fn(Tensor<'s>) -> Tensor<'s>) -> Tensor<'s> {
    let state = c.scope.open(Arc::new(Delay { backward: false }), x.ty());
    let y = f(x + state.scale(0.3));
    c.scope.close(state, y);
    y
}

#[test]
fn filters_agree_with_their_definition_in_and_out_of_loops() {
    for (batch, cols) in [(3, 5), (4, 8)] {
        for backward in [false, true] {
            crate::common::check(
                &format!("{batch} x {cols}, backward {backward}"),
                dims(batch, 21),
                2e-5,
                |c| {
                    let (x, held) = (c.feed(Type::sequence(cols)), c.feed(Type::example(cols)));
                    let mut all = Vec::new();
                    for (_, filter) in filters() {
                        let filter = Scan { backward, ..filter };
                        all.extend([x.filter(&filter), held.filter(&filter), (x * held).filter(&filter)]);
                        if !backward {
                            all.push(in_loop(c, x, |x| x.filter(&filter).tanh() + held));
                        }
                    }
                    all
                },
            );
        }
    }
}

#[test]
fn filters_have_their_derivatives_in_the_middle_of_a_graph() {
    for (name, filter) in filters() {
        crate::common::check_gradients(&name, dims(2, 9), |c| {
            let x = (c.feed(Type::sequence(3)) * c.parameter(1, 3)).tanh();
            (x.filter(&filter).tanh() * c.feed(Type::sequence(3))).mean_all()
        });
        crate::common::check_gradients(&format!("{name}, in a loop"), dims(2, 7), |c| {
            let (x, w) = (c.feed(Type::sequence(3)), c.parameter(3, 3));
            let y = in_loop(c, x, |x| x.dot(w).filter(&filter).tanh());
            (y * c.feed(Type::sequence(3))).mean_all()
        });
    }
}

#[test]
fn a_filter_that_decays_for_ever_becomes_zero() {
    for (name, filter) in filters() {
        let case = crate::common::build(dims(1, 4_000), |c| {
            let x = c.feed_of(Type::sequence(4), |i, _| if i < 4 { 1e-25 } else { 0.0 });
            vec![x.filter(&filter)]
        });
        for device in devices() {
            let y = case.run(device).remove(0);
            let denormal = y.iter().filter(|y| **y != 0.0 && y.abs() < f32::MIN_POSITIVE).count();
            assert_eq!(denormal, 0, "{name} on {device}");
            assert!(y.iter().any(|y| *y != 0.0), "{name} on {device}");
            assert_eq!(y[y.len() - 4..], [0.0; 4], "{name} on {device}");
        }
    }
}

/// True if a plan cuts a scan into chunks of time.
fn in_chunks(case: &crate::common::Ready, target: &nengo_wgpu::internals::engine::Target) -> bool {
    let commands = case.plan(target).recording.commands;
    commands.iter().any(|c| matches!(c, Command::Dispatch(d) if d.kernel.source().stem == "scan_combine"))
}

#[test]
fn few_columns_over_many_steps_run_in_chunks_and_agree() {
    let mut chunked = 0;
    for (batch, cols) in [(1, 1), (1, 4), (3, 5), (2, 8)] {
        for steps in [511, 512, 700, 1001] {
            for (a, b, backward) in
                [(0.98, 0.02, false), (-0.5, 1.0, true), (1.0, 0.01, false), (0.0, 1.0, true)]
            {
                let filter = Scan { backward, ..lowpass(a, b, true) };
                let case = crate::common::build(dims(batch, steps), |c| {
                    let x = c.feed(Type::sequence(cols));
                    vec![x.filter(&filter), x.tanh().filter(&filter).filter(&filter)]
                });
                case.check(&format!("{batch} x {cols}, {steps} steps, {filter:?}"), 2e-5);
                for device in devices() {
                    chunked += crate::common::targets(device).iter().filter(|t| in_chunks(&case, t)).count();
                }
            }
        }
    }
    assert!(chunked > 150, "{chunked} plans with chunks");
}

#[test]
fn chunks_have_the_derivatives_of_the_filter() {
    crate::common::check_gradients("a long filter", dims(2, 520), |c| {
        let x = (c.feed(Type::sequence(3)) * c.parameter(1, 3)).tanh();
        (x.filter(&lowpass(0.9, 0.1, true)).tanh() * c.feed(Type::sequence(3))).mean_all()
    });
}
