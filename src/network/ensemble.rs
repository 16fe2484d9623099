//! Ensembles: neurons that together represent a vector (Eliasmith and Anderson 2003).

use std::ops::Range;

use ndarray::{Array2, Axis, concatenate, s};

use super::init::seed_of;
use super::{Distribution, Init, Process};
use crate::allowance;
use crate::error::{Error, Result};
use crate::op::neuron::NeuronType;

/// `n_neurons` neurons that represent a vector of `dimensions`; or several such ensembles side by side.
///
/// With the vector x, the current of a neuron with the encoder e is `gain / radius * (e · x) + bias`. What others read of an
/// ensemble is decoded: see [`super::Connection::function`] and [`super::Network::add_output`]. Its parameters are
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
    /// The rest; what is not said is as [`super::Config::ensemble`] says, else as in Nengo.
    pub settings: EnsembleSettings,
    /// Seed of its own, in place of one from the network's seed and its name.
    pub seed: Option<u64>,
    /// How states of the neurons start that do not start as Nengo's do, by name.
    pub states: Vec<(String, Init)>,
    /// Whether the encoders are trained; as [`super::Config::trainable`] says if not given.
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
    /// ensemble or its network says, as in Nengo; [`super::Network::warnings`] tells of what then counts for nothing.
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
    pub(super) fn check(&self, what: &str) -> Result<()> {
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

    /// Draws what is drawn; `seed` is the network's.
    pub(super) fn draw(&self, name: &str, config: &EnsembleSettings, seed: u64) -> Result<Encoding> {
        let Self { n_neurons: n, dimensions, n_ensembles: groups, .. } = *self;
        let invalid = |problem: String| Err(Error::invalid(format!("ensemble '{name}'"), problem));
        if n == 0 || dimensions == 0 || groups == 0 {
            let of = if groups == 1 { String::new() } else { format!(" in {groups} ensembles") };
            return invalid(format!(
                "it has {n} neurons and {dimensions} dimensions{of}; each must be at least 1"
            ));
        }
        let most = n.checked_mul(groups).and_then(|all| all.checked_mul(dimensions));
        if most.is_none_or(|all| all > 1 << 31) {
            return invalid(format!(
                "it has {groups} × {n} neurons of {dimensions} dimensions, more encoders than there can be"
            ));
        }
        let named = || {
            format!(
                "the {n} neurons{} of ensemble '{name}'",
                if groups == 1 { String::new() } else { format!(" in each of {groups} ensembles") }
            )
        };
        allowance::check(named, [n * groups, 8 + 3 * dimensions], 8)?;
        let settings = self.settings.clone().or(config);
        settings.check(&format!("ensemble '{name}'"))?;
        let radius = settings.radius.unwrap_or(1.0);
        let neuron_type = settings.neuron_type.clone().unwrap_or_else(NeuronType::lif);
        let place = Draws { name, n, groups, seed: self.seed.map_or((seed, name), |own| (own, "")) };
        let surface = Distribution::scattered_surface();
        let encoders = settings.encoders.as_ref().unwrap_or(&surface);
        let mut encoders = place.draw("encoders", encoders, dimensions)?;
        if settings.normalize_encoders.unwrap_or(true) {
            for (i, mut row) in encoders.rows_mut().into_iter().enumerate() {
                let length = row.dot(&row).sqrt();
                if length == 0.0 {
                    let problem = "is zero, so it has no direction; leave it out or give it a length";
                    return invalid(format!("the encoder of neuron {i} {problem}"));
                }
                row /= length;
            }
        }
        let (gain, bias, intercepts) = place.tuning(&neuron_type, &settings)?;
        let unheeded =
            intercepts.is_none() && (settings.max_rates.is_some() || settings.intercepts.is_some());
        let clipped = dimensions.saturating_mul(500).clamp(750, 2500);
        Ok(Encoding {
            n,
            dimensions,
            groups,
            radius,
            n_eval_points: settings.n_eval_points.unwrap_or(clipped.max(2 * n)),
            eval_points: settings.eval_points.unwrap_or_else(Distribution::scattered_ball),
            seed: self.seed.map_or_else(|| seed_of(seed, name), |own| seed_of(own, "")),
            noise: settings.noise,
            neuron_type,
            encoders,
            gain,
            bias,
            intercepts,
            unheeded,
        })
    }
}

/// What an ensemble drew, in 64 bits.
#[derive(Clone, Debug)]
pub(crate) struct Encoding {
    /// Neurons of each group.
    pub n: usize,
    /// Dimensions of each group.
    pub dimensions: usize,
    pub groups: usize,
    pub neuron_type: NeuronType,
    pub radius: f64,
    /// (groups · n) × dimensions, without gain and radius.
    pub encoders: Array2<f64>,
    pub gain: Vec<f64>,
    pub bias: Vec<f64>,
    /// If gain and bias come from them.
    pub intercepts: Option<Vec<f64>>,
    /// Whether max rates or intercepts were said that count for nothing beside gains and biases.
    pub unheeded: bool,
    pub eval_points: Distribution,
    pub n_eval_points: usize,
    pub noise: Option<Process>,
    pub seed: u64,
}

impl Encoding {
    /// `encoders * gain / radius`, the parameter.
    pub fn scaled_encoders(&self) -> Array2<f64> {
        let mut scaled = self.encoders.clone();
        scaled.rows_mut().into_iter().zip(&self.gain).for_each(|(mut row, gain)| row *= gain / self.radius);
        scaled
    }

    /// Takes the encoders from the parameter; a neuron without a gain keeps its own.
    pub fn set_scaled_encoders(&mut self, scaled: &[f64]) {
        let rows = self.encoders.rows_mut().into_iter().zip(&self.gain).zip(scaled.chunks(self.dimensions));
        for ((mut row, gain), scaled) in rows.filter(|((_, gain), _)| **gain != 0.0) {
            row.iter_mut().zip(scaled).for_each(|(e, x)| *e = x * self.radius / gain);
        }
    }

    /// Neurons of a group.
    pub fn neurons(&self, group: usize) -> Range<usize> {
        group * self.n..(group + 1) * self.n
    }

    /// How many points there are for the decoders of a group.
    pub fn n_points(&self, given: Option<&Distribution>) -> usize {
        match given.unwrap_or(&self.eval_points) {
            Distribution::Samples(samples) => samples.nrows(),
            _ => self.n_eval_points,
        }
    }

    /// Points for the decoders of a group, points × dimensions; `given` are a connection's own.
    pub fn points(
        &self,
        what: &str,
        group: usize,
        given: Option<&Distribution>,
        scale: bool,
    ) -> Result<Array2<f64>> {
        let (from, n) = (given.unwrap_or(&self.eval_points), self.n_points(given));
        let seed = seed_of(self.seed, &format!("eval_points {group}"));
        let mut points = from.sample(&format!("the eval-points of {what}"), n, self.dimensions, seed)?;
        if scale {
            points *= self.radius;
        }
        Ok(points)
    }

    /// Currents of a group's neurons at points, points × neurons.
    pub fn currents(&self, group: usize, points: &Array2<f64>) -> Array2<f64> {
        let own = self.neurons(group);
        let mut currents = points.dot(&self.encoders.slice(s![own.clone(), ..]).t());
        for (i, mut column) in own.zip(currents.columns_mut()) {
            let (gain, bias) = (self.gain[i] / self.radius, self.bias[i]);
            column.mapv_inplace(|x| gain * x + bias);
        }
        currents
    }

    /// How a group's neurons are tuned, in words.
    pub fn tuned(&self, group: usize) -> String {
        let range = |all: &[f64]| {
            let all = &all[self.neurons(group)];
            let (low, high) =
                all.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
            format!("between {low:.3} and {high:.3}")
        };
        match &self.intercepts {
            Some(intercepts) => {
                format!("their intercepts lie {}; move them to where the points are", range(intercepts))
            }
            None => format!(
                "their gains lie {} and their biases {}; raise them, or move the points",
                range(&self.gain),
                range(&self.bias)
            ),
        }
    }

    /// Rates in Hz of a group's neurons at points; nothing for types that know none.
    pub fn rates(&self, group: usize, points: &Array2<f64>) -> Option<Array2<f64>> {
        let mut rates = self.currents(group, points);
        self.neuron_type.rates_in_place(rates.as_slice_mut()?)?;
        Some(rates)
    }
}

/// Where the numbers of an ensemble come from.
struct Draws<'a> {
    name: &'a str,
    n: usize,
    groups: usize,
    /// A seed, and what is before the names of what is drawn.
    seed: (u64, &'a str),
}

impl Draws<'_> {
    /// A row for each neuron of all groups. Each group draws for itself, since some distributions are evenly spread; given rows
    /// are for all neurons, or for those of each group.
    fn draw(&self, part: &str, from: &Distribution, d: usize) -> Result<Array2<f64>> {
        let Self { name, n, groups, seed: (seed, prefix) } = *self;
        let what = format!("the {} of ensemble '{name}'", part.replace('_', "-"));
        if let Distribution::Samples(all) = from
            && all.nrows() == n * groups
        {
            return from.sample(&what, n * groups, d, 0);
        }
        let key = |g: usize| match groups {
            1 => format!("{prefix}/{part}"),
            _ => format!("{prefix}/{part} {g}"),
        };
        let parts = (0..groups).map(|g| from.sample(&what, n, d, seed_of(seed, &key(g))));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
        concatenate(Axis(0), &views).map_err(|e| Error::invalid(what, e.to_string()))
    }

    fn numbers(&self, part: &str, from: &Distribution) -> Result<Vec<f64>> {
        Ok(self.draw(part, from, 1)?.into_iter().collect())
    }

    /// Gains, biases, and the intercepts if they come from some.
    #[allow(clippy::type_complexity)]
    fn tuning(
        &self,
        neuron_type: &NeuronType,
        settings: &EnsembleSettings,
    ) -> Result<(Vec<f64>, Vec<f64>, Option<Vec<f64>>)> {
        let what = format!("ensemble '{}'", self.name);
        match (&settings.gain, &settings.bias) {
            (Some(gain), Some(bias)) => Ok((self.numbers("gain", gain)?, self.numbers("bias", bias)?, None)),
            (None, None) => {
                let (high, at) = (Distribution::Uniform(200.0, 400.0), Distribution::Uniform(-1.0, 0.9));
                let rates = self.numbers("max_rates", settings.max_rates.as_ref().unwrap_or(&high))?;
                let intercepts = self.numbers("intercepts", settings.intercepts.as_ref().unwrap_or(&at))?;
                let (gain, bias) = neuron_type.gain_bias(&what, &rates, &intercepts)?;
                Ok((gain, bias, Some(intercepts)))
            }
            _ => Err(Error::invalid(what, "it has a gain or a bias without the other; give it both or none")),
        }
    }
}
