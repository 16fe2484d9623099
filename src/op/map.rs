//! Elementwise expressions of any number of inputs, with broadcasting of rows and columns: sums, products,
//! scaling, biases, activations, and whatever the planner fuses of them.

use std::any::TypeId;
use std::ops::Range;
use std::sync::Arc;

use crate::engine::cpu::Io;
use crate::engine::fused::{Fragment, MEMORY, Site};
use crate::engine::shader::Source;
use crate::engine::{Access, Dispatch, Family, Kernel, Part, Split, fold, turns};
use crate::error::Result;
use crate::expr::function::{Binary, Unary};
use crate::expr::operands::Operands;
use crate::expr::{Expr, Instr, Lane};
use crate::graph::{
    Adjoint, Batchable, Batching, Extent, Fusible, Fusion, Identity, Lower, Operator, Placed, Reference,
    Tensor, Type,
};

/// `output = expr(inputs)` for each element. An input may have one row or one column, or a smaller extent:
/// it is repeated.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Map {
    /// Expression of each element.
    pub expr: Expr,
    /// A type that the output is at least as large as, where the inputs alone would give a smaller one.
    pub least: Option<Type>,
}

impl Map {
    /// An expression of its inputs.
    pub fn new(expr: Expr) -> Self {
        Self { expr, least: None }
    }
}

impl Map {
    /// Like [`Operator::lower`], for outputs whose last element is not followed by padding.
    pub(crate) fn lower_exactly(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        self.lower_to(at, false)
    }

    fn lower_to(&self, at: &mut Lower, padded: bool) -> Result<Vec<Dispatch>> {
        let ty = at.output.ty;
        let list = (0..at.inputs.len()).map(|i| at.operand(i)).collect();
        let operands = Operands { expr: self.expr.clone(), list, rows: at.rows(ty), cols: ty.cols };
        let all_rows = ty.total_rows(at.dims);
        // A flat map ends in a partly used vec4: only where what follows is padding, not the next step's row.
        let whole = (padded && operands.rows == all_rows) || (operands.rows * ty.cols).is_multiple_of(4);
        let flat = whole
            && operands.starts_aligned()
            && at.output.start.is_multiple_of(4)
            && operands.is_flat(all_rows);
        let vec4 = flat || (operands.aligned() && at.output.start.is_multiple_of(4));
        let mut bindings = vec![at.output.binding];
        bindings.extend(at.inputs.iter().map(|i| i.binding));
        let (output, rolls, family) = (at.output.clone(), at.rolls, at.target.family);
        Ok(vec![Dispatch::new(MapKernel { operands, output, all_rows, flat, vec4, rolls, family }, bindings)])
    }
}

/// The most inputs that a map may have: with the output, 7 of the 8 storage buffers that every adapter has.
pub const MAX_INPUTS: usize = 6;

/// True for a sum of more inputs than a kernel reads, which the planner splits.
pub(crate) fn is_wide_sum(expr: &Expr, inputs: usize) -> bool {
    inputs > MAX_INPUTS && expr.is_sum(inputs)
}

/// The type of two broadcast together.
fn join(a: Type, b: Type) -> Option<Type> {
    let size = |a: usize, b: usize| match (a, b) {
        (a, b) if a == b => Some(a),
        (1, n) | (n, 1) => Some(n),
        _ => None,
    };
    let cols = size(a.cols, b.cols)?;
    let extent = a.extent.max(b.extent);
    if a.extent == b.extent {
        return Some(Type { extent, rows: size(a.rows, b.rows)?, cols });
    }
    // A fixed matrix of several rows has no row for each example.
    (a.rows == 1 && b.rows == 1).then_some(Type { extent, rows: 1, cols })
}

impl Operator for Map {
    fn name(&self) -> &'static str {
        "map"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let mut all = inputs.iter().copied().chain(self.least);
        let first = all.next().ok_or("it has no input")?;
        all.try_fold(first, |a, b| {
            join(a, b).ok_or(format!("{a} and {b} cannot be combined element by element"))
        })
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let n = at.inputs.len();
        let all: Vec<Tensor<'s>> = at.inputs.iter().copied().chain([at.output, at.adjoint]).collect();
        let ty = at.output.ty();
        if is_wide_sum(&self.expr, n) {
            let dy = |i: usize| match at.inputs[i].ty() == ty {
                true => at.adjoint,
                false => at.adjoint.expand(ty).reduce_to(at.inputs[i].ty()),
            };
            return at.each(dy);
        }
        at.each(|i| {
            let expr = self.expr.gradient(i, n);
            if at.inputs[i].ty() == ty {
                // It may be the same for all rows, and then it stays small.
                return at.adjoint.scope.map_used(expr, &all, None);
            }
            at.adjoint.scope.map_used(expr, &all, Some(ty)).reduce_to(at.inputs[i].ty())
        })
    }

    fn rolls(&self) -> bool {
        true
    }

    fn own_derivative(&self) -> bool {
        self.expr.own_derivative()
    }

    fn fuse(&self) -> Option<&dyn Fusible> {
        Some(self)
    }

    fn batch(&self) -> Option<&dyn Batchable> {
        Some(self)
    }

    fn terms(&self, _: &[Type]) -> Option<usize> {
        Some(1)
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        self.lower_to(at, true)
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let cols = at.ty.cols;
        (0..at.rows * cols)
            .map(|e| self.expr.reference_held(|x| at.held(x), |i| at.at(i, e / cols, e % cols)))
            .collect()
    }
}

impl Fusible for Map {
    fn fusion(&self) -> Fusion<'_> {
        Fusion::Elementwise(&self.expr)
    }

    fn with_expression(&self, expr: Expr, ty: Type) -> Arc<dyn Operator> {
        Arc::new(Self { expr, least: Some(ty) })
    }
}

impl Batchable for Map {
    fn batching(&self) -> Batching {
        Batching::Columns { widens: true }
    }

    fn key(&self) -> Identity {
        Identity::some(TypeId::of::<Self>(), &self.expr)
    }

    fn batched(&self, _: &[&dyn Operator], ty: Type, _: usize) -> Arc<dyn Operator> {
        Arc::new(Self { least: Some(ty), ..self.clone() })
    }
}

/// One dispatch of `shaders/map.wgsl`.
#[derive(Clone, Debug)]
struct MapKernel {
    operands: Operands,
    output: Placed,
    all_rows: usize,
    flat: bool,
    vec4: bool,
    rolls: bool,
    family: Family,
}

impl MapKernel {
    /// Rows, and groups of columns in a row, that the shader walks through.
    fn extent(&self) -> (usize, usize) {
        let Operands { rows, cols, .. } = self.operands;
        match (self.flat, self.vec4) {
            (true, _) => (1, (rows * cols).div_ceil(4)),
            (false, true) => (rows, cols / 4),
            (false, false) => (rows, cols),
        }
    }
}

impl Kernel for MapKernel {
    fn source(&self) -> Source {
        let o = &self.operands;
        // A division by a number that the compiler knows is a multiplication; by one that it does not, it costs more than
        // the rest of the kernel.
        let place = if self.flat { "0u, i" } else { &format!("i / {0}u, i % {0}u", self.extent().1) };
        let generated = [
            ("element", Operands::element(self.vec4, self.family)),
            ("place", format!("fn place(i: u32) -> vec2<u32> {{ return vec2<u32>({place}); }}")),
            ("operand_members", o.members()),
            ("operands", o.declare(1, self.vec4, self.all_rows)),
            ("expression", o.function("expression(row: u32, col: u32)", |i| format!("load{i}(row, col)"))),
        ];
        let source = Source::new("map", "main", &generated);
        if self.rolls { source.constant("MOVES", 0.0) } else { source }
    }

    fn access(&self) -> Vec<Access> {
        let mut access = vec![Access::Write];
        access.extend(self.operands.list.iter().map(|_| Access::Read));
        access
    }

    fn params(&self) -> Vec<u32> {
        let (rows, width) = self.extent();
        let mut words =
            vec![0, rows as u32, width as u32, self.output.start as u32, self.operands.cols as u32];
        words.extend(self.operands.words());
        words
    }

    fn grid(&self) -> [u32; 3] {
        let (rows, width) = self.extent();
        fold((rows * width).div_ceil(512))
    }

    fn fragment(&self, site: &Site) -> Option<Fragment> {
        let (o, n) = (&self.operands, site.number);
        let row = if self.rolls { "b" } else { "row" };
        let lines = o.expr.wgsl_lines(|i| o.load(site, 1, i, self.all_rows));
        let body = format!(
            "{lines}store{n}_0({}u + {row} * {}u + col, left, r{});\n",
            self.output.start,
            o.cols,
            o.expr.tape.len() - 1
        );
        let whole = [self.output.start, o.cols].iter().all(|x| x.is_multiple_of(4));
        let aligned = std::iter::once(whole).chain((0..o.list.len()).map(|i| o.is_aligned(i))).collect();
        let work = (o.cols * (o.expr.tape.len() + MEMORY * (1 + o.list.len()))) as f64;
        let turns = turns::of(site.rounds(o.cols), o.expr.turns());
        Some(Fragment { text: site.elementwise(o.cols, &body), aligned, work, turns })
    }

    fn turns(&self) -> usize {
        turns::of(8, self.operands.expr.turns())
    }

    fn split(&self, row0: usize) -> Split {
        let Operands { rows, cols, .. } = self.operands;
        let start = self.output.start + row0 * cols;
        if self.flat {
            Split { units: rows * cols, grain: 2048, parts: vec![Part::rows(start, 1)] }
        } else {
            Split { units: rows, grain: 2048_usize.div_ceil(cols), parts: vec![Part::rows(start, cols)] }
        }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let o = &self.operands;
        let mut lanes = [Lane::Splat(0.0); MAX_INPUTS];
        let n = o.list.len();
        if self.flat {
            for (i, operand) in o.list.iter().enumerate() {
                let data = io.read(1 + i);
                let start = operand.placed.start;
                lanes[i] = if operand.placed.ty.cols == 1 && o.cols > 1 {
                    Lane::Splat(data[start])
                } else {
                    let start = start + row0 * o.cols;
                    Lane::Slice(&data[start + units.start..start + units.end])
                };
            }
            let (to, scratch) = io.output(0, 0);
            return o.expr.run(&lanes[..n], to, scratch);
        }
        let mut row = units.start;
        while row < units.end {
            let rows = o.rows_at_once(row0 + row, units.end - row);
            for (i, lane) in lanes.iter_mut().enumerate().take(n) {
                *lane = o.lane(io, 1, i, row0 + row, 0, rows * o.cols);
            }
            let (to, scratch) = io.output(0, 0);
            let first = (row - units.start) * o.cols;
            o.expr.run(&lanes[..n], &mut to[first..first + rows * o.cols], scratch);
            row += rows;
        }
    }
}

impl crate::graph::Scope {
    /// An expression of those of `all` that it uses.
    pub(crate) fn map_used<'s>(&'s self, expr: Expr, all: &[Tensor<'s>], least: Option<Type>) -> Tensor<'s> {
        let used: Vec<usize> = (0..all.len()).filter(|i| expr.tape.contains(&Instr::Input(*i))).collect();
        let mut number = vec![0; all.len()];
        used.iter().enumerate().for_each(|(new, &old)| number[old] = new);
        let inputs: Vec<Tensor<'s>> = used.iter().map(|&i| all[i]).collect();
        let map = Map { expr: expr.renumber(&number), least };
        if inputs.is_empty() && least.is_none() {
            return self.constant(map.expr.reference(|_| 0.0) as f32);
        }
        self.apply(map, &inputs)
    }

    /// The sum of several values, each broadcast to the largest. Of what lies side by side nothing is added up.
    pub fn sum<'s>(&'s self, values: &[Tensor<'s>]) -> Tensor<'s> {
        let values = &self.join(values)[..];
        match values {
            [] => self.constant(0.0),
            [one] => *one,
            _ => self.apply(Map::new(Expr::sum(values.len())), values),
        }
    }
}

impl<'s> Tensor<'s> {
    /// `f` of each element.
    pub fn unary(self, f: Unary) -> Self {
        self.scope.apply(Map::new(Expr::unary(f)), &[self])
    }

    fn binary(self, f: Binary, other: Self) -> Self {
        self.scope.apply(Map::new(Expr::binary(f)), &[self, other])
    }

    /// The larger of two, element by element.
    pub fn max(self, other: Self) -> Self {
        self.binary(Binary::Max, other)
    }

    /// The smaller of two, element by element.
    pub fn min(self, other: Self) -> Self {
        self.binary(Binary::Min, other)
    }

    /// 1 where it is less than `other`, else 0; so also where one is NaN. Its derivative is zero.
    pub fn less(self, other: Self) -> Self {
        self.binary(Binary::Less, other)
    }

    /// `yes` where it is not zero, else `no`, element by element. The gradient goes to the one that was chosen; the derivative
    /// of what was not must be finite there.
    pub fn choose(self, yes: Self, no: Self) -> Self {
        let tape = vec![Instr::Input(0), Instr::Input(1), Instr::Input(2), Instr::Select(0, 1, 2)];
        self.scope.apply(Map::new(Expr { tape }), &[self, yes, no])
    }

    /// `x^other`; of negative elements for whole exponents alone, else NaN.
    pub fn pow(self, other: Self) -> Self {
        self.binary(Binary::Pow, other)
    }

    /// `max(x, 0)`
    pub fn relu(self) -> Self {
        self.unary(Unary::Relu)
    }

    /// Hyperbolic tangent.
    pub fn tanh(self) -> Self {
        self.unary(Unary::Tanh)
    }

    /// `1 / (1 + exp(-x))`
    pub fn sigmoid(self) -> Self {
        self.unary(Unary::Sigmoid)
    }

    /// `x^2`
    pub fn square(self) -> Self {
        self.unary(Unary::Square)
    }

    /// Square root.
    pub fn sqrt(self) -> Self {
        self.unary(Unary::Sqrt)
    }

    /// `e^x`
    pub fn exp(self) -> Self {
        self.unary(Unary::Exp)
    }

    /// Natural logarithm.
    pub fn log(self) -> Self {
        self.unary(Unary::Log)
    }

    /// `|x|`
    pub fn abs(self) -> Self {
        self.unary(Unary::Abs)
    }

    /// `factor * x`
    pub fn scale(self, factor: f32) -> Self {
        self * self.scope.constant(factor)
    }

    /// `x - target`, zero where the target is NaN.
    pub fn residual(self, target: Self) -> Self {
        self.binary(Binary::Residual, target)
    }

    /// The same values in the larger type `ty`, repeated.
    pub fn expand(self, ty: Type) -> Self {
        if self.ty() == ty { self } else { self.repeat(ty) }
    }

    /// The same by an operator of its own, also where there is nothing to repeat: so that a graph has the same operators
    /// however its inputs are given. The planner drops those that only copy.
    pub fn repeat(self, ty: Type) -> Self {
        self.scope.apply(Map { expr: Expr::identity(), least: Some(ty) }, &[self])
    }

    /// The same values once per time step.
    pub fn expand_in_time(self) -> Self {
        if self.ty().extent == Extent::Sequence { self } else { self.expand(Type::sequence(self.ty().cols)) }
    }
}

macro_rules! operator {
    ($trait:ident $method:ident) => {
        impl std::ops::$trait for Tensor<'_> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.binary(Binary::$trait, other)
            }
        }
    };
}
operator!(Add add);
operator!(Sub sub);
operator!(Mul mul);
operator!(Div div);
