//! Conversion of a network trained with rates to spiking neurons.

use crate::error::{Error, Result};
use crate::network::{Activation, Kind, Network, ObjectId, Population, Synapse, Target};
use crate::neuron::{FromRates, Lif, NeuronType, RectifiedLinear};

/// Options for [`Network::convert_to_spikes`].
#[derive(Clone, Debug, PartialEq)]
pub struct ToSpikes {
    /// Replace (leaky) ReLU layers and rate neurons by the type that spikes at those rates; true by default. If false, only
    /// types that already spike are changed.
    pub swap: bool,
    /// Factor on the neurons' currents; spike amplitudes are divided by it. Larger values give more spikes for the same output.
    /// Above 0; 1 by default. Values are unchanged only where the rate is proportional to the current, as with a ReLU.
    pub scale: f64,
    /// Filter for connections from such neurons, and for probes of their output, that have no filter of their own; none by
    /// default.
    pub synapse: Option<Synapse>,
}

impl Default for ToSpikes {
    fn default() -> Self {
        Self { swap: true, scale: 1.0, synapse: None }
    }
}

impl Network {
    /// Makes the neurons of layers and populations spike, as NengoDL's converter does.
    ///
    /// Ensembles stay as they are, since their decoders depend on their rates. Parameters keep their names and values, so
    /// parameters trained with rates can be loaded. Returns warnings about neurons that could not be converted faithfully.
    ///
    /// # Errors
    /// A scale that is not above 0; a network in which no layer or population spikes; neurons without an amplitude.
    pub fn convert_to_spikes(&mut self, how: &ToSpikes) -> Result<Vec<String>> {
        if !(how.scale.is_finite() && how.scale > 0.0) {
            let problem = format!("it is {}, but must be a number above 0", how.scale);
            return Err(Error::invalid("the scale of firing rates", problem));
        }
        if let Some(synapse) = &how.synapse {
            synapse.check("the filter of spikes")?;
        }
        let (mut remarks, mut spiking) = (Vec::new(), Vec::new());
        for id in (0..self.objects.len()).map(ObjectId) {
            if how.swap {
                remarks.extend(self.swap_for_spikes(id)?);
            }
            let object = &mut self.objects[id.0];
            let Some(population) = &mut object.population else { continue };
            if population.neuron_type.is_rate() || matches!(object.kind, Kind::EnsembleNeurons(_)) {
                continue;
            }
            if how.scale != 1.0 {
                let Some(proportional) = divide_amplitude(&mut population.neuron_type, how.scale) else {
                    let problem = format!(
                        "{} have no amplitude, so their rates cannot be scaled",
                        population.neuron_type.name()
                    );
                    return Err(Error::invalid(format!("'{}'", object.name), problem));
                };
                if !proportional {
                    remarks.push(format!(
                        "the rates of '{}' are not proportional to its current: scaling changes the values",
                        object.name
                    ));
                }
                population.scale *= how.scale as f32;
            }
            spiking.push(id);
        }
        if spiking.is_empty() {
            let problem =
                "none of its layers and populations spikes, so there are no firing rates to scale or filter";
            return Err(Error::invalid("the network", problem));
        }
        if let Some(synapse) = &how.synapse {
            self.filter_spikes(&spiking, synapse);
        }
        Ok(remarks)
    }

    /// Replaces an object's neurons by the type that spikes at its rates; returns a warning if there is none.
    fn swap_for_spikes(&mut self, id: ObjectId) -> Result<Option<String>> {
        let seed = self.seed;
        let object = &mut self.objects[id.0];
        let swapped = match (&mut object.kind, &object.population) {
            (Kind::EnsembleNeurons(_), _) => return Ok(None),
            (_, Some(population)) if !population.neuron_type.is_rate() => return Ok(None),
            (_, Some(population)) => spiking(&population.neuron_type),
            (Kind::Layer(layer), None) => {
                let swapped = match layer.activation {
                    Activation::Identity | Activation::Softmax => return Ok(None),
                    Activation::Relu => Some(NeuronType::SpikingRectifiedLinear(RectifiedLinear::default())),
                    Activation::LeakyRelu(slope) => {
                        Some(NeuronType::SpikingLeakyRelu(crate::neuron::LeakyRelu {
                            slope: f64::from(slope),
                            ..Default::default()
                        }))
                    }
                    _ => None,
                };
                if swapped.is_some() {
                    (layer.activation, layer.neurons) = (Activation::Identity, swapped.clone());
                }
                swapped
            }
            _ => return Ok(None),
        };
        let Some(swapped) = swapped else {
            return Ok(Some(format!("'{}' has no spiking type: it keeps its rates", object.name)));
        };
        object.population = Some(Population::new(&object.name, object.size_out, &swapped, &[], seed)?);
        Ok(None)
    }

    fn filter_spikes(&mut self, of: &[ObjectId], synapse: &Synapse) {
        for link in self.links.iter_mut().filter(|link| of.contains(&link.pre)) {
            link.spec.synapse.get_or_insert_with(|| synapse.clone());
        }
        for probe in &mut self.probes {
            if let Target::Output(object, filter) = &mut probe.target
                && of.contains(object)
            {
                filter.get_or_insert_with(|| synapse.clone());
            }
        }
    }
}

/// The type that spikes at the rates of `rate`, if there is one.
fn spiking(rate: &NeuronType) -> Option<NeuronType> {
    Some(match rate {
        NeuronType::RectifiedLinear(p) => NeuronType::SpikingRectifiedLinear(*p),
        NeuronType::LeakyRelu(p) => NeuronType::SpikingLeakyRelu(*p),
        NeuronType::LifRate(p) => {
            Lif { tau_rc: p.tau_rc, tau_ref: p.tau_ref, amplitude: p.amplitude, ..Lif::default() }.into()
        }
        NeuronType::Sigmoid(_) => NeuronType::regular_spiking(rate.clone()),
        _ => return None,
    })
}

/// Divides the amplitude of spikes. Returns whether the rate is proportional to the current, or `None` for types without
/// an amplitude.
fn divide_amplitude(neurons: &mut NeuronType, by: f64) -> Option<bool> {
    match neurons {
        NeuronType::SpikingRectifiedLinear(p) => p.amplitude /= by,
        NeuronType::SpikingLeakyRelu(p) => p.amplitude /= by,
        NeuronType::RegularSpiking(FromRates { base, amplitude })
        | NeuronType::StochasticSpiking(FromRates { base, amplitude })
        | NeuronType::PoissonSpiking(FromRates { base, amplitude }) => {
            *amplitude /= by;
            return Some(matches!(**base, NeuronType::RectifiedLinear(_) | NeuronType::LeakyRelu(_)));
        }
        NeuronType::Lif(p) => {
            p.amplitude /= by;
            return Some(false);
        }
        NeuronType::AdaptiveLif(p) => {
            p.amplitude /= by;
            return Some(false);
        }
        _ => return None,
    }
    Some(true)
}
