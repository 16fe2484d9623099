//! The buffers that all programs of a simulator share.

use crate::engine::{Binding, BufferId, BufferRef, Engine};

/// A shared buffer of parameters or of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shared {
    /// Parameters.
    Parameters,
    /// Their gradients.
    Gradients,
    /// What is read back after each step: a float on each line for each loss and metric, then the sums of norms.
    Report,
    /// Which parameter a line belongs to, and each one's penalties.
    Table,
    /// Numbers of the optimiser that change from step to step.
    Hyper,
    /// A pair of sums for each line.
    Partials,
    /// One of the optimiser's three slots.
    Slot(usize),
    /// Gradients of a window, then its report.
    Window,
}

/// Number of the above; states follow.
const FIXED: usize = 10;

impl Shared {
    /// Its place in the list that programs are loaded with.
    pub fn index(self) -> usize {
        match self {
            Shared::Parameters => 0,
            Shared::Gradients => 1,
            Shared::Report => 2,
            Shared::Table => 3,
            Shared::Hyper => 4,
            Shared::Partials => 5,
            Shared::Slot(i) => 6 + i,
            Shared::Window => 9,
        }
    }

    /// Its first `len` floats.
    pub fn first(self, len: usize) -> Binding {
        Binding { buffer: BufferRef::Shared(self.index()), offset: 0, len }
    }
}

/// The list of shared buffers. A place without a buffer of its own holds that of the parameters.
#[derive(Default)]
pub(crate) struct SharedBuffers {
    list: Vec<BufferId>,
    /// Places that hold nothing.
    spare: Vec<usize>,
}

impl SharedBuffers {
    /// The parameters' buffer alone.
    pub fn new(parameters: BufferId) -> Self {
        Self { list: vec![parameters; FIXED], spare: Vec::new() }
    }

    /// All of them, as programs are loaded with.
    pub fn all(&self) -> &[BufferId] {
        &self.list
    }

    /// The buffer at a place.
    pub fn at(&self, place: usize) -> BufferId {
        self.list[place]
    }

    /// One of the fixed ones.
    pub fn get(&self, which: Shared) -> BufferId {
        self.list[which.index()]
    }

    /// Whether a buffer is there.
    pub fn has(&self, which: Shared) -> bool {
        which == Shared::Parameters || self.get(which) != self.get(Shared::Parameters)
    }

    /// Puts a buffer in its place.
    pub fn set(&mut self, which: Shared, buffer: BufferId) {
        self.list[which.index()] = buffer;
    }

    /// The place of the next buffer that is added.
    pub fn next(&self) -> usize {
        self.spare.last().copied().unwrap_or(self.list.len())
    }

    /// Adds a buffer; gives its place.
    pub fn add(&mut self, buffer: BufferId) -> usize {
        match self.spare.pop() {
            Some(place) => {
                self.list[place] = buffer;
                place
            }
            None => {
                self.list.push(buffer);
                self.list.len() - 1
            }
        }
    }

    /// Frees an added buffer.
    pub fn free(&mut self, place: usize, engine: &mut dyn Engine) {
        engine.free(self.list[place]);
        self.list[place] = self.list[Shared::Parameters.index()];
        self.spare.push(place);
    }

    /// Frees the buffers of training.
    pub fn free_training(&mut self, engine: &mut dyn Engine) {
        let parameters = self.get(Shared::Parameters);
        for buffer in &mut self.list[1..FIXED] {
            if *buffer != parameters {
                engine.free(*buffer);
            }
            *buffer = parameters;
        }
    }
}
