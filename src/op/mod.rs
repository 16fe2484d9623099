//! One file per operator family, with the same stem as its shader: its contract, its gradient, its dispatch and its
//! CPU twin; and the methods of [`Tensor`](crate::graph::Tensor) that use it.

pub mod accuracy;
pub mod blocks;
pub mod callback;
pub mod columns;
pub mod convolution;
pub mod cross_entropy;
pub mod delay;
pub mod discretise;
pub mod dropout;
pub mod filter;
pub mod last;
pub mod learn;
pub mod map;
pub mod matmul;
pub mod neurons;
pub mod noise;
pub mod pool;
pub mod reduce;
mod rows;
pub mod sample;
pub mod scan;
pub mod softmax;
pub mod sparse;
pub mod transpose;
pub mod window;

pub use accuracy::Accuracy;
pub use blocks::{Blocks, Spread};
pub use callback::Callback;
pub use columns::{Join, Slice};
pub use convolution::Convolution;
pub use cross_entropy::CrossEntropy;
pub use delay::Delay;
pub use dropout::Dropout;
pub use last::{AtLast, Last};
pub use learn::Learn;
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
