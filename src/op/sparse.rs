//! Products with sparse matrices; with weights that are all one they select and add up columns.

use std::ops::Range;
use std::sync::Arc;

use crate::engine::cpu::{Io, sums};
use crate::engine::shader::{self, Source};
use crate::engine::{Access, Dispatch, Kernel, Part, Split, fold, turns};
use crate::error::Result;
use crate::graph::{Adjoint, Identity, Lower, Operand, Operator, Placed, Reference, Table, Tensor, Type};
use crate::op::reduce;

/// Places of the entries of a `rows` × `cols` matrix.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Pattern {
    /// Rows, the columns of the product.
    pub rows: usize,
    /// Columns, those of the input.
    pub cols: usize,
    /// Number of entries.
    pub entries: usize,
    /// Entries of the row that has most.
    pub longest: usize,
    /// Each entry's row, then each entry's column.
    coordinates: Table,
    /// By rows: where the entries of each row start and the last one's end, each entry's column, its number.
    compressed: Table,
}

impl Pattern {
    /// The entries at these rows and columns; weights and sums keep their order.
    ///
    /// # Errors
    /// Which entry lies outside, or that there are more than 32-bit indices can number.
    pub fn new(rows: usize, cols: usize, entries: &[(usize, usize)]) -> Result<Self, String> {
        if let Some((i, (row, col))) = entries.iter().enumerate().find(|(_, e)| e.0 >= rows || e.1 >= cols) {
            return Err(format!(
                "entry {i} is at row {row} and column {col}, but the matrix is [{rows}, {cols}]"
            ));
        }
        if [rows, cols, 2 * entries.len() + rows].iter().any(|&n| n >= u32::MAX as usize) {
            return Err(format!("[{rows}, {cols}] with {} entries is too large", entries.len()));
        }
        let words = entries.iter().map(|e| e.0 as u32).chain(entries.iter().map(|e| e.1 as u32)).collect();
        Ok(Self::compress(rows, cols, words))
    }

    /// Column `index[j]` of the input as column `j`; indices may repeat.
    ///
    /// # Errors
    /// An index that is not below `cols`.
    pub fn select(cols: usize, index: &[usize]) -> Result<Self, String> {
        Self::new(index.len(), cols, &index.iter().copied().enumerate().collect::<Vec<_>>())
    }

    /// The matrix with rows and columns exchanged; its entries keep their numbers.
    pub fn transposed(&self) -> Self {
        let words = self.coordinates.words();
        let words = [&words[self.entries..], &words[..self.entries]].concat();
        Self::compress(self.cols, self.rows, words)
    }

    /// Sorts entries by rows, without changing the order within one (counting sort).
    fn compress(rows: usize, cols: usize, coordinates: Vec<u32>) -> Self {
        let entries = coordinates.len() / 2;
        let mut words = vec![0_u32; rows + 1 + 2 * entries];
        for row in &coordinates[..entries] {
            words[*row as usize + 1] += 1;
        }
        for row in 0..rows {
            words[row + 1] += words[row];
        }
        let longest = words.windows(2).take(rows).map(|w| (w[1] - w[0]) as usize).max().unwrap_or(0);
        let mut next = words[..rows].to_vec();
        for e in 0..entries {
            let at = &mut next[coordinates[e] as usize];
            words[rows + 1 + *at as usize] = coordinates[entries + e];
            words[rows + 1 + entries + *at as usize] = e as u32;
            *at += 1;
        }
        let (coordinates, compressed) = (Table::new(coordinates), Table::new(words));
        Self { rows, cols, entries, longest, coordinates, compressed }
    }

    /// Row and column of an entry.
    pub(crate) fn entry(&self, e: usize) -> (usize, usize) {
        let words = self.coordinates.words();
        (words[e] as usize, words[self.entries + e] as usize)
    }
}

/// `y = x Wᵀ` for rows `x`, with a sparse `W` (size_out × size_in).
///
/// The second input holds the weights, one row of [`Pattern::entries`] in the pattern's order; without it all are one.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Sparse {
    /// Places of the entries of `W`.
    pub pattern: Arc<Pattern>,
}

/// The adjoint of [`Sparse`] for its weights: `sum(dy[row, i] * x[row, j])` over rows for each entry `(i, j)`, from
/// `dy` and `x`.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct SparseWeights {
    /// Places of the entries of the matrix.
    pub pattern: Arc<Pattern>,
}

impl Operator for Sparse {
    fn name(&self) -> &'static str {
        "sparse"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let Pattern { rows, cols, entries, .. } = *self.pattern;
        let weights = inputs.get(1).copied().unwrap_or(Type::fixed(1, entries));
        if inputs[0].cols == cols && weights == Type::fixed(1, entries) {
            return Ok(inputs[0].with_cols(rows));
        }
        Err(format!("a [{rows}, {cols}] matrix of {entries} entries for {} and weights {weights}", inputs[0]))
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let dy = at.adjoint.expand(at.output.ty());
        at.each(|i| match i {
            0 => dy.sparse(&Arc::new(self.pattern.transposed()), at.inputs.get(1).copied()),
            _ => dy.scope.apply(SparseWeights { pattern: self.pattern.clone() }, &[dy, at.inputs[0]]),
        })
    }

    fn tables(&self) -> Vec<Table> {
        vec![self.pattern.compressed.clone()]
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let mut bindings = vec![at.output.binding, at.inputs[0].binding, at.tables[0]];
        bindings.extend(at.inputs.get(1).map(|i| i.binding));
        let kernel = SparseKernel {
            pattern: self.pattern.clone(),
            input: at.operand(0),
            weights: at.inputs.get(1).cloned(),
            output: at.output.clone(),
            rows: at.rows(at.output.ty),
            range: (0, self.pattern.longest),
        };
        // Long rows in several dispatches, each of which adds to what the others left.
        let parts = turns::parts(self.pattern.longest.max(1), at.target.max_turns, 0);
        let part = |range| Dispatch::new(SparseKernel { range, ..kernel.clone() }, bindings.clone());
        Ok(parts.map(part).collect())
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let Pattern { rows: n, entries, .. } = *self.pattern;
        let mut y = vec![0.0; at.rows * n];
        for row in 0..at.rows {
            for e in 0..entries {
                let (i, j) = self.pattern.entry(e);
                let weight = if at.types.len() > 1 { at.at(1, 0, e) } else { 1.0 };
                y[row * n + i] += weight * at.at(0, row, j);
            }
        }
        y
    }
}

impl Operator for SparseWeights {
    fn name(&self) -> &'static str {
        "sparse"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let (dy, x) = (inputs[0], inputs[1]);
        let Pattern { rows, cols, entries, .. } = *self.pattern;
        if (dy.extent, dy.rows, dy.cols, x.cols) == (x.extent, x.rows, rows, cols) {
            return Ok(Type::fixed(1, entries));
        }
        Err(format!("{dy} and {x} for a [{rows}, {cols}] matrix"))
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let [dy, x] = at.inputs[..] else { return None };
        let weights = Some(at.adjoint.expand(at.output.ty()));
        at.each(|i| match i {
            0 => x.sparse(&self.pattern, weights),
            _ => dy.sparse(&Arc::new(self.pattern.transposed()), weights),
        })
    }

    fn tables(&self) -> Vec<Table> {
        vec![self.pattern.coordinates.clone()]
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let entries = self.pattern.entries;
        let rows = at.rows(at.inputs[0].ty);
        let splits = reduce::splits(rows, entries, at.target);
        let output = if splits == 1 {
            at.output.clone()
        } else {
            Placed { binding: at.scratch(splits * entries), start: 0, ty: Type::fixed(splits, entries) }
        };
        let bindings = vec![output.binding, at.inputs[1].binding, at.tables[0], at.inputs[0].binding];
        let kernel = WeightsKernel {
            pattern: self.pattern.clone(),
            adjoint: at.inputs[0].clone(),
            input: at.inputs[1].clone(),
            output: output.clone(),
            rows,
            splits,
        };
        let first = Dispatch::new(kernel, bindings);
        if splits == 1 {
            return Ok(vec![first]);
        }
        let last = reduce::over_parts(output.binding, splits, entries, at.output.clone(), at.target.family);
        Ok(vec![first, last])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let rows = at.inputs[0].len() / at.types[0].cols;
        let entry = |e| {
            let (i, j) = self.pattern.entry(e);
            (0..rows).map(|row| at.at(0, row, i) * at.at(1, row, j)).sum()
        };
        (0..self.pattern.entries).map(entry).collect()
    }
}

/// One dispatch of `main` in `shaders/sparse.wgsl`.
#[derive(Clone, Debug)]
struct SparseKernel {
    pattern: Arc<Pattern>,
    input: Operand,
    weights: Option<Placed>,
    output: Placed,
    rows: usize,
    /// Of each row's entries, the first that is added up and how many.
    range: (usize, usize),
}

impl SparseKernel {
    /// Few rows are shared out by their columns.
    fn by_columns(&self) -> bool {
        self.rows < 16
    }
}

fn words(sizes: [usize; 12]) -> Vec<u32> {
    std::iter::once(0).chain(sizes.map(|n| n as u32)).collect()
}

impl Kernel for SparseKernel {
    fn source(&self) -> Source {
        let weight = match self.weights {
            Some(_) => "return other[p.other_start + table[p.cols + 1u + p.entries + e]];",
            None => "return 1.0;",
        };
        let weight = format!("fn weight(e: u32) -> f32 {{ {weight} }}\n");
        Source::new("sparse", "main", &[("weight", weight), shader::sums(self.range.1)])
    }

    fn access(&self) -> Vec<Access> {
        let mut access = vec![Access::Write, Access::Read, Access::Read];
        access.extend(self.weights.iter().map(|_| Access::Read));
        access
    }

    fn params(&self) -> Vec<u32> {
        let Pattern { rows: cols, entries, .. } = *self.pattern;
        let Operand { placed, period } = &self.input;
        let weights = self.weights.as_ref().map_or(0, |w| w.start);
        let (start, input) = (self.output.start, [placed.start, *period, placed.ty.cols]);
        let (first, count) = self.range;
        let adds = usize::from(first > 0);
        words([self.rows, cols, start, input[0], input[1], input[2], weights, 0, entries, count, first, adds])
    }

    fn grid(&self) -> [u32; 3] {
        fold((self.rows * self.pattern.rows).div_ceil(64))
    }

    fn turns(&self) -> usize {
        turns::of(self.range.1, 0)
    }

    fn split(&self, row0: usize) -> Split {
        let Pattern { rows: cols, entries, .. } = *self.pattern;
        let start = self.output.start + row0 * cols;
        if self.by_columns() {
            let part = Part { start, outer: self.rows, stride: cols, inner: 1 };
            return Split {
                units: cols,
                grain: (4096 * cols).div_ceil(self.rows * (cols + entries)),
                parts: vec![part],
            };
        }
        Split {
            units: self.rows,
            grain: 4096_usize.div_ceil(cols + entries),
            parts: vec![Part::rows(start, cols)],
        }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let n = self.pattern.rows;
        let Operand { placed, period } = &self.input;
        let table: &[u32] = bytemuck::cast_slice(io.read(2));
        let (starts, rest) = table.split_at(n + 1);
        let (columns, places) = rest.split_at(self.pattern.entries);
        let weights = self.weights.as_ref().map(|w| &io.read(3)[w.start..]);
        let (by_columns, (first, count)) = (self.by_columns(), self.range);
        let (rows, cols) = if by_columns { (0..self.rows, units) } else { (units, 0..n) };
        for (k, row) in rows.enumerate() {
            let at = placed.start + (row0 + row) % period * placed.ty.cols;
            let x = &io.read(1)[at..at + placed.ty.cols];
            let y = if by_columns { io.output(0, row).0 } else { &mut io.output(0, 0).0[k * n..(k + 1) * n] };
            for (y, col) in y.iter_mut().zip(cols.clone()) {
                let begin = starts[col] as usize + first;
                let entries = begin..(starts[col + 1] as usize).clamp(begin, begin + count);
                let inputs = columns[entries.clone()].iter().map(|&j| x[j as usize]);
                let sum = match weights {
                    Some(w) => sums::in_order(inputs.zip(&places[entries]).map(|(x, &e)| w[e as usize] * x)),
                    None => sums::in_order(inputs),
                };
                *y = if first > 0 { *y + sum } else { sum };
            }
        }
    }
}

/// One dispatch of `weights` in `shaders/sparse.wgsl`.
#[derive(Clone, Debug)]
struct WeightsKernel {
    pattern: Arc<Pattern>,
    adjoint: Placed,
    input: Placed,
    output: Placed,
    rows: usize,
    /// Chunks of rows that are summed apart.
    splits: usize,
}

impl WeightsKernel {
    /// Rows of a chunk.
    fn chunk(&self) -> usize {
        self.rows.div_ceil(self.splits)
    }
}

impl Kernel for WeightsKernel {
    fn source(&self) -> Source {
        let unused = "fn weight(e: u32) -> f32 { return 1.0; }\n".to_string();
        Source::new("sparse", "weights", &[("weight", unused), shader::sums(self.chunk())])
    }

    fn access(&self) -> Vec<Access> {
        [vec![Access::Write], vec![Access::Read; 3]].concat()
    }

    fn params(&self) -> Vec<u32> {
        let (x, dy) = (&self.input, &self.adjoint);
        let (entries, chunk) = (self.pattern.entries, self.chunk());
        let start = self.output.start;
        let [x0, width, dy0, height] = [x.start, x.ty.cols, dy.start, dy.ty.cols];
        words([self.rows, self.splits, start, x0, 1, width, dy0, height, entries, chunk, 0, 0])
    }

    fn grid(&self) -> [u32; 3] {
        fold((self.splits * self.pattern.entries).div_ceil(64))
    }

    fn turns(&self) -> usize {
        turns::of(self.chunk(), 0)
    }

    fn split(&self, _: usize) -> Split {
        let units = self.splits * self.pattern.entries;
        let grain = (8192 * self.splits).div_ceil(self.rows).max(16);
        Split { units, grain, parts: vec![Part::rows(self.output.start, 1)] }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, _: usize) {
        let entries = self.pattern.entries;
        let chunk = self.chunk();
        let mut longs = std::mem::take(&mut io.work.longs);
        let table: &[u32] = bytemuck::cast_slice(io.read(2));
        let (x, dy) = (&io.read(1)[self.input.start..], &io.read(3)[self.adjoint.start..]);
        let first = units.start;
        let mut at = units.start;
        while at < units.end {
            // Entries of one chunk of rows.
            let (split, e) = (at / entries, at % entries);
            let end = units.end.min((split + 1) * entries);
            let (rows, columns) = (&table[e..e + end - at], &table[entries + e..entries + e + end - at]);
            let to = &mut io.output(0, 0).0[at - first..end - first];
            to.fill(0.0);
            longs.clear();
            let first_row = split * chunk;
            for row in first_row..(first_row + chunk).min(self.rows) {
                if row > first_row && (row - first_row).is_multiple_of(sums::BLOCK) {
                    sums::settle(to, &mut longs);
                }
                let (x, dy) = (&x[row * self.input.ty.cols..], &dy[row * self.adjoint.ty.cols..]);
                for ((to, &i), &j) in to.iter_mut().zip(rows).zip(columns) {
                    *to += dy[i as usize] * x[j as usize];
                }
            }
            if !longs.is_empty() {
                sums::settle(to, &mut longs);
                to.iter_mut().zip(&longs).for_each(|(to, long)| *to = *long as f32);
            }
            at = end;
        }
        io.work.longs = longs;
    }
}

impl<'s> Tensor<'s> {
    /// `x Wᵀ` with a sparse `W` of the given weights, or of ones.
    pub fn sparse(self, pattern: &Arc<Pattern>, weights: Option<Tensor<'s>>) -> Self {
        let inputs: Vec<Self> = std::iter::once(self).chain(weights).collect();
        self.scope.apply(Sparse { pattern: pattern.clone() }, &inputs)
    }
}
