//! Weights in the order in which a loop reads them best.

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::cpu::form::Form;
use crate::engine::{Family, Target};
use crate::graph::{Graph, Operator, Type, ValueId};
use crate::op::{Matmul, Transpose};
use crate::plan::Stage;

/// With fewer rows than this at once, the CPU's products are up to three times faster if the weights need not be
/// transposed on the way.
const FEW_ROWS: usize = 128;

/// Products with transposed weights that are repeated at each step of a loop read a copy instead, which is made once
/// before the loop. `stages` are those of the graph as it comes; true if anything has changed.
pub fn layout(graph: &mut Graph, stages: &[Stage], target: &Target) -> bool {
    if target.family != Family::Cpu || graph.dims.batch > FEW_ROWS * target.threads || graph.dims.steps < 2 {
        return false;
    }
    let mut copies: HashMap<(ValueId, usize), ValueId> = HashMap::new();
    let nodes: Vec<usize> = stages
        .iter()
        .filter(|s| matches!(s, Stage::Loop { .. }))
        .flat_map(|s| s.nodes().iter().map(|n| n.0))
        .collect();
    for n in nodes {
        let Some(matmul) = graph.nodes[n].op.downcast::<Matmul>().filter(|m| m.form == Form::Nt) else {
            continue;
        };
        let (matmul, weights) = (matmul.clone(), graph.nodes[n].inputs[1]);
        let groups = matmul.groups;
        let owner = graph.nodes[n].owner.clone();
        let copy = *copies.entry((weights, groups)).or_insert_with(|| {
            let ty = graph.ty(weights);
            let to = Type::fixed(groups * ty.cols, ty.rows / groups);
            graph.push(Arc::new(Transpose { groups }), vec![weights], to, owner)
        });
        graph.nodes[n].op = Arc::new(Matmul { form: Form::Nn, ..matmul }) as Arc<dyn Operator>;
        graph.nodes[n].inputs[1] = copy;
    }
    !copies.is_empty()
}
