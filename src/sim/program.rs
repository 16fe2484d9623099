//! Programs of runs and training: their keys, plans and loaded forms.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::builder::Feed;
use crate::engine::{BufferId, Engine, Program};
use crate::graph::{Dims, Placed, Type};
use crate::network::{HostFunction, ObjectId};
use crate::op::Callback;
use crate::plan::Plan;
use crate::sim::states::{StateKey, StateLayout};

/// Key of a forward program.
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

/// A loaded program with the places of its feeds and outputs.
pub(crate) struct LoadedProgram {
    pub program: Program,
    /// Host calls after the program, each with the part of the program that follows.
    pub calls: Vec<Call>,
    pub feeds: Vec<(Feed, BufferId, Type)>,
    pub outputs: Vec<Placed>,
    pub dims: Dims,
    /// Key and number of floats of its states.
    pub states: Option<(StateKey, usize)>,
    /// Bytes of its own buffers.
    pub bytes: u64,
}

impl LoadedProgram {
    /// Frees its programs.
    pub(crate) fn unload(self, engine: &mut dyn Engine) {
        self.calls.into_iter().for_each(|c| engine.unload(c.then));
        engine.unload(self.program);
    }

    /// Frees a program unless it is in use elsewhere.
    pub(crate) fn release(loaded: Arc<Self>, engine: &mut dyn Engine) {
        if let Some(loaded) = Arc::into_inner(loaded) {
            loaded.unload(engine);
        }
    }
}

/// A host call, and the part of the program after it.
pub(crate) struct Call {
    pub callback: Callback,
    /// Number of callbacks of the same object before it.
    pub number: usize,
    pub input: (BufferId, Placed),
    pub output: (BufferId, Placed),
    pub then: Program,
}

/// Host functions of each example with their current states, by object and [`Call::number`]. They are created at the first
/// step.
pub(crate) type HostFunctions = HashMap<(String, usize), Vec<Box<dyn HostFunction>>>;

/// Most programs in a cache.
const MOST: usize = 16;
/// Most bytes of the programs in a cache, beyond the least number of programs.
const FEW_BYTES: u64 = 24 << 20;

/// True if all these programs may stay in a cache, of which `least` always may.
pub(crate) fn is_few<K, L: Borrow<LoadedProgram>>(programs: &[(K, L)], least: usize) -> bool {
    let bytes = || programs.iter().map(|(_, loaded)| loaded.borrow().bytes).sum::<u64>();
    programs.len() <= least || (programs.len() <= MOST && bytes() <= FEW_BYTES)
}
