//! What is decoded of an ensemble, and the matrices that carry it.

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::network::{Distribution, Function, Init, Network, ObjectId};
use crate::solve::Solver;

/// What is decoded of an ensemble, and how its decoders are found. Of other objects, which represent nothing, only a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// What is computed: the value itself if there are none, one function, or one for each ensemble of an array.
    pub functions: Vec<Function>,
    /// How decoders are found; as [`crate::network::Config::solver`] says by default.
    pub solver: Option<Solver>,
    /// Points to solve at; the ensemble's by default.
    pub eval_points: Option<Distribution>,
    /// Whether own points are in radii of the ensemble; true.
    pub scale_eval_points: bool,
    /// The weights themselves, in place of a solution: of a connection size_out × neurons, with full weights the post
    /// ensemble's neurons × neurons; of an output (dimensions of all ensembles) × (neurons of one).
    pub weights: Option<Init>,
    /// Whether an output's decoders are trained, as [`crate::network::Config::trainable`] says if not given; for connections
    /// [`Connection::trainable`](crate::network::Connection::trainable) says it.
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
    /// The represented value.
    pub fn new() -> Self {
        Self::default()
    }

    /// A function of the represented value, for each ensemble of an array.
    pub fn of(function: impl Into<Function>) -> Self {
        Self { functions: vec![function.into()], ..Self::default() }
    }

    /// A function for each ensemble of an array; they may give different numbers of values.
    pub fn of_each(functions: impl IntoIterator<Item = Function>) -> Self {
        Self { functions: functions.into_iter().collect(), ..Self::default() }
    }

    /// With another solver.
    pub fn solver(self, solver: impl Into<Solver>) -> Self {
        Self { solver: Some(solver.into()), ..self }
    }

    /// With these decoders, (dimensions of all ensembles) × (neurons of one), in place of a solution.
    pub fn weights(self, weights: Init) -> Self {
        Self { weights: Some(weights), ..self }
    }

    /// With decoders that are trained or not, whatever the network says.
    pub fn trainable(self, trainable: bool) -> Self {
        Self { trainable: Some(trainable), ..self }
    }

    /// With decoders that are not trained.
    pub fn frozen(self) -> Self {
        self.trainable(false)
    }

    /// The function of a signal that nothing decodes, `from`.
    pub(super) fn of_signal(&self, connection: &str, from: &str) -> Result<Option<Function>> {
        let invalid = |problem| Err(Error::invalid(format!("connection '{connection}'"), problem));
        if (Self { functions: self.functions.clone(), ..Self::default() }) != *self {
            return invalid(format!(
                "a solver, points to solve at and decoders are for connections from ensembles, but '{from}' is none; a \
                 function of it is computed as it is"
            ));
        }
        match &self.functions[..] {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            more => invalid(format!("it has {} functions; let one give all values", more.len())),
        }
    }

    /// The function of a group.
    fn function(&self, group: usize) -> Option<&Function> {
        self.functions.get(if self.functions.len() == 1 { 0 } else { group })
    }

    /// Values that come of `dims` dimensions of each of `groups` ensembles.
    pub(super) fn sizes(&self, what: &str, dims: usize, groups: usize) -> Result<Vec<usize>> {
        let count = self.functions.len();
        if count > 1 && count != groups {
            let of = |n| format!("{n} functions");
            return Err(Error::shape(what, of(count), "its ensembles", groups));
        }
        let sizes = self.functions.iter().map(|f| f.size_out(what, dims)).collect::<Result<Vec<_>>>()?;
        Ok(match sizes[..] {
            [] => vec![dims; groups],
            [one] => vec![one; groups],
            _ => sizes,
        })
    }
}

/// A parameter whose start is solved for.
#[derive(Clone)]
pub(crate) struct Decode {
    pub parameter: usize,
    /// For messages.
    pub what: String,
    pub ensemble: ObjectId,
    /// Dimensions of each ensemble that functions see.
    pub dims: Vec<usize>,
    pub decoding: Decoding,
    pub solver: Solver,
    /// What follows the decoders: values that arrive × values decoded.
    pub transform: Option<Array2<f64>>,
    /// The encoders that follow the transform: of the post ensemble, at these of its dimensions.
    pub encode: Option<(ObjectId, Vec<usize>)>,
}

impl Decode {
    /// The function of a group.
    pub fn function(&self, group: usize) -> Option<&Function> {
        self.decoding.function(group)
    }
    /// Whether the weights themselves are solved for, since the method finds others than by way of decoders.
    fn whole(&self) -> bool {
        self.encode.is_some() && !self.solver.method.compositional()
    }

    /// What targets go through before they are solved for.
    pub fn before_solving(&self, network: &Network) -> Result<Option<Array2<f64>>> {
        let Some((post, dims)) = self.encode.as_ref().filter(|_| self.whole()) else { return Ok(None) };
        let encoders = network.encoding(*post)?.0.scaled_encoders().select(ndarray::Axis(1), dims);
        Ok(Some(match &self.transform {
            Some(transform) => encoders.dot(transform),
            None => encoders,
        }))
    }

    /// The parameter: the decoders of each group one below the other (each values × neurons), what follows them, and the
    /// encoders at the end.
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
