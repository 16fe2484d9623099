//! The engine for the CPU: replays recordings on its cores, with the CPU twins of the kernels.
//!
//! All threads run the same list of dispatches. Each thread does its share of a dispatch's units, then waits at a
//! barrier. No threads are forked or joined per operator, and they stay awake during a replay.

pub mod form;
#[allow(unsafe_code, reason = "the gemm crate takes pointers; sizes are checked against the slices before")]
pub mod gemm;
pub(crate) mod groups;
mod io;
pub mod math;
mod memory;
#[allow(
    unsafe_code,
    reason = "helper threads borrow a closure from the stack of `run`, which returns when all have finished"
)]
mod pool;
mod replay;
mod small;
pub mod sums;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use self::io::{Io, Work};
use self::memory::{Buffer, View};
pub use self::pool::{Barrier, Pool, Share};
use self::replay::{Call, Step, device_error, is_small, replay};
use crate::engine::{Binding, BufferId, BufferRef, Command, Dispatch, Engine, Program, Recording, Tile};
use crate::error::{Error, Result, panic_text};

/// Engine of the CPU, with its buffers and programs.
pub struct CpuEngine {
    pool: Pool,
    buffers: Vec<Option<Buffer>>,
    /// Unused indices of `buffers`.
    free: Vec<usize>,
    /// Programs by id. Ids are not reused.
    programs: BTreeMap<usize, Arc<[Step]>>,
    next_id: usize,
    reports: Vec<Vec<f32>>,
    /// Scratch memory of each thread.
    work: Vec<Mutex<Work>>,
}

impl CpuEngine {
    /// Creates an engine with `threads` threads, the calling one included; at least 1.
    pub fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        Self {
            pool: Pool::new(threads),
            buffers: Vec::new(),
            free: Vec::new(),
            programs: BTreeMap::new(),
            next_id: 0,
            reports: Vec::new(),
            work: (0..threads).map(|_| Mutex::default()).collect(),
        }
    }

    /// Replays steps on all threads, each `repeats` times.
    ///
    /// # Errors
    /// [`Error::Device`] if a kernel panics.
    fn replay_all<'l>(&mut self, list: impl IntoIterator<Item = &'l Step>, repeats: usize) -> Result<()> {
        let list: Vec<&Step> = list.into_iter().collect();
        let views: Vec<View<'_>> =
            self.buffers.iter_mut().map(|b| b.as_mut().map_or(View::none(), View::new)).collect();
        let (views, work) = (&views, &self.work);
        let threads = |share: Share, barrier: &Barrier| {
            let own = || work[share.index].lock().unwrap_or_else(PoisonError::into_inner);
            let mut io = Io { views: Vec::new(), outputs: Vec::new(), work: std::mem::take(&mut *own()) };
            for step in &*list {
                for _ in 0..repeats {
                    replay(step, views, &mut io, share, barrier);
                }
            }
            *own() = io.work;
        };
        let pool = &self.pool;
        // Waking the other threads would take longer than the replay.
        let alone = list.iter().all(|step| step.is_small());
        let run = || if alone { pool.run_alone(&threads) } else { pool.run(&threads) };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
            .map_err(|cause| device_error(format!("a kernel's CPU twin panicked: {}", panic_text(&*cause))))
    }

    fn buffer(&mut self, id: BufferId) -> Result<&mut Buffer> {
        let buffer = self.buffers.get_mut(id.0).and_then(Option::as_mut);
        buffer.ok_or_else(|| device_error(format!("buffer {} has been freed", id.0)))
    }
}

/// Error of a buffer of `needed` bytes that the system cannot allocate.
fn no_memory(label: &str, needed: u64) -> Error {
    let hint = "use smaller objects, a smaller minibatch or fewer steps at once";
    match crate::engine::host::memory() {
        Some(limit) if limit < needed => {
            Error::TooLarge { what: label.into(), needed, limit, device: "cpu".into(), hint: hint.into() }
        }
        _ => device_error(format!("there is no memory left for {label} of {needed} bytes; {hint}")),
    }
}

impl Engine for CpuEngine {
    fn allocate(&mut self, len: usize, label: &str) -> Result<BufferId> {
        let buffer = Buffer::new(len).ok_or_else(|| no_memory(label, 4 * len as u64))?;
        let id = self.free.pop().unwrap_or(self.buffers.len());
        if id == self.buffers.len() {
            self.buffers.push(None);
        }
        self.buffers[id] = Some(buffer);
        Ok(BufferId(id))
    }

    fn free(&mut self, buffer: BufferId) {
        if self.buffers.get_mut(buffer.0).and_then(Option::take).is_some() {
            self.free.push(buffer.0);
        }
    }

    fn write_with(
        &mut self,
        buffer: BufferId,
        offset: usize,
        len: usize,
        fill: &mut dyn FnMut(&mut [f32]),
    ) -> Result<()> {
        let buffer = self.buffer(buffer)?.as_mut_slice();
        let room = buffer.len();
        let to = buffer.get_mut(offset..offset + len);
        fill(to.ok_or_else(|| device_error(format!("write of {len} floats at {offset} into {room}")))?);
        Ok(())
    }

    fn read(&mut self, buffer: BufferId, offset: usize, len: usize) -> Result<Vec<f32>> {
        let buffer = self.buffer(buffer)?.as_slice();
        let from = buffer.get(offset..offset + len);
        from.map(<[f32]>::to_vec)
            .ok_or_else(|| device_error(format!("read of {len} floats at {offset} of {}", buffer.len())))
    }

    fn load(&mut self, recording: &Recording, shared: &[BufferId]) -> Result<Program> {
        let mut locals = Vec::with_capacity(recording.locals.len());
        for (len, label) in &recording.locals {
            match self.allocate(*len, label) {
                Ok(id) => locals.push(id),
                Err(error) => {
                    locals.into_iter().for_each(|id| self.free(id));
                    return Err(error);
                }
            }
        }
        let find = |b: &Binding| match b.buffer {
            BufferRef::Local(i) => locals[i],
            BufferRef::Shared(i) => shared[i],
        };
        let call = |d: &Dispatch, time| Call::new(d, find, time);
        let steps = recording.commands.iter().map(|command| {
            Ok(match command {
                Command::Dispatch(d) => Step::Call(call(d, (1, 0, 0))?),
                Command::Repeat { steps, rows, backward, tiles, .. } => {
                    let (steps, rows) = (*steps, *rows);
                    let body = |t: &Tile| {
                        let calls = t.body.iter().map(|d| call(d, (steps, rows, t.row)));
                        Ok((t.row, calls.collect::<Result<Vec<Call>>>()?))
                    };
                    let tiles = tiles.iter().map(body).collect::<Result<Vec<_>>>()?;
                    let small = tiles.len() == 1 && is_small(&tiles[0].1);
                    Step::Repeat { steps, rows, backward: *backward, tiles, small }
                }
                Command::Copy { from, to } => Step::Copy { from: (find(from), *from), to: (find(to), *to) },
            })
        });
        let steps: Arc<[Step]> = steps.collect::<Result<_>>()?;
        self.programs.insert(self.next_id, steps);
        self.next_id += 1;
        Ok(Program { id: self.next_id - 1, locals })
    }

    fn unload(&mut self, program: Program) {
        self.programs.remove(&program.id);
        program.locals.into_iter().for_each(|id| self.free(id));
    }

    fn submit(&mut self, programs: &[&Program], report: Option<(BufferId, usize)>) -> Result<()> {
        let lists: Vec<Arc<[Step]>> =
            programs.iter().filter_map(|p| self.programs.get(&p.id)).cloned().collect();
        self.replay_all(lists.iter().flat_map(|list| list.iter()), 1)?;
        if let Some((buffer, len)) = report {
            let report = self.read(buffer, 0, len)?;
            self.reports.push(report);
        }
        Ok(())
    }

    fn reports(&mut self, _: bool) -> Result<Vec<Vec<f32>>> {
        Ok(std::mem::take(&mut self.reports))
    }

    fn profile(&mut self, program: &Program, repeats: usize) -> Result<Vec<(String, f64)>> {
        let Some(list) = self.programs.get(&program.id).cloned() else { return Ok(Vec::new()) };
        let mut timings = Vec::new();
        for step in list.iter() {
            let label = match step {
                Step::Call(call) => call.kernel.label(),
                Step::Repeat { steps, tiles, .. } => {
                    let calls = tiles.first().map_or(0, |t| t.1.len());
                    format!("{steps} steps of {calls} dispatches in {} tiles", tiles.len())
                }
                _ => continue,
            };
            self.replay_all([step], repeats)?;
            let start = std::time::Instant::now();
            self.replay_all([step], repeats)?;
            timings.push((label, start.elapsed().as_secs_f64() / repeats as f64));
        }
        Ok(timings)
    }

    fn allocated_bytes(&self) -> u64 {
        self.buffers.iter().flatten().map(|b| 4 * b.len() as u64).sum()
    }
}
