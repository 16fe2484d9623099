//! Warnings about settings of a training without effect.

use crate::network::Network;
use crate::neuron::{NeuronType, Spiking};
use crate::trainer::{Optimiser, Over, Training};

impl Training {
    /// Warnings about settings without effect for any data.
    pub(crate) fn idle_settings(&self, network: &Network) -> Vec<String> {
        let mut notes = Vec::new();
        if self.schedule.rate == 0.0 {
            notes.push("the learning rate is 0, so nothing is learned".to_string());
        }
        if matches!(self.optimiser, Optimiser::Sgd { momentum: 0.0, nesterov: true }) {
            notes.push("nesterov has no effect: the momentum is 0".into());
        }
        for term in self.objective.terms.iter().filter(|t| t.weight == 0.0) {
            notes.push(format!("the loss on probe '{}' has no effect: its weight is 0", term.probe));
        }
        let types = network.objects.iter().filter_map(|o| o.population.as_ref().map(|p| &p.neuron_type));
        let spiking: Vec<&NeuronType> = types.filter(|t| !t.is_rate()).collect();
        let (name, affected, whom) = match self.spiking {
            Spiking::RateSwap => return notes,
            Spiking::SmoothRateSwap(width) => {
                let affected = |t: &NeuronType| t.rate_type(Some(width)) != t.rate_type(None);
                ("smooth-rate-swap", spiking.iter().any(|t| affected(t)), "spiking LIF neurons")
            }
            Spiking::Surrogate(_) => ("surrogate", !spiking.is_empty(), "spiking neurons"),
            Spiking::RateGradient(_) => {
                let affected = |t: &NeuronType| t.rate_type(None).is_some();
                ("soft-lif", spiking.iter().any(|t| affected(t)), "spiking neurons that have a rate")
            }
        };
        if !affected {
            notes.push(format!("spiking = \"{name}\" has no effect: the network has no {whom}"));
        }
        notes
    }

    /// Warnings about settings without effect in runs of `steps` steps.
    pub(crate) fn idle_in_runs(&self, steps: usize) -> Vec<String> {
        let mut notes = Vec::new();
        for term in self.objective.terms.iter().filter(|t| steps == 1 && t.over != Over::Every) {
            let (what, probe) = (term.over.name(), &term.probe);
            notes.push(format!(
                "over = \"{what}\" of the loss on probe '{probe}' has no effect: a run is one step"
            ));
        }
        if let Some(backprop) = self.backprop.filter(|b| b.window(steps) == steps)
            && let Some(name) = backprop.in_windows()
        {
            let run = if steps == 1 { "one step".into() } else { format!("{steps} steps") };
            notes.push(format!(
                "backprop = \"{name}\" has no effect: a run is {run}, and fits into one window"
            ));
        }
        notes
    }
}
