//! Forward programs: from the network to a plan, and from the plan to a program on the engine.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::builder::{self, Built, Feed, Settings};
use crate::engine::BufferRef;
use crate::error::Result;
use crate::graph::{Dims, Extent, Graph, Scope, Source, Tensor, Type, ValueId};
use crate::network::{ObjectId, ProbeId};
use crate::neuron::Spiking;
use crate::optim::update::LINE;
use crate::plan::pass::batch_ops::{self, Pack, batch_ops};
use crate::plan::{self, Output, ParameterPlace, Place, Plan, Request, Stage};
use crate::sim::core::Core;
use crate::sim::layout::Layout;
use crate::sim::program::{LoadedProgram, PlanKey, PlannedProgram, is_few};
use crate::sim::states::{StateKey, StateLayout};

/// Programs of runs that always stay cached: for a window and the remainder of a run, for whole minibatches and the last one.
const LEAST_OF_RUNS: usize = 4;

impl Core {
    /// Builds the network once, to find its errors before a run, and places its parameters.
    pub(crate) fn check_network(&mut self) -> Result<()> {
        let dims = Dims { batch: self.minibatch, steps: 1 };
        let scope = Scope::new(dims);
        let spiking = Spiking::default();
        let settings = Settings { dims, dt: self.dt, training: false, spiking, held: &|_| true };
        let built = builder::build(&self.network, &scope, &settings)?;
        let tensors = built.probes.iter().chain(&built.callbacks).chain(&built.learned);
        let wanted: Vec<ValueId> = tensors.map(|p| p.id).collect();
        let outputs: Vec<Output> = wanted.iter().map(|&value| Output { value, place: Place::Keep }).collect();
        let graph = scope.finish()?;
        for probe in &self.network.probes {
            probe.steps_between(self.dt)?;
        }
        // Errors of the plan are reported when a run is planned.
        let stages = plan::stages::stages(&graph, &outputs).unwrap_or_default();
        self.find_callbacks_in_loops(&graph, &stages);
        self.loops = stages.iter().any(|s| matches!(s, Stage::Loop { .. }));
        // Parameters that can be merged are placed side by side.
        let side_by_side = |_: &[usize]| Some((0, LINE));
        if let Ok(merged) = batch_ops(&graph, &wanted, &self.trainable(), &side_by_side) {
            let order = batch_ops::parameter_order(self.network.parameters.len(), &merged.packs);
            self.layout = Layout::new(&self.network, &order);
        }
        Ok(())
    }

    fn trainable(&self) -> Vec<bool> {
        self.network.parameters.iter().map(|p| p.trainable).collect()
    }

    /// Merges parallel operators of a network that has just been built. Gives the parameters that are read as one.
    pub(crate) fn merge<'s>(&self, scope: &'s Scope, built: &mut Built<'s>) -> Result<Vec<Pack>> {
        let values = built.probes.iter_mut().chain(&mut built.callbacks).chain(&mut built.learned);
        let values: Vec<&mut Tensor<'s>> = values.collect();
        let wanted: Vec<ValueId> = values.iter().map(|t| t.id).collect();
        let placement = |members: &[usize]| self.layout.placement(members);
        let merged = scope.replace(|graph| {
            let merged = batch_ops(graph, &wanted, &self.trainable(), &placement)?;
            Ok((merged.graph, (merged.values, merged.parameters, merged.packs)))
        })?;
        let Some((merged, parameters, packs)) = merged else { return Ok(Vec::new()) };
        values.into_iter().zip(merged).for_each(|(tensor, id)| tensor.id = id);
        built.parameters.iter_mut().zip(parameters).for_each(|(tensor, id)| tensor.id = id);
        Ok(packs)
    }

    /// The probes' values at the steps that they record.
    fn sampled<'s>(&self, probes: Vec<Tensor<'s>>, feeds: &mut Vec<Feed>) -> Vec<Tensor<'s>> {
        let mut phases: BTreeMap<usize, Tensor<'s>> = BTreeMap::new();
        let mut sample = |(i, value): (usize, Tensor<'s>)| {
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
        probes.into_iter().enumerate().map(&mut sample).collect()
    }

    /// The forward program for a key; compiled on first use.
    pub(crate) fn forward(&mut self, key: &PlanKey) -> Result<Arc<LoadedProgram>> {
        if let Some(loaded) = self.plans.get(key) {
            return Ok(loaded.clone());
        }
        let planned = self.plan_forward(key)?;
        self.load_forward(key, planned)
    }

    /// The plan of a forward program; nothing is allocated.
    pub(crate) fn plan_forward(&self, key: &PlanKey) -> Result<PlannedProgram> {
        let scope = Scope::new(key.dims);
        let held: HashSet<ObjectId> = key.held.iter().copied().collect();
        let held = |id: ObjectId| held.contains(&id);
        let (dims, spiking) = (key.dims, Spiking::default());
        let settings = Settings { dims, dt: self.dt, training: false, spiking, held: &held };
        let mut built = builder::build(&self.network, &scope, &settings)?;
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
        // Learning rules run also if no probe depends on them.
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

    /// The plan of a graph, with its states in the buffer of `states`. The first `nodes` operators are the network and its
    /// losses, the others its gradient.
    pub(crate) fn plan(
        &self,
        graph: Graph,
        nodes: usize,
        outputs: Vec<Output>,
        (feeds, packs): (Vec<Feed>, &[Pack]),
        states: StateKey,
        label: &str,
    ) -> Result<PlannedProgram> {
        let layout = StateLayout::new(&graph, nodes);
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
        Ok(PlannedProgram { plan, feeds, layout })
    }

    /// Places of the parameters, followed by those of merged parameters.
    fn places(&self, packs: &[Pack]) -> Vec<ParameterPlace> {
        self.layout.places.iter().chain(packs.iter().map(|p| &p.place)).cloned().collect()
    }

    /// Loads a forward program.
    pub(crate) fn load_forward(
        &mut self,
        key: &PlanKey,
        planned: PlannedProgram,
    ) -> Result<Arc<LoadedProgram>> {
        let PlannedProgram { plan, feeds, layout } = planned;
        let states = Some((key.states, layout.start.len()));
        self.make_states(key.states, layout)?;
        let loaded = Arc::new(LoadedProgram { states, ..self.load(plan, &feeds)? });
        self.plans.insert(key.clone(), loaded.clone());
        self.limit_programs();
        Ok(loaded)
    }

    /// Frees the least recently used programs of runs, and states without a program.
    fn limit_programs(&mut self) {
        let gone = self.plans.limit_by(|entries| is_few(entries, LEAST_OF_RUNS));
        gone.into_iter().for_each(|loaded| LoadedProgram::release(loaded, self.engine.as_mut()));
        let used: BTreeSet<_> = self.plans.iter().filter_map(|(_, loaded)| loaded.states).collect();
        // Runs continue from their states.
        self.drop_states(|key| key.0 == StateKey::Run || key.0.is_training() || used.contains(key));
    }

    /// Frees all programs of runs with their states, and clears the cached window lengths.
    pub(crate) fn drop_programs(&mut self) {
        self.plans
            .limit(0)
            .into_iter()
            .for_each(|loaded| LoadedProgram::release(loaded, self.engine.as_mut()));
        self.drop_states(|key| key.0.is_training());
        (self.windows, self.window_lengths) = Default::default();
    }

    /// Loads a plan into the engine.
    pub(crate) fn load(&mut self, plan: Plan, feeds: &[Feed]) -> Result<LoadedProgram> {
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
        Ok(LoadedProgram {
            feeds: found.collect(),
            outputs: plan.outputs,
            dims: plan.graph.dims,
            states: None,
            bytes: plan.recording.locals.iter().map(|(len, _)| 4 * *len as u64).sum(),
            program,
            calls,
        })
    }
}
