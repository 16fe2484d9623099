//! Input of an operator's lowering to dispatches: the places of its values, and the device.

use crate::engine::{Binding, BufferRef, Target};
use crate::shape::{Dims, Operand, Placed, PlacedStates, Type};

/// The surroundings of one operator as it is lowered.
pub struct Lower<'a> {
    /// Places of the inputs.
    pub inputs: Vec<Placed>,
    /// Place of the output; for an operator with a state, its whole history of `steps + 1` blocks.
    pub output: Placed,
    /// Of the output only the current step's rows exist, so that it does not move with the steps of a loop.
    pub rolls: bool,
    /// Places of the words of [`crate::graph::Operator::tables`].
    pub tables: Vec<Binding>,
    /// Places of its states, if it has any.
    pub states: Option<PlacedStates>,
    /// Size of the run.
    pub dims: Dims,
    /// One step of a loop (its rows start at a row given at each replay), not the whole run.
    pub in_loop: bool,
    /// Examples that one dispatch of a loop covers: a part of the minibatch, from the row on that is given at each replay.
    pub tile: usize,
    /// In a loop, for an output that is a sum over time: the step that is walked through first. Its sum over the tile's rows
    /// is written, those of all other steps are added.
    pub total: Option<usize>,
    /// The device.
    pub target: &'a Target,
    pub(crate) scratch: Vec<usize>,
    pub(crate) scratch_base: usize,
}

impl Lower<'_> {
    /// Rows of a value of type `ty` that one dispatch covers.
    pub fn rows(&self, ty: Type) -> usize {
        if self.in_loop && ty.extent == crate::graph::Extent::Sequence {
            self.tile
        } else {
            ty.total_rows(self.dims)
        }
    }

    /// Time steps that one dispatch covers.
    pub fn steps(&self) -> usize {
        if self.in_loop { 1 } else { self.dims.steps }
    }

    /// Input `i` with the period of its rows.
    pub fn operand(&self, i: usize) -> Operand {
        let placed = self.inputs[i].clone();
        Operand { period: placed.ty.total_rows(self.dims), placed }
    }

    /// A buffer of `len` floats for this operator alone, as a whole.
    pub fn scratch(&mut self, len: usize) -> Binding {
        self.scratch.push(len);
        let buffer = BufferRef::Local(self.scratch_base + self.scratch.len() - 1);
        Binding { buffer, offset: 0, len }
    }
}
