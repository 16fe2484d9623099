//! The value of the step before: the only way back in time, together with delaying filters.

use std::sync::Arc;

use crate::engine::Dispatch;
use crate::error::Result;
use crate::expr::Expr;
use crate::graph::{Adjoint, Lower, Memory, Operator, Reference, Tensor, Type};
use crate::op::map::Map;

/// The input of the step before (of the step after, if time runs `backward`). It starts at zero.
///
/// It has no shader of its own: its history is its input, one block later, so it is a copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delay {
    /// Time runs from the last step to the first.
    pub backward: bool,
}

impl Operator for Delay {
    fn name(&self) -> &'static str {
        "delay"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        Ok(Type::sequence(inputs[0].cols))
    }

    fn gradient<'s>(&self, _: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        None // the reversed operator is its adjoint
    }

    fn memory(&self) -> Memory {
        Memory::State { delays: true, backward: self.backward }
    }

    fn reversed(&self) -> Option<Arc<dyn Operator>> {
        Some(Arc::new(Self { backward: !self.backward }))
    }

    fn rolls(&self) -> bool {
        true
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        if !self.backward && !at.rolls {
            at.output.start += at.dims.batch * at.output.ty.cols;
        }
        Map::new(Expr::identity()).lower_exactly(at)
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        at.inputs[0].to_vec()
    }
}

impl Tensor<'_> {
    /// The value of the step before; zero at the first.
    pub fn delay(self) -> Self {
        let x = self.expand_in_time();
        x.scope.apply(Delay { backward: false }, &[x])
    }
}
