//! Makes equal operators on equal inputs one, and removes copies.
//!
//! - Before: any graph.
//! - After: no two operators without a state have the same identity and inputs, and none only copies.
//! - Keeps: stages, and operators with a state, each of which is carried by itself.

use std::collections::HashMap;

use crate::engine::Target;
use crate::error::Result;
use crate::graph::{Fusion, Graph, Identity, ValueId};
use crate::plan::Output;
use crate::plan::pass::Ir;
use crate::plan::stages::live;

/// Merges equal operators and removes copies. Never fails.
pub fn common_subexpressions(mut ir: Ir, _: &Target) -> Result<Ir> {
    let same = replace(&mut ir.graph, &ir.outputs);
    ir.outputs.iter_mut().for_each(|o| o.value = same[o.value.0]);
    Ok(ir)
}

/// Each value's replacement.
fn replace(graph: &mut Graph, outputs: &[Output]) -> Vec<ValueId> {
    let mut same: Vec<ValueId> = (0..graph.values.len()).map(ValueId).collect();
    let live = live(graph, outputs);
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
        let is_copy = match node.op.fuse().map(|op| op.fusion()) {
            Some(Fusion::Elementwise(expr)) => expr.is_identity(),
            _ => false,
        };
        if is_copy && graph.ty(node.inputs[0]) == graph.ty(node.output) {
            same[node.output.0] = node.inputs[0];
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
