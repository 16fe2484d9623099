//! What an operator is given to turn itself into dispatches: where its values lie, and on which device.

use crate::engine::{Binding, BufferRef, Target};
use crate::graph::{Dims, Type};

/// Where a value lies: a range of a buffer, and the element at which its first row starts in there.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// The range of a buffer.
    pub binding: Binding,
    /// First element of row 0, counted from the binding's start.
    pub start: usize,
    /// Shape and extent of the value.
    pub ty: Type,
}

/// An input of a dispatch: rows repeat with a period, a single column stands for all.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand {
    /// Where it lies.
    pub placed: Placed,
    /// Row `r` of the output reads row `r % period` of the operand.
    pub period: usize,
}

/// Where an operator's states lie, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedStates {
    /// All of them; `start` is the first element of the first.
    pub placed: Placed,
    /// Each has a history of `steps + 1` blocks of `batch` rows; else one block, as it is now.
    pub kept: bool,
}

/// The surroundings of one operator as it is lowered.
pub struct Lower<'a> {
    /// Where the inputs lie.
    pub inputs: Vec<Placed>,
    /// Where the output lies; for an operator with a state, its whole history of `steps + 1` blocks.
    pub output: Placed,
    /// Of the output only the current step's rows exist, so that it does not move with the steps of a loop.
    pub rolls: bool,
    /// Where the words of [`crate::graph::Operator::tables`] lie.
    pub tables: Vec<Binding>,
    /// Where its states lie, if it has any.
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
