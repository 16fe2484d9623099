//! Core of a simulator: a network on a device, with its shared buffers, programs, states and time.

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

/// A network on a device, with the state of its runs.
pub(crate) struct Core {
    pub network: Network,
    pub device: Device,
    pub engine: Box<dyn Engine>,
    pub layout: Layout,
    pub shared: SharedBuffers,
    pub minibatch: usize,
    pub dt: f64,
    /// Seed of the options, restored by a reset.
    own_seed: u64,
    /// Seed in use; a loaded checkpoint replaces it.
    pub seed: u64,
    /// Processes that are functions of time, by the node's name.
    pub processes: HashMap<String, TimeFunction>,
    pub steps_done: u64,
    /// States on the device, by key and number of floats.
    pub states: BTreeMap<(StateKey, usize), States>,
    /// Host functions of callbacks, with their own states.
    pub kept: BTreeMap<StateKey, HostFunctions>,
    pub plans: LruCache<PlanKey, Arc<LoadedProgram>>,
    /// Steps of the window that was planned, by the wanted window.
    pub windows: LruCache<PlanKey, usize>,
    pub keep_history: bool,
    /// Most steps of a window, if the user has set a limit.
    pub window_limit: Option<usize>,
    /// Most steps of the next window from measured times, by the key of its kind of run with 0 steps.
    pub window_lengths: LruCache<PlanKey, usize>,
    /// True if the network has a loop whose steps are dispatched one by one.
    pub loops: bool,
    /// Callbacks on a cycle, which limit runs to one step at a time.
    pub step_by_step: Vec<String>,
}

/// Options for [`Simulator::with`](crate::Simulator::with).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Number of examples in a minibatch, at least 1; 1 by default.
    pub minibatch: usize,
    /// Length of a time step in seconds, above 0; 0.001 by default.
    pub dt: f64,
    /// Seed of initial parameters, processes, shuffling and dropout; the network's seed if `None`, the default.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { minibatch: 1, dt: 0.001, seed: None }
    }
}

/// Returns an error unless `dt` is finite and above 0.
pub(crate) fn check_dt(dt: f64) -> Result<()> {
    if dt.is_finite() && dt > 0.0 {
        return Ok(());
    }
    Err(Error::invalid("dt", format!("it is {dt} s, but must be finite and above 0")))
}

impl Core {
    /// Solves for decoders and sets parameters to their initial values.
    pub fn new(network: &Network, device: &Device, options: Options) -> Result<Self> {
        let mut core = Self::on(device.engine(), network, device, options)?;
        core.network.solve()?;
        core.initial_parameters()?;
        Ok(core)
    }

    /// Without a device, for plans only.
    pub fn planner(network: &Network, device: &Device, options: Options) -> Result<Self> {
        Self::on(Box::new(DryEngine::default()), network, device, options)
    }

    fn on(engine: Box<dyn Engine>, network: &Network, device: &Device, options: Options) -> Result<Self> {
        let Options { minibatch, dt, seed } = options;
        if minibatch == 0 {
            return Err(Error::invalid("minibatch", "it is 0, but must be at least 1"));
        }
        check_dt(dt)?;
        // An invalid environment variable is an error also where no object is large.
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

    /// Resets parameters, states, seed and time. Programs and states are freed.
    pub fn reset(&mut self) -> Result<()> {
        self.steps_done = 0;
        self.kept.clear();
        self.drop_programs();
        self.seed = self.own_seed;
        self.processes = processes::functions(&self.network, self.dt, self.seed)?;
        self.initial_parameters()
    }

    /// Resets states and time.
    pub fn soft_reset(&mut self) -> Result<()> {
        self.steps_done = 0;
        self.reset_states(StateKey::Run)
    }

    /// Warnings about the network and its runs, one sentence each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let warning = |what: &String| {
            format!(
                "{what} is called on the host, and its output comes back to its input: the network runs one step at a \
                 time, since the host must be called at each"
            )
        };
        let mut warnings = self.network.warnings();
        warnings.extend(self.network.rate_warnings(self.dt));
        warnings.extend(self.step_by_step.iter().map(warning));
        warnings
    }
}
