//! Equal operators that do not wait for each other run as one, on their columns side by side.
//!
//! Five hundred ensembles are five hundred times the same few operators. They become one value each of all their
//! columns, products in groups, and one matrix of all their parameters, so that the number of dispatches does not depend
//! on how many they are.
//!
//! Operators are equal if all that tells them apart are their parameters' values, their states' starts, and where their
//! inputs come from. They do not wait for each other if they come equally late: in as many components of the graph (see
//! [`stages`]), and within a loop behind as many operators of the same step. What reads a value of which
//! only a part was its own gets those columns.

mod emit;

use std::any::TypeId;
use std::collections::BTreeMap;

use self::emit::Emit;
use crate::engine::cpu::form::Form;
use crate::error::Result;
use crate::graph::{Graph, Identity, Node, NodeId, Source, Type, ValueId};
use crate::op::{Map, Matmul, Scan};
use crate::plan::{ParameterPlace, stages};

/// Where parameters of the same shape would lie one behind the other: the first one's offset in the parameters' buffer, and
/// the distance from one to the next, in floats. `None` where they do not lie so.
pub type Placement<'a> = &'a dyn Fn(&[usize]) -> Option<(usize, usize)>;

/// Parameters that are read as one.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Their numbers, in order.
    pub members: Vec<usize>,
    /// The value that holds them; its source is a parameter with a number behind those of all others.
    pub value: ValueId,
    /// Where it lies.
    pub place: ParameterPlace,
}

/// A merged graph.
#[derive(Debug)]
pub struct Merged {
    /// The operators.
    pub graph: Graph,
    /// The values that were asked for, in order.
    pub values: Vec<ValueId>,
    /// Each parameter's value.
    pub parameters: Vec<ValueId>,
    /// Parameters that are read as one, numbered from the last parameter's number on.
    pub packs: Vec<Pack>,
}

/// Merges what `wanted` needs of a graph. `parameters` says of each parameter whether it is trained.
///
/// # Errors
/// A cycle without a delay.
pub fn merge(
    graph: &Graph,
    wanted: &[ValueId],
    trained: &[bool],
    placement: Placement<'_>,
) -> Result<Merged> {
    let outputs: Vec<crate::plan::Output> =
        wanted.iter().map(|&value| crate::plan::Output { value, place: crate::plan::Place::Keep }).collect();
    let found = groups(graph, &stages::stages(graph, &outputs)?, trained);
    let mut emit = Emit::new(graph, trained.len(), placement);
    // What delays can be read before it is known what it reads.
    let (delaying, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|g| graph.node(g[0]).op.memory().delays());
    delaying.iter().for_each(|group| emit.open(group));
    others.iter().for_each(|group| emit.group(group));
    delaying.iter().for_each(|group| emit.close(group));
    Ok(emit.finish(wanted))
}

/// The parameters in an order in which those that are read as one follow each other.
pub fn order(count: usize, packs: &[Pack]) -> Vec<usize> {
    let mut order: Vec<usize> = packs.iter().flat_map(|p| p.members.iter().copied()).collect();
    let mut taken = vec![false; count];
    order.iter().for_each(|&i| taken[i] = true);
    order.extend((0..count).filter(|&i| !taken[i]));
    order
}

/// Operators that can run as one, in an order in which each group comes after those it reads from in the same step.
fn groups(graph: &Graph, stages: &[crate::plan::Stage], trained: &[bool]) -> Vec<Vec<NodeId>> {
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
            // What is like nothing else is a group of its own.
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

/// How an operator reads an input when it runs beside others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Slot {
    /// All read this one number, or a column that is the same for all.
    Shared(ValueId),
    /// Each reads a parameter of its own.
    Parameter(usize),
    /// Each reads a parameter of its own that is one number for all its columns.
    Number(usize),
    /// Each reads columns of its own.
    Columns(ValueId),
}

/// How an operator of one of the three families that can be merged reads its inputs.
fn slots(graph: &Graph, node: &Node) -> Option<Vec<Slot>> {
    let out = graph.ty(node.output);
    let product = node.op.downcast::<Matmul>();
    if product.is_some_and(|m| m.form != Form::Nt || m.epilogue.is_some()) || out.rows > 1 {
        return None;
    }
    let map = node.op.downcast::<Map>();
    if map.is_some_and(|m| m.is_wide_sum(node.inputs.len())) {
        // Its inputs are put together, not its columns.
        return None;
    }
    let elementwise = map.is_some() || node.op.downcast::<Scan>().is_some();
    if product.is_none() && !elementwise {
        return None;
    }
    let slot = |(i, &v): (usize, &ValueId)| {
        let ty = graph.ty(v);
        let parameter = match graph.values[v.0].source {
            Source::Parameter(p) => Some(p),
            _ => None,
        };
        Some(match parameter {
            _ if graph.constant(v).is_some() => Slot::Shared(v),
            Some(p) if product.is_some() && i == 1 => Slot::Parameter(p),
            Some(p) if elementwise && ty == Type::fixed(1, out.cols) => Slot::Parameter(p),
            Some(p) if elementwise && ty == Type::fixed(1, 1) => Slot::Number(p),
            _ if product.is_some() && i == 1 => return None,
            _ if ty.rows > 1 => return None,
            _ if elementwise && ty.cols != out.cols => Slot::Shared(v),
            _ => Slot::Columns(v),
        })
    };
    node.inputs.iter().enumerate().map(slot).collect()
}

/// What an operator reads, as far as those that run as one must agree on it.
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
    Some(if let Some(scan) = node.op.downcast::<Scan>() {
        // Where states start differs, and whether an input is held or has a row for each step makes no difference, so that
        // states lie alike in all runs.
        let Scan { name, step, states, emits, linear, backward } = scan;
        let names: Vec<&str> = states.iter().map(|s| s.name).collect();
        let data = (name, names, emits, linear, backward, step, out.rows, out.cols, reads);
        Identity::some(TypeId::of::<Scan>(), &data)
    } else if let Some(map) = node.op.downcast::<Map>() {
        Identity::some(TypeId::of::<Map>(), &(&map.expr, out, reads))
    } else {
        Identity::some(TypeId::of::<Matmul>(), &(node.op.identity()?, out, reads))
    })
}
