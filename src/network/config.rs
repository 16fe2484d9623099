//! What objects are like of which nothing else is said.

use crate::network::{Connection, EnsembleSettings, Synapse};
use crate::solve::{Cache, Solver};

/// What objects are like that are added from now on and say nothing else; Nengo's defaults at first.
///
/// ```
/// use nengo_wgpu::network::{Ensemble, Network, Node};
/// use nengo_wgpu::neuron::{NeuronType, RectifiedLinear};
///
/// # fn main() -> nengo_wgpu::Result<()> {
/// let mut net = Network::new(0);
/// net.config.ensemble.neuron_type = Some(RectifiedLinear { amplitude: 1.0 }.into());
/// let x = net.node("x", Node::Input(2))?;
/// let a = net.ensemble("a", Ensemble::new(100, 2))?;
/// // Without a filter, and then as Nengo connects: through a lowpass of 5 ms.
/// net.connect(x, a, nengo_wgpu::network::Connection::new())?;
/// net.connect(a, a, net.config.connection.clone())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Of ensembles.
    pub ensemble: EnsembleSettings,
    /// To begin connections with: a lowpass of 5 ms, Nengo's default. [`Connection::new`] has no filter, since this crate's
    /// layers and nodes mostly need none.
    pub connection: Connection,
    /// How decoders are found.
    pub solver: Solver,
    /// Whether the parameters are trained of what does not say so itself; true. As in NengoDL, encoders, biases and all weights of
    /// connections are trained then: dense, sparse, convolutions, vectors, single numbers and decoders. Gains, weights that a
    /// learning rule changes, and what only a probe decodes of an ensemble are not. See also
    /// [`crate::network::Network::set_trainable`].
    pub trainable: bool,
    /// Of probes that [`crate::network::Network::probe`] adds.
    pub probe: ProbeSettings,
    /// Where decoders are kept that were found; the user's directory of caches. What counts is what the whole network says,
    /// not a network in it.
    pub cache: Cache,
    /// Bytes that solving for decoders may take on the host. Without it what the environment variable `NENGO_WGPU_MEMORY` says
    /// (`6 GiB`), or else nine tenths of what the machine can still give.
    pub memory: Option<u64>,
}

/// What probes of objects are like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProbeSettings {
    /// The filter on what the object gives; none by default.
    pub synapse: Option<Synapse>,
    /// Seconds from one recorded row to the next, see [`crate::network::Network::probe_every`]; each step by default.
    pub sample_every: Option<f64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ensemble: EnsembleSettings::default(),
            connection: Connection::new().synapse(Synapse::Lowpass(0.005)),
            solver: Solver::default(),
            trainable: true,
            probe: ProbeSettings::default(),
            cache: Cache::of_user(),
            memory: None,
        }
    }
}
