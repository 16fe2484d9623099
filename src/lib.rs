//! Simulates and trains Nengo-style networks (nodes, layers and filtered connections that step through time) with WGSL
//! compute shaders on any GPU, and with a CPU twin of each shader where there is none.
//!
//! All parameters are buffers made once, before the loop over time. Any of them can be named by an objective, a penalty,
//! an optimiser group, a probe or a file; so weight decay of a layer inside the simulator's loop is one line.
//!
//! ```
//! use ndarray::array;
//! use nengo_wgpu::network::{Layer, Network, Node};
//! use nengo_wgpu::train::{Loss, Objective, Penalty, Select, Training};
//! use nengo_wgpu::{Data, Device, Fit, Simulator};
//!
//! # fn main() -> nengo_wgpu::Result<()> {
//! let mut net = Network::new(0);
//! let x = net.node("x", Node::Input(2))?;
//! let y = net.layer("y", Layer::dense(1), x)?;
//! net.probe("p", y)?;
//!
//! let mut sim = Simulator::new(&net, &Device::cpu())?;
//! let objective = Objective::new().loss("p", Loss::MeanSquared);
//! let decay = Penalty::L2Half(0.1);
//! sim.compile(Training::new(objective, 0.1).penalty(Select::parameter("y/weights"), decay))?;
//! let inputs = Data::new().with("x", array![[1.0, 0.0], [0.0, 1.0]]);
//! let targets = Data::new().with("p", array![[1.0], [-1.0]]);
//! let reports = sim.fit(&inputs, &targets, &Fit::epochs(20))?;
//! assert!(reports[19].loss < reports[0].loss);
//! # Ok(())
//! # }
//! ```
//!
//! # The way data takes
//!
//! ```text
//! Network ──build──▶ Graph ──gradient──▶ Graph ──plan──▶ stages ──record──▶ Recording ──▶ Engine
//! (what the          (operators          (with           (what loops        (plain data:   (wgpu, or
//!  user wrote)        on values)          adjoints)       in time)           dispatches)    its CPU twin)
//! ```
//!
//! One direction; each arrow is a function from plain data to plain data. Only `engine/wgpu/` mentions wgpu.
//!
//! | module | what it holds |
//! |---|---|
//! | [`toml`] | the file format: networks, data and trainings, and messages in the words of the file |
//! | [`Simulator`] | the face of runs and training |
//! | [`train`] | objectives, penalties, optimisers, schedules, and the training that carries them out |
//! | `sim` | runs: programs, states, data in and out |
//! | [`builder`] | network → graph, and the gradient of a graph |
//! | [`network`] | what a user writes |
//! | [`plan`] | folds and fuses operators, finds what loops in time, places buffers, writes down dispatches |
//! | [`optim`] | optimisers, schedules and penalties, and their kernels |
//! | [`op`] | one file per operator: contract, gradient, dispatch, CPU twin; its shader has the same stem |
//! | [`neuron`] | neuron types as steps in time, their gains and biases |
//! | [`expr`] | scalar expressions and steps: their derivative, their WGSL, their code for the CPU |
//! | [`graph`] | values with a shape and an extent, operators on them, and their evaluation in f64 |
//! | [`solve`] | decoders: solvers on the host, many systems at once, and what is kept of them on disk |
//! | [`engine`] | kernels, buffers, recordings as plain data; `wgpu/` and `cpu/` replay them |
//! | [`io`], [`plot`] | files and pictures |
//!
//! A module uses what stands below it and nothing above, and no files use each other in a circle: a test reads the `use` lines.
//! [`error`] is used by all.
//!
//! # Time
//!
//! A run is cut into windows of steps. What does not change in time is computed once, what has no state is computed for
//! all steps of a window in one dispatch, a filter alone walks through time inside one dispatch, and only operators on a
//! cycle walk through time together ([`plan::stages`]): on an adapter inside of one kernel that is written of theirs, with a
//! tile of examples a workgroup ([`plan::fuse`]), or else dispatched step by step. The gradient is planned by the same passes, so the weight
//! gradient of a recurrent connection is one matrix product over the saved history, outside of the loop.
//!
//! Training goes back through the whole run at once, or window by window: truncated, or from states that a first pass saved
//! at the borders, with the same gradient ([`train::Backprop`]). What that takes is planned before anything is allocated
//! ([`Simulator::memory_estimate`]).

pub mod builder;
pub mod engine;
pub mod error;
pub mod expr;
pub mod graph;
pub mod io;
#[cfg(test)]
mod layers;
pub mod network;
pub mod neuron;
pub mod op;
pub mod optim;
pub mod plan;
pub mod plot;
mod sim;
mod simulator;
pub mod solve;
pub mod text;
pub mod toml;
mod trainer;

/// How a network is trained: objective, penalties, optimiser, schedule.
pub mod train {
    pub use crate::expr::Surrogate;
    pub use crate::neuron::Spiking;
    pub use crate::optim::{Clip, Decay, EpsilonAt, Optimiser, Penalty, Schedule};
    pub use crate::trainer::{
        Backprop, Group, Loss, Metric, Objective, Over, Part, Select, Term, Terms, Training,
    };
}

pub use ndarray;

pub use engine::{Checks, Device};
pub use error::{Error, Result};
pub use sim::{Data, EnsembleRates, Options, Outline, OutlinePart, Recorded, Signal, Sink, Window};
pub use simulator::Simulator;
pub use trainer::{
    CheckedGradient, EarlyStopping, EpochReport, Evaluation, Fit, MemoryEstimate, Progress, StepReport,
    Verdict,
};

/// The programs in the README are compiled and run as they stand there.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
