//! How a connection carries a signal.

use super::{LearningRule, Slice, Synapse, Transform};

/// How a connection carries a signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Which dimensions of the pre object it takes.
    pub pre: Slice,
    /// Which dimensions of the post object it reaches; what comes to one of them more than once is summed.
    pub post: Slice,
    /// What it multiplies by.
    pub transform: Transform,
    /// Its filter; without one it does not delay.
    pub synapse: Option<Synapse>,
    /// Whether the transform's weights are trained.
    pub trainable: bool,
    /// How its weights, or the encoders behind it, change while the network runs.
    pub learning_rule: Option<LearningRule>,
    /// Its name; `pre->post` if not given.
    pub name: Option<String>,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            pre: Slice::All,
            post: Slice::All,
            transform: Transform::Identity,
            synapse: None,
            trainable: true,
            learning_rule: None,
            name: None,
        }
    }
}

impl Connection {
    /// Without transform and synapse.
    pub fn new() -> Self {
        Self::default()
    }

    /// From these dimensions of the pre object: `0..3`, `-1`, `[2, 0, 1]`, see [`Slice`].
    pub fn pre(mut self, slice: impl Into<Slice>) -> Self {
        self.pre = slice.into();
        self
    }

    /// To these dimensions of the post object.
    pub fn post(mut self, slice: impl Into<Slice>) -> Self {
        self.post = slice.into();
        self
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

    /// With a rule by which weights change while the network runs.
    pub fn learning_rule(mut self, rule: LearningRule) -> Self {
        self.learning_rule = Some(rule);
        self
    }

    /// Not trained.
    pub fn frozen(mut self) -> Self {
        self.trainable = false;
        self
    }
}
