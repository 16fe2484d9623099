//! A matrix with rows and columns exchanged, block by block: for weights that a loop reads better in the other order.

use std::ops::Range;

use crate::engine::cpu::Io;
use crate::engine::shader::Source;
use crate::engine::{Access, Dispatch, Kernel, Part, Split, fold};
use crate::error::Result;
use crate::graph::{Adjoint, Extent, Identity, Lower, Operator, Placed, Reference, Tensor, Type};

/// Of a fixed (groups·n) × k matrix the (groups·k) × n one, each group's block transposed.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct Transpose {
    /// Number of blocks.
    pub groups: usize,
}

impl Operator for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let ty = inputs[0];
        if ty.extent != Extent::Fixed || !ty.rows.is_multiple_of(self.groups.max(1)) {
            return Err(format!("{ty} cannot be transposed in {} blocks", self.groups));
        }
        Ok(Type::fixed(self.groups * ty.cols, ty.rows / self.groups))
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let dy = at.adjoint.expand(at.output.ty());
        at.each(|_| dy.scope.apply(*self, &[dy]))
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let (input, output) = (at.inputs[0].clone(), at.output.clone());
        let bindings = vec![output.binding, input.binding];
        Ok(vec![Dispatch::new(TransposeKernel { groups: self.groups, input, output }, bindings)])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let (n, k) = (at.ty.cols, at.ty.rows / self.groups);
        let element = |e: usize| {
            let (row, col) = (e / n, e % n);
            at.inputs[0][(row / k * n + col) * k + row % k]
        };
        (0..at.ty.rows * n).map(element).collect()
    }
}

/// One dispatch of `shaders/transpose.wgsl`.
#[derive(Clone, Debug)]
struct TransposeKernel {
    groups: usize,
    input: Placed,
    output: Placed,
}

impl TransposeKernel {
    /// Rows and columns of a block of the input.
    fn block(&self) -> (usize, usize) {
        (self.input.ty.rows / self.groups, self.input.ty.cols)
    }
}

impl Kernel for TransposeKernel {
    fn source(&self) -> Source {
        Source::new("transpose", "main", &[])
    }

    fn access(&self) -> Vec<Access> {
        vec![Access::Write, Access::Read]
    }

    fn params(&self) -> Vec<u32> {
        let (rows, cols) = self.block();
        [0, rows, cols, self.groups, self.output.start, self.input.start].map(|n| n as u32).to_vec()
    }

    fn grid(&self) -> [u32; 3] {
        fold((self.input.ty.rows * self.input.ty.cols).div_ceil(64))
    }

    fn turns(&self) -> usize {
        0
    }

    fn split(&self, _: usize) -> Split {
        let Type { rows, cols, .. } = self.output.ty;
        let parts = vec![Part::rows(self.output.start, cols)];
        Split { units: rows, grain: 4096_usize.div_ceil(cols), parts }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, _: usize) {
        let (n, k) = self.block();
        let input = &io.read(1)[self.input.start..];
        let to = io.output(0, 0).0;
        for (row, to) in units.zip(to.chunks_exact_mut(n)) {
            for (i, to) in to.iter_mut().enumerate() {
                *to = input[(row / k * n + i) * k + row % k];
            }
        }
    }
}

impl Tensor<'_> {
    /// A fixed matrix with each of its `groups` blocks of rows transposed.
    pub fn transpose(self, groups: usize) -> Self {
        self.scope.apply(Transpose { groups }, &[self])
    }
}
