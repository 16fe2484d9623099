//! How a connection carries a signal.

use super::{Synapse, Transform};

/// How a connection carries a signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// What it multiplies by.
    pub transform: Transform,
    /// Its filter; without one it does not delay.
    pub synapse: Option<Synapse>,
    /// Whether a vector or dense transform is trained.
    pub trainable: bool,
    /// Its name; `pre->post` if not given.
    pub name: Option<String>,
}

impl Default for Connection {
    fn default() -> Self {
        Self { transform: Transform::Identity, synapse: None, trainable: true, name: None }
    }
}

impl Connection {
    /// Without transform and synapse.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a transform.
    pub fn transform(mut self, transform: Transform) -> Self {
        self.transform = transform;
        self
    }

    /// With a filter.
    pub fn synapse(mut self, synapse: impl Into<Synapse>) -> Self {
        self.synapse = Some(synapse.into());
        self
    }

    /// With a name of its own.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_string());
        self
    }

    /// Not trained.
    pub fn frozen(mut self) -> Self {
        self.trainable = false;
        self
    }
}
