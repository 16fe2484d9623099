//! A program of a run or of a training: what distinguishes it, planned, and loaded.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::builder::Feed;
use crate::engine::{BufferId, Engine, Program};
use crate::graph::{Dims, Placed, Type};
use crate::network::{HostFunction, ObjectId};
use crate::op::Callback;
use crate::plan::{Plan, Stage};
use crate::sim::states::{StateKey, StateLayout};

/// What distinguishes forward plans.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PlanKey {
    pub dims: Dims,
    pub held: Vec<ObjectId>,
    pub states: StateKey,
}

/// A program before it is loaded.
pub(crate) struct PlannedProgram {
    pub plan: Plan,
    pub feeds: Vec<Feed>,
    pub layout: StateLayout,
}

impl PlannedProgram {
    /// Bytes of the program's own buffers.
    pub fn bytes(&self) -> u64 {
        self.plan.recording.locals.iter().map(|(len, _)| 4 * *len as u64).sum()
    }
}

/// A program with its inputs and outputs found.
pub(crate) struct LoadedProgram {
    pub program: Program,
    /// What the host computes after the program, and the parts that come then.
    pub calls: Vec<Call>,
    pub feeds: Vec<(Feed, BufferId, Type)>,
    pub outputs: Vec<Placed>,
    pub stages: Vec<Stage>,
    pub dims: Dims,
    /// Whose states it carries on, and how many floats they are.
    pub states: Option<(StateKey, usize)>,
    /// Bytes of its own buffers.
    pub bytes: u64,
}

impl LoadedProgram {
    /// Frees everything.
    pub(crate) fn drop(self, engine: &mut dyn Engine) {
        self.calls.into_iter().for_each(|c| engine.unload(c.then));
        engine.unload(self.program);
    }

    /// Frees a program that nothing else holds.
    pub(crate) fn free(loaded: Arc<Self>, engine: &mut dyn Engine) {
        if let Some(loaded) = Arc::into_inner(loaded) {
            loaded.drop(engine);
        }
    }
}

/// A call of the host, and the part of the program that comes after it.
pub(crate) struct Call {
    pub callback: Callback,
    /// How many callbacks of the same object come before it.
    pub number: usize,
    pub input: (BufferId, Placed),
    pub output: (BufferId, Placed),
    pub then: Program,
}

/// The functions of a run's examples as they are now, by whose they are and its how-manieth. They are made at their first step.
pub(crate) type HostFunctions = HashMap<(String, usize), Vec<Box<dyn HostFunction>>>;

/// Programs that are kept at most.
const MOST: usize = 16;
/// More than the least number of programs is kept while their buffers have no more bytes than this.
const FEW_BYTES: u64 = 24 << 20;

/// Whether so many programs may be kept, of which `least` always are.
pub(crate) fn is_few<K, L: Borrow<LoadedProgram>>(programs: &[(K, L)], least: usize) -> bool {
    let bytes = || programs.iter().map(|(_, loaded)| loaded.borrow().bytes).sum::<u64>();
    programs.len() <= least || (programs.len() <= MOST && bytes() <= FEW_BYTES)
}
