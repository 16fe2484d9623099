//! Firing rates and decoded values of ensembles with the current parameters.

use ndarray::{Array2, Axis, concatenate, s};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::network::{ConnectionId, Kind, ObjectId};
use crate::sim::core::Core;

/// Summary of the steady firing rates of an ensemble's neurons over its evaluation points.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EnsembleRates {
    /// Name of the ensemble.
    pub ensemble: String,
    /// Number of neurons; of an ensemble array, of all its ensembles.
    pub neurons: usize,
    /// Number of neurons that are silent at all points.
    pub silent: usize,
    /// Mean rate in Hz over neurons and points.
    pub mean: f64,
    /// Highest rate in Hz of any neuron at any point.
    pub max: f64,
}

impl Core {
    /// Decoded output of a connection from an ensemble at steady rates, as (points, size_out), without its synapse.
    pub(crate) fn decoded(&mut self, connection: ConnectionId, points: &Array2<f64>) -> Result<Array2<f64>> {
        let pre = self.network.connection_ends(connection)?.0;
        let rates = self.rates(pre, points)?;
        let weights = self.weights(connection)?.mapv(f64::from);
        Ok(rates.dot(&weights.t()))
    }

    /// Steady rates of an ensemble's neurons in Hz, as (points, neurons).
    pub(crate) fn rates(&mut self, ensemble: ObjectId, points: &Array2<f64>) -> Result<Array2<f64>> {
        let encoding = self.network.encoding(ensemble)?.0.clone();
        let name = self.network.name(ensemble).to_string();
        let (d, n) = (encoding.dimensions, encoding.n);
        if points.ncols() != d * encoding.groups {
            let left = format!("ensemble '{name}'");
            let dimensions = |n| format!("{n} dimensions");
            return Err(Error::shape(
                left,
                dimensions(d * encoding.groups),
                "a point",
                dimensions(points.ncols()),
            ));
        }
        let encoders = self.parameter(&format!("{name}/encoders"))?.mapv(f64::from);
        let bias = self.parameter(&format!("{name}/bias"))?.mapv(f64::from);
        let mut groups = Vec::with_capacity(encoding.groups);
        for g in 0..encoding.groups {
            let group_points = points.slice(s![.., g * d..(g + 1) * d]);
            let currents = group_points.dot(&encoders.slice(s![g * n..(g + 1) * n, ..]).t())
                + bias.slice(s![.., g * n..(g + 1) * n]);
            let mut currents = currents.as_standard_layout().to_owned();
            let rates = currents.as_slice_mut().and_then(|j| encoding.neuron_type.rates_in_place(j));
            rates.ok_or_else(|| {
                let kind = encoding.neuron_type.name();
                Error::invalid(format!("ensemble '{name}'"), format!("its {kind} have no rates in Hz"))
            })?;
            groups.push(currents);
        }
        let views: Vec<_> = groups.iter().map(|a| a.view()).collect();
        concatenate(Axis(1), &views).map_err(|e| Error::invalid(name, e.to_string()))
    }

    /// Summary of each ensemble's rates over its evaluation points.
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
