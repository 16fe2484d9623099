//! Networks of very many objects: what grows with the square of their number takes minutes here.

use crate::common::devices;
use ndarray::{Array2, array};
use nengo_wgpu::network::{Connection, Init, Network, Node, Transform};
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Device, Fit, Simulator};

const MANY: usize = 10_000;

fn cpu() -> &'static Device {
    &devices()[1]
}

#[test]
fn many_connections_between_two_objects_are_added_up() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let y = net.node("y", Node::Passthrough(1)).unwrap();
    for _ in 0..MANY {
        net.connect(x, y, Connection::new()).unwrap();
    }
    assert_eq!(net.connection_name(net.connection_ids().last().unwrap()).unwrap(), format!("x->y#{MANY}"));
    let p = net.probe("p", y).unwrap();
    let mut sim = Simulator::new(&net, cpu()).unwrap();
    let out = sim.predict_steps(&Data::new().with("x", array![[0.1]]), 10).unwrap();
    let want = f64::from(0.1_f32) * MANY as f64;
    assert!(out[&p].iter().all(|y| (f64::from(*y) / want - 1.0).abs() < 1e-3), "{:?}", out[&p]);
}

#[test]
fn weights_of_many_connections_are_trained() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let y = net.node("y", Node::Passthrough(1)).unwrap();
    for _ in 0..MANY {
        let weight = Transform::Dense(Init::Constant(1.0 / MANY as f32));
        net.connect(x, y, Connection::new().transform(weight)).unwrap();
    }
    net.probe("p", y).unwrap();
    let mut sim = Simulator::new(&net, cpu()).unwrap();
    let objective = Objective::new().loss("p", Loss::MeanSquared);
    sim.compile(Training::new(objective, 1.0 / MANY as f32)).unwrap();
    let inputs = Data::new().with("x", array![[1.0]]);
    let targets = Data::new().with("p", array![[0.0]]);
    sim.fit(&inputs, &targets, &Fit::epochs(1)).unwrap();
    // The loss is y², of which each weight has the derivative 2.
    let weight = sim.parameter("x->y/weights").unwrap()[[0, 0]];
    let want = 1.0 / MANY as f32 - 2.0 / MANY as f32;
    assert!((weight / want - 1.0).abs() < 1e-3, "{weight} for {want}");
}

#[test]
fn a_long_chain_is_built_whichever_end_comes_first() {
    for backward in [false, true] {
        let mut net = Network::new(0);
        let mut nodes: Vec<_> =
            (0..MANY).map(|i| net.node(&format!("n{i}"), Node::Passthrough(1)).unwrap()).collect();
        if backward {
            nodes.reverse();
        }
        let x = net.node("x", Node::Input(1)).unwrap();
        net.connect(x, nodes[0], Connection::new()).unwrap();
        for two in nodes.windows(2) {
            net.connect(two[0], two[1], Connection::new()).unwrap();
        }
        let p = net.probe("p", nodes[MANY - 1]).unwrap();
        let mut sim = Simulator::new(&net, cpu()).unwrap();
        let out = sim.predict_steps(&Data::new().with("x", array![[0.5]]), 10).unwrap();
        assert_eq!(out[&p].iter().sum::<f32>(), 5.0);
    }
}

#[test]
fn a_cycle_of_many_objects_without_a_delay_is_refused() {
    let mut net = Network::new(0);
    let nodes: Vec<_> =
        (0..MANY).map(|i| net.node(&format!("n{i}"), Node::Passthrough(1)).unwrap()).collect();
    for i in 0..MANY {
        net.connect(nodes[(i + 1) % MANY], nodes[i], Connection::new()).unwrap();
    }
    let error = Simulator::new(&net, cpu()).err().unwrap().to_string();
    assert!(error.contains("n0") && error.contains("n9999"), "{}", &error[..200.min(error.len())]);
}

#[test]
fn a_ring_of_many_objects_runs() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let nodes: Vec<_> =
        (0..MANY).map(|i| net.node(&format!("n{i}"), Node::Passthrough(1)).unwrap()).collect();
    net.connect(x, nodes[0], Connection::new()).unwrap();
    for i in 0..MANY {
        net.connect(nodes[i], nodes[(i + 1) % MANY], Connection::new().synapse(0.001)).unwrap();
    }
    let p = net.probe("p", nodes[1]).unwrap();
    let mut sim = Simulator::new(&net, cpu()).unwrap();
    let out = sim.predict_steps(&Data::new().with("x", array![[1.0]]), 10).unwrap();
    assert_eq!(out[&p][[0, 0, 0]], 0.0, "a filter delays by a step");
    assert!(out[&p].iter().skip(1).all(|y| *y > 0.0));
}

#[test]
fn many_nodes_and_probes_are_recorded_each_with_its_own() {
    let mut net = Network::new(0);
    let probes: Vec<_> = (0..MANY)
        .map(|i| {
            let node = net.node(&format!("n{i}"), Node::Constant(vec![i as f32, 1.0])).unwrap();
            net.probe(&format!("p{i}"), node).unwrap()
        })
        .collect();
    let mut sim = Simulator::new(&net, cpu()).unwrap();
    sim.run_steps(10, &Data::new()).unwrap();
    for (i, p) in probes.into_iter().enumerate() {
        let data = sim.data(p).unwrap();
        assert_eq!((data.dim(), data[[0, 9, 0]]), ((1, 10, 2), i as f32));
    }
}

#[test]
fn many_outputs_of_a_loop_are_recorded() {
    // One population in a loop, whose columns go their own ways.
    let n = MANY / 10;
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(n)).unwrap();
    let y = net.node("y", Node::Passthrough(n)).unwrap();
    net.connect(x, y, Connection::new()).unwrap();
    net.connect(y, y, Connection::new().synapse(0.01)).unwrap();
    for i in 0..n {
        let out = net.node(&format!("o{i}"), Node::Passthrough(1)).unwrap();
        net.connect(y, out, Connection::new().pre(i)).unwrap();
        net.probe(&format!("p{i}"), out).unwrap();
    }
    let mut sim = Simulator::new(&net, cpu()).unwrap();
    let inputs = Data::new().with("x", Array2::from_shape_fn((1, n), |(_, i)| i as f32));
    let out = sim.predict_steps(&inputs, 10).unwrap();
    let first = |i: usize| out[&net.find_probe(&format!("p{i}")).unwrap()][[0, 0, 0]];
    assert!((0..n).all(|i| first(i) == i as f32));
}
