//! Nengo's standard networks of ensembles, each as one call.
//!
//! Each is a struct of settings with Nengo's defaults. Its `add` creates the objects under a name, such as `NAME.input`, and
//! returns them. The matrices and factors of its connections are parameters, trained as in NengoDL.

mod associative_memory;
mod basal_ganglia;
mod circular_convolution;
mod gated_memory;
mod integrator;
mod oscillator;
mod product;
mod thalamus;

pub use associative_memory::{AssociativeMemory, AssociativeMemoryParts};
pub use basal_ganglia::{BasalGanglia, BasalGangliaParts};
pub use circular_convolution::{CircularConvolution, CircularConvolutionParts};
pub use gated_memory::{InputGatedMemory, InputGatedMemoryParts};
pub use integrator::{Integrator, IntegratorParts};
pub use oscillator::{Oscillator, OscillatorParts};
pub use product::{Product, ProductParts};
pub use thalamus::{Thalamus, ThalamusParts};

use ndarray::Array2;

use crate::error::Result;
use crate::network::{Connection, ConnectionId, Init, Network, Node, ObjectId, Transform};

/// Connects through a factor, without a filter.
fn scaled(net: &mut Network, pre: ObjectId, post: ObjectId, factor: f64) -> Result<ConnectionId> {
    net.connect(pre, post, Connection::new().transform(Transform::Scalar(factor as f32)))
}

/// Gives a connection a matrix of size_out × size_in.
fn matrix(connection: Connection, values: &Array2<f64>) -> Connection {
    let values = values.iter().map(|x| *x as f32).collect();
    connection.transform(Transform::Dense(Init::Values(values)))
}

/// A node that sums its inputs.
fn passthrough(net: &mut Network, name: &str, size: usize) -> Result<ObjectId> {
    net.node(name, Node::Passthrough(size))
}
