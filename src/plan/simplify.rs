//! Folds constants and fuses elementwise work, so that a step costs few dispatches.
//!
//! What is fused: a map into the map, the matmul's end or the reduction's start that alone reads it. Only within one
//! stage's kind: a value that is computed once for all steps never moves into a loop, and a value that exists once
//! per example is not computed again for each step.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::expr::{Expr, Instr};
use crate::graph::{Graph, Identity, NodeId, Operator, Source, Type, ValueId};
use crate::op::map::MAX_INPUTS;
use crate::op::{Map, Matmul, Reduce};
use crate::plan::{Output, Place, Stage, stages};

/// The simpler graph, with the outputs' new values. `before` are the stages of the graph as it came.
pub fn simplify(mut graph: Graph, mut outputs: Vec<Output>, before: &[Stage]) -> (Graph, Vec<Output>) {
    inline_constants(&mut graph);
    let same = merge_equal(&mut graph, &outputs);
    outputs.iter_mut().for_each(|o| o.value = same[o.value.0]);
    separate_outputs(&mut graph, &mut outputs);
    separate_own(&mut graph);
    fuse(&mut graph, &outputs, before);
    (graph, outputs)
}

/// Sums of more values than a kernel can read become sums of sums, as flat as a tree can be.
pub fn split_sums(graph: &mut Graph) {
    let wide = |n: &usize| {
        let node = &graph.nodes[*n];
        node.op.downcast::<Map>().is_some_and(|map| map.is_wide_sum(node.inputs.len()))
    };
    for n in (0..graph.nodes.len()).filter(wide).collect::<Vec<_>>() {
        let (ty, owner) = (graph.ty(graph.nodes[n].output), graph.nodes[n].owner.clone());
        let mut values = std::mem::take(&mut graph.nodes[n].inputs);
        // Of one extent first, so that what exists once for all steps is added up once.
        values.sort_by_key(|&v| graph.ty(v).extent);
        while values.len() > MAX_INPUTS {
            let alike = values.chunk_by(|&a, &b| graph.ty(a).extent == graph.ty(b).extent);
            let few: Vec<Vec<ValueId>> =
                alike.flat_map(|v| v.chunks(MAX_INPUTS)).map(<[_]>::to_vec).collect();
            values = few.into_iter().map(|few| sum(graph, few, ty, &owner)).collect();
        }
        let node = &mut graph.nodes[n];
        node.op = Arc::new(Map { expr: Expr::sum(values.len()), least: Some(ty) });
        node.inputs = values;
    }
}

/// The sum of a few values, which is part of one of type `ty`.
fn sum(graph: &mut Graph, values: Vec<ValueId>, ty: Type, owner: &Arc<str>) -> ValueId {
    if let [one] = values[..] {
        return one;
    }
    let types: Vec<Type> = values.iter().map(|&v| graph.ty(v)).collect();
    let map = Map::new(Expr::sum(values.len()));
    let to = map.infer(&types).unwrap_or(ty);
    graph.push(Arc::new(map), values, to, owner.clone())
}

/// Fuses maps into what alone reads them, within the loops of `stages` and outside of them.
pub fn fuse(graph: &mut Graph, outputs: &[Output], stages: &[Stage]) {
    let component = loop_of(graph, stages);
    let part = |n: NodeId| component.get(n.0).copied().unwrap_or(0);
    let live = stages::live(graph, outputs);
    let mut readers: Vec<BTreeSet<NodeId>> =
        graph.readers(&live).into_iter().map(|r| r.into_iter().collect()).collect();
    let mut wanted = vec![false; graph.values.len()];
    outputs.iter().for_each(|o| wanted[o.value.0] = true);
    // Those that may read what can be fused into them; the first is looked at first, again after each change.
    let mut open: BTreeSet<NodeId> = (0..graph.nodes.len()).filter(|&n| live[n]).map(NodeId).collect();
    while let Some(reader) = open.pop_first() {
        let inputs = graph.node(reader).inputs.clone();
        let fused = (0..inputs.len()).find_map(|i| {
            let producer = graph.producer(inputs[i])?;
            let alone = readers[inputs[i].0].len() == 1 && !wanted[inputs[i].0];
            let fits = alone && part(producer) == part(reader);
            (fits && fuse_into(graph, producer.0, reader.0, i)).then_some(producer)
        });
        let Some(producer) = fused else { continue };
        for v in inputs.iter().chain(&graph.node(producer).inputs) {
            readers[v.0].remove(&producer);
            readers[v.0].remove(&reader);
        }
        for v in &graph.node(reader).inputs {
            readers[v.0].insert(reader);
        }
        open.remove(&producer);
        open.extend(readers[graph.node(reader).output.0].iter().copied());
        open.insert(reader);
    }
}

/// For each node the number of its loop; 0 outside.
fn loop_of(graph: &Graph, stages: &[Stage]) -> Vec<usize> {
    let mut of = vec![0; graph.nodes.len()];
    for (i, stage) in stages.iter().enumerate() {
        if let Stage::Loop { nodes, .. } = stage {
            nodes.iter().for_each(|n| of[n.0] = i + 1);
        }
    }
    of
}

/// Constants among a map's or reduction's inputs become numbers in its expression.
fn inline_constants(graph: &mut Graph) {
    for n in 0..graph.nodes.len() {
        let node = &graph.nodes[n];
        let expr = match (node.op.downcast::<Map>(), node.op.downcast::<Reduce>()) {
            (Some(map), _) => &map.expr,
            (_, Some(reduce)) if node.inputs.len() > 1 => &reduce.expr,
            _ => continue,
        };
        if node.inputs.iter().all(|&v| graph.constant(v).is_none()) {
            continue;
        }
        let mut inputs = Vec::new();
        let parts: Vec<(Expr, Vec<usize>)> = node
            .inputs
            .iter()
            .map(|&v| match graph.constant(v) {
                Some(c) => (Expr { tape: vec![Instr::Constant(c)] }, Vec::new()),
                None => {
                    inputs.push(v);
                    (Expr::identity(), vec![inputs.len() - 1])
                }
            })
            .collect();
        let expr = expr.substitute(&parts);
        let ty = graph.ty(node.output);
        let (output, is_map) = (node.output, node.op.downcast::<Map>().is_some());
        if inputs.is_empty() && is_map && ty == Type::fixed(1, 1) {
            // Nothing is left to compute: what reads it, later in the list, sees a constant.
            graph.values[output.0].source = Source::Constant(expr.reference(|_| 0.0) as f32);
            continue;
        }
        let node = &mut graph.nodes[n];
        node.op = match node.op.downcast::<Reduce>() {
            Some(reduce) => Arc::new(Reduce { expr, ..reduce.clone() }),
            None => Arc::new(Map { expr, least: Some(ty) }),
        };
        node.inputs = inputs;
    }
}

/// Equal operators on equal inputs become one, and copies disappear. Gives each value's replacement.
fn merge_equal(graph: &mut Graph, outputs: &[Output]) -> Vec<ValueId> {
    let mut same: Vec<ValueId> = (0..graph.values.len()).map(ValueId).collect();
    let live = stages::live(graph, outputs);
    let mut seen: HashMap<(Identity, Vec<ValueId>), ValueId> = HashMap::new();
    for n in (0..graph.nodes.len()).filter(|&n| live[n]) {
        for i in 0..graph.nodes[n].inputs.len() {
            let v = graph.nodes[n].inputs[i];
            graph.nodes[n].inputs[i] = same[v.0];
        }
        let node = &graph.nodes[n];
        if node.op.memory().is_state() {
            continue;
        }
        let copy = node.op.downcast::<Map>().filter(|m| m.expr.is_identity()).map(|_| node.inputs[0]);
        if let Some(from) = copy.filter(|&v| graph.ty(v) == graph.ty(node.output)) {
            same[node.output.0] = from;
            continue;
        }
        if let Some(identity) = node.op.identity() {
            same[node.output.0] = *seen.entry((identity, node.inputs.clone())).or_insert(node.output);
        }
    }
    // An input that closes a cycle may come later in the list than the operator that reads it.
    for n in 0..graph.nodes.len() {
        for i in 0..graph.nodes[n].inputs.len() {
            let v = graph.nodes[n].inputs[i];
            graph.nodes[n].inputs[i] = same[v.0];
        }
    }
    same
}

/// An output with a place of its own needs an operator of its own that writes there. Where others read it too, that is a copy: a reader
/// may write to another place of the same buffer, and an adapter cannot read a buffer that it writes.
fn separate_outputs(graph: &mut Graph, outputs: &mut [Output]) {
    let mut readers: HashMap<ValueId, usize> = HashMap::new();
    let live = stages::live(graph, outputs);
    let read =
        (0..graph.nodes.len()).filter(|&n| live[n]).flat_map(|n| graph.nodes[n].inputs.iter().copied());
    let placed = outputs.iter().filter(|o| o.place != Place::Keep).map(|o| o.value);
    read.chain(placed).for_each(|value| *readers.entry(value).or_default() += 1);
    for output in outputs.iter_mut() {
        let owned = match graph.values[output.value.0].source {
            Source::Node(node) => !graph.nodes[node.0].op.memory().is_state(),
            _ => false,
        };
        let place = output.place != Place::Keep;
        if place && (!owned || readers[&output.value] > 1) {
            let ty = graph.ty(output.value);
            let copy = Map { expr: Expr::identity(), least: Some(ty) };
            output.value = graph.push(Arc::new(copy), vec![output.value], ty, "".into());
        }
    }
    inline_constants(graph);
}

/// A kernel cannot read what it writes: what delays its own output reads a copy.
fn separate_own(graph: &mut Graph) {
    for n in 0..graph.nodes.len() {
        let (output, owner) = (graph.nodes[n].output, graph.nodes[n].owner.clone());
        if graph.nodes[n].inputs.contains(&output) {
            let ty = graph.ty(output);
            let copy = Map { expr: Expr::identity(), least: Some(ty) };
            let copy = graph.push(Arc::new(copy), vec![output], ty, owner);
            graph.nodes[n].inputs.iter_mut().filter(|v| **v == output).for_each(|v| *v = copy);
        }
    }
}

/// Fuses `producer` into `reader`, whose input `i` it makes, if their kinds and sizes allow it.
fn fuse_into(graph: &mut Graph, producer: usize, reader: usize, i: usize) -> bool {
    let (from, to) = (&graph.nodes[producer], &graph.nodes[reader]);
    let (made, wanted) = (graph.ty(from.output), graph.ty(to.output));
    if let (Some(map), Some(matmul)) = (to.op.downcast::<Map>(), from.op.downcast::<Matmul>()) {
        let once = to.inputs.iter().filter(|&&v| v == from.output).count() == 1;
        let operands = from.inputs.len() - 2 + to.inputs.len() - 1;
        if !once || made != wanted || !matmul.takes_epilogue() || operands > Matmul::MAX_OPERANDS {
            return false;
        }
        // Input 0 of an epilogue is the product, then come its operands: those it had, and the map's other inputs.
        let before = matmul.epilogue.clone().unwrap_or_else(Expr::identity);
        let had = from.inputs.len() - 1;
        let mut next = had;
        let parts: Vec<(Expr, Vec<usize>)> = (0..to.inputs.len())
            .map(|k| {
                if k == i {
                    return (before.clone(), (0..had).collect());
                }
                next += 1;
                (Expr::identity(), vec![next - 1])
            })
            .collect();
        let epilogue = map.expr.substitute(&parts);
        let rest = to.inputs.iter().enumerate().filter(|(k, _)| *k != i).map(|(_, &v)| v);
        let inputs: Vec<ValueId> = from.inputs.iter().copied().chain(rest).collect();
        let op = Arc::new(Matmul { epilogue: Some(epilogue), ..matmul.clone() });
        let node = &mut graph.nodes[reader];
        (node.op, node.inputs) = (op, inputs);
        return true;
    }
    let Some(map) = from.op.downcast::<Map>() else { return false };
    let (expr, reduce) = match (to.op.downcast::<Map>(), to.op.downcast::<Reduce>()) {
        (Some(map), _) if made == wanted => (&map.expr, None),
        (_, Some(reduce)) => (&reduce.expr, Some(reduce)),
        _ => return false,
    };
    if reduce.is_some() && (to.inputs.len() > 1 || from.inputs.iter().all(|&v| graph.ty(v) != made)) {
        // The reduction takes its size from its inputs: one of them must have the size of what is summed.
        return false;
    }
    let mut inputs: Vec<ValueId> = Vec::new();
    let mut number = |v: ValueId| {
        inputs.iter().position(|&w| w == v).unwrap_or_else(|| {
            inputs.push(v);
            inputs.len() - 1
        })
    };
    let parts: Vec<(Expr, Vec<usize>)> = to
        .inputs
        .iter()
        .map(|&v| {
            if v == from.output {
                (map.expr.clone(), from.inputs.iter().map(|&v| number(v)).collect())
            } else {
                (Expr::identity(), vec![number(v)])
            }
        })
        .collect();
    if inputs.len() > MAX_INPUTS {
        return false;
    }
    let expr = expr.substitute(&parts);
    let op: Arc<dyn Operator> = match reduce {
        Some(reduce) => Arc::new(Reduce { expr, ..reduce.clone() }),
        None => Arc::new(Map { expr, least: Some(wanted) }),
    };
    let node = &mut graph.nodes[reader];
    (node.op, node.inputs) = (op, inputs);
    true
}
