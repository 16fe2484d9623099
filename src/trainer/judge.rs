//! Verdicts on gradients, from differences of the loss and from the effect of rounding.
//!
//! A loss has no derivative at a kink, such as a ReLU at exactly 0. If a gradient differs from the differences, both are compared
//! again at points nearby, beside the kink. A gradient that is right there counts as right.
//!
//! If a device's gradient differs from the one in `f64`, the latter is evaluated again with small errors in all operands of
//! operators. An element that changes by as much as the device's error is beyond 32-bit precision.

use std::cell::OnceCell;
use std::fmt;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::error::Result;
use crate::graph::reference::{Noise, evaluate_with};
use crate::graph::{Graph, Source, Type, ValueId};
use crate::plan::{Output, Place, stages};

/// Verdict of a gradient check, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Right, in all elements that were compared.
    Right,
    /// Right beside a kink, where the loss has no derivative: a ReLU at 0, or equal inputs of a maximum.
    Kink,
    /// Undecided: rounding changes it by as much as its error, or numbers are beyond the range of 32-bit floats.
    Unclear,
    /// Wrong.
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

/// Values of all parameters and feeds of a graph.
#[derive(Clone, Default)]
pub(crate) struct Point {
    pub parameters: Vec<Vec<f64>>,
    pub feeds: Vec<Vec<f64>>,
}

impl Point {
    fn values_mut(&mut self, source: &Source) -> Option<&mut Vec<f64>> {
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
    /// Gradients of the wanted values; `None` if the loss does not depend on one.
    pub adjoints: Vec<Option<ValueId>>,
    /// Largest error that passes, as a share of a gradient's largest element.
    pub tolerance: f64,
}

/// A point with its gradients.
pub(crate) struct Spot {
    point: Point,
    pub exact: Vec<Vec<f64>>,
    blur: OnceCell<f64>,
    beyond: OnceCell<bool>,
}

/// Steps of central differences. The first suits most; the others are for near kinks and large numbers.
const STEPS: [f64; 6] = [1e-5, 1e-7, 1e-4, 1e-6, 1e-3, 1e-8];
/// Errors above this are checked with another step.
const SUSPECT: f64 = 1e-5;
/// Number of points nearby.
const BESIDE: u64 = 3;
/// Number of evaluations with errors; deviations that none of them explains are wrong.
const DRAWS: u64 = 24;
/// Relative error of a 32-bit function that is not exact to the last place.
const ROUNDED: f64 = 8.0 / (1 << 24) as f64;
/// Allowed ratio of a device's error to the change by such errors.
const SPREAD: f64 = 16.0;
/// Changes by less than this share of the largest element explain nothing, since 32 bits are enough there.
const PLAIN: f64 = 1e-4;

/// Result of the differences for an element.
struct Slope {
    /// Distance from the gradient, as a share of the gradient's largest element.
    error: f64,
    verdict: Verdict,
}

/// Largest finite element, and at least 1e-9, below which differences have errors of their own.
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

    /// Change of the loss by rounding in 64 bits.
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

    /// True if an intermediate value is beyond the range of 32-bit floats.
    fn beyond(&self, spot: &Spot) -> Result<bool> {
        if let Some(&beyond) = spot.beyond.get() {
            return Ok(beyond);
        }
        let ids = self.adjoints.iter().flatten().chain([&self.loss]);
        let outputs: Vec<Output> = ids.map(|&value| Output { value, place: Place::Keep }).collect();
        let live = stages::live(&self.graph, &outputs);
        let made = (0..live.len()).filter(|&n| live[n]).map(|n| self.graph.nodes[n].output);
        let values = evaluate_with(&self.graph, &made.collect::<Vec<_>>(), None, |s| spot.point.values(s))?;
        // NaN comes from an infinite value, or from a target that does not count.
        let inside = |x: &f64| x.is_nan() || x.abs() <= f64::from(f32::MAX);
        let beyond = !values.iter().flatten().all(inside);
        Ok(*spot.beyond.get_or_init(|| beyond))
    }

    /// Central difference of the loss over element `e` of a wanted value.
    fn slope(&self, spot: &Spot, w: &Wanted, e: usize, step: f64) -> Result<f64> {
        let mut point = spot.point.clone();
        let mut loss_at = |by: f64| {
            let Some(x) = point.values_mut(&w.source).map(|values| &mut values[e]) else {
                return Ok((0.0, 0.0));
            };
            let before = *x;
            *x += by;
            let moved = *x;
            let loss = self.loss(&point, None)?;
            if let Some(values) = point.values_mut(&w.source) {
                values[e] = before;
            }
            Ok::<_, crate::Error>((moved, loss))
        };
        let ((a, up), (b, down)) = (loss_at(step)?, loss_at(-step)?);
        Ok((up - down) / (a - b))
    }

    /// Differences for element `e` of the gradient `i` at a spot.
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
                let Some(values) = point.values_mut(&w.source) else { continue };
                let by = 1e-4 + 1e-3 * values.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
                values.iter_mut().for_each(|x| *x += by * rng.random_range(-1.0..1.0));
            }
            self.spot(point)
        };
        (0..BESIDE).map(near).collect()
    }

    /// Verdict of the differences on element `e` of the gradient `i`, and their distance as a share of its largest element. Points
    /// `beside` the spot are made on first use.
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

    /// Compares a device's gradients with those of a spot. Gives for each a verdict, the largest error as a share of its largest
    /// element, and the element with that error.
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
