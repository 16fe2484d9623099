//! The simulator: a network on a device, run, trained, read and written.

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
    core: Core,
    trainer: Option<Trainer>,
    recorded: BTreeMap<ProbeId, Vec<Array3<f32>>>,
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
        Ok(Self { core: Core::new(network, device, options)?, trainer: None, recorded: BTreeMap::new() })
    }

    /// A simulator that only plans, for [`Simulator::outline`] and [`Simulator::memory_estimate`]: nothing is allocated on
    /// the device, and a run is an error.
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

    /// Time steps since the last reset.
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

    /// Bytes of all buffers on the device.
    pub fn allocated_bytes(&self) -> u64 {
        self.core.engine.allocated_bytes()
    }

    /// What a probe has recorded since the last reset, as (batch, n_steps, size); for a parameter its last values,
    /// and without history the last step alone.
    ///
    /// # Errors
    /// Nothing has been recorded yet.
    pub fn data(&self, probe: ProbeId) -> Result<Array3<f32>> {
        let name = self.core.network.probe_name(probe);
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
        self.recorded.clear();
        if let Some(trainer) = &mut self.trainer {
            trainer.drop_programs(&mut self.core);
        }
        self.core.reset()?;
        self.trainer.as_mut().map_or(Ok(()), |trainer| trainer.reset(&mut self.core))
    }

    /// States and time as they were in the beginning; parameters and recorded data stay.
    ///
    /// # Errors
    /// A lost device.
    pub fn soft_reset(&mut self) -> Result<()> {
        self.core.soft_reset()
    }

    /// What a user should know about how this network was understood and runs, in sentences.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.core.warnings();
        if let Some(trainer) = &self.trainer {
            warnings.extend(trainer.roles.notes.iter().chain(&trainer.cut).chain(&trainer.resumed).cloned());
        }
        warnings
    }
}
