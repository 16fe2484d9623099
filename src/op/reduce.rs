//! Sums over rows, over columns, or over everything, of an elementwise expression.

mod twin;

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use crate::engine::cpu::Io;
use crate::engine::shader::{self, Source};
use crate::engine::{Access, Binding, Dispatch, Family, Kernel, Part, Split, Target, fold, turns};
use crate::error::Result;
use crate::expr::Expr;
use crate::expr::operands::Operands;
use crate::graph::{
    Adjoint, Extent, Fusible, Fusion, Identity, Lower, Operand, Operator, Placed, Reference, Tensor, Type,
};
use crate::op::map::Map;

/// `output = scale * sum(expr(inputs))` over the rows or columns that `to` has not.
///
/// Either the rows go down to a smaller extent (time and examples summed), or the columns to one, or everything
/// to one number. [`Tensor::reduce_to`] composes the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    /// Expression of each term.
    pub expr: Expr,
    /// Type of the result.
    pub to: Type,
    /// Factor on the sum.
    pub scale: f32,
}

impl Reduce {
    fn source_type(&self, inputs: &[Type]) -> Result<Type, String> {
        Map::new(self.expr.clone()).infer(inputs)
    }
}

impl Hash for Reduce {
    fn hash<H: Hasher>(&self, to: &mut H) {
        let Self { expr, to: ty, scale } = self;
        (expr, ty, scale.to_bits()).hash(to);
    }
}

impl Operator for Reduce {
    fn name(&self) -> &'static str {
        "reduce"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let from = self.source_type(inputs)?;
        let to = self.to;
        let rows = from.extent != to.extent || from.rows != to.rows;
        let fits = to.extent <= from.extent
            && (to.cols == from.cols || to.cols == 1)
            && (to.rows == 1 || to.rows == from.rows)
            && (!rows || to.cols == from.cols || (to.extent == Extent::Fixed && to.rows == 1));
        if fits { Ok(to) } else { Err(format!("{from} cannot be summed to {to}")) }
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        // The adjoint of a sum is its adjoint for each term; the expression's own gradient does the rest.
        let types: Vec<Type> = at.inputs.iter().map(Tensor::ty).collect();
        let from = self.source_type(&types).ok()?;
        let scope = at.adjoint.scope;
        let terms = scope.apply(Map { expr: self.expr.clone(), least: None }, &at.inputs);
        let adjoint = at.adjoint.scale(self.scale);
        // One number, or one for each column, can stand for all rows; a number a row of a smaller extent cannot.
        let adjoint = if adjoint.ty().extent == Extent::Fixed { adjoint } else { adjoint.expand(from) };
        let map = Map::new(self.expr.clone());
        map.gradient(&Adjoint {
            inputs: at.inputs.clone(),
            output: terms,
            adjoint,
            wanted: at.wanted.clone(),
        })
    }

    fn own_derivative(&self) -> bool {
        self.expr.own_derivative()
    }

    fn totals(&self, inputs: &[Type]) -> bool {
        let from = self.source_type(inputs);
        from.is_ok_and(|from| from.extent == Extent::Sequence && self.to == Type::fixed(1, from.cols))
    }

    fn fuse(&self) -> Option<&dyn Fusible> {
        Some(self)
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let types: Vec<Type> = at.inputs.iter().map(|i| i.ty).collect();
        let from = self.source_type(&types).map_err(|e| crate::Error::invalid(self.name(), e))?;
        let rows = if at.total.is_some() { at.tile } else { at.rows(from) };
        let (elements, cols) = (rows * from.cols, from.cols);
        let period = at.rows(self.to);
        let list = (0..at.inputs.len()).map(|i| at.operand(i)).collect();
        let operands = Operands { expr: self.expr.clone(), list, rows, cols };
        let all_rows = from.total_rows(at.dims);
        let flat = operands.is_flat(all_rows) && all_rows == rows;
        let bindings: Vec<Binding> = at.inputs.iter().map(|i| i.binding).collect();
        let (outer, n, inner) = match (self.to.cols == cols, period == rows) {
            (false, true) if rows > 1 => (rows, cols, 1),
            (false, _) => (1, elements, 1),
            (true, _) => (1, rows / period, period * cols),
        };
        let sum = ReduceKernel {
            operands,
            output: at.output.clone(),
            all_rows,
            flat,
            view: View { outer, n, inner, splits: 1, limit: elements },
            scale: self.scale,
            tree: false,
            total: at.total,
            batch: at.dims.batch,
            family: at.target.family,
        };
        if at.total.is_some() {
            return Ok(vec![sum.dispatch(bindings)]);
        }
        Ok(if inner == 1 && outer == 1 { sum.total(at, bindings) } else { sum.partial(at, bindings) })
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let Ok(from) = self.source_type(&at.types) else { return Vec::new() };
        let rows = at.inputs.iter().zip(&at.types).map(|(x, ty)| x.len() / ty.cols).max().unwrap_or(1);
        let mut sums = vec![0.0; at.rows * at.ty.cols];
        for e in 0..rows * from.cols {
            let (row, col) = (e / from.cols, e % from.cols);
            let to = (row % at.rows) * at.ty.cols + if at.ty.cols == 1 { 0 } else { col };
            sums[to] +=
                f64::from(self.scale) * self.expr.reference_held(|x| at.held(x), |i| at.at(i, row, col));
        }
        sums
    }
}

impl Fusible for Reduce {
    fn fusion(&self) -> Fusion<'_> {
        Fusion::Prologue(&self.expr)
    }

    fn with_expression(&self, expr: Expr, _: Type) -> Arc<dyn Operator> {
        Arc::new(Self { expr, ..self.clone() })
    }
}

/// Chunks in which sums over `n` terms are made, `lanes` of them side by side: enough lanes, short chains, and none longer than
/// a lane's loop on the device.
pub(super) fn splits(n: usize, lanes: usize, target: &Target) -> usize {
    let useful = n.div_ceil(CHUNK).min((65_536 / lanes).clamp(1, 32_768));
    useful.max(n.div_ceil(turns::rounds(target.max_turns, 0)))
}

/// Sums `parts` matrices of `len` elements that lie one after the other in `scratch`.
pub(crate) fn over_parts(
    scratch: Binding,
    parts: usize,
    len: usize,
    output: Placed,
    family: Family,
) -> Dispatch {
    let operand =
        Operand { placed: Placed { binding: scratch, start: 0, ty: Type::fixed(1, parts * len) }, period: 1 };
    let kernel = ReduceKernel {
        operands: Operands { expr: Expr::identity(), list: vec![operand], rows: 1, cols: parts * len },
        output,
        all_rows: 1,
        flat: true,
        view: View { outer: 1, n: parts, inner: len, splits: 1, limit: parts * len },
        scale: 1.0,
        tree: false,
        total: None,
        batch: 1,
        family,
    };
    kernel.dispatch(vec![scratch])
}

/// The matrix as `[outer, n, inner]`, summed over `n` in `splits` chunks.
#[derive(Clone, Debug)]
struct View {
    outer: usize,
    n: usize,
    inner: usize,
    splits: usize,
    /// Elements there are: the last of the `n` may be incomplete.
    limit: usize,
}

/// One dispatch of `shaders/reduce.wgsl`.
#[derive(Clone, Debug)]
struct ReduceKernel {
    operands: Operands,
    output: Placed,
    all_rows: usize,
    flat: bool,
    view: View,
    scale: f32,
    tree: bool,
    /// A sum over time that a loop makes step by step: the step that comes first.
    total: Option<usize>,
    batch: usize,
    family: Family,
}

/// Most terms of one lane.
const CHUNK: usize = 256;
/// Most elements of one workgroup.
const TREE: usize = 16_384;
/// Columns that a long vector is folded into.
const FOLDED: usize = 256;

impl ReduceKernel {
    /// Everything to one number: one workgroup, or many lanes and then one workgroup.
    fn total(mut self, at: &mut Lower, bindings: Vec<Binding>) -> Vec<Dispatch> {
        // In a loop it is one row's sum, and the row moves: there is no such place among partial sums.
        if self.view.limit <= TREE || at.in_loop {
            self.tree = true;
            return vec![self.dispatch(bindings)];
        }
        let n = self.view.limit.div_ceil(FOLDED);
        let splits = n.div_ceil(CHUNK).min(64);
        self.view = View { outer: 1, n, inner: FOLDED, splits, limit: self.view.limit };
        let (first, rest) = self.through(at, splits * FOLDED);
        let last = ReduceKernel { tree: true, ..rest };
        let scratch = first.output.binding;
        vec![first.dispatch(bindings), last.dispatch(vec![scratch])]
    }

    /// A sum a lane: in one go, or in chunks and then over the chunks.
    fn partial(mut self, at: &mut Lower, bindings: Vec<Binding>) -> Vec<Dispatch> {
        let View { outer, n, inner, .. } = self.view;
        let most = turns::rounds(at.target.max_turns, self.operands.expr.turns());
        let splits = splits(n, outer * inner, at.target).max(n.div_ceil(most));
        // Rows of a loop's step move, and there is no such place among partial sums.
        if splits == 1 || (outer > 1 && (n <= most || at.in_loop)) {
            return vec![self.dispatch(bindings)];
        }
        self.view.splits = splits;
        let (first, rest) = self.through(at, outer * splits * inner);
        let view = View { outer, n: splits, inner, splits: 1, limit: outer * splits * inner };
        let last = ReduceKernel { view, ..rest };
        let scratch = first.output.binding;
        vec![first.dispatch(bindings), last.dispatch(vec![scratch])]
    }

    /// This kernel with a scratch buffer of `len` for its output, and one that sums the scratch.
    fn through(self, at: &mut Lower, len: usize) -> (Self, Self) {
        let scratch = Placed { binding: at.scratch(len), start: 0, ty: Type::fixed(1, len) };
        let operand = Operand { placed: scratch.clone(), period: 1 };
        let last = Self {
            operands: Operands { expr: Expr::identity(), list: vec![operand], rows: 1, cols: len },
            all_rows: 1,
            flat: true,
            view: View { outer: 1, n: len, inner: 1, splits: 1, limit: len },
            ..self.clone()
        };
        (Self { output: scratch, scale: 1.0, ..self }, last)
    }

    fn dispatch(self, inputs: Vec<Binding>) -> Dispatch {
        let mut bindings = vec![self.output.binding];
        bindings.extend(inputs);
        Dispatch::new(self, bindings)
    }

    fn vec4(&self) -> bool {
        let wide = if self.flat { self.operands.starts_aligned() } else { self.operands.aligned() };
        !self.tree
            && wide
            && self.view.inner.is_multiple_of(4)
            && self.view.limit.is_multiple_of(4)
            && self.output.start.is_multiple_of(4)
    }

    /// Columns by which an element's number is divided into row and column.
    fn cols(&self) -> usize {
        if self.flat { self.view.limit } else { self.operands.cols }
    }

    fn chunk(&self) -> usize {
        self.view.n.div_ceil(self.view.splits)
    }

    /// Terms that a lane of the shader adds up.
    fn rounds(&self) -> usize {
        if self.tree { self.view.limit.div_ceil(64) } else { self.chunk() }
    }
}

impl Kernel for ReduceKernel {
    fn source(&self) -> Source {
        let o = &self.operands;
        let vec4 = self.vec4();
        let place = if self.flat { "0u, e" } else { &format!("e / {0}u, e % {0}u", self.operands.cols) };
        let generated = [
            ("element", Operands::element(vec4, self.family)),
            ("place", format!("fn place(e: u32) -> vec2<u32> {{ return vec2<u32>({place}); }}")),
            ("operand_members", o.members()),
            ("operands", o.declare(1, vec4, self.all_rows)),
            ("expression", o.function("expression(row: u32, col: u32)", |i| format!("load{i}(row, col)"))),
            shader::sums(self.rounds()),
        ];
        Source::new("reduce", if self.tree { "tree" } else { "partial" }, &generated)
    }

    fn access(&self) -> Vec<Access> {
        let mut access = vec![Access::Write];
        access.extend(self.operands.list.iter().map(|_| Access::Read));
        access
    }

    fn params(&self) -> Vec<u32> {
        let View { outer, n, inner, splits, limit } = self.view;
        let sizes = [0, outer, n, inner, splits, self.chunk(), limit, self.output.start];
        let mut words: Vec<u32> = sizes.iter().map(|&n| n as u32).collect();
        words.push(self.scale.to_bits());
        words.extend(self.operands.words());
        words
    }

    fn grid(&self) -> [u32; 3] {
        let View { outer, inner, splits, .. } = self.view;
        let lanes = outer * splits * inner / if self.vec4() { 4 } else { 1 };
        if self.tree { [1, 1, 1] } else { fold(lanes.div_ceil(64)) }
    }

    fn turns(&self) -> usize {
        let halves = if self.tree { turns::of(6, 0) } else { 0 };
        turns::of(self.rounds(), self.operands.expr.turns()) + halves
    }

    fn split(&self, row0: usize) -> Split {
        let View { outer, n, inner, splits, .. } = self.view;
        let start = self.output.start + if self.total.is_some() { 0 } else { row0 };
        let units = if self.tree { 1 } else { outer * splits * inner };
        let grain = if inner == 1 { 4096_usize.div_ceil(n) } else { 16 };
        Split { units, grain, parts: vec![Part::rows(start, 1)] }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        self.add_up(io, units, row0);
    }
}

impl<'s> Tensor<'s> {
    /// The sum of all repetitions, so that the result has type `ty`: the adjoint of a broadcast.
    pub fn reduce_to(self, ty: Type) -> Self {
        let from = self.ty();
        if from == ty {
            return self;
        }
        let reduce =
            |x: Self, to: Type| x.scope.apply(Reduce { expr: Expr::identity(), to, scale: 1.0 }, &[x]);
        let all = ty == Type::fixed(1, 1);
        if !all && from.cols != ty.cols && (from.extent, from.rows) != (ty.extent, ty.rows) {
            return reduce(reduce(self, from.with_cols(1)), ty);
        }
        reduce(self, ty)
    }

    /// The sum over columns: one number a row.
    pub fn sum_cols(self) -> Self {
        self.reduce_to(self.ty().with_cols(1))
    }

    /// The sum of all elements.
    pub fn sum_all(self) -> Self {
        self.reduce_to(Type::fixed(1, 1))
    }

    /// The mean of all elements.
    pub fn mean_all(self) -> Self {
        let count = self.ty().elements(self.scope.dims());
        let reduce = Reduce { expr: Expr::identity(), to: Type::fixed(1, 1), scale: 1.0 / count as f32 };
        self.scope.apply(reduce, &[self])
    }

    /// The square root of the sum of squares of all elements.
    pub fn norm(self) -> Self {
        self.square().sum_all().sqrt()
    }
}
