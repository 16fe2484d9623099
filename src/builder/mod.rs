//! Builds the graph of a network: objects become operators on values, and connections terms of sums.

pub mod gradient;
mod learn;
mod nodes;
mod objects;

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Result;
use crate::graph::{Dims, Scope, Source, Tensor, Type};
use crate::network::{self, Columns, Network, ObjectId, Product, Slice, Target, Weights};
use crate::neuron::Spiking;
use crate::op::filter::filter;

/// Data that is uploaded before a run or window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feed {
    /// Four words: the seed, the training step, and the first time step of the window.
    Random,
    /// The window's share of the run's steps: one number.
    Share,
    /// 1 in the run's last window, else 0: one number.
    Ends,
    /// Time of each step, in seconds.
    Time,
    /// Key, first step and first example of a noise: five words.
    Clock(ObjectId),
    /// Output of a node.
    Node(ObjectId),
    /// Number of finished steps modulo this number, the sampling interval of probes in steps.
    Phase(usize),
    /// Target of a probe, by its index.
    Target(usize),
    /// Targets of a probe that samples, by its index, with a row for each step. Rows are NaN at steps that it does not record, or
    /// if the flag is set, at all but the last recorded step.
    Spread(usize, bool),
    /// 1 at the steps recorded by probes with this sampling interval in steps, else 0.
    Recorded(usize),
    /// Factor that turns the mean over all targets into the mean over those that count: one number.
    Counted(Counted),
}

/// Selection of a probe's targets to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counted {
    /// Index of the probe.
    pub probe: usize,
    /// Count only the last row of the run.
    pub last: bool,
    /// Count rows; a row counts if one of its targets does.
    pub by_row: bool,
    /// The targets are spread over the steps of the run, see [`Feed::Spread`].
    pub spread: bool,
}

/// Settings of a graph.
pub struct Settings<'a> {
    /// Numbers of examples and steps.
    pub dims: Dims,
    /// Length of a step in seconds.
    pub dt: f64,
    /// Build for training: apply dropout, and train through spikes.
    pub training: bool,
    /// Method to train through spikes.
    pub spiking: Spiking,
    /// True for input nodes with one row per example for the whole run, false for those with a row per step.
    pub held: &'a dyn Fn(ObjectId) -> bool,
}

/// A network's values in a [`Scope`].
pub struct Built<'s> {
    /// Parameters in order.
    pub parameters: Vec<Tensor<'s>>,
    /// Probes in order.
    pub probes: Vec<Tensor<'s>>,
    /// Contents of the graph's feeds.
    pub feeds: Vec<Feed>,
    /// Outputs of host callbacks, which are called even if nothing reads them.
    pub callbacks: Vec<Tensor<'s>>,
    /// Products with weights that learning rules change, which learn even if nothing reads them.
    pub learned: Vec<Tensor<'s>>,
}

/// Builds a network in a scope.
///
/// # Errors
/// A cycle without a delay, or a tensor node whose output has the wrong shape.
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
    // A filter's output depends on the step before, so cycles of objects end there.
    for (i, link) in network.links.iter().enumerate() {
        if let Some(synapse) = &link.spec.synapse {
            scope.set_owner(&link.name);
            let synapse = synapse.discretise(&format!("connection '{}'", link.name), settings.dt)?;
            let filter = scope.open(Arc::new(filter(&synapse, true)), Type::sequence(link.put.1));
            builder.filtered[i] = Some(filter);
        }
    }
    // Build objects that no probe needs too, to find mistakes in them; the planner drops them.
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

struct Builder<'a, 's> {
    network: &'a Network,
    scope: &'s Scope,
    settings: &'a Settings<'a>,
    parameters: Vec<Tensor<'s>>,
    outputs: Vec<Option<Tensor<'s>>>,
    /// Input of each object; of neurons, their current.
    inputs: Vec<Option<Tensor<'s>>>,
    /// Currents of each object's neurons.
    currents: Vec<Option<Tensor<'s>>>,
    /// Objects whose output is being built; meeting one again is a cycle.
    path: Vec<ObjectId>,
    /// True for each object on the path.
    open: Vec<bool>,
    /// Indices of the connections into each object.
    into: Vec<Vec<usize>>,
    /// Indices of each object's parameters, by the object's name.
    owned: HashMap<&'a str, Vec<usize>>,
    /// Feeds shared by several operators.
    shared: HashMap<Feed, Tensor<'s>>,
    /// Index of the rule that changes these weights.
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

    /// The existing feed, or a new one.
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
                let owner = self.network.object(*object)?;
                let index = owner.population.as_ref().map(|p| p.state(&owner.name, state)).transpose()?;
                let (index, current) = (index.unwrap_or_default(), self.currents[object.0]);
                // Training may replace the neurons; take the state from those of a run.
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

    /// The dimensions of its target's `value` that a probe records.
    fn sliced(&mut self, probe: &network::ProbeSpec, value: Tensor<'s>) -> Result<Tensor<'s>> {
        let Some(size) = self.network.target_size(&probe.target).filter(|_| probe.slice != Slice::All) else {
            return Ok(value);
        };
        let (columns, n) = Columns::new(&probe.slice, &probe.name, size)?;
        self.scope.set_owner(&probe.name);
        // A value equal in all dimensions may have one column; expand it.
        let ty = value.ty().with_cols(size);
        Ok(columns.take(if value.ty() == ty { value } else { value.expand(ty) }, n))
    }

    /// Sum of the connections into an object.
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

    /// Outputs of the connections into an object that are `wanted`, each placed among `size` columns.
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

    /// Output of a connection's transform.
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
}
