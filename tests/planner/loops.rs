//! Loops that walk through time inside of a shader, against the same loops dispatched step by step, and the CPU twin.

use std::sync::Arc;

use crate::common::{Case, Ready, compare, devices, dims, targets};
use nengo_wgpu::internals::builder::gradient::gradient;
use nengo_wgpu::internals::engine::{Command, Target};
use nengo_wgpu::internals::graph::{Dims, State, Tensor, Type, ValueId};
use nengo_wgpu::internals::neuron::{Lif, NeuronType, Spiking};
use nengo_wgpu::internals::op::filter::lowpass;
use nengo_wgpu::internals::op::neurons::Setting;
use nengo_wgpu::internals::plan::{Plan, Report};
use nengo_wgpu::train::Surrogate;

/// Some values, the mean of their squares, and its gradient for all parameters.
fn with_gradients(dims: Dims, f: impl for<'s> Fn(&'s Case) -> Tensor<'s>) -> Ready {
    let case = Case::new(dims);
    let outputs: Vec<ValueId> = {
        let y = f(&case);
        let loss = y.square().mean_all();
        let adjoints = gradient(&case.scope, loss, &case.parameter_ids(), |_| "p".into()).unwrap();
        [y, loss].into_iter().chain(adjoints.into_iter().flatten()).map(|t| t.id).collect()
    };
    case.ready(outputs)
}

/// Dispatches of each loop that walks through time inside of its shader; zero for those that do not.
fn fused(plan: &Plan) -> Vec<usize> {
    let repeat = |c: &Command| match c {
        Command::Repeat { fused, .. } => Some(fused.len()),
        _ => None,
    };
    plan.recording.commands.iter().filter_map(repeat).collect()
}

/// A device that must dispatch loops step by step.
fn step_by_step(target: &Target) -> Target {
    Target { max_buffers: 0, ..target.clone() }
}

/// With the adapter's first `kernels` families of kernels, the loops are fused, and give what they give step by step and on the CPU
/// twin, twice.
fn same(what: &str, case: &Ready, loops: usize, kernels: usize) {
    let kernels = kernels.min(targets(&devices()[0]).len());
    let [adapter, cpu] = devices();
    let wide = |run: Vec<Vec<f32>>| -> Vec<Vec<f64>> {
        run.into_iter().map(|x| x.into_iter().map(f64::from).collect()).collect()
    };
    let twin = wide(case.run(cpu));
    for target in &targets(adapter)[..kernels] {
        let what = format!("{what} as {:?}", target.family);
        // An adapter with few buffers a kernel, as SwiftShader with 10, must leave the larger of these loops as they are.
        if target.max_buffers > 16 {
            assert_eq!(fused(&case.plan(target)), vec![1; loops], "{what}");
        }
        assert_eq!(fused(&case.plan(&step_by_step(target))), vec![0; loops], "{what}");
        let run = case.run_as(adapter, target);
        assert_eq!(run, case.run_as(adapter, target), "{what}: not the same twice");
        compare(&what, &run, &wide(case.run_as(adapter, &step_by_step(target))), 1e-5);
        compare(&what, &run, &twin, 2e-5);
    }
}

/// A matrix of numbers around 1 divided by the number of inputs.
fn weights<'s>(c: &'s Case, outputs: usize, inputs: usize) -> Tensor<'s> {
    c.parameter(outputs, inputs).scale(1.0 / inputs as f32)
}

/// Rectified units that hear themselves through a lowpass.
fn rectified<'s>(c: &'s Case, inputs: usize, units: usize) -> Tensor<'s> {
    let x = c.feed(Type::sequence(inputs)).dot(c.parameter(units, inputs)) + c.parameter(1, units);
    let heard = c.scope.open(Arc::new(lowpass(0.7, 0.3, true)), Type::sequence(units));
    let y = (x + heard.dot(weights(c, units, units))).relu();
    c.scope.close(heard, y);
    y
}

/// Spiking neurons with these currents.
fn spiking<'s>(current: Tensor<'s>, training: Spiking) -> Tensor<'s> {
    let neuron = NeuronType::from(Lif { amplitude: 0.005, ..Lif::default() });
    let states: Vec<State> = neuron.states().into_iter().map(|(name, _)| State::at(name, 0.0)).collect();
    neuron.output(current, &Setting { dt: 0.001, training: Some(training), states: &states, random: None })
}

#[test]
fn rectified_units_of_any_number_learn_as_they_do_step_by_step() {
    for (units, batch, kernels) in [(1, 5, 2), (3, 1, 2), (33, 33, 2), (64, 33, 6), (64, 70, 1), (160, 9, 1)]
    {
        let case = with_gradients(dims(batch, 7), |c| rectified(c, 5, units));
        same(&format!("{units} units, {batch} examples"), &case, 2, kernels);
    }
}

#[test]
fn spiking_neurons_learn_with_a_surrogate_as_they_do_step_by_step() {
    let training = Spiking::Surrogate(Surrogate::FastSigmoid(10.0));
    for (units, batch) in [(3, 33), (33, 1), (36, 5)] {
        let case = with_gradients(dims(batch, 20), |c| {
            let drive = c.feed_of(Type::sequence(units), |_, x| 2.5 + x);
            let heard = c.scope.open(Arc::new(lowpass(0.8, 0.2, true)), Type::sequence(units));
            let y = spiking(drive + heard.dot(weights(c, units, units)), training);
            c.scope.close(heard, y);
            y.filter(&lowpass(0.9, 0.1, false))
        });
        same(&format!("{units} neurons, {batch} examples"), &case, 2, 2);
    }
}

#[test]
fn two_populations_that_drive_each_other_walk_through_time_together() {
    let training = Spiking::Surrogate(Surrogate::FastSigmoid(10.0));
    for (a, b, batch) in [(8, 12, 5), (33, 3, 33)] {
        let case = with_gradients(dims(batch, 15), |c| {
            let (to_a, to_b) = (Arc::new(lowpass(0.8, 0.2, true)), Arc::new(lowpass(0.6, 0.4, true)));
            let from_b = c.scope.open(to_a, Type::sequence(2));
            let from_a = c.scope.open(to_b, Type::sequence(a));
            let drive = c.feed_of(Type::sequence(a), |_, x| 2.5 + x);
            let first = spiking(drive + from_b.dot(c.parameter(a, 2)), training);
            c.scope.close(from_a, first);
            let second = (from_a.dot(weights(c, b, a)) + c.parameter(1, b)).tanh();
            c.scope.close(from_b, second.dot(weights(c, 2, b)));
            first.filter(&lowpass(0.9, 0.1, false)).dot(c.parameter(2, a)) + second.dot(c.parameter(2, b))
        });
        same(&format!("{a} and {b} neurons, {batch} examples"), &case, 2, 2);
    }
}

#[test]
fn columns_are_cut_out_and_put_together_inside_of_a_loop() {
    for (n, batch) in [(8, 5), (5, 9)] {
        let case = with_gradients(dims(batch, 6), |c| {
            let x = c.feed(Type::sequence(2 * n));
            let before = c
                .scope
                .open(Arc::new(nengo_wgpu::internals::op::Delay { backward: false }), Type::sequence(2 * n));
            let (left, right) = (before.slice(0, n), before.slice(n, n));
            let turned = right.dot(weights(c, n, n)).concat(&[left.tanh()]);
            let y = x + turned.scale(0.7);
            c.scope.close(before, y);
            y
        });
        same(&format!("halves of {n} columns"), &case, 2, 2);
    }
}

#[test]
fn several_products_side_by_side_walk_through_time() {
    for (groups, n, batch) in [(3, 4, 5), (2, 32, 16), (4, 3, 20)] {
        let cols = groups * n;
        let case = with_gradients(dims(batch, 6), |c| {
            let x = c.feed(Type::sequence(cols));
            let heard = c.scope.open(Arc::new(lowpass(0.7, 0.3, true)), Type::sequence(cols));
            let y = (x + heard.dot_groups(weights(c, cols, n), groups)).relu();
            c.scope.close(heard, y);
            y
        });
        same(&format!("{groups} groups of {n}"), &case, 2, 2);
    }
}

#[test]
fn a_long_window_is_cut_into_dispatches_that_continue_each_other() {
    let adapter = &devices()[0];
    let steps = 3000;
    let case = with_gradients(dims(33, steps), |c| rectified(c, 2, 48));
    let plan = case.plan(adapter.target());
    let dispatches = fused(&plan);
    assert!(dispatches.iter().all(|&n| n > 1 && n < 100), "{dispatches:?}");
    assert_eq!(Report::of(&plan).dispatches_per_step, 0);
    let wide = |run: Vec<Vec<f32>>| -> Vec<Vec<f64>> {
        run.into_iter().map(|x| x.into_iter().map(f64::from).collect()).collect()
    };
    let reference = wide(case.run_as(adapter, &step_by_step(adapter.target())));
    compare("a long window", &case.run(adapter), &reference, 1e-5);
}

#[test]
fn a_dispatch_of_a_loop_ends_before_a_lane_has_turned_as_often_as_it_may() {
    let [adapter, cpu] = devices();
    for (units, batch, steps) in [(48, 1, 1800), (96, 33, 450), (31, 5, 3400), (8, 33, 5000)] {
        let case = crate::common::build(dims(batch, steps), |c| vec![rectified(c, 2, units)]);
        assert!(fused(&case.plan(adapter.target()))[0] > 1, "{units} units, {batch} examples");
        let twin = case.run(cpu)[0].iter().map(|x| f64::from(*x)).collect();
        compare(&format!("{units} units, {batch} examples"), &case.run(adapter), &[twin], 2e-5);
    }
}

#[test]
fn an_operator_without_a_part_in_a_loops_shader_leaves_the_loop_to_dispatches_of_each_step() {
    let case = crate::common::build(dims(5, 6), |c| {
        let heard = c.scope.open(Arc::new(lowpass(0.7, 0.3, true)), Type::sequence(4));
        let y = (c.feed(Type::sequence(4)) + heard.dot(c.parameter(4, 4))).softmax();
        c.scope.close(heard, y);
        vec![y]
    });
    let plan = case.plan(devices()[0].target());
    assert_eq!(fused(&plan), [0]);
    assert!(Report::of(&plan).dispatches_per_step >= 3);
    case.check("a softmax in a loop", 1e-5);
}
