//! Encoders, gains and biases drawn for an ensemble.

use std::ops::Range;

use ndarray::{Array2, Axis, concatenate, s};

use crate::engine::allowance;
use crate::error::{Error, Result};
use crate::network::init::seed_of;
use crate::network::{Distribution, Ensemble, EnsembleSettings, Process};
use crate::neuron::NeuronType;

/// The drawn properties of an ensemble, in `f64`.
#[derive(Clone, Debug)]
pub(crate) struct Encoding {
    /// Neurons per group.
    pub n: usize,
    /// Dimensions per group.
    pub dimensions: usize,
    pub groups: usize,
    pub neuron_type: NeuronType,
    pub radius: f64,
    /// (groups · n) × dimensions, without gain and radius.
    pub encoders: Array2<f64>,
    pub gain: Vec<f64>,
    pub bias: Vec<f64>,
    /// Intercepts, if gains and biases were computed from them.
    pub intercepts: Option<Vec<f64>>,
    /// True if max rates or intercepts were given besides gains and biases, and so have no effect.
    pub tuning_ignored: bool,
    pub eval_points: Distribution,
    pub n_eval_points: usize,
    pub noise: Option<Process>,
    pub seed: u64,
}

impl Encoding {
    /// The encoders' parameter, `encoders * gain / radius`.
    pub fn scaled_encoders(&self) -> Array2<f64> {
        let mut scaled = self.encoders.clone();
        scaled.rows_mut().into_iter().zip(&self.gain).for_each(|(mut row, gain)| row *= gain / self.radius);
        scaled
    }

    /// Sets the encoders from the parameter; a neuron with zero gain keeps its own.
    pub fn set_scaled_encoders(&mut self, scaled: &[f64]) {
        let rows = self.encoders.rows_mut().into_iter().zip(&self.gain).zip(scaled.chunks(self.dimensions));
        for ((mut row, gain), scaled) in rows.filter(|((_, gain), _)| **gain != 0.0) {
            row.iter_mut().zip(scaled).for_each(|(e, x)| *e = x * self.radius / gain);
        }
    }

    /// Indices of a group's neurons.
    pub fn neurons(&self, group: usize) -> Range<usize> {
        group * self.n..(group + 1) * self.n
    }

    /// Number of evaluation points for a group's decoders.
    pub fn n_points(&self, given: Option<&Distribution>) -> usize {
        match given.unwrap_or(&self.eval_points) {
            Distribution::Samples(samples) => samples.nrows(),
            _ => self.n_eval_points,
        }
    }

    /// Evaluation points for a group's decoders, points × dimensions; `given` are a connection's own.
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

    /// Advice on a group's tuning, in words.
    pub fn tuned(&self, group: usize) -> String {
        let range = |all: &[f64]| {
            let all = &all[self.neurons(group)];
            let (low, high) =
                all.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
            format!("between {low:.3} and {high:.3}")
        };
        match &self.intercepts {
            Some(intercepts) => {
                format!("their intercepts lie {}; move them into the range of the points", range(intercepts))
            }
            None => format!(
                "their gains lie {} and their biases {}; raise them, or move the points",
                range(&self.gain),
                range(&self.bias)
            ),
        }
    }

    /// Rates in Hz of a group's neurons at points; `None` for types without rates in Hz.
    pub fn rates(&self, group: usize, points: &Array2<f64>) -> Option<Array2<f64>> {
        let mut rates = self.currents(group, points);
        self.neuron_type.rates_in_place(rates.as_slice_mut()?)?;
        Some(rates)
    }
}

impl Ensemble {
    /// Draws the random properties; `seed` is the network's.
    pub(super) fn draw(&self, name: &str, config: &EnsembleSettings, seed: u64) -> Result<Encoding> {
        let Self { n_neurons: n, dimensions, n_ensembles: groups, .. } = *self;
        let invalid = |problem: String| Err(Error::invalid(format!("ensemble '{name}'"), problem));
        if n == 0 || dimensions == 0 || groups == 0 {
            let array = if groups == 1 { String::new() } else { format!(" in {groups} ensembles") };
            return invalid(format!(
                "it has {n} neurons and {dimensions} dimensions{array}; each must be at least 1"
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
        let tuning_ignored =
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
            tuning_ignored,
        })
    }
}

/// The sizes and seed that an ensemble's properties are drawn with.
struct Draws<'a> {
    name: &'a str,
    n: usize,
    groups: usize,
    /// Seed, and prefix of the names of drawn properties.
    seed: (u64, &'a str),
}

impl Draws<'_> {
    /// A row for each neuron of all groups. Each group draws separately, since some distributions are evenly spread. Given rows
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

    /// Gains, biases, and intercepts if those were computed from them.
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
            _ => Err(Error::invalid(what, "gain and bias belong together; give it both or none")),
        }
    }
}
