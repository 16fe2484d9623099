//! Softmax over the columns of each row.

use crate::engine::Dispatch;
use crate::engine::cpu::{math, sums};
use crate::error::Result;
use crate::graph::{Adjoint, Identity, Lower, Operator, Reference, Tensor, Type};
use crate::op::rows::{Entry, RowKernel};

/// `y = exp(x - max x) / sum exp(x - max x)` for each row.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct Softmax;

/// The adjoint of [`Softmax`]: `y * (dy - sum(y * dy))` from `y` and `dy`.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct SoftmaxAdjoint;

const FORWARD: Entry = Entry { stem: "softmax", names: ["forward", "forward_wide"], loops: 3 };
const BACKWARD: Entry = Entry { stem: "softmax", names: ["backward", "backward_wide"], loops: 2 };

impl Operator for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        Ok(inputs[0])
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        at.each(|_| at.adjoint.scope.apply(SoftmaxAdjoint, &[at.output, at.adjoint.expand(at.output.ty())]))
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        Ok(vec![RowKernel::dispatch(FORWARD, at, |rows, y| {
            softmax(rows[0], y);
        })])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        at.inputs[0].chunks(at.ty.cols).flat_map(reference_softmax).collect()
    }
}

impl Operator for SoftmaxAdjoint {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        Ok(inputs[0])
    }

    fn gradient<'s>(&self, _: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        None
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        Ok(vec![RowKernel::dispatch(BACKWARD, at, |rows, dx| {
            let (y, dy) = (rows[0], rows[1]);
            let dot = sums::in_order(y.iter().zip(dy).map(|(y, dy)| y * dy));
            for ((dx, y), dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = y * (dy - dot);
            }
        })])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let rows = at.inputs[0].chunks(at.ty.cols).zip(at.inputs[1].chunks(at.ty.cols));
        rows.flat_map(|(y, dy)| {
            let dot: f64 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
            y.iter().zip(dy).map(move |(y, dy)| y * (dy - dot)).collect::<Vec<_>>()
        })
        .collect()
    }
}

/// Softmax of a row; returns the logarithm of the sum of exponentials.
pub(super) fn softmax(x: &[f32], y: &mut [f32]) -> f32 {
    let top = x.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a || b.is_nan() { b } else { a });
    for (y, x) in y.iter_mut().zip(x) {
        *y = math::exp(x - top);
    }
    let total = sums::in_order(y.iter().copied());
    for y in y.iter_mut() {
        *y /= total;
    }
    top + total.ln()
}

/// Softmax of a row in f64.
pub(super) fn reference_softmax(x: &[f64]) -> Vec<f64> {
    let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = x.iter().map(|x| (x - top).exp()).collect();
    let total: f64 = e.iter().sum();
    e.into_iter().map(|e| e / total).collect()
}

impl Tensor<'_> {
    /// Softmax over the columns of each row.
    pub fn softmax(self) -> Self {
        self.scope.apply(Softmax, &[self])
    }
}
