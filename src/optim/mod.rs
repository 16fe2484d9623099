//! Optimisers, learning rate schedules and penalties, and the kernels of an optimiser step.

pub mod accumulate;
pub mod norm;
mod optimiser;
mod penalty;
mod rule;
mod schedule;
mod step;
pub mod update;

pub use optimiser::{Clip, Optimiser};
pub use penalty::Penalty;
pub use rule::EpsilonAt;
pub use schedule::{Decay, Schedule};
