//! Adds the copies that buffers ask for: of outputs that others read, and of states that an operator reads itself.
//!
//! - Before: [`common_subexpressions`](mod@crate::plan::pass::common_subexpressions), which would remove them.
//! - After: outputs with a place of their own are written by operators without readers; no state is its own input.
//! - Keeps: values and stages.

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::Target;
use crate::error::Result;
use crate::expr::Expr;
use crate::graph::{Graph, Source, ValueId};
use crate::op::Map;
use crate::plan::pass::Ir;
use crate::plan::stages::live;
use crate::plan::{Output, Place};

/// Copies outputs and states that a kernel could not write. Never fails.
pub fn insert_copies(mut ir: Ir, _: &Target) -> Result<Ir> {
    separate_outputs(&mut ir.graph, &mut ir.outputs);
    separate_own(&mut ir.graph);
    Ok(ir)
}

/// Copies outputs with a place of their own that others read, too: a reader may write to another place of the same buffer,
/// and an adapter cannot read a buffer that it writes.
fn separate_outputs(graph: &mut Graph, outputs: &mut [Output]) {
    let mut readers: HashMap<ValueId, usize> = HashMap::new();
    let live = live(graph, outputs);
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
}

/// Copies outputs that their own operator delays: a kernel cannot read the buffer that it writes.
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
