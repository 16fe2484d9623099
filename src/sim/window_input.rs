//! What a window reads of the data.

use crate::sim::data::Data;

/// WindowInput of data for a program's feeds.
#[derive(Clone, Copy)]
pub(crate) struct WindowInput<'a> {
    pub inputs: &'a Data,
    pub targets: &'a Data,
    /// Which examples.
    pub batch: &'a [usize],
    /// First step since the last reset.
    pub first: u64,
    /// First step in the data.
    pub data_first: usize,
    /// Steps of the whole run.
    pub run: usize,
    /// What part of the run's steps this window is.
    pub share: f32,
    /// Whether it is the run's last window.
    pub ends: bool,
    /// Steps of the optimiser so far, for random numbers.
    pub training_step: u64,
}
