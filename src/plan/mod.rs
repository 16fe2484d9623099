//! The planner: a compiler from a graph to a recording.
//!
//! A graph of operators goes through the passes of [`pass`], one after the other. They fold, fuse and batch operators, find
//! what loops in time ([`stages`]) and order it; the last ones place values in buffers and write down the dispatches.

pub mod pass;
pub mod report;
mod rolling;
pub mod stages;

use std::collections::BTreeMap;

pub use pass::state_layout::Carry;
pub use report::Report;
pub use stages::Stage;

use crate::engine::{Recording, Target};
use crate::error::Result;
use crate::graph::{Graph, Placed, Type, ValueId};
use crate::plan::pass::Ir;
use crate::plan::pass::host_call::Cut;
use crate::plan::pass::record::{Surroundings, record};

/// Destination of an output.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// A buffer of its own, to be read back.
    Keep,
    /// A shared buffer, at an offset in floats.
    Shared {
        /// Index into the engine's shared list.
        buffer: usize,
        /// First float.
        offset: usize,
    },
}

/// Value that a plan must produce.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The value.
    pub value: ValueId,
    /// Its destination.
    pub place: Place,
}

/// Place of a parameter in the shared buffer of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterPlace {
    /// First float.
    pub offset: usize,
    /// Shape.
    pub ty: Type,
}

/// Input of [`plan`].
pub struct Request<'a> {
    /// The operators.
    pub graph: Graph,
    /// Values that the plan must produce.
    pub outputs: Vec<Output>,
    /// Places of the parameters in shared buffer 0.
    pub parameters: &'a [ParameterPlace],
    /// Shared buffer that carries the states of operators from one replay to the next; `None` starts each replay anew.
    pub carry: Option<(usize, Carry)>,
    /// The device.
    pub target: &'a Target,
    /// Name of the recording.
    pub label: &'a str,
}

/// A recording with the places of its inputs and outputs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Commands that an engine replays.
    pub recording: Recording,
    /// Places of the request's outputs, in its order.
    pub outputs: Vec<Placed>,
    /// Places of the graph's feeds, by number.
    pub feeds: BTreeMap<usize, Placed>,
    /// Contents of buffers before the first replay, from the place's first element on.
    pub constants: Vec<(Placed, Vec<f32>)>,
    /// Stages in order.
    pub stages: Vec<Stage>,
    /// Host calls between the commands, in order.
    pub cuts: Vec<Cut>,
    /// Dispatches of each stage; of a loop, those of one step.
    pub calls: Vec<usize>,
    /// For each stage, dispatches of the whole window if it is a loop that walks through time inside of them; else 0.
    pub fused: Vec<usize>,
    /// Floats of buffers that one more step takes, without scratch memory of operators.
    pub floats_per_step: usize,
    /// The graph after all passes.
    pub graph: Graph,
}

/// The plan of a graph: all passes, then the recording.
///
/// # Errors
/// A cycle without a delay, or a value that the device cannot bind.
pub fn plan(request: Request<'_>) -> Result<Plan> {
    let Request { graph, outputs, parameters, carry, target, label } = request;
    let ir = pass::run(Ir::new(graph, outputs), target)?;
    record(ir, &Surroundings { parameters, carry, target, label })
}
