//! Outlines and reports of plans: stages, dispatches and bytes.

use super::plan::recurrent;
use super::runs::remembering;
use crate::common::messages::Messages;
use crate::common::{devices, dims};
use ndarray::Array2;
use nengo_wgpu::internals::engine::{Command, DeviceKind};
use nengo_wgpu::internals::graph::Type;
use nengo_wgpu::internals::plan::Report;
use nengo_wgpu::internals::plan::report::{StageKind, StageReport};
use nengo_wgpu::network::{Activation, Connection, Init, Layer, Network, Node, Synapse, Transform};
use nengo_wgpu::{Data, Device, Error, Options, Simulator};

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

/// True for a loop, dispatched step by step or fused.
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
fn a_plan_allocates_nothing_and_counts_the_bytes_of_a_run() {
    let said = Messages::of("a plan allocates nothing and counts the bytes of a run");
    for device in devices() {
        let (net, inputs) = (feed_forward(), Data::new().with("x", Array2::ones((16, 6))));
        let outline = planner(&net, device).outline(200).unwrap();
        let mut sim = Simulator::with(&net, device, Options { minibatch: 16, ..Options::default() }).unwrap();
        sim.run_steps(200, &inputs).unwrap();
        assert_eq!(outline.bytes, sim.allocated_bytes(), "{device}");
        said.error(planner(&net, device).run_steps(1, &inputs));
        // A network too large for any memory is planned all the same, as far as the device can bind it.
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
fn bytes_per_step_are_the_growth_of_a_longer_window() {
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
