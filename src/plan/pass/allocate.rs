//! Places values, states and tables in buffers, which are used again once their value has been read for the last time.
//!
//! - Before: the final graph and the order of its stages.
//! - After: each value that a stage reads or makes has a place.
//! - Keeps: graph and stages.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::engine::{Binding, BufferRef, Target};
use crate::error::{Error, Result};
use crate::graph::{
    Extent, Graph, Memory, NodeId, Placed, PlacedStates, Source, State, Table, Type, ValueId,
};
use crate::plan::pass::state_layout::Carry;
use crate::plan::rolling::rolling;
use crate::plan::{Output, ParameterPlace, Place, Stage};

/// Length of a buffer in floats: kernels read and write whole `vec4`s.
pub(super) fn padded(len: usize) -> usize {
    len.next_multiple_of(4).max(4)
}

pub(super) fn whole(local: usize, len: usize) -> Binding {
    Binding { buffer: BufferRef::Local(local), offset: 0, len }
}

pub(super) fn check_size(len: usize, what: &str, target: &Target) -> Result<()> {
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

/// Input of the pass.
pub(super) struct Placing<'a> {
    pub graph: &'a Graph,
    pub outputs: &'a [Output],
    pub stages: &'a [Stage],
    pub parameters: &'a [ParameterPlace],
    pub target: &'a Target,
}

/// Buffers and the values in them.
#[derive(Default)]
pub(super) struct Buffers {
    pub placed: HashMap<ValueId, Placed>,
    /// By the operator's output.
    pub states: HashMap<ValueId, PlacedStates>,
    /// Values with the rows of one step.
    pub rolling: HashSet<ValueId>,
    /// Copies before each replay: the start of states that have one block and are not carried.
    pub starts: Vec<(Binding, Binding)>,
    pub locals: Vec<(usize, String)>,
    /// Floats that each of them takes for one more step.
    pub per_step: Vec<usize>,
    pub constants: Vec<(Placed, Vec<f32>)>,
    /// Constant words that several operators may share.
    pub tables: HashMap<Table, Binding>,
    pub feeds: BTreeMap<usize, Placed>,
    /// Buffers that may be used again, by their length.
    free: BTreeSet<(usize, usize)>,
    /// By stage: the buffers that are free after it.
    busy: Vec<Vec<usize>>,
    /// The last stage that reads a value.
    last: HashMap<ValueId, usize>,
    /// Outputs, with their shared buffer and offset if they have one.
    wanted: HashMap<ValueId, Option<(usize, usize)>>,
    /// Operators whose states are read.
    kept: HashSet<NodeId>,
}

impl Placing<'_> {
    /// Buffers for all values and states, which lie in shared buffers if they are carried.
    pub fn allocate(&self, carry: Option<&(usize, Carry)>) -> Result<Buffers> {
        let rolling = rolling(self.graph, self.outputs, self.stages);
        let mut buffers =
            Buffers { rolling, busy: vec![Vec::new(); self.stages.len()], ..Buffers::default() };
        self.look(&mut buffers);
        self.place_sources(&mut buffers)?;
        for (at, stage) in self.stages.iter().enumerate() {
            for &node in stage.nodes() {
                self.place_output(&mut buffers, node, at, carry)?;
                self.place_tables(&mut buffers, node)?;
                self.place_states(&mut buffers, node, carry)?;
            }
            buffers.release(at);
        }
        Ok(buffers)
    }

    /// Finds the last reader of each value, and the operators whose states are read.
    fn look(&self, to: &mut Buffers) {
        for (at, stage) in self.stages.iter().enumerate() {
            let inputs = stage.nodes().iter().flat_map(|n| &self.graph.nodes[n.0].inputs);
            inputs.for_each(|&v| _ = to.last.insert(v, at));
        }
        for output in self.outputs {
            let place = match output.place {
                Place::Keep => None,
                Place::Shared { buffer, offset } => Some((buffer, offset)),
            };
            let known = to.wanted.entry(output.value).or_default();
            *known = known.or(place);
        }
        let states =
            to.last.keys().chain(to.wanted.keys()).filter_map(|v| match self.graph.values[v.0].source {
                Source::State { node, .. } => Some(node),
                _ => None,
            });
        to.kept = states.collect();
    }

    fn local(&self, to: &mut Buffers, len: usize, name: &str) -> Result<usize> {
        check_size(len, name, self.target)?;
        to.locals.push((padded(len), name.to_string()));
        to.per_step.push(0);
        Ok(to.locals.len() - 1)
    }

    /// Sets the values of a block before each replay.
    fn start(&self, to: &mut Buffers, block: Binding, values: Vec<f32>) -> Result<()> {
        let len = values.len();
        let local = self.local(to, len, "first states")?;
        to.constants.push((to.whole(local, Type::fixed(1, len)), values));
        to.starts.push((whole(local, len), Binding { len, ..block }));
        Ok(())
    }

    /// Parameters, feeds and constants that some stage or output reads.
    fn place_sources(&self, to: &mut Buffers) -> Result<()> {
        let needed: BTreeSet<ValueId> = to.last.keys().chain(to.wanted.keys()).copied().collect();
        for value in needed {
            let crate::graph::Value { ty, source } = self.graph.values[value.0].clone();
            let placed = match source {
                Source::Parameter(i) => {
                    let offset = self.parameters[i].offset;
                    let len = padded(ty.rows * ty.cols);
                    Placed { binding: Binding { buffer: BufferRef::Shared(0), offset, len }, start: 0, ty }
                }
                Source::Feed(i) => {
                    let local = self.local(to, ty.elements(self.graph.dims), &format!("input {i}"))?;
                    to.grows(local, ty, self.graph.dims.batch);
                    let placed = to.whole(local, ty);
                    to.feeds.insert(i, placed.clone());
                    // It is written anew before each replay.
                    self.keep_until_read(to, local, value, 0);
                    placed
                }
                Source::Constant(c) => {
                    let local = self.local(to, 1, "constant")?;
                    let placed = to.whole(local, ty);
                    to.constants.push((placed.clone(), vec![c]));
                    placed
                }
                Source::Node(_) | Source::State { .. } => continue,
            };
            to.placed.insert(value, placed);
        }
        Ok(())
    }

    fn place_output(
        &self,
        to: &mut Buffers,
        NodeId(n): NodeId,
        at: usize,
        carry: Option<&(usize, Carry)>,
    ) -> Result<()> {
        let node = &self.graph.nodes[n];
        let value = node.output;
        let ty = self.graph.ty(value);
        let name = if node.owner.is_empty() {
            format!("a value of {}", node.op.name())
        } else {
            format!("the {} of '{}'", node.op.name(), node.owner)
        };
        let (block, rolls) = (self.graph.dims.batch * ty.cols, to.rolling.contains(&value));
        let len = if rolls { block } else { ty.elements(self.graph.dims) };
        if matches!(node.op.memory(), Memory::State { .. }) {
            // A buffer that is carried is not used again: a history's first block must stay as it is.
            let local = self.local(to, if rolls { block } else { len + block }, &name)?;
            let placed = to.whole(local, ty);
            if !rolls {
                to.grows(local, ty, self.graph.dims.batch);
            } else if carry.and_then(|(_, c)| c.place(value)?.output).is_none() {
                self.start(to, placed.binding, vec![0.0; block])?;
            }
            to.placed.insert(value, placed);
            return Ok(());
        }
        if let Some(&Some((buffer, offset))) = to.wanted.get(&value) {
            let binding = Binding { buffer: BufferRef::Shared(buffer), offset, len: padded(len) };
            to.placed.insert(value, Placed { binding, start: 0, ty });
            return Ok(());
        }
        let fits = (padded(len), 0)..=(2 * padded(len), usize::MAX);
        let local = match to.free.range(fits).next().copied() {
            Some(free) => {
                to.free.remove(&free);
                free.1
            }
            None => self.local(to, len, &name)?,
        };
        if !rolls {
            to.grows(local, ty, self.graph.dims.batch);
        }
        self.keep_until_read(to, local, value, at);
        to.placed.insert(value, to.whole(local, ty));
        Ok(())
    }

    /// Keeps a buffer until its value, which exists from stage `at` on, has been read for the last time.
    fn keep_until_read(&self, to: &mut Buffers, local: usize, value: ValueId, at: usize) {
        if to.wanted.contains_key(&value) {
            return;
        }
        let last = to.last.get(&value).map_or(at, |&last| last.max(at));
        to.busy[last].push(local);
    }

    /// The operator's constant words, once for all operators that share them.
    fn place_tables(&self, to: &mut Buffers, NodeId(n): NodeId) -> Result<()> {
        let node = &self.graph.nodes[n];
        for table in node.op.tables() {
            if !to.tables.contains_key(&table) {
                let local = self.local(to, table.words().len(), &format!("indices of '{}'", node.owner))?;
                let placed = to.whole(local, Type::fixed(1, table.words().len()));
                to.constants.push((placed.clone(), table.floats()));
                to.tables.insert(table, placed.binding);
            }
        }
        Ok(())
    }

    /// Places the states of an operator: a history if it is read, else one block, in the shared buffer if it is carried.
    fn place_states(
        &self,
        to: &mut Buffers,
        NodeId(n): NodeId,
        carry: Option<&(usize, Carry)>,
    ) -> Result<()> {
        let node = &self.graph.nodes[n];
        let count = node.op.states().len();
        if count == 0 {
            return Ok(());
        }
        let ty = self.graph.ty(node.output).with_cols(self.graph.state_cols(node));
        let block = self.graph.dims.batch * ty.cols;
        let kept = to.kept.contains(&NodeId(n));
        let carried = carry.and_then(|(b, c)| Some((*b, c.place(node.output)?.states?)));
        let name = format!("the states of '{}'", node.owner);
        let of = |state: &State| (0..block).map(|e| state.start(e % ty.cols)).collect::<Vec<_>>();
        let placed = match carried {
            Some((buffer, offset)) if !kept => {
                let binding =
                    Binding { buffer: BufferRef::Shared(buffer), offset, len: padded(count * block) };
                Placed { binding, start: 0, ty }
            }
            None if !kept => {
                let local = self.local(to, count * block, &name)?;
                let placed = to.whole(local, ty);
                self.start(to, placed.binding, node.op.states().iter().flat_map(of).collect())?;
                placed
            }
            // A block of its own that nothing overwrites is what each replay starts from.
            carried => {
                let blocks = self.graph.dims.steps + 1;
                let local = self.local(to, count * blocks * block, &name)?;
                to.grows(local, ty, count * self.graph.dims.batch);
                let placed = to.whole(local, ty);
                let first = node.op.memory().start_block(self.graph.dims.steps);
                for (k, state) in node.op.states().iter().enumerate().filter(|_| carried.is_none()) {
                    let start = (k * blocks + first) * block;
                    to.constants.push((Placed { start, ..placed.clone() }, of(state)));
                }
                placed
            }
        };
        to.states.insert(node.output, PlacedStates { placed, kept });
        Ok(())
    }
}

impl Buffers {
    /// Notes that a buffer holds `rows` rows of `ty` for each step, if `ty` is a sequence.
    fn grows(&mut self, local: usize, ty: Type, rows: usize) {
        if ty.extent == Extent::Sequence {
            let floats = rows * ty.cols;
            self.per_step[local] = self.per_step[local].max(floats);
        }
    }

    fn whole(&self, local: usize, ty: Type) -> Placed {
        Placed { binding: whole(local, self.locals[local].0), start: 0, ty }
    }

    fn release(&mut self, at: usize) {
        for local in std::mem::take(&mut self.busy[at]) {
            self.free.insert((self.locals[local].0, local));
        }
    }
}
