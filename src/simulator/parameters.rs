//! Parameters, learned weights, decoded values and rates of a simulator.

use std::path::Path;

use ndarray::{Array2, Array3};

use crate::error::Result;
use crate::network::{ConnectionId, Network, ObjectId};
use crate::sim::EnsembleRates;
use crate::simulator::Simulator;

impl Simulator {
    /// Values of a parameter. Weights are (size_out, size_in).
    ///
    /// # Errors
    /// [`Error::UnknownName`](crate::Error::UnknownName), or a lost device.
    pub fn parameter(&mut self, name: &str) -> Result<Array2<f32>> {
        self.core.parameter(name)
    }

    /// Gradient of the objective with respect to a parameter in the last training step, without penalties on parameters and
    /// before clipping. It has the parameter's shape.
    ///
    /// # Errors
    /// [`Error::UnknownName`](crate::Error::UnknownName), no training step yet, or a lost device.
    pub fn gradient(&mut self, name: &str) -> Result<Array2<f32>> {
        self.core.gradient(name)
    }

    /// Sets the values of a parameter. Optimiser slots and states are kept.
    ///
    /// # Errors
    /// [`Error::UnknownName`](crate::Error::UnknownName), [`Error::Shape`](crate::Error::Shape), values that are not finite, or a lost device.
    pub fn set_parameter(&mut self, name: &str, values: &Array2<f32>) -> Result<()> {
        self.core.set_parameter(name, values)
    }

    /// L2 norm of a parameter.
    ///
    /// # Errors
    /// [`Error::UnknownName`](crate::Error::UnknownName), or a lost device.
    pub fn l2_norm(&mut self, name: &str) -> Result<f64> {
        self.core.l2_norm(name)
    }

    /// Writes all parameters to a safetensors file. The file is replaced atomically.
    ///
    /// # Errors
    /// A file that cannot be written, or a lost device.
    pub fn save_parameters(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.core.save_parameters(path)
    }

    /// Loads all parameters from a safetensors file of this network.
    ///
    /// # Errors
    /// [`Error::OtherNetwork`](crate::Error::OtherNetwork) with the keys that differ, values that are not finite, or a file that cannot be read. Parameters
    /// are unchanged then.
    pub fn load_parameters(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.core.load_parameters(path)
    }

    /// Weights that a connection's learning rule has changed, for each example, as (minibatch, size_out, size_in). For Voja
    /// these are the encoders. They are the weights of the last step of the last run; before a run and after a reset, the
    /// parameter's values.
    ///
    /// # Errors
    /// [`Error::UnknownName`](crate::Error::UnknownName), a connection without a learning rule, or a lost device.
    pub fn learned_weights(&mut self, connection: &str) -> Result<Array3<f32>> {
        self.core.learned_weights(connection)
    }

    /// Sets the parameter to one example's learned weights, so that later runs start from them and files contain them. The
    /// learned weights of each example are unchanged. `example` is counted from 0.
    ///
    /// # Errors
    /// As [`Simulator::learned_weights`], or an example outside of the minibatch.
    pub fn adopt_weights(&mut self, connection: &str, example: usize) -> Result<()> {
        self.core.adopt_weights(connection, example)
    }

    /// Returns the network with the current parameters as initial values. A simulator of it neither solves for decoders nor
    /// draws random parameters.
    ///
    /// # Errors
    /// A lost device.
    pub fn freeze(&mut self) -> Result<Network> {
        self.core.freeze()
    }

    /// Current weights of a connection, as (size_out, size_in). From an ensemble these are the decoders, as (size_out,
    /// neurons).
    ///
    /// # Errors
    /// A connection without weights, or a lost device.
    pub fn weights(&mut self, connection: ConnectionId) -> Result<Array2<f32>> {
        self.core.weights(connection)
    }

    /// Decoded output of a connection from an ensemble at steady firing rates, with the current parameters and without the
    /// synapse. `points` is (points, dimensions of the ensemble); the result is (points, size_out).
    ///
    /// # Errors
    /// A connection from another object than an ensemble, points of another size, a neuron type without rates, or a lost
    /// device.
    pub fn decoded(&mut self, connection: ConnectionId, points: &Array2<f64>) -> Result<Array2<f64>> {
        self.core.decoded(connection, points)
    }

    /// Steady firing rates of an ensemble's neurons in Hz (its tuning curves), with the current encoders and biases. `points` is
    /// (points, dimensions); the result is (points, neurons).
    ///
    /// # Errors
    /// An object other than an ensemble, points of another size, a neuron type without rates, or a lost device.
    pub fn rates(&mut self, ensemble: ObjectId, points: &Array2<f64>) -> Result<Array2<f64>> {
        self.core.rates(ensemble, points)
    }

    /// Summary of each ensemble's firing rates over its evaluation points, with the current encoders and biases.
    ///
    /// # Errors
    /// A neuron type without rates, or a lost device.
    pub fn rates_report(&mut self) -> Result<Vec<EnsembleRates>> {
        self.core.rates_report()
    }
}
