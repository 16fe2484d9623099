//! Matrix products in three forms, dense or grouped, with an elementwise expression on each element of the result.

mod fragment;
mod parts;
mod twin;
mod variant;

use std::ops::Range;
use std::sync::Arc;

pub use variant::family_name;
use variant::{LONG, Variant};

use crate::engine::cpu::Io;
use crate::engine::cpu::form::Form;
use crate::engine::cpu::gemm::Gemm;
use crate::engine::fused::{Fragment, Site};
use crate::engine::shader::{self, Source};
use crate::engine::{Access, Binding, Dispatch, Family, Kernel, Split, turns};
use crate::error::Result;
use crate::expr::Expr;
use crate::expr::operands::Operands;
use crate::graph::{
    Adjoint, Batchable, Batching, Extent, Fusible, Fusion, Identity, Lower, Operator, Placed, Reference,
    Relaid, Tensor, Type,
};
use crate::op::{Transpose, reduce};

/// A product of two matrices, `groups` of them side by side.
///
/// | form | first input | second input | output |
/// |---|---|---|---|
/// | `Nt`: `A·Bᵀ` | rows × (groups·k) | (groups·n) × k, fixed | rows × (groups·n) |
/// | `Nn`: `A·B` | rows × (groups·n) | (groups·n) × k, fixed | rows × (groups·k) |
/// | `Tn`: `Aᵀ·B` | rows × (groups·n) | rows × (groups·k) | (groups·n) × k, fixed |
///
/// So `Nt` applies weights (size_out × size_in) to rows, `Nn` is its adjoint for the rows, and `Tn` its adjoint for
/// the weights: each is an adjoint of the others.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Matmul {
    /// The transposed operand, if any.
    pub form: Form,
    /// Independent products; each reads columns and rows of its own.
    pub groups: usize,
    /// Expression that is stored: input 0 is the product, the others are this operator's inputs from the third on.
    pub epilogue: Option<Expr>,
}

impl Matmul {
    /// The most further inputs an epilogue may have: with the product's three, 7 of 8 storage buffers.
    pub const MAX_OPERANDS: usize = 4;

    /// A dense product.
    pub fn dense(form: Form) -> Self {
        Self { form, groups: 1, epilogue: None }
    }
}

impl Operator for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(self))
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let (a, b, g) = (inputs[0], inputs[1], self.groups);
        let fixed = |ty: Type| ty.extent == crate::graph::Extent::Fixed;
        let whole = |n: usize| g > 0 && n.is_multiple_of(g);
        let of_groups = if g == 1 { String::new() } else { format!(" in {g} groups") };
        let mismatch = || format!("{a} and {b} cannot be multiplied{of_groups}");
        match self.form {
            Form::Nt if fixed(b) && whole(b.rows) && a.cols == g * b.cols => Ok(a.with_cols(b.rows)),
            Form::Nn if fixed(b) && whole(b.rows) && a.cols == b.rows => Ok(a.with_cols(g * b.cols)),
            Form::Tn if (a.extent, a.rows) == (b.extent, b.rows) && whole(a.cols) && whole(b.cols) => {
                Ok(Type::fixed(a.cols, b.cols / g))
            }
            _ => Err(mismatch()),
        }
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let [a, b] = at.inputs[..] else { return None };
        let dy = at.adjoint.expand(at.output.ty());
        let product = |form, x: Tensor<'s>, y| {
            x.scope.apply(Self { form, groups: self.groups, epilogue: None }, &[x, y])
        };
        at.each(|i| match (self.form, i) {
            (Form::Nt, 0) => product(Form::Nn, dy, b),
            (Form::Nt, _) => product(Form::Tn, dy, a),
            (Form::Nn, 0) => product(Form::Nt, dy, b),
            (Form::Nn, _) => product(Form::Tn, a, dy),
            (Form::Tn, 0) => product(Form::Nt, b, dy),
            (Form::Tn, _) => product(Form::Nn, a, dy),
        })
    }

    fn rolls(&self) -> bool {
        self.form != Form::Tn
    }

    fn totals(&self, inputs: &[Type]) -> bool {
        let narrow = |ty: Type| ty.extent == Extent::Sequence && ty.cols == self.groups;
        self.form == Form::Tn && self.groups > 1 && inputs.iter().any(|ty| narrow(*ty))
    }

    fn own_derivative(&self) -> bool {
        self.epilogue.as_ref().is_none_or(Expr::own_derivative)
    }

    /// The product over rows may be made in parts, so that no expression can be added to its end.
    fn fuse(&self) -> Option<&dyn Fusible> {
        (self.form != Form::Tn).then_some(self)
    }

    fn batch(&self) -> Option<&dyn Batchable> {
        (self.form == Form::Nt && self.epilogue.is_none()).then_some(self)
    }

    fn terms(&self, inputs: &[Type]) -> Option<usize> {
        match self.form {
            Form::Nt => Some(inputs[1].cols),
            Form::Nn => Some(inputs[1].rows / self.groups),
            Form::Tn => None,
        }
    }

    fn with_transposed_weights(&self) -> Option<Relaid> {
        let product = || Arc::new(Self { form: Form::Nn, ..self.clone() });
        let copy = Transpose { groups: self.groups };
        (self.form == Form::Nt).then(|| Relaid { product: product(), copy: Arc::new(copy) })
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        let (a, b, c) = (&at.inputs[0], &at.inputs[1], &at.output);
        let g = self.groups;
        let sizes = match self.form {
            Form::Nt => [at.rows(c.ty), c.ty.cols / g, a.ty.cols / g],
            Form::Nn => [at.rows(c.ty), c.ty.cols / g, a.ty.cols / g],
            Form::Tn if at.total.is_some() => [c.ty.rows / g, c.ty.cols, at.tile],
            Form::Tn => [c.ty.rows / g, c.ty.cols, at.rows(a.ty)],
        };
        let [m, n, k] = sizes;
        let (lda, ldb, ldc) = (a.ty.cols, b.ty.cols, c.ty.cols);
        let distances = match self.form {
            Form::Nt => [k, n * k, n],
            Form::Nn => [k, k * n, n],
            Form::Tn => [m, n, m * n],
        };
        let list = (2..at.inputs.len()).map(|i| at.operand(i)).collect();
        let expr = self.epilogue.clone().unwrap_or_else(Expr::identity);
        let epilogue = Operands { expr, list, rows: m, cols: ldc };
        let mut kernel = MatmulKernel {
            gemm: Gemm { form: self.form, m, n, k, lda, ldb, ldc },
            groups: g,
            distances,
            a: a.clone(),
            b: b.clone(),
            c: c.clone(),
            epilogue,
            all_rows: c.ty.total_rows(at.dims),
            rolls: (at.in_loop && a.ty.extent != Extent::Sequence, at.rolls),
            total: at.total,
            batch: at.dims.batch,
            splits: 1,
            part: None,
            family: at.target.family,
        };
        let mut bindings: Vec<Binding> = vec![a.binding, b.binding, c.binding];
        bindings.extend(at.inputs[2..].iter().map(|i| i.binding));
        kernel.splits = kernel.useful_splits(at.target.max_turns);
        if kernel.splits == 1 {
            let parts = kernel.within(at.target.max_turns);
            let call = |kernel: MatmulKernel| {
                let used = 3 + kernel.epilogue.list.len();
                Dispatch::new(kernel, bindings[..used].to_vec())
            };
            return Ok(parts.into_iter().map(call).collect());
        }
        let output = at.output.clone();
        let parts = at.scratch(kernel.splits * g * m * n);
        kernel.c = Placed { binding: parts, start: 0, ty: Type::fixed(kernel.splits * g * m, n) };
        bindings[2] = parts;
        let sum = reduce::over_parts(parts, kernel.splits, g * m * n, output, at.target.family);
        Ok(vec![Dispatch::new(kernel, bindings), sum])
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let (a, b, g) = (at.types[0], at.types[1], self.groups);
        let rows = at.inputs[0].len() / a.cols;
        let (left, right) =
            (|r: usize, c: usize| at.at(0, r, c), |r: usize, c: usize| at.inputs[1][r * b.cols + c]);
        let (n, k) = match self.form {
            Form::Nt | Form::Nn => (b.rows / g, b.cols),
            Form::Tn => (a.cols / g, b.cols / g),
        };
        let element = |row: usize, col: usize| match self.form {
            Form::Nt => (0..k).map(|i| left(row, col / n * k + i) * right(col, i)).sum::<f64>(),
            Form::Nn => (0..n).map(|i| left(row, col / k * n + i) * right(col / k * n + i, col % k)).sum(),
            Form::Tn => (0..rows).map(|r| left(r, row) * right(r, row / n * k + col)).sum(),
        };
        let expr = self.epilogue.clone().unwrap_or_else(Expr::identity);
        let value = |e: usize| {
            let (row, col) = (e / at.ty.cols, e % at.ty.cols);
            let product = element(row, col);
            expr.reference_held(|x| at.held(x), |i| if i == 0 { product } else { at.at(1 + i, row, col) })
        };
        (0..at.rows * at.ty.cols).map(value).collect()
    }
}

impl Fusible for Matmul {
    fn fusion(&self) -> Fusion<'_> {
        Fusion::Epilogue { expr: self.epilogue.as_ref(), first: 2, most: Self::MAX_OPERANDS }
    }

    fn with_expression(&self, expr: Expr, _: Type) -> Arc<dyn Operator> {
        Arc::new(Self { epilogue: Some(expr), ..self.clone() })
    }
}

impl Batchable for Matmul {
    fn batching(&self) -> Batching {
        Batching::Product { groups: self.groups }
    }

    fn key(&self) -> Identity {
        Identity::of(self)
    }

    fn batched(&self, members: &[&dyn Operator], _: Type, fan_out: usize) -> Arc<dyn Operator> {
        Arc::new(Self { groups: self.groups * members.len() / fan_out, ..self.clone() })
    }
}

/// One dispatch of a `shaders/matmul_*.wgsl`, or the twin's calls of a gemm.
#[derive(Clone, Debug)]
struct MatmulKernel {
    /// Sizes of one group's product, and strides.
    gemm: Gemm,
    groups: usize,
    /// From one group to the next, in elements of `a`, `b` and `c`.
    distances: [usize; 3],
    a: Placed,
    b: Placed,
    c: Placed,
    epilogue: Operands,
    all_rows: usize,
    /// Of A, and of C, only the rows of the current step of a loop exist.
    rolls: (bool, bool),
    /// A sum over time that a loop makes step by step: the step that comes first.
    total: Option<usize>,
    batch: usize,
    splits: usize,
    /// Of several dispatches that make a product together, true if this one adds to the others' results. For adapters alone.
    part: Option<bool>,
    family: Family,
}

impl MatmulKernel {
    fn has_epilogue(&self) -> bool {
        !self.epilogue.expr.is_identity()
    }

    /// Columns that a store writes at once.
    fn vec4_result(&self) -> bool {
        let Gemm { n, ldc, .. } = self.gemm;
        [n, ldc, self.c.start, self.distances[2]].iter().all(|x| x.is_multiple_of(4))
            && (!self.has_epilogue() || self.epilogue.aligned())
    }
}

impl MatmulKernel {
    fn variant(&self) -> Variant {
        // Parts of a product that is made in several dispatches are as exact as the whole.
        if self.part.is_some() || self.gemm.k > LONG {
            return Variant::Exact;
        }
        Variant::of(self.family, self.gemm.m, self.gemm.n)
    }

    /// Way to load an operand: in vectors if all its distances are whole vectors.
    fn load(&self, placed: &Placed, stride: usize, group: usize, contiguous: usize) -> &'static str {
        let group = if self.groups == 1 { 0 } else { group };
        let whole = [placed.start, stride, group, contiguous].iter().all(|x| x.is_multiple_of(4));
        match (whole, self.family) {
            (false, _) => "scalar",
            (true, Family::Software { int64: true, .. }) => "u64",
            (true, _) => "vec4",
        }
    }
}

impl Kernel for MatmulKernel {
    fn source(&self) -> Source {
        let Gemm { form, m, n, k, lda, ldb, .. } = self.gemm;
        let variant = self.variant();
        let vec4 = self.vec4_result();
        let a = self.load(&self.a, lda, self.distances[0], if form == Form::Tn { m } else { k });
        let b = self.load(&self.b, ldb, self.distances[1], if form == Form::Nt { k } else { n });
        let c = if vec4 { "vec4" } else { "scalar" };
        let generated = [
            ("operand_members", self.epilogue.members()),
            ("operand_a", shader::part(&format!("operand_a_{a}"))),
            ("operand_b", shader::part(&format!("operand_b_{b}"))),
            ("result", shader::part(&format!("result_{c}"))),
            ("epilogue", self.epilogue_text(vec4)),
        ];
        let source = Source::new(variant.stem(), "main", &generated)
            .constant("FORM", f64::from(form as u32))
            .constant("A_MOVES", f64::from(u8::from(!self.rolls.0)))
            .constant("C_MOVES", f64::from(u8::from(!self.rolls.1)))
            .constant("ADDS", f64::from(u8::from(self.part == Some(true))));
        match variant {
            Variant::Plain { bands } => source.constant("BANDS", bands as f64),
            _ => source,
        }
    }

    fn access(&self) -> Vec<Access> {
        let mut access = vec![Access::Read, Access::Read, Access::Write];
        access.extend(self.epilogue.list.iter().map(|_| Access::Read));
        access
    }

    fn params(&self) -> Vec<u32> {
        let Gemm { m, n, k, lda, ldb, ldc, .. } = self.gemm;
        let [a_group, b_group, c_group] = self.distances;
        let (a0, b0, c0) = (self.a.start, self.b.start, self.c.start);
        let c_split = self.groups * m * n;
        let sizes = [
            0,
            m,
            n,
            k,
            lda,
            ldb,
            ldc,
            a0,
            b0,
            c0,
            a_group,
            b_group,
            c_group,
            self.splits,
            c_split,
            self.groups,
        ];
        let mut words: Vec<u32> = sizes.iter().map(|&n| n as u32).collect();
        words.extend(self.epilogue.words());
        words
    }

    fn grid(&self) -> [u32; 3] {
        let (tile_m, tile_n) = self.variant().tile();
        let tiles = self.gemm.m.div_ceil(tile_m) * self.gemm.n.div_ceil(tile_n);
        crate::engine::fold(tiles * self.groups * self.splits)
    }

    fn fragment(&self, site: &Site) -> Option<Fragment> {
        self.write_fragment(site)
    }

    fn turns(&self) -> usize {
        let (step, inside) = self.variant().round();
        let terms = self.gemm.k.div_ceil(4).div_ceil(self.splits) * 4;
        turns::of(terms.div_ceil(step), inside)
    }

    fn split(&self, row0: usize) -> Split {
        self.shares(row0)
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        self.multiply(io, units, row0);
    }
}

impl MatmulKernel {
    /// The function that finishes each element before it is stored, for four columns and for one.
    fn epilogue_text(&self, vec4: bool) -> String {
        let same = "fn epilogue4(x: vec4<f32>, row: u32, col: u32) -> vec4<f32> { return x; }\n\
                    fn epilogue1(x: f32, row: u32, col: u32) -> f32 { return x; }\n";
        if !self.has_epilogue() {
            return same.to_string();
        }
        // The one that is not called must still be there.
        let (used, unused) = if vec4 { ("epilogue4", 1) } else { ("epilogue1", 0) };
        let input = |i: usize| if i == 0 { "x".to_string() } else { format!("load{}(row, col)", i - 1) };
        [
            Operands::element(vec4, self.family),
            shader::part("functions"),
            self.epilogue.declare(3, vec4, self.all_rows),
            self.epilogue.function(&format!("{used}(x: F, row: u32, col: u32)"), input),
            same.lines().nth(unused).unwrap_or_default().to_string(),
        ]
        .concat()
    }
}

impl<'s> Tensor<'s> {
    /// `x·Wᵀ`: applies weights of shape `[size_out, size_in]` to each row.
    pub fn dot(self, weights: Tensor<'s>) -> Self {
        self.scope.apply(Matmul::dense(Form::Nt), &[self, weights])
    }

    /// `groups` products side by side: group `g` applies its rows of the weights to its columns of each row.
    pub fn dot_groups(self, weights: Tensor<'s>, groups: usize) -> Self {
        self.scope.apply(Matmul { form: Form::Nt, groups, epilogue: None }, &[self, weights])
    }
}
