//! Weights that learning rules have changed: read, and adopted as parameters.

use ndarray::{Array3, Axis};

use crate::error::{Error, Result};
use crate::sim::core::Core;
use crate::sim::states::{Named, StateKey};

impl Core {
    /// Weights that a connection's learning rule has changed, as (minibatch, size_out, size_in).
    pub(crate) fn learned_weights(&mut self, connection: &str) -> Result<Array3<f32>> {
        let (parameter, places) = self.changed_by(connection)?;
        let base = self.parameter(&parameter)?;
        let (rows, cols) = base.dim();
        let mut weights = Array3::zeros((self.minibatch, rows, cols));
        weights += &base;
        if let Some(&(buffer, first)) = places.first() {
            let change = self.engine.read(self.shared.at(buffer), first, weights.len())?;
            let shaped = Array3::from_shape_vec(weights.dim(), change);
            weights += &shaped.map_err(|e| Error::invalid(&parameter, e.to_string()))?;
        }
        Ok(weights)
    }

    /// Sets the parameter to one example's learned weights. The learned weights of each example are unchanged.
    pub(crate) fn adopt_weights(&mut self, connection: &str, example: usize) -> Result<()> {
        if example >= self.minibatch {
            let problem = format!("it is {example}, but the minibatch has {}", self.minibatch);
            return Err(Error::invalid("the example whose weights are adopted", problem));
        }
        let (parameter, places) = self.changed_by(connection)?;
        let learned = self.learned_weights(connection)?.index_axis_move(Axis(0), example);
        self.set_parameter(&parameter, &learned)?;
        let n = learned.len();
        for (buffer, first) in places {
            let buffer = self.shared.at(buffer);
            let mut changes = self.engine.read(buffer, first, self.minibatch * n)?;
            let shared = changes[example * n..(example + 1) * n].to_vec();
            for own in changes.chunks_exact_mut(n) {
                own.iter_mut().zip(&shared).for_each(|(own, shared)| *own -= shared);
            }
            self.engine.write(buffer, first, &changes)?;
        }
        Ok(())
    }

    /// The parameter that a connection's rule changes, and the places of the changes in runs: shared buffer and first float.
    fn changed_by(&self, connection: &str) -> Result<(String, Vec<(usize, usize)>)> {
        let rule = self.network.rule(self.network.find_connection(connection)?)?;
        let changed = self.network.place_of(rule.changes)?;
        let runs = self.states.iter().filter(|((key, _), _)| *key == StateKey::Run);
        let place = runs.filter_map(|(_, states)| {
            let is_change = |n: &&Named| n.what == crate::op::learn::CHANGE && *n.owners[0] == *changed.owner;
            let named = states.named.iter().find(is_change)?;
            Some((states.current, named.first))
        });
        Ok((changed.parameter, place.collect()))
    }
}
