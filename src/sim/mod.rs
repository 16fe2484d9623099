//! Runs: what a simulator has, its programs and states, and the way of data into runs and out of them.

pub(crate) mod core;
pub(crate) mod data;
mod feeds;
mod finite;
mod freeze;
mod host_calls;
pub(crate) mod layout;
mod learning;
pub(crate) mod lru_cache;
mod outline;
mod parameters;
pub(crate) mod processes;
pub(crate) mod program;
mod programs;
pub(crate) mod run;
pub(crate) mod shared;
mod state_buffers;
pub(crate) mod states;
pub(crate) mod stream;
pub(crate) mod targets;
pub(crate) mod window_input;

pub use core::Options;
pub(crate) use core::check_dt;
pub use data::{Data, Signal};
pub use freeze::EnsembleRates;
pub use outline::{Outline, Part as OutlinePart};
pub use stream::{Recorded, Sink, Window};
