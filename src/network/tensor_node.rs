//! Tensor nodes, user-defined layers: parameters created before the loop, operators applied at each step.

use crate::error::{Error, Result};
use crate::graph::{Scope, Tensor};
use crate::network::Init;

/// A parameter of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterDef {
    /// Name `object/name`; the key in a file.
    pub name: String,
    /// Number of rows; size_out for weights.
    pub rows: usize,
    /// Number of columns; size_in for weights.
    pub cols: usize,
    /// Initial values.
    pub init: Init,
    /// True if it is trained.
    pub trainable: bool,
}

/// Parameters that a tensor node declares.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    pub(crate) list: Vec<ParameterDef>,
}

impl Parameters {
    /// Declares a trained parameter of shape `[rows, cols]`.
    pub fn add(&mut self, name: &str, rows: usize, cols: usize, init: Init) {
        self.list.push(ParameterDef { name: name.into(), rows, cols, init, trainable: true });
    }

    /// Declares a parameter of shape `[rows, cols]` that is not trained.
    pub fn add_frozen(&mut self, name: &str, rows: usize, cols: usize, init: Init) {
        self.list.push(ParameterDef { name: name.into(), rows, cols, init, trainable: false });
    }
}

/// Parameters as values of the graph under construction.
pub struct Bound<'s> {
    pub(crate) scope: &'s Scope,
    /// Prefix of names: `object/`, or empty.
    pub(crate) prefix: String,
    pub(crate) values: Vec<(String, Tensor<'s>)>,
}

impl<'s> Bound<'s> {
    /// The parameter of this name. An unknown name fails the build, reporting the valid names.
    pub fn get(&self, name: &str) -> Tensor<'s> {
        let full = format!("{}{name}", self.prefix);
        if let Some((_, tensor)) = self.values.iter().find(|(n, _)| *n == full) {
            return *tensor;
        }
        let known = self.values.iter().map(|(n, _)| n.strip_prefix(&self.prefix).unwrap_or(n));
        self.scope.fail(Error::unknown("parameter", name, known));
        self.scope.constant(0.0)
    }
}

/// A user-defined layer of differentiable operators, with NengoDL's life cycle.
///
/// [`TensorNode::pre_build`] declares parameters once, before any loop over time. They are ordinary parameters, which
/// penalties, optimiser groups, probes and files can name. [`TensorNode::call`] defines a step's output from its input;
/// values that do not change over time are computed once, not at each step.
///
/// ```
/// use nengo_wgpu::Tensor;
/// use nengo_wgpu::network::{Bound, Init, Parameters, TensorNode};
///
/// /// `W x`, without a bias.
/// struct Dense;
///
/// impl TensorNode for Dense {
///     fn pre_build(&self, size_in: usize, size_out: usize, parameters: &mut Parameters) -> nengo_wgpu::Result<()> {
///         parameters.add("W", size_out, size_in, Init::Uniform(-1.0, 1.0));
///         Ok(())
///     }
///
///     fn call<'s>(&self, _t: Tensor<'s>, x: Tensor<'s>, parameters: &Bound<'s>) -> Tensor<'s> {
///         x.dot(parameters.get("W"))
///     }
/// }
/// ```
pub trait TensorNode: Send + Sync {
    /// Declares the parameters of a node with inputs of `size_in` and outputs of `size_out` dimensions.
    ///
    /// # Errors
    /// Sizes that the node does not support.
    fn pre_build(&self, size_in: usize, size_out: usize, parameters: &mut Parameters) -> Result<()>;

    /// The output (`size_out` columns) for time `t` in seconds (one column) and input `x` (`size_in` columns).
    fn call<'s>(&self, t: Tensor<'s>, x: Tensor<'s>, parameters: &Bound<'s>) -> Tensor<'s>;
}
