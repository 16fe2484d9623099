//! Buffers that all programs of a simulator share.

use crate::engine::{Binding, BufferId, BufferRef, Engine};

/// A shared buffer of parameters or of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shared {
    /// Parameters.
    Parameters,
    /// Gradients of the parameters.
    Gradients,
    /// Report that is read back after each training step: one line with one float for each loss and metric, then the sums of
    /// norms.
    Report,
    /// Parameter of each line, and penalties of each parameter.
    Table,
    /// Numbers of the optimiser that change from step to step.
    Hyper,
    /// Partial sums of norms, a pair for each line.
    Partials,
    /// Slot of the optimiser, 0 to 2.
    Slot(usize),
    /// Gradients of a window, followed by its report.
    Window,
}

/// Number of the buffers of [`Shared`]; states follow.
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

/// The list of shared buffers. A place without a buffer of its own holds the buffer of the parameters.
#[derive(Default)]
pub(crate) struct SharedBuffers {
    list: Vec<BufferId>,
    /// Places without a buffer, for the next ones.
    spare: Vec<usize>,
}

impl SharedBuffers {
    /// The list with the parameters' buffer alone.
    pub fn new(parameters: BufferId) -> Self {
        Self { list: vec![parameters; FIXED], spare: Vec::new() }
    }

    /// All buffers, in the order that programs refer to.
    pub fn all(&self) -> &[BufferId] {
        &self.list
    }

    /// The buffer at a place.
    pub fn at(&self, place: usize) -> BufferId {
        self.list[place]
    }

    /// One of the buffers of [`Shared`].
    pub fn get(&self, which: Shared) -> BufferId {
        self.list[which.index()]
    }

    /// True if the buffer is allocated.
    pub fn has(&self, which: Shared) -> bool {
        which == Shared::Parameters || self.get(which) != self.get(Shared::Parameters)
    }

    /// Sets a buffer.
    pub fn set(&mut self, which: Shared, buffer: BufferId) {
        self.list[which.index()] = buffer;
    }

    /// The place that [`SharedBuffers::add`] gives next.
    pub fn next(&self) -> usize {
        self.spare.last().copied().unwrap_or(self.list.len())
    }

    /// Adds a buffer and returns its place.
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
