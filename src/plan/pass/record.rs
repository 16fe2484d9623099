//! Writes down the dispatches of a graph in the order of its stages.
//!
//! - Before: the graph and the order of its stages after all passes.
//! - After: a recording, with the places of its inputs and outputs.
//! - Keeps: graph and stages.

use std::collections::HashMap;

use crate::engine::{Binding, BufferRef, Command, Dispatch, Recording, Target, Tile};
use crate::error::{Error, Result};
use crate::graph::{Dims, Extent, Graph, Lower, NodeId, Placed, Type, ValueId};
use crate::op::reduce;
use crate::plan::pass::Ir;
use crate::plan::pass::allocate::{Buffers, Placing, check_size, padded};
use crate::plan::pass::history::Histories;
use crate::plan::pass::host_call::{self, Cut};
use crate::plan::pass::persistent_loop::persistent_loop;
use crate::plan::pass::state_layout::Carry;
use crate::plan::{ParameterPlace, Plan, Stage};

/// Shared buffers, device and name of a recording.
pub struct Surroundings<'a> {
    /// Places of the parameters in shared buffer 0.
    pub parameters: &'a [ParameterPlace],
    /// Shared buffer that carries states, if they are carried.
    pub carry: Option<(usize, Carry)>,
    /// The device.
    pub target: &'a Target,
    /// Name of the recording.
    pub label: &'a str,
}

/// The plan of scheduled operators.
///
/// # Errors
/// A value that is larger than the device can bind, or a host call in a loop of several steps.
pub fn record(ir: Ir, around: &Surroundings<'_>) -> Result<Plan> {
    let Ir { graph, outputs, stages } = ir;
    let (target, carry) = (around.target, around.carry.as_ref());
    let placing =
        Placing { graph: &graph, outputs: &outputs, stages: &stages, parameters: around.parameters, target };
    let mut buffers = placing.allocate(carry)?;
    let starts = std::mem::take(&mut buffers.starts);
    let histories = Histories {
        graph: &graph,
        placed: &buffers.placed,
        states: &buffers.states,
        rolling: &buffers.rolling,
    };
    let (first, last) = histories.borders(&stages, carry);
    let starts = starts.into_iter().map(|(from, to)| Command::Copy { from, to });
    let mut recorder = Recorder {
        graph: &graph,
        target,
        buffers: &buffers,
        histories: &histories,
        numbers: host_call::numbers(&graph),
        scratch: Vec::new(),
        commands: starts.chain(first).collect(),
        cuts: Vec::new(),
        calls: Vec::with_capacity(stages.len()),
        fused: Vec::with_capacity(stages.len()),
    };
    stages.iter().try_for_each(|stage| recorder.stage(stage))?;
    let Recorder { scratch, mut commands, cuts, calls, fused, .. } = recorder;
    commands.extend(last);
    let outputs = outputs.iter().map(|o| histories.view(o.value)).collect();
    let Buffers { mut locals, per_step, constants, feeds, .. } = buffers;
    locals.extend(scratch.into_iter().enumerate().map(|(i, len)| (len, format!("scratch {i}"))));
    let recording = Recording { label: around.label.to_string(), locals, commands };
    let floats_per_step = per_step.iter().sum();
    Ok(Plan { recording, outputs, feeds, constants, stages, cuts, calls, fused, floats_per_step, graph })
}

/// A recording in the making.
struct Recorder<'a> {
    graph: &'a Graph,
    target: &'a Target,
    buffers: &'a Buffers,
    histories: &'a Histories<'a>,
    /// For each host call, the number of earlier ones of the same object.
    numbers: HashMap<NodeId, usize>,
    /// Floats of each scratch buffer; they lie behind the other local buffers.
    scratch: Vec<usize>,
    commands: Vec<Command>,
    cuts: Vec<Cut>,
    /// By stage, as in [`Plan::calls`] and [`Plan::fused`].
    calls: Vec<usize>,
    fused: Vec<usize>,
}

/// Sums over time by operator: the buffer of all tiles' parts, and a part's length.
type Totals = HashMap<NodeId, (Binding, usize)>;

/// A tile of a stage's examples.
struct Part<'a> {
    stage: &'a Stage,
    /// Its number, its first example, and how many it has.
    number: usize,
    row: usize,
    rows: usize,
    /// Number of its first scratch buffer: tiles run side by side, each with memory of its own.
    scratch: usize,
    totals: &'a Totals,
}

impl<'a> Recorder<'a> {
    /// The commands of a stage.
    fn stage(&mut self, stage: &Stage) -> Result<()> {
        let Dims { batch, steps } = self.graph.dims;
        let in_loop = matches!(stage, Stage::Loop { .. });
        let graph = self.graph;
        let callback = stage.nodes().iter().find_map(|n| graph.node(*n).op.host_call());
        if let Some(callback) = callback.filter(|_| in_loop && steps > 1) {
            let problem = "it is called on the host and on a cycle, which can run only one step at a time";
            return Err(Error::invalid(&callback.what, problem));
        }
        // The host is asked for all examples at once.
        let tiled = in_loop && callback.is_none();
        let tile = if tiled { tile_rows(graph, stage.nodes(), self.target) } else { batch };
        let count = batch.div_ceil(tile);
        let totals = if in_loop && count > 1 { self.totals(stage, count) } else { Totals::new() };
        let kept = if totals.is_empty() { 0 } else { self.scratch.len() };
        let (mut tiles, mut within) = (Vec::new(), Vec::new());
        for (number, row) in (0..batch).step_by(tile).enumerate() {
            let scratch = if row == 0 { kept } else { self.scratch.len() };
            let rows = tile.min(batch - row);
            let part = Part { stage, number, row, rows, scratch, totals: &totals };
            tiles.push(self.tile(&part, &mut within)?);
        }
        self.calls.push(tiles.first().map_or(0, |t| t.body.len()));
        // The dispatches after each call of the host.
        let mut tails = Vec::new();
        for (at, cut) in within.into_iter().rev() {
            let after = tiles.last_mut().map_or(Vec::new(), |t| t.body.split_off(at));
            tails.push((cut, after));
        }
        let whole = match (stage, &tiles[..]) {
            (Stage::Loop { backward, .. }, [tile]) if tails.is_empty() => {
                persistent_loop(&tile.body, graph.dims, *backward, self.target)
            }
            _ => Vec::new(),
        };
        self.fused.push(whole.len());
        self.run(stage, tiles, whole);
        for (node, (parts, len)) in stage.nodes().iter().filter_map(|n| Some((n, totals.get(n)?))) {
            let output = self.buffers.placed[&graph.node(*node).output].clone();
            let sum = reduce::over_parts(*parts, count, *len, output, self.target.family);
            self.commands.push(Command::Dispatch(sum));
        }
        while let Some((cut, body)) = tails.pop() {
            self.cuts.push(Cut { at: self.commands.len(), ..cut });
            self.run(stage, vec![Tile { row: 0, body }], Vec::new());
        }
        Ok(())
    }

    /// Appends the dispatches of a stage.
    fn run(&mut self, stage: &Stage, tiles: Vec<Tile>, fused: Vec<Dispatch>) {
        let Dims { batch: rows, steps } = self.graph.dims;
        match *stage {
            Stage::Loop { backward, .. } => {
                self.commands.push(Command::Repeat { steps, rows, backward, tiles, fused });
            }
            _ => self.commands.extend(tiles.into_iter().flat_map(|t| t.body).map(Command::Dispatch)),
        }
    }

    /// Buffers for the sums over time of a loop of `count` tiles, each of which makes a part of its own.
    fn totals(&mut self, stage: &Stage, count: usize) -> Totals {
        let mut totals = Totals::new();
        for &n in stage.nodes() {
            let ty = self.graph.ty(self.graph.node(n).output);
            if ty.extent == Extent::Fixed {
                let len = ty.elements(self.graph.dims);
                let buffer = BufferRef::Local(self.buffers.locals.len() + self.scratch.len());
                self.scratch.push(padded(count * len));
                totals.insert(n, (Binding { buffer, offset: 0, len: count * len }, len));
            }
        }
        totals
    }

    /// A step's dispatches for a tile; host calls are added to `within`, each with the number of dispatches before it.
    fn tile(&mut self, part: &Part<'_>, within: &mut Vec<(usize, Cut)>) -> Result<Tile> {
        let mut body: Vec<Dispatch> = Vec::new();
        for &n in part.stage.nodes() {
            let node = self.graph.node(n);
            let mut lower = self.lower(part, n);
            let rolls = lower.rolls;
            let calls = node.op.lower(&mut lower)?;
            let what = || format!("the {} of '{}'", node.op.name(), node.owner);
            let target = self.target;
            calls.iter().try_for_each(|d| d.check_turns(target.max_turns, &target.name, what))?;
            body.extend(calls.into_iter().map(|d| Dispatch { rolls, ..d }));
            if let Some(callback) = node.op.host_call() {
                let (input, output) = (lower.inputs[0].clone(), lower.output.clone());
                let (callback, number) = (callback.clone(), self.numbers[&n]);
                within.push((body.len(), Cut { at: 0, callback, number, input, output }));
            }
            for (i, len) in lower.scratch.into_iter().enumerate() {
                check_size(len, &format!("scratch memory of '{}'", node.owner), target)?;
                let at = part.scratch + i;
                self.scratch.resize(self.scratch.len().max(at + 1), 0);
                self.scratch[at] = self.scratch[at].max(padded(len));
            }
        }
        Ok(Tile { row: part.row, body })
    }

    /// The surroundings of an operator in a tile.
    fn lower(&self, part: &Part<'_>, n: NodeId) -> Lower<'a> {
        let (node, buffers, dims) = (self.graph.node(n), self.buffers, self.graph.dims);
        let mut output = buffers.placed[&node.output].clone();
        if let Some(&(binding, len)) = part.totals.get(&n) {
            output = Placed { binding, start: part.number * len, ..output };
        }
        let in_loop = matches!(part.stage, Stage::Loop { .. });
        let backward = matches!(part.stage, Stage::Loop { backward: true, .. });
        let total = in_loop && output.ty.extent == Extent::Fixed;
        Lower {
            inputs: node.inputs.iter().map(|v| self.read(*v)).collect(),
            output,
            rolls: buffers.rolling.contains(&node.output),
            tables: node.op.tables().iter().filter_map(|t| buffers.tables.get(t).copied()).collect(),
            states: buffers.states.get(&node.output).cloned(),
            dims,
            in_loop,
            tile: part.rows,
            total: total.then_some(if backward { dims.steps - 1 } else { 0 }),
            target: self.target,
            scratch: Vec::new(),
            scratch_base: buffers.locals.len() + part.scratch,
        }
    }

    /// A value as an operator reads it.
    fn read(&self, value: ValueId) -> Placed {
        let placed = self.histories.view(value);
        // Rows of one step alone repeat.
        let rolls = self.buffers.rolling.contains(&value);
        let ty = if rolls { Type::example(placed.ty.cols) } else { placed.ty };
        Placed { ty, ..placed }
    }
}

/// Bytes of a step's values that fit into the second-level cache of one core, with the weights.
const TILE_BYTES: usize = 256 << 10;
/// Fewest rows of a tile; products of fewer rows are slow.
const LEAST_ROWS: usize = 8;

/// Number of examples that a loop takes through time together. On the CPU each thread has tiles of its own, so that no
/// thread waits within a loop; an adapter takes all examples at once.
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
