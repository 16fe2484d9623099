//! Subnetworks: flattens their objects, with full names and inherited defaults, into the lists of the file.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::network::check_name;
use crate::toml::network::{ConfigSpec, Names, NestedSpec, NetworkSpec};

/// An enclosing network: the prefix of its names, and the names defined in it.
struct Scope {
    prefix: String,
    names: Vec<String>,
}

impl NetworkSpec {
    /// Flattens subnetworks with objects; Nengo's networks stay.
    pub(super) fn flatten(&mut self) -> Result<()> {
        let nodes = self.node.iter().map(|o| &o.name).chain(self.layer.iter().map(|o| &o.name));
        let others = self.neurons.iter().map(|o| &o.name).chain(self.ensemble.iter().map(|o| &o.name));
        check_distinct(&self.network, nodes.chain(others), "")?;
        for network in std::mem::take(&mut self.network) {
            self.take_up(network, &mut Vec::new(), &ConfigSpec::default())?;
        }
        Ok(())
    }

    /// Adds a network, with `config` as its defaults; `around` are its enclosing networks.
    fn take_up(
        &mut self,
        mut network: NestedSpec,
        around: &mut Vec<Scope>,
        config: &ConfigSpec,
    ) -> Result<()> {
        let outside = around.last().map_or("", |scope| &scope.prefix);
        check_name(&network.name)?;
        network.name = format!("{outside}{}", network.name);
        network.config.check(&format!(" of network '{}'", network.name))?;
        network.config.trainable = network.trainable.or(network.config.trainable);
        network.config.fill(config);
        if network.kinds() > 0 || !network.has_objects() {
            if network.has_objects() {
                let problem = "it is one of Nengo's networks, so it cannot have objects of its own; put these next to it";
                return Err(Error::invalid(format!("network '{}'", network.name), problem));
            }
            self.network.push(network);
            return Ok(());
        }
        let prefix = format!("{}.", network.name);
        check_distinct(&network.network, network.objects(), &prefix)?;
        around.push(Scope { prefix, names: network.names() });
        for nested in std::mem::take(&mut network.network) {
            self.take_up(nested, around, &network.config)?;
        }
        self.take_objects(network, around);
        around.pop();
        Ok(())
    }

    /// Moves the objects of a network into the lists of the file.
    fn take_objects(&mut self, network: NestedSpec, around: &[Scope]) {
        let config = network.config;
        let prefix = around.last().map_or("", |scope| &scope.prefix);
        let whole = |name: &mut String| *name = format!("{prefix}{name}");
        let find = |name: &mut String| *name = resolve(around, name);
        let find_all = |names: &mut Names| names.0.iter_mut().for_each(find);
        for mut node in network.node {
            whole(&mut node.name);
            self.node.push(node);
        }
        for mut layer in network.layer {
            whole(&mut layer.name);
            find_all(&mut layer.input);
            layer.default_solver.clone_from(&config.solver);
            layer.default_trainable = config.trainable;
            layer.trainable = layer.trainable.or(config.trainable);
            self.layer.push(layer);
        }
        for mut neurons in network.neurons {
            whole(&mut neurons.name);
            find_all(&mut neurons.input);
            neurons.default_solver.clone_from(&config.solver);
            neurons.default_trainable = config.trainable;
            neurons.train_bias = neurons.train_bias.or(config.trainable);
            self.neurons.push(neurons);
        }
        for mut ensemble in network.ensemble {
            whole(&mut ensemble.name);
            find_all(&mut ensemble.input);
            config.ensemble.iter().for_each(|defaults| ensemble.fill(defaults));
            ensemble.default_solver.clone_from(&config.solver);
            ensemble.default_trainable = config.trainable;
            ensemble.trainable = ensemble.trainable.or(config.trainable);
            self.ensemble.push(ensemble);
        }
        for mut output in network.output {
            find(&mut output.of);
            output.solver = output.solver.or_else(|| config.solver.clone());
            output.trainable = output.trainable.or(config.trainable);
            self.output.push(output);
        }
        for mut connection in network.connection {
            find(&mut connection.pre.name);
            find(&mut connection.post.name);
            connection.name.iter_mut().for_each(whole);
            connection.default_solver.clone_from(&config.solver);
            connection.trainable = connection.trainable.or(config.trainable);
            connection.synapse = connection.synapse.or_else(|| config.synapse.clone());
            self.connection.push(connection);
        }
        for mut probe in network.probe {
            whole(&mut probe.name);
            let objects = [&mut probe.target, &mut probe.input].into_iter().flatten();
            let others = [&mut probe.connection, &mut probe.parameter, &mut probe.norm];
            objects.map(|end| &mut end.name).chain(others.into_iter().flatten()).for_each(find);
            if let Some(defaults) = &config.probe {
                let in_time = probe.parameter.is_none() && probe.norm.is_none();
                let filtered = probe.target.is_some() && probe.state.is_none();
                probe.synapse = probe.synapse.or_else(|| defaults.synapse.clone().filter(|_| filtered));
                probe.sample_every = probe.sample_every.or(defaults.sample_every.filter(|_| in_time));
            }
            self.probe.push(probe);
        }
    }
}

impl NestedSpec {
    /// True if it has objects, connections or probes.
    fn has_objects(&self) -> bool {
        let Self { node, layer, neurons, ensemble, output, network, connection, probe, .. } = self;
        let objects = node.len() + layer.len() + neurons.len() + ensemble.len() + network.len();
        objects + output.len() + connection.len() + probe.len() > 0
    }

    /// Names of its objects, without subnetworks.
    fn objects(&self) -> impl Iterator<Item = &String> {
        let nodes = self.node.iter().map(|o| &o.name);
        let layers = self.layer.iter().map(|o| &o.name);
        let neurons = self.neurons.iter().map(|o| &o.name);
        nodes.chain(layers).chain(neurons).chain(self.ensemble.iter().map(|o| &o.name))
    }

    /// Names of its objects, subnetworks and connections.
    fn names(&self) -> Vec<String> {
        let networks = self.network.iter().map(|o| &o.name);
        let connections = self.connection.iter().filter_map(|c| c.name.as_ref());
        self.objects().chain(networks).chain(connections).cloned().collect()
    }
}

/// Rejects subnetworks with equal names, or with the name of a sibling object; their objects' names would collide.
fn check_distinct<'a>(
    networks: &[NestedSpec],
    objects: impl Iterator<Item = &'a String>,
    prefix: &str,
) -> Result<()> {
    let mut taken: HashSet<&String> = objects.collect();
    match networks.iter().find(|network| !taken.insert(&network.name)) {
        Some(network) => Err(Error::DuplicateName { name: format!("{prefix}{}", network.name) }),
        None => Ok(()),
    }
}

/// Full name of `name` as used in the innermost network: that of the innermost network that defines it. A name that no
/// enclosing network defines belongs to the file.
fn resolve(around: &[Scope], name: &str) -> String {
    let has = |scope: &&Scope| {
        let mut rests = scope.names.iter().filter_map(|own| name.strip_prefix(own.as_str()));
        // Not the prefix of a connection's name, as in `a.neurons->b`.
        rests.any(|rest| rest.is_empty() || rest.starts_with(['.', '/', '#']) && !rest.contains("->"))
    };
    match (around.iter().rev().find(has), name.split_once("->")) {
        (Some(scope), _) => format!("{}{name}", scope.prefix),
        (None, Some((pre, post))) => format!("{}->{}", resolve(around, pre), resolve(around, post)),
        (None, None) => name.to_string(),
    }
}
