//! One file per operator family, with the same stem as its shader: its contract, its gradient, its dispatch and its
//! CPU twin; and the methods of [`Tensor`](crate::graph::Tensor) that use it.

pub mod accuracy;
pub mod columns;
pub mod compiled;
pub mod convolution;
pub mod cross_entropy;
pub mod delay;
pub mod dropout;
pub mod expr;
pub mod filter;
pub mod function;
pub mod map;
pub mod matmul;
pub mod neuron;
pub mod noise;
pub mod norm;
mod operands;
pub mod pool;
pub mod real;
pub mod reduce;
mod rows;
pub mod scan;
pub mod softmax;
pub mod sparse;
pub mod step;
pub mod transpose;
pub mod update;
pub mod window;

pub use accuracy::Accuracy;
pub use columns::{Concat, Pad, Slice};
pub use convolution::Convolution;
pub use cross_entropy::CrossEntropy;
pub use delay::Delay;
pub use dropout::Dropout;
pub use function::{Binary, Surrogate, Unary};
pub use map::Map;
pub use matmul::Matmul;
pub use noise::Noise;
pub use pool::Pool;
pub use reduce::Reduce;
pub use scan::Scan;
pub use softmax::Softmax;
pub use sparse::{Pattern, Sparse, SparseWeights};
pub use transpose::Transpose;
pub use window::Window;
