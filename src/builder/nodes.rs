//! Nodes, functions of signals, and decoded outputs.

use crate::builder::{Builder, Feed};
use crate::error::Result;
use crate::graph::{Tensor, Type};
use crate::network::{self, CallbackFactory, Draw, Node, ObjectId, Process};
use crate::op::blocks::Blocks;
use crate::op::filter::filter;
use crate::op::{self, Callback};

/// Applies the decoders of each ensemble to its activities. The decoders are stacked, with `sizes` rows each.
pub(super) fn decoded<'s>(activities: Tensor<'s>, decoders: Tensor<'s>, sizes: &[usize]) -> Tensor<'s> {
    let n = decoders.ty().cols;
    // Neighbours of equal size form one grouped product.
    let runs: Vec<&[usize]> = sizes.chunk_by(|a, b| a == b).collect();
    if runs.len() < 2 {
        return activities.dot_groups(decoders, sizes.len());
    }
    let (mut group, mut row) = (0, 0);
    let parts = runs.into_iter().map(|run| {
        let (groups, rows) = (run.len(), run.iter().sum::<usize>());
        let blocks = Blocks { start: row * n, stride: rows * n, count: 1, ty: Type::fixed(rows, n) };
        let part = activities.slice(group * n, groups * n).dot_groups(decoders.blocks(blocks), groups);
        (group, row) = (group + groups, row + rows);
        part
    });
    let parts: Vec<Tensor<'s>> = parts.collect();
    parts[0].concat(&parts[1..])
}

impl<'s> Builder<'_, 's> {
    /// Output of a node.
    pub(super) fn node(&mut self, id: ObjectId, node: &Node) -> Result<Tensor<'s>> {
        Ok(match node {
            Node::Passthrough(size) => self.input(id, *size)?,
            Node::Constant(values) if values.iter().all(|x| *x == values[0]) => {
                let scope = self.scope;
                scope.set_owner(self.network.name(id));
                scope.constant(values[0]).expand(Type::fixed(1, values.len()))
            }
            Node::Constant(values) => self.feed(Feed::Node(id), Type::fixed(1, values.len())),
            Node::Input(size) if (self.settings.held)(id) => self.feed(Feed::Node(id), Type::example(*size)),
            Node::Input(size) | Node::Function(size, _) => self.feed(Feed::Node(id), Type::sequence(*size)),
            Node::Array(rows) => self.feed(Feed::Node(id), Type::sequence(rows.ncols())),
            Node::Callback(size_in, size_out, f) => {
                let x = self.input(id, *size_in)?;
                let name = self.network.name(id);
                let output = self.on_host(name, &format!("node '{name}'"), x, *size_out, f);
                self.callbacks.push(output);
                output
            }
            Node::Process(Process::Noise(noise)) => self.noise(id, noise)?,
            Node::Process(process) => self.feed(Feed::Node(id), Type::sequence(process.size())),
        })
    }

    /// Output of a host callback for each row of `x`, for the object `owner`.
    fn on_host(
        &mut self,
        owner: &str,
        what: &str,
        x: Tensor<'s>,
        size_out: usize,
        factory: &CallbackFactory,
    ) -> Tensor<'s> {
        let size_in = x.ty().cols;
        self.scope.set_owner(owner);
        let x = x.repeat(Type::sequence(size_in));
        let t = self.shared_feed(Feed::Time, Type::sequence(1));
        let factory = factory.clone();
        self.scope.apply(Callback { what: what.into(), size_in, size_out, factory }, &[x, t])
    }

    fn noise(&mut self, id: ObjectId, noise: &network::Noise) -> Result<Tensor<'s>> {
        let clock = self.feed(Feed::Clock(id), Type::fixed(1, op::noise::CLOCK));
        let name = self.network.name(id);
        self.scope.set_owner(name);
        let k = noise.factor(self.settings.dt);
        let scaled = |x: f32| (k * f64::from(x)) as f32;
        let (normal, offset, factor) = match noise.distribution {
            Draw::Normal(mean, std) => (true, scaled(mean), scaled(std)),
            Draw::Uniform(low, high) => (false, scaled(low), scaled(high - low)),
        };
        let draws = op::Noise { cols: noise.size, normal, offset, factor };
        let draws = self.scope.apply(draws, &[clock]);
        let synapse = noise.discretise(&format!("node '{name}'"), self.settings.dt)?;
        Ok(synapse.map_or(draws, |synapse| draws.filter(&filter(&synapse, false))))
    }

    /// Applies the function of a connection to a signal.
    pub(super) fn function(
        &mut self,
        link: &network::Link,
        function: &network::Function,
        x: Tensor<'s>,
    ) -> Result<Tensor<'s>> {
        if let Some(y) = function.of_signal(x) {
            return Ok(y);
        }
        let what = format!("connection '{}'", link.name);
        let size = function.size_out(&what, link.take.1)?;
        let called = function.on_host();
        Ok(called.map_or(x, |f| self.on_host(&link.name, &format!("the function of {what}"), x, size, &f)))
    }
}
