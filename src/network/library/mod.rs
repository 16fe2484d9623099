//! Networks of ensembles that Nengo knows by name, each as one call.
//!
//! Each is a struct of settings with Nengo's defaults; its `add` makes the objects under a name, `NAME.input` for example, and
//! returns them. The matrices and numbers of its connections are parameters, trained as NengoDL trains them.

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

/// A connection without a filter through a number.
fn scaled(net: &mut Network, pre: ObjectId, post: ObjectId, factor: f64) -> Result<ConnectionId> {
    net.connect(pre, post, Connection::new().transform(Transform::Scalar(factor as f32)))
}

/// A connection through a matrix of size_out × size_in.
fn matrix(connection: Connection, values: &Array2<f64>) -> Connection {
    let values = values.iter().map(|x| *x as f32).collect();
    connection.transform(Transform::Dense(Init::Values(values)))
}

/// What comes in, summed.
fn passthrough(net: &mut Network, name: &str, size: usize) -> Result<ObjectId> {
    net.node(name, Node::Passthrough(size))
}
