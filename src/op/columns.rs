//! Ranges of columns: slice, its adjoint (padding with zeros), and concatenation.

use std::ops::Range;

use crate::engine::cpu::Io;
use crate::engine::fused::{Fragment, MEMORY, Site};
use crate::engine::shader::Source;
use crate::engine::{Access, Dispatch, Kernel, Part, Split, fold};
use crate::error::Result;
use crate::graph::{Adjoint, Lower, Operand, Operator, Placed, Reference, Tensor, Type};

/// Columns `start..start + len`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slice {
    /// First column.
    pub start: usize,
    /// Number of columns.
    pub len: usize,
}

/// The input at columns from `start` on, zeros elsewhere: the adjoint of [`Slice`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pad {
    /// Column at which the input starts.
    pub start: usize,
    /// Columns of the result.
    pub cols: usize,
}

/// All inputs' columns, one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concat;

impl Operator for Slice {
    fn name(&self) -> &'static str {
        "columns"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let cols = inputs[0].cols;
        let end = self.start.checked_add(self.len).filter(|&end| end <= cols && self.len > 0);
        end.map(|_| inputs[0].with_cols(self.len)).ok_or_else(|| {
            format!("columns {}..{} of {}", self.start, self.start.saturating_add(self.len), inputs[0])
        })
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let dy = at.adjoint.expand(at.output.ty());
        at.each(|_| dy.scope.apply(Pad { start: self.start, cols: at.inputs[0].ty().cols }, &[dy]))
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        Ok(vec![copy(at, 0, self.start as isize, 0, self.len)])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        (0..at.rows * self.len).map(|e| at.at(0, e / self.len, self.start + e % self.len)).collect()
    }
}

impl Operator for Pad {
    fn name(&self) -> &'static str {
        "columns"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let fits = self.start.checked_add(inputs[0].cols).is_some_and(|end| end <= self.cols);
        let problem =
            || format!("{} from column {} on does not fit into {} columns", inputs[0], self.start, self.cols);
        fits.then(|| inputs[0].with_cols(self.cols)).ok_or_else(problem)
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let dy = at.adjoint.expand(at.output.ty());
        at.each(|_| dy.slice(self.start, at.inputs[0].ty().cols))
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        Ok(vec![copy(at, 0, -(self.start as isize), 0, self.cols)])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let n = at.types[0].cols;
        let value = |e: usize| match (e % self.cols).checked_sub(self.start) {
            Some(c) if c < n => at.at(0, e / self.cols, c),
            _ => 0.0,
        };
        (0..at.rows * self.cols).map(value).collect()
    }
}

impl Operator for Concat {
    fn name(&self) -> &'static str {
        "columns"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let first = inputs.first().ok_or("nothing to concatenate")?;
        if let Some(other) = inputs.iter().find(|t| t.rows != first.rows) {
            return Err(format!("{first} and {other} have different rows"));
        }
        let largest = inputs.iter().max_by_key(|t| t.extent).unwrap_or(first);
        Ok(largest.with_cols(inputs.iter().map(|t| t.cols).sum()))
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let dy = at.adjoint.expand(at.output.ty());
        let mut start = 0;
        let starts: Vec<usize> = at.inputs.iter().map(|x| (start, start += x.ty().cols).0).collect();
        at.each(|i| dy.slice(starts[i], at.inputs[i].ty().cols).reduce_to(at.inputs[i].ty()))
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let mut to = 0;
        let mut calls = Vec::new();
        for i in 0..at.inputs.len() {
            let cols = at.inputs[i].ty.cols;
            calls.push(copy(at, i, 0, to, cols));
            to += cols;
        }
        Ok(calls)
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let row = |row: usize| {
            at.types.iter().enumerate().flat_map(move |(i, ty)| (0..ty.cols).map(move |c| at.at(i, row, c)))
        };
        (0..at.rows).flat_map(row).collect()
    }
}

/// Copies `cols` columns of input `i` from column `from` on (it may lie outside) to column `to` of the output.
fn copy(at: &Lower, i: usize, from: isize, to: usize, cols: usize) -> Dispatch {
    let rows = at.rows(at.output.ty);
    let kernel = ColumnsKernel { input: at.operand(i), output: at.output.clone(), rows, cols, from, to };
    Dispatch::new(kernel, vec![at.output.binding, at.inputs[i].binding])
}

/// One dispatch of `shaders/columns.wgsl`.
#[derive(Clone, Debug)]
struct ColumnsKernel {
    input: Operand,
    output: Placed,
    rows: usize,
    cols: usize,
    from: isize,
    to: usize,
}

impl Kernel for ColumnsKernel {
    fn source(&self) -> Source {
        Source::new("columns", "main", &[])
    }

    fn access(&self) -> Vec<Access> {
        vec![Access::Write, Access::Read]
    }

    fn params(&self) -> Vec<u32> {
        let placed = &self.input.placed;
        let (stride, from) = (self.output.ty.cols, self.from as i32 as u32);
        let sizes = [self.rows, self.cols, self.output.start, stride, self.to];
        let input = [placed.start, self.input.period, placed.ty.cols];
        let words = |sizes: &[usize]| sizes.iter().map(|&n| n as u32).collect::<Vec<u32>>();
        [vec![0], words(&sizes), vec![from], words(&input)].concat()
    }

    fn grid(&self) -> [u32; 3] {
        fold((self.rows * self.cols).div_ceil(512))
    }

    fn fragment(&self, site: &Site) -> Option<Fragment> {
        let (Placed { start, ty, .. }, n) = (&self.input.placed, site.number);
        let batch = site.tiling.batch;
        let row = match self.input.period {
            1 => "0u",
            period if period == batch => "b",
            period if period.is_multiple_of(batch) => "row",
            _ => return None,
        };
        let (stride, out) = (self.output.ty.cols, self.output.start + self.to);
        let shift = self.from.unsigned_abs();
        let aligned = [*start, ty.cols, stride, out, self.cols, shift].iter().all(|x| x.is_multiple_of(4));
        // Four columns that lie in one vector of the source or in none, or else one column at a time.
        let (width, left) = if aligned { (4, "left") } else { (1, "1u") };
        let body = format!(
            "for (var at = col; at < min(col + 4u, {cols}u); at += {width}u) {{\n\
             let source = u32(i32(at) + {from});\n\
             var x = F();\n\
             if source < {within}u {{ x = load{n}_1({start}u + {row} * {within}u + source, {left}); }}\n\
             store{n}_0({out}u + row * {stride}u + at, {left}, x);\n}}\n",
            cols = self.cols,
            from = self.from,
            within = ty.cols,
        );
        let work = (self.cols * 3 * MEMORY) as f64;
        let text = site.elementwise(self.cols, &body);
        // Of each vector at most four columns, and one more look.
        let turns = 6 * site.turns(self.cols);
        Some(Fragment { text, aligned: vec![aligned; 2], work, turns })
    }

    fn split(&self, row0: usize) -> Split {
        let stride = self.output.ty.cols;
        let start = self.output.start + row0 * stride + self.to;
        let part = Part { start, outer: self.rows, stride, inner: 1 };
        Split { units: self.cols, grain: 4096_usize.div_ceil(self.rows), parts: vec![part] }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let placed = &self.input.placed;
        let n = placed.ty.cols;
        for row in 0..self.rows {
            let at = placed.start + ((row0 + row) % self.input.period) * n;
            let source = &io.read(1)[at..at + n];
            for (to, c) in io.output(0, row).0.iter_mut().zip(units.clone()) {
                *to = usize::try_from(self.from + c as isize)
                    .ok()
                    .and_then(|c| source.get(c))
                    .copied()
                    .unwrap_or(0.0);
            }
        }
    }
}

impl<'s> Tensor<'s> {
    /// Columns `start..start + len`.
    pub fn slice(self, start: usize, len: usize) -> Self {
        self.scope.apply(Slice { start, len }, &[self])
    }

    /// This value's columns, then the others'.
    pub fn concat(self, others: &[Tensor<'s>]) -> Self {
        self.scope.apply(Concat, &[&[self], others].concat())
    }
}
