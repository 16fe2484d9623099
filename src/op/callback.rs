//! A function of the user's that runs on the host, as an operator.

use crate::engine::Dispatch;
use crate::error::Result;
use crate::graph::{Adjoint, Extent, Lower, Operator, Reference, Tensor, Type};
pub use crate::graph::{Callback, CallbackFactory, HostFunction};

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

    fn host_call(&self) -> Option<&Callback> {
        Some(self)
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
