//! Places values in buffers and writes down the dispatches.

use std::collections::HashMap;

use super::{Output, ParameterPlace, Place, Plan, Stage};
use crate::engine::{Binding, BufferRef, Command, Dispatch, Recording, Target};
use crate::error::{Error, Result};
use crate::graph::{Graph, Lower, Memory, NodeId, Placed, Source, Table, Type, ValueId};

/// What [`record`] needs.
pub struct Input<'a> {
    /// The operators, simplified.
    pub graph: Graph,
    /// What must be there in the end.
    pub outputs: Vec<Output>,
    /// Where the parameters lie, in shared buffer 0.
    pub parameters: &'a [ParameterPlace],
    /// Shared buffers that carry states, by the node's output.
    pub states: &'a HashMap<ValueId, usize>,
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
    let Input { graph, outputs, parameters, states, target, label, stages } = input;
    let mut buffers = Buffers::new(&graph, &outputs, parameters, target);
    buffers.place_sources(&stages)?;
    for (at, stage) in stages.iter().enumerate() {
        for &node in stage.nodes() {
            buffers.place_output(node, at, &stages)?;
            buffers.place_tables(node)?;
        }
        buffers.release(at);
    }
    let Buffers { placed, mut locals, constants, tables, feeds, .. } = buffers;

    let mut scratch: Vec<usize> = Vec::new();
    let mut commands = Vec::new();
    let histories: Vec<(NodeId, usize)> = stages
        .iter()
        .flat_map(Stage::nodes)
        .filter_map(|&n| Some((n, *states.get(&graph.nodes[n.0].output)?)))
        .collect();
    for &(node, shared) in &histories {
        let (start, _) = borders(&graph, node, &placed);
        commands.push(Command::Copy { from: shared_state(shared, start.len), to: start });
    }
    for stage in &stages {
        let in_loop = matches!(stage, Stage::Loop { .. });
        let mut body: Vec<Dispatch> = Vec::new();
        for &NodeId(n) in stage.nodes() {
            let node = &graph.nodes[n];
            let output = placed[&node.output].clone();
            let mut lower = Lower {
                inputs: node.inputs.iter().map(|v| view(&graph, *v, &placed)).collect(),
                output,
                tables: node.op.tables().iter().filter_map(|t| binding_of(t, &tables)).collect(),
                dims: graph.dims,
                in_loop,
                target,
                scratch: Vec::new(),
                scratch_base: locals.len(),
            };
            body.extend(node.op.lower(&mut lower)?);
            for (i, len) in lower.scratch.into_iter().enumerate() {
                check_size(len, &format!("scratch memory of '{}'", node.owner), target)?;
                scratch.resize(scratch.len().max(i + 1), 0);
                scratch[i] = scratch[i].max(padded(len));
            }
        }
        match stage {
            Stage::Loop { backward, .. } => commands.push(Command::Repeat {
                steps: graph.dims.steps,
                rows: graph.dims.batch,
                backward: *backward,
                body,
            }),
            _ => commands.extend(body.into_iter().map(Command::Dispatch)),
        }
    }
    for &(node, shared) in &histories {
        let (_, end) = borders(&graph, node, &placed);
        commands.push(Command::Copy { from: end, to: shared_state(shared, end.len) });
    }
    locals.extend(scratch.into_iter().enumerate().map(|(i, len)| (len, format!("scratch {i}"))));
    let outputs = outputs.iter().map(|o| view(&graph, o.value, &placed)).collect();
    let recording = Recording { label: label.to_string(), locals, commands };
    Ok(Plan { recording, outputs, feeds, constants, tables, stages, graph })
}

fn binding_of(table: &Table, placed: &[(Binding, Table)]) -> Option<Binding> {
    placed.iter().find(|(_, t)| t == table).map(|(binding, _)| *binding)
}

fn shared_state(buffer: usize, len: usize) -> Binding {
    Binding { buffer: BufferRef::Shared(buffer), offset: 0, len }
}

/// First and last block of a state's history.
fn borders(graph: &Graph, node: NodeId, placed: &HashMap<ValueId, Placed>) -> (Binding, Binding) {
    let node = &graph.nodes[node.0];
    let history = &placed[&node.output];
    let (block, steps) = (graph.dims.batch * history.ty.cols, graph.dims.steps);
    let start = node.op.memory().start_block(steps);
    let at = |b: usize| Binding { offset: history.binding.offset + b * block, len: block, ..history.binding };
    (at(start), at(steps - start))
}

/// A value as its readers see it: of a history, the blocks that are the output.
fn view(graph: &Graph, value: ValueId, placed: &HashMap<ValueId, Placed>) -> Placed {
    let mut view = placed[&value].clone();
    if let Some(node) = graph.producer(value) {
        view.start += graph.nodes[node.0].op.memory().output_block() * graph.dims.batch * view.ty.cols;
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
    locals: Vec<(usize, String)>,
    constants: Vec<(Placed, f32)>,
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
            locals: Vec::new(),
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
        Ok(self.locals.len() - 1)
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
                    let ParameterPlace { offset, ty } = self.parameters[i].clone();
                    let len = padded(ty.rows * ty.cols);
                    Placed { binding: Binding { buffer: BufferRef::Shared(0), offset, len }, start: 0, ty }
                }
                Source::Feed(i) => {
                    let local = self.local(ty.elements(self.graph.dims), &format!("input {i}"))?;
                    let placed = self.whole(local, ty);
                    self.feeds.insert(i, placed.clone());
                    placed
                }
                Source::Constant(c) => {
                    let local = self.local(1, "constant")?;
                    let placed = self.whole(local, ty);
                    self.constants.push((placed.clone(), c));
                    placed
                }
                Source::Node(_) => continue,
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
        if node.op.memory() != Memory::None {
            // A history starts from a block that must stay as it is: its buffer is never used for anything else.
            len += self.graph.dims.batch * ty.cols;
            let local = self.local(len, &name)?;
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
        if self.outputs.iter().all(|o| o.value != value) {
            let reads = |s: &Stage| s.nodes().iter().any(|n| self.graph.nodes[n.0].inputs.contains(&value));
            let last = stages.iter().rposition(reads).unwrap_or(at);
            self.busy.push((local, last.max(at)));
        }
        self.placed.insert(value, self.whole(local, ty));
        Ok(())
    }

    /// The operator's constant words, once for all operators that share them.
    fn place_tables(&mut self, NodeId(n): NodeId) -> Result<()> {
        let node = &self.graph.nodes[n];
        for table in node.op.tables() {
            if binding_of(&table, &self.tables).is_none() {
                let local = self.local(table.words().len(), &format!("indices of '{}'", node.owner))?;
                self.tables.push((self.whole(local, Type::fixed(1, table.words().len())).binding, table));
            }
        }
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
