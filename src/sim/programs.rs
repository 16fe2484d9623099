//! From a simulator's network to programs on its engine.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::Simulator;
use super::callbacks::Call;
use super::states::{self, StateKey};
use crate::build::{self, Built, Feed, Settings};
use crate::engine::{BufferId, BufferRef, Program};
use crate::error::Result;
use crate::graph::{Dims, Extent, Graph, Placed, Scope, Source, Tensor, Type, ValueId};
use crate::network::{Network, ObjectId, ProbeId};
use crate::op::neuron::Spiking;
use crate::op::update::{LINE, Segment, Segments};
use crate::plan::merge::{Pack, merge};
use crate::plan::{self, Output, ParameterPlace, Place, Plan, Request, Stage};

/// Shared buffers: parameters.
pub(super) const PARAMETERS: usize = 0;
/// Their gradients.
pub(super) const GRADIENTS: usize = 1;
/// What is read back after each step: a float on each line for each loss and metric, then the sums of norms.
pub(super) const REPORT: usize = 2;
/// Which parameter a line belongs to, and each one's penalties.
pub(super) const TABLE: usize = 3;
/// Numbers of the optimiser that change from step to step.
pub(super) const HYPER: usize = 4;
/// A pair of sums for each line.
pub(super) const PARTIALS: usize = 5;
/// The optimiser's slots.
pub(super) const SLOTS: usize = 6;
/// Gradients of a window, then its report.
pub(super) const PARTS: usize = 9;
/// Number of the above; states follow.
pub(super) const SHARED: usize = 10;

/// Where everything lies in the shared buffers.
pub(super) struct Layout {
    pub places: Vec<ParameterPlace>,
    pub segments: Segments,
}

impl Layout {
    /// Parameters one behind the other in this order.
    pub fn new(network: &Network, order: &[usize]) -> Self {
        let (count, mut line) = (network.parameters.len(), 0);
        let mut places = vec![ParameterPlace { offset: 0, ty: Type::fixed(1, 1) }; count];
        let mut list = vec![Segment::default(); count];
        for &i in order {
            let p = &network.parameters[i];
            let lines = (p.rows * p.cols).div_ceil(LINE);
            places[i] = ParameterPlace { offset: line * LINE, ty: Type::fixed(p.rows, p.cols) };
            list[i] = Segment { first_line: line, lines, rate: f32::from(p.trainable), ..Segment::default() };
            line += lines;
        }
        Self { places, segments: Segments { list } }
    }

    /// The first one's offset and the distance from one to the next of parameters that lie at equal distances.
    fn placement(&self, members: &[usize]) -> Option<(usize, usize)> {
        let offset = |k: usize| self.places[members[k]].offset;
        let stride = offset(1).checked_sub(offset(0))?;
        let equal = (1..members.len()).all(|k| offset(k).checked_sub(offset(k - 1)) == Some(stride));
        equal.then_some((offset(0), stride))
    }

    /// Floats of the parameters' buffer.
    pub fn floats(&self) -> usize {
        self.segments.lines().max(1) * LINE
    }
}

/// What distinguishes forward plans.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PlanKey {
    pub dims: Dims,
    pub held: Vec<ObjectId>,
    pub states: StateKey,
}

/// A program before it is loaded.
pub(super) struct Planned {
    pub plan: Plan,
    pub feeds: Vec<Feed>,
    pub layout: states::Layout,
}

impl Planned {
    /// Bytes of the program's own buffers.
    pub fn bytes(&self) -> u64 {
        self.plan.recording.locals.iter().map(|(len, _)| 4 * *len as u64).sum()
    }
}

/// A program with its inputs and outputs found.
pub(super) struct Loaded {
    pub program: Program,
    /// What the host computes after the program, and the parts that come then.
    pub calls: Vec<Call>,
    pub feeds: Vec<(Feed, BufferId, Type)>,
    pub outputs: Vec<Placed>,
    pub stages: Vec<Stage>,
    pub dims: Dims,
    /// Whose states it carries on, and how many floats they are.
    pub states: Option<(StateKey, usize)>,
    /// Bytes of its own buffers.
    pub bytes: u64,
}

/// Programs of runs that are always kept: of a window and of the rest of a run, for whole minibatches and for the last.
const LEAST_OF_RUNS: usize = 4;
/// The same of trainings, whose windows may be run twice, with those of a validation.
const LEAST_OF_TRAINING: usize = 12;
/// Programs that are kept at most.
const MOST: usize = 16;
/// More than the least number of programs is kept while their buffers have no more bytes than this.
const FEW_BYTES: u64 = 24 << 20;

/// Whether so many programs may be kept.
fn is_few<K>(programs: &[(K, Loaded)], least: usize) -> bool {
    let bytes = || programs.iter().map(|(_, loaded)| loaded.bytes).sum::<u64>();
    programs.len() <= least || (programs.len() <= MOST && bytes() <= FEW_BYTES)
}

impl Simulator {
    /// Builds the network once, so that what is wrong with it is found before a run, and decides where parameters lie.
    pub(super) fn check_network(&mut self) -> Result<()> {
        let dims = Dims { batch: self.minibatch, steps: 1 };
        let scope = Scope::new(dims);
        let spiking = Spiking::default();
        let settings = Settings { dims, dt: self.dt, training: false, spiking, held: &|_| true };
        let built = build::build(&self.network, &scope, &settings)?;
        let all = built.probes.iter().chain(&built.callbacks).chain(&built.learned);
        let wanted: Vec<ValueId> = all.map(|p| p.id).collect();
        let outputs: Vec<Output> = wanted.iter().map(|&value| Output { value, place: Place::Keep }).collect();
        let graph = scope.finish()?;
        for probe in &self.network.probes {
            probe.steps_between(self.dt)?;
        }
        // What else is wrong is found when a run is planned.
        let stages = plan::stages::stages(&graph, &outputs).unwrap_or_default();
        self.find_callbacks_in_loops(&graph, &stages);
        self.loops = stages.iter().any(|s| matches!(s, Stage::Loop { .. }));
        // Those who would be read as one say where parameters are to lie.
        let side_by_side = |_: &[usize]| Some((0, LINE));
        if let Ok(merged) = merge(&graph, &wanted, &self.trainable(), &side_by_side) {
            let order = plan::merge::order(self.network.parameters.len(), &merged.packs);
            self.layout = Layout::new(&self.network, &order);
        }
        Ok(())
    }

    fn trainable(&self) -> Vec<bool> {
        self.network.parameters.iter().map(|p| p.trainable).collect()
    }

    /// Merges a network that has just been built; gives the parameters that are read as one.
    pub(super) fn merge<'s>(&self, scope: &'s Scope, built: &mut Built<'s>) -> Result<Vec<Pack>> {
        let values = built.probes.iter_mut().chain(&mut built.callbacks).chain(&mut built.learned);
        let values: Vec<&mut Tensor<'s>> = values.collect();
        let wanted: Vec<ValueId> = values.iter().map(|t| t.id).collect();
        let placement = |members: &[usize]| self.layout.placement(members);
        let merged = scope.replace(|graph| {
            let merged = merge(graph, &wanted, &self.trainable(), &placement)?;
            Ok((merged.graph, (merged.values, merged.parameters, merged.packs)))
        })?;
        let Some((merged, parameters, packs)) = merged else { return Ok(Vec::new()) };
        values.into_iter().zip(merged).for_each(|(tensor, id)| tensor.id = id);
        built.parameters.iter_mut().zip(parameters).for_each(|(tensor, id)| tensor.id = id);
        Ok(packs)
    }

    /// How many steps lie between two rows of a probe; 1 unless it samples.
    pub fn sample_every(&self, probe: ProbeId) -> usize {
        let spec = self.network.probes.get(probe.0);
        spec.and_then(|p| p.steps_between(self.dt).ok()).unwrap_or(1)
    }

    /// The probes' values at the steps that they record.
    fn sampled<'s>(&self, probes: Vec<Tensor<'s>>, feeds: &mut Vec<Feed>) -> Vec<Tensor<'s>> {
        let mut phases: BTreeMap<usize, Tensor<'s>> = BTreeMap::new();
        let mut one = |(i, value): (usize, Tensor<'s>)| {
            let every = self.sample_every(ProbeId(i));
            if every == 1 || value.ty().extent != Extent::Sequence {
                return value;
            }
            let phase = *phases.entry(every).or_insert_with(|| {
                feeds.push(Feed::Phase(every));
                value.scope.source(Type::fixed(1, 1), Source::Feed(feeds.len() - 1))
            });
            value.scope.set_owner(&self.network.probes[i].name);
            value.sample(every, phase)
        };
        probes.into_iter().enumerate().map(&mut one).collect()
    }

    /// The forward program for a key; made on first use.
    pub(super) fn forward(&mut self, key: &PlanKey) -> Result<()> {
        if self.plans.get(key).is_some() {
            return Ok(());
        }
        let planned = self.plan_forward(key)?;
        self.load_forward(key, planned)
    }

    /// The plan of a forward program; nothing is allocated.
    pub(super) fn plan_forward(&self, key: &PlanKey) -> Result<Planned> {
        let scope = Scope::new(key.dims);
        let held: HashSet<ObjectId> = key.held.iter().copied().collect();
        let held = |id: ObjectId| held.contains(&id);
        let (dims, spiking) = (key.dims, Spiking::default());
        let settings = Settings { dims, dt: self.dt, training: false, spiking, held: &held };
        let mut built = build::build(&self.network, &scope, &settings)?;
        let packs = self.merge(&scope, &mut built)?;
        let Built { probes, mut feeds, callbacks, learned, .. } = built;
        let mut outputs: Vec<Output> = self
            .sampled(probes, &mut feeds)
            .iter()
            .chain(&callbacks)
            .map(|p| Output { value: p.id, place: Place::Keep })
            .collect();
        let learned: Vec<ValueId> = learned.iter().map(|p| p.id).collect();
        let graph = scope.finish()?;
        // What learns does so unseen, too.
        let mut live = plan::stages::live(&graph, &outputs);
        for product in learned {
            if graph.producer(product).is_some_and(|n| !live[n.0]) {
                outputs.push(Output { value: product, place: Place::Keep });
                plan::stages::mark(&graph, product, &mut live);
            }
        }
        let nodes = graph.nodes.len();
        self.plan(graph, nodes, outputs, (feeds, &packs), key.states, "run")
    }

    /// A graph's plan, with its states in the buffer of `states`. The network and its losses are the first `nodes`
    /// operators, its gradient the others.
    pub(super) fn plan(
        &self,
        graph: Graph,
        nodes: usize,
        outputs: Vec<Output>,
        (feeds, packs): (Vec<Feed>, &[Pack]),
        states: StateKey,
        label: &str,
    ) -> Result<Planned> {
        let layout = states::Layout::new(&graph, nodes);
        let len = layout.start.len();
        let carry = (len > 0).then(|| (self.state_buffer(states, len), layout.carry.clone()));
        let plan = plan::plan(Request {
            graph,
            outputs,
            parameters: &self.places(packs),
            carry,
            target: self.device.target(),
            label,
        })?;
        Ok(Planned { plan, feeds, layout })
    }

    /// Where parameters lie, and behind them those that are read as one.
    fn places(&self, packs: &[Pack]) -> Vec<ParameterPlace> {
        self.layout.places.iter().chain(packs.iter().map(|p| &p.place)).cloned().collect()
    }

    /// Loads a forward program.
    pub(super) fn load_forward(&mut self, key: &PlanKey, planned: Planned) -> Result<()> {
        let Planned { plan, feeds, layout } = planned;
        let states = Some((key.states, layout.start.len()));
        self.make_states(key.states, layout)?;
        let loaded = Loaded { states, ..self.load(plan, &feeds)? };
        self.plans.insert(key.clone(), loaded);
        self.limit_programs();
        Ok(())
    }

    /// Frees programs that were not used for long, and the states that no other program has.
    pub(super) fn limit_programs(&mut self) {
        let plans = self.plans.limit_by(|entries| is_few(entries, LEAST_OF_RUNS));
        let programs = self.compiled.as_mut().map(|c| c.programs.limit_by(|e| is_few(e, LEAST_OF_TRAINING)));
        let gone = plans.into_iter().chain(programs.into_iter().flatten());
        gone.for_each(|loaded| loaded.drop(self.engine.as_mut()));
        // Runs go on from their states.
        let runs = self.states.keys().filter(|(key, _)| *key == StateKey::Run);
        let programs = self.plans.iter().map(|(_, l)| l);
        let programs = programs.chain(self.compiled.iter().flat_map(|c| c.programs.iter().map(|(_, l)| l)));
        let used: BTreeSet<_> = programs.filter_map(|loaded| loaded.states).chain(runs.copied()).collect();
        self.drop_states(|key| used.contains(key));
    }

    /// Frees all programs and states, and forgets how long windows were.
    pub(super) fn drop_programs(&mut self) {
        let plans = self.plans.limit(0);
        let programs = self.compiled.as_mut().map(|c| c.programs.limit(0));
        let gone = plans.into_iter().chain(programs.into_iter().flatten());
        gone.for_each(|loaded| loaded.drop(self.engine.as_mut()));
        self.drop_states(|_| false);
        (self.windows, self.paces) = Default::default();
    }

    /// Loads a plan into the engine.
    pub(super) fn load(&mut self, plan: Plan, feeds: &[Feed]) -> Result<Loaded> {
        let (program, calls) = self.load_parts(&plan)?;
        for (placed, value) in &plan.constants {
            if let BufferRef::Local(i) = placed.binding.buffer {
                self.engine.write(program.locals[i], placed.binding.offset + placed.start, value)?;
            }
        }
        let found = plan.feeds.iter().filter_map(|(&feed, placed)| match placed.binding.buffer {
            BufferRef::Local(i) => Some((feeds[feed], program.locals[i], placed.ty)),
            BufferRef::Shared(_) => None,
        });
        Ok(Loaded {
            feeds: found.collect(),
            outputs: plan.outputs,
            stages: plan.stages,
            dims: plan.graph.dims,
            states: None,
            bytes: plan.recording.locals.iter().map(|(len, _)| 4 * *len as u64).sum(),
            program,
            calls,
        })
    }
}
