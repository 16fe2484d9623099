//! What a connection multiplies by.

use super::Init;

/// What a connection multiplies by.
#[derive(Clone, Debug, PartialEq)]
pub enum Transform {
    /// Nothing.
    Identity,
    /// A number.
    Scalar(f32),
    /// A number for each dimension.
    Vector(Init),
    /// A matrix of size_out × size_in.
    Dense(Init),
}
