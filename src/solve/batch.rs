//! Many systems at once, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use ndarray::Array2;

use super::{Cache, Key, Method, Solution, Solver};
use crate::error::{Error, Result};

/// Activities (points × neurons) and targets (points × size).
pub type System = (Array2<f64>, Array2<f64>);

/// The decoders of one connection, to be solved for.
pub struct Job<'a> {
    /// The user's name of the connection.
    pub what: String,
    /// How.
    pub solver: Solver,
    /// Of the methods that draw random numbers.
    pub seed: u64,
    /// How many neurons and targets there will be.
    pub shape: (usize, usize),
    /// Everything that the system follows from; without it the cache is not asked.
    pub key: Option<Key>,
    /// Makes the system. It is called only if the decoders are not in the cache, and then on another thread.
    pub system: Box<dyn Fn() -> Result<System> + Send + Sync + 'a>,
}

/// Solves them all, on as many threads as there are cores, and gives the solutions in their order.
///
/// Decoders found in the cache are taken from there, and others put there. `progress` hears how many are done, and of how
/// many, after each, on this thread.
///
/// # Errors
/// The first error, by the order of the jobs. A cache that cannot be written to is none.
pub fn solve_all(jobs: &[Job<'_>], cache: &Cache, progress: &dyn Fn(usize, usize)) -> Result<Vec<Solution>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let (send, receive) = mpsc::channel();
    let mut results: Vec<Option<Result<(Solution, bool)>>> = jobs.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        for _ in 0..cores.min(jobs.len()) {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(i) else { return };
                    if send.send((i, job.solve(cache))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        for (done, (i, result)) in receive.iter().enumerate() {
            let failed = result.is_err();
            results[i] = Some(result);
            progress(done + 1, jobs.len());
            if failed {
                next.store(jobs.len(), Ordering::Relaxed); // no more are begun
            }
        }
    });
    let mut stored = false;
    let mut solutions = Vec::with_capacity(jobs.len());
    // Jobs are begun in their order, so one that was not begun stands after the one that failed.
    for result in results.into_iter().flatten() {
        let (solution, new) = result?;
        stored |= new;
        solutions.push(solution);
    }
    if stored {
        cache.trim();
    }
    Ok(solutions)
}

impl Job<'_> {
    /// The solution, and whether it was put into the cache.
    fn solve(&self, cache: &Cache) -> Result<(Solution, bool)> {
        // What is given has not to be found.
        let given = matches!(self.solver.method, Method::NoSolver { .. });
        let key = self.key.as_ref().filter(|_| !given).map(|key| key.with(&self.solver, self.seed));
        if let Some(solution) = key.as_ref().and_then(|key| cache.load(key, self.shape)) {
            return Ok((solution, false));
        }
        let (activities, targets) = (self.system)()?;
        let found = (activities.ncols(), targets.ncols());
        if found != self.shape {
            let size = |(n, d): (usize, usize)| format!("{n} neurons x {d} targets");
            let (left, right) = (format!("the system of {}", self.what), format!("the job of {}", self.what));
            return Err(Error::shape(left, size(found), right, size(self.shape)));
        }
        let solution = self.solver.solve(&self.what, activities.view(), targets.view(), self.seed)?;
        let stored = key.is_some_and(|key| cache.store(&key, &solution).is_ok_and(|stored| stored));
        Ok((solution, stored))
    }
}
