//! How a connection carries a signal.

use crate::network::{Decoding, Distribution, Function, Init, LearningRule, Slice, Synapse, Transform};
use crate::solve::Solver;

/// How a connection carries a signal.
///
/// From an ensemble, it carries what is decoded: a function of the represented value. Decoders and transform are one matrix
/// then, the parameter `CONNECTION/weights`, size_out × neurons.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Which dimensions of the pre object it takes.
    pub pre: Slice,
    /// What is decoded, if the pre object is an ensemble; of another, at most a function of its output.
    pub decoding: Decoding,
    /// Which dimensions of the post object it reaches; what comes to one of them more than once is summed.
    pub post: Slice,
    /// What it multiplies by.
    pub transform: Transform,
    /// Its filter; without one it does not delay.
    pub synapse: Option<Synapse>,
    /// Whether its weights are trained; as [`crate::network::Config::trainable`] says if not given. On a connection that brings a learning
    /// rule its error they are not.
    pub trainable: Option<bool>,
    /// How its weights, or the encoders behind it, change while the network runs.
    pub learning_rule: Option<LearningRule>,
    /// Its name; `pre->post` if not given.
    pub name: Option<String>,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            pre: Slice::All,
            decoding: Decoding::default(),
            post: Slice::All,
            transform: Transform::Identity,
            synapse: None,
            trainable: None,
            learning_rule: None,
            name: None,
        }
    }
}

impl Connection {
    /// Without transform and synapse; [`crate::network::Config::connection`] has Nengo's default synapse.
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

    /// With a function of what an ensemble represents, of the dimensions that [`Connection::pre`] leaves; the transform is
    /// applied to what it gives.
    ///
    /// The output of another object goes through the function as it is, without decoders. Named functions and expressions
    /// ([`Function::parse`]) are computed on the device and trained through. A closure is called on the host for each step and
    /// example, as that of a [`crate::network::Node::callback`] is: it has no gradient, and in a cycle the network runs one step at a
    /// time.
    pub fn function(mut self, function: impl Into<Function>) -> Self {
        self.decoding.functions = vec![function.into()];
        self
    }

    /// With another way to find decoders.
    pub fn solver(mut self, solver: impl Into<Solver>) -> Self {
        self.decoding.solver = Some(solver.into());
        self
    }

    /// With other points to find decoders at, in radii of the ensemble.
    pub fn eval_points(mut self, points: impl Into<Distribution>) -> Self {
        self.decoding.eval_points = Some(points.into());
        self
    }

    /// With these weights in place of solved decoders; see [`Decoding::weights`].
    pub fn weights(mut self, weights: Init) -> Self {
        self.decoding.weights = Some(weights);
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

    /// Trained or not, whatever its network says.
    pub fn trainable(mut self, trainable: bool) -> Self {
        self.trainable = Some(trainable);
        self
    }

    /// Not trained.
    pub fn frozen(self) -> Self {
        self.trainable(false)
    }

    /// Whether weights are trained that lead to an object of this name.
    pub(super) fn trained_to(&self, object: &str) -> Option<bool> {
        // Nothing before a learning rule is trained.
        self.trainable.or(object.ends_with("/learning-rule").then_some(false))
    }
}
