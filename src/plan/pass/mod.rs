//! The passes, one a file, in the order in which they run.
//!
//! [`batch_ops`] runs before the gradient of a graph is taken. [`PASSES`] rewrite the graph with its gradient and decide
//! how it runs. [`mod@record`] then writes the recording of an engine: `allocate` places values in buffers,
//! [`state_layout`] and `history` lay out the values that are carried between replays and steps, [`host_call`] cuts the
//! recording at calls of the host, and [`persistent_loop`] takes loops into a shader.

pub mod accumulate_in_loop;
mod allocate;
pub mod batch_ops;
pub mod common_subexpressions;
pub mod fold_constants;
pub mod fuse_elementwise;
mod history;
pub mod host_call;
pub mod insert_copies;
pub mod merge_loops;
pub mod order_stages;
pub mod persistent_loop;
pub mod record;
pub mod rematerialize;
pub mod schedule;
pub mod split_sums;
pub mod state_layout;
pub mod weight_layout;

use crate::engine::Target;
use crate::error::Result;
use crate::graph::Graph;
use crate::plan::{Output, Stage};

/// The program in the making: what a pass gets and returns.
#[derive(Clone, Debug)]
pub struct Ir {
    /// The operators.
    pub graph: Graph,
    /// Values the plan must produce.
    pub outputs: Vec<Output>,
    /// Operators in the order and the way in which they run; empty before the first [`schedule`](mod@schedule).
    pub stages: Vec<Stage>,
}

impl Ir {
    /// A graph without stages.
    pub fn new(graph: Graph, outputs: Vec<Output>) -> Self {
        Self { graph, outputs, stages: Vec::new() }
    }
}

/// A rewrite of the graph, its outputs or its stages for a device.
pub type Pass = fn(Ir, &Target) -> Result<Ir>;

/// The passes by name, in order.
pub const PASSES: [(&str, Pass); 13] = [
    ("split_sums", split_sums::split_sums),
    ("schedule", schedule::schedule),
    ("fold_constants", fold_constants::fold_constants),
    ("common_subexpressions", common_subexpressions::common_subexpressions),
    ("insert_copies", insert_copies::insert_copies),
    // Outputs that are copies of constants.
    ("fold_constants", fold_constants::fold_constants),
    ("fuse_elementwise", fuse_elementwise::fuse_elementwise),
    ("schedule", schedule::schedule),
    ("rematerialize", rematerialize::rematerialize),
    ("weight_layout", weight_layout::weight_layout),
    ("merge_loops", merge_loops::merge_loops),
    ("accumulate_in_loop", accumulate_in_loop::accumulate_in_loop),
    ("order_stages", order_stages::order_stages),
];

/// All of [`PASSES`], one after the other.
///
/// # Errors
/// A cycle without a delay, or a sum over time on a cycle.
pub fn run(ir: Ir, target: &Target) -> Result<Ir> {
    PASSES.iter().try_fold(ir, |ir, (_, pass)| pass(ir, target))
}
