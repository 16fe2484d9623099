//! Outputs of objects, each built after those that it reads.

use crate::builder::nodes::decoded;
use crate::builder::{Builder, Feed};
use crate::error::{Error, Result, guarded};
use crate::expr::Unary;
use crate::graph::{Extent, Tensor, Type};
use crate::network::{self, Activation, Bound, Kind, ObjectId, Weights};
use crate::neuron::Spiking;
use crate::op;
use crate::op::neurons::Setting;

/// Recursion depth beyond which an object's inputs are built first, in a loop.
const MAX_RECURSION: usize = 64;

impl<'s> Builder<'_, 's> {
    /// The output of an object, built on first use.
    pub(super) fn output(&mut self, id: ObjectId) -> Result<Tensor<'s>> {
        if let Some(output) = self.outputs[id.0] {
            return Ok(output);
        }
        if let Kind::Ensemble(_, neurons) = self.network.object(id)?.kind {
            return self.output(neurons);
        }
        if self.path.len() >= MAX_RECURSION {
            self.before(id)?;
        }
        self.enter(id)?;
        let object = self.network.object(id)?.clone();
        let output = match &object.kind {
            Kind::Node(node) => self.node(id, node)?,
            Kind::Layer(layer) => {
                let x = self.input(id, object.size_in)?;
                self.scope.set_owner(&object.name);
                self.layer(id, &object.name, layer, x)?
            }
            Kind::Neurons => {
                let x = self.input(id, object.size_in)?;
                self.scope.set_owner(&object.name);
                let parameter = |suffix: &str| self.parameter(&format!("{}/{suffix}", object.name));
                let current = x * parameter("gain")? + parameter("bias")?;
                self.inputs[id.0] = Some(current);
                self.neurons(id, current)?
            }
            Kind::Ensemble(_, neurons) => self.output(*neurons)?,
            Kind::EnsembleNeurons(ensemble) => {
                let current = self.ensemble_current(*ensemble, id)?;
                self.neurons(id, current)?
            }
            Kind::Decoded(ensemble, sizes) => {
                let activities = self.output(*ensemble)?;
                self.scope.set_owner(&object.name);
                decoded(activities, self.parameter(&format!("{}/decoders", object.name))?, sizes)
            }
            Kind::Tensor(node) => {
                let x = self.input(id, object.size_in)?;
                self.scope.set_owner(&object.name);
                let ty = Type::sequence(1);
                let t = self.shared_feed(Feed::Time, ty);
                let prefix = format!("{}/", object.name);
                let own = self.owned.get(object.name.as_str()).into_iter().flatten();
                let own =
                    own.map(|&i| (self.network.parameters[i].name.clone(), self.parameters[i])).collect();
                let bound = Bound { scope: self.scope, prefix, values: own };
                let y = guarded(&format!("the tensor node '{}'", object.name), || node.call(t, x, &bound))?;
                if y.ty().cols == object.size_out {
                    y
                } else {
                    // An error inside the call came first, and is more helpful.
                    let left = format!("the declared output of '{}'", object.name);
                    self.scope.fail(Error::shape(left, object.size_out, "what its call gives", y.ty()));
                    self.scope.constant(0.0).expand(Type::fixed(1, object.size_out))
                }
            }
        };
        self.leave();
        self.outputs[id.0] = Some(output);
        Ok(output)
    }

    /// Marks an object as being built; an object that is open already closes a cycle.
    fn enter(&mut self, id: ObjectId) -> Result<()> {
        let open = &mut self.open[id.0];
        if !std::mem::replace(open, true) {
            self.path.push(id);
            return Ok(());
        }
        let start = self.path.iter().position(|&o| o == id).unwrap_or_default();
        let cycle = self.path[start..].iter().chain([&id]);
        // Inputs were followed, so the path runs against the cycle's direction.
        let mut objects: Vec<String> = cycle.map(|o| self.network.name(self.owner(*o)).to_string()).collect();
        objects.reverse();
        Err(Error::CycleWithoutDelay { objects })
    }

    /// Marks the last object as built.
    fn leave(&mut self) {
        if let Some(id) = self.path.pop() {
            self.open[id.0] = false;
        }
    }

    /// Builds the inputs of an object and their inputs, the farthest first, since long chains would overflow the stack.
    fn before(&mut self, id: ObjectId) -> Result<()> {
        self.enter(id)?;
        let mut stack = vec![(id, self.reads(id))];
        while let Some((object, reads)) = stack.last_mut() {
            if let Some(next) = reads.pop() {
                if self.outputs[next.0].is_none() {
                    self.enter(next)?;
                    stack.push((next, self.reads(next)));
                }
                continue;
            }
            let object = *object;
            stack.pop();
            self.leave();
            if !stack.is_empty() {
                self.output(object)?;
            }
        }
        Ok(())
    }

    /// The objects whose output of the same step an object's output depends on, the last first.
    fn reads(&self, id: ObjectId) -> Vec<ObjectId> {
        let mut reads = Vec::new();
        let mut ends = vec![id];
        match self.network.objects[id.0].kind {
            Kind::EnsembleNeurons(ensemble) => ends.insert(0, ensemble),
            Kind::Decoded(ensemble, _) => reads.push(ensemble),
            _ => {}
        }
        let links = ends.iter().flat_map(|end| &self.into[end.0]);
        reads.extend(links.filter(|i| self.filtered[**i].is_none()).map(|i| self.network.links[*i].pre));
        let neurons = |id: ObjectId| match self.network.objects[id.0].kind {
            Kind::Ensemble(_, neurons) => neurons,
            _ => id,
        };
        reads.into_iter().map(neurons).rev().collect()
    }

    /// The object known to the user: for the neurons of an ensemble, the ensemble.
    fn owner(&self, id: ObjectId) -> ObjectId {
        match self.network.object(id) {
            Ok(network::Object { kind: Kind::EnsembleNeurons(ensemble), .. }) => *ensemble,
            _ => id,
        }
    }

    /// The current of an ensemble's neurons: encoded input, bias, input to the neurons times their gain, and direct additions.
    fn ensemble_current(&mut self, ensemble: ObjectId, neurons: ObjectId) -> Result<Tensor<'s>> {
        let network = self.network;
        let (name, encoding) = (network.name(ensemble), network.encoding(ensemble)?.0);
        let (size, n) = (encoding.groups * encoding.dimensions, encoding.gain.len());
        let mut parts = Vec::new();
        if !self.into[ensemble.0].is_empty() {
            let x = self.input(ensemble, size)?;
            self.scope.set_owner(name);
            let learned = self.learned(Weights::Encoders(ensemble), x)?;
            self.scope.set_owner(name);
            parts.push(match learned {
                Some(product) => product,
                None => x.dot_groups(self.parameter(&format!("{name}/encoders"))?, encoding.groups),
            });
        } else {
            self.inputs[ensemble.0] = Some(self.scope.constant(0.0).expand(Type::fixed(1, size)));
        }
        let to_neurons = self.incoming(neurons, n, |l| !l.onto_current)?;
        if !to_neurons.is_empty() {
            self.scope.set_owner(name);
            parts.push(self.scope.sum(&to_neurons) * self.parameter(&format!("{}/gain", name))?);
        }
        parts.extend(self.incoming(neurons, n, |l| l.onto_current)?);
        self.scope.set_owner(name);
        parts.push(self.parameter(&format!("{}/bias", name))?);
        let current = self.scope.sum(&parts);
        self.inputs[neurons.0] = Some(current);
        Ok(current)
    }

    /// The output of an object's neurons for a current.
    fn neurons(&mut self, id: ObjectId, current: Tensor<'s>) -> Result<Tensor<'s>> {
        self.currents[id.0] = Some(current);
        self.fire(id, current, self.settings.training.then_some(self.settings.spiking))
    }

    pub(super) fn fire(
        &mut self,
        id: ObjectId,
        current: Tensor<'s>,
        training: Option<Spiking>,
    ) -> Result<Tensor<'s>> {
        let network = self.network;
        let object = network.object(id)?;
        let Some(population) = &object.population else { return Ok(current) };
        let dt = self.settings.dt;
        population.neuron_type.check_dt(&format!("'{}'", object.name), dt)?;
        self.scope.set_owner(&object.name);
        // At least one row per example, since examples do not share states.
        let current = if current.ty().extent == Extent::Fixed {
            current.expand(Type::example(current.ty().cols))
        } else {
            current
        };
        let current = if population.scale == 1.0 { current } else { current.scale(population.scale) };
        // Rates that replace spikes do not use the random numbers; the planner drops them.
        let random = population.neuron_type.is_random().then(|| {
            let clock = self.shared_feed(Feed::Clock(id), Type::fixed(1, op::noise::CLOCK));
            let draws = op::Noise { cols: object.size_out, normal: false, offset: 0.0, factor: 1.0 };
            self.scope.apply(draws, &[clock])
        });
        let setting = Setting { dt, training, states: &population.states, random };
        Ok(population.neuron_type.output(current, &setting))
    }

    fn layer(
        &mut self,
        id: ObjectId,
        name: &str,
        layer: &crate::network::Layer,
        x: Tensor<'s>,
    ) -> Result<Tensor<'s>> {
        let parameter = |suffix: &str| self.parameter(&format!("{name}/{suffix}"));
        let mut y = x;
        if layer.units.is_some() {
            y = y.dot(parameter("weights")?);
            if layer.bias {
                y = y + parameter("bias")?;
            }
        }
        if layer.neurons.is_some() {
            y = self.neurons(id, y)?;
        }
        y = match layer.activation {
            Activation::Softmax => y.softmax(),
            other => match other.function() {
                None | Some(Unary::Identity) => y,
                Some(f) => y.unary(f),
            },
        };
        if layer.dropout > 0.0 && self.settings.training {
            // Each example and step needs its own mask.
            let rows = if y.ty().extent == Extent::Fixed { y.expand(Type::example(y.ty().cols)) } else { y };
            let random = self.shared_feed(Feed::Random, Type::fixed(1, 4));
            y = rows.dropout(layer.dropout, random);
        }
        Ok(y)
    }
}
