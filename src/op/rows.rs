//! What the operators have in common that work on a whole row at a time: softmax, cross-entropy, accuracy.

use std::ops::Range;

use crate::engine::cpu::Io;
use crate::engine::shader::Source;
use crate::engine::{Access, Dispatch, Kernel, Part, Split, fold};
use crate::graph::{Lower, Operand, Placed};

/// The CPU twin for one row: the inputs' rows, and the output's.
pub type RowTwin = fn(&[&[f32]], &mut [f32]);

/// A dispatch in which each lane owns a row.
#[derive(Clone, Debug)]
pub struct RowKernel {
    stem: &'static str,
    entry: &'static str,
    inputs: Vec<Operand>,
    output: Placed,
    rows: usize,
    cols: usize,
    twin: RowTwin,
}

impl RowKernel {
    /// `entry` of `shaders/<stem>.wgsl` over rows of the first input's width.
    pub fn dispatch(stem: &'static str, entry: &'static str, at: &Lower, twin: RowTwin) -> Dispatch {
        let inputs: Vec<Operand> = (0..at.inputs.len()).map(|i| at.operand(i)).collect();
        let cols = at.inputs[0].ty.cols;
        let mut bindings = vec![at.output.binding];
        bindings.extend(at.inputs.iter().map(|i| i.binding));
        let rows = at.rows(at.output.ty);
        Dispatch::new(Self { stem, entry, inputs, output: at.output.clone(), rows, cols, twin }, bindings)
    }
}

impl Kernel for RowKernel {
    fn source(&self) -> Source {
        Source::new(self.stem, self.entry, &[])
    }

    fn access(&self) -> Vec<Access> {
        let mut access = vec![Access::Write];
        access.extend(self.inputs.iter().map(|_| Access::Read));
        access
    }

    fn params(&self) -> Vec<u32> {
        let sizes = [0, self.rows, self.cols, self.output.start, self.output.ty.cols];
        let mut words: Vec<u32> = sizes.iter().map(|&n| n as u32).collect();
        for o in &self.inputs {
            words.extend([o.placed.start as u32, o.period as u32, o.placed.ty.cols as u32]);
        }
        // An entry point that reads fewer operands than its file's others declares the words of all.
        let operands = if self.stem == "cross_entropy" { 3 } else { 2 };
        words.resize(5 + 3 * operands, 0);
        words
    }

    fn grid(&self) -> [u32; 3] {
        fold(self.rows.div_ceil(64))
    }

    fn split(&self, row0: usize) -> Split {
        let inner = self.output.ty.cols;
        let part = Part::rows(self.output.start + row0 * inner, inner);
        Split { units: self.rows, grain: 512_usize.div_ceil(self.cols), parts: vec![part] }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let inner = self.output.ty.cols;
        let mut rows: [&[f32]; 4] = [&[]; 4];
        for (k, row) in units.enumerate() {
            for (i, o) in self.inputs.iter().enumerate() {
                let cols = o.placed.ty.cols;
                let at = o.placed.start + ((row0 + row) % o.period) * cols;
                rows[i] = &io.read(1 + i)[at..at + cols];
            }
            let (to, _) = io.output(0, 0);
            (self.twin)(&rows[..self.inputs.len()], &mut to[k * inner..(k + 1) * inner]);
        }
    }
}
