//! Associative memories, which recognise known vectors and output a vector for each.

use ndarray::Array2;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::network::library::{matrix, passthrough, scaled};
use crate::network::{
    Connection, Decoding, Distribution, Ensemble, Function, Network, Node, ObjectId, Synapse,
};
use crate::solve::rows;

/// An ensemble per known vector, active while the input is similar to it; it then outputs the vector's answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AssociativeMemory {
    /// Vectors to recognise, items × dimensions.
    #[serde(with = "rows")]
    pub input_vectors: Array2<f64>,
    /// Answers, items × dimensions; the input vectors by default, which cleans up the input.
    #[serde(default, with = "rows::option")]
    pub output_vectors: Option<Array2<f64>>,
    /// Neurons per item; 50 by default.
    #[serde(default = "neurons")]
    pub n_neurons: usize,
    /// Similarity above which an item is active; 0.3 by default.
    #[serde(default = "threshold")]
    pub threshold: f64,
    /// Add an input that silences all items; false by default.
    #[serde(default)]
    pub inhibitable: bool,
    /// Strength of mutual inhibition, which leaves one item active; `None`, the default, has none. Nengo's default strength is
    /// 1.5.
    pub winner_take_all: Option<f64>,
    /// Make the answers of items all or nothing, with two more ensembles per item; false by default.
    #[serde(default)]
    pub threshold_outputs: bool,
    /// Output while no item is active, from one more ensemble; none by default.
    pub default_output_vector: Option<Vec<f64>>,
    /// Activity at which an item silences the default output, above 0; 0.5 by default.
    #[serde(default = "min_activation_value")]
    pub min_activation_value: f64,
}

fn neurons() -> usize {
    50
}

fn threshold() -> f64 {
    0.3
}

fn min_activation_value() -> f64 {
    0.5
}

/// The objects of an [`AssociativeMemory`].
#[derive(Clone, Copy, Debug)]
pub struct AssociativeMemoryParts {
    /// `NAME.input`
    pub input: ObjectId,
    /// `NAME.output`
    pub output: ObjectId,
    /// Activity of each item.
    pub utilities: ObjectId,
    /// `NAME.inhibit`, if the memory is inhibitable.
    pub inhibit: Option<ObjectId>,
}

const INHIBITION: f64 = 1.5;
const THRESHOLD_INHIBITION: f64 = 10.0;
const EVAL_POINTS: usize = 5000;

impl AssociativeMemory {
    /// A memory that cleans up these vectors, with Nengo's defaults.
    pub fn new(input_vectors: Array2<f64>) -> Self {
        Self {
            input_vectors,
            output_vectors: None,
            n_neurons: neurons(),
            threshold: threshold(),
            inhibitable: false,
            winner_take_all: None,
            threshold_outputs: false,
            default_output_vector: None,
            min_activation_value: min_activation_value(),
        }
    }

    /// Rejects shapes that do not match, and settings out of range.
    fn check(&self, name: &str) -> Result<()> {
        let inputs = &self.input_vectors;
        let outputs = self.output_vectors.as_ref().unwrap_or(inputs);
        let items = inputs.nrows();
        let what = || format!("associative memory '{name}'");
        if inputs.is_empty() || outputs.is_empty() {
            return Err(Error::invalid(what(), "it has no vectors; give it at least 1"));
        }
        if outputs.nrows() != items {
            let vectors = |n| format!("{n} vectors");
            let left = format!("the input of {}", what());
            return Err(Error::shape(left, vectors(items), "its output", vectors(outputs.nrows())));
        }
        if let Some(default) = self.default_output_vector.as_ref().filter(|d| d.len() != outputs.ncols()) {
            let dimensions = |n| format!("{n} dimensions");
            let left = format!("the default output of {}", what());
            return Err(Error::shape(
                left,
                dimensions(default.len()),
                "its output",
                dimensions(outputs.ncols()),
            ));
        }
        let least = self.min_activation_value;
        if !(least.is_finite() && least > 0.0) {
            return Err(Error::invalid(
                what(),
                format!("its min activation value is {least}, but must be above 0"),
            ));
        }
        Ok(())
    }

    /// Adds the objects under a name.
    ///
    /// # Errors
    /// A name that is taken, no vectors, different numbers of answers and inputs, a default output of another size, or invalid
    /// settings.
    pub fn add(&self, net: &mut Network, name: &str) -> Result<AssociativeMemoryParts> {
        self.check(name)?;
        let (inputs, n) = (&self.input_vectors, self.n_neurons);
        let outputs = self.output_vectors.as_ref().unwrap_or(inputs);
        let (items, least) = (inputs.nrows(), self.min_activation_value);
        net.within(name, |net| {
            let nengo = net.config.connection.clone();
            let bias = net.node("bias", Node::Constant(vec![1.0]))?;
            let input = passthrough(net, "input", inputs.ncols())?;
            let output = passthrough(net, "output", outputs.ncols())?;
            let positive = Distribution::choice(Array2::ones((1, 1)));
            let like = |ensemble: Ensemble, intercepts, points| {
                ensemble
                    .radius(1.0)
                    .encoders(positive.clone())
                    .intercepts(intercepts)
                    .eval_points(points)
                    .n_eval_points(EVAL_POINTS)
            };
            let decaying = Distribution::Exponential { scale: 0.15, shift: 0.0, high: 1.0 };
            let active = |ensemble| like(ensemble, decaying.clone(), Distribution::Uniform(0.0, 1.0));
            let items_array = net.ensemble("items", active(Ensemble::array(n, items)))?;
            let thresholds = Array2::from_elem((items, 1), -self.threshold);
            net.connect(bias, items_array, matrix(Connection::new(), &thresholds))?;
            net.connect(input, items_array, matrix(Connection::new(), inputs))?;
            // A steep step from 0 to 1.
            let step = Function::new(|x| vec![(1.0 - (-15.0 * x[0]).exp()).max(0.0)]);
            let mut utilities = net.add_output(items_array, "utilities", Decoding::of(step))?;
            if let Some(strength) = self.winner_take_all {
                let others =
                    Array2::from_shape_fn((items, items), |(i, j)| if i == j { 0.0 } else { -strength });
                let connection = Connection::new().synapse(Synapse::Lowpass(0.005));
                net.connect(utilities, items_array, matrix(connection, &others))?;
            }
            let silence = Array2::from_elem((items, 1), -INHIBITION);
            let inhibit = if self.inhibitable { Some(passthrough(net, "inhibit", 1)?) } else { None };
            if let Some(inhibit) = inhibit {
                net.connect(inhibit, items_array, matrix(Connection::new(), &silence))?;
            }
            if self.threshold_outputs {
                let (firing, points) = (Distribution::Uniform(0.5, 1.0), Distribution::Uniform(0.75, 1.1));
                let high = || like(Ensemble::array(n, items), firing.clone(), points.clone());
                let not = net.ensemble("thresh_bias", high())?;
                let full = net.ensemble("thresh_ens", high())?;
                let ones = Array2::ones((items, 1));
                let flip = Array2::from_diag_elem(items, -THRESHOLD_INHIBITION);
                net.connect(bias, not, matrix(Connection::new(), &ones))?;
                net.connect(bias, full, matrix(Connection::new(), &ones))?;
                net.connect(utilities, not, matrix(nengo.clone(), &flip))?;
                net.connect(not, full, matrix(nengo.clone(), &flip))?;
                if let Some(inhibit) = inhibit {
                    net.connect(inhibit, full, matrix(Connection::new(), &silence))?;
                }
                utilities = net.output_of(full)?;
            }
            net.connect(utilities, output, matrix(Connection::new(), &outputs.t().to_owned()))?;
            if let Some(vector) = &self.default_output_vector {
                let default = net.ensemble("default_output", active(Ensemble::new(n, 1)))?;
                net.connect(bias, default, Connection::new())?;
                net.connect(utilities, default, matrix(nengo, &Array2::from_elem((1, items), -1.0 / least)))?;
                let vector = Array2::from_shape_fn((vector.len(), 1), |(i, _)| vector[i]);
                net.connect(default, output, matrix(Connection::new(), &vector))?;
                if let Some(inhibit) = inhibit {
                    scaled(net, inhibit, default, -INHIBITION)?;
                }
            }
            Ok(AssociativeMemoryParts { input, output, utilities, inhibit })
        })
    }
}
