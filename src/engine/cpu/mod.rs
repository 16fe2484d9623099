//! The CPU twin: replays a recording on this processor's cores.
//!
//! All threads walk through the same list of dispatches. Of each they do their share of the units, then they
//! meet at a barrier: nothing is forked or joined per operator, and the threads stay awake during a replay.

pub mod form;
#[allow(unsafe_code, reason = "the gemm crate takes pointers; sizes are checked against the slices first")]
pub mod gemm;
pub(crate) mod groups;
pub mod math;
mod memory;
#[allow(
    unsafe_code,
    reason = "helpers outlive the closure they are lent; `run` returns only when they are done with it"
)]
mod pool;
mod small;
pub mod sums;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use self::memory::{Buffer, Own, View};
pub use self::pool::{Barrier, Pool, Share};
use crate::engine::{
    Access, Binding, BufferId, BufferRef, Command, Dispatch, Engine, Kernel, Part, Program, Recording, Split,
    Tile,
};
use crate::error::{Error, Result, panic_text};

/// Memory that a thread keeps for the insides of kernels.
#[derive(Default)]
pub struct Work {
    /// Blocks of an expression's instructions.
    pub own: Vec<f32>,
    /// Terms of a sum.
    pub terms: Vec<f32>,
    /// Sums, or a state.
    pub totals: Vec<f32>,
    /// Sums of many terms.
    pub longs: Vec<f64>,
}

/// What a kernel's CPU twin reads and writes.
pub struct Io<'a> {
    views: Vec<View<'a>>,
    outputs: Vec<Own<'a>>,
    /// The thread's own memory.
    pub work: Work,
}

impl<'a> Io<'a> {
    /// A binding that the dispatch only reads.
    pub fn read(&self, binding: usize) -> &'a [f32] {
        self.views[binding].read()
    }

    /// This thread's units in repetition `outer` of the `n`-th written binding; and memory to work in.
    pub fn output(&mut self, n: usize, outer: usize) -> (&mut [f32], &mut Vec<f32>) {
        (self.outputs[n].block(outer), &mut self.work.own)
    }

    /// This thread's units of the first four written bindings, for parts without repetitions.
    pub fn outputs4(&mut self) -> [&mut [f32]; 4] {
        let mut blocks = self.outputs.iter_mut().map(|o| o.block(0));
        std::array::from_fn(|_| blocks.next().unwrap_or_default())
    }

    /// Writes a product into this thread's units of the `n`-th written binding, from its element `at` on.
    pub fn gemm(&mut self, n: usize, at: usize, gemm: &gemm::Gemm, a: &[f32], b: &[f32]) {
        self.outputs[n].gemm(at, gemm, a, b);
    }
}

/// A dispatch with its buffers found.
struct Call {
    kernel: Arc<dyn Kernel>,
    bindings: Vec<(BufferId, Binding, Access)>,
    rolls: bool,
    /// The work's division at the first step.
    split: Split,
    /// Elements that each part moves on by from one step to the next; nothing where they do not move evenly.
    moves: Option<Vec<usize>>,
}

impl Call {
    /// Finds how the work is divided at each of `steps` steps of `rows` rows, from row `row` of a step on.
    fn divide(&mut self, steps: usize, rows: usize, row: usize) {
        let at = |t: usize| self.kernel.split(if self.rolls { row } else { t * rows + row });
        let (first, second) = (at(0), at(1.min(steps.saturating_sub(1))));
        let pairs = first.parts.iter().zip(&second.parts);
        let moves: Option<Vec<usize>> = pairs.map(|(a, b)| b.start.checked_sub(a.start)).collect();
        let evenly = |moves: &Vec<usize>| {
            // Whole periods may lie between: the middle and the last step tell.
            [2, steps / 2, steps.saturating_sub(1)].iter().filter(|&&t| t < steps).all(|&t| {
                let parts = first.parts.iter().zip(moves);
                let parts = parts.map(|(p, m)| Part { start: p.start + t * m, ..*p }).collect();
                at(t) == Split { parts, ..first }
            })
        };
        self.moves = moves.filter(evenly);
        self.split = first;
    }

    /// Whether there is so little to do that one thread does it all.
    fn is_whole(&self) -> bool {
        self.split.units <= self.split.grain
    }
}

/// Pieces of a call of a loop, on the average, from which on several threads share it: a piece takes about half a
/// microsecond, and after each call all threads wait for the last.
const SHARED_PIECES: usize = 8;

/// Whether there is so little to do in each step of a loop that one thread does it all.
fn is_small(body: &[Call]) -> bool {
    let pieces = |call: &Call| call.split.units.div_ceil(call.split.grain.max(1));
    body.iter().map(pieces).sum::<usize>() < SHARED_PIECES * body.len()
}

enum Step {
    Call(Call),
    Repeat { steps: usize, rows: usize, backward: bool, tiles: Vec<(usize, Vec<Call>)>, whole: bool },
    Copy { from: (BufferId, Binding), to: (BufferId, Binding) },
}

/// Buffers and loaded recordings on the CPU.
pub struct CpuEngine {
    pool: Pool,
    buffers: Vec<Option<Buffer>>,
    /// Places in `buffers` that hold none.
    free: Vec<usize>,
    /// By number; no number is given twice.
    programs: BTreeMap<usize, Arc<[Step]>>,
    loaded: usize,
    reports: Vec<Vec<f32>>,
    work: Vec<Mutex<Work>>,
}

impl Step {
    /// Whether there is so little to do that one thread does it all.
    fn is_whole(&self) -> bool {
        match self {
            Step::Call(call) => call.is_whole(),
            Step::Repeat { whole, .. } => *whole,
            Step::Copy { .. } => true,
        }
    }
}

impl CpuEngine {
    /// An engine on `threads` threads, the calling one included.
    pub fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        Self {
            pool: Pool::new(threads),
            buffers: Vec::new(),
            free: Vec::new(),
            programs: BTreeMap::new(),
            loaded: 0,
            reports: Vec::new(),
            work: (0..threads).map(|_| Mutex::default()).collect(),
        }
    }

    /// Replays steps on all threads, each `repeats` times.
    fn replay_all<'l>(&mut self, list: impl IntoIterator<Item = &'l Step>, repeats: usize) -> Result<()> {
        let list: Vec<&Step> = list.into_iter().collect();
        let views: Vec<View<'_>> =
            self.buffers.iter_mut().map(|b| b.as_mut().map_or(View::none(), View::new)).collect();
        let (views, work) = (&views, &self.work);
        let threads = |share: Share, barrier: &Barrier| {
            let kept = || work[share.index].lock().unwrap_or_else(PoisonError::into_inner);
            let mut io = Io { views: Vec::new(), outputs: Vec::new(), work: std::mem::take(&mut *kept()) };
            for step in &*list {
                for _ in 0..repeats {
                    replay(step, views, &mut io, share, barrier);
                }
            }
            *kept() = io.work;
        };
        let pool = &self.pool;
        // Waking the others takes longer than such a recording.
        let alone = list.iter().all(|step| step.is_whole());
        let run = || if alone { pool.run_alone(&threads) } else { pool.run(&threads) };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
            .map_err(|cause| device_error(format!("a kernel's CPU twin panicked: {}", panic_text(&*cause))))
    }

    fn buffer(&mut self, id: BufferId) -> Result<&mut Buffer> {
        let buffer = self.buffers.get_mut(id.0).and_then(Option::as_mut);
        buffer.ok_or_else(|| device_error(format!("buffer {} has been freed", id.0)))
    }
}

/// The error for a buffer of `needed` bytes that the system refuses.
fn no_memory(label: &str, needed: u64) -> Error {
    let hint = "use smaller objects, a smaller minibatch or fewer steps at once";
    match crate::engine::host::memory() {
        Some(limit) if limit < needed => {
            Error::TooLarge { what: label.into(), needed, limit, device: "cpu".into(), hint: hint.into() }
        }
        _ => device_error(format!("there is no memory left for {label} of {needed} bytes; {hint}")),
    }
}

fn device_error(problem: String) -> Error {
    Error::Device { device: "cpu".into(), problem }
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
            BufferRef::Local(i) => (locals[i], *b),
            BufferRef::Shared(i) => (shared[i], *b),
        };
        let call = |d: &Dispatch, steps: usize, rows: usize, row: usize| {
            let access = d.kernel.access();
            let with = |(b, &access): (&Binding, &Access)| (find(b).0, *b, access);
            let mut call = Call {
                kernel: d.kernel.clone(),
                bindings: d.bindings.iter().zip(&access).map(with).collect(),
                rolls: d.rolls,
                split: d.kernel.split(0),
                moves: None,
            };
            call.divide(steps, rows, row);
            call
        };
        let steps: Arc<[Step]> = recording
            .commands
            .iter()
            .map(|command| match command {
                Command::Dispatch(d) => Step::Call(call(d, 1, 0, 0)),
                Command::Repeat { steps, rows, backward, tiles, .. } => {
                    let (steps, rows) = (*steps, *rows);
                    let body = |t: &Tile| t.body.iter().map(|d| call(d, steps, rows, t.row)).collect();
                    let tiles: Vec<(usize, Vec<Call>)> = tiles.iter().map(|t| (t.row, body(t))).collect();
                    let whole = tiles.len() == 1 && is_small(&tiles[0].1);
                    Step::Repeat { steps, rows, backward: *backward, tiles, whole }
                }
                Command::Copy { from, to } => Step::Copy { from: find(from), to: find(to) },
            })
            .collect();
        for step in &*steps {
            match step {
                Step::Call(call) => check_disjoint(call)?,
                Step::Repeat { tiles, .. } => tiles.iter().flat_map(|t| &t.1).try_for_each(check_disjoint)?,
                _ => {}
            }
        }
        self.programs.insert(self.loaded, steps);
        self.loaded += 1;
        Ok(Program { id: self.loaded - 1, locals })
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
        let mut found = Vec::new();
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
            found.push((label, start.elapsed().as_secs_f64() / repeats as f64));
        }
        Ok(found)
    }

    fn allocated_bytes(&self) -> u64 {
        self.buffers.iter().flatten().map(|b| 4 * b.len() as u64).sum()
    }
}

/// No written binding may overlap another binding of its dispatch.
fn check_disjoint(call: &Call) -> Result<()> {
    let overlap = |a: &(BufferId, Binding, Access), b: &(BufferId, Binding, Access)| {
        a.0 == b.0 && a.1.offset < b.1.offset + b.1.len && b.1.offset < a.1.offset + a.1.len
    };
    for (i, a) in call.bindings.iter().enumerate().filter(|(_, a)| a.2 == Access::Write) {
        if call.bindings.iter().enumerate().any(|(j, b)| i != j && overlap(a, b)) {
            return Err(device_error(format!("{:?} writes what it also reads", call.kernel)));
        }
    }
    Ok(())
}

fn replay<'a>(step: &Step, views: &[View<'a>], io: &mut Io<'a>, share: Share, barrier: &Barrier) {
    let first = share.index == 0;
    match step {
        Step::Call(c) => {
            call(c, views, io, 0, [0, 0], share);
            barrier.wait();
        }
        Step::Repeat { steps, rows, backward, tiles, whole } => {
            let time = |k: usize| if *backward { steps - 1 - k } else { k };
            if let ([(_, body)], false) = (&tiles[..], *whole) {
                // All threads share each call.
                for t in (0..*steps).map(time) {
                    for c in body {
                        call(c, views, io, t, [t * rows, 0], share);
                        barrier.wait();
                    }
                }
                return;
            }
            // Each thread walks through all of time with its own tiles, and waits for nobody.
            for (row, body) in &tiles[share.range(tiles.len(), 1)] {
                for t in (0..*steps).map(time) {
                    for c in body {
                        call(c, views, io, t, [t * rows + row, *row], Share::ALONE);
                    }
                }
            }
            barrier.wait();
        }
        Step::Copy { from, to } => {
            if first {
                let source = views[from.0.0].range(from.1.offset, from.1.len).read();
                whole(views, to.0, to.1).block(0).copy_from_slice(source);
            }
            barrier.wait();
        }
    }
}

/// All elements of a binding.
fn whole<'a>(views: &[View<'a>], id: BufferId, b: Binding) -> Own<'a> {
    Own::new(views[id.0].range(b.offset, b.len), Part::rows(0, 1), 0..b.len, b.len)
}

/// This thread's share of a dispatch at step `t`, on the rows from a first one on, in the run and in the step.
fn call<'a>(
    c: &Call,
    views: &[View<'a>],
    io: &mut Io<'a>,
    t: usize,
    [row0, in_step]: [usize; 2],
    share: Share,
) {
    let units: Range<usize> = share.range(c.split.units, c.split.grain);
    if units.is_empty() {
        return;
    }
    io.views.clear();
    io.outputs.clear();
    let found = c.moves.is_none().then(|| c.kernel.split(if c.rolls { in_step } else { row0 }));
    let parts = found.as_ref().map_or(&c.split.parts, |split| &split.parts);
    let mut part = 0;
    for (id, b, access) in &c.bindings {
        let view = views[id.0].range(b.offset, b.len);
        match (access, parts.get(part)) {
            (Access::Write, Some(&own)) => {
                let moved = c.moves.as_ref().map_or(0, |moves| t * moves[part]);
                part += 1;
                let own = Part { start: own.start + moved, ..own };
                io.outputs.push(Own::new(view, own, units.clone(), c.split.units));
                io.views.push(View::none());
            }
            _ => io.views.push(view),
        }
    }
    c.kernel.run(io, units, row0);
}
