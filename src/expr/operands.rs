//! Inputs of an elementwise expression: their declaration in WGSL, their words, their rows on the CPU.
//!
//! Used by [`crate::op::Map`] and by whatever ends in an expression: matmuls and reductions.

use std::fmt::Write;

use crate::engine::cpu::Io;
use crate::engine::fused::Site;
use crate::engine::{Family, shader};
use crate::expr::{Expr, Lane};
use crate::shape::Operand;

/// An expression and the operands of its inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Operands {
    /// Expression of each element.
    pub expr: Expr,
    /// One for each of the expression's inputs; for an epilogue, of those after the first.
    pub list: Vec<Operand>,
    /// Rows and columns of the result.
    pub rows: usize,
    /// Columns of the result.
    pub cols: usize,
}

impl Operands {
    /// True if an operand's only column stands for several of the result's, and so is loaded by itself.
    fn is_narrow(&self, operand: &Operand) -> bool {
        operand.placed.ty.cols == 1 && self.cols > 1
    }

    /// True if operands that are loaded four elements at once start where that is possible.
    pub fn starts_aligned(&self) -> bool {
        self.list.iter().all(|o| self.is_narrow(o) || o.placed.start.is_multiple_of(4))
    }

    /// True if four neighbouring columns can be loaded at once.
    pub fn aligned(&self) -> bool {
        self.cols.is_multiple_of(4) && self.starts_aligned()
    }

    /// True if rows do not matter: each operand is one number, or has an element for each of the result's.
    pub fn is_flat(&self, all_rows: usize) -> bool {
        self.list.iter().all(|o| {
            // Of a result with one column, a number looks like a column: it is repeated by its period.
            let one = o.period == 1 && self.is_narrow(o);
            one || (o.period == all_rows && o.placed.ty.cols == self.cols)
        })
    }

    /// The element type `F` of expressions, `U` for its bits, and the number of columns that it holds.
    pub fn element(vec4: bool, family: Family) -> String {
        if vec4 {
            let vector = shader::vector(family);
            format!(
                "{vector}alias F = vec4<f32>;\nalias U = vec4<u32>;\nalias I = vec4<i32>;\nconst WIDTH: u32 = 4u;\n"
            )
        } else {
            "alias F = f32;\nalias U = u32;\nalias I = i32;\nconst WIDTH: u32 = 1u;\n".to_string()
        }
    }

    /// Members of the shader's `Params`.
    pub fn members(&self) -> String {
        (0..self.list.len()).fold(String::new(), |mut s, i| {
            let _ = writeln!(s, "    start{i}: u32, stride{i}: u32,");
            s
        })
    }

    /// The words for [`Operands::members`].
    pub fn words(&self) -> Vec<u32> {
        let words = |o: &Operand| [o.placed.start as u32, o.placed.ty.cols as u32];
        self.list.iter().flat_map(words).collect()
    }

    /// Bindings from `first` on, and a function `load` for each operand.
    ///
    /// Periods are literals: a compiler turns a division by a number that it knows into a multiplication.
    pub fn declare(&self, first: usize, vec4: bool, all_rows: usize) -> String {
        let mut text = String::new();
        for (i, operand) in self.list.iter().enumerate() {
            let narrow = self.is_narrow(operand);
            let (element, unpack) = match (narrow, vec4) {
                (true, _) => ("f32", "F"),
                (false, true) => ("V", "unpack"),
                (false, false) => ("f32", ""),
            };
            let row = match operand.period {
                1 => "0u".to_string(),
                n if n == all_rows => "row".to_string(),
                n => format!("(row % {n}u)"),
            };
            let (col, divide) = if narrow { ("0u", "") } else { ("col", if vec4 { " / 4u" } else { "" }) };
            let _ = write!(
                text,
                "@group(0) @binding({binding}) var<storage, read> operand{i}: array<{element}>;\n\
                 fn load{i}(row: u32, col: u32) -> F {{\n    \
                 return {unpack}(operand{i}[(p.start{i} + {row} * p.stride{i} + {col}){divide}]);\n}}\n",
                binding = first + i,
            );
        }
        text
    }

    /// Operand `i`, which is binding `first + i`, at the `row`, example `b` and `col` of a [`Site`]'s element.
    pub fn load(&self, site: &Site, first: usize, i: usize, all_rows: usize) -> String {
        let operand = &self.list[i];
        let row = match operand.period {
            1 => "0u".to_string(),
            n if n == all_rows => "row".to_string(),
            n if n == site.tiling.batch => "b".to_string(),
            n => format!("(row % {n}u)"),
        };
        let (n, binding) = (site.number, first + i);
        let at = format!("{}u + {row} * {}u", operand.placed.start, operand.placed.ty.cols);
        match self.is_narrow(operand) {
            true => format!("F(number{n}_{binding}({at}))"),
            false => format!("load{n}_{binding}({at} + col, left)"),
        }
    }

    /// True if operand `i` is loaded in fours that start at multiples of four.
    pub fn is_aligned(&self, i: usize) -> bool {
        let operand = &self.list[i];
        self.is_narrow(operand) || [self.cols, operand.placed.start].iter().all(|n| n.is_multiple_of(4))
    }

    /// Number of rows of the result from `row` on, at most `most`, that lie side by side in every operand.
    pub fn rows_at_once(&self, row: usize, most: usize) -> usize {
        let rows = self.list.iter().map(|o| match o.period {
            1 if self.is_narrow(o) => most,
            period if o.placed.ty.cols == self.cols => period - row % period,
            _ => 1,
        });
        rows.fold(most, usize::min)
    }

    /// The expression as a WGSL function; input `i` is `operand(i)`, written as WGSL.
    pub fn function(&self, signature: &str, input: impl Fn(usize) -> String) -> String {
        format!("fn {signature} -> F {{\n{}}}\n", self.expr.wgsl(input))
    }

    /// Row `row` of operand `i`, which is binding `first + i`, from column `from` to `to`, which may lie in a later row.
    pub fn lane<'a>(
        &self,
        io: &Io<'a>,
        first: usize,
        i: usize,
        row: usize,
        from: usize,
        to: usize,
    ) -> Lane<'a> {
        let operand = &self.list[i];
        let data = io.read(first + i);
        let at = operand.placed.start + (row % operand.period) * operand.placed.ty.cols;
        if self.is_narrow(operand) { Lane::Splat(data[at]) } else { Lane::Slice(&data[at + from..at + to]) }
    }
}
