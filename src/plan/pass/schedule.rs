//! Finds how each operator runs: in a batch of all steps, as a scan, or in a loop over the steps.
//!
//! - Before: any graph.
//! - After: the stages are those of the graph as it is, each after those it reads from.
//! - Keeps: graph and outputs.

use crate::engine::Target;
use crate::error::Result;
use crate::plan::pass::Ir;
use crate::plan::stages::stages;

/// Finds the stages.
///
/// # Errors
/// A cycle without a delay, or a sum over time on a cycle.
pub fn schedule(mut ir: Ir, _: &Target) -> Result<Ir> {
    ir.stages = stages(&ir.graph, &ir.outputs)?;
    Ok(ir)
}
