//! A function of the user's that runs on the host, between two parts of a program.

use std::fmt;
use std::sync::Arc;

use crate::engine::Dispatch;
use crate::error::Result;
use crate::graph::{Adjoint, Extent, Lower, Operator, Reference, Tensor, Type};

/// What a callback computes on the host for one example. Every function of time in seconds and of a row that can be copied
/// is one: what it keeps from call to call is copied with it.
pub trait HostFunction: Send {
    /// The values at a time, in seconds, for the row that comes in.
    fn call(&mut self, t: f64, x: &[f32]) -> Vec<f32>;
    /// Another one that keeps what this one keeps now.
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

/// Makes the function of an example, by its number in the data, as it is before the first step.
pub type CallbackFactory = Arc<dyn Fn(usize) -> Box<dyn HostFunction> + Send + Sync>;

/// What a node, or the function of a connection, computes on the host: a row for each step and example from the row of its
/// input.
///
/// Inputs: the row, and time in seconds (one column). It has no dispatch: [`record`](mod@crate::plan::record) cuts
/// the program here, and the simulator calls the function between the two parts.
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
    // Two functions are never the same operator, so it says whose it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Callback({}, {}, {})", self.what, self.size_in, self.size_out)
    }
}

impl Operator for Callback {
    fn name(&self) -> &'static str {
        "callback"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        match inputs[0].extent {
            Extent::Sequence => Ok(Type::sequence(self.size_out)),
            _ => Err(format!("{} has no steps", inputs[0])),
        }
    }

    fn gradient<'s>(&self, _: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        None
    }

    fn lower(&self, _: &mut Lower) -> Result<Vec<Dispatch>> {
        Ok(Vec::new())
    }

    /// As if each step were the first: of a function that keeps something, only the simulator knows what it gives.
    fn reference(&self, at: &Reference) -> Vec<f64> {
        let row = |b: usize| {
            let x: Vec<f32> = (0..at.types[0].cols).map(|c| at.at(0, b, c) as f32).collect();
            let mut y = (self.factory)(b).call(at.at(1, b, 0), &x);
            y.resize(self.size_out, f32::NAN);
            y.into_iter().map(f64::from)
        };
        (0..at.rows).flat_map(row).collect()
    }
}
