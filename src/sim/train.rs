//! From an objective to training programs: forward, loss, gradient, penalties and update.

use std::collections::HashSet;

use super::Simulator;
use super::programs::{
    GRADIENTS, HYPER, Loaded, PARAMETERS, PARTIALS, PARTS, Planned, REPORT, SHARED, SLOTS, TABLE,
};
use super::states::StateKey;
use super::step::Sums;
use super::stopping::Best;
use super::targets::{TargetKey, Targets};
use super::windows::Windows;
use crate::build::gradient::gradient;
use crate::build::{self, Built, Feed, Settings};
use crate::engine::{Binding, BufferRef, Program};
use crate::error::{Error, Result};
use crate::graph::{Dims, Scope, Tensor, Type, ValueId};
use crate::network::{Bound, ObjectId};
use crate::op::Callback;
use crate::op::update::LINE;
use crate::plan::merge::Pack;
use crate::plan::{self, Output, Place};
use crate::recent::Recent;
use crate::train::{Over, Roles, Terms, Training, Words};

/// What distinguishes training programs of one objective.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TrainKey {
    pub dims: Dims,
    pub held: Vec<ObjectId>,
    /// Each probe's targets.
    pub targets: Vec<TargetKey>,
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
    /// How it takes each parameter, and what has no effect.
    pub roles: Roles,
    pub programs: Recent<TrainKey, Loaded>,
    /// Sums of the parameters' norms, for reports of the penalty.
    pub norms: Program,
    /// What runs in several windows need besides.
    pub sums: Option<Sums>,
    /// How runs are cut, by the key of the whole run and the number of examples.
    pub windows: Recent<(TrainKey, usize), Windows>,
    /// Why training runs are cut that nobody asked to cut, in a sentence.
    pub cut: Option<String>,
    /// Steps of the optimiser so far.
    pub step: u64,
    /// Epochs so far.
    pub epoch: u64,
    /// The best epoch of a fit with early stopping.
    pub best: Option<Best>,
    /// The next fit goes on with `best`, which a checkpoint has brought.
    pub goes_on: bool,
    /// The data of the last fit, in words, as a checkpoint keeps them.
    pub data: Words,
    /// The same of the checkpoint that was read, until a fit compares them.
    pub data_then: Option<Words>,
}

impl Compiled {
    /// Losses on probes and custom parts.
    pub fn losses(&self) -> usize {
        self.training.objective.terms.len() + self.training.objective.custom.len()
    }

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
            return Err(Error::invalid("report-every", "it is 0, but must be at least 1"));
        }
        let probes = training.objective.terms.iter().map(|t| t.probe.as_str());
        let probes = probes.chain(training.objective.activities.iter().map(|(p, _)| p.as_str()));
        for probe in probes.chain(training.metrics.iter().map(|m| m.probe())) {
            self.network.find_probe(probe)?;
        }
        let mut roles = Roles::new(&self.network, &training.groups)?;
        let (used, idle) = self.used(&training, &roles.rates);
        roles.used = used;
        let mut segments = self.layout.segments.clone();
        roles.apply(&mut segments.list, &self.network, &training)?;
        roles.notes.extend(idle.into_iter().chain(training.idle_settings(&self.network)));
        self.drop_training();
        self.layout.segments = segments;
        let compiled = Compiled {
            training,
            roles,
            programs: Recent::default(),
            norms: Program { id: usize::MAX, locals: Vec::new() },
            sums: None,
            windows: Recent::default(),
            cut: None,
            step: 0,
            epoch: 0,
            best: None,
            goes_on: false,
            data: Words::new(),
            data_then: None,
        };
        self.allocate_training(compiled.scalars(), &compiled.training)?;
        let norms = self.engine.load(&self.norms_recording(compiled.scalars()), &self.shared)?;
        self.compiled = Some(Compiled { norms, ..compiled });
        self.reset_optimiser()
    }

    fn drop_training(&mut self) {
        if let Some(mut compiled) = self.compiled.take() {
            compiled.programs.limit(0).into_iter().for_each(|l| l.drop(self.engine.as_mut()));
            self.engine.unload(compiled.norms);
            compiled.sums.into_iter().for_each(|s| s.drop(self.engine.as_mut()));
            self.drop_states(|(key, _)| matches!(key, StateKey::Run | StateKey::Predict(_)));
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
        self.resumed.clear();
        let Some(compiled) = &mut self.compiled else { return Ok(()) };
        (compiled.step, compiled.epoch, compiled.best) = (0, 0, None);
        (compiled.goes_on, compiled.data_then) = (false, None);
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

    /// The training or evaluation program for a key; made on first use.
    pub(super) fn training_program(&mut self, key: &TrainKey) -> Result<()> {
        if self.compiled.as_mut().is_some_and(|c| c.programs.get(key).is_some()) {
            return Ok(());
        }
        let planned = self.plan_training(key, self.compiled()?)?;
        self.load_training(key, planned)
    }

    /// Loads what was planned for a key, unless it is loaded.
    pub(super) fn load_training(&mut self, key: &TrainKey, mut planned: Planned) -> Result<()> {
        let compiled = self.compiled()?;
        if compiled.programs.peek(key).is_some() {
            return Ok(());
        }
        self.append_own_update(key, &mut planned, compiled);
        let states = Some((key.states(), planned.layout.start.len()));
        self.make_states(key.states(), planned.layout)?;
        let loaded = Loaded { states, ..self.load(planned.plan, &planned.feeds)? };
        if let Some(compiled) = &mut self.compiled {
            compiled.programs.insert(key.clone(), loaded);
        }
        self.limit_programs();
        Ok(())
    }

    /// The plan of a training or evaluation program, without its update; nothing is allocated.
    pub(super) fn plan_training(&self, key: &TrainKey, compiled: &Compiled) -> Result<Planned> {
        let scope = Scope::new(key.dims);
        let held: HashSet<ObjectId> = key.held.iter().copied().collect();
        let held = |id: ObjectId| held.contains(&id);
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
        let Built { probes, parameters, feeds, .. } = built;
        let mut all = Targets::new(self, scope, key, feeds);
        // Of a run in windows each value is multiplied by the window's part in it, so that sums over windows are the run's.
        let mut number = |feed: Feed| all.feed(feed, Type::fixed(1, 1));
        let window = (key.part != Part::Whole).then(|| (number(Feed::Share), number(Feed::Ends)));
        let output = |name: &str| Ok::<_, Error>(probes[self.network.find_probe(name)?.0]);
        let part_of_run = |value: Tensor<'s>, over: Over| match (window, over) {
            (None, _) => value,
            (Some((_, ends)), Over::Last) => value * ends,
            (Some((share, _)), _) => value * share,
        };
        let (mut losses, mut metrics) = (Vec::new(), Vec::new());
        for term in &training.objective.terms {
            let by_row = matches!(term.loss, crate::train::Loss::CrossEntropy);
            let of = all.compared(&term.probe, output(&term.probe)?, term.over, by_row)?;
            let mean = term.loss.tensor(of.output, of.target).scale(term.weight);
            losses.push(part_of_run(of.factor.map_or(mean, |factor| mean * factor), of.over));
        }
        let targets = if training.objective.custom.is_empty() { Vec::new() } else { all.all()? };
        for crate::train::Part { name, value: part, .. } in &training.objective.custom {
            scope.set_owner(name);
            let bound = |values: Vec<(String, Tensor<'s>)>| Bound { scope, prefix: String::new(), values };
            let outputs = self.network.probes.iter().map(|p| p.name.clone()).zip(probes.iter().copied());
            let parameters =
                self.network.parameters.iter().map(|p| p.name.clone()).zip(parameters.iter().copied());
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
            let (probe, by_row) = (metric.probe(), metric.name() == "accuracy");
            let over = training.objective.over_of(probe);
            let of = all.compared(probe, output(probe)?, over, by_row)?;
            let mean = metric.tensor(of.output, of.target, of.factor.is_some());
            metrics.push(part_of_run(of.factor.map_or(mean, |factor| mean * factor), of.over));
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
        let packed: HashSet<usize> = packs.iter().flat_map(|p| &p.members).copied().collect();
        let packed = |i: &usize| packed.contains(i);
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
}

/// Losses and metrics, one number each.
struct Parts<'s> {
    losses: Vec<Tensor<'s>>,
    metrics: Vec<Tensor<'s>>,
}
