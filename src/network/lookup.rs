//! Access to a network's objects, connections, probes and parameters, by name or id.

use crate::error::{Error, Result};
use crate::network::{
    ConnectionId, Kind, Link, Network, Node, Object, ObjectId, ParameterDef, ProbeId, Target,
};

impl Network {
    /// Finds an object by name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the valid names.
    pub fn find(&self, name: &str) -> Result<ObjectId> {
        let found = self.objects.place(name).map(ObjectId);
        found.ok_or_else(|| Error::unknown("object", name, self.objects.iter().map(|o| o.name.as_str())))
    }

    /// Finds a connection by name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the valid names.
    pub fn find_connection(&self, name: &str) -> Result<ConnectionId> {
        let found = self.links.place(name).map(ConnectionId);
        found.ok_or_else(|| Error::unknown("connection", name, self.links.iter().map(|l| l.name.as_str())))
    }

    /// Name of a connection.
    ///
    /// # Errors
    /// An id of another network.
    pub fn connection_name(&self, connection: ConnectionId) -> Result<&str> {
        Ok(&self.link(connection)?.name)
    }

    /// Pre and post object of a connection.
    ///
    /// # Errors
    /// An id of another network.
    pub fn connection_ends(&self, connection: ConnectionId) -> Result<(ObjectId, ObjectId)> {
        let link = self.link(connection)?;
        Ok((link.pre, link.post))
    }

    /// Ids of all connections, in order of creation.
    pub fn connection_ids(&self) -> impl Iterator<Item = ConnectionId> + use<> {
        (0..self.links.len()).map(ConnectionId)
    }

    /// Names of the connections with a learning rule.
    pub fn learning_connections(&self) -> impl Iterator<Item = &str> {
        self.links.iter().filter(|link| link.rule.is_some()).map(|link| link.name.as_str())
    }

    pub(super) fn link(&self, connection: ConnectionId) -> Result<&Link> {
        let other = || Error::invalid("a connection's id", "it is of another network");
        self.links.get(connection.0).ok_or_else(other)
    }

    /// Finds a probe by name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the valid names.
    pub fn find_probe(&self, name: &str) -> Result<ProbeId> {
        let found = self.probes.place(name).map(ProbeId);
        found.ok_or_else(|| Error::unknown("probe", name, self.probes.iter().map(|p| p.name.as_str())))
    }

    /// All parameters, in order of creation.
    pub fn parameters(&self) -> &[ParameterDef] {
        &self.parameters
    }

    /// Name of an object; empty for an id of another network.
    pub fn name(&self, object: ObjectId) -> &str {
        self.objects.get(object.0).map_or("", |o| &o.name)
    }

    /// Name of a probe; empty for an id of another network.
    pub fn probe_name(&self, probe: ProbeId) -> &str {
        self.probes.get(probe.0).map_or("", |p| &p.name)
    }

    /// Target of a probe; `None` for an id of another network.
    pub fn probe_target(&self, probe: ProbeId) -> Option<&Target> {
        self.probes.get(probe.0).map(|p| &p.target)
    }

    /// Ids of all probes, in order of creation.
    pub fn probe_ids(&self) -> impl Iterator<Item = ProbeId> + use<> {
        (0..self.probes.len()).map(ProbeId)
    }

    /// Total number of neurons.
    pub fn n_neurons(&self) -> usize {
        self.objects.iter().filter(|o| o.population.is_some()).map(|o| o.size_out).sum()
    }

    /// Names and sizes of the input nodes.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, usize)> {
        self.objects.iter().filter_map(|object| match object.kind {
            Kind::Node(Node::Input(size)) => Some((object.name.as_str(), size)),
            _ => None,
        })
    }

    /// Number of output dimensions of an object.
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
