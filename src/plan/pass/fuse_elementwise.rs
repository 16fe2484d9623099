//! Fuses an elementwise operator into the one that alone reads it: into an elementwise operator, the end of a product or
//! the start of a sum.
//!
//! A value that is computed once for all steps never moves into a loop, and a value that exists once per example is not
//! computed again for each step.
//!
//! - Before: stages of this graph or of an earlier one with the same loops; operators without a stage count as outside.
//! - After: no elementwise operator has one reader alone that it could be fused with.
//! - Keeps: values, outputs, and which operators are in which loop. Fused operators stay in the graph, unread.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::Target;
use crate::error::Result;
use crate::expr::Expr;
use crate::graph::{Fusible, Fusion, Graph, Node, NodeId, Operator, ValueId};
use crate::op::map::MAX_INPUTS;
use crate::plan::Stage;
use crate::plan::pass::Ir;
use crate::plan::stages::live;

/// Fuses elementwise operators into their only readers. Never fails.
pub fn fuse_elementwise(mut ir: Ir, _: &Target) -> Result<Ir> {
    let Ir { graph, outputs, stages } = &mut ir;
    let component = loop_of(graph, stages);
    let part = |n: NodeId| component.get(n.0).copied().unwrap_or(0);
    let live = live(graph, outputs);
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
    Ok(ir)
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

/// Fuses `producer` into `reader`, whose input `i` it makes, if their kinds and sizes allow it.
fn fuse_into(graph: &mut Graph, producer: usize, reader: usize, i: usize) -> bool {
    let (from, to) = (&graph.nodes[producer], &graph.nodes[reader]);
    let (Some(first), Some(second)) = (from.op.fuse(), to.op.fuse()) else { return false };
    let fused = match (first.fusion(), second.fusion()) {
        (Fusion::Epilogue { .. }, Fusion::Elementwise(expr)) => append(graph, (from, first), (to, expr), i),
        (Fusion::Elementwise(expr), Fusion::Elementwise(_) | Fusion::Prologue(_)) => {
            prepend(graph, (from, expr), (to, second))
        }
        _ => None,
    };
    let Some((op, inputs)) = fused else { return false };
    let node = &mut graph.nodes[reader];
    (node.op, node.inputs) = (op, inputs);
    true
}

/// An operator and its inputs.
type Fused = Option<(Arc<dyn Operator>, Vec<ValueId>)>;

/// The operator `from`, with an expression `to` that reads it as input `i` at its end.
fn append(graph: &Graph, (from, op): (&Node, &dyn Fusible), (to, expr): (&Node, &Expr), i: usize) -> Fused {
    let Fusion::Epilogue { expr: before, first, most } = op.fusion() else { return None };
    let ty = graph.ty(to.output);
    let once = to.inputs.iter().filter(|&&v| v == from.output).count() == 1;
    let operands = from.inputs.len() - first + to.inputs.len() - 1;
    if !once || graph.ty(from.output) != ty || operands > most {
        return None;
    }
    // Input 0 of an epilogue is the result, then come its operands: those it had, and the expression's other inputs.
    let before = before.cloned().unwrap_or_else(Expr::identity);
    let had = 1 + from.inputs.len() - first;
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
    let rest = to.inputs.iter().enumerate().filter(|(k, _)| *k != i).map(|(_, &v)| v);
    let inputs = from.inputs.iter().copied().chain(rest).collect();
    Some((op.with_expression(expr.substitute(&parts), ty), inputs))
}

/// The operator `to`, with the expression `from` that makes one of its inputs in its own.
fn prepend(graph: &Graph, (from, inner): (&Node, &Expr), (to, op): (&Node, &dyn Fusible)) -> Fused {
    let (made, wanted) = (graph.ty(from.output), graph.ty(to.output));
    let expr = match op.fusion() {
        Fusion::Elementwise(expr) if made == wanted => expr,
        // A sum takes its size from its inputs: one of them must have the size of what is summed.
        Fusion::Prologue(expr)
            if to.inputs.len() == 1 && from.inputs.iter().any(|&v| graph.ty(v) == made) =>
        {
            expr
        }
        _ => return None,
    };
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
                (inner.clone(), from.inputs.iter().map(|&v| number(v)).collect())
            } else {
                (Expr::identity(), vec![number(v)])
            }
        })
        .collect();
    (inputs.len() <= MAX_INPUTS).then(|| (op.with_expression(expr.substitute(&parts), wanted), inputs))
}
