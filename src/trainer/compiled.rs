//! A compiled training: its programs, and how far it has come.

use crate::engine::Program;
use crate::sim::lru_cache::LruCache;
use crate::sim::program::LoadedProgram;
use crate::trainer::best::Best;
use crate::trainer::gradient_accumulator::GradientAccumulator;
use crate::trainer::key::TrainKey;
use crate::trainer::windows::Windows;
use crate::trainer::{Roles, Training, Words};

/// A training that has been compiled for this simulator.
pub(crate) struct Trainer {
    pub training: Training,
    /// How it takes each parameter, and what has no effect.
    pub roles: Roles,
    pub programs: LruCache<TrainKey, LoadedProgram>,
    /// GradientAccumulator of the parameters' norms, for reports of the penalty.
    pub norms: Program,
    /// What runs in several windows need besides.
    pub sums: Option<GradientAccumulator>,
    /// How runs are cut, by the key of the whole run and the number of examples.
    pub windows: LruCache<(TrainKey, usize), Windows>,
    /// Why training runs are cut that nobody asked to cut, in a sentence.
    pub cut: Option<String>,
    /// Steps of the optimiser so far.
    pub step: u64,
    /// Epochs so far.
    pub epoch: u64,
    /// The best epoch of a fit with early stopping.
    pub best: Option<Best>,
    /// The next fit goes on with `best`, which a checkpoint has brought.
    pub goes_on: bool,
    /// The data of the last fit, in words, as a checkpoint keeps them.
    pub data: Words,
    /// The same of the checkpoint that was read, until a fit compares them.
    pub data_then: Option<Words>,
    /// What differs since the checkpoint that was read, in sentences.
    pub resumed: Vec<String>,
}
