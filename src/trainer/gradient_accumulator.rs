//! Accumulation of gradients and reports over the windows of a run, and the update after them.

use crate::engine::{Binding, Command, Engine, Program, Recording};
use crate::error::Result;
use crate::optim::accumulate::accumulate;
use crate::optim::update::LINE;
use crate::sim::core::Core;
use crate::sim::shared::Shared;
use crate::trainer::Training;
use crate::trainer::sizes::parts_len;
use crate::trainer::update::append_update;

/// Programs that accumulate the gradients and reports of windows.
pub(crate) struct GradientAccumulator {
    /// Copies the first window's gradients and report to the run's.
    pub set: Program,
    /// Adds another window's gradients and report to the run's.
    pub add: Program,
    /// `set` and `add` for the report alone.
    pub set_report: Program,
    pub add_report: Program,
    /// Updates the parameters.
    pub update: Program,
}

impl GradientAccumulator {
    /// Loads the programs, and allocates the buffer of a window's gradients and report.
    pub fn new(core: &mut Core, training: &Training) -> Result<Self> {
        let scalars = training.scalars();
        let (floats, report) = (core.layout.floats(), scalars * LINE);
        let mut update = Recording { label: "update".into(), ..Recording::default() };
        append_update(core, &mut update, scalars, training);
        let window = core.engine.allocate(parts_len(core, scalars), "a window's gradients")?;
        core.shared.set(Shared::Window, window);
        let binding = |buffer: Shared, offset, len| Binding { offset, ..buffer.first(len) };
        let of_gradients = (binding(Shared::Gradients, 0, floats), binding(Shared::Window, 0, floats));
        let of_report = (binding(Shared::Report, 0, report), binding(Shared::Window, floats, report));
        let family = core.device.target().family;
        let set = |(to, from): (Binding, Binding)| Command::Copy { from, to };
        let add = |(to, from): (Binding, Binding)| Command::Dispatch(accumulate(to, from, family));
        let both = [of_gradients, of_report];
        let mut load = |label: &str, commands: Vec<Command>| {
            let recording = Recording { label: label.into(), locals: Vec::new(), commands };
            core.engine.load(&recording, core.shared.all())
        };
        Ok(Self {
            set: load("first window", both.map(set).into())?,
            add: load("next window", both.map(add).into())?,
            set_report: load("first window's report", vec![set(of_report)])?,
            add_report: load("next window's report", vec![add(of_report)])?,
            update: load("update", update.commands)?,
        })
    }

    /// Frees its programs.
    pub fn unload(self, engine: &mut dyn Engine) {
        let GradientAccumulator { set, add, set_report, add_report, update } = self;
        [set, add, set_report, add_report, update].into_iter().for_each(|p| engine.unload(p));
    }
}
