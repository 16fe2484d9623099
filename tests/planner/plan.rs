//! Plans of graphs: the operators in loops and outside, fused ones, and values that stay the same.

use std::sync::Arc;

use crate::common::{Case, Ready, devices, dims};
use nengo_wgpu::internals::builder::gradient::gradient;
use nengo_wgpu::internals::engine::Command;
use nengo_wgpu::internals::expr::Unary;
use nengo_wgpu::internals::graph::{Extent, Tensor, Type};
use nengo_wgpu::internals::op::Delay;
use nengo_wgpu::internals::op::filter::lowpass;
use nengo_wgpu::internals::plan::{Plan, Stage};
use nengo_wgpu::network::{Connection, Layer, Network, Node};
use nengo_wgpu::{Device, Error, Simulator};
use proptest::prelude::*;

fn loops(plan: &Plan) -> Vec<&Stage> {
    plan.stages.iter().filter(|s| matches!(s, Stage::Loop { .. })).collect()
}

/// Operators of a plan by name and the output's extent, in or out of loops.
fn operators(plan: &Plan, in_loop: bool, name: &str) -> Vec<Type> {
    let stages = plan.stages.iter().filter(|s| matches!(s, Stage::Loop { .. }) == in_loop);
    let nodes = stages.flat_map(Stage::nodes).map(|n| plan.graph.node(*n));
    nodes.filter(|n| n.op.name() == name).map(|n| plan.graph.ty(n.output)).collect()
}

fn plan(case: &Ready) -> Plan {
    case.plan(devices()[0].target())
}

#[test]
fn a_network_without_cycles_has_no_loop() {
    let case = crate::common::build(dims(3, 50), |c| {
        let x = c.feed(Type::sequence(4)).filter(&lowpass(0.5, 0.5, true));
        let y = (x.dot(c.parameter(5, 4)) + c.parameter(1, 5)).relu().delay();
        vec![y.dot(c.parameter(2, 5))]
    });
    let plan = plan(&case);
    assert!(loops(&plan).is_empty(), "{:?}", plan.stages);
    assert!(!plan.recording.commands.iter().any(|c| matches!(c, Command::Repeat { .. })));
}

#[test]
fn a_held_input_is_multiplied_once_and_not_at_each_step() {
    let case = crate::common::build(dims(3, 50), |c| {
        let held = c.feed(Type::example(4)).dot(c.parameter(5, 4));
        let state = c.scope.open(Arc::new(Delay { backward: false }), Type::sequence(5));
        let y = (held + state.dot(c.parameter(5, 5))).tanh();
        c.scope.close(state, y);
        vec![y]
    });
    let plan = plan(&case);
    let outside = operators(&plan, false, "matmul");
    assert_eq!(outside.iter().map(|t| t.extent).collect::<Vec<_>>(), [Extent::Example]);
    assert_eq!(outside[0].total_rows(dims(3, 50)), 3);
    assert_eq!(operators(&plan, true, "matmul").len(), 1);
}

#[test]
fn operators_that_no_cycle_needs_stay_out_of_the_loop() {
    let case = crate::common::build(dims(2, 9), |c| {
        let x = c.feed(Type::sequence(4)).dot(c.parameter(5, 4)).tanh();
        let state = c.scope.open(Arc::new(Delay { backward: false }), Type::sequence(5));
        let y = x + state.scale(0.5);
        c.scope.close(state, y);
        vec![y.dot(c.parameter(3, 5))]
    });
    let plan = plan(&case);
    assert_eq!(operators(&plan, false, "matmul").len(), 2, "before and after the loop, each over all steps");
    assert_eq!(operators(&plan, true, "matmul").len(), 0);
}

#[test]
fn the_gradient_of_recurrent_weights_is_one_product_after_the_loop() {
    let case = Case::new(dims(3, 20));
    let outputs = {
        let (x, w) = (case.feed(Type::sequence(4)), case.parameter(4, 4));
        let state = case.scope.open(Arc::new(Delay { backward: false }), x.ty());
        let y = (x + state.dot(w)).tanh();
        case.scope.close(state, y);
        let loss = y.square().mean_all();
        let adjoints = gradient(&case.scope, loss, &case.parameter_ids(), |_| "w".into()).unwrap();
        vec![adjoints[0].unwrap().id]
    };
    let plan = plan(&case.ready(outputs));
    let loops = loops(&plan);
    let backward: Vec<bool> = loops.iter().map(|s| matches!(s, Stage::Loop { backward: true, .. })).collect();
    assert_eq!(backward, [false, true]);
    assert_eq!(operators(&plan, false, "matmul"), [Type::fixed(4, 4)]);
    assert_eq!(operators(&plan, true, "matmul").len(), 2, "one in each direction of time");
}

/// `tanh(x + W y of the step before)`.
pub(super) fn recurrent<'s>(c: &'s Case, x: Tensor<'s>) -> Tensor<'s> {
    let cols = x.ty().cols;
    let state = c.scope.open(Arc::new(Delay { backward: false }), Type::sequence(cols));
    let y = (x + state.dot(c.parameter(cols, cols))).tanh();
    c.scope.close(state, y);
    y
}

#[test]
fn loops_that_do_not_wait_for_each_other_run_as_one() {
    let case = crate::common::build(dims(3, 20), |c| {
        let a = recurrent(c, c.feed(Type::sequence(4)).dot(c.parameter(4, 4)));
        let b = recurrent(c, c.feed(Type::sequence(5)));
        // Of one loop alone, and of both.
        let sum = a.dot(c.parameter(2, 4)) + b.dot(c.parameter(2, 5));
        vec![a.scale(2.0), sum]
    });
    for device in devices() {
        let plan = case.plan(device.target());
        assert_eq!(loops(&plan).len(), 1, "{:?}", plan.stages);
        let repeats = plan.recording.commands.iter().filter(|c| matches!(c, Command::Repeat { .. }));
        assert_eq!(repeats.count(), 1);
    }
    case.check("two loops abreast", 1e-5);
}

#[test]
fn a_loop_that_reads_from_another_runs_after_it() {
    let case = crate::common::build(dims(3, 20), |c| {
        let a = recurrent(c, c.feed(Type::sequence(4)));
        let b = recurrent(c, a.dot(c.parameter(5, 4)));
        // A third one could run with either, and joins the first.
        vec![b, recurrent(c, c.feed(Type::sequence(3)))]
    });
    let plan = plan(&case);
    let sizes: Vec<usize> = loops(&plan).iter().map(|s| s.nodes().len()).collect();
    assert_eq!(sizes.len(), 2);
    assert_eq!(sizes[0], 2 * sizes[1]);
    case.check("two loops in a row and one beside", 1e-5);
}

#[test]
fn gradients_of_loops_abreast_run_abreast_in_the_other_direction() {
    let case = Case::new(dims(2, 8));
    let outputs: Vec<_> = {
        let [a, b] = [3, 4].map(|n| recurrent(&case, case.feed(Type::sequence(n))));
        let loss = a.square().mean_all() + b.square().mean_all();
        let adjoints = gradient(&case.scope, loss, &case.parameter_ids(), |_| "w".into()).unwrap();
        adjoints.into_iter().map(|a| a.unwrap().id).collect()
    };
    let case = case.ready(outputs);
    let backward: Vec<bool> =
        loops(&plan(&case)).iter().map(|s| matches!(s, Stage::Loop { backward: true, .. })).collect();
    assert_eq!(backward, [false, true]);
    case.check("gradients of two loops", 1e-5);
}

#[test]
fn a_cycle_without_a_delay_is_refused_with_its_objects() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(2)).unwrap();
    let a = net.layer("first", Layer::dense(2), x).unwrap();
    let b = net.layer("second", Layer::dense(2), a).unwrap();
    net.connect(b, a, Connection::new()).unwrap();
    net.probe("p", b).unwrap();
    for device in devices() {
        match Simulator::new(&net, device).err() {
            Some(Error::CycleWithoutDelay { objects }) => {
                for name in ["first", "second"] {
                    assert!(objects.iter().any(|o| o == name), "{objects:?}");
                }
                assert_eq!(objects.first(), objects.last());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn constants_are_folded_into_expressions() {
    let case = crate::common::build(dims(3, 1), |c| {
        let x = c.feed(Type::example(4));
        let half = c.scope.constant(1.0) / c.scope.constant(2.0);
        vec![((x * half + c.scope.constant(0.0)) * c.scope.constant(1.0)).tanh().scale(3.0)]
    });
    let plan = plan(&case);
    assert!(plan.constants.is_empty(), "{:?}", plan.constants);
    assert_eq!(plan.recording.commands.len(), 1);
}

#[test]
fn a_step_of_a_perceptron_costs_few_dispatches() {
    let case = Case::new(dims(16, 1));
    let outputs = {
        let mut x = case.feed(Type::example(8));
        for (n, k) in [(12, 8), (12, 12)] {
            x = (x.dot(case.parameter(n, k)) + case.parameter(1, n)).relu();
        }
        let y = x.dot(case.parameter(4, 12)) + case.parameter(1, 4);
        let class = case.feed_of(Type::example(1), |_, _| 1.0);
        let loss = y.cross_entropy(class).mean_all();
        let adjoints = gradient(&case.scope, loss, &case.parameter_ids(), |_| "w".into()).unwrap();
        adjoints.into_iter().map(|a| a.unwrap().id).chain([loss.id]).collect()
    };
    let plan = plan(&case.ready(outputs));
    // Forward 3 products with bias and ReLU in their ends, loss and its mean; backward the logits' adjoint, 2 products
    // with the ReLU's derivative in their ends, 3 products for weights, 3 sums for biases.
    let names: Vec<&str> =
        plan.stages.iter().flat_map(Stage::nodes).map(|n| plan.graph.node(*n).op.name()).collect();
    assert_eq!(plan.recording.commands.len(), 14, "{names:?}");
}

/// A graph of random operators on random values: each pair of bytes is an operator and which value it reads.
fn random_graph(c: &Case, genes: &[(u8, u8)], recurrent: bool) -> Vec<nengo_wgpu::internals::graph::ValueId> {
    let cols = 4;
    let state = c.scope.open(Arc::new(Delay { backward: false }), Type::sequence(cols));
    let mut values: Vec<Tensor<'_>> = vec![
        c.feed(Type::sequence(cols)),
        c.feed(Type::example(cols)),
        c.parameter(1, cols),
        c.scope.constant(0.5),
    ];
    if recurrent {
        values.push(state);
    }
    for &(op, which) in genes {
        let x = values[usize::from(which) % values.len()];
        let y = values[usize::from(which / 16) % values.len()];
        let wide = |t: Tensor<'_>| t.ty().cols == cols;
        values.push(match op % 12 {
            0 => x + y,
            1 => x * y,
            2 => x - y.scale(0.5),
            3 => x.tanh(),
            4 => x.unary(Unary::Sigmoid),
            5 if wide(x) => x.softmax(),
            6 if wide(x) => x.dot(c.parameter(cols, cols)).tanh(),
            7 => x.sum_cols().scale(0.1) + y,
            8 => x.mean_all() * y,
            9 if x.ty().extent == Extent::Sequence => x.delay(),
            10 if wide(x) => x.slice(1, 2).concat(&[x.slice(0, 2)]),
            11 => x.scale(0.0) + (x * c.scope.constant(1.0)) + c.scope.constant(0.0),
            _ => x.scale(-1.0),
        });
    }
    let last = values[values.len() - 1];
    // A mean over all steps cannot be a part of a step: only what is a sequence closes the cycle.
    let back = values.iter().rev().find(|v| v.ty() == Type::sequence(cols)).copied().unwrap_or(values[0]);
    c.scope.close(state, back.tanh().scale(0.5));
    let several = [last.id, values[values.len() / 2].id, last.tanh().id, last.tanh().square().id];
    several.into_iter().chain(recurrent.then_some(back.id)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn simplified_graphs_keep_their_values(
        genes in prop::collection::vec(any::<(u8, u8)>(), 1..12),
        batch in 1_usize..4,
        steps in 2_usize..5,
        recurrent in any::<bool>(),
    ) {
        let case = Case::new(dims(batch, steps));
        let outputs = random_graph(&case, &genes, recurrent);
        let case = case.ready(outputs);
        let device: &Device = &devices()[1];
        if case.try_plan(device.target()).is_err() {
            prop_assert!(recurrent, "refused without a cycle");
            return Ok(());
        }
        // A planned graph needs no later step.
        for (ours, reference) in case.run(device).iter().zip(&case.reference()) {
            let scale = reference.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
            for (x, y) in ours.iter().zip(reference) {
                prop_assert!((f64::from(*x) - y).abs() < 1e-4 * scale, "{x} for {y}");
            }
        }
    }
}

#[test]
fn wide_values_of_a_loop_are_computed_again_instead_of_kept() {
    // 4 narrow columns, 64 wide ones: of what grows with the steps, one wide value (the adjoint of the currents, which
    // the gradients of the weights read) is kept, and the activities take its place when it has been read.
    let floats = |steps: usize, backward: bool| -> usize {
        let c = Case::new(dims(8, steps));
        let outputs = {
            let filter = lowpass(0.7, 0.3, true);
            let signal = c.scope.open(Arc::new(filter), Type::sequence(4));
            let activity = (signal.dot(c.parameter(64, 4)) + c.parameter(1, 64)).tanh();
            let decoded = activity.dot(c.parameter(4, 64));
            c.scope.close(signal, decoded + c.feed(Type::sequence(4)));
            let loss = decoded.square().mean_all();
            let ids = if backward { c.parameter_ids() } else { Vec::new() };
            let adjoints = gradient(&c.scope, loss, &ids, |_| "p".into()).unwrap();
            adjoints.into_iter().flatten().chain([loss]).map(|t| t.id).collect()
        };
        let plan = plan(&c.ready(outputs));
        plan.recording.locals.iter().map(|l| l.0).sum()
    };
    let per_step = |backward| (floats(30, backward) - floats(10, backward)) / 20 / 8;
    assert!(per_step(false) <= 4 * 4, "{} floats a step and example forward", per_step(false));
    assert!(per_step(true) <= 64 + 8 * 4, "{} floats a step and example with gradients", per_step(true));
}
