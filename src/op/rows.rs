//! Common parts of operators on whole rows: softmax, cross-entropy, accuracy.

use std::ops::Range;

use crate::engine::cpu::Io;
use crate::engine::shader::{self, Source};
use crate::engine::{Access, Dispatch, Kernel, Part, Split, fold, turns};
use crate::graph::{Lower, Operand, Placed};

/// The CPU twin for one row: the inputs' rows, and the output's.
pub type RowTwin = fn(&[&[f32]], &mut [f32]);

/// Entry points of a shader.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The file.
    pub stem: &'static str,
    /// A row for each lane, or for each workgroup.
    pub names: [&'static str; 2],
    /// Loops over a row's columns, one after the other.
    pub loops: usize,
}

/// Longer rows are shared by the lanes of a workgroup.
const WIDE: usize = 1024;
/// Lanes of a workgroup.
const LANES: usize = 64;

/// A dispatch in which each lane owns a row, or each workgroup.
#[derive(Clone, Debug)]
pub struct RowKernel {
    entry: Entry,
    inputs: Vec<Operand>,
    output: Placed,
    rows: usize,
    cols: usize,
    twin: RowTwin,
}

impl RowKernel {
    /// `entry` over rows of the first input's width.
    pub fn dispatch(entry: Entry, at: &Lower, twin: RowTwin) -> Dispatch {
        let inputs: Vec<Operand> = (0..at.inputs.len()).map(|i| at.operand(i)).collect();
        let cols = at.inputs[0].ty.cols;
        let mut bindings = vec![at.output.binding];
        bindings.extend(at.inputs.iter().map(|i| i.binding));
        let rows = at.rows(at.output.ty);
        Dispatch::new(Self { entry, inputs, output: at.output.clone(), rows, cols, twin }, bindings)
    }
}

impl RowKernel {
    fn wide(&self) -> bool {
        self.cols > WIDE
    }
}

impl Kernel for RowKernel {
    fn source(&self) -> Source {
        let Entry { stem, names, .. } = self.entry;
        let terms = if self.wide() { self.cols.div_ceil(LANES) } else { self.cols };
        Source::new(stem, names[usize::from(self.wide())], &[shader::sums(terms)])
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
        let operands = if self.entry.stem == "cross_entropy" { 3 } else { 2 };
        words.resize(5 + 3 * operands, 0);
        words
    }

    fn grid(&self) -> [u32; 3] {
        fold(if self.wide() { self.rows } else { self.rows.div_ceil(64) })
    }

    fn turns(&self) -> usize {
        // Between two loops over its columns, a workgroup puts together by halves what its lanes have found.
        let one = match self.wide() {
            true => turns::of(self.cols.div_ceil(LANES), 0) + 2 * turns::of(LANES.ilog2() as usize, 0),
            false => turns::of(self.cols, 0),
        };
        self.entry.loops * one
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
