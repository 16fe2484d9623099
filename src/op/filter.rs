//! Linear filters over time, as scans: synapses of all kinds.

use crate::expr::real::{Real, Var};
use crate::expr::step::Step;
use crate::expr::system::System;
use crate::graph::{State, Tensor};
use crate::op::discretise::{Discrete, StateSpace};
use crate::op::scan::{Emits, Scan};

/// The scan of a filter. With `delays`, its output is that of the step before (a synapse on a connection), else that of
/// this step.
pub fn filter(filter: &Discrete, delays: bool) -> Scan {
    match filter {
        Discrete::Linear(system) => scan(&system.strictly_proper().balanced().output_first(), delays),
        Discrete::Taps(taps) => scan(&line(taps), delays),
    }
}

/// `y <- a y + b x`, the first-order filter.
pub fn lowpass(a: f32, b: f32, delays: bool) -> Scan {
    let (a, b) = (f64::from(a), f64::from(b));
    let number = |x| ndarray::Array2::from_elem((1, 1), x);
    scan(&StateSpace { a: number(a), b: number(b), c: number(1.0), d: 0.0 }, delays)
}

/// The system whose first state is the weighted sum of the inputs, and whose others are the inputs before this one.
fn line(taps: &[f64]) -> StateSpace {
    let n = taps.len();
    let mut system = StateSpace {
        a: ndarray::Array2::zeros((n, n)),
        b: ndarray::Array2::zeros((n, 1)),
        c: ndarray::Array2::zeros((1, n)),
        d: 0.0,
    };
    (system.b[[0, 0]], system.c[[0, 0]]) = (taps[0], 1.0);
    for (k, &tap) in taps.iter().enumerate().skip(1) {
        system.a[[0, k]] = tap;
        if k == 1 {
            system.b[[1, 0]] = 1.0;
        } else {
            system.a[[k, k - 1]] = 1.0;
        }
    }
    system
}

/// The scan of a discrete system whose output is its first state.
fn scan(system: &StateSpace, delays: bool) -> Scan {
    let n = system.order();
    // A delayed output is read back from where it was written, so it is no state besides.
    let (inputs, emits, first) = if delays { (n + 1, Emits::Delayed, 1) } else { (n + 1, Emits::Result, 0) };
    let one =
        (n == 1).then(|| [system.a[[0, 0]], system.b[[0, 0]]]).filter(|c| c.iter().all(|&c| c as f32 != 0.0));
    if let Some([a, b]) = one {
        let step = if delays {
            Step::of_system(FirstOrder::<true> { a, b })
        } else {
            Step::of_system(FirstOrder::<false> { a, b })
        };
        let states = (first..n).map(|_| State::at("filter", 0.0)).collect();
        return Scan { name: "filter", step, states, emits, linear: true, backward: false };
    }
    let step = Step::new(inputs, |x| {
        let state = |j: usize| match j {
            0 if delays => x[n],
            j => x[1 + j - first],
        };
        let mut next: Vec<Var<'_>> = (0..n).map(|i| row(system, i, x[0], state)).collect();
        if !delays {
            next.insert(0, next[0]);
        }
        next
    });
    let states = (first..n).map(|_| State::at("filter", 0.0)).collect();
    Scan { name: "filter", step, states, emits, linear: true, backward: false }
}

/// `y <- a y + b x`, whose output is `y` after the step, or before it.
#[derive(Clone)]
struct FirstOrder<const DELAYED: bool> {
    a: f64,
    b: f64,
}

impl<const DELAYED: bool> System for FirstOrder<DELAYED> {
    const OPERANDS: usize = 1;
    const STATES: usize = if DELAYED { 0 } else { 1 };
    const DELAYED: bool = DELAYED;

    #[inline(always)]
    fn step<T: Real>(&self, x: &[T], next: &mut [T]) {
        let y = (T::number(self.a) * x[1] + T::number(self.b) * x[0]).flush();
        next.fill(y);
    }
}

/// The next value of state `i`.
fn row<'t>(system: &StateSpace, i: usize, input: Var<'t>, state: impl Fn(usize) -> Var<'t>) -> Var<'t> {
    let from_state = (0..system.order()).map(|j| (system.a[[i, j]], state(j)));
    let terms = from_state.chain([(system.b[[i, 0]], input)]).filter(|(factor, _)| *factor as f32 != 0.0);
    let mut terms = terms.map(|(factor, x)| (factor, Var::number(factor) * x)).collect::<Vec<_>>();
    match terms.as_slice() {
        [] => return Var::number(0.0),
        // A value that is only kept does not decay.
        [(1.0, x)] => return *x,
        _ => {}
    }
    let first = terms.remove(0).1;
    terms.into_iter().fold(first, |sum, (_, x)| sum + x).flush()
}

impl<'s> Tensor<'s> {
    /// Filters each column over time; see [`filter`].
    pub fn filter(self, filter: &Scan) -> Tensor<'s> {
        self.scope.apply(filter.clone(), &[self])
    }
}
