//! What loops in time and what does not.
//!
//! The strongly connected components of the operators, delaying edges included, say which operators must walk
//! through time together. All others do the whole window in one go: as one batch if they have no state, else as a
//! scan, in which each invocation walks through time on its own.

use std::collections::HashMap;

use super::Output;
use crate::error::{Error, Result};
use crate::graph::{Extent, Graph, NodeId};

/// How a part of the graph runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// One operator, all steps at once.
    Batched(NodeId),
    /// One operator with a state: each column of each example walks through time.
    Scan(NodeId),
    /// Operators on a cycle, in the order of one step.
    Loop {
        /// The operators.
        nodes: Vec<NodeId>,
        /// From the last step to the first.
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

/// Which nodes the outputs depend on.
pub fn live(graph: &Graph, outputs: &[Output]) -> Vec<bool> {
    let mut live = vec![false; graph.nodes.len()];
    let mut stack: Vec<NodeId> = outputs.iter().filter_map(|o| graph.producer(o.value)).collect();
    while let Some(node) = stack.pop() {
        if !std::mem::replace(&mut live[node.0], true) {
            stack.extend(graph.nodes[node.0].inputs.iter().filter_map(|&v| graph.producer(v)));
        }
    }
    live
}

/// Strongly connected components in topological order, producers first (Tarjan 1972, without recursion).
fn components(graph: &Graph, live: &[bool]) -> Vec<Vec<NodeId>> {
    const NEW: usize = usize::MAX;
    let n = graph.nodes.len();
    let (mut index, mut low, mut on_stack) = (vec![NEW; n], vec![0; n], vec![false; n]);
    let (mut stack, mut components, mut next) = (Vec::new(), Vec::new(), 0);
    let producers = |v: usize| graph.nodes[v].inputs.iter().filter_map(|&i| graph.producer(i)).map(|p| p.0);
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
            for w in producers(v).skip(*edge) {
                *edge += 1;
                if index[w] == NEW {
                    deeper = Some(w);
                    break;
                } else if on_stack[w] {
                    low[v] = low[v].min(index[w]);
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
/// that of the step before, so nothing waits for it.
fn step_order(graph: &Graph, nodes: Vec<NodeId>) -> Result<Vec<NodeId>> {
    let place: HashMap<NodeId, usize> = nodes.iter().enumerate().map(|(i, &n)| (n, i)).collect();
    let waits_for = |node: NodeId| {
        let producers = graph.nodes[node.0].inputs.iter().filter_map(|&v| graph.producer(v));
        producers
            .filter(|p| place.contains_key(p) && !graph.nodes[p.0].op.memory().delays())
            .collect::<Vec<_>>()
    };
    let (mut done, mut order) = (vec![false; nodes.len()], Vec::with_capacity(nodes.len()));
    while order.len() < nodes.len() {
        let ready = nodes.iter().find(|n| !done[place[n]] && waits_for(**n).iter().all(|p| done[place[p]]));
        let Some(&node) = ready else {
            return Err(Error::CycleWithoutDelay { objects: cycle(graph, &nodes, &done, &place, waits_for) });
        };
        done[place[&node]] = true;
        order.push(node);
    }
    Ok(order)
}

/// The user's objects on a cycle among the operators that are not done.
fn cycle(
    graph: &Graph,
    nodes: &[NodeId],
    done: &[bool],
    place: &HashMap<NodeId, usize>,
    waits_for: impl Fn(NodeId) -> Vec<NodeId>,
) -> Vec<String> {
    let Some(&start) = nodes.iter().find(|n| !done[place[n]]) else { return Vec::new() };
    let mut path = vec![start];
    loop {
        let here = path[path.len() - 1];
        let Some(next) = waits_for(here).into_iter().find(|p| !done[place[p]]) else { break };
        if let Some(first) = path.iter().position(|&n| n == next) {
            path.drain(..first);
            break;
        }
        path.push(next);
    }
    // Walked against the edges; and one object stands for several operators.
    let mut objects: Vec<String> = path.iter().rev().map(|n| graph.nodes[n.0].owner.to_string()).collect();
    objects.dedup();
    if objects.len() > 1 && objects.first() == objects.last() {
        objects.pop();
    }
    objects.extend(objects.first().cloned());
    objects
}
