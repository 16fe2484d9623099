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
//! # Modules
//!
//! | module | what it holds |
//! |---|---|
//! | [`Simulator`] | runs and training |
//! | [`network`] | what a user writes: objects, connections, probes, neuron types, solvers |
//! | [`train`] | objectives, penalties, optimisers, schedules |
//! | [`tensor`] | values that tensor nodes and custom objectives compute with |
//! | [`toml`] | networks, data and trainings as files |
//! | [`io`] | data sets and tables |
//! | `plot` | pictures, with the feature `plot` |
//! | [`prelude`] | the names that most programs need, and `ndarray` |
//!
//! # Features
//!
//! Both are on by default; `default-features = false` leaves the library alone.
//!
//! - `cli`: the program `nengo-wgpu`, which also needs `plot`.
//! - `plot`: the module `plot`, pictures as SVG and PNG.
//!
//! # The way of the data
//!
//! ```text
//! Network ──build──▶ Graph ──gradient──▶ Graph ──plan──▶ stages ──record──▶ Recording ──▶ Engine
//! (what the          (operators          (with           (what loops        (plain data:   (wgpu, or
//!  user wrote)        on values)          adjoints)       in time)           dispatches)    its CPU twin)
//! ```
//!
//! One direction; each arrow is a function from plain data to plain data. `ARCHITECTURE.md` in the repository says more.
//!
//! # Time
//!
//! A run is cut into windows of steps. What does not change in time is computed once, what has no state is computed for
//! all steps of a window in one dispatch, a filter alone walks through time inside one dispatch, and only operators on a
//! cycle walk through time together. On an adapter they are fused into one generated kernel, one tile of examples per workgroup;
//! where that is not possible, they are dispatched step by step. The gradient is planned by the same passes, so the weight
//! gradient of a recurrent connection is one matrix product over the saved history, outside of the loop.
//!
//! Training goes back through the whole run at once, or window by window: truncated, or from states that a first pass saved
//! at the borders, with the same gradient ([`train::Backprop`]). What that takes is planned before anything is allocated
//! ([`Simulator::memory_estimate`]).

mod builder;
mod engine;
mod error;
mod expr;
mod graph;
pub mod io;
#[cfg(test)]
mod layers;
pub mod network;
mod neuron;
mod op;
mod optim;
mod plan;
#[cfg(feature = "plot")]
pub mod plot;
mod shape;
mod sim;
mod simulator;
mod solve;
mod text;
pub mod toml;
mod trainer;

/// Settings of a training: objective, penalties, optimiser, schedule.
pub mod train {
    pub use crate::expr::Surrogate;
    pub use crate::neuron::Spiking;
    pub use crate::optim::{Clip, Decay, EpsilonAt, Optimiser, Penalty, Schedule};
    pub use crate::trainer::{
        Backprop, Group, Loss, Metric, Objective, Over, Part, Select, Term, Terms, Training,
    };
}

/// Values of a network under construction: what tensor nodes and custom objectives compute with.
pub mod tensor {
    pub use crate::expr::Unary;
    pub use crate::graph::{Dims, Extent, Tensor, Type};
}

/// Names that most programs need: `use nengo_wgpu::prelude::*;`.
///
/// ```
/// use nengo_wgpu::prelude::*;
///
/// # fn main() -> nengo_wgpu::Result<()> {
/// let mut net = Network::new(0);
/// let x = net.node("x", Node::Input(2))?;
/// let y = net.layer("y", Layer::dense(1), x)?;
/// net.probe("p", y)?;
/// let mut sim = Simulator::new(&net, &Device::cpu())?;
/// let output = sim.predict(&Data::new().with("x", array![[1.0, 0.0]]))?;
/// # Ok(())
/// # }
/// ```
pub mod prelude {
    pub use crate::network::{
        Activation, Connection, Distribution, Ensemble, Init, Layer, Network, NeuronType, Neurons, Node,
        Synapse, Transform,
    };
    pub use crate::train::{Loss, Metric, Objective, Optimiser, Penalty, Select, Training};
    pub use crate::{Data, Device, Error, Fit, Options, Result, Signal, Simulator, Tensor};
    pub use ndarray::{self, array};
}

/// Rooms below the public ones, for this crate's tests, benches and program. Not part of the interface: any release may change
/// them.
#[doc(hidden)]
pub mod internals {
    pub mod builder {
        pub use crate::builder::*;
    }
    pub mod engine {
        pub use crate::engine::*;
    }
    pub mod expr {
        pub use crate::expr::*;
    }
    pub mod graph {
        pub use crate::graph::*;
    }
    pub mod neuron {
        pub use crate::neuron::*;
    }
    pub mod op {
        pub use crate::op::*;
    }
    pub mod optim {
        pub use crate::optim::*;
    }
    pub mod plan {
        pub use crate::plan::*;
    }
    pub mod read {
        pub use crate::toml::read::*;
    }
    pub mod solve {
        pub use crate::solve::*;
    }
    pub mod text {
        pub use crate::text::*;
    }
}

pub use ndarray;

pub use engine::{Adapter, Checks, Device, DeviceKind};
pub use error::{Error, ErrorKind, Result};
pub use plan::report::{Report as PlanReport, StageKind, StageReport};
pub use sim::{Data, EnsembleRates, Options, Outline, OutlinePart, Recorded, Signal, Sink, Window};
pub use simulator::Simulator;
pub use tensor::Tensor;
pub use trainer::{
    CheckedGradient, EarlyStopping, EpochReport, Evaluation, Fit, MemoryEstimate, Progress, StepReport,
    Verdict,
};

/// The programs in the README are compiled and run as they stand there.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
