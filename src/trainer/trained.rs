//! Parameters that a training changes.

use crate::builder::gradient::gradient;
use crate::builder::{self, Settings};
use crate::error::{Error, Result};
use crate::graph::{Dims, Scope, ValueId};
use crate::network::ProbeId;
use crate::op::Dropout;
use crate::plan::{self, Output, Place};
use crate::sim::core::Core;
use crate::trainer::key::{Pass, TargetKey, TrainKey};
use crate::trainer::losses::total;
use crate::trainer::{Roles, Training};

/// Names of the parameters that training changes; an error if there are none.
pub(crate) fn trained<'n>(roles: &Roles, core: &'n Core) -> Result<Vec<&'n str>> {
    let parameters = core.network.parameters();
    let moves = |at: &usize| {
        let s = &core.layout.segments.list[*at];
        let penalised = [s.l2, s.l1, s.norm, s.decay].iter().any(|&x| x != 0.0);
        s.rate != 0.0 && (roles.used[*at] || penalised)
    };
    let names: Vec<&str> =
        (0..parameters.len()).filter(moves).map(|at| parameters[at].name.as_str()).collect();
    if !names.is_empty() {
        return Ok(names);
    }
    let why = match parameters.len() {
        0 => "the network has no parameters".into(),
        n => roles.why_not(&core.network, &(0..n).collect::<Vec<_>>()),
    };
    let problem = format!("no parameter is trained: {why}; give one that feeds a loss a rate above 0");
    Err(Error::invalid("the training", problem))
}

/// For each parameter, true if a loss depends on it or it is frozen; and warnings about dropouts that no loss depends on. All true
/// if this depends on the data.
pub(crate) fn used(core: &Core, training: &Training, rates: &[f32]) -> (Vec<bool>, Vec<String>) {
    let wanted: Vec<usize> = (0..rates.len()).filter(|&i| rates[i] != 0.0).collect();
    let mut used = vec![true; rates.len()];
    let Ok((connected, idle)) = connected(core, training, &wanted) else {
        return (used, Vec::new());
    };
    wanted.iter().zip(connected).for_each(|(&i, connected)| used[i] = connected);
    let note = |name| format!("the dropout of '{name}' has no effect: no loss depends on it");
    (used, idle.into_iter().map(note).collect())
}

/// For each wanted parameter, true if the losses have a gradient for it, for placeholder data; and the layers of dropouts that no
/// loss depends on.
///
/// # Errors
/// An operator without a gradient, or a part of the objective that needs other targets.
fn connected(core: &Core, training: &Training, wanted: &[usize]) -> Result<(Vec<bool>, Vec<String>)> {
    let dims = Dims { batch: core.minibatch, steps: 1 };
    let settings = Settings { dims, dt: core.dt, training: true, spiking: training.spiking, held: &|_| true };
    let scope = Scope::new(dims);
    let mut built = builder::build(&core.network, &scope, &settings)?;
    let probes = (0..core.network.probes.len()).map(ProbeId);
    let target = |p: ProbeId| {
        let (name, cols) = (core.network.probe_name(p).to_string(), core.network.probe_size(p)?);
        Some(TargetKey { name, held: true, cols, gaps: false })
    };
    let targets = probes.filter_map(target).collect();
    let key = TrainKey { dims, held: Vec::new(), targets, update: true, pass: Pass::Whole };
    let total = total(core, &scope, &mut built, &key, training)?;
    let values: Vec<ValueId> = wanted.iter().map(|&i| built.parameters[i].id).collect();
    let adjoints = gradient(&scope, total, &values, |_| String::new())?;
    let connected = adjoints.iter().map(Option::is_some).collect();
    let output = Output { value: total.id, place: Place::Keep };
    let graph = scope.finish()?;
    let live = plan::stages::live(&graph, &[output]);
    let nodes = graph.nodes.iter().zip(live);
    // Dropouts of the gradient are left out.
    let idle =
        nodes.filter(|(node, live)| !live && !node.backward && node.op.downcast::<Dropout>().is_some());
    Ok((connected, idle.map(|(node, _)| node.owner.to_string()).collect()))
}
