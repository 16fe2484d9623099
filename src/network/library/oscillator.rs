//! A two-dimensional oscillator.

use ndarray::array;
use serde::Deserialize;

use crate::error::Result;
use crate::network::library::passthrough;
use crate::network::{Connection, Ensemble, Init, Network, ObjectId, Transform};

/// A two-dimensional ensemble whose value rotates at a frequency once an input starts it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Oscillator {
    /// Time constant of the recurrent synapse in seconds.
    pub recurrent_tau: f64,
    /// Angular frequency in radians per second.
    pub frequency: f64,
    /// Number of neurons.
    pub n_neurons: usize,
}

/// The objects of an [`Oscillator`].
#[derive(Clone, Copy, Debug)]
pub struct OscillatorParts {
    /// `NAME.input`
    pub input: ObjectId,
    /// `NAME.ensemble`
    pub ensemble: ObjectId,
}

impl Oscillator {
    /// Adds the objects under a name.
    ///
    /// # Errors
    /// A name that is taken, or invalid settings.
    pub fn add(&self, net: &mut Network, name: &str) -> Result<OscillatorParts> {
        let Self { recurrent_tau: tau, frequency, n_neurons } = *self;
        // The synapse gives x' = (A x - x) / tau, so A = 1 + tau times the rotation.
        let turn = (frequency * tau) as f32;
        let turning = array![[1.0, -turn], [turn, 1.0]];
        net.within(name, |net| {
            let input = passthrough(net, "input", 2)?;
            let ensemble = net.ensemble("ensemble", Ensemble::new(n_neurons, 2))?;
            let turning = Transform::Dense(Init::Values(turning.into_iter().collect()));
            net.connect(ensemble, ensemble, Connection::new().synapse(tau).transform(turning))?;
            net.connect(input, ensemble, Connection::new())?;
            Ok(OscillatorParts { input, ensemble })
        })
    }
}
