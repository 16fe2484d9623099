//! Blocks at equal distances in a fixed matrix: how the parameters of several objects are read as one.

use crate::engine::Dispatch;
use crate::error::Result;
use crate::graph::{Adjoint, Identity, Lower, Operator, Placed, Reference, Tensor, Type};
use crate::op::columns;

/// `count` blocks of consecutive elements of a fixed matrix, one after the other, as another fixed matrix.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct Blocks {
    /// First element of the first block, counted through the rows.
    pub start: usize,
    /// Elements from one block to the next.
    pub stride: usize,
    /// Number of blocks.
    pub count: usize,
    /// The result's type; each block has its share of it.
    pub ty: Type,
}

/// The adjoint of [`Blocks`]: the blocks at their places in a matrix of type `whole`, zeros elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct Spread {
    /// Places of the blocks.
    pub blocks: Blocks,
    /// The result's type.
    pub whole: Type,
}

impl Blocks {
    /// Elements of a block.
    fn len(&self) -> usize {
        self.ty.rows * self.ty.cols / self.count
    }

    /// The matrix of which each row begins with a block, the first of which has `elements` elements before its end.
    fn check(&self, elements: usize) -> bool {
        let len = self.len();
        let end = self.start + (self.count - 1) * self.stride + len;
        self.count * len == self.ty.rows * self.ty.cols
            && (self.count == 1 || len <= self.stride)
            && end <= elements
    }
}

impl Operator for Blocks {
    fn name(&self) -> &'static str {
        "columns"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let from = inputs[0];
        let fits = self.count > 0 && from.extent == self.ty.extent && self.check(from.rows * from.cols);
        fits.then_some(self.ty).ok_or_else(|| format!("{self:?} do not lie in {from}"))
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let dy = at.adjoint.expand(self.ty);
        at.each(|_| dy.scope.apply(Spread { blocks: *self, whole: at.inputs[0].ty() }, &[dy]))
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let (input, len) = (&at.inputs[0], self.len());
        let stride = if self.count == 1 { len } else { self.stride };
        let from =
            Placed { start: input.start + self.start, ty: Type::fixed(self.count, stride), ..input.clone() };
        let to = Placed { ty: Type::fixed(self.count, len), ..at.output.clone() };
        Ok(vec![columns::between(from, 0, to, 0..len)])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let len = self.len();
        let from = |e: usize| self.start + e / len * self.stride + e % len;
        (0..self.count * len).map(|e| at.inputs[0][from(e)]).collect()
    }
}

impl Operator for Spread {
    fn name(&self) -> &'static str {
        "columns"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        (inputs[0] == self.blocks.ty).then_some(self.whole).ok_or_else(|| {
            format!("{} are not the blocks of {}, which are {}", inputs[0], self.whole, self.blocks.ty)
        })
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let dy = at.adjoint.expand(self.whole);
        at.each(|_| dy.scope.apply(self.blocks, &[dy]))
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let Blocks { start, stride, count, .. } = self.blocks;
        let (len, all) = (self.blocks.len(), self.whole.rows * self.whole.cols);
        let (input, output) = (&at.inputs[0], &at.output);
        if count == 1 {
            let from = Placed { ty: Type::fixed(1, len), ..input.clone() };
            let to = Placed { ty: Type::fixed(1, all), ..output.clone() };
            return Ok(vec![columns::between(from, -(start as isize), to, 0..all)]);
        }
        // Rows of a block each, and what is before the first and behind the last.
        let from = Placed { ty: Type::fixed(count, len), ..input.clone() };
        let to = |start: usize, ty: Type| Placed { start: output.start + start, ty, ..output.clone() };
        let last = start + (count - 1) * stride;
        let mut calls = vec![columns::between(
            Placed { ty: Type::fixed(count - 1, len), ..from.clone() },
            0,
            to(start, Type::fixed(count - 1, stride)),
            0..stride,
        )];
        let tail = Placed { start: from.start + (count - 1) * len, ty: Type::fixed(1, len), ..from.clone() };
        calls.push(columns::between(tail, 0, to(last, Type::fixed(1, all - last)), 0..all - last));
        if start > 0 {
            let outside = Placed { ty: Type::fixed(1, len), ..from };
            calls.push(columns::between(outside, -(start as isize), to(0, Type::fixed(1, start)), 0..start));
        }
        Ok(calls)
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let (len, mut values) = (self.blocks.len(), vec![0.0; self.whole.rows * self.whole.cols]);
        for (e, &x) in at.inputs[0].iter().enumerate() {
            values[self.blocks.start + e / len * self.blocks.stride + e % len] = x;
        }
        values
    }
}

impl<'s> Tensor<'s> {
    /// Blocks of a fixed matrix; the same value where they are all of it.
    pub fn blocks(self, blocks: Blocks) -> Self {
        let whole = blocks.count == 1 && blocks.start == 0 && self.ty() == blocks.ty;
        if whole { self } else { self.scope.apply(blocks, &[self]) }
    }
}
