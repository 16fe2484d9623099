//! Settings of a connection.

use crate::network::{Decoding, Distribution, Function, Init, LearningRule, Slice, Synapse, Transform};
use crate::solve::Solver;

/// Settings of a connection: slices, function, transform, filter and learning rule.
///
/// From an ensemble, a connection carries a decoded function of the represented value. Its decoders and transform then form
/// one matrix, the parameter `CONNECTION/weights`, size_out × neurons.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Dimensions taken from the pre object; all by default.
    pub pre: Slice,
    /// Function to decode if the pre object is an ensemble. For other objects, at most a function of their output.
    pub decoding: Decoding,
    /// Dimensions of the post object that are reached; all by default. A dimension listed more than once gets the sum.
    pub post: Slice,
    /// Linear transform; the identity by default.
    pub transform: Transform,
    /// Filter; without one the connection does not delay.
    pub synapse: Option<Synapse>,
    /// Train the weights; `None` takes [`crate::network::Config::trainable`]. Weights of a connection into a learning
    /// rule's error input are not trained by default.
    pub trainable: Option<bool>,
    /// Rule that changes the weights, or the post object's encoders, while the network runs.
    pub learning_rule: Option<LearningRule>,
    /// Name; `pre->post` by default.
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
    /// A connection without transform and synapse; [`crate::network::Config::connection`] has Nengo's default synapse.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes these dimensions of the pre object: `0..3`, `-1`, `[2, 0, 1]`, see [`Slice`].
    pub fn pre(mut self, slice: impl Into<Slice>) -> Self {
        self.pre = slice.into();
        self
    }

    /// Leads to these dimensions of the post object.
    pub fn post(mut self, slice: impl Into<Slice>) -> Self {
        self.post = slice.into();
        self
    }

    /// Decodes a function of the value an ensemble represents, restricted to the dimensions of [`Connection::pre`]. The
    /// transform is applied to the function's result.
    ///
    /// For other objects the function is applied to their output directly, without decoders. Named functions and expressions
    /// ([`Function::parse`]) are computed on the device and have gradients. A closure is called on the host for each step and
    /// example, like a [`crate::network::Node::callback`]: it has no gradient, and inside a cycle the network runs one step at
    /// a time.
    pub fn function(mut self, function: impl Into<Function>) -> Self {
        self.decoding.functions = vec![function.into()];
        self
    }

    /// Sets the decoder solver.
    pub fn solver(mut self, solver: impl Into<Solver>) -> Self {
        self.decoding.solver = Some(solver.into());
        self
    }

    /// Sets the evaluation points of the decoders, in radii of the ensemble.
    pub fn eval_points(mut self, points: impl Into<Distribution>) -> Self {
        self.decoding.eval_points = Some(points.into());
        self
    }

    /// Uses these weights instead of solved decoders; see [`Decoding::weights`].
    pub fn weights(mut self, weights: Init) -> Self {
        self.decoding.weights = Some(weights);
        self
    }

    /// With a transform: a number, a number for each dimension, a matrix of size_out × size_in, or any [`Transform`].
    ///
    /// ```
    /// use nengo_wgpu::network::{Connection, Init, Transform};
    ///
    /// let negative = Connection::new().transform(-1.0);
    /// assert_eq!(negative.transform, Transform::Scalar(-1.0));
    /// let swapped = Connection::new().transform([[0.0, 1.0], [1.0, 0.0]]).named("swapped");
    /// assert!(matches!(swapped.transform, Transform::Dense(_)));
    /// let random = Connection::new().transform(Transform::Dense(Init::Glorot));
    /// ```
    pub fn transform(mut self, transform: impl Into<Transform>) -> Self {
        self.transform = transform.into();
        self
    }

    /// Sets the filter.
    pub fn synapse(mut self, synapse: impl Into<Synapse>) -> Self {
        self.synapse = Some(synapse.into());
        self
    }

    /// Sets the name.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_string());
        self
    }

    /// Sets the learning rule, which changes weights while the network runs.
    pub fn learning_rule(mut self, rule: LearningRule) -> Self {
        self.learning_rule = Some(rule);
        self
    }

    /// Trains or freezes the weights, regardless of the network's default.
    pub fn trainable(mut self, trainable: bool) -> Self {
        self.trainable = Some(trainable);
        self
    }

    /// Freezes the weights.
    pub fn frozen(self) -> Self {
        self.trainable(false)
    }

    /// Setting for the weights of a connection to the object of this name; `None` takes the network's default.
    pub(super) fn trained_to(&self, object: &str) -> Option<bool> {
        // Connections into a learning rule are not trained.
        self.trainable.or(object.ends_with("/learning-rule").then_some(false))
    }
}
