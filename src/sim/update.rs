//! The end of a training step: norms where they are needed, and the update of the parameters.

use super::Simulator;
use super::programs::{GRADIENTS, HYPER, PARAMETERS, PARTIALS, Planned, REPORT, SLOTS, TABLE};
use super::train::{Compiled, Part, TrainKey};
use crate::engine::{Binding, BufferRef, Command, Recording};
use crate::op::norm::{self, NormBindings, Of};
use crate::op::update::{ClipMode, LINE, UpdateBindings, update};
use crate::train::Training;

impl Simulator {
    /// Whether a loss has penalties on parameters, so that their norms are wanted.
    pub(super) fn penalised(&self) -> bool {
        self.layout.segments.list.iter().any(|s| s.l2 != 0.0 || s.l1 != 0.0 || s.norm != 0.0)
    }

    /// Whether the update itself needs the parameters' norms.
    fn norms_in_update(&self) -> bool {
        self.layout.segments.list.iter().any(|s| s.norm != 0.0)
    }

    /// Whether a look at the penalty takes a program of its own.
    pub(super) fn looks_apart(&self) -> bool {
        self.penalised() && !self.norms_in_update()
    }

    fn sums(&self, scalars: usize) -> Binding {
        let len = (4 * (self.layout.segments.list.len() + 1)).next_multiple_of(4);
        Binding { buffer: BufferRef::Shared(REPORT), offset: scalars * LINE, len }
    }

    fn norm_bindings(&self, scalars: usize) -> NormBindings {
        let floats = self.layout.floats();
        NormBindings {
            parameters: self.whole(PARAMETERS, floats),
            gradients: self.whole(GRADIENTS, floats),
            table: self.whole(TABLE, self.layout.segments.table().len()),
            partials: self.whole(PARTIALS, (2 * self.layout.segments.lines()).next_multiple_of(4).max(4)),
            sums: self.sums(scalars),
        }
    }

    pub(super) fn norms_recording(&self, scalars: usize) -> Recording {
        let mut commands = Vec::new();
        let family = self.device.target().family;
        if !self.layout.segments.list.is_empty() {
            let calls =
                norm::norms(&self.layout.segments, Of::Parameters, family, self.norm_bindings(scalars));
            commands.extend(calls.map(Command::Dispatch));
        }
        Recording { label: "norms".into(), locals: Vec::new(), commands }
    }

    /// The update, where it is a part of the program.
    pub(super) fn append_own_update(&self, key: &TrainKey, planned: &mut Planned, compiled: &Compiled) {
        if key.update && key.part == Part::Whole {
            self.append_update(&mut planned.plan.recording, compiled.scalars(), &compiled.training);
        }
    }

    /// Norms where they are needed, and the update.
    pub(super) fn append_update(&self, recording: &mut Recording, scalars: usize, training: &Training) {
        let segments = &self.layout.segments;
        if segments.list.is_empty() {
            return;
        }
        let (bindings, family) = (self.norm_bindings(scalars), self.device.target().family);
        let mut add = |calls: [crate::engine::Dispatch; 2]| {
            recording.commands.extend(calls.map(Command::Dispatch));
        };
        let clip = training.clip.mode();
        if self.norms_in_update() {
            add(norm::norms(segments, Of::Parameters, family, bindings));
        }
        if clip == ClipMode::GlobalNorm {
            add(norm::norms(segments, Of::Gradients, family, bindings));
        }
        let (rule, momentum) = (training.optimiser.rule(), training.optimiser.momentum_of());
        let used = rule.slots(momentum);
        let slot = |i: usize| self.whole(SLOTS + i, if used[i] { self.layout.floats() } else { LINE });
        let buffers = UpdateBindings {
            parameters: bindings.parameters,
            slots: [slot(0), slot(1), slot(2)],
            gradients: bindings.gradients,
            table: bindings.table,
            sums: bindings.sums,
            hyper: self.whole(HYPER, 8),
        };
        recording.commands.push(Command::Dispatch(update(segments, rule, momentum, clip, family, buffers)));
    }
}
