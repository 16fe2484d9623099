//! One file per operator family, with the same stem as its shader: its contract, its gradient, its dispatch and its
//! CPU twin; and the methods of [`Tensor`](crate::graph::Tensor) that use it.

pub mod accumulate;
pub mod accuracy;
pub mod callback;
pub mod columns;
pub mod cross_entropy;
pub mod delay;
pub mod dropout;
pub mod expr;
pub mod function;
pub mod last;
pub mod lowpass;
pub mod map;
pub mod matmul;
pub mod norm;
mod operands;
pub mod real;
pub mod reduce;
mod rows;
pub mod sample;
pub mod scan;
pub mod softmax;
pub mod step;
pub mod transpose;
pub mod update;

pub use accuracy::Accuracy;
pub use callback::Callback;
pub use columns::{Concat, Pad, Slice};
pub use cross_entropy::CrossEntropy;
pub use delay::Delay;
pub use dropout::Dropout;
pub use function::{Binary, Surrogate, Unary};
pub use last::{AtLast, Last};
pub use lowpass::Lowpass;
pub use map::Map;
pub use matmul::Matmul;
pub use reduce::Reduce;
pub use scan::Scan;
pub use softmax::Softmax;
pub use transpose::Transpose;
