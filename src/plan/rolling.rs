//! Values of loops of which only the current step's rows exist.

use std::collections::{HashMap, HashSet};

use crate::graph::{Extent, Graph, Memory, ValueId};
use crate::plan::stages::stage_of;
use crate::plan::{Output, Stage};

/// Values of a loop that nothing outside of it reads, so that only the current step's rows of them need exist. A delayed
/// value is written for the next step; it may have one block if all its readers come before its operator in a step.
pub fn rolling(graph: &Graph, outputs: &[Output], stages: &[Stage]) -> HashSet<ValueId> {
    let mut outside: HashSet<ValueId> = outputs.iter().map(|o| o.value).collect();
    let stage_of = stage_of(graph, stages);
    // The last place within a loop at which a value is read.
    let mut last: HashMap<ValueId, usize> = HashMap::new();
    for (s, stage) in stages.iter().enumerate() {
        for (at, node) in stage.nodes().iter().enumerate() {
            // A reader that needs the whole history at once, or is in another stage.
            let node = graph.node(*node);
            let totals = graph.ty(node.output).extent == Extent::Fixed;
            let whole = !(node.op.rolls() || totals) || !matches!(stage, Stage::Loop { .. });
            let own = |v: ValueId| graph.producer(v).is_some_and(|p| stage_of[p.0] == Some(s));
            for &v in &node.inputs {
                if whole || !own(v) {
                    outside.insert(v);
                } else {
                    last.insert(v, at);
                }
            }
        }
    }
    let loops = stages.iter().filter(|s| matches!(s, Stage::Loop { .. })).map(Stage::nodes);
    let places = loops.flat_map(|nodes| nodes.iter().enumerate());
    let own = places.filter_map(|(at, &node)| {
        let node = graph.node(node);
        let in_time = match node.op.memory() {
            Memory::State { .. } => {
                node.op.memory().delays() && last.get(&node.output).is_none_or(|last| *last < at)
            }
            _ => true,
        };
        let stays = in_time && node.op.rolls() && graph.ty(node.output).extent == Extent::Sequence;
        (stays && !outside.contains(&node.output)).then_some(node.output)
    });
    own.collect()
}
