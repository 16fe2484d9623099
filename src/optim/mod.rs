//! How parameters follow their gradients: optimisers, schedules and penalties, and the kernels that carry them out.

pub mod accumulate;
pub mod norm;
mod optimiser;
mod penalty;
mod schedule;
pub mod update;

pub use optimiser::{Clip, Optimiser};
pub use penalty::Penalty;
pub use schedule::{Decay, Schedule};
pub use update::EpsilonAt;
