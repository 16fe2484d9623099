//! Ranges of columns: taking them, and putting several side by side.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::engine::cpu::Io;
use crate::engine::fused::{Fragment, MEMORY, Site};
use crate::engine::shader::Source;
use crate::engine::{Access, Dispatch, Kernel, Part, Split, fold, turns};
use crate::error::Result;
use crate::graph::{
    Adjoint, Columns, Identity, Lower, Operand, Operator, Placed, Reference, Scope, Tensor, Type,
};

/// Columns `start..start + len`.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub struct Slice {
    /// First column.
    pub start: usize,
    /// Number of columns.
    pub len: usize,
}

/// Each input at columns of its own, zeros elsewhere: concatenation, and the adjoint of [`Slice`].
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Join {
    /// Column at which each input starts; no two inputs overlap.
    pub starts: Vec<usize>,
    /// Columns of the result.
    pub cols: usize,
}

impl Join {
    /// One input from column `start` on.
    pub fn pad(start: usize, cols: usize) -> Self {
        Self { starts: vec![start], cols }
    }

    /// The columns from `from` on that inputs of these columns leave free.
    fn gaps(&self, inputs: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
        let mut taken: Vec<Range<usize>> = self.starts.iter().zip(inputs).map(|(&s, n)| s..s + n).collect();
        taken.sort_by_key(|r| r.start);
        let ends = std::iter::once(0).chain(taken.iter().map(|r| r.end));
        let starts = taken.iter().map(|r| r.start).chain([self.cols]);
        ends.zip(starts).map(|(end, start)| end..start).filter(|gap| !gap.is_empty()).collect()
    }
}

impl Operator for Slice {
    fn name(&self) -> &'static str {
        "columns"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
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
        at.each(|_| dy.pad(self.start, at.inputs[0].ty().cols))
    }

    fn columns(&self, _: &[Type]) -> Option<Vec<Columns>> {
        Some(vec![Columns { input: 0, start: self.start, len: self.len }])
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        Ok(vec![copy(at, 0, self.start as isize, 0..self.len)])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        (0..at.rows * self.len).map(|e| at.at(0, e / self.len, self.start + e % self.len)).collect()
    }
}

impl Operator for Join {
    fn name(&self) -> &'static str {
        "columns"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let first = inputs.first().ok_or("nothing to put side by side")?;
        if let Some(other) = inputs.iter().find(|t| t.rows != first.rows) {
            return Err(format!("{first} and {other} have different rows"));
        }
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by_key(|&i| self.starts[i]);
        let mut end = 0;
        for i in order {
            let (start, cols) = (self.starts[i], inputs[i].cols);
            if start < end || start.checked_add(cols).is_none_or(|end| end > self.cols) {
                let of = self.cols;
                return Err(format!("{} from column {start} on does not fit into {of} columns", inputs[i]));
            }
            end = start + cols;
        }
        let largest = inputs.iter().max_by_key(|t| t.extent).unwrap_or(first);
        Ok(largest.with_cols(self.cols))
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let dy = at.adjoint.expand(at.output.ty());
        at.each(|i| dy.slice(self.starts[i], at.inputs[i].ty().cols).reduce_to(at.inputs[i].ty()))
    }

    /// `None` if a column is left free.
    fn columns(&self, inputs: &[Type]) -> Option<Vec<Columns>> {
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by_key(|&i| self.starts[i]);
        let taken: usize = inputs.iter().map(|ty| ty.cols).sum();
        let whole = |input: usize| Columns { input, start: 0, len: inputs[input].cols };
        (taken == self.cols).then(|| order.into_iter().map(whole).collect())
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        if let [start] = self.starts[..] {
            return Ok(vec![copy(at, 0, -(start as isize), 0..self.cols)]);
        }
        let outside = -(self.cols as isize);
        let gaps = self.gaps(at.inputs.iter().map(|i| i.ty.cols)).into_iter();
        let zeros: Vec<Dispatch> = gaps.map(|gap| copy(at, 0, outside, gap)).collect();
        let inputs = (0..at.inputs.len()).map(|i| {
            let start = self.starts[i];
            copy(at, i, 0, start..start + at.inputs[i].ty.cols)
        });
        Ok(zeros.into_iter().chain(inputs).collect())
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let mut values = vec![0.0; at.rows * self.cols];
        for (i, (&start, ty)) in self.starts.iter().zip(&at.types).enumerate() {
            for row in 0..at.rows {
                (0..ty.cols).for_each(|c| values[row * self.cols + start + c] = at.at(i, row, c));
            }
        }
        values
    }
}

/// Copies columns of input `i` from column `from` on (it may lie outside, where zeros are) to the columns `to` of the
/// output.
fn copy(at: &Lower, i: usize, from: isize, to: Range<usize>) -> Dispatch {
    let rows = at.rows(at.output.ty);
    let (cols, to) = (to.len(), to.start);
    let kernel = ColumnsKernel { input: at.operand(i), output: at.output.clone(), rows, cols, from, to };
    Dispatch::new(kernel, vec![at.output.binding, at.inputs[i].binding])
}

/// The same from each row of a fixed matrix to the same row of another.
pub(super) fn between(input: Placed, from: isize, output: Placed, to: Range<usize>) -> Dispatch {
    let (rows, bindings) = (output.ty.rows, vec![output.binding, input.binding]);
    let input = Operand { period: input.ty.rows, placed: input };
    Dispatch::new(ColumnsKernel { input, output, rows, cols: to.len(), from, to: to.start }, bindings)
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
        // Of each vector at most four columns.
        let turns = turns::of(site.rounds(self.cols), turns::of(4, 0));
        Some(Fragment { text, aligned: vec![aligned; 2], work, turns })
    }

    fn turns(&self) -> usize {
        turns::of(8, 0)
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
            let to = io.output(0, row).0;
            // Columns from `from + units.start` on, of which those outside of the source are zeros.
            let first = self.from + units.start as isize;
            let before = usize::try_from(-first).unwrap_or(0).min(to.len());
            let source = usize::try_from(first).map_or(source, |first| source.get(first..).unwrap_or(&[]));
            let inside = source.len().min(to.len() - before);
            to[..before].fill(0.0);
            to[before..before + inside].copy_from_slice(&source[..inside]);
            to[before + inside..].fill(0.0);
        }
    }
}

/// Number of the latest joined values among which a term finds its place.
const LOOKED_AT: usize = 64;

impl Scope {
    /// The same sum with fewer terms: those that have columns of their own among zeros are one.
    pub(crate) fn join<'s>(&'s self, terms: &[Tensor<'s>]) -> Vec<Tensor<'s>> {
        let joined = |x: &Tensor<'s>| {
            self.read(|g| {
                let node = g.node(g.producer(x.id)?);
                // Only a join's own type says where its gaps are; the terms are all of this family.
                let join = node.op.downcast::<Join>()?;
                Some((join.starts.clone(), node.inputs.clone()))
            })
        };
        let mut rest: Vec<Tensor<'s>> = Vec::new();
        // Terms of one type that do not overlap: where the first of them stood, their columns, and what has them.
        struct Apart<'s> {
            ty: Type,
            at: usize,
            /// Ends by starts.
            taken: BTreeMap<usize, usize>,
            starts: Vec<usize>,
            inputs: Vec<Tensor<'s>>,
        }
        let mut found: Vec<Apart<'s>> = Vec::new();
        for &x in terms {
            let Some((starts, inputs)) = joined(&x) else {
                rest.push(x);
                continue;
            };
            let inputs = inputs.into_iter().map(|v| self.tensor(v));
            let own: Vec<(usize, Tensor<'s>)> = starts.into_iter().zip(inputs).collect();
            let apart = |taken: &BTreeMap<usize, usize>| {
                let free = |(s, x): &(usize, Tensor<'s>)| {
                    taken.range(..s + x.ty().cols).next_back().is_none_or(|(_, end)| end <= s)
                };
                own.iter().all(free)
            };
            // Only the latest, so that many terms do not cost their square.
            let (ty, last) = (x.ty(), found.len().saturating_sub(LOOKED_AT));
            let at = found[last..].iter().position(|f| f.ty == ty && apart(&f.taken)).map(|at| last + at);
            let at = at.unwrap_or_else(|| {
                let (taken, starts, inputs) = Default::default();
                found.push(Apart { ty, at: rest.len(), taken, starts, inputs });
                rest.push(x);
                found.len() - 1
            });
            found[at].taken.extend(own.iter().map(|(s, x)| (*s, s + x.ty().cols)));
            let (starts, inputs): (Vec<_>, Vec<_>) = own.into_iter().unzip();
            found[at].starts.extend(starts);
            found[at].inputs.extend(inputs);
        }
        for Apart { ty, at, starts, inputs, .. } in found.into_iter().filter(|f| f.inputs.len() > 1) {
            rest[at] = self.apply(Join { starts, cols: ty.cols }, &inputs);
        }
        rest
    }
}

impl<'s> Tensor<'s> {
    /// Columns `start..start + len`.
    pub fn slice(self, start: usize, len: usize) -> Self {
        self.scope.apply(Slice { start, len }, &[self])
    }

    /// This value from column `start` on among `cols`, zeros elsewhere.
    pub fn pad(self, start: usize, cols: usize) -> Self {
        self.scope.apply(Join::pad(start, cols), &[self])
    }

    /// This value's columns, then the others'.
    pub fn concat(self, others: &[Tensor<'s>]) -> Self {
        let all = [&[self], others].concat();
        let mut cols = 0;
        let starts = all.iter().map(|x| (cols, cols += x.ty().cols).0).collect();
        self.scope.apply(Join { starts, cols }, &all)
    }
}
