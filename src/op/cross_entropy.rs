//! Softmax cross-entropy of each row with a class index or class weights.

use crate::engine::Dispatch;
use crate::engine::cpu::sums;
use crate::error::Result;
use crate::graph::{Adjoint, Identity, Lower, Operator, Reference, Tensor, Type};
use crate::op::rows::{Entry, RowKernel};
use crate::op::softmax::{reference_softmax, softmax};

/// `-sum(weight * ln softmax(x))` for each row, from logits and targets.
///
/// A target with one column is a class index; else it has a weight for each class (one-hot or soft). NaN counts
/// zero.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct CrossEntropy;

/// The adjoint of [`CrossEntropy`] for its logits, from logits, targets and the loss's adjoint.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct CrossEntropyAdjoint;

const FORWARD: Entry = Entry { stem: "cross_entropy", names: ["forward", "forward_wide"], loops: 3 };
const BACKWARD: Entry = Entry { stem: "cross_entropy", names: ["backward", "backward_wide"], loops: 3 };

fn check(inputs: &[Type]) -> Result<Type, String> {
    let (logits, target) = (inputs[0], inputs[1]);
    if target.cols != logits.cols && target.cols != 1 {
        return Err(format!(
            "the logits are {logits}, but the targets {target}: give a class index or a weight a class"
        ));
    }
    Ok(Type { cols: logits.cols, ..if target.extent > logits.extent { target } else { logits } })
}

impl Operator for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        Ok(check(inputs)?.with_cols(1))
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        if at.wanted.get(1) == Some(&true) {
            return None;
        }
        let [logits, targets] = at.inputs[..] else { return None };
        let dx = at.adjoint.scope.apply(CrossEntropyAdjoint, &[logits, targets, at.adjoint]);
        Some(vec![Some(dx.reduce_to(logits.ty())), None])
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        Ok(vec![RowKernel::dispatch(FORWARD, at, |rows, loss| {
            let (x, target) = (rows[0], rows[1]);
            let mut y = [0.0_f32; 64];
            let mut long = Vec::new();
            let log_total = softmax(x, scratch(&mut y, &mut long, x.len()));
            let term = |c: usize| match weight(target, x.len(), c) {
                0.0 => 0.0,
                w => w * (log_total - x[c]),
            };
            loss[0] = sums::in_order((0..x.len()).map(term));
        })])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let cols = at.types[0].cols;
        let loss = |row: usize| {
            let x: Vec<f64> = (0..cols).map(|c| at.at(0, row, c)).collect();
            let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            // Not from the softmax, of which the least likely classes may be zero.
            let log_total = top + x.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
            let term = |c: usize| match reference_weight(at, row, c) {
                0.0 => 0.0,
                w => w * (log_total - x[c]),
            };
            (0..cols).map(term).sum()
        };
        (0..at.rows).map(loss).collect()
    }
}

impl Operator for CrossEntropyAdjoint {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        check(inputs)
    }

    fn gradient<'s>(&self, _: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        None
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        Ok(vec![RowKernel::dispatch(BACKWARD, at, |rows, dx| {
            let (x, target, dloss) = (rows[0], rows[1], rows[2][0]);
            softmax(x, dx);
            let weights = sums::in_order((0..x.len()).map(|c| weight(target, x.len(), c)));
            for (c, dx) in dx.iter_mut().enumerate() {
                *dx = (*dx * weights - weight(target, x.len(), c)) * dloss;
            }
        })])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let cols = at.types[0].cols;
        let row = |row: usize| {
            let x: Vec<f64> = (0..cols).map(|c| at.at(0, row, c)).collect();
            let weights: f64 = (0..cols).map(|c| reference_weight(at, row, c)).sum();
            let dx = |(c, y): (usize, f64)| {
                (at.held(y) * weights - reference_weight(at, row, c)) * at.at(2, row, 0)
            };
            reference_softmax(&x).into_iter().enumerate().map(dx).collect::<Vec<_>>()
        };
        (0..at.rows).flat_map(row).collect()
    }
}

/// Memory for a row: on the stack unless it is long.
fn scratch<'a>(short: &'a mut [f32; 64], long: &'a mut Vec<f32>, n: usize) -> &'a mut [f32] {
    if n <= short.len() {
        return &mut short[..n];
    }
    long.resize(n, 0.0);
    long
}

/// The weight of class `c` of `classes` in a target.
fn weight(target: &[f32], classes: usize, c: usize) -> f32 {
    if target.len() == 1 && classes > 1 {
        return f32::from(target[0] == c as f32);
    }
    if target[c].is_nan() { 0.0 } else { target[c] }
}

fn reference_weight(at: &Reference, row: usize, c: usize) -> f64 {
    if at.types[1].cols == 1 && at.types[0].cols > 1 {
        return f64::from(at.at(1, row, 0) == c as f64);
    }
    let w = at.at(1, row, c);
    if w.is_nan() { 0.0 } else { w }
}

impl<'s> Tensor<'s> {
    /// Softmax cross-entropy of each row of logits with a class index or class weights: one number a row.
    pub fn cross_entropy(self, targets: Tensor<'s>) -> Self {
        self.scope.apply(CrossEntropy, &[self, targets])
    }
}
