//! A compiled training: its programs and counters.

use crate::engine::Program;
use crate::sim::lru_cache::LruCache;
use crate::sim::program::LoadedProgram;
use crate::trainer::best::Best;
use crate::trainer::gradient_accumulator::GradientAccumulator;
use crate::trainer::key::TrainKey;
use crate::trainer::windows::Windows;
use crate::trainer::{Roles, Training, Words};

/// A training that has been compiled for a simulator's core.
pub(crate) struct Trainer {
    pub training: Training,
    /// Learning rate factor of each parameter, and warnings.
    pub roles: Roles,
    pub programs: LruCache<TrainKey, LoadedProgram>,
    /// Computes the parameters' norms, for reports of the penalty.
    pub norms: Program,
    /// Programs for runs in several windows; loaded on first use.
    pub sums: Option<GradientAccumulator>,
    /// Windows of runs, by the key of the whole run and the number of examples.
    pub windows: LruCache<(TrainKey, usize), Windows>,
    /// Reason why training runs are cut into windows without having been set to, in a sentence.
    pub cut: Option<String>,
    /// Number of optimiser steps so far.
    pub step: u64,
    /// Number of epochs so far.
    pub epoch: u64,
    /// Best epoch of a fit with early stopping.
    pub best: Option<Best>,
    /// True if the next fit continues with `best`, from a checkpoint.
    pub continues: bool,
    /// Description of the last fit's data, for checkpoints.
    pub data: Words,
    /// Description of the loaded checkpoint's data, until a fit compares it.
    pub data_then: Option<Words>,
    /// Differences from the loaded checkpoint, one sentence each.
    pub resumed: Vec<String>,
}
