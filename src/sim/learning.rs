//! Weights that learning rules have changed: read, and taken over as parameters.

use ndarray::{Array3, Axis};

use crate::error::{Error, Result};
use crate::sim::core::Core;
use crate::sim::states::{Named, StateKey};

impl Core {
    /// The weights that a connection's learning rule changes (of Voja the encoders), for each example as (minibatch, size_out,
    /// size_in), as the last step of the last run used them. Before a run, and after a reset, the parameter as it is.
    pub(crate) fn learned_weights(&mut self, connection: &str) -> Result<Array3<f32>> {
        let (parameter, places) = self.changed_by(connection)?;
        let base = self.parameter(&parameter)?;
        let (rows, cols) = base.dim();
        let mut all = Array3::zeros((self.minibatch, rows, cols));
        all += &base;
        if let Some(&(buffer, first)) = places.first() {
            let change = self.engine.read(self.shared.at(buffer), first, all.len())?;
            let shaped = Array3::from_shape_vec(all.dim(), change);
            all += &shaped.map_err(|e| Error::invalid(&parameter, e.to_string()))?;
        }
        Ok(all)
    }

    /// Makes what an example has learned the value of the parameter: later runs start from there, and files hold it. Each
    /// example's weights stay as they are.
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

    /// The parameter that a connection's rule changes, and where runs hold the changes: shared buffer and first float.
    fn changed_by(&self, connection: &str) -> Result<(String, Vec<(usize, usize)>)> {
        let rule = self.network.rule(self.network.find_connection(connection)?)?;
        let changed = self.network.place_of(rule.changes)?;
        let runs = self.states.iter().filter(|((key, _), _)| *key == StateKey::Run);
        let place = runs.filter_map(|(_, states)| {
            let of = |n: &&Named| n.what == crate::op::learn::CHANGE && *n.owners[0] == *changed.owner;
            let named = states.named.iter().find(of)?;
            Some((states.current, named.first))
        });
        Ok((changed.parameter, place.collect()))
    }
}
