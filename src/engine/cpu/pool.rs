//! A pool of threads that run the same closure at once (SPMD), with a spin barrier.
//!
//! The calling thread takes part as share 0. Helper threads wait [`PARK_AFTER`] for the next run and then park.
//! Consecutive runs therefore start within one or two microseconds, and an idle pool uses no CPU time. A waiting thread
//! spins for a short time, then yields its core between two checks, so that a thread with work gets the core.

use std::any::Any;
use std::cell::Cell;
use std::hint::spin_loop;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Time that a helper thread waits for the next run before it parks.
const PARK_AFTER: Duration = Duration::from_micros(150);
/// Spins before a waiting thread yields its core between two checks: 2 to 10 µs, depending on the processor.
///
/// With more threads than cores, the awaited thread may need this core.
const MAX_SPINS: u32 = 200;

/// Closure that every thread runs.
type Job<'a> = &'a (dyn Fn(Share, &Barrier) + Sync);

thread_local! {
    /// True if this thread is inside of a run. Another run started there would deadlock.
    static IN_RUN: Cell<bool> = const { Cell::new(false) };
}

/// Share of the work that a thread takes: number `index` of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Number of this share, from 0.
    pub index: usize,
    /// Number of threads in the run.
    pub count: usize,
}

impl Share {
    /// All of the work.
    pub const ALONE: Self = Self { index: 0, count: 1 };

    /// This share of `0..n`: contiguous, balanced, and starting at a multiple of `grain`.
    ///
    /// The shares of all threads cover `0..n` exactly. Some are empty if `n` has fewer than `count` grains.
    pub fn range(&self, n: usize, grain: usize) -> Range<usize> {
        let grain = grain.max(1);
        let blocks = n.div_ceil(grain);
        let edge = |i: usize| n.min(blocks * i / self.count * grain);
        edge(self.index)..edge(self.index + 1)
    }
}

/// Panic payload of a thread that found the barrier poisoned. It is never the cause, so [`Pool::run`] does not report
/// it.
struct Poisoned;

/// A barrier for the threads of a run. Waiting threads spin for a short time, then yield their cores.
#[derive(Debug)]
#[repr(align(128))]
pub struct Barrier {
    arrived: AtomicU32,
    phase: AtomicU32,
    poisoned: AtomicBool,
    count: u32,
}

impl Barrier {
    fn new(count: usize) -> Self {
        Self {
            arrived: AtomicU32::new(0),
            phase: AtomicU32::new(0),
            poisoned: AtomicBool::new(false),
            count: u32::try_from(count).unwrap_or(u32::MAX),
        }
    }

    /// Waits until every thread of the run has arrived. Writes before the barrier are visible to all threads after it.
    ///
    /// Every thread must call it equally often. If one of them panics, the others unwind here.
    pub fn wait(&self) {
        if self.count == 1 {
            return;
        }
        let phase = self.phase.load(Ordering::Relaxed);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.count {
            self.arrived.store(0, Ordering::Relaxed);
            self.phase.store(phase.wrapping_add(1), Ordering::Release);
        } else {
            spin_until(|| {
                self.phase.load(Ordering::Acquire) != phase || self.poisoned.load(Ordering::Relaxed)
            });
            if self.phase.load(Ordering::Acquire) == phase {
                resume_unwind(Box::new(Poisoned));
            }
        }
    }

    fn reset(&self) {
        self.arrived.store(0, Ordering::Relaxed);
        self.poisoned.store(false, Ordering::Relaxed);
    }
}

/// Spins, then yields, until `done`.
fn spin_until(done: impl Fn() -> bool) {
    let mut spins = 0;
    while !done() {
        if spins < MAX_SPINS {
            spins += 1;
            spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

/// A word on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Padded<T>(T);

/// State that all threads of a pool share.
struct Shared {
    barrier: Barrier,
    /// Number of runs started so far. Helper threads wait for it to change.
    epoch: Padded<AtomicUsize>,
    /// Number of helper threads inside of the current run.
    running: Padded<AtomicUsize>,
    /// Pointer to the `Job` of the current run, on the stack of the thread in [`Pool::run`].
    job: AtomicPtr<()>,
    stop: AtomicBool,
    /// Payload of the first panic in the current run.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Shared {
    /// Runs one thread's share. Turns a panic into a poisoned barrier.
    fn run_share(&self, job: Job, index: usize) {
        let share = Share { index, count: self.barrier.count as usize };
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| job(share, &self.barrier))) {
            if !cause.is::<Poisoned>() {
                self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
            }
            self.barrier.poisoned.store(true, Ordering::Release);
        }
    }

    /// Loop of a helper thread: waits for a run and does its share, until the pool stops.
    fn help(&self, index: usize, parked: &AtomicBool) {
        IN_RUN.set(true);
        let mut seen = 0;
        loop {
            self.await_epoch(seen, parked);
            seen = seen.wrapping_add(1);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let job = self.job.load(Ordering::Relaxed).cast::<Job>();
            // SAFETY: `run` stored a pointer to a live `Job` before it incremented `epoch`, which was loaded with
            // SeqCst. `run` returns only when `running` is zero, which is after the last use of `job` here.
            self.run_share(unsafe { *job }, index);
            self.running.0.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits until `epoch` is no longer `seen`: spins, then yields, then parks.
    fn await_epoch(&self, seen: usize, parked: &AtomicBool) {
        let changed = || self.epoch.0.load(Ordering::SeqCst) != seen;
        let (start, mut spins) = (Instant::now(), 0);
        while start.elapsed() < PARK_AFTER {
            for _ in 0..16 {
                if changed() {
                    return;
                }
                spin_loop();
            }
            spins += 16;
            if spins > MAX_SPINS {
                thread::yield_now();
            }
        }
        // `wake` increments the epoch and then loads the flag. Here it is the other way round, so one of both sees the
        // other.
        parked.store(true, Ordering::SeqCst);
        while !changed() {
            thread::park();
        }
        parked.store(false, Ordering::Relaxed);
    }
}

/// A helper thread.
struct Helper {
    /// True if it is parked or about to park.
    parked: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// A pool of threads that run a closure together.
///
/// ```
/// # use nengo_wgpu::internals::engine::cpu::Pool;
/// # use std::sync::atomic::{AtomicUsize, Ordering};
/// let pool = Pool::new(2);
/// let sum = AtomicUsize::new(0);
/// pool.run(&|share, barrier| {
///     sum.fetch_add(share.range(10, 1).len(), Ordering::Relaxed);
///     barrier.wait();
///     assert_eq!(sum.load(Ordering::Relaxed), 10);
/// });
/// ```
pub struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<Helper>,
    /// Held during a run.
    run_lock: Mutex<()>,
}

impl Pool {
    /// Creates a pool of `threads` threads, the calling one included; at least 1.
    ///
    /// If the system cannot create them, [`Pool::run`] does all the work on the calling thread.
    pub fn new(threads: usize) -> Self {
        let build = |threads: usize| {
            let shared = Arc::new(Shared {
                barrier: Barrier::new(threads),
                epoch: Padded::default(),
                running: Padded::default(),
                job: AtomicPtr::default(),
                stop: AtomicBool::new(false),
                panic: Mutex::new(None),
            });
            Self { shared, helpers: Vec::new(), run_lock: Mutex::new(()) }
        };
        let mut pool = build(threads.max(1));
        for index in 1..threads {
            let shared = pool.shared.clone();
            let parked = Arc::new(AtomicBool::new(false));
            let flag = parked.clone();
            let spawned =
                thread::Builder::new().name(format!("cpu-{index}")).spawn(move || shared.help(index, &flag));
            match spawned {
                Ok(thread) => pool.helpers.push(Helper { parked, thread }),
                Err(_) => return build(1),
            }
        }
        pool
    }

    /// Number of threads of a run.
    pub fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Runs `f` on the calling thread alone, with a `count` of 1.
    pub fn run_alone(&self, f: &(dyn Fn(Share, &Barrier) + Sync)) {
        f(Share::ALONE, &Barrier::new(1));
    }

    /// Runs `f` on every thread at once, and returns when all have finished. Runs of several callers are serialised.
    ///
    /// Inside of another run, `f` runs on the calling thread alone, with a `count` of 1.
    ///
    /// # Panics
    ///
    /// If `f` panics on any thread, with the payload of the first panic. The pool remains usable.
    pub fn run(&self, f: &(dyn Fn(Share, &Barrier) + Sync)) {
        if self.helpers.is_empty() || IN_RUN.get() {
            return self.run_alone(f);
        }
        let running = self.run_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        shared.barrier.reset();
        shared.job.store((&raw const f).cast_mut().cast(), Ordering::Relaxed);
        shared.running.0.store(self.helpers.len(), Ordering::Relaxed);
        self.wake();
        IN_RUN.set(true);
        shared.run_share(f, 0);
        IN_RUN.set(false);
        spin_until(|| shared.running.0.load(Ordering::Acquire) == 0);
        let cause = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(running);
        if let Some(cause) = cause {
            resume_unwind(cause);
        }
    }

    /// Starts the next epoch, and wakes parked helper threads: to run the job, or to stop.
    fn wake(&self) {
        self.shared.epoch.0.fetch_add(1, Ordering::SeqCst);
        for helper in &self.helpers {
            if helper.parked.load(Ordering::SeqCst) {
                helper.thread.thread().unpark();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.wake();
        for helper in self.helpers.drain(..) {
            // A helper thread catches every panic of a job, so there is nothing to report.
            let _ = helper.thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_the_range_once() {
        for count in 1..6 {
            for n in 0..50 {
                for grain in 1..9 {
                    let mut next = 0;
                    for index in 0..count {
                        let r = Share { index, count }.range(n, grain);
                        assert_eq!(r.start, next);
                        assert!(r.is_empty() || r.start.is_multiple_of(grain));
                        next = r.end;
                    }
                    assert_eq!(next, n);
                }
            }
        }
    }

    #[test]
    fn every_thread_runs_and_barriers_order_memory() {
        for threads in 1..5 {
            let pool = Pool::new(threads);
            let cells: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            for round in 1..200 {
                pool.run(&|share, barrier| {
                    assert_eq!(share.count, threads);
                    cells[share.index].store(round, Ordering::Relaxed);
                    barrier.wait();
                    for cell in &cells {
                        assert_eq!(cell.load(Ordering::Relaxed), round);
                    }
                    barrier.wait();
                });
            }
        }
    }

    #[test]
    fn parked_helpers_take_part_in_the_next_run() {
        let pool = Pool::new(2);
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(1));
            let sum = AtomicUsize::new(0);
            pool.run(&|_, _| {
                sum.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 2);
        }
    }

    #[test]
    fn panic_reaches_the_caller_and_the_pool_remains_usable() {
        let pool = Pool::new(3);
        for bad in 0..3 {
            let run = catch_unwind(AssertUnwindSafe(|| {
                pool.run(&|share, barrier| {
                    barrier.wait();
                    assert_ne!(share.index, bad, "the cause");
                    barrier.wait();
                });
            }));
            let cause = run.expect_err("a share panicked");
            assert!(cause.downcast_ref::<String>().is_some_and(|s| s.contains("the cause")));
            pool.run(&|_, barrier| barrier.wait());
        }
    }

    #[test]
    fn runs_are_serialised_and_nested_runs_use_one_thread() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..100 {
                        pool.run(&|_, barrier| {
                            barrier.wait();
                            pool.run(&|share, inner| {
                                assert_eq!(share.count, 1);
                                inner.wait();
                                sum.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 800);
    }
}
