//! Cuts a recording where the host calls a function of the user's.
//!
//! - Before: a recording whose commands stop at each host call.
//! - After: its parts between the calls, with buffers that they share.
//! - Keeps: the order of commands.

use std::collections::HashMap;

use crate::engine::{Binding, BufferRef, Command, Dispatch, Recording, Tile};
use crate::graph::{Callback, Graph, NodeId, Placed};

/// A call of the host between two commands of a recording.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Number of the command that it comes before.
    pub at: usize,
    /// The function.
    pub callback: Callback,
    /// Number of earlier callbacks of the same object.
    pub number: usize,
    /// Place of its input.
    pub input: Placed,
    /// Place of its output.
    pub output: Placed,
}

/// For each callback, the number of earlier ones of the same object.
pub fn numbers(graph: &Graph) -> HashMap<NodeId, usize> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let callbacks = graph.nodes.iter().enumerate().filter_map(|(n, node)| Some((n, node.op.host_call()?)));
    callbacks
        .map(|(n, callback)| {
            let count = counts.entry(&callback.what).or_default();
            *count += 1;
            (NodeId(n), *count - 1)
        })
        .collect()
}

/// The parts of a recording between its cuts. They share its buffers: `Local(i)` becomes `Shared(base + i)`, and none has
/// local buffers of its own.
pub fn parts(recording: &Recording, cuts: &[Cut], base: usize) -> Vec<Recording> {
    let ends = cuts.iter().map(|c| c.at).chain([recording.commands.len()]);
    let mut first = 0;
    ends.map(|end| {
        let commands = recording.commands[first..end].iter().map(|c| shared(c, base)).collect();
        first = end;
        Recording { label: recording.label.clone(), locals: Vec::new(), commands }
    })
    .collect()
}

fn shared(command: &Command, base: usize) -> Command {
    let binding = |b: &Binding| match b.buffer {
        BufferRef::Local(i) => Binding { buffer: BufferRef::Shared(base + i), ..*b },
        BufferRef::Shared(_) => *b,
    };
    let dispatch =
        |d: &Dispatch| Dispatch { bindings: d.bindings.iter().map(binding).collect(), ..d.clone() };
    match command {
        Command::Dispatch(d) => Command::Dispatch(dispatch(d)),
        Command::Repeat { steps, rows, backward, tiles, fused } => {
            let tile = |t: &Tile| Tile { row: t.row, body: t.body.iter().map(dispatch).collect() };
            let tiles = tiles.iter().map(tile).collect();
            let fused = fused.iter().map(dispatch).collect();
            Command::Repeat { steps: *steps, rows: *rows, backward: *backward, tiles, fused }
        }
        Command::Copy { from, to } => Command::Copy { from: binding(from), to: binding(to) },
    }
}
