//! nengo-wgpu
pub mod build;
pub mod engine;
pub mod error;
pub mod graph;
pub mod io;
pub mod network;
pub mod op;
pub mod plan;
pub mod plot;
mod sim;
pub mod train;
pub use engine::{Checks, Device};
pub use error::{Error, Result};
pub use sim::{
    Data, EarlyStopping, EpochReport, Evaluation, Fit, Options, Progress, Signal, Simulator, StepReport,
};
