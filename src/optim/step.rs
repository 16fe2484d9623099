//! The rules of an optimiser step on the CPU: the twin of `shaders/update.wgsl`.

use crate::engine::cpu::math;
use crate::optim::rule::{EpsilonAt, Hyper, Rule};

/// Terms that every rule applies before its own: penalties and clipping of the gradient, decoupled decay of the weight.
#[derive(Clone, Copy)]
pub(super) struct Regularisation {
    /// Factor of the weight in the gradient.
    pub shrink: f32,
    /// Factor of the weight's sign in the gradient.
    pub l1: f32,
    /// Factor of the gradient with penalties.
    pub scale: f32,
    /// Limit of each element of the scaled gradient.
    pub limit: f32,
    /// Share of the weight that decoupled decay subtracts.
    pub decay: f32,
}

impl Regularisation {
    /// The gradient with penalties, clipped; and the decayed weight.
    #[inline(always)]
    fn apply(self, w: f32, g: f32) -> (f32, f32) {
        let sign = f32::from(w > 0.0) - f32::from(w < 0.0);
        let g = self.scale * (g + self.shrink * w + self.l1 * sign);
        (g.max(-self.limit).min(self.limit), w - self.decay * w)
    }
}

/// Neighbouring parameters of one segment, with their gradients and slots.
pub(super) struct SegmentSlice<'a> {
    pub w: &'a mut [f32],
    pub g: &'a [f32],
    /// The optimiser's slots; empty where the rule does not use one.
    pub slots: [&'a mut [f32]; 3],
    pub regularisation: Regularisation,
}

// One loop per variant of a rule, over iterators of equal lengths, so that each is vectorised: a bounds check would
// prevent it.
impl SegmentSlice<'_> {
    /// Applies one step of `rule`.
    #[inline(always)]
    pub fn step(&mut self, rule: Rule, h: Hyper) {
        match rule {
            Rule::Sgd { nesterov } => self.sgd(nesterov, h),
            Rule::Adam { amsgrad, epsilon_at } => self.adam(amsgrad, epsilon_at, h),
            Rule::RmsProp { centered, epsilon_at } => self.rms_prop(centered, epsilon_at, h),
            Rule::Adagrad => self.adagrad(h),
        }
    }

    #[inline(always)]
    fn sgd(&mut self, nesterov: bool, h: Hyper) {
        let regularisation = self.regularisation;
        let pairs = self.w.iter_mut().zip(self.g);
        if h.momentum == 0.0 {
            for (w, &g) in pairs {
                let (g, decayed) = regularisation.apply(*w, g);
                *w = decayed - h.rate * g;
            }
            return;
        }
        let ahead = f32::from(nesterov);
        for ((w, &g), v) in pairs.zip(self.slots[0].iter_mut()) {
            let (g, decayed) = regularisation.apply(*w, g);
            *v = math::flush(h.momentum * *v + g);
            *w = decayed - h.rate * (ahead * g + (1.0 - ahead + ahead * h.momentum) * *v);
        }
    }

    #[inline(always)]
    fn adam(&mut self, amsgrad: bool, epsilon_at: EpsilonAt, h: Hyper) {
        let regularisation = self.regularisation;
        let root = h.correct2.sqrt();
        let before = epsilon_at == EpsilonAt::RootBeforeCorrection;
        let (rate, root) =
            if before { (h.rate * root / h.correct1, 1.0) } else { (h.rate / h.correct1, root) };
        let moments = |m: &mut f32, v: &mut f32, g: f32| {
            *m = math::flush(h.beta1 * *m + (1.0 - h.beta1) * g);
            *v = math::flush(h.beta2 * *v + (1.0 - h.beta2) * g * g);
        };
        let step = |m: f32, v: f32| rate * m / (v.sqrt() / root + h.epsilon);
        let [slot0, slot1, slot2] = &mut self.slots;
        let all = self.w.iter_mut().zip(self.g).zip(slot0.iter_mut().zip(slot1.iter_mut()));
        if amsgrad {
            for (((w, &g), (m, v)), largest) in all.zip(slot2.iter_mut()) {
                let (g, decayed) = regularisation.apply(*w, g);
                moments(m, v, g);
                *largest = v.max(*largest);
                *w = decayed - step(*m, *largest);
            }
        } else {
            for ((w, &g), (m, v)) in all {
                let (g, decayed) = regularisation.apply(*w, g);
                moments(m, v, g);
                *w = decayed - step(*m, *v);
            }
        }
    }

    #[inline(always)]
    fn rms_prop(&mut self, centered: bool, epsilon_at: EpsilonAt, h: Hyper) {
        let regularisation = self.regularisation;
        let inside = if epsilon_at == EpsilonAt::InsideRoot { h.epsilon } else { 0.0 };
        let outside = h.epsilon - inside;
        let second_moment = |v: &mut f32, g: f32| {
            *v = math::flush(h.beta2 * *v + (1.0 - h.beta2) * g * g);
            *v
        };
        let squared_mean = |m: &mut f32, g: f32| {
            *m = math::flush(h.beta2 * *m + (1.0 - h.beta2) * g);
            *m * *m
        };
        let step = |v: f32, g: f32| g / ((v + inside).sqrt() + outside);
        let velocity = |r: &mut f32, step: f32| {
            *r = math::flush(h.momentum * *r + step);
            *r
        };
        let [slot0, slot1, slot2] = &mut self.slots;
        let (slot1, slot2) = (slot1.iter_mut(), slot2.iter_mut());
        let all = self.w.iter_mut().zip(self.g).zip(slot0.iter_mut());
        match (centered, h.momentum != 0.0) {
            (false, false) => {
                for ((w, &g), v) in all {
                    let (g, decayed) = regularisation.apply(*w, g);
                    *w = decayed - h.rate * step(second_moment(v, g), g);
                }
            }
            (true, false) => {
                for (((w, &g), v), m) in all.zip(slot2) {
                    let (g, decayed) = regularisation.apply(*w, g);
                    *w = decayed - h.rate * step(second_moment(v, g) - squared_mean(m, g), g);
                }
            }
            (false, true) => {
                for (((w, &g), v), r) in all.zip(slot1) {
                    let (g, decayed) = regularisation.apply(*w, g);
                    *w = decayed - h.rate * velocity(r, step(second_moment(v, g), g));
                }
            }
            (true, true) => {
                for (((w, &g), v), (r, m)) in all.zip(slot1.zip(slot2)) {
                    let (g, decayed) = regularisation.apply(*w, g);
                    *w = decayed - h.rate * velocity(r, step(second_moment(v, g) - squared_mean(m, g), g));
                }
            }
        }
    }

    #[inline(always)]
    fn adagrad(&mut self, h: Hyper) {
        let regularisation = self.regularisation;
        for ((w, &g), v) in self.w.iter_mut().zip(self.g).zip(self.slots[0].iter_mut()) {
            let (g, decayed) = regularisation.apply(*w, g);
            *v += g * g;
            *w = decayed - h.rate * g / (v.sqrt() + h.epsilon);
        }
    }
}
