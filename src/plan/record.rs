//! Writes down the dispatches of what has been placed in buffers.

use std::collections::HashMap;

use crate::engine::{Binding, BufferRef, Command, Dispatch, Recording, Target, Tile};
use crate::error::{Error, Result};
use crate::graph::{Dims, Extent, Graph, Lower, NodeId, Placed, Type, ValueId};
use crate::op::{Callback, reduce};
use crate::plan::cut::{self, Cut};
use crate::plan::histories::Histories;
use crate::plan::place::{Buffers, Placing, check_size, padded};
use crate::plan::{Carry, Output, ParameterPlace, Plan, Stage, fuse};

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

/// A plan from stages.
///
/// # Errors
/// A value that is larger than the device can bind.
pub fn record(input: Input<'_>) -> Result<Plan> {
    let Input { graph, outputs, parameters, carry, target, label, stages } = input;
    let placing = Placing { graph: &graph, outputs: &outputs, stages: &stages, parameters, target };
    let Buffers { placed, states, rolling, starts, mut locals, per_step, constants, tables, feeds, .. } =
        placing.place(carry.as_ref())?;

    let histories = Histories { graph: &graph, placed: &placed, states: &states, rolling: &rolling };
    let mut commands: Vec<Command> =
        starts.into_iter().map(|(from, to)| Command::Copy { from, to }).collect();
    let (first, last) = histories.borders(&stages, carry.as_ref());
    commands.extend(first);
    let mut scratch: Vec<usize> = Vec::new();
    let numbers = cut::numbers(&graph);
    let (mut calls, mut fused, mut cuts) = (Vec::with_capacity(stages.len()), Vec::new(), Vec::new());
    let Dims { batch, steps } = graph.dims;
    let read = |value: ValueId| {
        let placed = histories.view(value);
        // Rows of one step alone repeat.
        let ty = if rolling.contains(&value) { Type::example(placed.ty.cols) } else { placed.ty };
        Placed { ty, ..placed }
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
                    tables: node.op.tables().iter().filter_map(|t| tables.get(t).copied()).collect(),
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
                let calls = node.op.lower(&mut lower)?;
                let what = || format!("the {} of '{}'", node.op.name(), node.owner);
                calls.iter().try_for_each(|d| d.check_turns(target.max_turns, &target.name, what))?;
                body.extend(calls.into_iter().map(|d| Dispatch { rolls, ..d }));
                if let Some(callback) = node.op.downcast::<Callback>() {
                    let (input, output) = (lower.inputs[0].clone(), lower.output.clone());
                    let (callback, number) = (callback.clone(), numbers[&NodeId(n)]);
                    within.push((body.len(), Cut { at: 0, callback, number, input, output }));
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
    commands.extend(last);
    locals.extend(scratch.into_iter().enumerate().map(|(i, len)| (len, format!("scratch {i}"))));
    let outputs = outputs.iter().map(|o| histories.view(o.value)).collect();
    let recording = Recording { label: label.to_string(), locals, commands };
    let floats_per_step = per_step.iter().sum();
    Ok(Plan { recording, outputs, feeds, constants, stages, cuts, calls, fused, floats_per_step, graph })
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
