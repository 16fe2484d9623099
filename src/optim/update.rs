//! One optimiser step on all parameters in one dispatch: penalties, clipping, update.

use std::ops::Range;

use crate::engine::cpu::{Io, math};
use crate::engine::shader::{self, Source};
use crate::engine::{Access, Binding, Dispatch, Family, Kernel, Part, Split, fold, turns};

/// Floats to which parameters are aligned: the unit that belongs to one segment.
pub const LINE: usize = crate::engine::ALIGN;

/// A parameter's lines, and how it is trained.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// First line.
    pub first_line: usize,
    /// Number of lines.
    pub lines: usize,
    /// Adds `l2 * w` to the gradient.
    pub l2: f32,
    /// Adds `l1 * sign(w)` to the gradient.
    pub l1: f32,
    /// Adds `norm * w / |w|` to the gradient.
    pub norm: f32,
    /// Decoupled decay: `w` shrinks by `rate * decay * w` besides.
    pub decay: f32,
    /// Factor on the learning rate; 0 freezes.
    pub rate: f32,
}

impl Segment {
    /// The gradient of loss and penalties; `length` is the norm of the whole segment.
    #[inline(always)]
    pub(super) fn penalised(&self, w: f32, g: f32, length: f32) -> f32 {
        let norm = if length > 0.0 && self.norm != 0.0 { self.norm / length } else { 0.0 };
        let sign = f32::from(w > 0.0) - f32::from(w < 0.0);
        g + (self.l2 + norm) * w + self.l1 * sign
    }
}

/// All segments, one after the other from line 0 on.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Segments {
    /// The segments by their parameters' numbers.
    pub list: Vec<Segment>,
}

impl Segments {
    /// Lines of all segments.
    pub fn lines(&self) -> usize {
        self.list.iter().map(|s| s.first_line + s.lines).max().unwrap_or(0)
    }

    /// Words of the table on the device: each line's segment, padded to 64, then 8 words a segment.
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

    /// The table's lines and segments as bindings of their own.
    pub(super) fn table_parts(&self, table: Binding) -> (Binding, Binding) {
        let start = self.table_start();
        let lines = Binding { len: start, ..table };
        (lines, Binding { offset: table.offset + start, len: 8 * self.list.len(), ..table })
    }
}

/// Where epsilon is added to the root of the second moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EpsilonAt {
    /// To the root, after the bias correction: PyTorch, for Adam and RMSprop.
    #[default]
    Root,
    /// To the root, before the bias correction: Adam in Keras.
    RootBeforeCorrection,
    /// Inside of the root: RMSprop in Keras (`tf.optimizers.RMSprop` since TensorFlow 2.11). The older one, now
    /// `tf.optimizers.legacy.RMSprop`, does so with momentum alone, and else adds it to the root.
    InsideRoot,
}

/// The formula of an update. Hyper-parameters that may change come with each step, in [`Hyper`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Gradient descent; with momentum `v <- mu v + g`, as in PyTorch.
    Sgd {
        /// Nesterov's momentum.
        nesterov: bool,
    },
    /// Adam (Kingma and Ba 2015).
    Adam {
        /// The largest second moment so far is used (Reddi et al. 2018).
        amsgrad: bool,
        /// Where epsilon is added.
        epsilon_at: EpsilonAt,
    },
    /// RMSprop (Hinton 2012).
    RmsProp {
        /// The mean's square is taken off the second moment.
        centered: bool,
        /// Where epsilon is added.
        epsilon_at: EpsilonAt,
    },
    /// Adagrad (Duchi et al. 2011).
    Adagrad,
}

impl Rule {
    /// Which of the three slots it uses, given the momentum.
    pub fn slots(&self, momentum: f32) -> [bool; 3] {
        match *self {
            Rule::Sgd { .. } => [momentum != 0.0, false, false],
            Rule::Adam { amsgrad, .. } => [true, true, amsgrad],
            Rule::RmsProp { centered, .. } => [true, momentum != 0.0, centered],
            Rule::Adagrad => [true, false, false],
        }
    }
}

/// How gradients are limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipMode {
    /// Not at all.
    None,
    /// Each element.
    Value,
    /// All together, by the norm of the whole gradient.
    GlobalNorm,
}

/// Numbers that are uploaded before each step.
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Hyper {
    /// Learning rate.
    pub rate: f32,
    /// Momentum.
    pub momentum: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Kept from dividing by zero.
    pub epsilon: f32,
    /// `1 - beta1^t`
    pub correct1: f32,
    /// `1 - beta2^t`
    pub correct2: f32,
    /// Limit of the gradient.
    pub clip: f32,
}

/// Buffers of an update.
#[derive(Clone, Copy, Debug)]
pub struct UpdateBindings {
    /// Parameters.
    pub parameters: Binding,
    /// The optimiser's slots, the same layout; one line where a slot is not used.
    pub slots: [Binding; 3],
    /// Gradients, without penalties.
    pub gradients: Binding,
    /// [`Segments::table`].
    pub table: Binding,
    /// Sums of [`crate::optim::norm::norms`].
    pub sums: Binding,
    /// [`Hyper`].
    pub hyper: Binding,
}

/// The dispatch of one optimiser step.
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

/// One dispatch of `shaders/update.wgsl`.
#[derive(Clone, Debug)]
struct UpdateKernel {
    segments: Segments,
    rule: Rule,
    slots: [bool; 3],
    clip: ClipMode,
    vectors: usize,
    family: Family,
}

impl UpdateKernel {
    /// Index of the sums over the whole gradient.
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
            let start = Start { shrink, l1: s.l1, scale, limit, decay: hyper.rate * s.rate * s.decay };
            let mut at = Lines {
                w: &mut parameters[own],
                g: &gradients[lines.start * LINE..lines.end * LINE],
                slots: [&mut slot0[r0], &mut slot1[r1], &mut slot2[r2]],
                start,
            };
            math::vectorise(
                #[inline(always)]
                || at.step(self.rule, Hyper { rate: hyper.rate * s.rate, ..hyper }),
            );
        }
    }
}

/// What every rule begins with: the gradient with penalties, clipped, and the weight after decoupled decay.
#[derive(Clone, Copy)]
struct Start {
    shrink: f32,
    l1: f32,
    scale: f32,
    limit: f32,
    decay: f32,
}

impl Start {
    #[inline(always)]
    fn of(self, w: f32, g: f32) -> (f32, f32) {
        let sign = f32::from(w > 0.0) - f32::from(w < 0.0);
        let g = self.scale * (g + self.shrink * w + self.l1 * sign);
        (g.max(-self.limit).min(self.limit), w - self.decay * w)
    }
}

/// Parameters of one segment, and what belongs to them.
struct Lines<'a> {
    w: &'a mut [f32],
    g: &'a [f32],
    slots: [&'a mut [f32]; 3],
    start: Start,
}

impl Lines<'_> {
    /// The twin of `shaders/update.wgsl`; one loop a rule, so that each is vectorised.
    #[inline(always)]
    fn step(&mut self, rule: Rule, h: Hyper) {
        let [slot0, slot1, slot2] = &mut self.slots;
        let n = self.w.len();
        let (w, g, start) = (&mut self.w[..n], &self.g[..n], self.start);
        let pairs = w.iter_mut().zip(g);
        match rule {
            Rule::Sgd { .. } if h.momentum == 0.0 => {
                for (w, &g) in pairs {
                    let (g, kept) = start.of(*w, g);
                    *w = kept - h.rate * g;
                }
            }
            Rule::Sgd { nesterov } => {
                let ahead = f32::from(nesterov);
                for ((w, &g), v) in pairs.zip(slot0.iter_mut()) {
                    let (g, kept) = start.of(*w, g);
                    *v = math::flush(h.momentum * *v + g);
                    *w = kept - h.rate * (ahead * g + (1.0 - ahead + ahead * h.momentum) * *v);
                }
            }
            Rule::Adam { amsgrad, epsilon_at } => {
                let root = h.correct2.sqrt();
                let before = epsilon_at == EpsilonAt::RootBeforeCorrection;
                let (rate, root) =
                    if before { (h.rate * root / h.correct1, 1.0) } else { (h.rate / h.correct1, root) };
                let moments = |m: &mut f32, v: &mut f32, g: f32| {
                    *m = math::flush(h.beta1 * *m + (1.0 - h.beta1) * g);
                    *v = math::flush(h.beta2 * *v + (1.0 - h.beta2) * g * g);
                };
                let step = |m: f32, v: f32| rate * m / (v.sqrt() / root + h.epsilon);
                let all = pairs.zip(slot0.iter_mut().zip(slot1.iter_mut()));
                // Iterators of one length each, as a check of an index would keep the loop from being vectorised.
                if amsgrad {
                    for (((w, &g), (m, v)), most) in all.zip(slot2.iter_mut()) {
                        let (g, kept) = start.of(*w, g);
                        moments(m, v, g);
                        *most = v.max(*most);
                        *w = kept - step(*m, *most);
                    }
                } else {
                    for ((w, &g), (m, v)) in all {
                        let (g, kept) = start.of(*w, g);
                        moments(m, v, g);
                        *w = kept - step(*m, *v);
                    }
                }
            }
            Rule::RmsProp { centered, epsilon_at } => {
                let inside = if epsilon_at == EpsilonAt::InsideRoot { h.epsilon } else { 0.0 };
                let outside = h.epsilon - inside;
                let square = |v: &mut f32, g: f32| {
                    *v = math::flush(h.beta2 * *v + (1.0 - h.beta2) * g * g);
                    *v
                };
                let middle = |m: &mut f32, g: f32| {
                    *m = math::flush(h.beta2 * *m + (1.0 - h.beta2) * g);
                    *m * *m
                };
                let step = |v: f32, g: f32| g / ((v + inside).sqrt() + outside);
                let rolled = |r: &mut f32, step: f32| {
                    *r = math::flush(h.momentum * *r + step);
                    *r
                };
                let (slot1, slot2) = (slot1.iter_mut(), slot2.iter_mut());
                let all = pairs.zip(slot0.iter_mut());
                match (centered, h.momentum != 0.0) {
                    (false, false) => {
                        for ((w, &g), v) in all {
                            let (g, kept) = start.of(*w, g);
                            *w = kept - h.rate * step(square(v, g), g);
                        }
                    }
                    (true, false) => {
                        for (((w, &g), v), m) in all.zip(slot2) {
                            let (g, kept) = start.of(*w, g);
                            *w = kept - h.rate * step(square(v, g) - middle(m, g), g);
                        }
                    }
                    (false, true) => {
                        for (((w, &g), v), r) in all.zip(slot1) {
                            let (g, kept) = start.of(*w, g);
                            *w = kept - h.rate * rolled(r, step(square(v, g), g));
                        }
                    }
                    (true, true) => {
                        for (((w, &g), v), (r, m)) in all.zip(slot1.zip(slot2)) {
                            let (g, kept) = start.of(*w, g);
                            *w = kept - h.rate * rolled(r, step(square(v, g) - middle(m, g), g));
                        }
                    }
                }
            }
            Rule::Adagrad => {
                for ((w, &g), v) in pairs.zip(slot0.iter_mut()) {
                    let (g, kept) = start.of(*w, g);
                    *v += g * g;
                    *w = kept - h.rate * g / (v.sqrt() + h.epsilon);
                }
            }
        }
    }
}
