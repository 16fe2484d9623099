//! An ensemble that adds up its input over time.

use serde::Deserialize;

use crate::error::Result;
use crate::network::library::{passthrough, scaled};
use crate::network::{Connection, Ensemble, Network, ObjectId};

/// An ensemble that represents the integral of its input: its value comes back to it through a synapse, and input is scaled by
/// the synapse's time constant.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Integrator {
    /// Time constant of the recurrent synapse in seconds.
    pub recurrent_tau: f64,
    /// Neurons.
    pub n_neurons: usize,
    /// Dimensions.
    pub dimensions: usize,
}

/// The objects of an [`Integrator`].
#[derive(Clone, Copy, Debug)]
pub struct IntegratorParts {
    /// `NAME.input`
    pub input: ObjectId,
    /// `NAME.ensemble`, whose value is the integral.
    pub ensemble: ObjectId,
}

impl Integrator {
    /// Adds it under a name.
    ///
    /// # Errors
    /// A name that is taken, or settings that make no sense.
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
