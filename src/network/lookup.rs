//! What is in a network: objects, connections, probes and parameters by name, and what they are.

use crate::error::{Error, Result};
use crate::network::{
    ConnectionId, Kind, Link, Network, Node, Object, ObjectId, ParameterDef, ProbeId, Target,
};

impl Network {
    /// The object of a name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the names there are.
    pub fn find(&self, name: &str) -> Result<ObjectId> {
        let found = self.objects.place(name).map(ObjectId);
        found.ok_or_else(|| Error::unknown("object", name, self.objects.iter().map(|o| o.name.as_str())))
    }

    /// The connection of a name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the names there are.
    pub fn find_connection(&self, name: &str) -> Result<ConnectionId> {
        let found = self.links.place(name).map(ConnectionId);
        found.ok_or_else(|| Error::unknown("connection", name, self.links.iter().map(|l| l.name.as_str())))
    }

    /// A connection's name.
    ///
    /// # Errors
    /// An id of another network.
    pub fn connection_name(&self, connection: ConnectionId) -> Result<&str> {
        Ok(&self.link(connection)?.name)
    }

    /// The objects that a connection leads from and to.
    ///
    /// # Errors
    /// An id of another network.
    pub fn connection_ends(&self, connection: ConnectionId) -> Result<(ObjectId, ObjectId)> {
        let link = self.link(connection)?;
        Ok((link.pre, link.post))
    }

    /// All connections in order.
    pub fn connection_ids(&self) -> impl Iterator<Item = ConnectionId> + use<> {
        (0..self.links.len()).map(ConnectionId)
    }

    /// Names of the connections that a learning rule changes.
    pub fn learning_connections(&self) -> impl Iterator<Item = &str> {
        self.links.iter().filter(|link| link.rule.is_some()).map(|link| link.name.as_str())
    }

    pub(super) fn link(&self, connection: ConnectionId) -> Result<&Link> {
        let other = || Error::invalid("a connection's id", "it is of another network");
        self.links.get(connection.0).ok_or_else(other)
    }

    /// The probe of a name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the names there are.
    pub fn find_probe(&self, name: &str) -> Result<ProbeId> {
        let found = self.probes.place(name).map(ProbeId);
        found.ok_or_else(|| Error::unknown("probe", name, self.probes.iter().map(|p| p.name.as_str())))
    }

    /// All parameters in order.
    pub fn parameters(&self) -> &[ParameterDef] {
        &self.parameters
    }

    /// An object's name.
    pub fn name(&self, object: ObjectId) -> &str {
        self.objects.get(object.0).map_or("", |o| &o.name)
    }

    /// A probe's name.
    pub fn probe_name(&self, probe: ProbeId) -> &str {
        self.probes.get(probe.0).map_or("", |p| &p.name)
    }

    /// What a probe reads; nothing for an id of another network.
    pub fn probe_target(&self, probe: ProbeId) -> Option<&Target> {
        self.probes.get(probe.0).map(|p| &p.target)
    }

    /// All probes in order.
    pub fn probe_ids(&self) -> impl Iterator<Item = ProbeId> + use<> {
        (0..self.probes.len()).map(ProbeId)
    }

    /// Neurons of all objects.
    pub fn n_neurons(&self) -> usize {
        self.objects.iter().filter(|o| o.population.is_some()).map(|o| o.size_out).sum()
    }

    /// The input nodes: names and sizes.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, usize)> {
        self.objects.iter().filter_map(|object| match object.kind {
            Kind::Node(Node::Input(size)) => Some((object.name.as_str(), size)),
            _ => None,
        })
    }

    /// An object's output dimensions.
    ///
    /// # Errors
    /// An id of another network.
    pub fn size_out(&self, object: ObjectId) -> Result<usize> {
        Ok(self.object(object)?.size_out)
    }

    pub(crate) fn object(&self, id: ObjectId) -> Result<&Object> {
        self.objects.get(id.0).ok_or_else(|| Error::invalid("an object's id", "it is of another network"))
    }

    pub(crate) fn parameter_index(&self, name: &str) -> Result<usize> {
        let found = self.parameters.place(name);
        found
            .ok_or_else(|| Error::unknown("parameter", name, self.parameters.iter().map(|p| p.name.as_str())))
    }
}
