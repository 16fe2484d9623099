//! From an objective to training programs: forward, loss, gradient, penalties and update in one submission.

use std::collections::HashMap;

use super::Simulator;
use super::data::Data;
use super::programs::{GRADIENTS, HYPER, Loaded, PARAMETERS, PARTIALS, REPORT, SLOTS, StateKey, TABLE};
use crate::build::gradient::gradient;
use crate::build::{self, Built, Feed, Settings};
use crate::engine::{Binding, BufferRef, Command, Program, Recording};
use crate::error::{Error, Result};
use crate::graph::{Dims, Extent, Scope, Source, Tensor, Type, ValueId};
use crate::network::{Bound, ObjectId};
use crate::op::norm::{self, NormBindings, Of};
use crate::op::update::{ClipMode, LINE, UpdateBindings, update};
use crate::plan::{self, Output, Place, Request};
use crate::train::{Terms, Training, penalty};

/// What distinguishes training programs of one objective.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TrainKey {
    pub dims: Dims,
    pub held: Vec<ObjectId>,
    /// Name, held, and columns of each target.
    pub targets: Vec<(String, bool, usize)>,
    /// With gradient and update, or the loss alone.
    pub update: bool,
}

impl TrainKey {
    /// Who carries its states.
    pub fn states(&self) -> StateKey {
        let batch = self.dims.batch;
        if self.update { StateKey::Train(batch) } else { StateKey::Evaluate(batch) }
    }
}

/// A training that has been compiled for this simulator.
pub(super) struct Compiled {
    pub training: Training,
    pub programs: HashMap<TrainKey, Loaded>,
    /// Sums of the parameters' norms, for reports of the penalty.
    pub norms: Program,
    /// Steps of the optimiser so far.
    pub step: u64,
    /// Epochs so far.
    pub epoch: u64,
}

impl Compiled {
    /// Floats on lines of their own in the report: loss terms, custom parts, activity penalties, metrics.
    pub fn scalars(&self) -> usize {
        let o = &self.training.objective;
        o.terms.len() + o.custom.len() + usize::from(!o.activities.is_empty()) + self.training.metrics.len()
    }
}

impl Simulator {
    /// Sets what training makes small and how; the optimiser starts anew.
    ///
    /// # Errors
    /// Names that do not exist, numbers that make no sense, or a device that cannot hold the optimiser's slots.
    pub fn compile(&mut self, training: Training) -> Result<()> {
        training.objective.check()?;
        training.optimiser.check()?;
        training.schedule.check()?;
        training.clip.check()?;
        training.spiking.check()?;
        if training.report_every == 0 {
            return Err(Error::invalid("report_every", "it is 0, but must be at least 1"));
        }
        let probes = training.objective.terms.iter().map(|t| t.probe.as_str());
        let probes = probes.chain(training.objective.activities.iter().map(|(p, _)| p.as_str()));
        for probe in probes.chain(training.metrics.iter().map(|m| m.probe())) {
            self.network.find_probe(probe)?;
        }
        let mut segments = self.layout.segments.clone();
        penalty::apply(
            &mut segments,
            &self.network,
            &training.penalties,
            &training.groups,
            &training.optimiser,
        )?;
        self.drop_training();
        self.layout.segments = segments;
        let compiled = Compiled {
            training,
            programs: HashMap::new(),
            norms: Program { id: usize::MAX, locals: Vec::new() },
            step: 0,
            epoch: 0,
        };
        self.allocate_training(compiled.scalars(), &compiled.training)?;
        let norms = self.engine.load(&self.norms_recording(compiled.scalars()), &self.shared)?;
        self.compiled = Some(Compiled { norms, ..compiled });
        self.reset_optimiser()
    }

    fn drop_training(&mut self) {
        if let Some(compiled) = self.compiled.take() {
            compiled.programs.into_values().for_each(|l| self.engine.unload(l.program));
            self.engine.unload(compiled.norms);
            let keys =
                self.states.extract_if(|(key, _), _| !matches!(key, StateKey::Run | StateKey::Predict(_)));
            for (_, states) in keys.collect::<Vec<_>>() {
                self.engine.free(self.shared[states.current]);
                self.engine.free(self.shared[states.initial]);
                self.engine.unload(states.reset);
            }
            for at in GRADIENTS..SLOTS + 3 {
                self.engine.free(self.shared[at]);
                self.shared[at] = self.shared[PARAMETERS];
            }
        }
    }

    fn allocate_training(&mut self, scalars: usize, training: &Training) -> Result<()> {
        let (floats, table) = (self.layout.floats(), self.layout.segments.table());
        let sums = 4 * (self.layout.segments.list.len() + 1);
        let slots = training.optimiser.rule().slots(training.optimiser.momentum_of());
        let sizes = [
            (GRADIENTS, floats, "gradients"),
            (REPORT, scalars * LINE + sums.next_multiple_of(4), "the report"),
            (TABLE, table.len(), "the table of parameters"),
            (HYPER, LINE, "the optimiser's numbers"),
            (PARTIALS, (2 * self.layout.segments.lines()).next_multiple_of(4).max(4), "partial sums"),
        ];
        let slots = (0..3).map(|i| (SLOTS + i, if slots[i] { floats } else { LINE }, "an optimiser slot"));
        for (at, len, label) in sizes.into_iter().chain(slots) {
            self.shared[at] = self.engine.allocate(len, label)?;
        }
        self.engine.write(self.shared[TABLE], 0, &table)
    }

    /// Slots and counters of the optimiser as they start.
    pub(super) fn reset_optimiser(&mut self) -> Result<()> {
        let Some(compiled) = &mut self.compiled else { return Ok(()) };
        (compiled.step, compiled.epoch) = (0, 0);
        let optimiser = compiled.training.optimiser;
        let used = optimiser.rule().slots(optimiser.momentum_of());
        let start = optimiser.slot_start();
        for (i, _) in used.iter().enumerate().filter(|(_, used)| **used) {
            let value = if i == 0 { start } else { 0.0 };
            let fill = &mut |to: &mut [f32]| to.fill(value);
            self.engine.write_with(self.shared[SLOTS + i], 0, self.layout.floats(), fill)?;
        }
        Ok(())
    }

    fn whole(&self, at: usize, len: usize) -> Binding {
        Binding { buffer: BufferRef::Shared(at), offset: 0, len }
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

    fn norms_recording(&self, scalars: usize) -> Recording {
        let mut commands = Vec::new();
        let family = self.device.target().family;
        if !self.layout.segments.list.is_empty() {
            let calls =
                norm::norms(&self.layout.segments, Of::Parameters, family, self.norm_bindings(scalars));
            commands.extend(calls.map(Command::Dispatch));
        }
        Recording { label: "norms".into(), locals: Vec::new(), commands }
    }

    /// The training or evaluation program for a key; made on first use.
    pub(super) fn training_program(&mut self, key: &TrainKey) -> Result<()> {
        let Some(mut compiled) = self.compiled.take() else {
            return Err(Error::invalid("training", "nothing has been compiled yet; call compile first"));
        };
        let made = if compiled.programs.contains_key(key) {
            Ok(())
        } else {
            self.make_program(key, &compiled)
                .map(|loaded| drop(compiled.programs.insert(key.clone(), loaded)))
        };
        self.compiled = Some(compiled);
        made
    }

    fn make_program(&mut self, key: &TrainKey, compiled: &Compiled) -> Result<Loaded> {
        let scalars = compiled.scalars();
        let scope = Scope::new(key.dims);
        let held = |id: ObjectId| key.held.contains(&id);
        let settings = Settings {
            dims: key.dims,
            dt: self.dt,
            training: key.update,
            spiking: compiled.training.spiking,
            held: &held,
        };
        let mut built = build::build(&self.network, &scope, &settings)?;
        let parts = self.parts(&scope, &mut built, key, &compiled.training)?;
        let place = |i: usize| Place::Shared { buffer: REPORT, offset: i * LINE };
        let values: Vec<Tensor<'_>> = parts.losses.iter().chain(&parts.metrics).copied().collect();
        let mut outputs: Vec<Output> =
            values.iter().enumerate().map(|(i, v)| Output { value: v.id, place: place(i) }).collect();
        if key.update {
            outputs.extend(self.gradients(&scope, &built, &parts)?);
        }
        let feeds = built.feeds;
        let graph = scope.finish()?;
        let carry = self.carry(key.states(), &graph)?;
        let mut plan = plan::plan(Request {
            graph,
            outputs,
            parameters: &self.layout.places,
            carry,
            target: self.device.target(),
            label: if key.update { "training step" } else { "evaluation" },
        })?;
        if key.update {
            self.append_update(&mut plan.recording, scalars, &compiled.training);
        }
        self.load(plan, &feeds)
    }

    /// Loss terms, activity penalties and metrics of a built network.
    fn parts<'s>(
        &self,
        scope: &'s Scope,
        built: &mut Built<'s>,
        key: &TrainKey,
        training: &Training,
    ) -> Result<Parts<'s>> {
        let mut targets: Vec<(String, Tensor<'s>)> = Vec::new();
        for (name, held, cols) in &key.targets {
            let probe = self.network.find_probe(name)?;
            built.feeds.push(Feed::Target(probe.0));
            let ty = if *held { Type::example(*cols) } else { Type::sequence(*cols) };
            targets.push((name.clone(), scope.source(ty, Source::Feed(built.feeds.len() - 1))));
        }
        let output = |name: &str| Ok::<_, Error>(built.probes[self.network.find_probe(name)?.0]);
        let target = |name: &str| {
            let found = targets.iter().find(|(n, _)| n == name).map(|(_, t)| *t);
            found.ok_or_else(|| {
                Error::invalid(format!("probe '{name}'"), "it has no targets; give them to the training")
            })
        };
        let (mut losses, mut metrics) = (Vec::new(), Vec::new());
        for term in &training.objective.terms {
            let (output, target) = (output(&term.probe)?, target(&term.probe)?);
            scope.set_owner(&term.probe);
            check_target(&term.probe, output, target, matches!(term.loss, crate::train::Loss::CrossEntropy))?;
            losses.push(term.loss.tensor(output, target).scale(term.weight));
        }
        for (name, part) in &training.objective.custom {
            scope.set_owner(name);
            let bound = |values: Vec<(String, Tensor<'s>)>| Bound { scope, prefix: String::new(), values };
            let outputs =
                self.network.probes.iter().map(|p| p.name.clone()).zip(built.probes.iter().copied());
            let parameters =
                self.network.parameters.iter().map(|p| p.name.clone()).zip(built.parameters.iter().copied());
            let terms = Terms {
                outputs: bound(outputs.collect()),
                targets: bound(targets.clone()),
                parameters: bound(parameters.collect()),
            };
            let value = build::guarded(&format!("the objective '{name}'"), || part(&terms))?;
            if value.ty() == Type::fixed(1, 1) {
                losses.push(value);
            } else {
                let left = format!("the custom objective '{name}'");
                scope.fail(Error::shape(left, value.ty(), "what it must give", "one number, [1, 1]"));
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
            losses.push(scope.sum(&activities));
        }
        for metric in &training.metrics {
            let (output, target) = (output(metric.probe())?, target(metric.probe())?);
            scope.set_owner(metric.probe());
            check_target(metric.probe(), output, target, metric.name() == "accuracy")?;
            metrics.push(metric.tensor(output, target));
        }
        Ok(Parts { losses, metrics })
    }

    /// Gradients of the losses' sum for each parameter that is trained, placed where the update reads them.
    fn gradients<'s>(&self, scope: &'s Scope, built: &Built<'s>, parts: &Parts<'s>) -> Result<Vec<Output>> {
        let total = scope.sum(&parts.losses);
        let trained: Vec<usize> =
            (0..built.parameters.len()).filter(|&i| self.layout.segments.list[i].rate != 0.0).collect();
        let wanted: Vec<ValueId> = trained.iter().map(|&i| built.parameters[i].id).collect();
        let name = |value: ValueId| {
            let at = built.parameters.iter().position(|p| p.id == value);
            at.map_or_else(|| "a parameter".into(), |i| format!("'{}'", self.network.parameters[i].name))
        };
        let adjoints = gradient(scope, total, &wanted, name)?;
        let place = |i: usize| Place::Shared { buffer: GRADIENTS, offset: self.layout.places[i].offset };
        let found =
            trained.iter().zip(adjoints).filter_map(|(&i, a)| Some(Output { value: a?.id, place: place(i) }));
        Ok(found.collect())
    }

    /// Norms where they are needed, and the update.
    fn append_update(&self, recording: &mut Recording, scalars: usize, training: &Training) {
        let segments = &self.layout.segments;
        if segments.list.is_empty() {
            return;
        }
        let (bindings, family) = (self.norm_bindings(scalars), self.device.target().family);
        let mut add = |calls: [crate::engine::Dispatch; 2]| {
            recording.commands.extend(calls.map(Command::Dispatch));
        };
        let clip = training.clip.mode();
        if segments.list.iter().any(|s| s.norm != 0.0) {
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

    /// The key of the targets in `targets`.
    pub(super) fn target_key(&self, targets: &Data) -> Result<Vec<(String, bool, usize)>> {
        let mut key = Vec::new();
        for (name, signal) in &targets.signals {
            self.network.find_probe(name)?;
            signal.check(&format!("the targets of probe '{name}'"), signal.size(), true)?;
            key.push((name.clone(), signal.steps().is_none(), signal.size()));
        }
        Ok(key)
    }
}

/// Losses and metrics, one number each.
struct Parts<'s> {
    losses: Vec<Tensor<'s>>,
    metrics: Vec<Tensor<'s>>,
}

fn check_target(probe: &str, output: Tensor<'_>, target: Tensor<'_>, class: bool) -> Result<()> {
    let (out, want) = (output.ty(), target.ty());
    let fits = out.cols == want.cols || (class && want.cols == 1);
    if fits && !(out.extent == Extent::Fixed && out.rows > 1) {
        return Ok(());
    }
    Err(Error::shape(format!("the output of probe '{probe}'"), out, "its targets", want))
}
