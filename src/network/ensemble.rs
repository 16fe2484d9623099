//! Ensembles: neurons that together represent a vector (Eliasmith and Anderson 2003).

use crate::error::{Error, Result};
use crate::network::{Distribution, Init, Process};
use crate::neuron::NeuronType;

/// `n_neurons` neurons that represent a vector of `dimensions`; or several such ensembles side by side.
///
/// With the vector x, the current of a neuron with the encoder e is `gain / radius * (e · x) + bias`. What others read of an
/// ensemble is decoded: see [`crate::network::Connection::function`] and [`crate::network::Network::add_output`]. Its parameters are
/// `NAME/encoders` (neurons × dimensions, gain and radius in them) and `NAME/bias`.
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
    /// How many ensembles there are side by side, each with dimensions and neurons of its own.
    pub n_ensembles: usize,
    /// The rest; what is not said is as [`crate::network::Config::ensemble`] says, else as in Nengo.
    pub settings: EnsembleSettings,
    /// Seed of its own, in place of one from the network's seed and its name.
    pub seed: Option<u64>,
    /// How states of the neurons start that do not start as Nengo's do, by name.
    pub states: Vec<(String, Init)>,
    /// Whether the encoders are trained; as [`crate::network::Config::trainable`] says if not given.
    pub train_encoders: Option<bool>,
    /// Whether the biases are trained, likewise.
    pub train_bias: Option<bool>,
}

/// What ensembles are like. Nothing means Nengo's default, which each field tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnsembleSettings {
    /// What neurons make of their current; [`NeuronType::lif`].
    pub neuron_type: Option<NeuronType>,
    /// Length of the vectors that are represented well; 1.
    pub radius: Option<f64>,
    /// The direction to which each neuron answers most; [`Distribution::ScatteredHypersphere`], on the surface.
    pub encoders: Option<Distribution>,
    /// Encoders are brought to length 1; true.
    pub normalize_encoders: Option<bool>,
    /// Rate in Hz where the encoder's direction meets the radius; uniform between 200 and 400.
    pub max_rates: Option<Distribution>,
    /// Where along its encoder, in radii, a neuron begins to fire; uniform between -1 and 0.9.
    pub intercepts: Option<Distribution>,
    /// Factor on the encoded value, only with `bias`. The two count more than max rates and intercepts, whichever of them the
    /// ensemble or its network says, as in Nengo; [`crate::network::Network::warnings`] tells of what then counts for nothing.
    pub gain: Option<Distribution>,
    /// Current without input, only with `gain`.
    pub bias: Option<Distribution>,
    /// Where decoders are solved for, in radii; [`Distribution::ScatteredHypersphere`], in the ball.
    pub eval_points: Option<Distribution>,
    /// How many points are drawn; `max(500 d clipped to 750 … 2500, 2 n)` for d dimensions and n neurons.
    pub n_eval_points: Option<usize>,
    /// Added to the neurons' currents; none. Noise and white signals get the ensemble's number of neurons.
    pub noise: Option<Process>,
}

impl EnsembleSettings {
    /// These, and what they do not say as the others say it.
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

    /// Refuses what makes no sense in any ensemble; `what` is whose settings they are.
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
        // The ensemble says how many neurons the noise is for.
        let noise = self.noise.clone().map(|noise| noise.with_size(1));
        noise.map_or(Ok(()), |noise| noise.check(&format!("the noise of {what}")))
    }
}

impl Ensemble {
    /// One ensemble.
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
    /// `n_ensembles` dimensions. They run as one product of matrices in groups.
    pub fn array(n_neurons: usize, n_ensembles: usize) -> Self {
        Self { n_ensembles, ..Self::new(n_neurons, 1) }
    }

    /// With so many dimensions in each ensemble of an array.
    pub fn ens_dimensions(self, dimensions: usize) -> Self {
        Self { dimensions, ..self }
    }

    /// With another neuron type.
    pub fn neuron_type(mut self, neuron_type: impl Into<NeuronType>) -> Self {
        self.settings.neuron_type = Some(neuron_type.into());
        self
    }

    /// With another radius.
    pub fn radius(mut self, radius: f64) -> Self {
        self.settings.radius = Some(radius);
        self
    }

    /// With other encoders: a distribution, or an array of neurons × dimensions.
    pub fn encoders(mut self, encoders: impl Into<Distribution>) -> Self {
        self.settings.encoders = Some(encoders.into());
        self
    }

    /// With encoders as long as they are given.
    pub fn unnormalized(mut self) -> Self {
        self.settings.normalize_encoders = Some(false);
        self
    }

    /// With other highest rates in Hz.
    pub fn max_rates(mut self, rates: impl Into<Distribution>) -> Self {
        self.settings.max_rates = Some(rates.into());
        self
    }

    /// With other intercepts, in radii.
    pub fn intercepts(mut self, intercepts: impl Into<Distribution>) -> Self {
        self.settings.intercepts = Some(intercepts.into());
        self
    }

    /// With these gains and biases, in place of max rates and intercepts.
    pub fn gain_bias(mut self, gain: impl Into<Distribution>, bias: impl Into<Distribution>) -> Self {
        self.settings.gain = Some(gain.into());
        self.settings.bias = Some(bias.into());
        self
    }

    /// With other points to solve decoders at, in radii.
    pub fn eval_points(mut self, points: impl Into<Distribution>) -> Self {
        self.settings.eval_points = Some(points.into());
        self
    }

    /// With so many points to solve decoders at.
    pub fn n_eval_points(mut self, n: usize) -> Self {
        self.settings.n_eval_points = Some(n);
        self
    }

    /// With noise on the currents.
    pub fn noise(mut self, noise: impl Into<Process>) -> Self {
        self.settings.noise = Some(noise.into());
        self
    }

    /// With a seed of its own: ensembles alike with the same seed are equal.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// With another start of a state of its neurons.
    pub fn state(mut self, name: &str, start: Init) -> Self {
        self.states.push((name.into(), start));
        self
    }

    /// With encoders and biases that are trained or not, whatever the network says.
    pub fn trainable(mut self, trainable: bool) -> Self {
        (self.train_encoders, self.train_bias) = (Some(trainable), Some(trainable));
        self
    }

    /// Without trained encoders and biases.
    pub fn frozen(self) -> Self {
        self.trainable(false)
    }
}
