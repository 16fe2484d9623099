//! Runs alike operators that do not wait for each other as one, on their columns side by side.
//!
//! Five hundred ensembles are five hundred times the same few operators. They become one value each of all their
//! columns, products in groups, and one matrix of all their parameters, so that the number of dispatches does not depend
//! on how many they are.
//!
//! Operators are alike if they differ in nothing but their parameters' values, their states' starts, and where their
//! inputs come from. They do not wait for each other if they come equally late: with the same number of components of the
//! graph before them (see [`stages`](mod@crate::plan::stages)) and, within a loop, the same number of operators of the same
//! step. An operator that reads a part of a batched value gets its columns.
//!
//! - Before: a graph without its gradient.
//! - After: alike operators are one; their parameters are packed where they lie side by side.
//! - Keeps: the wanted values, bit for bit, and the states.

mod emit;
mod pieces;

use std::collections::BTreeMap;

use self::emit::Emit;
use crate::error::Result;
use crate::graph::{Batching, Graph, Identity, Node, NodeId, Source, Type, ValueId};
use crate::plan::pass::split_sums::is_wide_sum;
use crate::plan::stages::stages;
use crate::plan::{Output, ParameterPlace, Place, Stage};

/// Offset of the first of some parameters of the same shape in the parameters' buffer, and the distance from one to the
/// next, in floats. `None` if they do not lie one after the other at equal distances.
pub type Placement<'a> = &'a dyn Fn(&[usize]) -> Option<(usize, usize)>;

/// Parameters that are read as one.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Their numbers, in order.
    pub members: Vec<usize>,
    /// The value that holds them; its source is a parameter with a number after those of all others.
    pub value: ValueId,
    /// Its place.
    pub place: ParameterPlace,
}

/// A batched graph.
#[derive(Debug)]
pub struct Batched {
    /// The operators.
    pub graph: Graph,
    /// The wanted values, in order.
    pub values: Vec<ValueId>,
    /// Each parameter's value.
    pub parameters: Vec<ValueId>,
    /// Parameters that are read as one, numbered from the last parameter's number on.
    pub packs: Vec<Pack>,
}

/// Batches the operators that `wanted` values need. `trained` is true for each parameter that is trained; `placement` gives
/// the places of parameters.
///
/// # Errors
/// A cycle without a delay.
pub fn batch_ops(
    graph: &Graph,
    wanted: &[ValueId],
    trained: &[bool],
    placement: Placement<'_>,
) -> Result<Batched> {
    let outputs: Vec<Output> = wanted.iter().map(|&value| Output { value, place: Place::Keep }).collect();
    let found = groups(graph, &stages(graph, &outputs)?, trained);
    let mut emit = Emit::new(graph, trained.len(), placement);
    // An operator that delays can be read before its inputs are known.
    let (delaying, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|g| graph.node(g[0]).op.memory().delays());
    delaying.iter().for_each(|group| emit.open(group));
    others.iter().for_each(|group| emit.group(group));
    delaying.iter().for_each(|group| emit.close(group));
    Ok(emit.finish(wanted))
}

/// The parameters in an order in which those that are read as one follow each other.
pub fn parameter_order(count: usize, packs: &[Pack]) -> Vec<usize> {
    let mut order: Vec<usize> = packs.iter().flat_map(|p| p.members.iter().copied()).collect();
    let mut taken = vec![false; count];
    order.iter().for_each(|&i| taken[i] = true);
    order.extend((0..count).filter(|&i| !taken[i]));
    order
}

/// Operators that can run as one, in an order in which each group comes after those it reads from in the same step.
fn groups(graph: &Graph, stages: &[Stage], trained: &[bool]) -> Vec<Vec<NodeId>> {
    let mut component = vec![usize::MAX; graph.nodes.len()];
    let (mut depth, mut level) = (vec![0; stages.len()], vec![0; graph.nodes.len()]);
    let mut found: BTreeMap<(usize, usize, usize, Option<Identity>), Vec<NodeId>> = BTreeMap::new();
    for (at, stage) in stages.iter().enumerate() {
        stage.nodes().iter().for_each(|n| component[n.0] = at);
        let producers = |n: &NodeId| graph.node(*n).inputs.iter().filter_map(|&v| graph.producer(v));
        let before = stage.nodes().iter().flat_map(producers).map(|p| component[p.0]);
        depth[at] = before.filter(|&c| c < at).map(|c| depth[c] + 1).max().unwrap_or(0);
        for n in stage.nodes() {
            let in_step = |p: &NodeId| component[p.0] == at && !graph.node(*p).op.memory().delays();
            level[n.0] = producers(n).filter(in_step).map(|p| level[p.0] + 1).max().unwrap_or(0);
            // An operator without a key is a group of its own.
            let key = likeness(graph, graph.node(*n), trained);
            let alone = if key.is_some() { 0 } else { 1 + n.0 };
            found.entry((depth[at], level[n.0], alone, key)).or_default().push(*n);
        }
    }
    let mut groups: Vec<((usize, usize), Vec<NodeId>)> =
        found.into_iter().map(|(key, nodes)| ((key.0, key.1), nodes)).collect();
    for (_, nodes) in &mut groups {
        nodes.sort();
    }
    groups.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    groups.into_iter().map(|(_, nodes)| nodes).collect()
}

/// Input of a group's member: shared by all, or one of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot {
    /// All read this one number, or a column that is the same for all.
    Shared(ValueId),
    /// Each reads a parameter of its own.
    Parameter(usize),
    /// Each reads a parameter of its own that is one number for all its columns.
    Number(usize),
    /// Each reads columns of its own.
    Columns(ValueId),
}

/// Inputs of an operator that can be batched, each with the way it is read.
fn slots(graph: &Graph, node: &Node) -> Option<Vec<Slot>> {
    let out = graph.ty(node.output);
    let batching = node.op.batch()?.batching();
    // A wide sum's inputs are put together, not its columns.
    if out.rows > 1 || is_wide_sum(node) {
        return None;
    }
    let slot = |(i, &v): (usize, &ValueId)| {
        let ty = graph.ty(v);
        let parameter = match graph.values[v.0].source {
            Source::Parameter(p) => Some(p),
            _ => None,
        };
        Some(match (batching, parameter) {
            _ if graph.constant(v).is_some() => Slot::Shared(v),
            (Batching::Product { .. }, Some(p)) if i == 1 => Slot::Parameter(p),
            (Batching::Product { .. }, _) if i == 1 || ty.rows > 1 => return None,
            (Batching::Product { .. }, _) => Slot::Columns(v),
            (Batching::Columns { .. }, Some(p)) if ty == Type::fixed(1, out.cols) => Slot::Parameter(p),
            (Batching::Columns { .. }, Some(p)) if ty == Type::fixed(1, 1) => Slot::Number(p),
            _ if ty.rows > 1 => return None,
            _ if ty.cols != out.cols => Slot::Shared(v),
            _ => Slot::Columns(v),
        })
    };
    node.inputs.iter().enumerate().map(slot).collect()
}

/// An input, as far as the members of a group must agree on it.
#[derive(Hash)]
enum Read {
    /// The bits of a number.
    Constant(u32),
    /// A column that is the same for all.
    Shared(ValueId),
    /// A parameter's rows and columns, and whether it is trained.
    Parameter(usize, usize, bool),
    /// Rows and columns.
    Columns(usize, usize),
}

/// Equal for operators that can run as one; `None` for those that never can.
fn likeness(graph: &Graph, node: &Node, trained: &[bool]) -> Option<Identity> {
    let slots = slots(graph, node)?;
    let out = graph.ty(node.output);
    if slots.iter().all(|slot| matches!(slot, Slot::Shared(_))) {
        return None;
    }
    let reads = slots.iter().zip(&node.inputs).map(|(slot, &v)| {
        let Type { rows, cols, .. } = graph.ty(v);
        match *slot {
            Slot::Shared(v) => graph.constant(v).map_or(Read::Shared(v), |c| Read::Constant(c.to_bits())),
            Slot::Parameter(p) | Slot::Number(p) => Read::Parameter(rows, cols, trained[p]),
            Slot::Columns(_) => Read::Columns(rows, cols),
        }
    });
    let reads: Vec<Read> = reads.collect();
    Some(Identity::of(&(node.op.batch()?.key(), out, reads)))
}
