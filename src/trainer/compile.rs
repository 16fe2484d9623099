//! Compilation of a training: plans and programs of forward pass, losses, gradients and update.

use std::collections::{BTreeSet, HashSet};

use crate::builder::{self, Settings};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::network::ObjectId;
use crate::optim::update::LINE;
use crate::plan::{self, Output, Place};
use crate::sim::core::Core;
use crate::sim::lru_cache::LruCache;
use crate::sim::program::{LoadedProgram, PlannedProgram, is_few};
use crate::sim::shared::Shared;
use crate::trainer::compiled::Trainer;
use crate::trainer::key::{Pass, TrainKey};
use crate::trainer::losses::{gradients, scalars};
use crate::trainer::sizes::training_sizes;
use crate::trainer::trained::used;
use crate::trainer::update::{append_update, norms_recording};
use crate::trainer::{Roles, Training, Words};

/// Training programs that always stay cached, for windows that are run twice and for validation.
const LEAST: usize = 12;

impl Trainer {
    /// Compiles a training, and frees the earlier one.
    ///
    /// # Errors
    /// Unknown names, settings out of range, or a device that cannot hold the optimiser's slots. The earlier training is kept if
    /// `training` is invalid.
    pub(crate) fn compile(core: &mut Core, training: Training, earlier: &mut Option<Self>) -> Result<Self> {
        training.check()?;
        let probes = training.objective.terms.iter().map(|t| t.probe.as_str());
        let probes = probes.chain(training.objective.activities.iter().map(|(p, _)| p.as_str()));
        for probe in probes.chain(training.metrics.iter().map(|m| m.probe())) {
            core.network.find_probe(probe)?;
        }
        let mut roles = Roles::new(&core.network, &training.groups)?;
        let (used, idle) = used(core, &training, &roles.rates);
        roles.used = used;
        let mut segments = core.layout.segments.clone();
        roles.apply(&mut segments.list, &core.network, &training)?;
        roles.notes.extend(idle.into_iter().chain(training.idle_settings(&core.network)));
        if let Some(earlier) = earlier.take() {
            earlier.free(core);
        }
        core.shared.free_training(core.engine.as_mut());
        core.layout.segments = segments;
        allocate_training(core, &training)?;
        let norms = core.engine.load(&norms_recording(core, training.scalars()), core.shared.all())?;
        let mut trainer = Self {
            training,
            roles,
            programs: LruCache::default(),
            norms,
            sums: None,
            windows: LruCache::default(),
            cut: None,
            step: 0,
            epoch: 0,
            best: None,
            continues: false,
            data: Words::new(),
            data_then: None,
            resumed: Vec::new(),
        };
        trainer.reset(core)?;
        Ok(trainer)
    }

    /// Frees its programs and states.
    fn free(mut self, core: &mut Core) {
        self.drop_programs(core);
        core.engine.unload(self.norms);
        self.sums.into_iter().for_each(|s| s.unload(core.engine.as_mut()));
    }

    /// Frees all programs and states of training and evaluation.
    pub(crate) fn drop_programs(&mut self, core: &mut Core) {
        self.programs.limit(0).into_iter().for_each(|l| l.unload(core.engine.as_mut()));
        core.drop_states(|(key, _)| !key.is_training());
    }

    /// Resets the optimiser's slots and all counters.
    pub(crate) fn reset(&mut self, core: &mut Core) -> Result<()> {
        self.resumed.clear();
        (self.step, self.epoch, self.best) = (0, 0, None);
        (self.continues, self.data_then) = (false, None);
        let optimiser = self.training.optimiser;
        let used = optimiser.rule().slots(optimiser.momentum_of());
        let start = optimiser.slot_start();
        for (i, _) in used.iter().enumerate().filter(|(_, used)| **used) {
            let value = if i == 0 { start } else { 0.0 };
            let fill = &mut |to: &mut [f32]| to.fill(value);
            core.engine.write_with(core.shared.get(Shared::Slot(i)), 0, core.layout.floats(), fill)?;
        }
        Ok(())
    }

    /// Compiles the training or evaluation program for a key, on first use.
    pub(crate) fn training_program(&mut self, core: &mut Core, key: &TrainKey) -> Result<()> {
        if self.programs.get(key).is_some() {
            return Ok(());
        }
        let planned = self.plan_training(core, key)?;
        self.load_training(core, key, planned)
    }

    /// Loads the planned program of a key, unless it is loaded.
    pub(crate) fn load_training(
        &mut self,
        core: &mut Core,
        key: &TrainKey,
        mut planned: PlannedProgram,
    ) -> Result<()> {
        if self.programs.peek(key).is_some() {
            return Ok(());
        }
        self.append_own_update(core, key, &mut planned);
        let states = Some((key.states(), planned.layout.start.len()));
        core.make_states(key.states(), planned.layout)?;
        let loaded = LoadedProgram { states, ..core.load(planned.plan, &planned.feeds)? };
        self.programs.insert(key.clone(), loaded);
        self.limit_programs(core);
        Ok(())
    }

    /// Appends the update to a program of a run in one window.
    pub(crate) fn append_own_update(&self, core: &Core, key: &TrainKey, planned: &mut PlannedProgram) {
        if key.update && key.pass == Pass::Whole {
            append_update(core, &mut planned.plan.recording, self.training.scalars(), &self.training);
        }
    }

    /// Frees the least recently used programs, and states without a program.
    fn limit_programs(&mut self, core: &mut Core) {
        let gone = self.programs.limit_by(|entries| is_few(entries, LEAST));
        gone.into_iter().for_each(|loaded| loaded.unload(core.engine.as_mut()));
        let used: BTreeSet<_> = self.programs.iter().filter_map(|(_, loaded)| loaded.states).collect();
        core.drop_states(|key| !key.0.is_training() || used.contains(key));
    }

    /// The plan of a training or evaluation program, without its update; nothing is allocated.
    pub(crate) fn plan_training(&self, core: &Core, key: &TrainKey) -> Result<PlannedProgram> {
        let scope = Scope::new(key.dims);
        let held: HashSet<ObjectId> = key.held.iter().copied().collect();
        let held = |id: ObjectId| held.contains(&id);
        let settings = Settings {
            dims: key.dims,
            dt: core.dt,
            training: key.update,
            spiking: self.training.spiking,
            held: &held,
        };
        let mut built = builder::build(&core.network, &scope, &settings)?;
        let packs = core.merge(&scope, &mut built)?;
        let scalars = scalars(core, &scope, &mut built, key, &self.training)?;
        let (report, adjoint) = match key.pass {
            Pass::Whole => ((Shared::Report, 0), (Shared::Gradients, 0)),
            _ => ((Shared::Window, core.layout.floats()), (Shared::Window, 0)),
        };
        let place = |(buffer, first): (Shared, usize), at: usize| Place::Shared {
            buffer: buffer.index(),
            offset: first + at,
        };
        let values: Vec<Tensor<'_>> = scalars.losses.iter().chain(&scalars.metrics).copied().collect();
        let output = |(i, v): (usize, &Tensor<'_>)| Output { value: v.id, place: place(report, i * LINE) };
        let mut outputs: Vec<Output> = values.iter().enumerate().map(output).collect();
        let nodes = scope.read(|g| g.nodes.len());
        if key.update {
            let adjoints = gradients(core, &scope, &built, &packs, &scalars)?.into_iter();
            let placed = adjoints.map(|(offset, value)| Output { value, place: place(adjoint, offset) });
            outputs.extend(placed);
        }
        let feeds = built.feeds;
        let graph = scope.finish()?;
        if key.pass == Pass::Forward {
            let live = plan::stages::live(&graph, &outputs);
            // Host callbacks may have states, too.
            let called = |n: usize| graph.nodes[n].op.host_call().is_some();
            let carries = |n: usize| graph.nodes[n].op.memory().is_state() || called(n);
            let states = (0..nodes).filter(|&n| live[n] && carries(n));
            outputs = states.map(|n| Output { value: graph.nodes[n].output, place: Place::Keep }).collect();
        }
        let label = match (key.pass, key.update) {
            (Pass::Forward, _) => "a window's states",
            (_, true) => "training step",
            (_, false) => "evaluation",
        };
        core.plan(graph, nodes, outputs, (feeds, &packs), key.states(), label)
    }
}

/// Allocates the shared buffers of training, and writes the table of parameters.
fn allocate_training(core: &mut Core, training: &Training) -> Result<()> {
    for (at, len, label) in training_sizes(core, training) {
        let buffer = core.engine.allocate(len, label)?;
        core.shared.set(at, buffer);
    }
    core.engine.write(core.shared.get(Shared::Table), 0, &core.layout.segments.table())
}
