//! Splits sums of more values than a kernel can read into sums of sums, as flat as a tree can be.
//!
//! - Before: any graph.
//! - After: no sum has more inputs than [`MAX_INPUTS`].
//! - Keeps: outputs and stages; values, up to the order in which terms are added.

use std::sync::Arc;

use crate::engine::Target;
use crate::error::Result;
use crate::expr::Expr;
use crate::graph::{Fusion, Graph, Node, NodeId, Operator, Type, ValueId};
use crate::op::Map;
use crate::op::map::{self, MAX_INPUTS};
use crate::plan::pass::Ir;

/// Splits wide sums. Never fails.
pub fn split_sums(mut ir: Ir, _: &Target) -> Result<Ir> {
    let graph = &mut ir.graph;
    let wide = |n: &usize| is_wide_sum(graph.node(NodeId(*n)));
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
    Ok(ir)
}

/// True for a sum of more inputs than a kernel reads.
pub(in crate::plan) fn is_wide_sum(node: &Node) -> bool {
    match node.op.fuse().map(|op| op.fusion()) {
        Some(Fusion::Elementwise(expr)) => map::is_wide_sum(expr, node.inputs.len()),
        _ => false,
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
