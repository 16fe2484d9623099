//! Functions of the user's that run on the host, between two parts of a program.

use std::fmt;
use std::sync::Arc;

/// Function that a [`Callback`] calls for one example. Every `FnMut` of a time in seconds and a row that can be cloned is
/// one; the clone has what it has kept from call to call.
pub trait HostFunction: Send {
    /// The values at a time, in seconds, for the row that comes in.
    fn call(&mut self, t: f64, x: &[f32]) -> Vec<f32>;
    /// A copy, with what it has kept from call to call.
    fn copy(&self) -> Box<dyn HostFunction>;
}

impl<F: FnMut(f64, &[f32]) -> Vec<f32> + Clone + Send + 'static> HostFunction for F {
    fn call(&mut self, t: f64, x: &[f32]) -> Vec<f32> {
        self(t, x)
    }

    fn copy(&self) -> Box<dyn HostFunction> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn HostFunction> {
    fn clone(&self) -> Self {
        (**self).copy()
    }
}

/// Makes the function of an example, as it is before the first step, from the example's number in the data.
pub type CallbackFactory = Arc<dyn Fn(usize) -> Box<dyn HostFunction> + Send + Sync>;

/// A call of the host for a node or a connection's function: a row for each step and example from the row of its input.
///
/// Inputs: the row, and time in seconds (one column). It has no dispatch: the planner ends a part of
/// the program here, and the simulator calls the function before the next part.
#[derive(Clone)]
pub struct Callback {
    /// Whose function it is, for messages: `node 'f'`.
    pub what: String,
    /// Columns of its input.
    pub size_in: usize,
    /// Columns of its output.
    pub size_out: usize,
    /// Makes the function of an example, of time in seconds and a row of the input.
    pub factory: CallbackFactory,
}

impl fmt::Debug for Callback {
    // Two functions are never the same operator: the text names the object.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Callback({}, {}, {})", self.what, self.size_in, self.size_out)
    }
}
