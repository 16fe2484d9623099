//! Ensembles: neurons that together represent a vector (Eliasmith and Anderson 2003).

use crate::error::{Error, Result};
use crate::network::{Distribution, Init, Process};
use crate::neuron::NeuronType;

/// An ensemble of `n_neurons` neurons that represents a vector of `dimensions`, or an array of such ensembles.
///
/// For the represented vector x, a neuron with encoder e has the current `gain / radius * (e · x) + bias`. Other objects read
/// decoded functions of it: see [`crate::network::Connection::function`] and [`crate::network::Network::add_output`]. Its
/// parameters are `NAME/encoders` (neurons × dimensions, including gain and radius) and `NAME/bias`.
///
/// ```
/// use nengo_wgpu::network::{Connection, Ensemble, Network, Node};
///
/// # fn main() -> nengo_wgpu::Result<()> {
/// let mut net = Network::new(0);
/// let x = net.node("x", Node::Input(1))?;
/// let a = net.ensemble("a", Ensemble::new(50, 1))?;
/// let b = net.ensemble("b", Ensemble::new(50, 1).radius(2.0))?;
/// net.connect(x, a, Connection::new())?;
/// net.connect(a, b, Connection::new().synapse(0.005).function(|x: &[f64]| vec![x[0] * x[0]]))?;
/// net.probe("square", b)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Ensemble {
    /// Neurons of each ensemble.
    pub n_neurons: usize,
    /// Dimensions of each ensemble.
    pub dimensions: usize,
    /// Number of ensembles in the array, each with dimensions and neurons of its own.
    pub n_ensembles: usize,
    /// Other settings; `None` takes [`crate::network::Config::ensemble`], then Nengo's default.
    pub settings: EnsembleSettings,
    /// Seed; derived from the network's seed and the name by default.
    pub seed: Option<u64>,
    /// Initial values of neuron states, by name, that replace Nengo's defaults.
    pub states: Vec<(String, Init)>,
    /// Train the encoders; `None` takes [`crate::network::Config::trainable`].
    pub train_encoders: Option<bool>,
    /// Train the biases; `None` takes [`crate::network::Config::trainable`].
    pub train_bias: Option<bool>,
}

/// Settings of ensembles. `None` selects Nengo's default, listed per field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnsembleSettings {
    /// Neuron type; [`NeuronType::lif`] by default.
    pub neuron_type: Option<NeuronType>,
    /// Length of the longest vectors that are represented well; 1 by default.
    pub radius: Option<f64>,
    /// Preferred direction of each neuron; [`Distribution::ScatteredHypersphere`] on the surface by default.
    pub encoders: Option<Distribution>,
    /// Normalise encoders to length 1; true by default.
    pub normalize_encoders: Option<bool>,
    /// Rate in Hz at a vector of length `radius` along the encoder; uniform between 200 and 400 by default.
    pub max_rates: Option<Distribution>,
    /// Point along the encoder, in radii, at which a neuron begins to fire; uniform between -1 and 0.9 by default.
    pub intercepts: Option<Distribution>,
    /// Factor on the encoded value; requires `bias`. As in Nengo, gains and biases take precedence over max rates and
    /// intercepts, whether the ensemble or its network sets them. [`crate::network::Network::warnings`] reports settings that
    /// have no effect.
    pub gain: Option<Distribution>,
    /// Current at zero input; requires `gain`.
    pub bias: Option<Distribution>,
    /// Points to solve decoders at, in radii; [`Distribution::ScatteredHypersphere`] in the ball by default.
    pub eval_points: Option<Distribution>,
    /// Number of points to draw; `max(500 d clipped to 750 … 2500, 2 n)` for d dimensions and n neurons by default.
    pub n_eval_points: Option<usize>,
    /// Noise added to the neurons' currents; none by default. Noise and white signals take their size from the ensemble.
    pub noise: Option<Process>,
}

impl EnsembleSettings {
    /// These settings, with those of `others` where they are `None`.
    pub fn or(self, others: &Self) -> Self {
        Self {
            neuron_type: self.neuron_type.or_else(|| others.neuron_type.clone()),
            radius: self.radius.or(others.radius),
            encoders: self.encoders.or_else(|| others.encoders.clone()),
            normalize_encoders: self.normalize_encoders.or(others.normalize_encoders),
            max_rates: self.max_rates.or_else(|| others.max_rates.clone()),
            intercepts: self.intercepts.or_else(|| others.intercepts.clone()),
            gain: self.gain.or_else(|| others.gain.clone()),
            bias: self.bias.or_else(|| others.bias.clone()),
            eval_points: self.eval_points.or_else(|| others.eval_points.clone()),
            n_eval_points: self.n_eval_points.or(others.n_eval_points),
            noise: self.noise.or_else(|| others.noise.clone()),
        }
    }

    /// Rejects settings that are invalid for any ensemble; `what` names their owner in the error.
    pub(crate) fn check(&self, what: &str) -> Result<()> {
        let invalid = |problem: String| Err(Error::invalid(what, problem));
        if let Some(radius) = self.radius.filter(|radius| !(radius.is_finite() && *radius > 0.0)) {
            return invalid(format!("its radius is {radius}, but must be above 0"));
        }
        if self.n_eval_points == Some(0) {
            return invalid("its n-eval-points is 0, but decoders need at least 1".into());
        }
        self.neuron_type.as_ref().map_or(Ok(()), |neuron_type| neuron_type.check(what))?;
        let drawn = [
            ("encoders", &self.encoders),
            ("max-rates", &self.max_rates),
            ("intercepts", &self.intercepts),
            ("gain", &self.gain),
            ("bias", &self.bias),
            ("eval-points", &self.eval_points),
        ];
        for (part, from) in drawn {
            from.as_ref().map_or(Ok(()), |from| from.check(&format!("the {part} of {what}")))?;
        }
        // The size of the noise follows from the ensemble.
        let noise = self.noise.clone().map(|noise| noise.with_size(1));
        noise.map_or(Ok(()), |noise| noise.check(&format!("the noise of {what}")))
    }
}

impl Ensemble {
    /// A single ensemble.
    pub fn new(n_neurons: usize, dimensions: usize) -> Self {
        Self {
            n_neurons,
            dimensions,
            n_ensembles: 1,
            settings: EnsembleSettings::default(),
            seed: None,
            states: Vec::new(),
            train_encoders: None,
            train_bias: None,
        }
    }

    /// Nengo's EnsembleArray: `n_ensembles` ensembles of `n_neurons` neurons and one dimension each, as one object with
    /// `n_ensembles` dimensions. They are computed as one grouped matrix product.
    pub fn array(n_neurons: usize, n_ensembles: usize) -> Self {
        Self { n_ensembles, ..Self::new(n_neurons, 1) }
    }

    /// Sets the dimensions of each ensemble of an array.
    pub fn ens_dimensions(self, dimensions: usize) -> Self {
        Self { dimensions, ..self }
    }

    /// Sets the neuron type.
    pub fn neuron_type(mut self, neuron_type: impl Into<NeuronType>) -> Self {
        self.settings.neuron_type = Some(neuron_type.into());
        self
    }

    /// Sets the radius, above 0.
    pub fn radius(mut self, radius: f64) -> Self {
        self.settings.radius = Some(radius);
        self
    }

    /// Sets the encoders: a distribution, or an array of neurons × dimensions.
    pub fn encoders(mut self, encoders: impl Into<Distribution>) -> Self {
        self.settings.encoders = Some(encoders.into());
        self
    }

    /// Keeps the encoders' lengths as they are given.
    pub fn unnormalized(mut self) -> Self {
        self.settings.normalize_encoders = Some(false);
        self
    }

    /// Sets the highest rates in Hz.
    pub fn max_rates(mut self, rates: impl Into<Distribution>) -> Self {
        self.settings.max_rates = Some(rates.into());
        self
    }

    /// Sets the intercepts, in radii.
    pub fn intercepts(mut self, intercepts: impl Into<Distribution>) -> Self {
        self.settings.intercepts = Some(intercepts.into());
        self
    }

    /// Sets gains and biases, instead of max rates and intercepts.
    pub fn gain_bias(mut self, gain: impl Into<Distribution>, bias: impl Into<Distribution>) -> Self {
        self.settings.gain = Some(gain.into());
        self.settings.bias = Some(bias.into());
        self
    }

    /// Sets the evaluation points of decoders, in radii.
    pub fn eval_points(mut self, points: impl Into<Distribution>) -> Self {
        self.settings.eval_points = Some(points.into());
        self
    }

    /// Sets the number of evaluation points.
    pub fn n_eval_points(mut self, n: usize) -> Self {
        self.settings.n_eval_points = Some(n);
        self
    }

    /// Adds noise to the currents.
    pub fn noise(mut self, noise: impl Into<Process>) -> Self {
        self.settings.noise = Some(noise.into());
        self
    }

    /// Sets the seed. Ensembles with equal settings and seed are equal.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the initial values of a neuron state.
    pub fn state(mut self, name: &str, start: Init) -> Self {
        self.states.push((name.into(), start));
        self
    }

    /// Trains or freezes encoders and biases, regardless of the network's default.
    pub fn trainable(mut self, trainable: bool) -> Self {
        (self.train_encoders, self.train_bias) = (Some(trainable), Some(trainable));
        self
    }

    /// Freezes encoders and biases.
    pub fn frozen(self) -> Self {
        self.trainable(false)
    }
}
