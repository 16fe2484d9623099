//! An ensemble that integrates its input over time.

use serde::Deserialize;

use crate::error::Result;
use crate::network::library::{passthrough, scaled};
use crate::network::{Connection, Ensemble, Network, ObjectId};

/// An ensemble that represents the integral of its input. A recurrent connection holds its value, and the input is scaled by
/// the time constant of that connection's synapse.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Integrator {
    /// Time constant of the recurrent synapse in seconds.
    pub recurrent_tau: f64,
    /// Number of neurons.
    pub n_neurons: usize,
    /// Number of dimensions.
    pub dimensions: usize,
}

/// The objects of an [`Integrator`].
#[derive(Clone, Copy, Debug)]
pub struct IntegratorParts {
    /// `NAME.input`
    pub input: ObjectId,
    /// `NAME.ensemble`, which represents the integral.
    pub ensemble: ObjectId,
}

impl Integrator {
    /// Adds the objects under a name.
    ///
    /// # Errors
    /// A name that is taken, or invalid settings.
    pub fn add(&self, net: &mut Network, name: &str) -> Result<IntegratorParts> {
        let Self { recurrent_tau: tau, n_neurons, dimensions } = *self;
        net.within(name, |net| {
            let input = passthrough(net, "input", dimensions)?;
            let ensemble = net.ensemble("ensemble", Ensemble::new(n_neurons, dimensions))?;
            net.connect(ensemble, ensemble, Connection::new().synapse(tau))?;
            scaled(net, input, ensemble, tau)?;
            Ok(IntegratorParts { input, ensemble })
        })
    }
}
