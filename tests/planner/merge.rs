//! Equal operators run as one, and compute what they computed apart.

use std::sync::Arc;

use crate::common::{Case, Ready, devices, dims, uniform};
use ndarray::{Array2, Array3};
use nengo_wgpu::internals::builder::gradient::gradient;
use nengo_wgpu::internals::engine::ALIGN;
use nengo_wgpu::internals::expr::Unary;
use nengo_wgpu::internals::graph::{Tensor, Type, ValueId};
use nengo_wgpu::internals::neuron::Lif;
use nengo_wgpu::internals::op::Matmul;
use nengo_wgpu::internals::op::filter::lowpass;
use nengo_wgpu::internals::plan::pass::batch_ops::{Batched, batch_ops};
use nengo_wgpu::internals::plan::report::{StageKind, StageReport};
use nengo_wgpu::network::{
    Connection, Ensemble, Init, Layer, Network, Neurons, Node, ObjectId, Synapse, Transform,
};
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Device, Fit, Options, Simulator};
use proptest::prelude::*;

/// The case with equal operators merged; parameters lie `stride(length)` floats apart.
fn merged(case: &Ready, stride: fn(usize) -> usize) -> (Ready, Batched) {
    let len = |i: usize| case.parameters[i].1.len();
    let placement = |members: &[usize]| Some((0, stride(len(members[0]))));
    let trained = vec![true; case.parameters.len()];
    let merged = batch_ops(&case.graph, &case.outputs, &trained, &placement).unwrap();
    let mut parameters = case.parameters.clone();
    for pack in &merged.packs {
        let padded = pack.members.iter().flat_map(|&i| {
            let mut values = case.parameters[i].1.clone();
            // The gaps between parameters must not matter.
            values.resize(stride(len(i)), 7.0);
            values
        });
        parameters.push((pack.place.ty, padded.collect()));
    }
    let ready = Ready {
        graph: merged.graph.clone(),
        outputs: merged.values.clone(),
        parameters,
        feeds: case.feeds.clone(),
    };
    (ready, merged)
}

fn aligned(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

fn same(len: usize) -> usize {
    len
}

/// Populations of three neurons that each read two of the inputs' columns and are decoded into one number.
fn populations(c: &Case, count: usize) -> Vec<Tensor<'_>> {
    let x = c.feed(Type::sequence(2 * count));
    let each = |i: usize| {
        let current = x.slice(2 * i, 2).dot(c.parameter(3, 2)) + c.parameter(1, 3);
        current.relu().filter(&lowpass(0.5, 0.5, true)).dot(c.parameter(1, 3))
    };
    let decoded: Vec<Tensor<'_>> = (0..count).map(each).collect();
    vec![decoded[0].concat(&decoded[1..])]
}

#[test]
fn populations_side_by_side_are_a_handful_of_operators_however_many_they_are() {
    for stride in [aligned, same] {
        let plan = |count| {
            let case = crate::common::build(dims(2, 5), |c| populations(c, count));
            merged(&case, stride).0.plan(devices()[0].target())
        };
        let (few, many) = (plan(2), plan(100));
        assert_eq!(few.calls, many.calls);
        let products = many.graph.nodes.iter().filter_map(|n| n.op.downcast::<Matmul>());
        assert!(products.map(|m| m.groups).all(|groups| groups == 100));
    }
}

#[test]
fn products_of_the_same_columns_become_one_of_all_their_weights() {
    let case = crate::common::build(dims(2, 5), |c| {
        let x = c.feed(Type::sequence(7));
        (0..4).map(|_| x.dot(c.parameter(3, 7))).collect()
    });
    let graph = merged(&case, same).1.graph;
    let products: Vec<_> = graph.nodes.iter().filter(|n| n.op.name() == "matmul").collect();
    assert_eq!(products.len(), 1);
    assert_eq!(products[0].op.downcast::<Matmul>().map(|m| m.groups), Some(1));
    assert_eq!(graph.ty(products[0].output).cols, 12);
}

#[test]
fn populations_in_a_chain_are_not_merged() {
    let case = crate::common::build(dims(2, 5), |c| {
        let a = c.feed(Type::sequence(3)).dot(c.parameter(3, 3)).tanh();
        vec![a.dot(c.parameter(3, 3)).tanh()]
    });
    let graph = merged(&case, same).1.graph;
    assert_eq!(graph.nodes.iter().filter(|n| n.op.name() == "matmul").count(), 2);
}

/// Operators that genes choose, each on as many values as fit.
fn random_graph<'c>(c: &'c Case, genes: &[(u8, u8, u8)]) -> Vec<Tensor<'c>> {
    let x = c.feed(Type::sequence(6));
    let mut pool = vec![x, c.feed(Type::example(3)), x.slice(0, 3), x.slice(3, 3), x.slice(2, 1)];
    let mut open = Vec::new();
    for &(op, from, count) in genes {
        let like = pool[usize::from(from) % pool.len()].ty().cols;
        let fitting: Vec<Tensor<'c>> = pool.iter().copied().filter(|v| v.ty().cols == like).collect();
        for k in 0..=usize::from(count % 4) {
            let at = |i: usize| fitting[(usize::from(from) + i) % fitting.len()];
            let v = at(k);
            pool.push(match op % 11 {
                0 => v.dot(c.parameter(2, like)),
                1 => v.dot(c.parameter(3, like)) + c.parameter(1, 3),
                2 => v.unary(Unary::Tanh),
                3 => v.expand_in_time().filter(&lowpass(0.25 + f32::from(from % 2) / 2.0, 0.5, from % 3 > 0)),
                4 => v * at(k + 1),
                5 => v.slice(like / 2, like - like / 2),
                6 => v.concat(&[at(k + 1)]).scale(0.5),
                7 => v + c.parameter(1, 1),
                8 => v.pad(1, like + 1) + at(k + 1).pad(0, like + 1),
                // More than a kernel reads, some of them twice.
                9 => {
                    let all: Vec<Tensor<'c>> = (0..7 + usize::from(count) % 9).map(at).collect();
                    c.scope.sum(&all).scale(0.2)
                }
                // Read now, and known at the end.
                _ => {
                    let opened = c.scope.open(Arc::new(lowpass(0.5, 0.25, true)), Type::sequence(like));
                    open.push(opened);
                    opened + v
                }
            });
        }
    }
    for (i, opened) in open.into_iter().enumerate() {
        let fits = pool.iter().rev().skip(i).find(|v| v.ty().cols == opened.ty().cols);
        c.scope.close(opened, *fits.unwrap_or(&opened));
    }
    pool.into_iter().rev().take(4).collect()
}

fn check(ours: &[Vec<f64>], reference: &[Vec<f64>], tolerance: f64) -> Result<(), TestCaseError> {
    for (ours, reference) in ours.iter().zip(reference) {
        let scale = reference.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
        prop_assert_eq!(ours.len(), reference.len());
        for (x, y) in ours.iter().zip(reference) {
            prop_assert!((x - y).abs() <= tolerance * scale, "{} for {}", x, y);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merged_and_simplified_graphs_keep_their_values(
        genes in prop::collection::vec(any::<(u8, u8, u8)>(), 1..10),
        batch in 1_usize..4,
        steps in 2_usize..5,
        padded in any::<bool>(),
    ) {
        let case = Case::new(dims(batch, steps));
        let outputs = random_graph(&case, &genes).iter().map(|t| t.id).collect();
        let case = case.ready(outputs);
        let reference = case.reference();
        let (merged, Batched { graph, .. }) = merged(&case, if padded { aligned } else { same });
        for node in &graph.nodes {
            let types: Vec<Type> = node.inputs.iter().map(|&v| graph.ty(v)).collect();
            let inferred = node.op.infer(&types);
            prop_assert_eq!(inferred.as_ref(), Ok(&graph.ty(node.output)), "{:?} of {:?}", node, types);
        }
        check(&merged.reference(), &reference, 1e-9)?;
        let run = merged.run(&devices()[1]).into_iter();
        let run: Vec<Vec<f64>> = run.map(|v| v.into_iter().map(f64::from).collect()).collect();
        check(&run, &reference, 1e-4)?;
    }
}

#[test]
fn gradients_of_merged_parameters_are_those_of_each() {
    for stride in [aligned, same] {
        let case = Case::new(dims(2, 4));
        let outputs: Vec<ValueId> = populations(&case, 5).iter().map(|t| t.id).collect();
        let plain = case.parameter_ids();
        let case = case.ready(outputs);
        let sum_of_squares = |case: &Ready, wanted: &[ValueId]| {
            let scope = nengo_wgpu::internals::graph::Scope::of(case.graph.clone());
            let loss = scope.tensor(case.outputs[0]).square().mean_all();
            let adjoints = gradient(&scope, loss, wanted, |_| "p".into()).unwrap();
            let outputs = adjoints.iter().map(|a| a.unwrap().id).collect();
            Ready { graph: scope.finish().unwrap(), outputs, ..case.clone() }.reference()
        };
        let apart = sum_of_squares(&case, &plain);
        let (ready, Batched { packs, parameters, .. }) = merged(&case, stride);
        let together = sum_of_squares(&ready, &packs.iter().map(|p| p.value).collect::<Vec<_>>());
        assert_eq!(packs.iter().map(|p| p.members.len()).sum::<usize>(), parameters.len());
        for (pack, together) in packs.iter().zip(together) {
            let stride = together.len() / pack.members.len();
            for (part, &member) in together.chunks(stride).zip(&pack.members) {
                let (own, padding) = part.split_at(apart[member].len());
                own.iter().zip(&apart[member]).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{a} {b}"));
                assert!(padding.iter().all(|x| *x == 0.0));
            }
        }
    }
}

/// Ensembles built one by one, each with a recurrent connection, and what they decode side by side.
fn ensembles(count: usize, neurons: usize) -> Network {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(count)).unwrap();
    let out = net.node("out", Node::Passthrough(count)).unwrap();
    for i in 0..count {
        let (value, population) = ensemble(&mut net, i, neurons);
        net.connect(x, value, Connection::new().pre(i as i64).synapse(Synapse::Lowpass(0.01))).unwrap();
        let decoders = Transform::Dense(Init::Uniform(-0.01, 0.01));
        let back = Connection::new().transform(decoders.clone()).synapse(Synapse::Lowpass(0.1));
        net.connect(population, value, back).unwrap();
        net.connect(
            population,
            out,
            Connection::new().transform(decoders).post(i as i64).named(&format!("d{i}")),
        )
        .unwrap();
    }
    net.probe("p", out).unwrap();
    net
}

fn ensemble(net: &mut Network, i: usize, neurons: usize) -> (ObjectId, ObjectId) {
    let value = net.node(&format!("value{i}"), Node::Passthrough(1)).unwrap();
    let population = net.neurons(&format!("ens{i}"), Neurons::new(neurons, Lif::default())).unwrap();
    let encoders = Connection::new().transform(Transform::Dense(Init::Uniform(-1.0, 1.0)));
    net.connect(value, population, encoders).unwrap();
    (value, population)
}

#[test]
fn five_hundred_ensembles_cost_the_dispatches_of_two() {
    for device in devices() {
        let outline = |count| {
            let net = ensembles(count, 10);
            Simulator::planner(&net, device, Options::default()).unwrap().outline(16).unwrap()
        };
        let (few, many) = (outline(2), outline(500));
        assert_eq!(few.dispatches, many.dispatches, "{few}\n{many}");
        let looped = |s: &&StageReport| matches!(s.kind, StageKind::Loop | StageKind::Fused);
        let loops = many.parts[0].program.stages.iter().filter(looped);
        assert_eq!(loops.count(), 1, "{many}");
    }
}

/// Ensembles of a network's own kind, each of which adds to what they all say together.
fn choir(count: usize) -> Network {
    let mut net = Network::new(3);
    let x = net.node("x", Node::Input(2)).unwrap();
    let all = net.node("all", Node::Passthrough(2)).unwrap();
    for i in 0..count {
        let one = Ensemble { seed: Some(i as u64), ..Ensemble::new(20, 2) };
        let one = net.ensemble(&format!("voice {i}"), one).unwrap();
        net.connect(x, one, Connection::new().synapse(0.005)).unwrap();
        net.connect(one, all, Connection::new().transform(Transform::Scalar(1.0 / count as f32))).unwrap();
    }
    net.probe("p", all).unwrap();
    net
}

#[test]
fn five_hundred_ensembles_that_are_added_up_cost_the_dispatches_of_twenty() {
    for device in devices() {
        let outline = |count| {
            Simulator::planner(&choir(count), device, Options::default()).unwrap().outline(16).unwrap()
        };
        let (some, many) = (outline(20), outline(500));
        assert_eq!(some.dispatches, many.dispatches, "{some}\n{many}");
        assert!(many.dispatches < 20, "{many}");
        // All of them give what one gives, but for their errors.
        let inputs = Data::new().with("x", Array2::from_elem((1, 2), 0.4));
        let mut sim = Simulator::new(&choir(100), device).unwrap();
        sim.run_steps(300, &inputs).unwrap();
        let said = sim.data(sim.network().find_probe("p").unwrap()).unwrap();
        let late = said.slice(ndarray::s![0, 200.., ..]).mean().unwrap();
        assert!((late - 0.4).abs() < 0.05, "{late} on {device}");
    }
}

#[test]
fn a_merged_ensemble_gives_the_values_of_the_ensemble_alone() {
    let x = Array3::from_shape_vec((2, 20, 7), uniform(3, 280, -1.0, 1.0)).unwrap();
    let options = Options { minibatch: 2, ..Options::default() };
    for device in devices() {
        let mut all = Simulator::with(&ensembles(7, 11), device, options).unwrap();
        all.run_steps(20, &Data::new().with("x", x.clone())).unwrap();
        let together = all.data(all.network().find_probe("p").unwrap()).unwrap();
        assert!(together.iter().any(|x| *x != 0.0));
        for i in [0, 6] {
            let mut net = Network::new(0);
            let input = net.node("x", Node::Input(1)).unwrap();
            let (value, population) = ensemble(&mut net, i, 11);
            net.connect(input, value, Connection::new().synapse(Synapse::Lowpass(0.01))).unwrap();
            let decoders = Transform::Dense(Init::Uniform(-0.01, 0.01));
            let back = Connection::new().transform(decoders.clone()).synapse(Synapse::Lowpass(0.1));
            net.connect(population, value, back).unwrap();
            let out = net.node("out", Node::Passthrough(1)).unwrap();
            net.connect(population, out, Connection::new().transform(decoders).named(&format!("d{i}")))
                .unwrap();
            net.probe("p", out).unwrap();
            let mut alone = Simulator::with(&net, device, options).unwrap();
            let own = x.slice(ndarray::s![.., .., i..i + 1]).to_owned();
            alone.run_steps(20, &Data::new().with("x", own)).unwrap();
            let apart = alone.data(alone.network().find_probe("p").unwrap()).unwrap();
            for (a, b) in apart.iter().zip(together.slice(ndarray::s![.., .., i])) {
                assert!((a - b).abs() <= 1e-5, "{a} alone, {b} among others on {device}");
            }
        }
    }
}

#[test]
fn merged_layers_train_as_each_would_alone() {
    let x = Array2::from_shape_vec((6, 4), uniform(5, 24, -1.0, 1.0)).unwrap();
    let y = Array2::from_shape_vec((6, 2), uniform(6, 12, -1.0, 1.0)).unwrap();
    let network = |names: &[&str]| {
        let mut net = Network::new(0);
        let input = net.node("x", Node::Input(4)).unwrap();
        let mut objective = Objective::new();
        for name in names {
            let hidden = net.layer(&format!("{name}-hidden"), Layer::dense(9), input).unwrap();
            let out = net.layer(name, Layer::dense(2), hidden).unwrap();
            net.probe(&format!("{name}-p"), out).unwrap();
            objective = objective.loss(&format!("{name}-p"), Loss::MeanSquared);
        }
        (net, objective)
    };
    let train = |device: &Device, names: &[&str]| {
        let (net, objective) = network(names);
        let mut sim = Simulator::with(&net, device, Options { minibatch: 6, ..Options::default() }).unwrap();
        sim.compile(Training::new(objective, 0.05)).unwrap();
        let inputs = Data::new().with("x", x.clone());
        let targets = names.iter().fold(Data::new(), |d, n| d.with(&format!("{n}-p"), y.clone()));
        sim.fit(&inputs, &targets, &Fit::epochs(5)).unwrap();
        sim
    };
    for device in devices() {
        let mut together = train(device, &["a", "b", "c"]);
        for name in ["a", "b", "c"] {
            let mut alone = train(device, &[name]);
            for parameter in ["-hidden/weights", "-hidden/bias", "/weights", "/bias"] {
                let key = format!("{name}{parameter}");
                let (a, b) = (alone.parameter(&key).unwrap(), together.parameter(&key).unwrap());
                a.iter().zip(&b).for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{key}: {a} and {b}"));
            }
        }
    }
}
