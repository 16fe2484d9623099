//! Writes the batched operators, and the columns that others want of them.

mod sums;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::graph::{Batching, Graph, Node, NodeId, Operator, Source, Type, Value, ValueId};
use crate::op::{Blocks, Join, Pattern, Slice, Sparse};
use crate::plan::ParameterPlace;
use crate::plan::pass::batch_ops::pieces::{Piece, joined, part};
use crate::plan::pass::batch_ops::{Batched, Pack, Placement, Slot, slots};
use crate::plan::pass::split_sums::is_wide_sum;

/// A batched graph in the making.
pub(super) struct Emit<'a> {
    old: &'a Graph,
    graph: Graph,
    placement: Placement<'a>,
    /// The columns of each old value, side by side.
    forms: HashMap<ValueId, Vec<Piece>>,
    /// The same columns as a value of their own.
    whole: HashMap<Vec<Piece>, ValueId>,
    parameters: Vec<ValueId>,
    /// True for a parameter with several values.
    apart: Vec<bool>,
    /// Values that are states of old operators.
    states: HashMap<NodeId, Vec<(ValueId, usize, bool)>>,
    packs: Vec<Pack>,
    /// The pack that a parameter is in.
    packed: HashMap<usize, usize>,
    /// Of delaying operators: the groups as they were opened, and their new nodes.
    opened: HashMap<NodeId, (Vec<NodeId>, NodeId)>,
}

/// Inputs of a group, put together.
struct Inputs {
    values: Vec<ValueId>,
    /// Of products, the number of members that read the same columns.
    fan_out: usize,
}

impl<'a> Emit<'a> {
    pub fn new(old: &'a Graph, parameters: usize, placement: Placement<'a>) -> Self {
        let mut graph = Graph::new(old.dims);
        let (mut forms, mut states): (HashMap<_, _>, HashMap<NodeId, Vec<_>>) = Default::default();
        let (mut numbered, mut apart) = (vec![None; parameters], vec![false; parameters]);
        for (v, Value { ty, source }) in old.values.iter().enumerate() {
            match *source {
                Source::Node(_) => {}
                Source::State { node, index, after } => {
                    states.entry(node).or_default().push((ValueId(v), index, after));
                }
                Source::Parameter(_) | Source::Feed(_) | Source::Constant(_) => {
                    let value = graph.source(*ty, source.clone());
                    forms.insert(ValueId(v), vec![Piece { value, start: 0, len: ty.cols }]);
                    if let Source::Parameter(i) = *source {
                        // One that is read in two shapes stays by itself.
                        apart[i] = numbered[i].is_some();
                        numbered[i] = numbered[i].or(Some(value));
                    }
                }
            }
        }
        let parameters = numbered.into_iter().flatten().collect();
        let (whole, packs, packed, opened) = Default::default();
        Self { old, graph, placement, forms, whole, parameters, apart, states, packs, packed, opened }
    }

    /// A group of delaying operators, whose inputs come later.
    pub fn open(&mut self, group: &[NodeId]) {
        let node = self.push(group, Vec::new(), 1);
        self.opened.insert(group[0], (group.to_vec(), node));
    }

    /// Gives a group of delaying operators its inputs.
    pub fn close(&mut self, group: &[NodeId]) {
        let Some((group, node)) = self.opened.remove(&group[0]) else { return };
        let inputs = match &group[..] {
            [one] => self.inputs_alone(*one),
            _ => (0..self.old.node(group[0]).inputs.len())
                .map(|i| {
                    let parts = group.iter().flat_map(|n| self.form(self.old.node(*n).inputs[i])).collect();
                    self.value(parts, &self.owner(&group))
                })
                .collect(),
        };
        self.graph.nodes[node.0].inputs = inputs;
    }

    /// Writes a group of operators: as one if possible, else each by itself.
    pub fn group(&mut self, group: &[NodeId]) {
        let mut rest = group.to_vec();
        while rest.len() > 1 {
            let (fan_out, mut members) = self.companions(&rest);
            let taken: HashSet<NodeId> = members.iter().copied().collect();
            rest.retain(|n| !taken.contains(n));
            self.sort(&mut members);
            match if members.len() > 1 { self.inputs(&members, fan_out) } else { None } {
                Some(Inputs { values, fan_out }) => {
                    self.push(&members, values, fan_out);
                }
                None => members.into_iter().for_each(|n| self.alone(n)),
            }
        }
        rest.into_iter().for_each(|n| self.alone(n));
    }

    /// The first operator's companions: of products, all whose columns are read by as many members as its.
    fn companions(&self, group: &[NodeId]) -> (usize, Vec<NodeId>) {
        let batching = self.old.node(group[0]).op.batch().map(|op| op.batching());
        if batching != Some(Batching::Product { groups: 1 }) {
            return (1, group.to_vec());
        }
        let mut readers: HashMap<Vec<Piece>, usize> = HashMap::new();
        let read = |n: NodeId| self.form(self.old.node(n).inputs[0]);
        group.iter().for_each(|&n| *readers.entry(read(n)).or_default() += 1);
        let fan_out = readers[&read(group[0])];
        (fan_out, group.iter().copied().filter(|&n| readers[&read(n)] == fan_out).collect())
    }

    /// By what they read, so that what lies side by side need not be put together; but states always in the same order.
    fn sort(&self, members: &mut [NodeId]) {
        if self.old.node(members[0]).op.memory().is_state() {
            return;
        }
        let read = |n: NodeId| {
            let node = self.old.node(n);
            let columns = |slot: &Slot| match slot {
                Slot::Columns(v) => Some(self.form(*v)),
                _ => None,
            };
            slots(self.old, node).unwrap_or_default().iter().find_map(columns)
        };
        members.sort_by_cached_key(|&n| (read(n), n));
    }

    /// Inputs of a group; `None` if its parameters do not lie side by side.
    fn inputs(&mut self, members: &[NodeId], fan_out: usize) -> Option<Inputs> {
        let all: Vec<Vec<Slot>> =
            members.iter().map(|n| slots(self.old, self.old.node(*n))).collect::<Option<_>>()?;
        let owner = self.owner(members);
        let node = self.old.node(members[0]);
        let (out, batching) = (self.old.ty(node.output), node.op.batch()?.batching());
        let mut values = Vec::with_capacity(node.inputs.len());
        // First what may fail.
        for i in 0..node.inputs.len() {
            let (Slot::Parameter(_) | Slot::Number(_)) = all[0][i] else { continue };
            let numbers = all.iter().filter_map(|s| match s[i] {
                Slot::Parameter(p) | Slot::Number(p) => Some(p),
                _ => None,
            });
            let ty = self.old.ty(node.inputs[i]);
            let packed = match batching {
                Batching::Product { .. } => Type::fixed(members.len() * ty.rows, ty.cols),
                Batching::Columns { .. } => Type::fixed(1, members.len() * ty.cols),
            };
            let mut value = self.pack(&numbers.collect::<Vec<_>>(), ty, packed, &owner)?;
            if let Slot::Number(_) = all[0][i] {
                let each: Vec<usize> = (0..members.len() * out.cols).map(|col| col / out.cols).collect();
                value = self.select(value, &each, &owner);
            }
            values.push((i, value));
        }
        for i in 0..node.inputs.len() {
            let value = match all[0][i] {
                Slot::Parameter(_) | Slot::Number(_) => continue,
                Slot::Shared(v) => self.value(self.form(v), &owner),
                Slot::Columns(_) => {
                    let read = |s: &Vec<Slot>| match s[i] {
                        Slot::Columns(v) => self.form(v),
                        _ => Vec::new(),
                    };
                    let same = all.iter().all(|s| s[i] == all[0][i]);
                    let broadcast = batching == Batching::Columns { widens: true } && out.cols == 1 && same;
                    let each = if broadcast { 1 } else { all.len() };
                    let parts = all[..each].iter().step_by(fan_out).flat_map(read).collect();
                    self.value(parts, &owner)
                }
            };
            values.push((i, value));
        }
        values.sort();
        Some(Inputs { values: values.into_iter().map(|(_, v)| v).collect(), fan_out })
    }

    /// The members' parameters as one matrix.
    fn pack(&mut self, numbers: &[usize], ty: Type, packed: Type, owner: &Arc<str>) -> Option<ValueId> {
        let (count, len) = (numbers.len(), ty.rows * ty.cols);
        let mut seen = HashSet::new();
        if numbers.iter().any(|p| self.apart[*p] || !seen.insert(p)) {
            return None;
        }
        let known = self.packed.get(&numbers[0]).copied().filter(|&at| self.packs[at].members == numbers);
        if known.is_none() && numbers.iter().any(|p| self.packed.contains_key(p)) {
            return None;
        }
        let at = match known {
            Some(at) => at,
            None => {
                let (offset, stride) = (self.placement)(numbers)?;
                let whole = if stride == len { packed } else { Type::fixed(count, stride) };
                let source = Source::Parameter(self.parameters.len() + self.packs.len());
                let value = self.graph.source(whole, source);
                let place = ParameterPlace { offset, ty: whole };
                self.packed.extend(numbers.iter().map(|&p| (p, self.packs.len())));
                self.packs.push(Pack { members: numbers.to_vec(), value, place });
                self.packs.len() - 1
            }
        };
        let Pack { value, place, .. } = &self.packs[at];
        if place.ty == packed {
            return Some(*value);
        }
        let stride = place.ty.rows * place.ty.cols / count;
        let blocks = match stride == len {
            true => Blocks { start: 0, stride: 0, count: 1, ty: packed },
            false => Blocks { start: 0, stride, count, ty: packed },
        };
        let value = *value;
        Some(self.add(Arc::new(blocks), vec![value], packed, owner.clone()))
    }

    /// Writes a group's operator, and says where its members' columns and states are now.
    fn push(&mut self, members: &[NodeId], inputs: Vec<ValueId>, fan_out: usize) -> NodeId {
        let nodes: Vec<&Node> = members.iter().map(|n| self.old.node(*n)).collect();
        let types = nodes.iter().map(|n| self.old.ty(n.output));
        let ty = types.max_by_key(|ty| ty.extent).unwrap_or(Type::fixed(1, 1));
        let (op, ty) = match &nodes[..] {
            [one] => (one.op.clone(), ty),
            all => {
                let ty = ty.with_cols(all.len() * ty.cols);
                let ops: Vec<&dyn Operator> = all.iter().map(|n| &*n.op).collect();
                let first = &all[0].op;
                (first.batch().map_or_else(|| first.clone(), |op| op.batched(&ops, ty, fan_out)), ty)
            }
        };
        let shares =
            if nodes.len() > 1 { nodes.iter().map(|n| n.owner.clone()).collect() } else { Vec::new() };
        let output = self.add(op, inputs, ty, self.owner(members));
        let new = NodeId(self.graph.nodes.len() - 1);
        self.graph.nodes[new.0].shares = shares;
        let place = |value, cols: usize, i: usize| {
            let len = cols / members.len();
            vec![Piece { value, start: i * len, len }]
        };
        for (i, n) in nodes.iter().enumerate() {
            self.forms.insert(n.output, place(output, ty.cols, i));
        }
        for (i, n) in members.iter().enumerate() {
            for (v, index, after) in self.states.remove(n).unwrap_or_default() {
                let state = self.graph.state(new, index, after);
                self.forms.insert(v, place(state, self.graph.ty(state).cols, i));
            }
        }
        new
    }

    /// An operator as it is.
    fn alone(&mut self, n: NodeId) {
        if let Some(parts) = self.columns_of(n) {
            self.forms.insert(self.old.node(n).output, parts);
            return;
        }
        if is_wide_sum(self.old.node(n)) {
            return self.wide_sum(n);
        }
        let inputs = self.inputs_alone(n);
        self.push(&[n], inputs, 1);
    }

    fn inputs_alone(&mut self, n: NodeId) -> Vec<ValueId> {
        let node = self.old.node(n);
        node.inputs.iter().map(|&v| self.value(self.form(v), &node.owner)).collect()
    }

    /// The columns of an operator that only takes columns or puts them side by side. It is written once another operator
    /// reads them as one value.
    fn columns_of(&self, n: NodeId) -> Option<Vec<Piece>> {
        let node = self.old.node(n);
        let out = self.old.ty(node.output);
        if out.rows > 1 || node.inputs.iter().any(|&v| self.old.ty(v).extent != out.extent) {
            return None;
        }
        let types: Vec<Type> = node.inputs.iter().map(|&v| self.old.ty(v)).collect();
        let columns = node.op.columns(&types)?.into_iter();
        let pieces = columns.flat_map(|c| part(self.form(node.inputs[c.input]), c.start, c.len));
        Some(joined(pieces.collect()))
    }

    /// Place of an old value's columns.
    fn form(&self, v: ValueId) -> Vec<Piece> {
        self.forms.get(&v).cloned().unwrap_or_default()
    }

    /// Columns as a value of their own.
    fn value(&mut self, parts: Vec<Piece>, owner: &Arc<str>) -> ValueId {
        let parts = joined(parts);
        if let [Piece { value, start: 0, len }] = parts[..]
            && self.graph.ty(value).cols == len
        {
            return value;
        }
        if let Some(&value) = self.whole.get(&parts) {
            return value;
        }
        let mut from: Vec<ValueId> = parts.iter().map(|p| p.value).collect();
        from.sort();
        from.dedup();
        let value = match (&from[..], &parts[..]) {
            (_, &[Piece { value, start, len }]) => {
                let ty = self.graph.ty(value).with_cols(len);
                self.add(Arc::new(Slice { start, len }), vec![value], ty, owner.clone())
            }
            ([_, _, ..], parts) if parts.len() <= FEW => {
                let inputs: Vec<ValueId> = parts.iter().map(|&p| self.value(vec![p], owner)).collect();
                self.join(inputs, owner)
            }
            _ => {
                // The columns' places when all values stand side by side.
                let mut cols = 0;
                let starts: HashMap<ValueId, usize> =
                    from.iter().map(|&v| (v, (cols, cols += self.graph.ty(v).cols).0)).collect();
                let place = |p: &Piece| (starts[&p.value] + p.start)..(starts[&p.value] + p.start + p.len);
                let index: Vec<usize> = parts.iter().flat_map(place).collect();
                let all = if let [one] = from[..] { one } else { self.join(from, owner) };
                self.select(all, &index, owner)
            }
        };
        self.whole.insert(parts, value);
        value
    }

    fn join(&mut self, inputs: Vec<ValueId>, owner: &Arc<str>) -> ValueId {
        let mut cols = 0;
        let starts = inputs.iter().map(|&v| (cols, cols += self.graph.ty(v).cols).0).collect();
        let ty = inputs.iter().map(|&v| self.graph.ty(v)).max_by_key(|ty| ty.extent);
        let ty = ty.unwrap_or(Type::fixed(1, 1)).with_cols(cols);
        self.add(Arc::new(Join { starts, cols }), inputs, ty, owner.clone())
    }

    fn select(&mut self, value: ValueId, index: &[usize], owner: &Arc<str>) -> ValueId {
        let ty = self.graph.ty(value);
        if index.iter().copied().eq(0..ty.cols) {
            return value;
        }
        // The columns come from the value's own pieces, so they lie within it.
        match Pattern::select(ty.cols, index) {
            Ok(pattern) => {
                let op = Arc::new(Sparse { pattern: Arc::new(pattern) });
                self.add(op, vec![value], ty.with_cols(index.len()), owner.clone())
            }
            Err(_) => value,
        }
    }

    fn add(&mut self, op: Arc<dyn Operator>, inputs: Vec<ValueId>, ty: Type, owner: Arc<str>) -> ValueId {
        self.graph.push(op, inputs, ty, owner)
    }

    /// Name of a group, after its first member.
    fn owner(&self, members: &[NodeId]) -> Arc<str> {
        let first = &self.old.node(members[0]).owner;
        match members.len() - 1 {
            0 => first.clone(),
            _ if members.iter().all(|n| self.old.node(*n).owner == *first) => first.clone(),
            more => format!("{first} and {more} more").into(),
        }
    }

    /// The batched graph, with the values that are wanted.
    pub fn finish(mut self, wanted: &[ValueId]) -> Batched {
        let nobody: Arc<str> = "".into();
        let values = wanted.iter().map(|&v| self.value(self.form(v), &nobody)).collect();
        // Operators that read a parameter of a pack by itself.
        for Pack { members, value, place } in &self.packs {
            let stride = place.ty.rows * place.ty.cols / members.len();
            for (i, &member) in members.iter().enumerate() {
                let output = self.parameters[member];
                let blocks = Blocks { start: i * stride, stride, count: 1, ty: self.graph.ty(output) };
                self.graph.values[output.0].source = Source::Node(NodeId(self.graph.nodes.len()));
                let (op, owner) = (Arc::new(blocks), nobody.clone());
                let (shares, backward) = (Vec::new(), false);
                self.graph.nodes.push(Node { op, inputs: vec![*value], output, owner, shares, backward });
            }
        }
        Batched { graph: self.graph, values, parameters: self.parameters, packs: self.packs }
    }
}

/// More pieces than this are selected by their numbers, not put side by side one by one.
const FEW: usize = 8;
