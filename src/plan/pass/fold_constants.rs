//! Makes constants among an elementwise operator's or sum's inputs numbers in its expression.
//!
//! - Before: any graph.
//! - After: no elementwise operator reads a constant; one number that follows from constants alone is a constant.
//! - Keeps: values, outputs and stages.

use crate::engine::Target;
use crate::error::Result;
use crate::expr::{Expr, Instr};
use crate::graph::{Fusion, Graph, Source, Type};
use crate::plan::pass::Ir;

/// Folds constants into expressions. Never fails.
pub fn fold_constants(mut ir: Ir, _: &Target) -> Result<Ir> {
    fold(&mut ir.graph);
    Ok(ir)
}

fn fold(graph: &mut Graph) {
    for n in 0..graph.nodes.len() {
        let node = &graph.nodes[n];
        let Some(op) = node.op.fuse() else { continue };
        let (expr, whole) = match op.fusion() {
            Fusion::Elementwise(expr) => (expr, true),
            Fusion::Prologue(expr) if node.inputs.len() > 1 => (expr, false),
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
        if inputs.is_empty() && whole && ty == Type::fixed(1, 1) {
            // Nothing is left to compute: what reads it, later in the list, sees a constant.
            let output = node.output;
            graph.values[output.0].source = Source::Constant(expr.reference(|_| 0.0) as f32);
            continue;
        }
        let op = op.with_expression(expr, ty);
        let node = &mut graph.nodes[n];
        (node.op, node.inputs) = (op, inputs);
    }
}
