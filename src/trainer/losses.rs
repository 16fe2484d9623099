//! Losses, activity penalties and metrics in a graph, and the gradients of the objective.

use std::collections::HashSet;

use crate::builder::gradient::gradient;
use crate::builder::{Built, Feed};
use crate::error::{Error, Result, guarded};
use crate::graph::{Scope, Tensor, Type, ValueId};
use crate::network::Bound;
use crate::plan::pass::batch_ops::Pack;
use crate::sim::core::Core;
use crate::trainer::key::{Pass, TrainKey};
use crate::trainer::targets::Targets;
use crate::trainer::{Loss, Over, Part, Terms, Training};

/// Scalars of a graph: losses with activity penalties, and metrics.
pub(crate) struct Scalars<'s> {
    pub losses: Vec<Tensor<'s>>,
    pub metrics: Vec<Tensor<'s>>,
}

/// Loss terms, activity penalties and metrics of a built network.
pub(crate) fn scalars<'s>(
    core: &Core,
    scope: &'s Scope,
    built: &mut Built<'s>,
    key: &TrainKey,
    training: &Training,
) -> Result<Scalars<'s>> {
    let Built { probes, parameters, feeds, .. } = built;
    let mut targets = Targets::new(core, scope, key, feeds);
    // In windows, each value is multiplied by the window's share of the run, so that sums over windows are the run's values.
    let mut number = |feed: Feed| targets.feed(feed, Type::fixed(1, 1));
    let window = (key.pass != Pass::Whole).then(|| (number(Feed::Share), number(Feed::Ends)));
    let output = |name: &str| Ok::<_, Error>(probes[core.network.find_probe(name)?.0]);
    let part_of_run = |value: Tensor<'s>, over: Over| match (window, over) {
        (None, _) => value,
        (Some((_, ends)), Over::Last) => value * ends,
        (Some((share, _)), _) => value * share,
    };
    let (mut losses, mut metrics) = (Vec::new(), Vec::new());
    for term in &training.objective.terms {
        let by_row = matches!(term.loss, Loss::CrossEntropy);
        let compared = targets.compared(&term.probe, output(&term.probe)?, term.over, by_row)?;
        let mean = term.loss.tensor(compared.output, compared.target).scale(term.weight);
        losses.push(part_of_run(compared.factor.map_or(mean, |factor| mean * factor), compared.over));
    }
    let by_probe = if training.objective.custom.is_empty() { Vec::new() } else { targets.all()? };
    for Part { name, value: part, .. } in &training.objective.custom {
        scope.set_owner(name);
        let bound = |values: Vec<(String, Tensor<'s>)>| Bound { scope, prefix: String::new(), values };
        let outputs = core.network.probes.iter().map(|p| p.name.clone()).zip(probes.iter().copied());
        let parameters =
            core.network.parameters.iter().map(|p| p.name.clone()).zip(parameters.iter().copied());
        let terms = Terms {
            outputs: bound(outputs.collect()),
            targets: bound(by_probe.clone()),
            parameters: bound(parameters.collect()),
        };
        let value = guarded(&format!("the objective '{name}'"), || part(&terms))?;
        if value.ty() == Type::fixed(1, 1) {
            losses.push(part_of_run(value, Over::Every));
        } else {
            let left = format!("the custom objective '{name}'");
            scope.fail(Error::shape(left, value.ty(), "the value of a custom part", "one number, [1, 1]"));
            losses.push(scope.constant(0.0));
        }
    }
    let mut activities = Vec::new();
    for (probe, penalty) in &training.objective.activities {
        let output = output(probe)?;
        scope.set_owner(probe);
        activities.extend(penalty.on_activity(output));
    }
    if !activities.is_empty() {
        losses.push(part_of_run(scope.sum(&activities), Over::Every));
    }
    for metric in &training.metrics {
        let (probe, by_row) = (metric.probe(), metric.name() == "accuracy");
        let over = training.objective.over_of(probe);
        let compared = targets.compared(probe, output(probe)?, over, by_row)?;
        let mean = metric.tensor(compared.output, compared.target, compared.factor.is_some());
        metrics.push(part_of_run(compared.factor.map_or(mean, |factor| mean * factor), compared.over));
    }
    Ok(Scalars { losses, metrics })
}

/// The sum of the losses of a built network.
pub(crate) fn total<'s>(
    core: &Core,
    scope: &'s Scope,
    built: &mut Built<'s>,
    key: &TrainKey,
    training: &Training,
) -> Result<Tensor<'s>> {
    Ok(scope.sum(&scalars(core, scope, built, key, training)?.losses))
}

/// Gradients of the losses' sum for all trained parameters, merged ones as one, with their offsets in the parameters' buffer.
pub(crate) fn gradients<'s>(
    core: &Core,
    scope: &'s Scope,
    built: &Built<'s>,
    packs: &[Pack],
    scalars: &Scalars<'s>,
) -> Result<Vec<(usize, ValueId)>> {
    let total = scope.sum(&scalars.losses);
    let trained = |i: &usize| core.layout.segments.list[*i].rate != 0.0;
    let whole = packs.iter().filter(|p| p.members.iter().any(trained));
    let whole = whole.map(|p| (p.place.offset, p.members[0], p.value));
    let packed: HashSet<usize> = packs.iter().flat_map(|p| &p.members).copied().collect();
    let packed = |i: &usize| packed.contains(i);
    let alone = (0..built.parameters.len()).filter(|i| trained(i) && !packed(i));
    let alone = alone.map(|i| (core.layout.places[i].offset, i, built.parameters[i].id));
    let wanted: Vec<(usize, usize, ValueId)> = alone.chain(whole).collect();
    let values: Vec<ValueId> = wanted.iter().map(|w| w.2).collect();
    let name = |value: ValueId| {
        let found = wanted.iter().find(|w| w.2 == value);
        found.map_or_else(|| "a parameter".into(), |w| format!("'{}'", core.network.parameters[w.1].name))
    };
    let adjoints = gradient(scope, total, &values, name)?;
    Ok(wanted.iter().zip(adjoints).filter_map(|(w, a)| Some((w.0, a?.id))).collect())
}
