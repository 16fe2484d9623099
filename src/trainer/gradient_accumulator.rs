//! Programs that a run in several windows needs besides those of its windows: sums of gradients and reports, and the update.

use crate::engine::{Binding, Command, Engine, Program, Recording};
use crate::error::Result;
use crate::optim::accumulate::accumulate;
use crate::optim::update::LINE;
use crate::sim::core::Core;
use crate::sim::shared::Shared;
use crate::trainer::Training;
use crate::trainer::sizes::parts_len;
use crate::trainer::update::append_update;

/// Programs that a run in several windows needs besides those of its windows.
pub(crate) struct GradientAccumulator {
    /// Takes a window's gradients and report for the run's, or adds them.
    pub set: Program,
    pub add: Program,
    /// The same of the report alone.
    pub set_report: Program,
    pub add_report: Program,
    pub update: Program,
}

impl GradientAccumulator {
    /// Loads them, and makes the buffer that they add up.
    pub fn new(core: &mut Core, training: &Training) -> Result<Self> {
        let scalars = training.scalars();
        let (floats, report) = (core.layout.floats(), scalars * LINE);
        let mut update = Recording { label: "update".into(), ..Recording::default() };
        append_update(core, &mut update, scalars, training);
        let window = core.engine.allocate(parts_len(core, scalars), "a window's gradients")?;
        core.shared.set(Shared::Window, window);
        let at = |buffer: Shared, offset, len| Binding { offset, ..buffer.first(len) };
        let of_gradients = (at(Shared::Gradients, 0, floats), at(Shared::Window, 0, floats));
        let of_report = (at(Shared::Report, 0, report), at(Shared::Window, floats, report));
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

    /// Frees everything.
    pub fn drop(self, engine: &mut dyn Engine) {
        let GradientAccumulator { set, add, set_report, add_report, update } = self;
        [set, add, set_report, add_report, update].into_iter().for_each(|p| engine.unload(p));
    }
}
