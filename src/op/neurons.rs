//! Neurons as operators: elementwise where they have no state, scans where they have one.

use crate::expr::Surrogate;
use crate::graph::{State, Tensor};
use crate::neuron::{Derivative, NeuronType, Spiking};
use crate::op::map::Map;
use crate::op::scan::{Emits, Scan};

/// Settings of [`NeuronType::output`].
#[derive(Clone, Copy)]
pub struct Setting<'a, 's> {
    /// Length of a step in seconds.
    pub dt: f64,
    /// Derivative of spikes in training; `None` in runs.
    pub training: Option<Spiking>,
    /// The type's states as they start, in its order.
    pub states: &'a [State],
    /// For types that [draw](NeuronType::is_random), a number uniform in 0 … 1 for each output.
    pub random: Option<Tensor<'s>>,
}

impl NeuronType {
    /// The output for the current `j`, in the same step. Of the operator that makes it, the states are the type's, unless
    /// rates have taken the place of spikes.
    pub fn output<'s>(&self, j: Tensor<'s>, at: &Setting<'_, 's>) -> Tensor<'s> {
        let smoothing = match at.training {
            Some(Spiking::RateSwap) => Some(None),
            Some(Spiking::SmoothRateSwap(sigma)) => Some(Some(sigma)),
            _ => None,
        };
        if let Some((rate, factor)) = smoothing.filter(|_| !self.is_rate()).and_then(|s| self.rate_type(s)) {
            let wanted: Vec<&str> = rate.states().iter().map(|s| s.0).collect();
            let states: Vec<State> = at.states.iter().filter(|s| wanted.contains(&s.name)).cloned().collect();
            let out = rate.output(j, &Setting { training: None, states: &states, random: None, dt: at.dt });
            return if factor == 1.0 { out } else { out.scale(factor as f32) };
        }
        let (derivative, trained) = match at.training {
            Some(Spiking::Surrogate(surrogate)) => (Derivative::Threshold(surrogate.bump()), true),
            Some(Spiking::RateGradient(sigma)) => (Derivative::Rate(sigma), self.rate_type(None).is_some()),
            _ => (Derivative::Threshold(Surrogate::StraightThrough.bump()), self.is_rate()),
        };
        let step = self.step(at.dt, derivative);
        if at.states.is_empty()
            && self.is_rate()
            && let Some(expr) = step.expression()
        {
            return j.scope.apply(Map::new(expr.clone()), &[j]);
        }
        let step = if trained { step } else { step.without_gradient() };
        let scan = Scan {
            name: self.name(),
            step,
            states: at.states.to_vec(),
            emits: Emits::Result,
            linear: false,
            backward: false,
        };
        let inputs: Vec<Tensor<'s>> = std::iter::once(j).chain(at.random).collect();
        // Each neuron has its own state, also where all get the same current.
        j.scope.apply(scan, &inputs)
    }
}
