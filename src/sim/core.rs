//! What a simulator has: a network on a device, its shared buffers, programs, states and time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::engine::dry::DryEngine;
use crate::engine::{Device, Engine, allowance};
use crate::error::{Error, Result};
use crate::network::{Network, TimeFunction};
use crate::sim::layout::Layout;
use crate::sim::lru_cache::LruCache;
use crate::sim::processes;
use crate::sim::program::{HostFunctions, LoadedProgram, PlanKey};
use crate::sim::shared::SharedBuffers;
use crate::sim::states::{StateKey, States};

/// A network on a device, and what it has run.
pub(crate) struct Core {
    pub network: Network,
    pub device: Device,
    pub engine: Box<dyn Engine>,
    pub layout: Layout,
    pub shared: SharedBuffers,
    pub minibatch: usize,
    pub dt: f64,
    /// The seed that it was made with, and the one that it goes on with, which a checkpoint may bring.
    own_seed: u64,
    pub seed: u64,
    /// The processes that are functions of time, by the node's name.
    pub processes: HashMap<String, TimeFunction>,
    pub steps_done: u64,
    /// By who carries them, and how many floats they are.
    pub states: BTreeMap<(StateKey, usize), States>,
    /// The functions of callbacks, with what they keep, by who carries them.
    pub kept: BTreeMap<StateKey, HostFunctions>,
    pub plans: LruCache<PlanKey, Arc<LoadedProgram>>,
    /// Steps of the windows of runs that begin as long as their key says.
    pub windows: LruCache<PlanKey, usize>,
    pub keep_history: bool,
    /// Most steps of a window, if the user says so.
    pub window_limit: Option<usize>,
    /// Most steps of a window for its next_window_length, by the key of runs of its kind with no steps.
    pub window_lengths: LruCache<PlanKey, usize>,
    /// Whether each step of a run is dispatched on its own.
    pub loops: bool,
    /// Callbacks because of which runs go one step at a time.
    pub step_by_step: Vec<String>,
}

/// How a simulator is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Examples at once.
    pub minibatch: usize,
    /// Length of a time step in seconds.
    pub dt: f64,
    /// Seed of the random numbers of training and of where parameters start; the network's if not given.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { minibatch: 1, dt: 0.001, seed: None }
    }
}

/// Refuses time steps of no length.
pub(crate) fn check_dt(dt: f64) -> Result<()> {
    if dt.is_finite() && dt > 0.0 {
        return Ok(());
    }
    Err(Error::invalid("dt", format!("it is {dt} s, but must be finite and above 0")))
}

impl Core {
    /// With its parameters at their start.
    pub fn new(network: &Network, device: &Device, options: Options) -> Result<Self> {
        let mut core = Self::on(device.engine(), network, device, options)?;
        core.network.solve()?;
        core.initial_parameters()?;
        Ok(core)
    }

    /// Without a device: it can plan, and nothing else.
    pub fn planner(network: &Network, device: &Device, options: Options) -> Result<Self> {
        Self::on(Box::new(DryEngine::default()), network, device, options)
    }

    fn on(engine: Box<dyn Engine>, network: &Network, device: &Device, options: Options) -> Result<Self> {
        let Options { minibatch, dt, seed } = options;
        if minibatch == 0 {
            return Err(Error::invalid("minibatch", "it is 0, but must be at least 1"));
        }
        check_dt(dt)?;
        // Also where nothing is large enough for it to matter.
        allowance::from_environment()?;
        for object in &network.objects {
            let size = object.size_in.max(object.size_out);
            let what = || format!("a minibatch of {minibatch} examples of '{}'", object.name);
            allowance::check(what, [minibatch, size], 4)?;
        }
        let layout = Layout::new(network, &(0..network.parameters.len()).collect::<Vec<_>>());
        let seed = seed.unwrap_or(network.seed);
        let mut core = Self {
            network: network.clone(),
            device: device.clone(),
            engine,
            shared: SharedBuffers::default(),
            minibatch,
            dt,
            processes: processes::functions(network, dt, seed)?,
            own_seed: seed,
            seed,
            steps_done: 0,
            states: BTreeMap::new(),
            kept: BTreeMap::new(),
            plans: LruCache::default(),
            windows: LruCache::default(),
            keep_history: true,
            window_limit: None,
            window_lengths: LruCache::default(),
            loops: false,
            step_by_step: Vec::new(),
            layout,
        };
        core.check_network()?;
        core.allocate_parameters()?;
        Ok(core)
    }

    /// Simulated time in seconds.
    pub fn time(&self) -> f64 {
        self.steps_done as f64 * self.dt
    }

    /// Parameters, states and time as they were when it was made; programs and states are freed.
    pub fn reset(&mut self) -> Result<()> {
        self.steps_done = 0;
        self.kept.clear();
        self.drop_programs();
        self.seed = self.own_seed;
        self.processes = processes::functions(&self.network, self.dt, self.seed)?;
        self.initial_parameters()
    }

    /// States and time as they were in the beginning.
    pub fn soft_reset(&mut self) -> Result<()> {
        self.steps_done = 0;
        self.reset_states(StateKey::Run)
    }
}
