//! Decoded functions of ensembles, and the matrices that carry them.

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::network::{Distribution, Function, Init, Network, ObjectId};
use crate::solve::Solver;

/// Functions to decode from an ensemble, and how to find the decoders. For other objects, only a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// Functions: none for the represented value, one for all ensembles of an array, or one per ensemble.
    pub functions: Vec<Function>,
    /// Decoder solver; [`crate::network::Config::solver`] by default.
    pub solver: Option<Solver>,
    /// Evaluation points; the ensemble's by default.
    pub eval_points: Option<Distribution>,
    /// Scale given evaluation points by the ensemble's radius; true by default.
    pub scale_eval_points: bool,
    /// Weights that replace the solution. For a connection size_out × neurons; with full weights, post neurons × pre
    /// neurons; for an output (dimensions of all ensembles) × (neurons of one ensemble).
    pub weights: Option<Init>,
    /// Train an output's decoders; `None` takes [`crate::network::Config::trainable`]. For connections use
    /// [`Connection::trainable`](crate::network::Connection::trainable).
    pub trainable: Option<bool>,
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            functions: Vec::new(),
            solver: None,
            eval_points: None,
            scale_eval_points: true,
            weights: None,
            trainable: None,
        }
    }
}

impl Decoding {
    /// Decodes the represented value.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes a function of the represented value, the same for each ensemble of an array.
    pub fn of(function: impl Into<Function>) -> Self {
        Self { functions: vec![function.into()], ..Self::default() }
    }

    /// Decodes one function per ensemble of an array; they may give different numbers of values.
    pub fn of_each(functions: impl IntoIterator<Item = Function>) -> Self {
        Self { functions: functions.into_iter().collect(), ..Self::default() }
    }

    /// Sets the solver.
    pub fn solver(self, solver: impl Into<Solver>) -> Self {
        Self { solver: Some(solver.into()), ..self }
    }

    /// Uses these decoders, (dimensions of all ensembles) × (neurons of one ensemble), instead of a solution.
    pub fn weights(self, weights: Init) -> Self {
        Self { weights: Some(weights), ..self }
    }

    /// Trains or freezes the decoders, regardless of the network's default.
    pub fn trainable(self, trainable: bool) -> Self {
        Self { trainable: Some(trainable), ..self }
    }

    /// Freezes the decoders.
    pub fn frozen(self) -> Self {
        self.trainable(false)
    }

    /// The function applied to the output of `from`, an object without decoders.
    pub(super) fn of_signal(&self, connection: &str, from: &str) -> Result<Option<Function>> {
        let invalid = |problem| Err(Error::invalid(format!("connection '{connection}'"), problem));
        if (Self { functions: self.functions.clone(), ..Self::default() }) != *self {
            return invalid(format!(
                "a solver, evaluation points and decoders are for connections from ensembles, but '{from}' is not one; a \
                 function of it is computed exactly"
            ));
        }
        match &self.functions[..] {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            more => invalid(format!("it has {} functions; use one that gives all values", more.len())),
        }
    }

    /// The function of a group (one ensemble of an array).
    fn function(&self, group: usize) -> Option<&Function> {
        self.functions.get(if self.functions.len() == 1 { 0 } else { group })
    }

    /// Number of values that each of `groups` ensembles gives for a function of `dims` dimensions.
    pub(super) fn sizes(&self, what: &str, dims: usize, groups: usize) -> Result<Vec<usize>> {
        let count = self.functions.len();
        if count > 1 && count != groups {
            let functions = |n| format!("{n} functions");
            return Err(Error::shape(what, functions(count), "its ensembles", groups));
        }
        let sizes = self.functions.iter().map(|f| f.size_out(what, dims)).collect::<Result<Vec<_>>>()?;
        Ok(match sizes[..] {
            [] => vec![dims; groups],
            [one] => vec![one; groups],
            _ => sizes,
        })
    }
}

/// A parameter whose initial value is solved for.
#[derive(Clone)]
pub(crate) struct Decode {
    pub parameter: usize,
    /// Name for messages.
    pub what: String,
    pub ensemble: ObjectId,
    /// Dimensions of each ensemble that functions take.
    pub dims: Vec<usize>,
    pub decoding: Decoding,
    pub solver: Solver,
    /// Matrix after the decoders: values that arrive × values decoded.
    pub transform: Option<Array2<f64>>,
    /// Encoders after the transform: the post ensemble, and its dimensions that are reached.
    pub encode: Option<(ObjectId, Vec<usize>)>,
}

impl Decode {
    /// The function of a group.
    pub fn function(&self, group: usize) -> Option<&Function> {
        self.decoding.function(group)
    }
    /// True if the solver finds full weights directly, not by way of decoders.
    fn whole(&self) -> bool {
        self.encode.is_some() && !self.solver.method.compositional()
    }

    /// Matrix applied to targets before solving, for solvers of full weights.
    pub fn before_solving(&self, network: &Network) -> Result<Option<Array2<f64>>> {
        let Some((post, dims)) = self.encode.as_ref().filter(|_| self.whole()) else { return Ok(None) };
        let encoders = network.encoding(*post)?.0.scaled_encoders().select(ndarray::Axis(1), dims);
        Ok(Some(match &self.transform {
            Some(transform) => encoders.dot(transform),
            None => encoders,
        }))
    }

    /// The parameter's value: the decoders of each group stacked (each values × neurons), multiplied by the transform and the
    /// encoders.
    pub fn compose(&self, network: &Network, decoders: Array2<f64>) -> Result<Array2<f64>> {
        let mut weights = decoders;
        if self.whole() {
            return Ok(weights);
        }
        if let Some(transform) = &self.transform {
            weights = transform.dot(&weights);
        }
        if let Some((post, dims)) = &self.encode {
            let (encoding, _) = network.encoding(*post)?;
            let encoders = encoding.scaled_encoders().select(ndarray::Axis(1), dims);
            weights = encoders.dot(&weights);
        }
        Ok(weights)
    }
}
