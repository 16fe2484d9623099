//! `[[node]]`, `[[layer]]`, `[[connection]]` and `[[probe]]`.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::network::{
    Activation, Connection, Convolution, Decoding, Distribution, Function, Init, Layer, Network, Node, Pool,
    Slice, Sparse, Synapse, Target, TimeExpressions, Transform,
};
use crate::neuron::NeuronType;
use crate::solve::Solver;

use crate::toml::network::LearningRuleSpec;
use crate::toml::network::signals::{ConnectionSynapse, ProcessSpec, matrix};

/// A node with a name and exactly one other setting; a process may also have a size.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Name.
    pub name: String,
    /// Dimensions of an input, whose values are given to each run.
    pub size: Option<usize>,
    /// Number of steps over which an input presents an example, `size` numbers at each. By default the numbers are presented at
    /// once and held.
    pub steps: Option<usize>,
    /// Constant values.
    pub constant: Option<Vec<f32>>,
    /// Rows of values, one per time step.
    pub array: Option<Vec<Vec<f32>>>,
    /// Function of the time `t` in seconds: an expression, `"sin(2*pi*t)"`, or a list with one per value.
    pub function: Option<TimeExpressions>,
    /// Dimensions of a node that outputs the sum of its inputs.
    pub passthrough: Option<usize>,
    /// Signal over time, or noise, of `size` dimensions; 1 by default.
    pub process: Option<ProcessSpec>,
}

/// A layer `dropout(activation(W x + b))`; without units it has neither `W` nor `b`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LayerSpec {
    /// Name.
    pub name: String,
    /// Objects connected to it; several inputs are summed. Optional if a `[[connection]]` leads to the layer.
    #[serde(default)]
    pub input: Names,
    /// Rows of `W`.
    pub units: Option<usize>,
    /// Activation function; `"identity"` by default.
    #[serde(default)]
    pub activation: Activation,
    /// Neurons, instead of an activation: `"lif"`, or `{ lif = { tau-rc = 0.02 } }`.
    pub neurons: Option<NeuronType>,
    /// Share of outputs set to zero in training; 0 by default.
    #[serde(default)]
    pub dropout: f32,
    /// Add `b`; true by default.
    pub bias: Option<bool>,
    /// Initial values of `W`; `"glorot"` by default.
    pub init: Option<Init>,
    /// Initial values of `b`; `"zeros"` by default.
    pub bias_init: Option<Init>,
    /// Train `W` and `b`; the `trainable` of `[config]` by default.
    pub trainable: Option<bool>,
    /// Input dimensions, if they cannot be inferred from the connections.
    pub size_in: Option<usize>,
    /// Solver for decoders of its input: that of the enclosing network's configuration, else the file's.
    #[serde(skip)]
    pub default_solver: Option<Solver>,
    /// Train those decoders, with the same default.
    #[serde(skip)]
    pub default_trainable: Option<bool>,
}

/// A connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSpec {
    /// Start: an object, or some of its dimensions, as `"x[0:3]"` or `"x[[2, 0]]"`.
    pub pre: End,
    /// End: an object, or some of its dimensions.
    pub post: End,
    /// Transform: a number, `{ dense = INIT }`, `{ vector = INIT }` or another [`MadeTransform`]; the identity by default.
    pub transform: Option<TransformSpec>,
    /// Function: `"square"`, `"x0 * x1"` (see [`Function::parse`](crate::network::Function::parse)). For an ensemble it is decoded,
    /// for other objects computed exactly. The identity by default.
    pub function: Option<Function>,
    /// Decoder solver, if `pre` is an ensemble.
    pub solver: Option<Solver>,
    /// Default solver: that of the enclosing network's configuration, else the file's.
    #[serde(skip)]
    pub default_solver: Option<Solver>,
    /// Evaluation points of the decoders; the ensemble's by default.
    #[serde(rename = "eval-points")]
    pub eval_points: Option<Distribution>,
    /// Scale these points by the ensemble's radius; true by default.
    #[serde(rename = "scale-eval-points")]
    pub scale_eval_points: Option<bool>,
    /// Filter: the time constant of a lowpass in seconds, another synapse, or `"none"`, which does not delay; the `synapse` of
    /// `[config]` by default.
    pub synapse: Option<ConnectionSynapse>,
    /// Train the weights; the `trainable` of `[config]` by default.
    pub trainable: Option<bool>,
    /// Learning rule, which changes weights during a run: `"pes"`, or `{ pes = { learning-rate = 1e-4 } }`. Connections to
    /// `NAME/learning-rule` bring its error or learning signal.
    #[serde(rename = "learning-rule")]
    pub learning_rule: Option<LearningRuleSpec>,
    /// Name; `pre->post` by default.
    pub name: Option<String>,
}

/// An object's name, optionally with a selection of its dimensions in brackets (see [`Slice`]).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct End {
    /// Name of the object.
    pub name: String,
    /// Selected dimensions; all by default.
    pub slice: Slice,
}

impl TryFrom<String> for End {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        match text.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
            Some((name, slice)) => Ok(Self { name: name.trim_end().into(), slice: slice.parse()? }),
            None => Ok(Self { name: text, slice: Slice::All }),
        }
    }
}

/// Transform of a connection: a number, a distribution or rows of a dense matrix, or [`MadeTransform`].
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "TransformForm")]
pub enum TransformSpec {
    /// A number for all dimensions.
    Scalar(f32),
    /// Any other transform.
    Made(MadeTransform),
}

/// Form in a file.
#[derive(Deserialize)]
enum TransformForm {
    #[serde(rename = "$number")]
    Scalar(f32),
    #[serde(rename = "$table:a table with dense, vector, sparse, convolution, convolution-transpose or pool")]
    Made(MadeTransform),
    #[serde(rename = "$any:a distribution or the rows of a dense matrix")]
    Dense(Init),
}

impl From<TransformForm> for TransformSpec {
    fn from(form: TransformForm) -> Self {
        match form {
            TransformForm::Scalar(x) => Self::Scalar(x),
            TransformForm::Made(made) => Self::Made(made),
            TransformForm::Dense(init) => Self::Made(MadeTransform::Dense(init)),
        }
    }
}

/// A transform with parameters.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MadeTransform {
    /// A matrix of size_out × size_in; also written as a distribution alone.
    #[serde(alias = "$none")]
    Dense(Init),
    /// One factor per dimension.
    Vector(Init),
    /// A sparse matrix: `{ rows = [..], cols = [..], init = INIT }`.
    Sparse(Sparse),
    /// A convolution: `{ n-filters = 8, input-shape = [28, 28, 1], .. }`.
    Convolution(Convolution),
    /// A transposed convolution, with the same settings.
    ConvolutionTranspose(Convolution),
    /// Pooling: `{ of = "max", input-shape = [28, 28, 8], .. }`.
    Pool(Pool),
}

/// A probe: exactly one of `target`, `input`, `connection`, `parameter` and `norm`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSpec {
    /// Name.
    pub name: String,
    /// Object whose output is recorded at each step, or some of its dimensions, as `"a.neurons[0:3]"`.
    pub target: Option<End>,
    /// State of the target's neurons to record instead of the output.
    pub state: Option<String>,
    /// Connection with the learning rule whose signal is recorded at each step.
    pub connection: Option<String>,
    /// Signal of that learning rule: `"error"`, `"weights"` or another.
    pub signal: Option<String>,
    /// Object whose input is recorded at each step, or some of its dimensions; of neurons, their current.
    pub input: Option<End>,
    /// Parameter to record.
    pub parameter: Option<String>,
    /// Parameter whose L2 norm is recorded.
    pub norm: Option<String>,
    /// Filter on an object's output: the time constant of a lowpass in seconds, another synapse, or `"none"`; the `synapse` of
    /// `[config.probe]` by default.
    pub synapse: Option<ConnectionSynapse>,
    /// Seconds between recorded rows, a multiple of the time step; the `sample-every` of `[config.probe]` by default, else each
    /// step.
    #[serde(rename = "sample-every")]
    pub sample_every: Option<f64>,
}

/// A name or a list of names.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Names(pub Vec<String>);

impl Names {
    /// The names as a slice.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl NodeSpec {
    /// True if its values are given to each run.
    pub fn is_input(&self) -> bool {
        self.size.is_some() && self.process.is_none()
    }

    pub(super) fn size_out(&self) -> usize {
        let rows = self.array.as_ref().and_then(|rows| rows.first()).map(Vec::len);
        let values = self.constant.as_ref().map(Vec::len);
        let of_process = self.process.as_ref().and_then(|p| p.size().or(self.size).or(Some(1)));
        let of_function = self.function.as_ref().map(TimeExpressions::size);
        of_process.or(self.size).or(self.passthrough).or(values).or(rows).or(of_function).unwrap_or(0)
    }

    pub(super) fn build(&self) -> Result<Node> {
        let what = || format!("node '{}'", self.name);
        if self.steps == Some(0) || (self.steps.is_some() && (self.size.is_none() || self.process.is_some()))
        {
            return Err(Error::invalid(what(), "steps must be at least 1, and need an input with a size"));
        }
        if let Some(process) = &self.process {
            let other = self.constant.is_some() || self.array.is_some() || self.function.is_some();
            if other || self.passthrough.is_some() {
                return Err(Error::invalid(what(), "besides a process, only a size is allowed"));
            }
            let size = self.size_out();
            if let Some(wanted) = self.size.filter(|&wanted| wanted != size) {
                return Err(Error::shape(what(), wanted, "a row of its process", size));
            }
            return process.build(&what(), size).map(Node::Process);
        }
        match (self.size, &self.constant, &self.array, &self.function, self.passthrough) {
            (Some(size), None, None, None, None) => Ok(Node::Input(size)),
            (None, Some(values), None, None, None) => Ok(Node::Constant(values.clone())),
            (None, None, Some(rows), None, None) => {
                matrix(rows, &format!("the array of {}", what())).map(Node::Array)
            }
            (None, None, None, Some(function), None) => Ok(function.node()),
            (None, None, None, None, Some(size)) => Ok(Node::Passthrough(size)),
            _ => {
                let problem = "give it exactly one of size (an input), constant, array, function, passthrough and process";
                Err(Error::invalid(what(), problem))
            }
        }
    }
}

impl LayerSpec {
    pub(super) fn build(&self) -> Result<Layer> {
        let weights = self.units.is_some();
        let settings = [
            ("bias", self.bias == Some(true)),
            ("init", self.init.is_some()),
            ("bias-init", self.bias_init.is_some()),
            ("trainable", self.trainable.is_some()),
        ];
        if let Some((name, _)) = settings.iter().find(|(_, given)| *given && !weights) {
            let problem = format!(
                "{name} is for weights, which a layer without units does not have; give it units, or leave {name} out"
            );
            return Err(Error::invalid(format!("layer '{}'", self.name), problem));
        }
        Ok(Layer {
            units: self.units,
            bias: weights && self.bias.unwrap_or(true),
            activation: self.activation,
            neurons: self.neurons.clone(),
            dropout: self.dropout,
            weights_init: self.init.clone().unwrap_or(Init::Glorot),
            bias_init: self.bias_init.clone().unwrap_or(Init::Zeros),
            trainable: self.trainable,
        })
    }
}

impl ConnectionSpec {
    fn transform(&self) -> Transform {
        use MadeTransform::*;
        match &self.transform {
            None => Transform::Identity,
            Some(TransformSpec::Scalar(x)) => Transform::Scalar(*x),
            Some(TransformSpec::Made(Dense(init))) => Transform::Dense(init.clone()),
            Some(TransformSpec::Made(Vector(init))) => Transform::Vector(init.clone()),
            Some(TransformSpec::Made(MadeTransform::Sparse(sparse))) => Transform::Sparse(sparse.clone()),
            Some(TransformSpec::Made(MadeTransform::Convolution(image))) => {
                Transform::Convolution(image.clone())
            }
            Some(TransformSpec::Made(ConvolutionTranspose(image))) => {
                Transform::ConvolutionTranspose(image.clone())
            }
            Some(TransformSpec::Made(MadeTransform::Pool(image))) => Transform::Pool(image.clone()),
        }
    }

    /// Dimensions of the post object, if they follow from the `size` of the pre object.
    pub(super) fn size_out(&self, size: usize) -> Option<usize> {
        let size = self.pre.slice.indices(size).ok()?.len();
        let size = self.function.as_ref().map_or(Some(size), |f| f.size_out("", size).ok())?;
        self.transform().size_out(size).filter(|_| self.post.slice == Slice::All)
    }

    /// The error of a transform that is invalid for the `size` of the pre object, if it is.
    pub(super) fn misfit(&self, size: usize) -> Option<Error> {
        let size = self.pre.slice.indices(size).ok()?.len();
        let size = self.function.as_ref().map_or(Some(size), |f| f.size_out("", size).ok())?;
        let name = self.name.clone().unwrap_or_else(|| format!("{}->{}", self.pre.name, self.post.name));
        self.transform().between(&name, size, 1).err()
    }

    /// Builds the connection; `default` is the synapse of connections without one.
    pub(super) fn build(&self, default: Option<&Synapse>) -> Result<Connection> {
        let name = self.name.clone().unwrap_or_else(|| format!("{}->{}", self.pre.name, self.post.name));
        let what = format!("connection '{name}'");
        let synapse = match &self.synapse {
            None => default.cloned(),
            Some(synapse) => synapse.build(&what)?,
        };
        let decoding = Decoding {
            functions: self.function.iter().cloned().collect(),
            solver: self.solver.clone(),
            eval_points: self.eval_points.clone(),
            scale_eval_points: self.scale_eval_points.unwrap_or(true),
            ..Decoding::default()
        };
        let rule = self.learning_rule.as_ref().map(|r| r.build(&what));
        Ok(Connection {
            pre: self.pre.slice.clone(),
            decoding,
            post: self.post.slice.clone(),
            transform: self.transform(),
            synapse,
            trainable: self.trainable,
            learning_rule: rule.transpose()?,
            name: self.name.clone(),
        })
    }
}

impl ProbeSpec {
    /// Recorded dimensions of its object.
    pub(super) fn slice(&self) -> Slice {
        self.target.iter().chain(&self.input).next().map_or(Slice::All, |end| end.slice.clone())
    }

    /// Its target and sampling interval.
    pub(super) fn build(&self, net: &Network) -> Result<(Target, Option<f64>)> {
        let defaults = &net.config.probe;
        let target = self.target(net, defaults.synapse.clone())?;
        let every = self.sample_every.or_else(|| defaults.sample_every.filter(|_| !target.is_parameter()));
        Ok((target, every))
    }

    fn target(&self, net: &Network, default: Option<Synapse>) -> Result<Target> {
        let invalid = |problem: &str| Err(Error::invalid(format!("probe '{}'", self.name), problem));
        if self.state.is_some() && (self.target.is_none() || self.synapse.is_some()) {
            return invalid("a state needs a target with neurons, and no synapse");
        }
        if self.signal.is_some() != self.connection.is_some() {
            return invalid("connection and signal belong together; give both");
        }
        match (&self.target, &self.input, &self.connection, &self.parameter, &self.norm) {
            (Some(object), None, None, None, None) => {
                if let Some(named) = of_rule(net, &object.name, self.state.as_deref()) {
                    return invalid(&named);
                }
                let synapse = match &self.synapse {
                    Some(synapse) => synapse.build(&format!("probe '{}'", self.name))?,
                    None => default,
                };
                Ok(match &self.state {
                    Some(state) => Target::State(net.find(&object.name)?, state.clone()),
                    None => Target::Output(net.find(&object.name)?, synapse),
                })
            }
            _ if self.synapse.is_some() => invalid("a synapse is for the output of an object, with target"),
            (None, Some(object), None, None, None) => Ok(Target::Input(net.find(&object.name)?)),
            (None, None, Some(connection), None, None) => {
                Ok(Target::Rule(net.find_connection(connection)?, self.signal.clone().unwrap_or_default()))
            }
            (None, None, None, Some(parameter), None) => Ok(Target::Parameter(parameter.clone())),
            (None, None, None, None, Some(parameter)) => Ok(Target::Norm(parameter.clone())),
            _ => invalid("give it exactly one of target, input, connection, parameter and norm"),
        }
    }
}

/// Advice for a target that is a connection or its learning rule, not an object.
fn of_rule(net: &Network, name: &str, state: Option<&str>) -> Option<String> {
    let connection = name.strip_suffix("/learning-rule").unwrap_or(name);
    let is_object = net.find(name).is_ok() && connection == name;
    if is_object || net.find_connection(connection).is_err() {
        return None;
    }
    let signal = state.unwrap_or("error");
    Some(format!(
        "'{connection}' is a connection; for a signal of its learning rule use connection = \"{connection}\" and signal = \
         \"{signal}\", for its weights parameter = \"{connection}/weights\""
    ))
}
