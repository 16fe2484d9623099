//! Nodes, layers, connections and probes as a TOML file describes them.

use ndarray::Array2;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::network::{Activation, Connection, Init, Layer, Node, ObjectId, Synapse, Target, Transform};

/// A node: exactly one of the settings besides the name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// An input of this many values, given to each run.
    pub size: Option<usize>,
    /// Always these values.
    pub constant: Option<Vec<f32>>,
    /// A row of values for each time step.
    pub array: Option<Vec<Vec<f32>>>,
    /// The sum of what comes in, this many values.
    pub passthrough: Option<usize>,
}

/// A layer: `dropout(activation(W x + b))`, without `W` and `b` if there are no units.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LayerSpec {
    /// Its name.
    pub name: String,
    /// What is connected to it; several inputs are summed. May be left out if `[[connection]]`s say it.
    #[serde(default)]
    pub input: Names,
    /// Rows of `W`.
    pub units: Option<usize>,
    /// The elementwise function.
    #[serde(default)]
    pub activation: Activation,
    /// Share of outputs that training sets to zero.
    #[serde(default)]
    pub dropout: f32,
    /// Whether `b` is added; true by default.
    pub bias: Option<bool>,
    /// How `W` starts; `"glorot"` by default.
    pub init: Option<Init>,
    /// How `b` starts; `"zeros"` by default.
    pub bias_init: Option<Init>,
    /// Whether `W` and `b` are trained; true by default.
    pub trainable: Option<bool>,
    /// Dimensions of its input, where they do not follow from what is connected.
    pub size_in: Option<usize>,
}

/// A connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSpec {
    /// Where it starts.
    pub pre: String,
    /// Where it ends.
    pub post: String,
    /// What it multiplies by: a number, `{ dense = INIT }` or `{ vector = INIT }`.
    pub transform: Option<TransformSpec>,
    /// Time constant of its lowpass filter in seconds; without one it does not delay.
    pub synapse: Option<f64>,
    /// Whether a dense or vector transform is trained; true by default.
    pub trainable: Option<bool>,
    /// Its name; `pre->post` by default.
    pub name: Option<String>,
}

/// What a connection multiplies by.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number, { dense = … } or { vector = … }")]
pub enum TransformSpec {
    /// A number.
    Scalar(f32),
    /// Numbers that start from an [`Init`].
    Made(MadeTransform),
}

/// A transform with parameters.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MadeTransform {
    /// A matrix of size_out × size_in.
    Dense(Init),
    /// A number for each dimension.
    Vector(Init),
}

/// A probe: exactly one of `target`, `parameter` and `norm`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSpec {
    /// Its name.
    pub name: String,
    /// The object whose output is recorded at each step.
    pub target: Option<String>,
    /// The parameter that is recorded.
    pub parameter: Option<String>,
    /// The parameter whose L2 norm is recorded.
    pub norm: Option<String>,
    /// Time constant of a lowpass filter in seconds on an object's output.
    pub synapse: Option<f64>,
    /// Seconds from one recorded row to the next, a multiple of the time step; each step by default.
    #[serde(rename = "sample-every")]
    pub sample_every: Option<f64>,
}

/// A name or a list of names.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a name or a list of names")]
pub enum Names {
    /// One.
    One(String),
    /// Several, or none.
    Many(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Names {
    /// As a slice.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Names::One(name) => std::slice::from_ref(name),
            Names::Many(names) => names,
        }
    }
}

impl NodeSpec {
    pub(super) fn size_out(&self) -> usize {
        let rows = self.array.as_ref().and_then(|rows| rows.first()).map(Vec::len);
        let values = self.constant.as_ref().map(Vec::len);
        self.size.or(self.passthrough).or(values).or(rows).unwrap_or(0)
    }

    pub(super) fn build(&self) -> Result<Node> {
        let what = || format!("node '{}'", self.name);
        match (self.size, &self.constant, &self.array, self.passthrough) {
            (Some(size), None, None, None) => Ok(Node::Input(size)),
            (None, Some(values), None, None) => Ok(Node::Constant(values.clone())),
            (None, None, None, Some(size)) => Ok(Node::Passthrough(size)),
            (None, None, Some(rows), None) => {
                let size = self.size_out();
                if let Some((i, row)) = rows.iter().enumerate().find(|(_, row)| row.len() != size) {
                    let (left, right) =
                        (format!("row 1 of the array of {}", what()), format!("row {}", i + 1));
                    let values = |n: usize| format!("{n} values");
                    return Err(Error::shape(left, values(size), right, values(row.len())));
                }
                let rows = Array2::from_shape_vec((rows.len(), size), rows.concat());
                rows.map(Node::Array).map_err(|e| Error::invalid(what(), e.to_string()))
            }
            _ => {
                let problem = "give it exactly one of size (an input), constant, array and passthrough";
                Err(Error::invalid(what(), problem))
            }
        }
    }
}

impl LayerSpec {
    pub(super) fn build(&self) -> Layer {
        let weights = self.units.is_some();
        Layer {
            units: self.units,
            bias: weights && self.bias.unwrap_or(true),
            activation: self.activation,
            dropout: self.dropout,
            weights_init: self.init.clone().unwrap_or(Init::Glorot),
            bias_init: self.bias_init.clone().unwrap_or(Init::Zeros),
            trainable: self.trainable.unwrap_or(true),
        }
    }
}

impl ConnectionSpec {
    pub(super) fn build(&self) -> Connection {
        Connection {
            transform: match &self.transform {
                None => Transform::Identity,
                Some(TransformSpec::Scalar(x)) => Transform::Scalar(*x),
                Some(TransformSpec::Made(MadeTransform::Dense(init))) => Transform::Dense(init.clone()),
                Some(TransformSpec::Made(MadeTransform::Vector(init))) => Transform::Vector(init.clone()),
            },
            synapse: self.synapse.map(Synapse::Lowpass),
            trainable: self.trainable.unwrap_or(true),
            name: self.name.clone(),
        }
    }
}

impl ProbeSpec {
    pub(super) fn build(&self, find: impl Fn(&str) -> Result<ObjectId>) -> Result<Target> {
        let invalid = |problem: &str| Err(Error::invalid(format!("probe '{}'", self.name), problem));
        match (&self.target, &self.parameter, &self.norm) {
            (Some(object), None, None) => {
                Ok(Target::Output(find(object)?, self.synapse.map(Synapse::Lowpass)))
            }
            _ if self.synapse.is_some() => invalid("a synapse is for the output of an object, with target"),
            (None, Some(parameter), None) => Ok(Target::Parameter(parameter.clone())),
            (None, None, Some(parameter)) => Ok(Target::Norm(parameter.clone())),
            _ => invalid("give it exactly one of target, parameter and norm"),
        }
    }
}
