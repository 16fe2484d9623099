//! A step of a system as a part of a loop's shader.

use crate::engine::fused::{Fragment, MEMORY, Site};
use crate::engine::turns;
use crate::op::scan::ScanKernel;

impl ScanKernel {
    /// As `shaders/scan.wgsl`, for one step: states stay in their buffer from one step to the next.
    pub(super) fn write_fragment(&self, site: &Site) -> Fragment {
        let n = site.number;
        let (count, operands) = (self.op.states.len(), self.operands.list.len());
        let (cols, width) = (self.output.ty.cols, self.width());
        let first = 1 + usize::from(count > 0);
        let stride = self.blocks() * width;
        let each = |f: &dyn Fn(usize) -> String| (0..count).map(f).collect::<String>();
        let (now, next) = if self.op.backward { ("(t + 1u)", "t") } else { ("t", "(t + 1u)") };
        let place = |k: usize, block: &str| {
            let start = self.states.map_or(0, |(start, _)| start) + k * stride;
            let moves = if self.kept() { format!(" + {block} * {width}u") } else { String::new() };
            format!("{start}u + element{moves}")
        };
        let out = |block: &str| {
            let moves = if self.rolls { String::new() } else { format!(" + {block} * {width}u") };
            format!("{}u + element{moves}", self.output.start)
        };
        let load = each(&|k| format!("let s{k} = load{n}_1({}, left);\n", place(k, now)));
        let previous = match self.delayed() {
            true => format!("let y = load{n}_0({}, left);\n", out(now)),
            false => String::new(),
        };
        let all_rows = self.batch * self.all_steps;
        let (lines, results) = self.step.wgsl(|i| match i {
            i if i < operands => self.operands.load(site, first, i, all_rows),
            i if i < operands + count => format!("s{}", i - operands),
            _ => "y".to_string(),
        });
        let to = out(if self.delayed() { next } else { "t" });
        let store = format!("store{n}_0({to}, left, {});\n", results[0])
            + &each(&|k| format!("store{n}_1({}, left, {});\n", place(k, next), results[1 + k]));
        let element = format!("let element = b * {cols}u + col;\n");
        let body = element + &load + &previous + &lines + &store;

        let whole = |start: usize| [start, cols].iter().all(|x| x.is_multiple_of(4));
        let mut aligned = vec![whole(self.output.start)];
        aligned.extend(self.states.map(|(start, _)| whole(start)));
        aligned.extend((0..operands).map(|i| self.operands.is_aligned(i)));
        let numbers = 2 + 2 * count + operands;
        let work = (cols * (self.step.instructions() + MEMORY * numbers)) as f64;
        let turns = turns::of(site.rounds(cols), self.step.turns());
        Fragment { text: site.elementwise(cols, &body), aligned, work, turns }
    }
}
