//! Network → graph: each object becomes operators on values, each connection an input of a sum.

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
}
