//! Gradients of a graph, as operators in the same graph.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::graph::{Adjoint, Graph, Node, NodeId, Scope, Source, Tensor, ValueId};

/// Adjoints of `loss` (a single number) for each of `wanted`; `None` if the loss does not depend on it.
///
/// Operators are traversed in reverse order. The adjoint of an operator that delays is the same operator with time reversed,
/// so the gradient of a recurrent network has the same cycles, reversed.
///
/// # Errors
/// [`Error::NoGradient`] if an operator on the path has none; `name` supplies a value's name for the message.
pub fn gradient<'s>(
    scope: &'s Scope,
    loss: Tensor<'s>,
    wanted: &[ValueId],
    name: impl Fn(ValueId) -> String,
) -> Result<Vec<Option<Tensor<'s>>>> {
    scope.backward(|| adjoints(scope, loss, wanted, name))
}

/// [`gradient`], within a scope that marks the operators as backward.
fn adjoints<'s>(
    scope: &'s Scope,
    loss: Tensor<'s>,
    wanted: &[ValueId],
    name: impl Fn(ValueId) -> String,
) -> Result<Vec<Option<Tensor<'s>>>> {
    let (depends, order) = scope.read(|graph| {
        let depends = dependents(graph, wanted);
        let order = order(graph, loss.id, &depends);
        (depends, order)
    });
    let mut adjoints: HashMap<ValueId, Vec<Tensor<'s>>> = HashMap::new();
    adjoints.insert(loss.id, vec![scope.constant(1.0)]);
    // Delaying operators first: adjoints of their inputs come from steps that are done already.
    let mut opened = Vec::new();
    for &NodeId(n) in &order {
        let node = scope.read(|g| g.nodes[n].clone());
        if node.op.memory().delays() {
            let reversed = node.op.reversed().ok_or_else(|| {
                scope.read(|g| {
                    no_gradient(g, n, (operator(&node), node.op.instead_of_gradient()), wanted, &name)
                })
            })?;
            scope.set_owner(&node.owner);
            let ty = scope.tensor(node.output).ty();
            let adjoint = scope.open(reversed, ty);
            let input = scope.tensor(node.inputs[0]);
            adjoints.entry(input.id).or_default().push(adjoint.reduce_to(input.ty()));
            opened.push((adjoint, node.output));
        }
    }
    let mut total: HashMap<ValueId, Tensor<'s>> = HashMap::new();
    let mut sum = |value: ValueId, adjoints: &mut HashMap<ValueId, Vec<Tensor<'s>>>| {
        let parts = adjoints.remove(&value);
        if let Some(parts) = parts {
            total.insert(value, scope.sum(&parts));
        }
        total.get(&value).copied()
    };
    for &NodeId(n) in order.iter().rev() {
        let node = scope.read(|g| g.nodes[n].clone());
        if node.op.memory().delays() {
            continue;
        }
        scope.set_owner(&node.owner);
        let Some(adjoint) = sum(node.output, &mut adjoints) else { continue };
        let at = Adjoint {
            inputs: node.inputs.iter().map(|&v| scope.tensor(v)).collect(),
            output: scope.tensor(node.output),
            adjoint,
            wanted: node.inputs.iter().map(|v| depends[v.0]).collect(),
        };
        let parts = node.op.gradient(&at);
        let parts = parts.ok_or_else(|| {
            scope.read(|g| no_gradient(g, n, (operator(&node), node.op.instead_of_gradient()), wanted, &name))
        })?;
        for (&input, part) in node.inputs.iter().zip(parts) {
            if let Some(part) = part.filter(|_| depends[input.0]) {
                // The adjoint of a state cannot enter the operator that carries the state.
                if let Some(error) = scope.read(|g| state_error(g, input, wanted, &name)) {
                    return Err(error);
                }
                adjoints.entry(input).or_default().push(part);
            }
        }
    }
    for (adjoint, output) in opened {
        let from = sum(output, &mut adjoints).unwrap_or_else(|| scope.constant(0.0));
        let cols = adjoint.ty().cols;
        let from = if from.ty().cols == cols { from } else { from.expand(from.ty().with_cols(cols)) };
        scope.close(adjoint, from);
    }
    let results = wanted.iter().map(|&value| {
        let adjoint = sum(value, &mut adjoints)?;
        let ty = scope.tensor(value).ty();
        Some(if adjoint.ty() == ty { adjoint } else { adjoint.expand(ty) })
    });
    Ok(results.collect())
}

/// True for each value that depends on a wanted one. Cycles require a search instead of one pass.
fn dependents(graph: &Graph, wanted: &[ValueId]) -> Vec<bool> {
    let mut readers: HashMap<ValueId, Vec<usize>> = HashMap::new();
    for (n, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|&v| readers.entry(v).or_default().push(n));
    }
    let mut states: HashMap<NodeId, Vec<ValueId>> = HashMap::new();
    for (v, value) in graph.values.iter().enumerate() {
        if let Source::State { node, .. } = value.source {
            states.entry(node).or_default().push(ValueId(v));
        }
    }
    let mut depends = vec![false; graph.values.len()];
    let mut stack: Vec<ValueId> = wanted.to_vec();
    while let Some(value) = stack.pop() {
        if !std::mem::replace(&mut depends[value.0], true) {
            for &n in readers.get(&value).into_iter().flatten() {
                stack.push(graph.nodes[n].output);
                stack.extend(states.get(&NodeId(n)).into_iter().flatten());
            }
        }
    }
    depends
}

/// Name of an operator, with the user's object that it belongs to.
fn operator(node: &Node) -> String {
    match &*node.owner {
        "" => format!("the operator {}", node.op.name()),
        owner => format!("the {} of '{owner}'", node.op.name()),
    }
}

/// The error for `operator` at node `n`, with advice and the name of a wanted value that it depends on.
fn no_gradient(
    graph: &Graph,
    n: usize,
    (operator, hint): (String, &str),
    wanted: &[ValueId],
    name: &impl Fn(ValueId) -> String,
) -> Error {
    let (mut seen, mut stack) = (vec![false; graph.nodes.len()], vec![n]);
    let mut parameter = None;
    while let Some(n) = stack.pop().filter(|_| parameter.is_none()) {
        if !std::mem::replace(&mut seen[n], true) {
            let inputs = &graph.nodes[n].inputs;
            parameter = inputs.iter().find(|v| wanted.contains(v)).map(|&v| name(v));
            stack.extend(inputs.iter().filter_map(|&v| graph.producer(v)).map(|p| p.0));
        }
    }
    let parameter = parameter.unwrap_or_else(|| "a parameter".into());
    Error::NoGradient { operator, parameter, hint: hint.into() }
}

/// The error for a value that is a state.
fn state_error(
    graph: &Graph,
    value: ValueId,
    wanted: &[ValueId],
    name: &impl Fn(ValueId) -> String,
) -> Option<Error> {
    let Source::State { node, index, .. } = graph.values[value.0].source else { return None };
    let owner = graph.node(node);
    let state = format!("the state '{}' of {}", owner.op.states()[index].name, operator(owner));
    Some(no_gradient(graph, node.0, (state, ""), wanted, name))
}

/// The operators between the wanted values and the loss, each after those that it reads within the same step.
fn order(graph: &crate::graph::Graph, loss: ValueId, depends: &[bool]) -> Vec<NodeId> {
    let mut done = vec![false; graph.nodes.len()];
    let mut order = Vec::new();
    let Some(root) = graph.producer(loss) else { return order };
    let mut pending = vec![root];
    // Depth first, without recursion. Inputs of a delaying operator belong to another step and are visited later.
    while let Some(root) = pending.pop() {
        let mut stack = vec![(root, false)];
        while let Some((node, ready)) = stack.pop() {
            if ready {
                order.push(node);
                continue;
            }
            if !depends[graph.nodes[node.0].output.0] || std::mem::replace(&mut done[node.0], true) {
                continue;
            }
            stack.push((node, true));
            let producers = graph.nodes[node.0].inputs.iter().filter_map(|&v| graph.producer(v));
            if graph.nodes[node.0].op.memory().delays() {
                pending.extend(producers);
            } else {
                stack.extend(producers.map(|p| (p, false)));
            }
        }
    }
    order
}
