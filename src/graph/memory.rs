//! Memory of operators.

/// Dependence of an operator on time.
///
/// An operator whose output is its state stores its history in `steps + 1` blocks of `batch` rows: forward in time, block
/// `t + 1` is computed from block `t` and the input of step `t`, and block 0 is the state that a window
/// starts from. Backward in time, block `t` comes from block `t + 1`, and block `steps` is the start.
/// A delaying operator's output at step `t` is the block that was there *before* the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// None: each step depends on its inputs alone.
    None,
    /// A state that is carried from one step to the next.
    State {
        /// The output at a step does not depend on the input at that step.
        delays: bool,
        /// Time runs from the last step to the first (adjoints).
        backward: bool,
    },
    /// The output is that of each step, without delay; only the operator's
    /// [states](crate::graph::Operator::states) are carried.
    Scan {
        /// Time runs from the last step to the first (adjoints).
        backward: bool,
    },
}

impl Memory {
    /// The output at a step does not depend on the input at that step.
    pub fn delays(self) -> bool {
        matches!(self, Memory::State { delays: true, .. })
    }

    /// Carries a state.
    pub fn is_state(self) -> bool {
        self != Memory::None
    }

    /// First block of the `steps` blocks that are the output; the history has one more.
    pub fn output_block(self) -> usize {
        match self {
            Memory::None | Memory::Scan { .. } => 0,
            // Forward, the block before a step is `t`, the one after it `t + 1`; backward it is the other way.
            Memory::State { delays, backward } => usize::from(delays == backward),
        }
    }

    /// Time runs from the last step to the first.
    pub fn backward(self) -> bool {
        matches!(self, Memory::State { backward: true, .. } | Memory::Scan { backward: true })
    }

    /// The block that a window starts from, given the number of steps.
    pub fn start_block(self, steps: usize) -> usize {
        if self.backward() { steps } else { 0 }
    }

    /// The first of the `steps` blocks that a state's history holds as it was before, or after, each step.
    pub fn state_block(self, after: bool) -> usize {
        usize::from(after != self.backward())
    }
}
