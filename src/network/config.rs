//! Default settings of a network's objects.

use crate::network::{Connection, EnsembleSettings, Synapse};
use crate::solve::{Cache, Solver};

/// Defaults for objects added from now on, where their own settings are `None`. At first these are Nengo's.
///
/// ```
/// use nengo_wgpu::network::{Ensemble, Network, NeuronType, Node, RectifiedLinear};
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
    /// Defaults of ensembles.
    pub ensemble: EnsembleSettings,
    /// A connection to start from: a lowpass of 5 ms, Nengo's default. It is used only where it is cloned;
    /// [`Connection::new`] has no filter, since layers and nodes mostly need none.
    pub connection: Connection,
    /// Default decoder solver.
    pub solver: Solver,
    /// Default for parameters whose object does not set `trainable`; true.
    ///
    /// As in NengoDL, this covers encoders, biases and all connection weights: dense, sparse, convolutional, vector, scalar
    /// and decoders. It excludes gains, weights that a learning rule changes, and decoders that only a probe reads. See also
    /// [`crate::network::Network::set_trainable`].
    pub trainable: bool,
    /// Defaults of probes added by [`crate::network::Network::probe`].
    pub probe: ProbeSettings,
    /// Cache of solved decoders; a directory in the user's cache by default. Only the setting of the outermost network
    /// counts, not one made inside [`crate::network::Network::within`].
    pub cache: Cache,
    /// Host memory that solving for decoders may use, in bytes. `None` takes the environment variable `NENGO_WGPU_MEMORY`
    /// (such as `6 GiB`), or else nine tenths of the memory available.
    pub memory: Option<u64>,
}

/// Defaults of probes on objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProbeSettings {
    /// Filter on the object's output; none by default.
    pub synapse: Option<Synapse>,
    /// Seconds between recorded rows, see [`crate::network::Network::probe_every`]; every step by default.
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
