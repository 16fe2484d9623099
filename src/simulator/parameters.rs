//! Parameters, learned weights and decoders of a simulator.

use std::path::Path;

use ndarray::{Array2, Array3};

use crate::error::Result;
use crate::network::{ConnectionId, Network, ObjectId};
use crate::sim::EnsembleRates;
use crate::simulator::Simulator;

impl Simulator {
    /// The values of a parameter, size_out × size_in for weights.
    ///
    /// # Errors
    /// [`Error::UnknownName`], or a lost device.
    pub fn parameter(&mut self, name: &str) -> Result<Array2<f32>> {
        self.core.parameter(name)
    }

    /// The gradient of a parameter in the last training step, without penalties.
    ///
    /// # Errors
    /// [`Error::UnknownName`], no training yet, or a lost device.
    pub fn gradient(&mut self, name: &str) -> Result<Array2<f32>> {
        self.core.gradient(name)
    }

    /// Sets a parameter.
    ///
    /// # Errors
    /// [`Error::UnknownName`], [`Error::Shape`], values that are not finite, or a lost device.
    pub fn set_parameter(&mut self, name: &str, values: &Array2<f32>) -> Result<()> {
        self.core.set_parameter(name, values)
    }

    /// The L2 norm of a parameter.
    ///
    /// # Errors
    /// [`Error::UnknownName`], or a lost device.
    pub fn l2_norm(&mut self, name: &str) -> Result<f64> {
        self.core.l2_norm(name)
    }

    /// Writes all parameters as safetensors, atomically.
    ///
    /// # Errors
    /// A file that cannot be written, or a lost device.
    pub fn save_parameters(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.core.save_parameters(path)
    }

    /// Reads all parameters from a safetensors file of this network.
    ///
    /// # Errors
    /// [`Error::OtherNetwork`] with the keys that differ, or a file that cannot be read; nothing is changed then.
    pub fn load_parameters(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.core.load_parameters(path)
    }

    /// The weights that a connection's learning rule changes (of Voja the encoders), for each example as (minibatch, size_out,
    /// size_in), as the last step of the last run used them. Before a run, and after a reset, the parameter as it is.
    ///
    /// # Errors
    /// [`Error::UnknownName`], a connection without a learning rule, or a lost device.
    pub fn learned_weights(&mut self, connection: &str) -> Result<Array3<f32>> {
        self.core.learned_weights(connection)
    }

    /// Makes what an example has learned the value of the parameter: later runs start from there, and files hold it. Each
    /// example's weights stay as they are.
    ///
    /// # Errors
    /// As [`Simulator::learned_weights`], and an example that is not in the minibatch.
    pub fn adopt_weights(&mut self, connection: &str, example: usize) -> Result<()> {
        self.core.adopt_weights(connection, example)
    }

    /// The network with all parameters as they are now in place of how they started: nothing is solved for or drawn again.
    ///
    /// # Errors
    /// A lost device.
    pub fn freeze(&mut self) -> Result<Network> {
        self.core.freeze()
    }

    /// The weights of a connection as they are now: size_out × size_in, from an ensemble size_out × neurons.
    ///
    /// # Errors
    /// A connection without weights, or a lost device.
    pub fn weights(&mut self, connection: ConnectionId) -> Result<Array2<f32>> {
        self.core.weights(connection)
    }

    /// What a connection from an ensemble makes of each of these points (points × the ensemble's dimensions) when its neurons
    /// fire at their steady rates, with the parameters as they are now: points × size_out, without its synapse.
    ///
    /// # Errors
    /// A connection that does not come from an ensemble, points of another size, neurons that know no rates, or a lost device.
    pub fn decoded(&mut self, connection: ConnectionId, points: &Array2<f64>) -> Result<Array2<f64>> {
        self.core.decoded(connection, points)
    }

    /// Steady rates in Hz of an ensemble's neurons at these points (points × its dimensions), with encoders and biases as they
    /// are now: points × neurons.
    ///
    /// # Errors
    /// No ensemble, points of another size, neurons that know no rates, or a lost device.
    pub fn rates(&mut self, ensemble: ObjectId, points: &Array2<f64>) -> Result<Array2<f64>> {
        self.core.rates(ensemble, points)
    }

    /// How strongly each ensemble fires over its evaluation points, with encoders and biases as they are now.
    ///
    /// # Errors
    /// Neurons that know no rates, or a lost device.
    pub fn rates_report(&mut self) -> Result<Vec<EnsembleRates>> {
        self.core.rates_report()
    }
}
