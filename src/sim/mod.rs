//! Runs of a network on a device: programs, states, inputs and recorded outputs.

pub(crate) mod core;
pub(crate) mod data;
mod feeds;
mod finite;
mod host_calls;
pub(crate) mod layout;
mod learning;
pub(crate) mod lru_cache;
mod outline;
mod parameters;
mod predict;
pub(crate) mod probes;
pub(crate) mod processes;
pub(crate) mod program;
mod programs;
mod rates;
pub(crate) mod shared;
mod state_buffers;
pub(crate) mod states;
pub(crate) mod stream;
pub(crate) mod targets;
pub(crate) mod window_input;

pub use core::Options;
pub(crate) use core::check_dt;
pub use data::{Data, Signal};
pub use outline::{Outline, Part as OutlinePart};
pub use rates::EnsembleRates;
pub use stream::{Recorded, Sink, Window};
