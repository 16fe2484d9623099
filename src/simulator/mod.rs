//! The public simulator: runs, training, parameters and files of a network on a device.

mod parameters;
mod run;
mod train;

use std::collections::BTreeMap;

use ndarray::Array3;

use crate::engine::Device;
use crate::error::{Error, Result};
use crate::network::{Network, ProbeId};
use crate::sim::Options;
use crate::sim::core::Core;
use crate::trainer::compiled::Trainer;

/// A network on a device, for runs and training.
///
/// Arrays have one row for each example and step: inputs and outputs are (batch, n_steps, size), in `f32`. Runs
/// ([`Simulator::run_steps`]) continue from the states of the last run; predictions ([`Simulator::predict`]) and training
/// ([`Simulator::fit`]) start from the initial states.
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
    core: Core,
    trainer: Option<Trainer>,
    recorded: BTreeMap<ProbeId, Vec<Array3<f32>>>,
}

impl Simulator {
    /// Creates a simulator of `network` on `device` with the default [`Options`]: a minibatch of one example, and a time step
    /// of 0.001 s. Solves for decoders and sets all parameters to their initial values.
    ///
    /// # Errors
    /// A cycle without a delay, a tensor node whose shapes do not match, a synapse or process that is not defined at this
    /// time step, or a device that cannot hold the parameters.
    pub fn new(network: &Network, device: &Device) -> Result<Self> {
        Self::with(network, device, Options::default())
    }

    /// Creates a simulator with the given [`Options`].
    ///
    /// # Errors
    /// As [`Simulator::new`], a minibatch of 0, or a `dt` that is not finite and above 0.
    pub fn with(network: &Network, device: &Device, options: Options) -> Result<Self> {
        Ok(Self { core: Core::new(network, device, options)?, trainer: None, recorded: BTreeMap::new() })
    }

    /// Creates a simulator that only plans, for [`Simulator::outline`] and [`Simulator::memory_estimate`]. Nothing is
    /// allocated on the device, no decoders are solved for, and runs return an error.
    ///
    /// # Errors
    /// As [`Simulator::with`].
    pub fn planner(network: &Network, device: &Device, options: Options) -> Result<Self> {
        Ok(Self { core: Core::planner(network, device, options)?, trainer: None, recorded: BTreeMap::new() })
    }

    /// Simulated time in seconds.
    pub fn time(&self) -> f64 {
        self.core.time()
    }

    /// Number of time steps since the last reset.
    pub fn n_steps(&self) -> u64 {
        self.core.steps_done
    }

    /// Length of a time step in seconds.
    pub fn dt(&self) -> f64 {
        self.core.dt
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.core.network
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.core.device
    }

    /// Size of all buffers on the device in bytes.
    pub fn allocated_bytes(&self) -> u64 {
        self.core.engine.allocated_bytes()
    }

    /// Data that a probe has recorded since the last [`Simulator::reset`], as (batch, n_steps, size). A probe on a parameter
    /// has its last value as (1, 1, size). Without history ([`Simulator::set_keep_history`]) only the last step is kept.
    ///
    /// # Errors
    /// No run since the last reset.
    pub fn data(&self, probe: ProbeId) -> Result<Array3<f32>> {
        let name = self.core.network.probe_name(probe);
        let parts = self.recorded.get(&probe).filter(|p| !p.is_empty());
        let parts =
            parts.ok_or_else(|| Error::invalid(format!("probe '{name}'"), "nothing has been run yet"))?;
        let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
        ndarray::concatenate(ndarray::Axis(1), &views)
            .map_err(|e| Error::invalid(format!("probe '{name}'"), e.to_string()))
    }

    /// Resets everything to its initial value: parameters, states, time, recorded data and optimiser. Compiled programs are
    /// freed, and compiled again on demand.
    ///
    /// # Errors
    /// A lost device.
    pub fn reset(&mut self) -> Result<()> {
        self.recorded.clear();
        if let Some(trainer) = &mut self.trainer {
            trainer.drop_programs(&mut self.core);
        }
        self.core.reset()?;
        self.trainer.as_mut().map_or(Ok(()), |trainer| trainer.reset(&mut self.core))
    }

    /// Resets states and time to their initial values. Parameters and recorded data are kept.
    ///
    /// # Errors
    /// A lost device.
    pub fn soft_reset(&mut self) -> Result<()> {
        self.core.soft_reset()
    }

    /// Warnings about the network and the compiled training, one sentence each: for example settings without effect, or a
    /// cycle through a host callback, which limits runs to one step at a time.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.core.warnings();
        if let Some(trainer) = &self.trainer {
            warnings.extend(trainer.roles.notes.iter().chain(&trainer.cut).chain(&trainer.resumed).cloned());
        }
        warnings
    }
}
