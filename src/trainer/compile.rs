//! From an objective to training programs: forward, loss, gradient, penalties and update.

use std::collections::HashSet;

use crate::builder::{self, Settings};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::network::ObjectId;
use crate::op::Callback;
use crate::optim::update::LINE;
use crate::plan::{self, Output, Place};
use crate::sim::core::Core;
use crate::sim::lru_cache::LruCache;
use crate::sim::program::{LoadedProgram, PlannedProgram, is_few};
use crate::sim::shared::Shared;
use crate::trainer::compiled::Trainer;
use crate::trainer::key::{Part, TrainKey};
use crate::trainer::losses::{gradients, parts};
use crate::trainer::sizes::training_sizes;
use crate::trainer::trained::used;
use crate::trainer::update::append_update;
use crate::trainer::update::norms_recording;
use crate::trainer::{Roles, Training, Words};
use std::collections::BTreeSet;

/// Programs that are always kept: windows may be run twice, and there are those of a validation.
const LEAST: usize = 12;

impl Trainer {
    /// Compiles a training for a simulator, in place of the one that it has.
    ///
    /// # Errors
    /// Names that do not exist, numbers that make no sense, or a device that cannot hold the optimiser's slots. Where the
    /// mistake is in `training`, the earlier one stays.
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
            earlier.drop(core);
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
            goes_on: false,
            data: Words::new(),
            data_then: None,
            resumed: Vec::new(),
        };
        trainer.reset(core)?;
        Ok(trainer)
    }

    /// Frees everything, and the states that a run may not go on from with other parameters' places.
    fn drop(mut self, core: &mut Core) {
        self.drop_programs(core);
        core.engine.unload(self.norms);
        self.sums.into_iter().for_each(|s| s.drop(core.engine.as_mut()));
    }

    /// Frees all programs of training and evaluation, and the states that they carry on.
    pub(crate) fn drop_programs(&mut self, core: &mut Core) {
        self.programs.limit(0).into_iter().for_each(|l| l.drop(core.engine.as_mut()));
        core.drop_states(|(key, _)| !key.is_training());
    }

    /// Slots and counters of the optimiser as they start.
    pub(crate) fn reset(&mut self, core: &mut Core) -> Result<()> {
        self.resumed.clear();
        (self.step, self.epoch, self.best) = (0, 0, None);
        (self.goes_on, self.data_then) = (false, None);
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

    /// The training or evaluation program for a key; made on first use.
    pub(crate) fn training_program(&mut self, core: &mut Core, key: &TrainKey) -> Result<()> {
        if self.programs.get(key).is_some() {
            return Ok(());
        }
        let planned = self.plan_training(core, key)?;
        self.load_training(core, key, planned)
    }

    /// Loads what was planned for a key, unless it is loaded.
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

    /// The update, where it is a part of the program.
    pub(crate) fn append_own_update(&self, core: &Core, key: &TrainKey, planned: &mut PlannedProgram) {
        if key.update && key.part == Part::Whole {
            append_update(core, &mut planned.plan.recording, self.training.scalars(), &self.training);
        }
    }

    /// Frees programs that were not used for long, and the states that no other one has.
    fn limit_programs(&mut self, core: &mut Core) {
        let gone = self.programs.limit_by(|entries| is_few(entries, LEAST));
        gone.into_iter().for_each(|loaded| loaded.drop(core.engine.as_mut()));
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
        let parts = parts(core, &scope, &mut built, key, &self.training)?;
        let (report, adjoint) = match key.part {
            Part::Whole => ((Shared::Report, 0), (Shared::Gradients, 0)),
            _ => ((Shared::Window, core.layout.floats()), (Shared::Window, 0)),
        };
        let place = |(buffer, first): (Shared, usize), at: usize| Place::Shared {
            buffer: buffer.index(),
            offset: first + at,
        };
        let values: Vec<Tensor<'_>> = parts.losses.iter().chain(&parts.metrics).copied().collect();
        let output = |(i, v): (usize, &Tensor<'_>)| Output { value: v.id, place: place(report, i * LINE) };
        let mut outputs: Vec<Output> = values.iter().enumerate().map(output).collect();
        let nodes = scope.read(|g| g.nodes.len());
        if key.update {
            let adjoints = gradients(core, &scope, &built, &packs, &parts)?.into_iter();
            let placed = adjoints.map(|(offset, value)| Output { value, place: place(adjoint, offset) });
            outputs.extend(placed);
        }
        let feeds = built.feeds;
        let graph = scope.finish()?;
        if key.part == Part::Forward {
            let live = plan::stages::live(&graph, &outputs);
            // Callbacks have states too, on the host.
            let called = |n: usize| graph.nodes[n].op.downcast::<Callback>().is_some();
            let carries = |n: usize| graph.nodes[n].op.memory().is_state() || called(n);
            let states = (0..nodes).filter(|&n| live[n] && carries(n));
            outputs = states.map(|n| Output { value: graph.nodes[n].output, place: Place::Keep }).collect();
        }
        let label = match (key.part, key.update) {
            (Part::Forward, _) => "a window's states",
            (_, true) => "training step",
            (_, false) => "evaluation",
        };
        core.plan(graph, nodes, outputs, (feeds, &packs), key.states(), label)
    }
}

fn allocate_training(core: &mut Core, training: &Training) -> Result<()> {
    for (at, len, label) in training_sizes(core, training) {
        let buffer = core.engine.allocate(len, label)?;
        core.shared.set(at, buffer);
    }
    core.engine.write(core.shared.get(Shared::Table), 0, &core.layout.segments.table())
}
