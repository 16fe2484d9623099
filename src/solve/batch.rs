//! Many systems at once, on all cores.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError, mpsc};

use faer::Mat;
use ndarray::Array2;

use crate::engine::allowance::Allowance;
use crate::error::{Error, Result};
use crate::solve::{Cache, Key, Method, Solution, Solver, check_system, mat};

/// Activities (points × neurons) and targets (points × size).
pub type System = (Array2<f64>, Array2<f64>);

/// The decoders of one connection, to be solved for.
pub struct Job<'a> {
    /// The user's name of the connection.
    pub what: String,
    /// The ensemble, in words.
    pub of: String,
    /// How.
    pub solver: Solver,
    /// Of the methods that draw random numbers.
    pub seed: u64,
    /// How many neurons and targets there will be.
    pub shape: (usize, usize),
    /// At how many points.
    pub points: usize,
    /// Everything that the system follows from; without it the cache is not asked.
    pub key: Option<Key>,
    /// Makes the system at some of the points. It is called only if the decoders are not in the cache, and then on another
    /// thread; of large systems for some of the points after others.
    pub system: Box<dyn Fn(Range<usize>) -> Result<System> + Send + Sync + 'a>,
    /// The problem of neurons that are all silent, and what to do.
    pub silent: Box<dyn Fn() -> String + Send + Sync + 'a>,
}

/// Memory that is shared by those who solve.
struct Gate {
    allowance: Allowance,
    used: Mutex<u64>,
    freed: Condvar,
}

impl Gate {
    /// Calls `work`, which takes so many bytes, once there is room for it beside others.
    fn with<T>(&self, bytes: u64, work: impl FnOnce() -> T) -> T {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while *used > 0 && used.saturating_add(bytes) > self.allowance.bytes {
            used = self.freed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        *used += bytes;
        drop(used);
        let result = work();
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) -= bytes;
        self.freed.notify_all();
        result
    }
}

/// Solves them all, on as many threads as there are cores, and gives the solutions in their order.
///
/// Decoders found in the cache are taken from there, and others put there. `progress` hears how many are done, and of how
/// many, after each, on this thread. Those that are solved at the same time take no more than `memory` bytes together; without
/// it no more than the environment variable `NENGO_WGPU_MEMORY` says, or else nine tenths of what the machine has left.
///
/// # Errors
/// The first error, by the order of the jobs; [`Error::TooLarge`] for one that does not fit into the memory by itself. A cache
/// that cannot be written to is none.
pub fn solve_all(
    jobs: &[Job<'_>],
    cache: &Cache,
    memory: Option<u64>,
    progress: &dyn Fn(usize, usize),
) -> Result<Vec<Solution>> {
    let allowance = Allowance::of(memory)?;
    let gate = &Gate { allowance, used: Mutex::new(0), freed: Condvar::new() };
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
                    if send.send((i, job.solve(cache, gate))).is_err() {
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
    fn solve(&self, cache: &Cache, gate: &Gate) -> Result<(Solution, bool)> {
        // What is given has not to be found.
        let given = matches!(self.solver.method, Method::NoSolver { .. });
        let key = self.key.as_ref().filter(|_| !given).map(|key| key.with(&self.solver, self.seed));
        if let Some(solution) = key.as_ref().and_then(|key| cache.load(key, self.shape)) {
            return Ok((solution, false));
        }
        self.check_memory(&gate.allowance)?;
        let solution = gate.with(self.bytes(), || self.solve_system())?;
        let stored = key.is_some_and(|key| cache.store(&key, &solution).is_ok_and(|stored| stored));
        Ok((solution, stored))
    }

    fn solve_system(&self) -> Result<Solution> {
        self.solver.check(&self.what)?;
        if let Some(rows) = self.solver.method.block(self.points, self.shape.0) {
            return self.solve_in_blocks(rows);
        }
        let (a, y) = self.system(0..self.points)?;
        self.solver.solve_checked(&self.what, a, y, self.seed, &self.silent)
    }

    /// The system at some of the points, of the right shape and finite.
    pub(super) fn system(&self, points: Range<usize>) -> Result<(Mat<f64>, Mat<f64>)> {
        let (activities, targets) = (self.system)(points)?;
        let found = (activities.ncols(), targets.ncols());
        if found != self.shape {
            let size = |(n, d): (usize, usize)| format!("{n} neurons x {d} targets");
            let (left, right) = (format!("the system of {}", self.what), format!("the job of {}", self.what));
            return Err(Error::shape(left, size(found), right, size(self.shape)));
        }
        check_system(&self.what, activities.view(), targets.view())?;
        Ok((mat(activities.view()), mat(targets.view())))
    }
}
