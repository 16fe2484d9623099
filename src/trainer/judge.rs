//! Whether a gradient is right: what differences of the loss say, and what rounding explains.
//!
//! A loss has no derivative at a kink, as of a ReLU at exactly 0. So where the gradient is not that of the differences, both
//! are looked at again at points nearby, which lie beside the kinks: what is right there was right all along. And where a
//! device's gradient is not that of 64-bit numbers, the latter is evaluated again with small errors in all that operators read:
//! what changes as much as the device was off cannot be told in 32 bits.

use std::cell::OnceCell;
use std::fmt;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::error::Result;
use crate::graph::reference::{Noise, evaluate_with};
use crate::graph::{Graph, Source, Type, ValueId};
use crate::plan::{Output, Place, stages};

/// What a check says of a gradient, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is right, as far as it was compared.
    Right,
    /// It is right beside a kink, where the loss has no derivative: a ReLU at 0, equal inputs of a maximum.
    Kink,
    /// Rounding changes it as much as it is off, or numbers are beyond the range of 32 bits: neither right nor wrong can be told
    /// here.
    Unclear,
    /// It is wrong.
    Wrong,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Right => "right",
            Verdict::Kink => "kink",
            Verdict::Unclear => "unclear",
            Verdict::Wrong => "wrong",
        })
    }
}

/// A value whose gradient is checked.
pub(crate) struct Wanted {
    pub name: String,
    pub value: ValueId,
    pub source: Source,
    pub ty: Type,
}

/// Values of everything that a graph is given.
#[derive(Clone, Default)]
pub(crate) struct Point {
    pub parameters: Vec<Vec<f64>>,
    pub feeds: Vec<Vec<f64>>,
}

impl Point {
    fn of(&mut self, source: &Source) -> Option<&mut Vec<f64>> {
        match *source {
            Source::Parameter(i) => self.parameters.get_mut(i),
            Source::Feed(i) => self.feeds.get_mut(i),
            _ => None,
        }
    }

    fn values(&self, source: &Source) -> Vec<f64> {
        match *source {
            Source::Parameter(i) => self.parameters[i].clone(),
            Source::Feed(i) => self.feeds[i].clone(),
            _ => Vec::new(),
        }
    }
}

/// A graph of a loss and its gradients.
pub(crate) struct Subject {
    pub graph: Graph,
    pub loss: ValueId,
    pub wanted: Vec<Wanted>,
    /// Nothing where the loss does not depend on what is wanted.
    pub adjoints: Vec<Option<ValueId>>,
    /// The largest error that passes, as a share of a gradient's largest element.
    pub tolerance: f64,
}

/// A point with the gradients there.
pub(crate) struct Spot {
    point: Point,
    pub exact: Vec<Vec<f64>>,
    blur: OnceCell<f64>,
    beyond: OnceCell<bool>,
}

/// Steps of central differences: the first one is right for most, others where kinks are near or numbers are large.
const STEPS: [f64; 6] = [1e-5, 1e-7, 1e-4, 1e-6, 1e-3, 1e-8];
/// Errors above it are looked at with another step.
const SUSPECT: f64 = 1e-5;
/// Points nearby.
const BESIDE: u64 = 3;
/// Evaluations with errors, before what they do not explain is wrong.
const DRAWS: u64 = 24;
/// The share of each number that rounding to 32 bits may have cost, where a function is not exact to the last place.
const ROUNDED: f64 = 8.0 / (1 << 24) as f64;
/// A device may be off by this many times what such errors change.
const SPREAD: f64 = 16.0;
/// Errors that change less than this share of the largest element explain nothing: 32 bits are enough there.
const PLAIN: f64 = 1e-4;

/// What differences say of an element.
struct Slope {
    /// How far it is from the gradient, as a share of the gradient's largest element.
    error: f64,
    verdict: Verdict,
}

/// The largest element that is finite; not below what would show errors of the differences themselves.
pub(crate) fn scale(gradient: &[f64]) -> f64 {
    gradient.iter().filter(|x| x.is_finite()).fold(1e-9, |a, x| a.max(x.abs()))
}

fn or_infinite(x: f64) -> f64 {
    if x.is_nan() { f64::INFINITY } else { x }
}

impl Subject {
    fn gradients(&self, point: &Point, noise: Option<Noise<'_>>) -> Result<Vec<Vec<f64>>> {
        let ids: Vec<ValueId> = self.adjoints.iter().flatten().copied().collect();
        let mut found = evaluate_with(&self.graph, &ids, noise, |s| point.values(s))?.into_iter();
        let zeros = |w: &Wanted| vec![0.0; w.ty.elements(self.graph.dims)];
        let each = self.wanted.iter().zip(&self.adjoints);
        Ok(each.map(|(w, a)| a.and_then(|_| found.next()).unwrap_or_else(|| zeros(w))).collect())
    }

    fn loss(&self, point: &Point, noise: Option<Noise<'_>>) -> Result<f64> {
        Ok(evaluate_with(&self.graph, &[self.loss], noise, |s| point.values(s))?[0][0])
    }

    /// A point with its gradients.
    pub fn spot(&self, point: Point) -> Result<Spot> {
        Ok(Spot {
            exact: self.gradients(&point, None)?,
            point,
            blur: OnceCell::new(),
            beyond: OnceCell::new(),
        })
    }

    /// The loss at a spot.
    pub fn loss_at(&self, spot: &Spot) -> Result<f64> {
        self.loss(&spot.point, None)
    }

    /// Feeds whose numbers a device reads with errors.
    fn inexact(&self) -> Vec<usize> {
        let feed = |w: &Wanted| match w.source {
            Source::Feed(i) => Some(i),
            _ => None,
        };
        self.wanted.iter().filter_map(feed).collect()
    }

    /// By how much rounding in 64 bits may change the loss.
    fn blur(&self, spot: &Spot) -> Result<f64> {
        if let Some(&blur) = spot.blur.get() {
            return Ok(blur);
        }
        let (loss, feeds) = (self.loss(&spot.point, None)?, self.inexact());
        let mut blur = f64::EPSILON * loss.abs();
        for seed in 1..=3 {
            let noise = Noise { seed, share: 2.0 * f64::EPSILON, feeds: &feeds, single: false };
            blur = blur.max(or_infinite((self.loss(&spot.point, Some(noise))? - loss).abs()));
        }
        Ok(*spot.blur.get_or_init(|| blur))
    }

    /// Whether a number on the way is beyond the range of 32 bits, where no device can follow.
    fn beyond(&self, spot: &Spot) -> Result<bool> {
        if let Some(&beyond) = spot.beyond.get() {
            return Ok(beyond);
        }
        let ids = self.adjoints.iter().flatten().chain([&self.loss]);
        let outputs: Vec<Output> = ids.map(|&value| Output { value, place: Place::Keep }).collect();
        let live = stages::live(&self.graph, &outputs);
        let made = (0..live.len()).filter(|&n| live[n]).map(|n| self.graph.nodes[n].output);
        let all = evaluate_with(&self.graph, &made.collect::<Vec<_>>(), None, |s| spot.point.values(s))?;
        // A number that is none comes of an infinite one, or of a target that does not count.
        let inside = |x: &f64| x.is_nan() || x.abs() <= f64::from(f32::MAX);
        let beyond = !all.iter().flatten().all(inside);
        Ok(*spot.beyond.get_or_init(|| beyond))
    }

    /// The slope of the loss over element `e` of what is wanted.
    fn slope(&self, spot: &Spot, w: &Wanted, e: usize, step: f64) -> Result<f64> {
        let mut point = spot.point.clone();
        let mut at = |by: f64| {
            let Some(x) = point.of(&w.source).map(|values| &mut values[e]) else { return Ok((0.0, 0.0)) };
            let before = *x;
            *x += by;
            let moved = *x;
            let loss = self.loss(&point, None)?;
            if let Some(values) = point.of(&w.source) {
                values[e] = before;
            }
            Ok::<_, crate::Error>((moved, loss))
        };
        let ((a, up), (b, down)) = (at(step)?, at(-step)?);
        Ok((up - down) / (a - b))
    }

    /// What differences say of element `e` of the gradient `i` at a spot.
    fn differences_at(&self, spot: &Spot, i: usize, e: usize) -> Result<Slope> {
        let (exact, scale) = (spot.exact[i][e], scale(&spot.exact[i]));
        let mut slopes = Vec::with_capacity(STEPS.len());
        let mut error = f64::INFINITY;
        for step in STEPS {
            let slope = self.slope(spot, &self.wanted[i], e, step)?;
            slopes.push((step, slope));
            error = error.min(or_infinite((slope - exact).abs() / scale));
            if error < SUSPECT || (slopes.len() > 1 && error <= self.tolerance) {
                return Ok(Slope { error, verdict: Verdict::Right });
            }
        }
        let blur = self.blur(spot)?;
        // A slope is known where two steps agree on it far better than with the gradient.
        let off = |slope: f64| if exact.is_finite() { (slope - exact).abs() } else { f64::INFINITY };
        let known = |&(step, slope): &(f64, f64)| {
            let near = |x: f64| x <= (0.1 * off(slope)).min(0.1 * slope.abs().max(scale));
            near(blur / step) && slopes.iter().any(|(other, s)| *other != step && near((s - slope).abs()))
        };
        let verdict = if slopes.iter().any(known) { Verdict::Wrong } else { Verdict::Unclear };
        Ok(Slope { error, verdict })
    }

    /// Points nearby, each with its gradients.
    fn beside(&self, spot: &Spot) -> Result<Vec<Spot>> {
        let near = |seed: u64| {
            let (mut point, mut rng) = (spot.point.clone(), Pcg64Mcg::seed_from_u64(seed));
            for w in &self.wanted {
                let Some(values) = point.of(&w.source) else { continue };
                let by = 1e-4 + 1e-3 * values.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
                values.iter_mut().for_each(|x| *x += by * rng.random_range(-1.0..1.0));
            }
            self.spot(point)
        };
        (0..BESIDE).map(near).collect()
    }

    /// What differences say of element `e` of the gradient `i`, and by what share they are off.
    pub fn differences(
        &self,
        spot: &Spot,
        beside: &mut Vec<Spot>,
        (i, e): (usize, usize),
    ) -> Result<(Verdict, f64)> {
        let here = self.differences_at(spot, i, e)?;
        if here.verdict == Verdict::Right {
            return Ok((Verdict::Right, here.error));
        }
        if beside.is_empty() {
            *beside = self.beside(spot)?;
        }
        let mut count = [0; 2];
        for near in beside.iter() {
            match self.differences_at(near, i, e)?.verdict {
                Verdict::Right => count[0] += 1,
                Verdict::Wrong => count[1] += 1,
                _ => {}
            }
        }
        let most = |n: u64| 2 * n > BESIDE;
        let verdict = match (here.verdict, most(count[0]), most(count[1])) {
            (Verdict::Wrong, true, _) => Verdict::Kink,
            (Verdict::Wrong, _, true) if !self.beyond(spot)? => Verdict::Wrong,
            _ => Verdict::Unclear,
        };
        Ok((verdict, here.error))
    }

    /// What a device's gradients are beside those of a spot: for each a verdict, the largest error as a share of its largest
    /// element, and where it is.
    pub fn device(&self, spot: &Spot, found: &[Vec<f32>]) -> Result<Vec<(Verdict, f64, usize)>> {
        let mut results = Vec::with_capacity(found.len());
        let mut suspects: Vec<(usize, usize, f64, f64)> = Vec::new();
        for (i, (exact, found)) in spot.exact.iter().zip(found).enumerate() {
            let scale = scale(exact);
            let (mut worst, mut at) = (0.0, 0);
            for (e, (a, b)) in exact.iter().zip(found).enumerate().filter(|(_, (a, _))| a.is_finite()) {
                let off = or_infinite((a - f64::from(*b)).abs());
                if off / scale > worst {
                    (worst, at) = (off / scale, e);
                }
                if off > self.tolerance * scale {
                    suspects.push((i, e, off, 0.0));
                }
            }
            results.push((Verdict::Right, worst, at));
        }
        let (feeds, scales) = (self.inexact(), spot.exact.iter().map(|g| scale(g)).collect::<Vec<_>>());
        suspects.iter().for_each(|(i, ..)| results[*i].0 = Verdict::Unclear);
        for seed in 1..=DRAWS {
            if suspects.is_empty() {
                break;
            }
            let noise = Noise { seed, share: ROUNDED, feeds: &feeds, single: true };
            let moved = self.gradients(&spot.point, Some(noise))?;
            suspects.retain_mut(|(i, e, off, spread)| {
                let exact = spot.exact[*i][*e];
                *spread = spread.max(or_infinite((moved[*i][*e] - exact).abs()));
                *off > SPREAD * *spread || *spread < PLAIN * scales[*i]
            });
        }
        if !suspects.is_empty() && !self.beyond(spot)? {
            suspects.iter().for_each(|(i, ..)| results[*i].0 = Verdict::Wrong);
        }
        Ok(results)
    }
}
