//! An optimiser step on all parameters in one dispatch: penalties, clipping and update.

use std::ops::Range;

use crate::engine::cpu::{Io, math};
use crate::engine::shader::{self, Source};
use crate::engine::{Access, Binding, Dispatch, Family, Kernel, Part, Split, fold, turns};
use crate::optim::step::{Regularisation, SegmentSlice};

pub use crate::optim::rule::{ClipMode, EpsilonAt, Hyper, Rule};

/// Floats of a line, to which parameters are aligned. All elements of a line belong to one segment.
pub const LINE: usize = crate::engine::ALIGN;

/// Lines of a parameter, and its settings of training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// First line of the parameter.
    pub first_line: usize,
    /// Number of lines.
    pub lines: usize,
    /// Penalty that adds `l2 * w` to the gradient.
    pub l2: f32,
    /// Penalty that adds `l1 * sign(w)` to the gradient.
    pub l1: f32,
    /// Penalty that adds `norm * w / |w|` to the gradient.
    pub norm: f32,
    /// Decoupled decay, which subtracts `rate * decay * w` from the weight, apart from the gradient.
    pub decay: f32,
    /// Factor of the learning rate; 0 freezes the parameter.
    pub rate: f32,
}

impl Segment {
    /// Gradient of loss and penalties, for a weight with the gradient `g` of the loss. `length` is the norm of the
    /// segment.
    #[inline(always)]
    pub(super) fn penalised(&self, w: f32, g: f32, length: f32) -> f32 {
        let norm = if length > 0.0 && self.norm != 0.0 { self.norm / length } else { 0.0 };
        let sign = f32::from(w > 0.0) - f32::from(w < 0.0);
        g + (self.l2 + norm) * w + self.l1 * sign
    }
}

/// Segments of all parameters, contiguous from line 0 on.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Segments {
    /// Segments, by the parameters' numbers.
    pub list: Vec<Segment>,
}

impl Segments {
    /// Number of lines of all segments.
    pub fn lines(&self) -> usize {
        self.list.iter().map(|s| s.first_line + s.lines).max().unwrap_or(0)
    }

    /// Words of the table on the device: the segment of each line, padded to 64 words, then 8 words per segment.
    pub fn table(&self) -> Vec<f32> {
        let bits = |n: usize| f32::from_bits(n as u32);
        let mut words = vec![0.0; self.table_start()];
        for (i, s) in self.list.iter().enumerate() {
            words[s.first_line..s.first_line + s.lines].fill(bits(i));
        }
        for s in &self.list {
            words.extend([s.l2, s.l1, s.norm, s.decay, s.rate, bits(s.first_line), bits(s.lines), 0.0]);
        }
        words.resize(words.len().next_multiple_of(4).max(4), 0.0);
        words
    }

    fn table_start(&self) -> usize {
        self.lines().next_multiple_of(LINE)
    }

    /// Bindings of the table's lines and of its segments.
    pub(super) fn table_parts(&self, table: Binding) -> (Binding, Binding) {
        let start = self.table_start();
        let lines = Binding { len: start, ..table };
        (lines, Binding { offset: table.offset + start, len: 8 * self.list.len(), ..table })
    }
}

/// Bindings of an update.
#[derive(Clone, Copy, Debug)]
pub struct UpdateBindings {
    /// Parameters.
    pub parameters: Binding,
    /// Slots of the optimiser, in the layout of the parameters; one line for an unused slot.
    pub slots: [Binding; 3],
    /// Gradients of the loss, without penalties.
    pub gradients: Binding,
    /// Table of segments, [`Segments::table`].
    pub table: Binding,
    /// Sums that [`crate::optim::norm::norms`] computes.
    pub sums: Binding,
    /// Hyper-parameters, [`Hyper`].
    pub hyper: Binding,
}

/// Creates the dispatch of an optimiser step. The slots in use follow from `rule` and `momentum`.
pub fn update(
    segments: &Segments,
    rule: Rule,
    momentum: f32,
    clip: ClipMode,
    family: Family,
    b: UpdateBindings,
) -> Dispatch {
    let vectors = if family == Family::Gpu { 1 } else { 16 };
    let kernel =
        UpdateKernel { segments: segments.clone(), rule, slots: rule.slots(momentum), clip, vectors, family };
    let [s0, s1, s2] = b.slots;
    Dispatch::new(kernel, vec![b.parameters, s0, s1, s2, b.gradients, b.table, b.sums, b.hyper])
}

/// A dispatch of `shaders/update.wgsl`.
#[derive(Clone, Debug)]
struct UpdateKernel {
    segments: Segments,
    rule: Rule,
    slots: [bool; 3],
    clip: ClipMode,
    /// Vectors of four floats per invocation.
    vectors: usize,
    family: Family,
}

impl UpdateKernel {
    /// Index of the pair of sums over the whole gradient.
    fn gradient_sum(&self) -> usize {
        2 * self.segments.list.len() + 1
    }
}

impl Kernel for UpdateKernel {
    fn source(&self) -> Source {
        let (mut nesterov_on, mut amsgrad_on, mut centered_on, mut at) =
            (false, false, false, EpsilonAt::Root);
        let rule = match self.rule {
            Rule::Sgd { nesterov } => {
                nesterov_on = nesterov;
                0
            }
            Rule::Adam { amsgrad, epsilon_at } => {
                (amsgrad_on, at) = (amsgrad, epsilon_at);
                1
            }
            Rule::RmsProp { centered, epsilon_at } => {
                (centered_on, at) = (centered, epsilon_at);
                2
            }
            Rule::Adagrad => 3,
        };
        Source::new("update", "main", &[("vector", shader::vector(self.family))])
            .constant("VECTORS", self.vectors as f64)
            .constant("RULE", rule.into())
            .constant("NESTEROV", f64::from(u8::from(nesterov_on)))
            .constant("AMSGRAD", f64::from(u8::from(amsgrad_on)))
            .constant("CENTERED", f64::from(u8::from(centered_on)))
            .constant("EPSILON_AT", f64::from(at as u32))
            .constant("CLIP", f64::from(self.clip as u32))
    }

    fn access(&self) -> Vec<Access> {
        [vec![Access::Write; 4], vec![Access::Read; 4]].concat()
    }

    fn params(&self) -> Vec<u32> {
        vec![0, self.segments.lines() as u32, self.gradient_sum() as u32]
    }

    fn grid(&self) -> [u32; 3] {
        fold((self.segments.lines() * LINE / 4 / self.vectors).div_ceil(64))
    }

    fn turns(&self) -> usize {
        turns::of(self.vectors, 0)
    }

    fn split(&self, _: usize) -> Split {
        let own = Part::rows(0, LINE);
        let slot = |used: bool| if used { own } else { Part::rows(0, 0) };
        let parts = vec![own, slot(self.slots[0]), slot(self.slots[1]), slot(self.slots[2])];
        Split { units: self.segments.lines(), grain: 32, parts }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, _: usize) {
        let (gradients, sums) = (io.read(4), io.read(6));
        let hyper: Hyper = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&io.read(7)[..8]));
        let length = sums.get(2 * self.gradient_sum() + 1).map_or(0.0, |s| s.sqrt());
        let scale = match self.clip {
            ClipMode::GlobalNorm if length > hyper.clip => hyper.clip / length,
            _ => 1.0,
        };
        let limit = if self.clip == ClipMode::Value { hyper.clip } else { f32::INFINITY };
        let [parameters, slot0, slot1, slot2] = io.outputs4();
        let (first, end) = (units.start, units.end);
        let part = |slot: &mut [f32], range: &Range<usize>| {
            let range = if slot.is_empty() { 0..0 } else { range.clone() };
            range.start..range.end
        };
        for (i, s) in self.segments.list.iter().enumerate() {
            let lines = s.first_line.max(first)..(s.first_line + s.lines).min(end);
            if lines.is_empty() || s.rate == 0.0 {
                continue;
            }
            let own = (lines.start - first) * LINE..(lines.end - first) * LINE;
            let (r0, r1, r2) = (part(slot0, &own), part(slot1, &own), part(slot2, &own));
            let length = sums[2 * i + 1].sqrt();
            let shrink = s.l2 + if length > 0.0 && s.norm != 0.0 { s.norm / length } else { 0.0 };
            let decay = hyper.rate * s.rate * s.decay;
            let mut slice = SegmentSlice {
                w: &mut parameters[own],
                g: &gradients[lines.start * LINE..lines.end * LINE],
                slots: [&mut slot0[r0], &mut slot1[r1], &mut slot2[r2]],
                regularisation: Regularisation { shrink, l1: s.l1, scale, limit, decay },
            };
            math::vectorise(
                #[inline(always)]
                || slice.step(self.rule, Hyper { rate: hyper.rate * s.rate, ..hyper }),
            );
        }
    }
}
