//! Stages: the operators that loop over the steps, and those that do not.
//!
//! The strongly connected components of the operators, delaying edges included, say which operators must walk
//! through time together. All others do the whole window in one go: as one batch if they have no state, else as a
//! scan, in which each invocation walks through time on its own.

use std::collections::{BTreeSet, HashMap};

use crate::error::{Error, Result};
use crate::graph::{Extent, Graph, NodeId, ValueId};
use crate::plan::Output;

/// A part of the graph that runs at once.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// One operator without a state: all steps at once.
    Batched(NodeId),
    /// One operator with a state: each column of each example walks through time.
    Scan(NodeId),
    /// Operators on a cycle, in the order of one step.
    Loop {
        /// The operators.
        nodes: Vec<NodeId>,
        /// True if the loop goes from the last step to the first.
        backward: bool,
    },
}

impl Stage {
    /// Its operators.
    pub fn nodes(&self) -> &[NodeId] {
        match self {
            Stage::Batched(node) | Stage::Scan(node) => std::slice::from_ref(node),
            Stage::Loop { nodes, .. } => nodes,
        }
    }
}

/// The stages that the outputs need, each after those it reads from.
///
/// # Errors
/// [`Error::CycleWithoutDelay`] with the objects on it, or a sum over time on a cycle.
pub fn stages(graph: &Graph, outputs: &[Output]) -> Result<Vec<Stage>> {
    let live = live(graph, outputs);
    let components = components(graph, &live);
    components
        .into_iter()
        .map(|nodes| {
            let node = nodes[0];
            let on_itself = graph.nodes[node.0].inputs.contains(&graph.nodes[node.0].output);
            if nodes.len() > 1 || on_itself {
                let nodes = step_order(graph, nodes)?;
                check_steps(graph, &nodes)?;
                let backward = nodes.iter().any(|n| graph.nodes[n.0].op.memory().backward());
                return Ok(Stage::Loop { backward, nodes });
            }
            Ok(if graph.nodes[node.0].op.memory().is_state() {
                Stage::Scan(node)
            } else {
                Stage::Batched(node)
            })
        })
        .collect()
}

/// Refuses operators on a cycle that take all time steps together: a step cannot wait for later ones.
fn check_steps(graph: &Graph, nodes: &[NodeId]) -> Result<()> {
    let whole =
        nodes.iter().map(|n| &graph.nodes[n.0]).find(|n| graph.ty(n.output).extent != Extent::Sequence);
    whole.map_or(Ok(()), |node| {
        let what = format!("the {} of '{}'", node.op.name(), node.owner);
        Err(Error::invalid(
            what,
            "it is on a cycle, but sums over all time steps, of which some are yet to come",
        ))
    })
}

/// For each operator, true if an output depends on it.
pub fn live(graph: &Graph, outputs: &[Output]) -> Vec<bool> {
    let mut live = vec![false; graph.nodes.len()];
    outputs.iter().for_each(|o| mark(graph, o.value, &mut live));
    live
}

/// Marks the operators that a value depends on.
pub fn mark(graph: &Graph, value: ValueId, live: &mut [bool]) {
    let mut stack: Vec<NodeId> = graph.producer(value).into_iter().collect();
    while let Some(node) = stack.pop() {
        if !std::mem::replace(&mut live[node.0], true) {
            stack.extend(graph.nodes[node.0].inputs.iter().filter_map(|&v| graph.producer(v)));
        }
    }
}

/// Number of each operator's stage.
pub(in crate::plan) fn stage_of(graph: &Graph, stages: &[Stage]) -> Vec<Option<usize>> {
    let mut of = vec![None; graph.nodes.len()];
    for (s, stage) in stages.iter().enumerate() {
        stage.nodes().iter().for_each(|n| of[n.0] = Some(s));
    }
    of
}

/// Strongly connected components in topological order, producers first (Tarjan 1972, without recursion).
fn components(graph: &Graph, live: &[bool]) -> Vec<Vec<NodeId>> {
    const NEW: usize = usize::MAX;
    let n = graph.nodes.len();
    let (mut index, mut low, mut on_stack) = (vec![NEW; n], vec![0; n], vec![false; n]);
    let (mut stack, mut components, mut next) = (Vec::new(), Vec::new(), 0);
    for root in (0..n).filter(|&v| live[v]) {
        if index[root] != NEW {
            continue;
        }
        let mut work: Vec<(usize, usize)> = vec![(root, 0)];
        while let Some(&mut (v, ref mut edge)) = work.last_mut() {
            if *edge == 0 {
                (index[v], low[v], on_stack[v]) = (next, next, true);
                stack.push(v);
                next += 1;
            }
            let mut deeper = None;
            for w in graph.nodes[v].inputs[*edge..].iter().map(|&i| graph.producer(i).map(|p| p.0)) {
                *edge += 1;
                match w {
                    Some(w) if index[w] == NEW => {
                        deeper = Some(w);
                        break;
                    }
                    Some(w) if on_stack[w] => low[v] = low[v].min(index[w]),
                    _ => {}
                }
            }
            if let Some(w) = deeper {
                work.push((w, 0));
                continue;
            }
            work.pop();
            if let Some(&(parent, _)) = work.last() {
                low[parent] = low[parent].min(low[v]);
            }
            if low[v] == index[v] {
                let mut component = Vec::new();
                while let Some(w) = stack.pop() {
                    on_stack[w] = false;
                    component.push(NodeId(w));
                    if w == v {
                        break;
                    }
                }
                component.sort();
                components.push(component);
            }
        }
    }
    // Edges were followed towards producers, so a component is complete only after those it reads from.
    components
}

/// The order of one step: what an operator reads of this step comes before it. A delaying operator's output is
/// that of the step before, so nothing waits for it. Of those that are ready the first comes next.
fn step_order(graph: &Graph, nodes: Vec<NodeId>) -> Result<Vec<NodeId>> {
    let place: HashMap<NodeId, usize> = nodes.iter().enumerate().map(|(i, &n)| (n, i)).collect();
    // By places: what each waits for, and who waits for it.
    let waits_for = |node: &NodeId| -> BTreeSet<usize> {
        let producers = graph.nodes[node.0].inputs.iter().filter_map(|&v| graph.producer(v));
        let of_step = producers.filter(|p| !graph.nodes[p.0].op.memory().delays());
        of_step.filter_map(|p| place.get(&p).copied()).collect()
    };
    let waits: Vec<BTreeSet<usize>> = nodes.iter().map(waits_for).collect();
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (i, before) in waits.iter().enumerate() {
        before.iter().for_each(|&p| waiting[p].push(i));
    }
    let mut left: Vec<usize> = waits.iter().map(BTreeSet::len).collect();
    let mut ready: BTreeSet<usize> = (0..nodes.len()).filter(|&i| left[i] == 0).collect();
    let (mut done, mut order) = (vec![false; nodes.len()], Vec::with_capacity(nodes.len()));
    while let Some(i) = ready.pop_first() {
        done[i] = true;
        order.push(nodes[i]);
        for &w in &waiting[i] {
            left[w] -= 1;
            if left[w] == 0 {
                ready.insert(w);
            }
        }
    }
    match done.iter().position(|done| !done) {
        None => Ok(order),
        Some(start) => {
            let objects = cycle(start, &done, &waits).into_iter().map(|i| &graph.node(nodes[i]).owner);
            Err(Error::CycleWithoutDelay { objects: around(objects.map(|o| o.to_string()).collect()) })
        }
    }
}

/// A cycle among the operators that are not done, each after the one that it waits for.
fn cycle(start: usize, done: &[bool], waits: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut path = vec![start];
    let mut seen: HashMap<usize, usize> = HashMap::from([(start, 0)]);
    loop {
        let here = path[path.len() - 1];
        let Some(&next) = waits[here].iter().find(|p| !done[**p]) else { break };
        if let Some(&first) = seen.get(&next) {
            path.drain(..first);
            break;
        }
        seen.insert(next, path.len());
        path.push(next);
    }
    // Walked against the edges.
    path.reverse();
    path
}

/// Names of the objects on a cycle, once for neighbouring operators; the first name is also the last.
fn around(mut objects: Vec<String>) -> Vec<String> {
    objects.dedup();
    if objects.len() > 1 && objects.first() == objects.last() {
        objects.pop();
    }
    objects.extend(objects.first().cloned());
    objects
}
