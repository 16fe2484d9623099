//! The simulator: a network on a device, run, trained, read and written.

mod callbacks;
mod check;
mod checkpoint;
mod data;
mod feeds;
mod finite;
mod fit;
mod freeze;
mod judge;
mod learning;
mod outline;
mod parameters;
mod processes;
mod programs;
mod reports;
mod resume;
mod run;
mod states;
mod step;
mod stopping;
mod stream;
mod targets;
mod train;
mod trained;
mod update;
mod windows;

use std::collections::{BTreeMap, HashMap};

use ndarray::Array3;

pub use check::CheckedGradient;
pub use data::{Data, Signal};
pub use freeze::EnsembleRates;
pub use judge::Verdict;

pub use outline::{Outline, Part as OutlinePart};
pub use reports::{EarlyStopping, EpochReport, Evaluation, Fit, Progress, StepReport};
pub use stream::{Recorded, Sink, Window};
pub use windows::MemoryEstimate;

use crate::engine::dry::DryEngine;
use crate::engine::{BufferId, Device, Engine};
use crate::error::{Error, Result};
use crate::network::{Network, ProbeId, TimeFunction};
use crate::recent::Recent;
use programs::{Layout, Loaded, PlanKey};
use states::{StateKey, States};
use train::Compiled;

/// A network on a device.
///
/// ```
/// use ndarray::array;
/// use nengo_wgpu::network::{Init, Layer, Network, Node};
/// use nengo_wgpu::{Data, Device, Simulator};
///
/// # fn main() -> nengo_wgpu::Result<()> {
/// let mut net = Network::new(0);
/// let x = net.node("x", Node::Input(2))?;
/// let y = net.layer("y", Layer::dense(1).init(Init::Values(vec![2.0, 3.0])), x)?;
/// let p = net.probe("p", y)?;
/// let mut sim = Simulator::new(&net, &Device::cpu())?;
/// let out = sim.predict(&Data::new().with("x", array![[1.0, 1.0], [0.5, 0.0]]))?;
/// assert_eq!(out[&p][[0, 0, 0]], 5.0);
/// assert_eq!(out[&p][[1, 0, 0]], 1.0);
/// # Ok(())
/// # }
/// ```
pub struct Simulator {
    network: Network,
    device: Device,
    engine: Box<dyn Engine>,
    layout: Layout,
    shared: Vec<BufferId>,
    minibatch: usize,
    dt: f64,
    /// The seed that it was made with, and the one that it goes on with, which a checkpoint may bring.
    own_seed: u64,
    seed: u64,
    /// The processes that are functions of time, by the node's name.
    processes: HashMap<String, TimeFunction>,
    steps_done: u64,
    /// By who carries them, and how many floats they are.
    states: BTreeMap<(StateKey, usize), States>,
    /// Places in `shared` that hold nothing.
    spare: Vec<usize>,
    /// The functions of callbacks, with what they keep, by who carries them.
    kept: BTreeMap<StateKey, callbacks::Kept>,
    plans: Recent<PlanKey, Loaded>,
    /// Steps of the windows of runs that begin as long as their key says.
    windows: Recent<PlanKey, usize>,
    recorded: BTreeMap<ProbeId, Vec<Array3<f32>>>,
    keep_history: bool,
    /// Most steps of a window, if the user says so.
    window_limit: Option<usize>,
    /// Most steps of a window for its pace, by the key of runs of its kind with no steps.
    paces: Recent<PlanKey, usize>,
    /// Whether each step of a run is dispatched on its own.
    loops: bool,
    /// Callbacks because of which runs go one step at a time.
    step_by_step: Vec<String>,
    compiled: Option<Compiled>,
    /// What differs since the checkpoint that was read.
    resumed: Vec<String>,
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

impl Simulator {
    /// A simulator of `network` on `device` with one example at a time and steps of a millisecond.
    ///
    /// # Errors
    /// A cycle without a delay, a tensor node that does not fit, a synapse or process that makes no sense at this time
    /// step, or a device that cannot hold the parameters.
    pub fn new(network: &Network, device: &Device) -> Result<Self> {
        Self::with(network, device, Options::default())
    }

    /// A simulator with other [`Options`].
    ///
    /// # Errors
    /// As [`Simulator::new`], and options that make no sense.
    pub fn with(network: &Network, device: &Device, options: Options) -> Result<Self> {
        let mut sim = Self::on(device.engine(), network, device, options)?;
        sim.network.solve()?;
        sim.initial_parameters()?;
        Ok(sim)
    }

    /// A simulator that only plans, for [`Simulator::outline`] and [`Simulator::memory_estimate`]: nothing is allocated on
    /// the device, and a run is an error.
    ///
    /// # Errors
    /// As [`Simulator::with`].
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
        crate::allowance::from_environment()?;
        for object in &network.objects {
            let size = object.size_in.max(object.size_out);
            let what = || format!("a minibatch of {minibatch} examples of '{}'", object.name);
            crate::allowance::check(what, [minibatch, size], 4)?;
        }
        let layout = Layout::new(network, &(0..network.parameters.len()).collect::<Vec<_>>());
        let seed = seed.unwrap_or(network.seed);
        let mut sim = Self {
            network: network.clone(),
            device: device.clone(),
            engine,
            shared: Vec::new(),
            minibatch,
            dt,
            processes: processes::functions(network, dt, seed)?,
            own_seed: seed,
            seed,
            steps_done: 0,
            states: BTreeMap::new(),
            spare: Vec::new(),
            kept: BTreeMap::new(),
            plans: Recent::default(),
            windows: Recent::default(),
            recorded: BTreeMap::new(),
            keep_history: true,
            window_limit: None,
            paces: Recent::default(),
            loops: false,
            step_by_step: Vec::new(),
            resumed: Vec::new(),
            compiled: None,
            layout,
        };
        sim.check_network()?;
        sim.allocate_parameters()?;
        Ok(sim)
    }

    /// Simulated time in seconds.
    pub fn time(&self) -> f64 {
        self.steps_done as f64 * self.dt
    }

    /// Time steps since the last reset.
    pub fn n_steps(&self) -> u64 {
        self.steps_done
    }

    /// Length of a time step in seconds.
    pub fn dt(&self) -> f64 {
        self.dt
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Bytes of all buffers on the device.
    pub fn allocated_bytes(&self) -> u64 {
        self.engine.allocated_bytes()
    }

    /// What a probe has recorded since the last reset, as (batch, n_steps, size); for a parameter its last values,
    /// and without history the last step alone.
    ///
    /// # Errors
    /// Nothing has been recorded yet.
    pub fn data(&self, probe: ProbeId) -> Result<Array3<f32>> {
        let name = self.network.probe_name(probe);
        let parts = self.recorded.get(&probe).filter(|p| !p.is_empty());
        let parts =
            parts.ok_or_else(|| Error::invalid(format!("probe '{name}'"), "nothing has been run yet"))?;
        let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
        ndarray::concatenate(ndarray::Axis(1), &views)
            .map_err(|e| Error::invalid(format!("probe '{name}'"), e.to_string()))
    }

    /// Everything as it was when the simulator was made: parameters, states, time, recorded data, optimiser. Programs of
    /// earlier runs and trainings are freed, and made again when they are needed.
    ///
    /// # Errors
    /// A lost device.
    pub fn reset(&mut self) -> Result<()> {
        self.steps_done = 0;
        self.kept.clear();
        self.drop_programs();
        self.recorded.clear();
        self.seed = self.own_seed;
        self.processes = processes::functions(&self.network, self.dt, self.seed)?;
        self.initial_parameters()?;
        self.reset_optimiser()
    }

    /// States and time as they were in the beginning; parameters and recorded data stay.
    ///
    /// # Errors
    /// A lost device.
    pub fn soft_reset(&mut self) -> Result<()> {
        self.steps_done = 0;
        self.reset_states(StateKey::Run)
    }
}
