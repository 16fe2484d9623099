//! From an objective to training programs: forward, loss, gradient, penalties and update.

use std::collections::HashMap;

use super::Simulator;
use super::data::Data;
use super::programs::{
    GRADIENTS, HYPER, Loaded, PARAMETERS, PARTIALS, PARTS, Planned, REPORT, SHARED, SLOTS, TABLE,
};
use super::states::StateKey;
use super::step::Sums;
use super::windows::Windows;
use crate::build::gradient::gradient;
use crate::build::{self, Built, Feed, Settings};
use crate::engine::{Binding, BufferRef, Command, Program, Recording};
use crate::error::{Error, Result};
use crate::graph::{Dims, Extent, Scope, Source, Tensor, Type, ValueId};
use crate::network::{Bound, ObjectId};
use crate::op::norm::{self, NormBindings, Of};
use crate::op::update::{ClipMode, LINE, UpdateBindings, update};
use crate::plan::merge::Pack;
use crate::plan::{self, Output, Place};
use crate::train::{Over, Terms, Training, penalty};

/// What distinguishes training programs of one objective.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TrainKey {
    pub dims: Dims,
    pub held: Vec<ObjectId>,
    /// Name, held, and columns of each target.
    pub targets: Vec<(String, bool, usize)>,
    /// With gradient and update, or the loss alone.
    pub update: bool,
    /// What of a run it does.
    pub part: Part,
}

/// What of a run a training program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// All: loss, gradient and update of a run in one window.
    Whole,
    /// A window's loss and gradient, its part of the run's.
    Window,
    /// A window's states, up to its end.
    Forward,
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
    /// What runs in several windows need besides.
    pub sums: Option<Sums>,
    /// How runs are cut, by the key of the whole run and the number of examples.
    pub windows: HashMap<(TrainKey, usize), Windows>,
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
        if let Some(backprop) = training.backprop {
            backprop.check()?;
        }
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
            sums: None,
            windows: HashMap::new(),
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
            compiled.programs.into_values().for_each(|l| l.drop(self.engine.as_mut()));
            self.engine.unload(compiled.norms);
            compiled.sums.into_iter().for_each(|s| s.drop(self.engine.as_mut()));
            let keys =
                self.states.extract_if(|(key, _), _| !matches!(key, StateKey::Run | StateKey::Predict(_)));
            let states: Vec<_> = keys.map(|(_, states)| states).collect();
            states.into_iter().for_each(|s| s.drop(self.engine.as_mut(), &self.shared));
            for at in GRADIENTS..SHARED {
                if self.shared[at] != self.shared[PARAMETERS] {
                    self.engine.free(self.shared[at]);
                }
                self.shared[at] = self.shared[PARAMETERS];
            }
        }
    }

    /// The shared buffers of training: which, floats, and name.
    pub(super) fn training_sizes(
        &self,
        scalars: usize,
        training: &Training,
    ) -> Vec<(usize, usize, &'static str)> {
        let floats = self.layout.floats();
        let sums = 4 * (self.layout.segments.list.len() + 1);
        let slots = training.optimiser.rule().slots(training.optimiser.momentum_of());
        let mut sizes = vec![
            (GRADIENTS, floats, "gradients"),
            (REPORT, scalars * LINE + sums.next_multiple_of(4), "the report"),
            (TABLE, self.layout.segments.table().len(), "the table of parameters"),
            (HYPER, LINE, "the optimiser's numbers"),
            (PARTIALS, (2 * self.layout.segments.lines()).next_multiple_of(4).max(4), "partial sums"),
        ];
        sizes.extend((0..3).map(|i| (SLOTS + i, if slots[i] { floats } else { LINE }, "an optimiser slot")));
        sizes
    }

    /// Floats of a window's gradients and report.
    pub(super) fn parts_len(&self, scalars: usize) -> usize {
        self.layout.floats() + scalars * LINE
    }

    fn allocate_training(&mut self, scalars: usize, training: &Training) -> Result<()> {
        for (at, len, label) in self.training_sizes(scalars, training) {
            self.shared[at] = self.engine.allocate(len, label)?;
        }
        self.engine.write(self.shared[TABLE], 0, &self.layout.segments.table())
    }

    /// What was compiled.
    pub(super) fn compiled(&self) -> Result<&Compiled> {
        let missing = || Error::invalid("training", "nothing has been compiled yet; call compile first");
        self.compiled.as_ref().ok_or_else(missing)
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

    pub(super) fn whole(&self, at: usize, len: usize) -> Binding {
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
        let compiled = self.compiled()?;
        if compiled.programs.contains_key(key) {
            return Ok(());
        }
        let mut planned = self.plan_training(key, compiled)?;
        self.append_own_update(key, &mut planned, compiled);
        self.make_states(key.states(), planned.layout)?;
        let loaded = self.load(planned.plan, &planned.feeds)?;
        if let Some(compiled) = &mut self.compiled {
            compiled.programs.insert(key.clone(), loaded);
        }
        Ok(())
    }

    /// The update, where it is a part of the program.
    pub(super) fn append_own_update(&self, key: &TrainKey, planned: &mut Planned, compiled: &Compiled) {
        if key.update && key.part == Part::Whole {
            self.append_update(&mut planned.plan.recording, compiled.scalars(), &compiled.training);
        }
    }

    /// The plan of a training or evaluation program, without its update; nothing is allocated.
    pub(super) fn plan_training(&self, key: &TrainKey, compiled: &Compiled) -> Result<Planned> {
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
        let packs = self.merge(&scope, &mut built)?;
        let parts = self.parts(&scope, &mut built, key, &compiled.training)?;
        let (report, gradients) = match key.part {
            Part::Whole => ((REPORT, 0), (GRADIENTS, 0)),
            _ => ((PARTS, self.layout.floats()), (PARTS, 0)),
        };
        let place = |(buffer, first): (usize, usize), at: usize| Place::Shared { buffer, offset: first + at };
        let values: Vec<Tensor<'_>> = parts.losses.iter().chain(&parts.metrics).copied().collect();
        let output = |(i, v): (usize, &Tensor<'_>)| Output { value: v.id, place: place(report, i * LINE) };
        let mut outputs: Vec<Output> = values.iter().enumerate().map(output).collect();
        let nodes = scope.read(|g| g.nodes.len());
        if key.update {
            let adjoints = self.gradients(&scope, &built, &packs, &parts)?.into_iter();
            let placed = adjoints.map(|(offset, value)| Output { value, place: place(gradients, offset) });
            outputs.extend(placed);
        }
        let feeds = built.feeds;
        let graph = scope.finish()?;
        if key.part == Part::Forward {
            let live = plan::stages::live(&graph, &outputs);
            let states = (0..nodes).filter(|&n| live[n] && graph.nodes[n].op.memory().is_state());
            outputs = states.map(|n| Output { value: graph.nodes[n].output, place: Place::Keep }).collect();
        }
        let label = match (key.part, key.update) {
            (Part::Forward, _) => "a window's states",
            (_, true) => "training step",
            (_, false) => "evaluation",
        };
        self.plan(graph, nodes, outputs, (feeds, &packs), key.states(), label)
    }

    /// Loss terms, activity penalties and metrics of a built network.
    fn parts<'s>(
        &self,
        scope: &'s Scope,
        built: &mut Built<'s>,
        key: &TrainKey,
        training: &Training,
    ) -> Result<Parts<'s>> {
        // Of a run in windows each value is multiplied by the window's part in it, so that sums over windows are the run's.
        let mut number = |feed: Feed| {
            built.feeds.push(feed);
            scope.source(Type::fixed(1, 1), Source::Feed(built.feeds.len() - 1))
        };
        let window = (key.part != Part::Whole).then(|| (number(Feed::Share), number(Feed::Ends)));
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
        let part_of_run = |value: Tensor<'s>, over: Over| match (window, over) {
            (None, _) => value,
            (Some((_, ends)), Over::Last) => value * ends,
            (Some((share, _)), _) => value * share,
        };
        let (mut losses, mut metrics) = (Vec::new(), Vec::new());
        for term in &training.objective.terms {
            let (output, target) = (output(&term.probe)?, target(&term.probe)?);
            scope.set_owner(&term.probe);
            check_target(&term.probe, output, target, matches!(term.loss, crate::train::Loss::CrossEntropy))?;
            let (output, target) = (term.over.of(output), term.over.of_target(&term.probe, target)?);
            losses.push(part_of_run(term.loss.tensor(output, target).scale(term.weight), term.over));
        }
        for crate::train::Part { name, value: part, .. } in &training.objective.custom {
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
                losses.push(part_of_run(value, Over::Every));
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
            losses.push(part_of_run(scope.sum(&activities), Over::Every));
        }
        for metric in &training.metrics {
            let (output, target) = (output(metric.probe())?, target(metric.probe())?);
            scope.set_owner(metric.probe());
            check_target(metric.probe(), output, target, metric.name() == "accuracy")?;
            let over = training.objective.over_of(metric.probe());
            let (output, target) = (over.of(output), over.of_target(metric.probe(), target)?);
            metrics.push(part_of_run(metric.tensor(output, target), over));
        }
        Ok(Parts { losses, metrics })
    }

    /// The sum of the losses of a built network.
    pub(super) fn total<'s>(
        &self,
        scope: &'s Scope,
        built: &mut Built<'s>,
        key: &TrainKey,
        training: &Training,
    ) -> Result<Tensor<'s>> {
        Ok(scope.sum(&self.parts(scope, built, key, training)?.losses))
    }

    /// Gradients of the losses' sum for what is trained: parameters, or several that are read as one. With the places that
    /// they have in the parameters' buffer.
    fn gradients<'s>(
        &self,
        scope: &'s Scope,
        built: &Built<'s>,
        packs: &[Pack],
        parts: &Parts<'s>,
    ) -> Result<Vec<(usize, ValueId)>> {
        let total = scope.sum(&parts.losses);
        let trained = |i: &usize| self.layout.segments.list[*i].rate != 0.0;
        let whole = packs.iter().filter(|p| p.members.iter().any(trained));
        let whole = whole.map(|p| (p.place.offset, p.members[0], p.value));
        let packed = |i: &usize| packs.iter().any(|p| p.members.contains(i));
        let alone = (0..built.parameters.len()).filter(|i| trained(i) && !packed(i));
        let alone = alone.map(|i| (self.layout.places[i].offset, i, built.parameters[i].id));
        let wanted: Vec<(usize, usize, ValueId)> = alone.chain(whole).collect();
        let values: Vec<ValueId> = wanted.iter().map(|w| w.2).collect();
        let name = |value: ValueId| {
            let found = wanted.iter().find(|w| w.2 == value);
            found.map_or_else(|| "a parameter".into(), |w| format!("'{}'", self.network.parameters[w.1].name))
        };
        let adjoints = gradient(scope, total, &values, name)?;
        Ok(wanted.iter().zip(adjoints).filter_map(|(w, a)| Some((w.0, a?.id))).collect())
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
