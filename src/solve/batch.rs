//! Solving many systems in parallel.

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

/// A decoder problem of one connection.
pub struct Job<'a> {
    /// Name of the connection, for messages.
    pub what: String,
    /// Description of the ensemble, for messages.
    pub of: String,
    /// Solver.
    pub solver: Solver,
    /// Seed for methods that draw random numbers.
    pub seed: u64,
    /// Numbers of neurons and of targets.
    pub shape: (usize, usize),
    /// Number of points.
    pub points: usize,
    /// Hash of everything the system depends on; `None` bypasses the cache.
    pub key: Option<Key>,
    /// Computes the system at some of the points. It is called on another thread, and only if the cache has no solution; for
    /// large systems once per block of points.
    pub system: Box<dyn Fn(Range<usize>) -> Result<System> + Send + Sync + 'a>,
    /// Message for neurons that are all silent, with advice.
    pub silent: Box<dyn Fn() -> String + Send + Sync + 'a>,
}

/// Limits the memory of concurrent solvers.
struct Gate {
    allowance: Allowance,
    used: Mutex<u64>,
    freed: Condvar,
}

impl Gate {
    /// Calls `work`, which needs `bytes` of memory, once enough is free.
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

/// Solves all jobs, on as many threads as there are cores, and returns the solutions in order.
///
/// Solutions are read from the cache, and new ones are stored there. `progress` is called on this thread after each job, with
/// the number of finished jobs and of all jobs. Concurrent jobs use at most `memory` bytes in total; `None` takes the
/// environment variable `NENGO_WGPU_MEMORY`, or nine tenths of the free memory.
///
/// # Errors
/// The error of the first failing job, in the order of `jobs`; [`Error::TooLarge`] for a job that does not fit into memory by
/// itself. A cache that cannot be written is not an error.
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
    // Jobs start in order, so a job that never started comes after the one that failed.
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
    /// The solution, and true if it was added to the cache.
    fn solve(&self, cache: &Cache, gate: &Gate) -> Result<(Solution, bool)> {
        // Given decoders need no cache.
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

    /// The system at some of the points, after checks of shape and finiteness.
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
