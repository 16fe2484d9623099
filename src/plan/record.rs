//! Places values in buffers and writes down the dispatches.

use std::collections::{HashMap, HashSet};

use super::cut::Cut;
use super::order::rolling;
use super::{Carry, Output, ParameterPlace, Place, Plan, Stage, fuse};
use crate::engine::{Binding, BufferRef, Command, Dispatch, Recording, Target, Tile};
use crate::error::{Error, Result};
use crate::graph::{
    Dims, Extent, Graph, Lower, Memory, NodeId, Placed, PlacedStates, Source, Table, Type, ValueId,
};
use crate::op::{Callback, reduce};

/// What [`record`] needs.
pub struct Input<'a> {
    /// The operators, simplified.
    pub graph: Graph,
    /// What must be there in the end.
    pub outputs: Vec<Output>,
    /// Where the parameters lie, in shared buffer 0.
    pub parameters: &'a [ParameterPlace],
    /// The shared buffer that carries states, if they are carried.
    pub carry: Option<(usize, Carry)>,
    /// The device.
    pub target: &'a Target,
    /// Name of the recording.
    pub label: &'a str,
    /// What runs in which way, in order.
    pub stages: Vec<Stage>,
}

/// Floats a buffer is padded to: kernels read and write whole `vec4`s.
fn padded(len: usize) -> usize {
    len.next_multiple_of(4).max(4)
}

/// A plan from stages.
///
/// # Errors
/// A value that is larger than the device can bind.
pub fn record(input: Input<'_>) -> Result<Plan> {
    let Input { graph, outputs, parameters, carry, target, label, stages } = input;
    let mut buffers = Buffers::new(&graph, &outputs, parameters, target);
    buffers.rolling = rolling(&graph, &outputs, &stages);
    buffers.place_sources(&stages)?;
    for (at, stage) in stages.iter().enumerate() {
        for &node in stage.nodes() {
            buffers.place_output(node, at, &stages)?;
            buffers.place_tables(node)?;
            buffers.place_states(node, &stages, carry.as_ref())?;
        }
        buffers.release(at);
    }
    let Buffers { placed, states, rolling, mut locals, per_step, constants, tables, feeds, .. } = buffers;

    let borders = carry.as_ref().map_or(Vec::new(), |c| borders(&graph, &stages, c, &placed, &states));
    let mut commands: Vec<Command> =
        borders.iter().map(|b| Command::Copy { from: b.carried, to: b.start }).collect();
    let mut scratch: Vec<usize> = Vec::new();
    let (mut calls, mut fused, mut cuts) = (Vec::with_capacity(stages.len()), Vec::new(), Vec::new());
    let Dims { batch, steps } = graph.dims;
    let read = |value: ValueId| {
        let mut placed = view(&graph, value, &placed, &states);
        if rolling.contains(&value) {
            // Its rows are those of one step: they repeat.
            placed.ty = Type::example(placed.ty.cols);
        }
        placed
    };
    for stage in &stages {
        let in_loop = matches!(stage, Stage::Loop { .. });
        let on_host = |n: &&NodeId| graph.nodes[n.0].op.downcast::<Callback>().is_some();
        let hosted = stage.nodes().iter().find(on_host);
        let callback = hosted.and_then(|n| graph.nodes[n.0].op.downcast::<Callback>());
        if let Some(callback) = callback.filter(|_| in_loop && steps > 1) {
            let problem = "it is called on the host and on a cycle, which can run only one step at a time";
            return Err(Error::invalid(&callback.what, problem));
        }
        // The host is asked for all examples at once.
        let tile = if in_loop && hosted.is_none() { tile_rows(&graph, stage.nodes(), target) } else { batch };
        let (mut tiles, mut within, mut tails) = (Vec::new(), Vec::new(), Vec::new());
        let count = batch.div_ceil(tile);
        // Sums over time: each tile makes a part of its own.
        let mut totals: HashMap<NodeId, (Binding, usize)> = HashMap::new();
        for &n in stage.nodes().iter().filter(|_| in_loop && count > 1) {
            let output = graph.node(n).output;
            if graph.ty(output).extent == Extent::Fixed {
                let len = graph.ty(output).elements(graph.dims);
                let buffer = BufferRef::Local(locals.len() + scratch.len());
                scratch.push(padded(count * len));
                totals.insert(n, (Binding { buffer, offset: 0, len: count * len }, len));
            }
        }
        let kept = if totals.is_empty() { 0 } else { scratch.len() };
        for (number, row) in (0..batch).step_by(tile).enumerate() {
            let mut body: Vec<Dispatch> = Vec::new();
            // Tiles run side by side, each with memory of its own.
            let first = if row == 0 { kept } else { scratch.len() };
            for &NodeId(n) in stage.nodes() {
                let node = &graph.nodes[n];
                let mut output = placed[&node.output].clone();
                if let Some(&(binding, len)) = totals.get(&NodeId(n)) {
                    output = Placed { binding, start: number * len, ..output };
                }
                let backward = matches!(stage, Stage::Loop { backward: true, .. });
                let total = in_loop && output.ty.extent == Extent::Fixed;
                let mut lower = Lower {
                    inputs: node.inputs.iter().map(|v| read(*v)).collect(),
                    output,
                    rolls: rolling.contains(&node.output),
                    tables: node.op.tables().iter().filter_map(|t| binding_of(t, &tables)).collect(),
                    states: states.get(&node.output).cloned(),
                    dims: graph.dims,
                    in_loop,
                    tile: tile.min(batch - row),
                    total: total.then_some(if backward { steps - 1 } else { 0 }),
                    target,
                    scratch: Vec::new(),
                    scratch_base: locals.len() + first,
                };
                let rolls = lower.rolls;
                body.extend(node.op.lower(&mut lower)?.into_iter().map(|d| Dispatch { rolls, ..d }));
                if let Some(callback) = node.op.downcast::<Callback>() {
                    let (input, output) = (lower.inputs[0].clone(), lower.output.clone());
                    within.push((body.len(), Cut { at: 0, callback: callback.clone(), input, output }));
                }
                for (i, len) in lower.scratch.into_iter().enumerate() {
                    check_size(len, &format!("scratch memory of '{}'", node.owner), target)?;
                    scratch.resize(scratch.len().max(first + i + 1), 0);
                    scratch[first + i] = scratch[first + i].max(padded(len));
                }
            }
            tiles.push(Tile { row, body });
        }
        calls.push(tiles.first().map_or(0, |t| t.body.len()));
        // What a stage does before and after each call of the host.
        for (at, cut) in within.into_iter().rev() {
            let after = tiles.last_mut().map_or(Vec::new(), |t| t.body.split_off(at));
            tails.push((cut, after));
        }
        let whole = match (stage, &tiles[..]) {
            (Stage::Loop { backward, .. }, [tile]) if tails.is_empty() => {
                fuse::fuse(&tile.body, graph.dims, *backward, target)
            }
            _ => Vec::new(),
        };
        fused.push(whole.len());
        let of_stage = |tiles: Vec<Tile>, fused: Vec<Dispatch>| -> Vec<Command> {
            match stage {
                Stage::Loop { backward, .. } => {
                    vec![Command::Repeat { steps, rows: batch, backward: *backward, tiles, fused }]
                }
                _ => tiles.into_iter().flat_map(|t| t.body).map(Command::Dispatch).collect(),
            }
        };
        commands.extend(of_stage(tiles, whole));
        for (node, (parts, len)) in stage.nodes().iter().filter_map(|n| Some((n, totals.get(n)?))) {
            let output = placed[&graph.node(*node).output].clone();
            commands.push(Command::Dispatch(reduce::over_parts(*parts, count, *len, output, target.family)));
        }
        while let Some((cut, body)) = tails.pop() {
            cuts.push(Cut { at: commands.len(), ..cut });
            commands.extend(of_stage(vec![Tile { row: 0, body }], Vec::new()));
        }
    }
    commands.extend(borders.iter().map(|b| Command::Copy { from: b.end, to: b.carried }));
    locals.extend(scratch.into_iter().enumerate().map(|(i, len)| (len, format!("scratch {i}"))));
    let outputs = outputs.iter().map(|o| view(&graph, o.value, &placed, &states)).collect();
    let recording = Recording { label: label.to_string(), locals, commands };
    let floats_per_step = per_step.iter().sum();
    Ok(Plan { recording, outputs, feeds, constants, stages, cuts, calls, fused, floats_per_step, graph })
}

fn binding_of(table: &Table, placed: &[(Binding, Table)]) -> Option<Binding> {
    placed.iter().find(|(_, t)| t == table).map(|(binding, _)| *binding)
}

/// Bytes of a step's values that stay in the second-level cache of one core, beside the weights.
const TILE_BYTES: usize = 256 << 10;
/// Fewer rows than this multiply slowly.
const LEAST_ROWS: usize = 8;

/// How many examples of a loop are walked through time together. On the CPU each thread takes tiles of its own, so that
/// nobody waits within a loop; an adapter takes all at once.
fn tile_rows(graph: &Graph, nodes: &[NodeId], target: &Target) -> usize {
    let batch = graph.dims.batch;
    if target.threads == 1 || batch < target.threads {
        return batch;
    }
    let own = batch.div_ceil(target.threads);
    let columns: usize = nodes.iter().map(|n| graph.ty(graph.nodes[n.0].output).cols).sum();
    let fit = (TILE_BYTES / (4 * columns)).max(LEAST_ROWS);
    own.div_ceil(own.div_ceil(fit))
}

/// A history's first and last block, and where they come from and go to between replays.
struct Border {
    carried: Binding,
    start: Binding,
    end: Binding,
}

/// The borders of all histories. States without a history lie in the shared buffer itself.
fn borders(
    graph: &Graph,
    stages: &[Stage],
    (buffer, carry): &(usize, Carry),
    placed: &HashMap<ValueId, Placed>,
    states: &HashMap<ValueId, PlacedStates>,
) -> Vec<Border> {
    let steps = graph.dims.steps;
    let mut borders = Vec::new();
    for &NodeId(n) in stages.iter().flat_map(Stage::nodes) {
        let node = &graph.nodes[n];
        let Some(place) = carry.place(node.output) else { continue };
        let block = graph.dims.batch * graph.ty(node.output).cols;
        let mut add = |history: Binding, first: usize, carried: usize, block: usize| {
            let at = |b: usize| Binding { offset: history.offset + first + b * block, len: block, ..history };
            let start = node.op.memory().start_block(steps);
            let carried = Binding { buffer: BufferRef::Shared(*buffer), offset: carried, len: block };
            borders.push(Border { carried, start: at(start), end: at(steps - start) });
        };
        if let Some(carried) = place.output {
            add(placed[&node.output].binding, 0, carried, block);
        }
        if let (Some(carried), Some(PlacedStates { placed, kept: true })) =
            (place.states, states.get(&node.output))
        {
            let block = graph.dims.batch * graph.state_cols(node);
            for k in 0..node.op.states().len() {
                add(placed.binding, k * (steps + 1) * block, carried + k * block, block);
            }
        }
    }
    borders
}

/// A value as its readers see it: of a history, the blocks that are the output, or the state before or after each step.
fn view(
    graph: &Graph,
    value: ValueId,
    placed: &HashMap<ValueId, Placed>,
    states: &HashMap<ValueId, PlacedStates>,
) -> Placed {
    let ty = graph.ty(value);
    let block = graph.dims.batch * ty.cols;
    if let Source::State { node, index, after } = graph.values[value.0].source {
        let node = &graph.nodes[node.0];
        let mut view = Placed { ty, ..states[&node.output].placed.clone() };
        let first = node.op.memory().state_block(after);
        view.start += (index * (graph.dims.steps + 1) + first) * block;
        return view;
    }
    let mut view = placed[&value].clone();
    if let Some(node) = graph.producer(value) {
        view.start += graph.nodes[node.0].op.memory().output_block() * block;
    }
    view
}

fn check_size(len: usize, what: &str, target: &Target) -> Result<()> {
    if padded(len) <= target.max_binding {
        return Ok(());
    }
    Err(Error::TooLarge {
        what: what.to_string(),
        needed: 4 * padded(len) as u64,
        limit: 4 * target.max_binding as u64,
        device: target.name.clone(),
        hint: "use a smaller minibatch, fewer steps at once or a smaller layer".into(),
    })
}

/// Buffers as they are handed out. A buffer is used again once its value has been read for the last time.
struct Buffers<'a> {
    graph: &'a Graph,
    outputs: &'a [Output],
    parameters: &'a [ParameterPlace],
    target: &'a Target,
    placed: HashMap<ValueId, Placed>,
    /// By the operator's output.
    states: HashMap<ValueId, PlacedStates>,
    /// Values with the rows of one step.
    rolling: HashSet<ValueId>,
    locals: Vec<(usize, String)>,
    /// For each of them how many floats it grows by with a step more.
    per_step: Vec<usize>,
    constants: Vec<(Placed, Vec<f32>)>,
    /// Constant words that several operators may share.
    tables: Vec<(Binding, Table)>,
    feeds: HashMap<usize, Placed>,
    /// Buffers that may be used again.
    free: Vec<usize>,
    /// Buffer and the stage after which it is free.
    busy: Vec<(usize, usize)>,
}

impl<'a> Buffers<'a> {
    fn new(
        graph: &'a Graph,
        outputs: &'a [Output],
        parameters: &'a [ParameterPlace],
        target: &'a Target,
    ) -> Self {
        Self {
            graph,
            outputs,
            parameters,
            target,
            placed: HashMap::new(),
            states: HashMap::new(),
            rolling: HashSet::new(),
            locals: Vec::new(),
            per_step: Vec::new(),
            constants: Vec::new(),
            tables: Vec::new(),
            feeds: HashMap::new(),
            free: Vec::new(),
            busy: Vec::new(),
        }
    }

    fn local(&mut self, len: usize, name: &str) -> Result<usize> {
        check_size(len, name, self.target)?;
        self.locals.push((padded(len), name.to_string()));
        self.per_step.push(0);
        Ok(self.locals.len() - 1)
    }

    /// A buffer holds `count` rows of `ty` for each step and example, if it holds one for each.
    fn grows(&mut self, local: usize, ty: Type, count: usize) {
        if ty.extent == Extent::Sequence {
            let floats = count * self.graph.dims.batch * ty.cols;
            self.per_step[local] = self.per_step[local].max(floats);
        }
    }

    fn whole(&self, local: usize, ty: Type) -> Placed {
        let binding = Binding { buffer: BufferRef::Local(local), offset: 0, len: self.locals[local].0 };
        Placed { binding, start: 0, ty }
    }

    /// Parameters, feeds and constants that some stage or output reads.
    fn place_sources(&mut self, stages: &[Stage]) -> Result<()> {
        let inputs = stages.iter().flat_map(Stage::nodes).flat_map(|n| &self.graph.nodes[n.0].inputs);
        let mut needed: Vec<ValueId> = inputs.copied().chain(self.outputs.iter().map(|o| o.value)).collect();
        needed.sort();
        needed.dedup();
        for value in needed {
            let crate::graph::Value { ty, source } = self.graph.values[value.0].clone();
            let placed = match source {
                Source::Parameter(i) => {
                    let offset = self.parameters[i].offset;
                    let len = padded(ty.rows * ty.cols);
                    Placed { binding: Binding { buffer: BufferRef::Shared(0), offset, len }, start: 0, ty }
                }
                Source::Feed(i) => {
                    let local = self.local(ty.elements(self.graph.dims), &format!("input {i}"))?;
                    self.grows(local, ty, 1);
                    let placed = self.whole(local, ty);
                    self.feeds.insert(i, placed.clone());
                    // It is written anew before each replay.
                    self.keep_until_read(local, value, 0, stages);
                    placed
                }
                Source::Constant(c) => {
                    let local = self.local(1, "constant")?;
                    let placed = self.whole(local, ty);
                    self.constants.push((placed.clone(), vec![c]));
                    placed
                }
                Source::Node(_) | Source::State { .. } => continue,
            };
            self.placed.insert(value, placed);
        }
        Ok(())
    }

    fn place_output(&mut self, NodeId(n): NodeId, at: usize, stages: &[Stage]) -> Result<()> {
        let node = &self.graph.nodes[n];
        let value = node.output;
        let ty = self.graph.ty(value);
        let name = if node.owner.is_empty() {
            format!("a value of {}", node.op.name())
        } else {
            format!("the {} of '{}'", node.op.name(), node.owner)
        };
        let mut len = ty.elements(self.graph.dims);
        if self.rolling.contains(&value) {
            len = self.graph.dims.batch * ty.cols;
        }
        if matches!(node.op.memory(), Memory::State { .. }) {
            // A history starts from a block that must stay as it is: its buffer is never used for anything else.
            len += self.graph.dims.batch * ty.cols;
            let local = self.local(len, &name)?;
            self.grows(local, ty, 1);
            self.placed.insert(value, self.whole(local, ty));
            return Ok(());
        }
        if let Some(Output { place: Place::Shared { buffer, offset }, .. }) =
            self.outputs.iter().find(|o| o.value == value && o.place != Place::Keep)
        {
            let binding = Binding { buffer: BufferRef::Shared(*buffer), offset: *offset, len: padded(len) };
            self.placed.insert(value, Placed { binding, start: 0, ty });
            return Ok(());
        }
        let fits = |&i: &usize| {
            let have = self.locals[self.free[i]].0;
            have >= padded(len) && have <= 2 * padded(len)
        };
        let reuse = (0..self.free.len()).filter(fits).min_by_key(|&i| self.locals[self.free[i]].0);
        let local = match reuse {
            Some(i) => self.free.swap_remove(i),
            None => self.local(len, &name)?,
        };
        if !self.rolling.contains(&value) {
            self.grows(local, ty, 1);
        }
        self.keep_until_read(local, value, at, stages);
        self.placed.insert(value, self.whole(local, ty));
        Ok(())
    }

    /// A buffer is busy until its value, which is there from stage `at` on, has been read for the last time.
    fn keep_until_read(&mut self, local: usize, value: ValueId, at: usize, stages: &[Stage]) {
        if self.outputs.iter().any(|o| o.value == value) {
            return;
        }
        let reads = |s: &Stage| s.nodes().iter().any(|n| self.graph.nodes[n.0].inputs.contains(&value));
        let last = stages.iter().rposition(reads).unwrap_or(at);
        self.busy.push((local, last.max(at)));
    }

    /// The operator's constant words, once for all operators that share them.
    fn place_tables(&mut self, NodeId(n): NodeId) -> Result<()> {
        let node = &self.graph.nodes[n];
        for table in node.op.tables() {
            if binding_of(&table, &self.tables).is_none() {
                let local = self.local(table.words().len(), &format!("indices of '{}'", node.owner))?;
                let placed = self.whole(local, Type::fixed(1, table.words().len()));
                self.constants.push((placed.clone(), table.floats()));
                self.tables.push((placed.binding, table));
            }
        }
        Ok(())
    }

    /// States have a history only if something reads it; else they are one block, where they are carried.
    fn place_states(
        &mut self,
        NodeId(n): NodeId,
        stages: &[Stage],
        carry: Option<&(usize, Carry)>,
    ) -> Result<()> {
        let node = &self.graph.nodes[n];
        let count = node.op.states().len();
        if count == 0 {
            return Ok(());
        }
        let ty = self.graph.ty(node.output).with_cols(self.graph.state_cols(node));
        let block = self.graph.dims.batch * ty.cols;
        let readers = stages.iter().flat_map(Stage::nodes).flat_map(|r| &self.graph.nodes[r.0].inputs);
        let mut read = readers.copied().chain(self.outputs.iter().map(|o| o.value));
        let kept = read.any(|v| self.graph.reads_state(v, NodeId(n)));
        let carried = carry.and_then(|(b, c)| Some((*b, c.place(node.output)?.states?)));
        let placed = match carried {
            Some((buffer, offset)) if !kept => {
                let binding =
                    Binding { buffer: BufferRef::Shared(buffer), offset, len: padded(count * block) };
                Placed { binding, start: 0, ty }
            }
            // A block of its own that nothing overwrites is what each replay starts from.
            carried => {
                let blocks = self.graph.dims.steps + 1;
                let local = self.local(count * blocks * block, &format!("the states of '{}'", node.owner))?;
                self.grows(local, ty, count);
                let placed = self.whole(local, ty);
                let first = node.op.memory().start_block(self.graph.dims.steps);
                for (k, state) in node.op.states().iter().enumerate().filter(|_| carried.is_none()) {
                    let start = (k * blocks + first) * block;
                    let values = (0..block).map(|e| state.start(e % ty.cols)).collect();
                    self.constants.push((Placed { start, ..placed.clone() }, values));
                }
                self.states.insert(node.output, PlacedStates { placed, kept: true });
                return Ok(());
            }
        };
        self.states.insert(node.output, PlacedStates { placed, kept: false });
        Ok(())
    }

    fn release(&mut self, at: usize) {
        let free = &mut self.free;
        self.busy.retain(|&(local, last)| {
            if last <= at {
                free.push(local);
            }
            last > at
        });
    }
}
