//! What the planner promises: what loops and what does not, what is fused, and values that stay the same.

use std::sync::Arc;

use crate::common::{Case, Ready, devices, dims};
use ndarray::{Array2, Array3};
use nengo_wgpu::builder::gradient::gradient;
use nengo_wgpu::engine::{Command, DeviceKind};
use nengo_wgpu::expr::Unary;
use nengo_wgpu::graph::{Extent, Tensor, Type};
use nengo_wgpu::network::{Activation, Connection, Init, Layer, Network, Node, Synapse, Transform};
use nengo_wgpu::op::Delay;
use nengo_wgpu::op::filter::lowpass;
use nengo_wgpu::plan::report::{StageKind, StageReport};
use nengo_wgpu::plan::{Plan, Report, Stage};
use nengo_wgpu::{Data, Device, Error, Options, Simulator};
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
fn what_does_not_depend_on_a_cycle_stays_out_of_the_loop() {
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
fn recurrent<'s>(c: &'s Case, x: Tensor<'s>) -> Tensor<'s> {
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
fn random_graph(c: &Case, genes: &[(u8, u8)], recurrent: bool) -> Vec<nengo_wgpu::graph::ValueId> {
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
        // What is planned needs no step that is yet to come.
        for (ours, reference) in case.run(device).iter().zip(&case.reference()) {
            let scale = reference.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
            for (x, y) in ours.iter().zip(reference) {
                prop_assert!((f64::from(*x) - y).abs() < 1e-4 * scale, "{x} for {y}");
            }
        }
    }
}

/// A network that remembers: filters, a cycle, a probe with a synapse.
fn remembering() -> Network {
    let mut net = Network::new(2);
    let x = net.node("x", Node::Input(3)).unwrap();
    let wave = net.node("wave", Node::function(1, |t| vec![(50.0 * t).sin() as f32])).unwrap();
    let a = net.layer("a", Layer::dense(5).activation(Activation::Tanh), x).unwrap();
    let dense = || Connection::new().transform(Transform::Dense(Init::Glorot));
    net.connect(a, a, dense().synapse(Synapse::Lowpass(0.005))).unwrap();
    net.connect(wave, a, dense()).unwrap();
    let b = net.layer("b", Layer::dense(2), a).unwrap();
    net.probe("raw", b).unwrap();
    net.add_probe("filtered", nengo_wgpu::network::Target::Output(b, Some(Synapse::Lowpass(0.01)))).unwrap();
    net
}

#[test]
fn ten_steps_at_once_are_ten_steps_and_three_and_seven() {
    let net = remembering();
    let x = Array2::from_shape_vec((2, 3), crate::common::uniform(4, 6, -1.0, 1.0)).unwrap();
    let inputs = Data::new().with("x", x);
    for device in devices() {
        let runs: [&[usize]; 4] = [&[10], &[1; 10], &[3, 7], &[7, 2, 1]];
        let results = runs.map(|run| {
            let mut sim =
                Simulator::with(&net, device, Options { minibatch: 2, ..Options::default() }).unwrap();
            for &steps in run {
                sim.run_steps(steps, &inputs).unwrap();
            }
            assert_eq!((sim.n_steps(), sim.time()), (10, 0.01));
            net.probe_ids().map(|p| sim.data(p).unwrap()).collect::<Vec<_>>()
        });
        for (result, run) in results.iter().zip(runs) {
            assert_eq!(result[0].dim(), (2, 10, 2));
            for (a, b) in result.iter().zip(&results[0]) {
                let off = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off < 1e-6, "{run:?} on {device}: off by {off:e}");
            }
        }
    }
}

#[test]
fn a_reset_run_is_the_first_run_again() {
    let net = remembering();
    let inputs = Data::new().with("x", Array3::ones((1, 20, 3)));
    for device in devices() {
        let mut sim = Simulator::new(&net, device).unwrap();
        let probe = net.find_probe("filtered").unwrap();
        let run = |sim: &mut Simulator| {
            sim.run_steps(20, &inputs).unwrap();
            sim.data(probe).unwrap()
        };
        let first = run(&mut sim);
        sim.reset().unwrap();
        assert_eq!(first, run(&mut sim), "{device}");
    }
}

#[test]
fn many_runs_take_no_more_memory() {
    let net = remembering();
    let inputs = Data::new().with("x", Array2::ones((1, 3)));
    for device in devices() {
        let mut sim = Simulator::new(&net, device).unwrap();
        // On a busy machine an adapter's windows become shorter, each length with a plan of its own.
        sim.limit_windows(Some(5)).unwrap();
        sim.run_steps(5, &inputs).unwrap();
        sim.predict(&inputs).unwrap();
        let before = sim.allocated_bytes();
        for _ in 0..200 {
            sim.run_steps(5, &inputs).unwrap();
            sim.predict(&inputs).unwrap();
        }
        assert_eq!(sim.allocated_bytes(), before, "{device}");
    }
}

/// A held input through two layers with filters between them, 16 examples at once.
fn feed_forward() -> Network {
    let mut net = Network::new(1);
    let x = net.node("x", Node::Input(6)).unwrap();
    let a = net.layer("a", Layer::dense(8).activation(Activation::Tanh), x).unwrap();
    let b = net.unconnected_layer("b", Layer::dense(4), 8).unwrap();
    net.connect(a, b, Connection::new().synapse(Synapse::Lowpass(0.01))).unwrap();
    net.add_probe("p", nengo_wgpu::network::Target::Output(b, Some(Synapse::Lowpass(0.02)))).unwrap();
    net
}

/// Whether it is a loop, be it dispatched step by step or not.
fn looped(stage: &StageReport) -> bool {
    matches!(stage.kind, StageKind::Loop | StageKind::Fused)
}

fn planner(net: &Network, device: &Device) -> Simulator {
    Simulator::planner(net, device, Options { minibatch: 16, ..Options::default() }).unwrap()
}

#[test]
fn a_feed_forward_network_costs_the_same_dispatches_for_100_steps_and_1000() {
    for device in devices() {
        let sim = planner(&feed_forward(), device);
        let [short, long] = [100, 1000].map(|steps| sim.outline(steps).unwrap());
        for outline in [&short, &long] {
            let program = &outline.parts[0].program;
            assert!(program.stages.iter().all(|s| !looped(s)), "{program}");
            assert_eq!((outline.parts.len(), program.dispatches_per_step), (1, 0));
        }
        assert_eq!(short.dispatches, long.dispatches, "{device}");
        // The layer that the held input goes through has a row for each example, the one behind a filter for each step.
        let rows = |object: &str| {
            let stages = short.parts[0].program.stages.iter();
            let own =
                stages.filter(|s| s.objects.iter().any(|o| o == object) && s.kind == StageKind::Batched);
            own.map(|s| s.rows).collect::<Vec<_>>()
        };
        assert_eq!(rows("a"), [16]);
        assert_eq!(rows("b"), [1600]);
        assert_eq!(short.parts[0].program.stages.iter().filter(|s| s.kind == StageKind::Scan).count(), 2);
    }
}

#[test]
fn a_plan_allocates_nothing_and_counts_what_a_run_would() {
    for device in devices() {
        let (net, inputs) = (feed_forward(), Data::new().with("x", Array2::ones((16, 6))));
        let outline = planner(&net, device).outline(200).unwrap();
        let mut sim = Simulator::with(&net, device, Options { minibatch: 16, ..Options::default() }).unwrap();
        sim.run_steps(200, &inputs).unwrap();
        assert_eq!(outline.bytes, sim.allocated_bytes(), "{device}");
        let error = planner(&net, device).run_steps(1, &inputs).unwrap_err();
        assert!(error.to_string().contains("only plans"), "{error}");
        // What does not fit into any memory is planned all the same, as far as the device can bind it.
        let mut large = Network::new(0);
        let x = large.node("x", Node::Input(4)).unwrap();
        let wide = large.layer("wide", Layer::dense(4_000_000), x).unwrap();
        large.probe("p", wide).unwrap();
        match planner(&large, device).outline(100) {
            Ok(outline) => assert!(outline.bytes > 200 << 20),
            Err(error) => assert!(matches!(error, Error::TooLarge { .. }), "{error}"),
        }
    }
}

#[test]
fn bytes_a_step_are_what_a_longer_window_takes_more() {
    for device in devices() {
        for net in [feed_forward(), remembering()] {
            let sim = planner(&net, device);
            let program = |steps| sim.outline(steps).unwrap().parts[0].program.clone();
            let (a, b) = (program(64), program(128));
            assert!(a.bytes_per_step > 0);
            assert_eq!(a.bytes_per_step, b.bytes_per_step);
            assert_eq!(b.bytes - a.bytes, 64 * a.bytes_per_step, "{device}");
        }
    }
}

#[test]
fn a_training_step_multiplies_recurrent_weights_gradient_outside_of_the_loop() {
    let mut net = Network::new(2);
    let x = net.node("x", Node::Input(3)).unwrap();
    let a = net.layer("a", Layer::dense(5).activation(Activation::Tanh), x).unwrap();
    let dense = Connection::new().transform(Transform::Dense(Init::Glorot)).named("back");
    net.connect(a, a, dense.synapse(Synapse::Lowpass(0.005))).unwrap();
    net.probe("p", a).unwrap();
    for device in devices() {
        let mut sim = planner(&net, device);
        let objective = nengo_wgpu::train::Objective::new().loss("p", nengo_wgpu::train::Loss::MeanSquared);
        sim.compile(nengo_wgpu::train::Training::new(objective, 0.1)).unwrap();
        let inputs = Data::new().with("x", Array2::ones((16, 3)));
        let targets = Data::new().with("p", Array2::ones((16, 5)));
        let outline = sim.outline_training(&inputs, &targets, Some(40)).unwrap();
        // With the examples that do not fill a minibatch, as training takes them.
        let rest =
            |n| (Data::new().with("x", Array2::ones((n, 3))), Data::new().with("p", Array2::ones((n, 5))));
        let (more, of_more) = rest(19);
        let full = nengo_wgpu::train::Backprop::Full;
        let estimate = sim.memory_estimate(&more, &of_more, Some(40), full).unwrap();
        assert_eq!(sim.outline_training(&more, &of_more, Some(40)).unwrap().bytes, estimate.bytes);
        assert!(estimate.bytes > outline.bytes);
        let program = &outline.parts[0].program;
        assert!(program.other_dispatches > 0, "the update");
        let loops: Vec<_> = program.stages.iter().filter(|s| looped(s)).collect();
        assert_eq!(loops.iter().map(|s| s.backward).collect::<Vec<_>>(), [false, true], "{program}");
        let products =
            |s: &&StageReport| s.objects.iter().any(|o| o == "back") && s.operators.contains(&"matmul");
        // Forward and backward in the loops; the gradient, whose rows are those of the weights, outside.
        assert!(loops.iter().all(products), "{program}");
        let outside = program.stages.iter().filter(|s| s.kind == StageKind::Batched);
        let outside: Vec<usize> = outside.filter(products).map(|s| s.rows).collect();
        assert_eq!(outside, [3], "{program}");
        // Each stage says which of the two it belongs to, and what comes first is forward.
        let text = program.to_string();
        let says = |pass: &str| text.lines().filter(|l| l.split_whitespace().nth(1) == Some(pass)).count();
        let backward = program.stages.iter().filter(|s| s.backward).count();
        assert_eq!(
            (says("forward"), says("backward")),
            (program.stages.len() - backward, backward),
            "{text}"
        );
        assert!(!program.stages[0].backward && program.stages[program.stages.len() - 1].backward, "{text}");
        assert!(program.stages.iter().any(|s| s.backward && s.kind == StageKind::Batched), "{text}");
        // An adapter walks through each loop in one dispatch.
        let a_step =
            if device.kind() == DeviceKind::Cpu { loops.iter().map(|s| s.dispatches).sum() } else { 0 };
        assert_eq!(program.dispatches_per_step, a_step);
    }
}

#[test]
fn a_report_counts_the_dispatches_that_are_recorded() {
    let case = crate::common::build(dims(3, 20), |c| {
        let y = recurrent(c, c.feed(Type::sequence(4)).dot(c.parameter(4, 4)));
        vec![y.dot(c.parameter(2, 4)).softmax()]
    });
    for device in devices() {
        let plan = case.plan(device.target());
        let mut recorded = 0;
        for command in &plan.recording.commands {
            recorded += match command {
                Command::Dispatch(_) => 1,
                Command::Repeat { steps, tiles, fused, .. } if fused.is_empty() => {
                    steps * tiles[0].body.len()
                }
                Command::Repeat { fused, .. } => fused.len(),
                Command::Copy { .. } => 0,
            };
        }
        let report = Report::of(&plan);
        assert_eq!((report.dispatches, report.other_dispatches), (recorded, 0));
        let text = report.to_string();
        let looped = if device.kind() == DeviceKind::Cpu { "loop" } else { "fused" };
        for part in [looped, "batched", "matmul", "a step", "a window"] {
            assert!(text.contains(part), "'{part}' in\n{text}");
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
