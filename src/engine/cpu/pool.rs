//! A pool of threads that runs one closure on all of them at once (SPMD), with a spin barrier.
//!
//! The calling thread takes part as share 0. Helpers look for the next run for [`HOT`] and then park, so back-to-back
//! runs start within a microsecond or two and an idle pool costs nothing. Who waits spins shortly and then yields its core
//! between two looks, so that nobody waits for a core on which somebody only spins.

use std::any::Any;
use std::cell::Cell;
use std::hint::spin_loop;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a helper looks for the next run before it parks.
const HOT: Duration = Duration::from_micros(150);
/// Pauses in a spin loop before it starts to yield the core (2 to 10 us, depending on the processor): where more threads than
/// cores have work, the one that is waited for may wait for this core.
const PAUSES: u32 = 200;

/// What every thread runs.
type Job<'a> = &'a (dyn Fn(Share, &Barrier) + Sync);

thread_local! {
    /// Whether this thread is inside a run: a run started there would wait for itself.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Which part of the work a thread takes: number `index` of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// This thread's number, from 0.
    pub index: usize,
    /// The number of threads in this run.
    pub count: usize,
}

impl Share {
    /// All of the work.
    pub const ALONE: Self = Self { index: 0, count: 1 };

    /// This share of `0..n`: contiguous, balanced, and starting on a multiple of `grain`.
    ///
    /// The shares of all threads cover `0..n` exactly; some are empty where `n` has fewer than `count` grains.
    pub fn range(&self, n: usize, grain: usize) -> Range<usize> {
        let grain = grain.max(1);
        let blocks = n.div_ceil(grain);
        let edge = |i: usize| n.min(blocks * i / self.count * grain);
        edge(self.index)..edge(self.index + 1)
    }
}

/// The panic payload of a thread that found the barrier poisoned: never the cause, so `run` does not report it.
struct Poisoned;

/// A barrier for the threads of one run. It spins, and yields the core once that takes long.
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

    /// Waits until every thread of the run has arrived; what they wrote before is then visible to all.
    ///
    /// Every thread must call it equally often. If one of them panicked, this unwinds too.
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

fn spin_until(done: impl Fn() -> bool) {
    let mut pauses = 0;
    while !done() {
        if pauses < PAUSES {
            pauses += 1;
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

struct Shared {
    barrier: Barrier,
    /// The number of runs started so far; helpers wait for it to change.
    epoch: Padded<AtomicUsize>,
    /// Helpers still inside the current run.
    running: Padded<AtomicUsize>,
    /// Points at the `Job` of the current run, on the stack of the thread that is in `run`.
    job: AtomicPtr<()>,
    stop: AtomicBool,
    /// What the first thread to fail panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Shared {
    /// Runs one thread's share, and turns a panic into a poisoned barrier.
    fn share(&self, job: Job, index: usize) {
        let share = Share { index, count: self.barrier.count as usize };
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| job(share, &self.barrier))) {
            if !cause.is::<Poisoned>() {
                self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
            }
            self.barrier.poisoned.store(true, Ordering::Release);
        }
    }

    fn help(&self, index: usize, asleep: &AtomicBool) {
        INSIDE.set(true);
        let mut seen = 0;
        loop {
            self.await_epoch(seen, asleep);
            seen = seen.wrapping_add(1);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let job = self.job.load(Ordering::Relaxed).cast::<Job>();
            // SAFETY: `run` stored a pointer to a live `Job` before it raised `epoch`, which was read with Acquire,
            // and `run` stays on its stack until `running` is zero, which happens after the last use of `job` here.
            self.share(unsafe { *job }, index);
            self.running.0.fetch_sub(1, Ordering::Release);
        }
    }

    fn await_epoch(&self, seen: usize, asleep: &AtomicBool) {
        let changed = || self.epoch.0.load(Ordering::SeqCst) != seen;
        let (start, mut looks) = (Instant::now(), 0);
        while start.elapsed() < HOT {
            for _ in 0..16 {
                if changed() {
                    return;
                }
                spin_loop();
            }
            looks += 16;
            if looks > PAUSES {
                thread::yield_now();
            }
        }
        // `run` raises the epoch and then looks at the flag, and here it is the other way round: one sees the other.
        asleep.store(true, Ordering::SeqCst);
        while !changed() {
            thread::park();
        }
        asleep.store(false, Ordering::Relaxed);
    }
}

struct Helper {
    asleep: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Threads that replay recordings together.
///
/// ```
/// # use nengo_wgpu::engine::cpu::Pool;
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
    turn: Mutex<()>,
}

impl Pool {
    /// A pool of `threads` threads, the calling one included (at least one).
    ///
    /// Where the system refuses them, [`Pool::run`] does all the work on the calling thread.
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
            Self { shared, helpers: Vec::new(), turn: Mutex::new(()) }
        };
        let mut pool = build(threads.max(1));
        for index in 1..threads {
            let shared = pool.shared.clone();
            let asleep = Arc::new(AtomicBool::new(false));
            let flag = asleep.clone();
            let spawned =
                thread::Builder::new().name(format!("cpu-{index}")).spawn(move || shared.help(index, &flag));
            match spawned {
                Ok(thread) => pool.helpers.push(Helper { asleep, thread }),
                Err(_) => return build(1),
            }
        }
        pool
    }

    /// The number of threads that a run uses.
    pub fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Runs `f` on the calling thread alone, with a `count` of 1.
    pub fn run_alone(&self, f: &(dyn Fn(Share, &Barrier) + Sync)) {
        f(Share::ALONE, &Barrier::new(1));
    }

    /// Runs `f` on every thread at once and returns when all are done; runs of several callers take turns.
    ///
    /// Inside another run, `f` runs on the calling thread alone, with a `count` of 1.
    ///
    /// # Panics
    ///
    /// If `f` panics on any thread, with what the first one panicked with; the pool stays usable.
    pub fn run(&self, f: &(dyn Fn(Share, &Barrier) + Sync)) {
        if self.helpers.is_empty() || INSIDE.get() {
            return self.run_alone(f);
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        shared.barrier.reset();
        shared.job.store((&raw const f).cast_mut().cast(), Ordering::Relaxed);
        shared.running.0.store(self.helpers.len(), Ordering::Relaxed);
        self.start();
        INSIDE.set(true);
        shared.share(f, 0);
        INSIDE.set(false);
        spin_until(|| shared.running.0.load(Ordering::Acquire) == 0);
        let cause = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(turn);
        if let Some(cause) = cause {
            resume_unwind(cause);
        }
    }

    /// Sends the helpers off: into the job, or to their end.
    fn start(&self) {
        self.shared.epoch.0.fetch_add(1, Ordering::SeqCst);
        for helper in &self.helpers {
            if helper.asleep.load(Ordering::SeqCst) {
                helper.thread.thread().unpark();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.start();
        for helper in self.helpers.drain(..) {
            // A helper catches every panic of a job, so there is nothing to report.
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
    fn wakes_parked_helpers() {
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
    fn a_panic_comes_back_and_the_pool_survives() {
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
    fn callers_take_turns_and_nested_runs_are_alone() {
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
