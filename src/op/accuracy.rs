//! Accuracy: rows whose largest element is that of the target.

use crate::engine::Dispatch;
use crate::error::Result;
use crate::graph::{Adjoint, Identity, Lower, Operator, Reference, Tensor, Type};
use crate::op::rows::{Entry, RowKernel};

/// 1 for each row whose largest element (the first of equals) is the target's class, else 0.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct Accuracy;

/// The place of the largest element, the first of equals.
fn argmax<T: PartialOrd + Copy>(x: impl Iterator<Item = T>) -> usize {
    let mut best: Option<(usize, T)> = None;
    for (i, x) in x.enumerate() {
        if best.is_none_or(|(_, top)| x > top) {
            best = Some((i, x));
        }
    }
    best.map_or(0, |(i, _)| i)
}

impl Operator for Accuracy {
    fn name(&self) -> &'static str {
        "accuracy"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let (x, target) = (inputs[0], inputs[1]);
        if target.cols != x.cols && target.cols != 1 {
            return Err(format!("the outputs are {x}, but the targets {target}"));
        }
        Ok(Type { cols: 1, ..if target.extent > x.extent { target } else { x } })
    }

    fn gradient<'s>(&self, _: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        None
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        Ok(vec![RowKernel::dispatch(
            Entry { stem: "accuracy", names: ["main", "main_wide"], loops: 1 },
            at,
            |rows, y| {
                let (x, target) = (rows[0], rows[1]);
                let one = target.len() == 1 && x.len() > 1;
                let wanted = if one { target[0] as usize } else { argmax(target.iter().copied()) };
                y[0] = f32::from(argmax(x.iter().copied()) == wanted);
            },
        )])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let cols = at.types[0].cols;
        let hit = |row: usize| {
            let one = at.types[1].cols == 1 && cols > 1;
            let wanted =
                if one { at.at(1, row, 0) as usize } else { argmax((0..cols).map(|c| at.at(1, row, c))) };
            f64::from(argmax((0..cols).map(|c| at.at(0, row, c))) == wanted)
        };
        (0..at.rows).map(hit).collect()
    }
}

impl<'s> Tensor<'s> {
    /// 1 for each row whose largest element is where `targets` (a class index or one-hot) says, else 0.
    pub fn is_class(self, targets: Tensor<'s>) -> Self {
        self.scope.apply(Accuracy, &[self, targets])
    }
}
