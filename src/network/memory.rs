//! Legendre memory units.

use ndarray::{Array1, Array2};

use crate::error::{Error, Result};
use crate::network::{Activation, Connection, Init, Layer, Network, Node, ObjectId, Synapse, Transform};

/// A recurrent layer with a memory of its input's recent window, as coefficients of Legendre polynomials
/// (Voelker, Kajić and Eliasmith 2019); the unit of NengoDL's benchmark.
///
/// For the input `x`, each step computes
///
/// ```text
/// u = e_x x + e_h h⁻ + e_m m⁻        m = A m⁻ + B u        h = tanh(W_x x + W_h h⁻ + W_m m)
/// ```
///
/// where `⁻` marks values of the step before. A and B represent a window of `theta` steps and are not trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LegendreMemory {
    /// Size of `h`, at least 1.
    pub units: usize,
    /// Size of `m`, at least 1.
    pub order: usize,
    /// Window length in steps, above 0.
    pub theta: f64,
}

impl LegendreMemory {
    /// The memory's A (order × order) and B (order), discretised for an input that is constant within a step.
    pub fn system(&self) -> (Array2<f64>, Array1<f64>) {
        let n = self.order;
        let sign = |k: usize| if k.is_multiple_of(2) { 1.0 } else { -1.0 };
        let scale = |i: usize| (2 * i + 1) as f64 / self.theta;
        // Equations 1 and 2 of the paper, with i the row and j the column.
        let a = Array2::from_shape_fn((n, n), |(i, j)| scale(i) * if i < j { -1.0 } else { sign(i - j + 1) });
        let b = Array2::from_shape_fn((n, 1), |(i, _)| scale(i) * sign(i));
        let system = crate::network::StateSpace { a, b, c: Array2::zeros((1, n)), d: 0.0 };
        let steps = system.discretise(1.0, crate::network::Method::ZeroOrderHold);
        (steps.a, steps.b.column(0).to_owned())
    }
}

impl Network {
    /// Adds a Legendre memory unit as the objects `NAME` (its output `h`), `NAME-memory` and `NAME-input`.
    ///
    /// # Errors
    /// A name that is taken, or a size that is not above 0.
    pub fn legendre_memory(&mut self, name: &str, input: ObjectId, lmu: LegendreMemory) -> Result<ObjectId> {
        let LegendreMemory { units, order, theta } = lmu;
        if order == 0 || units == 0 || !(theta.is_finite() && theta > 0.0) {
            let problem =
                format!("it has {units} units, order {order} and theta {theta}; each must be above 0");
            return Err(Error::invalid(format!("the memory unit '{name}'"), problem));
        }
        let (a, b) = lmu.system();
        let values = |all: Vec<f64>| Init::Values(all.into_iter().map(|x| x as f32).collect());
        let u = self.node(&format!("{name}-input"), Node::Passthrough(1))?;
        let m = self.node(&format!("{name}-memory"), Node::Passthrough(order))?;
        let h = self.unconnected_layer(name, Layer::elementwise(Activation::Tanh), units)?;
        let delayed = || Connection::new().synapse(Synapse::Lowpass(0.0));
        let dense = |init| Transform::Dense(init);
        self.connect(input, u, Connection::new().transform(dense(Init::Glorot)))?;
        self.connect(h, u, delayed().transform(dense(Init::Glorot)))?;
        self.connect(m, u, delayed().transform(dense(Init::Zeros)))?;
        self.connect(u, m, Connection::new().transform(dense(values(b.to_vec()))).frozen())?;
        self.connect(m, m, delayed().transform(dense(values(a.iter().copied().collect()))).frozen())?;
        self.connect(input, h, Connection::new().transform(dense(Init::Glorot)))?;
        self.connect(h, h, delayed().transform(dense(Init::Glorot)))?;
        self.connect(m, h, Connection::new().transform(dense(Init::Glorot)))?;
        Ok(h)
    }
}
