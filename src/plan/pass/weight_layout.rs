//! Transposes weights once, before the loop that reads them at each step.
//!
//! - Before: stages after [`rematerialize`](mod@crate::plan::pass::rematerialize), so that a loop has all its products.
//! - After: on the CPU and with few rows, no product in a loop reads its weights across their rows.
//! - Keeps: values, up to the order in which terms are added; outputs.

use std::collections::HashMap;

use crate::engine::{Family, Target};
use crate::error::Result;
use crate::graph::{Graph, Identity, Relaid, ValueId};
use crate::plan::Stage;
use crate::plan::pass::Ir;
use crate::plan::pass::rematerialize::sink;
use crate::plan::pass::schedule::schedule;

/// With fewer rows than this at once, the CPU's products are up to three times faster if the weights need not be
/// transposed on the way.
const FEW_ROWS: usize = 128;

/// Transposes the weights of products in loops.
///
/// # Errors
/// A cycle without a delay.
pub fn weight_layout(mut ir: Ir, target: &Target) -> Result<Ir> {
    let dims = ir.graph.dims;
    if target.family != Family::Cpu || dims.batch > FEW_ROWS * target.threads || dims.steps < 2 {
        return Ok(ir);
    }
    if transpose(&mut ir.graph, &ir.stages) {
        ir = schedule(ir, target)?;
        ir.stages = sink(&ir.graph, &ir.outputs, ir.stages);
    }
    Ok(ir)
}

/// Gives the products of loops transposed copies of their weights, one for all that read the same. True if the graph has
/// changed.
fn transpose(graph: &mut Graph, stages: &[Stage]) -> bool {
    let mut copies: HashMap<(ValueId, Option<Identity>), ValueId> = HashMap::new();
    let loops = stages.iter().filter(|s| matches!(s, Stage::Loop { .. }));
    for n in loops.flat_map(Stage::nodes) {
        let node = graph.node(*n);
        let Some(Relaid { product, copy }) = node.op.with_transposed_weights() else { continue };
        let (weights, owner) = (node.inputs[1], node.owner.clone());
        let Ok(ty) = copy.infer(&[graph.ty(weights)]) else { continue };
        let known = (weights, copy.identity());
        let copy = *copies.entry(known).or_insert_with(|| graph.push(copy, vec![weights], ty, owner));
        graph.nodes[n.0].op = product;
        graph.nodes[n.0].inputs[1] = copy;
    }
    !copies.is_empty()
}
