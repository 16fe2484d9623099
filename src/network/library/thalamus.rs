//! Thalamus: turns the output of basal ganglia into a choice.

use ndarray::Array2;
use serde::Deserialize;

use crate::error::Result;
use crate::network::library::matrix;
use crate::network::{Distribution, Ensemble, Init, Network, Node, ObjectId, Transform};

/// An array with values near 1 for the action that [`crate::network::library::BasalGanglia`] select, and near 0 for the
/// others. It has a bias of 1, and actions inhibit each other.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Thalamus {
    /// Number of actions.
    pub dimensions: usize,
    /// Neurons per action; 50 by default.
    #[serde(default = "neurons")]
    pub n_neurons_per_ensemble: usize,
    /// Strength of the mutual inhibition; 1 by default.
    #[serde(default = "one")]
    pub mutual_inhib: f64,
    /// Threshold below which values are not represented; 0 by default.
    #[serde(default)]
    pub threshold: f64,
}

fn neurons() -> usize {
    50
}

fn one() -> f64 {
    1.0
}

/// The objects of a [`Thalamus`].
#[derive(Clone, Copy, Debug)]
pub struct ThalamusParts {
    /// The array `NAME.actions`, both input and output.
    pub actions: ObjectId,
    /// `NAME.bias`
    pub bias: ObjectId,
}

impl Thalamus {
    /// A thalamus with Nengo's defaults.
    pub fn new(dimensions: usize) -> Self {
        Self { dimensions, n_neurons_per_ensemble: neurons(), mutual_inhib: one(), threshold: 0.0 }
    }

    /// Adds the objects under a name.
    ///
    /// # Errors
    /// A name that is taken, or invalid settings.
    pub fn add(&self, net: &mut Network, name: &str) -> Result<ThalamusParts> {
        let Self { dimensions: d, n_neurons_per_ensemble: n, mutual_inhib, threshold } = *self;
        net.within(name, |net| {
            let array = Ensemble::array(n, d)
                .intercepts(Distribution::Uniform(threshold, 1.0))
                .encoders(Distribution::choice(Array2::ones((1, 1))));
            let actions = net.ensemble("actions", array)?;
            let inhibit = Array2::from_shape_fn((d, d), |(i, j)| if i == j { 0.0 } else { -mutual_inhib });
            let connection = || net.config.connection.clone();
            let (inhibit, from_bias) = (matrix(connection(), &inhibit), connection());
            net.connect(actions, actions, inhibit)?;
            let bias = net.node("bias", Node::Constant(vec![1.0]))?;
            let ones = Transform::Dense(Init::Constant(1.0));
            net.connect(bias, actions, from_bias.transform(ones))?;
            Ok(ThalamusParts { actions, bias })
        })
    }
}
