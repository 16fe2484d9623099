//! Input of a window.

use crate::sim::data::Data;

/// The part of a run's data that a window reads into its feeds.
#[derive(Clone, Copy)]
pub(crate) struct WindowInput<'a> {
    pub inputs: &'a Data,
    pub targets: &'a Data,
    /// Examples, as indices into the data.
    pub batch: &'a [usize],
    /// First step, counted from the last reset.
    pub first: u64,
    /// First step, counted from the start of the data.
    pub data_first: usize,
    /// Steps of the whole run.
    pub run: usize,
    /// Share of the run's steps in this window.
    pub share: f32,
    /// True for the run's last window.
    pub ends: bool,
    /// Number of optimiser steps so far, for random numbers.
    pub training_step: u64,
}
