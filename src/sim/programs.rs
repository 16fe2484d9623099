//! From a simulator's network to programs on its engine.

use std::collections::BTreeMap;

use ndarray::Array3;

use super::Simulator;
use super::callbacks::Call;
use super::data::{Data, by_example};
use super::processes::clock;
use super::states::{self, StateKey};
use crate::build::{self, Built, Feed, Settings};
use crate::engine::{BufferId, BufferRef, Program};
use crate::error::{Error, Result};
use crate::graph::{Dims, Extent, Graph, Placed, Scope, Source, Tensor, Type, ValueId};
use crate::network::{Kind, Network, Node, ObjectId, ProbeId};
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

/// Rows of data for a program's feeds.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub inputs: &'a Data,
    pub targets: &'a Data,
    /// Which examples.
    pub batch: &'a [usize],
    /// First step since the last reset.
    pub first: u64,
    /// First step in the data.
    pub data_first: usize,
    /// What part of the run's steps this window is.
    pub share: f32,
    /// Whether it is the run's last window.
    pub ends: bool,
    /// Steps of the optimiser so far, for random numbers.
    pub training_step: u64,
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

    /// The input nodes of which `data` holds one row an example.
    pub(super) fn held_inputs(&self, data: &Data) -> Vec<ObjectId> {
        let held = |(name, signal): (&String, &super::Signal)| match signal.steps() {
            None => self.network.find(name).ok(),
            Some(_) => None,
        };
        data.signals.iter().filter_map(held).collect()
    }

    /// Refuses data that do not fit the network's input nodes.
    pub(super) fn check_inputs(&self, data: &Data) -> Result<()> {
        for (name, signal) in &data.signals {
            let object = self.network.object(self.network.find(name)?)?;
            match &object.kind {
                Kind::Node(Node::Input(size)) => signal.check(&format!("node '{name}'"), *size, false)?,
                _ => {
                    return Err(Error::invalid(format!("'{name}'"), "it takes no data; only input nodes do"));
                }
            }
        }
        for object in &self.network.objects {
            if matches!(object.kind, Kind::Node(Node::Input(_))) && data.get(&object.name).is_none() {
                let problem = "it has no data; give them to the run";
                return Err(Error::invalid(format!("node '{}'", object.name), problem));
            }
        }
        Ok(())
    }

    /// The forward program for a key; made on first use.
    pub(super) fn forward(&mut self, key: &PlanKey) -> Result<()> {
        if self.plans.contains_key(key) {
            return Ok(());
        }
        let planned = self.plan_forward(key)?;
        self.load_forward(key, planned)
    }

    /// The plan of a forward program; nothing is allocated.
    pub(super) fn plan_forward(&self, key: &PlanKey) -> Result<Planned> {
        let scope = Scope::new(key.dims);
        let held = |id: ObjectId| key.held.contains(&id);
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
        for product in learned {
            let live = plan::stages::live(&graph, &outputs);
            if graph.producer(product).is_some_and(|n| !live[n.0]) {
                outputs.push(Output { value: product, place: Place::Keep });
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
        self.make_states(key.states, layout)?;
        let loaded = self.load(plan, &feeds)?;
        self.plans.insert(key.clone(), loaded);
        Ok(())
    }

    /// Loads a plan into the engine.
    pub(super) fn load(&mut self, plan: Plan, feeds: &[Feed]) -> Result<Loaded> {
        let (program, calls) = self.load_parts(&plan)?;
        for (placed, value) in &plan.constants {
            if let BufferRef::Local(i) = placed.binding.buffer {
                self.engine.write(program.locals[i], placed.binding.offset + placed.start, value)?;
            }
        }
        let mut found: Vec<(usize, BufferId, Type)> = plan
            .feeds
            .iter()
            .filter_map(|(&feed, placed)| match placed.binding.buffer {
                BufferRef::Local(i) => Some((feed, program.locals[i], placed.ty)),
                BufferRef::Shared(_) => None,
            })
            .collect();
        found.sort_by_key(|f| f.0);
        Ok(Loaded {
            feeds: found.into_iter().map(|(feed, buffer, ty)| (feeds[feed], buffer, ty)).collect(),
            outputs: plan.outputs,
            stages: plan.stages,
            dims: plan.graph.dims,
            program,
            calls,
        })
    }

    /// Fills the feeds of a program.
    pub(super) fn upload(&mut self, loaded: &Loaded, from: &Rows<'_>) -> Result<()> {
        let dims = loaded.dims;
        let &Rows { inputs, targets, batch, first, data_first, share, ends, training_step } = from;
        for &(feed, buffer, ty) in &loaded.feeds {
            let len = ty.elements(dims);
            match feed {
                Feed::Random => {
                    let words =
                        [self.seed as u32, (self.seed >> 32) as u32, training_step as u32, first as u32];
                    self.engine.write(buffer, 0, &words.map(f32::from_bits))?;
                }
                Feed::Phase(every) => self.engine.write(buffer, 0, &[(first % every as u64) as f32])?,
                Feed::Share => self.engine.write(buffer, 0, &[share])?,
                Feed::Ends => self.engine.write(buffer, 0, &[f32::from(u8::from(ends))])?,
                Feed::Time => {
                    let dt = self.dt;
                    self.engine.write_with(buffer, 0, len, &mut |to| {
                        for (r, to) in to.iter_mut().enumerate() {
                            *to = ((first + (r / dims.batch) as u64 + 1) as f64 * dt) as f32;
                        }
                    })?;
                }
                Feed::Clock(id) => {
                    let (object, example) = (self.network.object(id)?, batch.first().copied());
                    let words = clock(object, self.seed, training_step, first, example.unwrap_or(0));
                    self.engine.write(buffer, 0, &words)?;
                }
                Feed::Node(id) => {
                    let object = self.network.object(id)?;
                    if let Kind::Node(Node::Input(_)) = object.kind {
                        let signal = inputs.get(&object.name);
                        let missing = || Error::invalid(format!("node '{}'", object.name), "it has no data");
                        let signal = signal.ok_or_else(missing)?;
                        self.engine.write_with(buffer, 0, len, &mut |to| {
                            signal.gather(batch, data_first, dims, to)
                        })?;
                    } else {
                        let object = object.clone();
                        self.upload_node(&object, buffer, len, first, dims)?;
                    }
                }
                Feed::Target(probe) => {
                    let name = self.network.probe_name(crate::network::ProbeId(probe)).to_string();
                    let signal = targets.get(&name);
                    let signal = signal
                        .ok_or_else(|| Error::invalid(format!("probe '{name}'"), "it has no targets"))?;
                    self.engine
                        .write_with(buffer, 0, len, &mut |to| signal.gather(batch, data_first, dims, to))?;
                }
            }
        }
        Ok(())
    }

    /// What a node gives by itself: constants, arrays, functions of time and processes.
    fn upload_node(
        &mut self,
        object: &crate::network::Object,
        buffer: BufferId,
        len: usize,
        first: u64,
        dims: Dims,
    ) -> Result<()> {
        let what = format!("node '{}'", object.name);
        let size = object.size_out;
        match &object.kind {
            Kind::Node(Node::Constant(values)) => self.engine.write(buffer, 0, values),
            Kind::Node(Node::Array(rows)) => {
                let end = first as usize + dims.steps;
                if end > rows.nrows() {
                    let problem =
                        format!("its array has {} steps, but the run goes to step {end}", rows.nrows());
                    return Err(Error::invalid(what, problem));
                }
                self.engine.write_with(buffer, 0, len, &mut |to| {
                    for (r, to) in to.chunks_exact_mut(size).enumerate() {
                        let row = rows.row(first as usize + r / dims.batch);
                        to.iter_mut().zip(row).for_each(|(to, x)| *to = *x);
                    }
                })
            }
            Kind::Node(Node::Function(..) | Node::Process(_)) => {
                let f = match &object.kind {
                    Kind::Node(Node::Function(_, f)) => Some(f),
                    _ => self.processes.get(&object.name),
                };
                let Some(f) = f.cloned() else { return Ok(()) };
                let mut values = Vec::with_capacity(dims.steps * size);
                for step in 0..dims.steps as u64 {
                    let t = (first + step + 1) as f64 * self.dt;
                    let row = build::guarded(&what, || f(t))?;
                    if row.len() != size {
                        let got = format!("{} values at {t} s", row.len());
                        return Err(Error::shape(what, size, "what its function gives", got));
                    }
                    if let Some(&value) = row.iter().find(|x| !x.is_finite()) {
                        let hint = "its function must give finite numbers".into();
                        return Err(Error::NotFinite { what, value, step: first + step, hint });
                    }
                    values.extend(row);
                }
                self.engine.write_with(buffer, 0, len, &mut |to| {
                    for (r, to) in to.chunks_exact_mut(size).enumerate() {
                        let t = r / dims.batch;
                        to.copy_from_slice(&values[t * size..(t + 1) * size]);
                    }
                })
            }
            _ => Ok(()),
        }
    }

    /// A probe's rows in a window that started at step `first`, as (batch, rows, size), without history the last of them
    /// alone; of a parameter as (1, 1, size).
    pub(super) fn read_output(&mut self, probe: usize, loaded: &Loaded, first: u64) -> Result<Array3<f32>> {
        let placed = &loaded.outputs[probe];
        let id = match placed.binding.buffer {
            BufferRef::Local(i) => loaded.program.locals[i],
            BufferRef::Shared(i) => self.shared[i],
        };
        let (ty, Dims { batch, steps }) = (placed.ty, loaded.dims);
        let (every, of_parameter) = (self.sample_every(ProbeId(probe)), self.of_parameter(ProbeId(probe)));
        let rows = ((first + steps as u64) / every as u64 - first / every as u64) as usize;
        let kept = if self.keep_history { rows } else { rows.min(1) };
        let in_time =
            ty.extent == Extent::Sequence || (every > 1 && ty.rows == batch * steps.div_ceil(every));
        let mut start = placed.binding.offset + placed.start;
        let dims = Dims { batch, steps: kept };
        if in_time && !of_parameter {
            start += (rows - kept) * batch * ty.cols;
            let len = kept * batch * ty.cols;
            let values = if len == 0 { Vec::new() } else { self.engine.read(id, start, len)? };
            return Ok(by_example(&values, dims, ty.cols));
        }
        let values = self.engine.read(id, start, ty.elements(dims))?;
        let shape = match ty.extent {
            Extent::Fixed if of_parameter => (1, 1, values.len()),
            Extent::Fixed | Extent::Sequence => (1, 1, ty.cols),
            Extent::Example => (batch, 1, ty.cols),
        };
        let wrong =
            |problem: String| Error::invalid(format!("probe '{}'", self.network.probes[probe].name), problem);
        let shaped = Array3::from_shape_vec(shape, values).map_err(|e| wrong(e.to_string()))?;
        if of_parameter {
            return Ok(shaped);
        }
        let full = shaped.broadcast((batch, kept, ty.cols)).map(|v| v.to_owned());
        full.ok_or_else(|| wrong("its values cannot be repeated".into()))
    }
}
