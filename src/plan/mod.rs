//! Graph → schedule → recording: pure passes on plain data.
//!
//! [`simplify`] folds constants and fuses elementwise work, [`stages`] finds what loops in time and what does not,
//! [`recompute`] and [`order`] keep few values at once, [`abreast`] joins loops that do not wait for each other,
//! [`totals`] lets loops add up what is summed over time,
//! [`fuse`] lets loops walk through time inside of a shader, [`mod@record`] places buffers and writes down the dispatches.

pub mod abreast;
pub mod carry;
pub mod cut;
pub mod fuse;
mod histories;
pub mod layout;
pub mod merge;
pub mod order;
mod place;
pub mod recompute;
pub mod record;
pub mod report;
pub mod simplify;
pub mod stages;
pub mod totals;

use std::collections::BTreeMap;

pub use carry::Carry;
pub use record::record;
pub use report::Report;
pub use stages::Stage;

use crate::engine::{Recording, Target};
use crate::error::Result;
use crate::graph::{Graph, Placed, Type, ValueId};

/// Where an output of a plan is to be written.
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

/// A value that must be there when the plan has run.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The value.
    pub value: ValueId,
    /// Where to.
    pub place: Place,
}

/// Where parameters lie in the shared buffer of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterPlace {
    /// First float.
    pub offset: usize,
    /// Shape.
    pub ty: Type,
}

/// What is to be planned.
pub struct Request<'a> {
    /// The operators.
    pub graph: Graph,
    /// What must be there in the end.
    pub outputs: Vec<Output>,
    /// Where the parameters lie, in shared buffer 0.
    pub parameters: &'a [ParameterPlace],
    /// The shared buffer that carries the states of operators from one replay to the next; without it each replay
    /// starts anew.
    pub carry: Option<(usize, Carry)>,
    /// The device.
    pub target: &'a Target,
    /// Name of the recording.
    pub label: &'a str,
}

/// A recording and where its inputs and outputs lie.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What an engine replays.
    pub recording: Recording,
    /// The request's outputs, in its order.
    pub outputs: Vec<Placed>,
    /// The graph's feeds by number.
    pub feeds: BTreeMap<usize, Placed>,
    /// Contents that buffers must have before the first replay, from the place's first element on.
    pub constants: Vec<(Placed, Vec<f32>)>,
    /// What runs in which way, with the user's objects.
    pub stages: Vec<Stage>,
    /// Where the host interrupts the recording.
    pub cuts: Vec<cut::Cut>,
    /// For each stage its dispatches; of a loop those of one step.
    pub calls: Vec<usize>,
    /// For each stage its dispatches of a whole window, if it is a loop that walks through time inside of them; else zero.
    pub fused: Vec<usize>,
    /// Floats of buffers that each step more takes; memory inside of operators is not counted.
    pub floats_per_step: usize,
    /// The graph after simplification.
    pub graph: Graph,
}

/// All passes, one after the other.
///
/// # Errors
/// A cycle without a delay, or a value that the device cannot bind.
pub fn plan(request: Request<'_>) -> Result<Plan> {
    let Request { mut graph, outputs, parameters, carry, target, label } = request;
    simplify::split_sums(&mut graph);
    let before = stages::stages(&graph, &outputs)?;
    let (mut graph, outputs) = simplify::simplify(graph, outputs, &before);
    let mut stages = stages::stages(&graph, &outputs)?;
    if recompute::recompute(&mut graph, &outputs, &stages) {
        simplify::fuse(&mut graph, &outputs, &stages);
        stages = stages::stages(&graph, &outputs)?;
    }
    stages = recompute::sink(&graph, &outputs, stages);
    if layout::layout(&mut graph, &stages, target) {
        stages = recompute::sink(&graph, &outputs, stages::stages(&graph, &outputs)?);
    }
    let stages = totals::totals(&graph, &outputs, abreast::abreast(&graph, stages), target);
    let stages = order::order(&graph, &outputs, stages);
    record(record::Input { graph, outputs, parameters, carry, target, label, stages })
}
