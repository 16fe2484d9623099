//! A product as a part of a loop's shader: all rows of a tile in registers, so that each weight is read once.

use crate::engine::cpu::form::Form;
use crate::engine::cpu::gemm::Gemm;
use crate::engine::fused::{Fragment, MEMORY, Site};
use crate::engine::turns;
use crate::op::matmul::{MatmulKernel, Variant};

/// Rows of four columns that a lane sums at once; with more of them, values leave the registers.
const MOST_ROWS: usize = 32;

impl MatmulKernel {
    /// Lanes lie along the columns. Where they are one subgroup of eight and there are columns for all of them, each reads
    /// its share of the rows and hands them round; else each reads what it multiplies.
    pub(super) fn write_fragment(&self, site: &Site) -> Option<Fragment> {
        let Gemm { form, n, k, lda, ldc, .. } = self.gemm;
        if form == Form::Tn || self.splits > 1 || self.variant() == Variant::Exact {
            return None;
        }
        let tiling = site.tiling;
        let across = n.div_ceil(4);
        let shared = tiling.broadcast
            && tiling.rows.is_multiple_of(8)
            && tiling.rows <= MOST_ROWS
            && across >= 8
            && (self.groups == 1 || across.is_multiple_of(8));
        let all = across * self.groups;
        let rows = match shared {
            true => tiling.rows,
            // No fewer pieces than lanes, if there are enough rows; and whole pieces.
            false => {
                let most = (tiling.rows * all / tiling.lanes).clamp(1, MOST_ROWS);
                (1..=most).rev().find(|n| tiling.rows.is_multiple_of(*n)).unwrap_or(1)
            }
        };
        let text = self.epilogue_function(site) + &self.phase(site, rows, shared);
        let whole = |sizes: &[usize]| sizes.iter().all(|x| x.is_multiple_of(4));
        let [a_group, b_group, c_group] = self.distances;
        let b_line = if form == Form::Nt { k } else { n };
        let mut aligned = vec![
            whole(&[self.a.start, lda, k, a_group]),
            whole(&[self.b.start, self.gemm.ldb, b_line, if self.groups > 1 { b_group } else { 0 }]),
            whole(&[self.c.start, ldc, n, c_group]),
        ];
        let pieces = self.groups == 1 || n.is_multiple_of(4);
        aligned.extend((0..self.epilogue.list.len()).map(|i| pieces && self.epilogue.is_aligned(i)));
        let operands = (1 + self.epilogue.list.len()) * MEMORY + self.epilogue.expr.tape.len();
        let work = (self.groups * (2 * n * k + n * operands)) as f64;
        let pieces = if shared { all.div_ceil(8) } else { (all * tiling.rows / rows).div_ceil(tiling.lanes) };
        // Each row has an epilogue of its own, with its loops, that is gone through once more when the pieces are done.
        let turns = (pieces + 1) * (1 + turns::of(k.div_ceil(4), 0) + rows * self.epilogue.expr.turns());
        Some(Fragment { text, aligned, work, turns })
    }

    fn epilogue_function(&self, site: &Site) -> String {
        let number = site.number;
        let input = |i: usize| match i {
            0 => "x".to_string(),
            i => self.epilogue.load(site, 3, i - 1, self.all_rows),
        };
        let signature = format!("end{number}(x: F, row: u32, b: u32, col: u32, left: u32)");
        self.epilogue.function(&signature, input)
    }

    /// Four rows and four columns of the weights as a matrix.
    fn weights_block(&self, number: usize) -> String {
        let Gemm { form, n, k, ldb, .. } = self.gemm;
        let last = |left: &str, j: usize| match (j, k.is_multiple_of(4)) {
            (0, _) => "0u".to_string(),
            (j, true) => format!("{j}u"),
            (j, false) => format!("min({j}u, {left} - 1u)"),
        };
        match form {
            // Four columns of four steps each.
            Form::Nt => {
                let load = |j: usize| {
                    let column =
                        if n.is_multiple_of(4) { format!("{j}u") } else { format!("min({j}u, wide - 1u)") };
                    format!("load{number}_1(at_b + {column} * {ldb}u, left)")
                };
                format!("transpose(mat4x4({}, {}, {}, {}))", load(0), load(1), load(2), load(3))
            }
            _ => {
                let load = |j: usize| format!("load{number}_1(at_b + {} * {ldb}u, wide)", last("left", j));
                format!("mat4x4({}, {}, {}, {})", load(0), load(1), load(2), load(3))
            }
        }
    }

    /// A loop over pieces of `rows` rows and four columns.
    fn phase(&self, site: &Site, rows: usize, shared: bool) -> String {
        let Gemm { form, n, k, lda, ldb, ldc, .. } = self.gemm;
        let (number, tiling) = (site.number, site.tiling);
        let (batch, across) = (tiling.batch, n.div_ceil(4));
        let all = across * self.groups;
        let each = |f: &dyn Fn(usize) -> String| (0..rows).map(f).collect::<String>();
        let [a_group, b_group, c_group] = self.distances;
        let (a0, b0, c0) = (self.a.start, self.b.start, self.c.start);
        let a_row = |row: String| {
            let b = format!("min({row}, {}u)", batch - 1);
            if self.rolls.0 { format!("{b} * {lda}u") } else { format!("(t * {batch}u + {b}) * {lda}u") }
        };
        // Which lane reads which row, and where it stands in its registers.
        let own = if shared { rows / 8 } else { rows };
        let first = if shared { format!("first + lane * {own}u") } else { "first".to_string() };
        let row = |j: usize| match shared {
            true => format!("subgroupBroadcast(a{}, {}u)", j % own, j / own),
            false => format!("a{j}"),
        };
        let pieces = match shared {
            // All lanes stay together; those without columns of their own do the last ones again.
            true => format!(
                "for (var start = 0u; start < {all}u; start += 8u) {{\n\
                 let piece = min(start + lane, {}u);\nlet first = example;\n",
                all - 1
            ),
            false => format!(
                "for (var i = lane; i < {}u; i += LANES) {{\n\
                 let piece = i % {all}u;\nlet first = example + i / {all}u * {rows}u;\n",
                all * tiling.rows / rows
            ),
        };
        let group = if self.groups == 1 { "0u".to_string() } else { format!("piece / {across}u") };
        let a_places = (0..own)
            .map(|j| {
                format!("var at{j} = {a0}u + group * {a_group}u + {};\n", a_row(format!("{first} + {j}u")))
            })
            .collect::<String>();
        let block = self.weights_block(number);
        let at_b = match form {
            Form::Nt => format!("{b0}u + group * {b_group}u + col * {ldb}u"),
            _ => format!("{b0}u + group * {b_group}u + col"),
        };
        let step_b = if form == Form::Nt { 4 } else { 4 * ldb };
        let loads = (0..own)
            .map(|j| {
                let x = format!("load{number}_0(at{j}, left)");
                let x = if k.is_multiple_of(4) { x } else { format!("only({x}, left)") };
                format!("let a{j} = {x};\nat{j} += 4u;\n")
            })
            .collect::<String>();
        let sums = each(&|j| format!("c{j} = mac(c{j}, {}, w);\n", row(j)));
        let stores = each(&|j| {
            let at = format!("{c0}u + group * {c_group}u + col");
            format!("put{number}(c{j}, t, first + {j}u, group * {n}u + col, {at}, wide);\n")
        });
        let out = if self.rolls.1 { "b" } else { "row" };
        let mine = if shared && !all.is_multiple_of(8) {
            format!("if start + lane < {all}u {{\n{stores}}}\n")
        } else {
            stores
        };
        format!(
            "fn put{number}(x: F, t: u32, b: u32, col: u32, at: u32, wide: u32) {{\n\
             let row = t * {batch}u + b;\n\
             if b < {batch}u {{ store{number}_2(at + {out} * {ldc}u, wide, end{number}(x, row, b, col, wide)); }}\n}}\n\
             fn phase{number}(lane: u32, example: u32, t: u32) {{\n\
             {pieces}let group = {group};\nlet col = (piece - group * {across}u) * 4u;\nlet wide = {n}u - col;\n\
             {a_places}var at_b = {at_b};\n{clear}\
             for (var k = 0u; k < {k}u; k += 4u) {{\nlet left = {k}u - k;\n\
             let w = {block};\nat_b += {step_b}u;\n{loads}{sums}}}\n{mine}}}\n}}\n",
            clear = each(&|j| format!("var c{j} = vec4<f32>();\n")),
        )
    }
}
