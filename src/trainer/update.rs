//! The end of a training step: norms where they are needed, and the update of the parameters.

use crate::engine::{Binding, Command, Recording};
use crate::optim::norm::{self, NormBindings, Of};
use crate::optim::update::{ClipMode, LINE, UpdateBindings, update};
use crate::sim::core::Core;
use crate::sim::shared::Shared;
use crate::trainer::Training;

/// Whether a loss has penalties on parameters, so that their norms are wanted.
pub(crate) fn penalised(core: &Core) -> bool {
    core.layout.segments.list.iter().any(|s| s.l2 != 0.0 || s.l1 != 0.0 || s.norm != 0.0)
}

/// Whether the update itself needs the parameters' norms.
fn norms_in_update(core: &Core) -> bool {
    core.layout.segments.list.iter().any(|s| s.norm != 0.0)
}

/// Whether a look at the penalty takes a program of its own.
pub(crate) fn looks_apart(core: &Core) -> bool {
    penalised(core) && !norms_in_update(core)
}

fn sums(core: &Core, scalars: usize) -> Binding {
    let len = (4 * (core.layout.segments.list.len() + 1)).next_multiple_of(4);
    Binding { offset: scalars * LINE, ..Shared::Report.first(len) }
}

fn norm_bindings(core: &Core, scalars: usize) -> NormBindings {
    let floats = core.layout.floats();
    NormBindings {
        parameters: Shared::Parameters.first(floats),
        gradients: Shared::Gradients.first(floats),
        table: Shared::Table.first(core.layout.segments.table().len()),
        partials: Shared::Partials.first((2 * core.layout.segments.lines()).next_multiple_of(4).max(4)),
        sums: sums(core, scalars),
    }
}

pub(crate) fn norms_recording(core: &Core, scalars: usize) -> Recording {
    let mut commands = Vec::new();
    let family = core.device.target().family;
    if !core.layout.segments.list.is_empty() {
        let calls = norm::norms(&core.layout.segments, Of::Parameters, family, norm_bindings(core, scalars));
        commands.extend(calls.map(Command::Dispatch));
    }
    Recording { label: "norms".into(), locals: Vec::new(), commands }
}

/// Norms where they are needed, and the update.
pub(crate) fn append_update(core: &Core, recording: &mut Recording, scalars: usize, training: &Training) {
    let segments = &core.layout.segments;
    if segments.list.is_empty() {
        return;
    }
    let (bindings, family) = (norm_bindings(core, scalars), core.device.target().family);
    let mut add = |calls: [crate::engine::Dispatch; 2]| {
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
