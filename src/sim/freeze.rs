//! What a simulator has learnt, as a network, as weights, as decoded values and as rates.

use ndarray::{Array2, Axis, concatenate, s};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::network::{ConnectionId, Kind, Network, ObjectId};
use crate::sim::core::Core;

/// Steady rates of an ensemble's neurons over its evaluation points.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EnsembleRates {
    /// The ensemble.
    pub ensemble: String,
    /// Neurons, of an array those of all its ensembles.
    pub neurons: usize,
    /// Neurons that are silent at all points.
    pub silent: usize,
    /// Mean rate in Hz over neurons and points.
    pub mean: f64,
    /// Highest rate in Hz.
    pub max: f64,
}

impl Core {
    /// The network with all parameters as they are now in place of how they started: nothing is solved for or drawn again.
    pub(crate) fn freeze(&mut self) -> Result<Network> {
        let names: Vec<String> = self.network.parameters.iter().map(|p| p.name.clone()).collect();
        let values = names.iter().map(|n| self.parameter(n)).collect::<Result<Vec<_>>>()?;
        let mut network = self.network.clone();
        network.set_starts(values);
        Ok(network)
    }

    /// The weights of a connection as they are now: size_out × size_in, from an ensemble size_out × neurons.
    pub(crate) fn weights(&mut self, connection: ConnectionId) -> Result<Array2<f32>> {
        let name = format!("{}/weights", self.network.connection_name(connection)?);
        self.parameter(&name)
    }

    /// What a connection from an ensemble makes of each of these points (points × the ensemble's dimensions) when its neurons
    /// fire at their steady rates, with the parameters as they are now: points × size_out, without its synapse.
    pub(crate) fn decoded(&mut self, connection: ConnectionId, points: &Array2<f64>) -> Result<Array2<f64>> {
        let pre = self.network.connection_ends(connection)?.0;
        let rates = self.rates(pre, points)?;
        let weights = self.weights(connection)?.mapv(f64::from);
        Ok(rates.dot(&weights.t()))
    }

    /// Steady rates in Hz of an ensemble's neurons at these points (points × its dimensions), with encoders and biases as they
    /// are now: points × neurons.
    pub(crate) fn rates(&mut self, ensemble: ObjectId, points: &Array2<f64>) -> Result<Array2<f64>> {
        let encoding = self.network.encoding(ensemble)?.0.clone();
        let name = self.network.name(ensemble).to_string();
        let (d, n) = (encoding.dimensions, encoding.n);
        if points.ncols() != d * encoding.groups {
            let left = format!("ensemble '{name}'");
            let of = |n| format!("{n} dimensions");
            return Err(Error::shape(left, of(d * encoding.groups), "a point", of(points.ncols())));
        }
        let encoders = self.parameter(&format!("{name}/encoders"))?.mapv(f64::from);
        let bias = self.parameter(&format!("{name}/bias"))?.mapv(f64::from);
        let mut all = Vec::with_capacity(encoding.groups);
        for g in 0..encoding.groups {
            let own = points.slice(s![.., g * d..(g + 1) * d]);
            let currents = own.dot(&encoders.slice(s![g * n..(g + 1) * n, ..]).t())
                + bias.slice(s![.., g * n..(g + 1) * n]);
            let mut currents = currents.as_standard_layout().to_owned();
            let rates = currents.as_slice_mut().and_then(|j| encoding.neuron_type.rates_in_place(j));
            rates.ok_or_else(|| {
                let kind = encoding.neuron_type.name();
                Error::invalid(format!("ensemble '{name}'"), format!("its {kind} know no rates in Hz"))
            })?;
            all.push(currents);
        }
        let views: Vec<_> = all.iter().map(|a| a.view()).collect();
        concatenate(Axis(1), &views).map_err(|e| Error::invalid(name, e.to_string()))
    }

    /// How strongly each ensemble fires over its evaluation points, with encoders and biases as they are now.
    pub(crate) fn rates_report(&mut self) -> Result<Vec<EnsembleRates>> {
        let ensembles: Vec<ObjectId> = (0..self.network.objects.len())
            .map(ObjectId)
            .filter(|id| matches!(self.network.objects[id.0].kind, Kind::Ensemble(..)))
            .collect();
        let mut report = Vec::with_capacity(ensembles.len());
        for id in ensembles {
            let encoding = self.network.encoding(id)?.0.clone();
            let name = self.network.name(id).to_string();
            let groups = (0..encoding.groups).map(|g| encoding.points(&name, g, None, true));
            let points = groups.collect::<Result<Vec<_>>>()?;
            let views: Vec<_> = points.iter().map(|p| p.view()).collect();
            let points =
                concatenate(Axis(1), &views).map_err(|e| Error::invalid(name.clone(), e.to_string()))?;
            let rates = self.rates(id, &points)?;
            let silent = rates.columns().into_iter().filter(|c| c.iter().all(|r| *r == 0.0)).count();
            report.push(EnsembleRates {
                ensemble: name,
                neurons: rates.ncols(),
                silent,
                mean: rates.mean().unwrap_or(0.0),
                max: rates.iter().fold(0.0, |a, r| a.max(*r)),
            });
        }
        Ok(report)
    }
}
