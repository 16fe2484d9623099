//! Commands at the end of a training step: norms, and the update of the parameters.

use crate::engine::{Binding, Command, Dispatch, Recording};
use crate::optim::norm::{self, NormBindings, Of};
use crate::optim::update::{ClipMode, LINE, UpdateBindings, update};
use crate::sim::core::Core;
use crate::sim::shared::Shared;
use crate::trainer::Training;
use crate::trainer::sizes::{partials_len, sums_len};

/// True if there are penalties on parameters, whose report needs their norms.
pub(crate) fn penalised(core: &Core) -> bool {
    core.layout.segments.list.iter().any(|s| s.l2 != 0.0 || s.l1 != 0.0 || s.norm != 0.0)
}

/// True if the update itself needs the parameters' norms.
fn norms_in_update(core: &Core) -> bool {
    core.layout.segments.list.iter().any(|s| s.norm != 0.0)
}

/// True if a report of the penalty needs a program of its own for the norms.
pub(crate) fn norms_apart(core: &Core) -> bool {
    penalised(core) && !norms_in_update(core)
}

fn sums(core: &Core, scalars: usize) -> Binding {
    Binding { offset: scalars * LINE, ..Shared::Report.first(sums_len(core)) }
}

fn norm_bindings(core: &Core, scalars: usize) -> NormBindings {
    let floats = core.layout.floats();
    NormBindings {
        parameters: Shared::Parameters.first(floats),
        gradients: Shared::Gradients.first(floats),
        table: Shared::Table.first(core.layout.segments.table().len()),
        partials: Shared::Partials.first(partials_len(core)),
        sums: sums(core, scalars),
    }
}

/// Commands that compute the parameters' norms.
pub(crate) fn norms_recording(core: &Core, scalars: usize) -> Recording {
    let mut commands = Vec::new();
    let family = core.device.target().family;
    if !core.layout.segments.list.is_empty() {
        let calls = norm::norms(&core.layout.segments, Of::Parameters, family, norm_bindings(core, scalars));
        commands.extend(calls.map(Command::Dispatch));
    }
    Recording { label: "norms".into(), locals: Vec::new(), commands }
}

/// Appends the update, and the norms that it needs.
pub(crate) fn append_update(core: &Core, recording: &mut Recording, scalars: usize, training: &Training) {
    let segments = &core.layout.segments;
    if segments.list.is_empty() {
        return;
    }
    let (bindings, family) = (norm_bindings(core, scalars), core.device.target().family);
    let mut add = |calls: [Dispatch; 2]| {
        recording.commands.extend(calls.map(Command::Dispatch));
    };
    let clip = training.clip.mode();
    if norms_in_update(core) {
        add(norm::norms(segments, Of::Parameters, family, bindings));
    }
    if clip == ClipMode::GlobalNorm {
        add(norm::norms(segments, Of::Gradients, family, bindings));
    }
    let (rule, momentum) = (training.optimiser.rule(), training.optimiser.momentum_of());
    let used = rule.slots(momentum);
    let slot = |i: usize| Shared::Slot(i).first(if used[i] { core.layout.floats() } else { LINE });
    let buffers = UpdateBindings {
        parameters: bindings.parameters,
        slots: [slot(0), slot(1), slot(2)],
        gradients: bindings.gradients,
        table: bindings.table,
        sums: bindings.sums,
        hyper: Shared::Hyper.first(8),
    };
    recording.commands.push(Command::Dispatch(update(segments, rule, momentum, clip, family, buffers)));
}
