//! The last step of a sequence, and its adjoint.

use crate::engine::Dispatch;
use crate::error::Result;
use crate::expr::{Expr, Instr};
use crate::graph::{Adjoint, Extent, Identity, Lower, Operator, Reference, Tensor, Type};
use crate::op::map::Map;

/// The rows of the last step, one for each example.
///
/// It has no shader of its own: it is a copy of the last block.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct Last;

/// The input at the last step, zero at the others: the adjoint of [`Last`].
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct AtLast;

impl Operator for Last {
    fn name(&self) -> &'static str {
        "last"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        match inputs[0].extent {
            Extent::Sequence => Ok(Type::example(inputs[0].cols)),
            _ => Err(format!("{} has no steps", inputs[0])),
        }
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let dy = at.adjoint.expand(at.output.ty());
        at.each(|_| dy.scope.apply(AtLast, &[dy]))
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let input = &mut at.inputs[0];
        input.start += (at.dims.steps - 1) * at.dims.batch * input.ty.cols;
        input.ty = Type::example(input.ty.cols);
        Map::new(Expr::identity()).lower_exactly(at)
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        at.inputs[0][at.inputs[0].len() - at.rows * at.ty.cols..].to_vec()
    }
}

impl Operator for AtLast {
    fn name(&self) -> &'static str {
        "last"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        match inputs[0].extent {
            Extent::Example => Ok(Type::sequence(inputs[0].cols)),
            _ => Err(format!("{} is not one row an example", inputs[0])),
        }
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let dy = at.adjoint.expand(at.output.ty());
        at.each(|_| dy.last())
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let (dims, cols) = (at.dims, at.output.ty.cols);
        let mut calls = Vec::new();
        if dims.steps > 1 {
            let inputs = std::mem::take(&mut at.inputs);
            at.dims.steps -= 1;
            calls = Map::new(Expr { tape: vec![Instr::Constant(0.0)] }).lower_exactly(at)?;
            (at.dims, at.inputs) = (dims, inputs);
        }
        at.output.start += (dims.steps - 1) * dims.batch * cols;
        at.output.ty = Type::example(cols);
        calls.extend(Map::new(Expr::identity()).lower_exactly(at)?);
        Ok(calls)
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let on = f64::from(u8::from(at.step + 1 == at.dims.steps));
        at.inputs[0].iter().map(|x| x * on).collect()
    }
}

impl Tensor<'_> {
    /// The last step of a sequence: one row an example. A value that is constant in time is its own last step.
    pub fn last(self) -> Self {
        if self.ty().extent == Extent::Sequence { self.scope.apply(Last, &[self]) } else { self }
    }
}
