//! Network → graph: each object becomes operators on values, each connection an input of a sum.

pub mod gradient;
mod learn;
mod nodes;

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::graph::{Dims, Extent, Scope, Source, Tensor, Type};
use crate::network::{
    self, Activation, Bound, Columns, Kind, Network, ObjectId, Product, Slice, Target, Weights,
};
use crate::op::filter::filter;
use crate::op::neuron::{Setting, Spiking};
use crate::op::{self, Unary};
use nodes::decoded;

/// What is uploaded into a feed before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feed {
    /// Four words: the seed, the training step, and the first time step of the window.
    Random,
    /// The part of the run's steps that the window is: one number.
    Share,
    /// 1 in the run's last window, 0 in the others: one number.
    Ends,
    /// Time in seconds of each step.
    Time,
    /// Key, first step and first example of a noise: five words.
    Clock(ObjectId),
    /// The output of a node.
    Node(ObjectId),
    /// Steps done modulo so many: how long ago the last row of probes was that record a row in so many steps.
    Phase(usize),
    /// The target of a probe, by its number.
    Target(usize),
    /// The targets of a probe that samples, by its number: a row for each step, NaN at those that it does not record, or at all
    /// but the last that it does.
    Spread(usize, bool),
    /// 1 at the steps that a probe records that records one in this number, 0 at the others.
    Recorded(usize),
    /// What the mean over all targets is multiplied by to be that over those that count: one number.
    Counted(Counted),
}

/// Which of a probe's targets a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counted {
    /// The probe, by its number.
    pub probe: usize,
    /// Of the run the last row alone.
    pub last: bool,
    /// A row counts as one, and counts if one of its targets does.
    pub by_row: bool,
    /// They are spread over the steps of the run, see [`Feed::Spread`].
    pub spread: bool,
}

/// What a graph is built for.
pub struct Settings<'a> {
    /// Examples and steps.
    pub dims: Dims,
    /// Length of a step in seconds.
    pub dt: f64,
    /// Dropout is active, and spikes are trained through.
    pub training: bool,
    /// How spikes are trained through.
    pub spiking: Spiking,
    /// Whether an input node's data are held for the run (one row an example) or have a row for each step.
    pub held: &'a dyn Fn(ObjectId) -> bool,
}

/// A network's values in a [`Scope`].
pub struct Built<'s> {
    /// Its parameters in order.
    pub parameters: Vec<Tensor<'s>>,
    /// Its probes in order.
    pub probes: Vec<Tensor<'s>>,
    /// What each of the graph's feeds holds.
    pub feeds: Vec<Feed>,
    /// What nodes on the host give: they are called also where nothing reads it.
    pub callbacks: Vec<Tensor<'s>>,
    /// Products with weights that learning rules change: they learn also where nothing reads them.
    pub learned: Vec<Tensor<'s>>,
}

/// Builds a network into a scope.
///
/// # Errors
/// A cycle without a delay, or a tensor node that does not fit.
pub fn build<'s>(network: &Network, scope: &'s Scope, settings: &Settings<'_>) -> Result<Built<'s>> {
    let parameters: Vec<Tensor<'s>> = network
        .parameters
        .iter()
        .enumerate()
        .map(|(i, p)| scope.source(Type::fixed(p.rows, p.cols), Source::Parameter(i)))
        .collect();
    let mut builder = Builder {
        network,
        scope,
        settings,
        parameters,
        outputs: vec![None; network.objects.len()],
        inputs: vec![None; network.objects.len()],
        currents: vec![None; network.objects.len()],
        path: Vec::new(),
        open: vec![false; network.objects.len()],
        into: vec![Vec::new(); network.objects.len()],
        owned: HashMap::new(),
        shared: HashMap::new(),
        changing: HashMap::new(),
        filtered: vec![None; network.links.len()],
        feeds: Vec::new(),
        callbacks: Vec::new(),
        rules: learn::open(network, scope, settings.dt)?,
    };
    for (i, link) in network.links.iter().enumerate() {
        builder.into[link.post.0].push(i);
    }
    for (i, parameter) in network.parameters.iter().enumerate() {
        let owner = parameter.name.split_once('/').map_or("", |(owner, _)| owner);
        builder.owned.entry(owner).or_default().push(i);
    }
    for (r, learning) in builder.rules.iter().enumerate() {
        builder.changing.entry(learning.changes()).or_insert(r);
    }
    // What comes through a filter comes from the step before, so cycles of objects end there.
    for (i, link) in network.links.iter().enumerate() {
        if let Some(synapse) = &link.spec.synapse {
            scope.set_owner(&link.name);
            let synapse = synapse.discretise(&format!("connection '{}'", link.name), settings.dt)?;
            let filter = scope.open(Arc::new(filter(&synapse, true)), Type::sequence(link.put.1));
            builder.filtered[i] = Some(filter);
        }
    }
    // Objects that no probe needs are built too, so that a mistake in them is found; the planner drops them.
    for object in 0..network.objects.len() {
        builder.output(ObjectId(object))?;
    }
    let mut probes = Vec::with_capacity(network.probes.len());
    for probe in &network.probes {
        let value = builder.probe(&probe.name, &probe.target)?;
        probes.push(builder.sliced(probe, value)?);
    }
    for (i, link) in network.links.iter().enumerate() {
        if let Some(filter) = builder.filtered[i] {
            let input = builder.transformed(i)?;
            scope.set_owner(&link.name);
            scope.close(filter, input);
        }
    }
    builder.close_rules()?;
    let Builder { parameters, feeds, callbacks, rules, .. } = builder;
    let learned = rules.iter().filter_map(|r| r.product).collect();
    Ok(Built { parameters, probes, feeds, callbacks, learned })
}

/// Calls what the user wrote; a panic there becomes an error.
pub(crate) fn guarded<R>(what: &str, f: impl FnOnce() -> R) -> Result<R> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(|cause| Error::Callback {
        what: what.to_string(),
        problem: crate::engine::cpu::panic_text(&*cause).to_string(),
    })
}

/// So many objects may wait for each other before those that they read are built first.
const DEEP: usize = 64;

struct Builder<'a, 's> {
    network: &'a Network,
    scope: &'s Scope,
    settings: &'a Settings<'a>,
    parameters: Vec<Tensor<'s>>,
    outputs: Vec<Option<Tensor<'s>>>,
    /// What comes into an object; of neurons their current.
    inputs: Vec<Option<Tensor<'s>>>,
    /// Currents of an object's neurons.
    currents: Vec<Option<Tensor<'s>>>,
    /// Objects whose output is being built: meeting one again closes a cycle.
    path: Vec<ObjectId>,
    /// Whether an object is among them.
    open: Vec<bool>,
    /// The connections into each object.
    into: Vec<Vec<usize>>,
    /// The parameters of each object, by its name.
    owned: HashMap<&'a str, Vec<usize>>,
    /// Feeds that several operators read.
    shared: HashMap<Feed, Tensor<'s>>,
    /// The rules that change weights.
    changing: HashMap<Weights, usize>,
    filtered: Vec<Option<Tensor<'s>>>,
    feeds: Vec<Feed>,
    callbacks: Vec<Tensor<'s>>,
    rules: Vec<learn::Learning<'s>>,
}

impl<'s> Builder<'_, 's> {
    fn parameter(&self, name: &str) -> Result<Tensor<'s>> {
        Ok(self.parameters[self.network.parameter_index(name)?])
    }

    fn feed(&mut self, feed: Feed, ty: Type) -> Tensor<'s> {
        self.feeds.push(feed);
        self.scope.source(ty, Source::Feed(self.feeds.len() - 1))
    }

    /// The feed if it is there already, else a new one.
    fn shared_feed(&mut self, feed: Feed, ty: Type) -> Tensor<'s> {
        if let Some(&known) = self.shared.get(&feed) {
            return known;
        }
        let new = self.feed(feed, ty);
        self.shared.insert(feed, new);
        new
    }

    fn probe(&mut self, name: &str, target: &Target) -> Result<Tensor<'s>> {
        let parameter = |network: &Network, p: &str| network.parameter_index(p);
        Ok(match target {
            Target::Parameter(p) => self.parameters[parameter(self.network, p)?],
            Target::Norm(p) => {
                let tensor = self.parameters[parameter(self.network, p)?];
                self.scope.set_owner(name);
                tensor.norm()
            }
            Target::Input(object) => {
                self.output(*object)?;
                let zero = || self.scope.constant(0.0);
                self.inputs[object.0].unwrap_or_else(zero)
            }
            Target::State(object, state) => {
                let output = self.output(*object)?;
                let of = self.network.object(*object)?;
                let at = of.population.as_ref().map(|p| p.state(&of.name, state)).transpose()?;
                let (index, current) = (at.unwrap_or_default(), self.currents[object.0]);
                // In training the neurons may be others: those of a run give the state.
                match current.filter(|_| self.settings.training) {
                    Some(current) => self.fire(*object, current, None)?.state(index, true),
                    None => output.state(index, true),
                }
            }
            Target::Rule(connection, signal) => self.rule_signal(connection.0, signal)?,
            Target::Output(object, synapse) => {
                let output = self.output(*object)?;
                self.scope.set_owner(name);
                match synapse {
                    None => output,
                    Some(synapse) => {
                        let synapse = synapse.discretise(&format!("probe '{name}'"), self.settings.dt)?;
                        output.filter(&filter(&synapse, true))
                    }
                }
            }
        })
    }

    /// The dimensions that a probe records of its target's `value`.
    fn sliced(&mut self, probe: &network::ProbeSpec, value: Tensor<'s>) -> Result<Tensor<'s>> {
        let Some(size) = self.network.target_size(&probe.target).filter(|_| probe.slice != Slice::All) else {
            return Ok(value);
        };
        let (columns, n) = Columns::new(&probe.slice, &probe.name, size)?;
        self.scope.set_owner(&probe.name);
        // What is the same in each dimension may be there once.
        let ty = value.ty().with_cols(size);
        Ok(columns.take(if value.ty() == ty { value } else { value.expand(ty) }, n))
    }

    /// The output of an object; built on first use.
    fn output(&mut self, id: ObjectId) -> Result<Tensor<'s>> {
        if let Some(output) = self.outputs[id.0] {
            return Ok(output);
        }
        if let Kind::Ensemble(_, neurons) = self.network.object(id)?.kind {
            return self.output(neurons);
        }
        if self.path.len() >= DEEP {
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
                    // A mistake inside of the call came first, and is what the user wants to hear of.
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

    /// Notes that an object is being built.
    fn enter(&mut self, id: ObjectId) -> Result<()> {
        let open = &mut self.open[id.0];
        if !std::mem::replace(open, true) {
            self.path.push(id);
            return Ok(());
        }
        let start = self.path.iter().position(|&o| o == id).unwrap_or_default();
        let cycle = self.path[start..].iter().chain([&id]);
        // Inputs were followed, so the cycle was walked against its direction.
        let mut objects: Vec<String> = cycle.map(|o| self.network.name(self.owner(*o)).to_string()).collect();
        objects.reverse();
        Err(Error::CycleWithoutDelay { objects })
    }

    /// Notes that the last object is built.
    fn leave(&mut self) {
        if let Some(id) = self.path.pop() {
            self.open[id.0] = false;
        }
    }

    /// Builds what an object reads, and what that reads, the farthest first: long chains do not fit on the stack.
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

    /// The objects whose output an object's own output of the same step follows from, the last first.
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

    /// The object that a user knows: an ensemble for its neurons.
    fn owner(&self, id: ObjectId) -> ObjectId {
        match self.network.object(id) {
            Ok(network::Object { kind: Kind::EnsembleNeurons(ensemble), .. }) => *ensemble,
            _ => id,
        }
    }

    /// The current of an ensemble's neurons: encoded input, bias, what comes to the neurons times their gain, and what is added
    /// as it is.
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

    /// The sum of what the connections into an object bring.
    fn input(&mut self, id: ObjectId, size: usize) -> Result<Tensor<'s>> {
        let parts = self.incoming(id, size, |_| true)?;
        self.scope.set_owner(self.network.name(id));
        let sum = match &parts[..] {
            [] => self.scope.constant(0.0).expand(Type::fixed(1, size)),
            parts => self.scope.sum(parts),
        };
        self.inputs[id.0] = Some(sum);
        Ok(sum)
    }

    /// What the connections into an object bring that are `wanted`, each at its place among `size` columns.
    fn incoming(
        &mut self,
        into: ObjectId,
        size: usize,
        wanted: impl Fn(&network::Link) -> bool,
    ) -> Result<Vec<Tensor<'s>>> {
        let network = self.network;
        let mut parts = Vec::new();
        for i in self.into[into.0].clone() {
            let link = &network.links[i];
            if !wanted(link) {
                continue;
            }
            let part = match self.filtered[i] {
                Some(filter) => filter,
                None => self.transformed(i)?,
            };
            self.scope.set_owner(&link.name);
            parts.push(link.put.0.place(part, size));
        }
        Ok(parts)
    }

    /// What a connection's transform sends.
    fn transformed(&mut self, i: usize) -> Result<Tensor<'s>> {
        let network = self.network;
        let link = &network.links[i];
        let x = self.output(link.pre)?;
        self.scope.set_owner(&link.name);
        let mut x = link.take.0.take(x, link.take.1);
        if let Some(function) = &link.function {
            x = self.function(link, function, x)?;
        }
        if let Some(product) = self.learned(Weights::Of(i), x)? {
            return Ok(product);
        }
        let weights = match link.product {
            Product::Identity | Product::Pool(_) => None,
            _ => Some(self.parameter(&format!("{}/weights", link.name))?),
        };
        self.scope.set_owner(&link.name);
        Ok(link.product.apply(x, weights))
    }

    /// The output of an object's neurons for their current.
    fn neurons(&mut self, id: ObjectId, current: Tensor<'s>) -> Result<Tensor<'s>> {
        self.currents[id.0] = Some(current);
        self.fire(id, current, self.settings.training.then_some(self.settings.spiking))
    }

    fn fire(&mut self, id: ObjectId, current: Tensor<'s>, training: Option<Spiking>) -> Result<Tensor<'s>> {
        let network = self.network;
        let object = network.object(id)?;
        let Some(population) = &object.population else { return Ok(current) };
        let dt = self.settings.dt;
        population.neuron_type.check_dt(&format!("'{}'", object.name), dt)?;
        self.scope.set_owner(&object.name);
        // A row for each example at least: examples do not share states.
        let current = if current.ty().extent == Extent::Fixed {
            current.expand(Type::example(current.ty().cols))
        } else {
            current
        };
        let current = if population.scale == 1.0 { current } else { current.scale(population.scale) };
        // Rates that take the place of spikes draw nothing; the planner drops the draws.
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
            // Another mask for each example and step.
            let rows = if y.ty().extent == Extent::Fixed { y.expand(Type::example(y.ty().cols)) } else { y };
            let random = self.shared_feed(Feed::Random, Type::fixed(1, 4));
            y = rows.dropout(layer.dropout, random);
        }
        Ok(y)
    }
}
