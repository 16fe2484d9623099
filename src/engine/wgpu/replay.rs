//! The engine that replays recordings on an adapter.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use wgpu as gpu;

use crate::engine::wgpu::Opened;
use crate::engine::wgpu::reports::Reports;
use crate::engine::wgpu::submission::{self, Call, Cuts, Replay, Step, Submission, Writer};
use crate::engine::{Binding, BufferId, BufferRef, Command, Dispatch, Engine, Program, Recording};
use crate::error::{Error, Result};

/// Largest number of replays in flight. More of them take memory and save no time.
const MAX_IN_FLIGHT: usize = 4;
/// Size of a chunk of the staging belt, in bytes. Larger writes bypass the belt.
const BELT_CHUNK: u64 = 4 << 20;

/// A loaded recording.
struct Loaded {
    steps: Vec<Step>,
    dispatches: usize,
    /// Dispatches of each submission, by measured times of earlier replays; empty for a single submission.
    sizes: Vec<usize>,
}

/// Engine of an adapter, with its buffers and programs.
pub struct WgpuEngine {
    opened: Arc<Opened>,
    buffers: Vec<Option<gpu::Buffer>>,
    /// Unused indices of `buffers`.
    free: Vec<usize>,
    /// Programs by id. Ids are not reused.
    programs: BTreeMap<usize, Loaded>,
    next_id: usize,
    reports: Reports,
    in_flight: VecDeque<Replay>,
    /// Latest known end of a replay.
    idle_since: Instant,
    /// Dispatches of a submission; `None` if measured times decide.
    limit: Option<usize>,
    /// Memory into which callers write before an upload.
    staging: Vec<f32>,
    /// Reused mapped memory. `queue.write_buffer` would allocate and fault in new pages for each write.
    belt: gpu::util::StagingBelt,
    /// Copies out of the belt, with which the next submission begins.
    writes: Option<gpu::CommandEncoder>,
}

impl WgpuEngine {
    /// Creates an engine without buffers.
    pub(in crate::engine) fn new(opened: Arc<Opened>) -> Self {
        let belt = gpu::util::StagingBelt::new(opened.device.clone(), BELT_CHUNK);
        Self {
            opened,
            buffers: Vec::new(),
            free: Vec::new(),
            programs: BTreeMap::new(),
            next_id: 0,
            reports: Reports::default(),
            in_flight: VecDeque::new(),
            idle_since: Instant::now(),
            limit: None,
            staging: Vec::new(),
            belt,
            writes: None,
        }
    }

    fn buffer(&self, id: BufferId) -> Result<&gpu::Buffer> {
        find(&self.buffers, &self.opened, id)
    }

    /// Queues a write of `bytes`, in order with all other writes and before the next submission.
    fn upload(&mut self, buffer: BufferId, offset: u64, bytes: &[u8]) -> Result<()> {
        let Some(size) = gpu::BufferSize::new(bytes.len() as u64) else { return Ok(()) };
        if size.get() > BELT_CHUNK {
            self.flush();
            self.opened.queue.write_buffer(self.buffer(buffer)?, offset, bytes);
            return Ok(());
        }
        let target = find(&self.buffers, &self.opened, buffer)?;
        let writes = self.writes.get_or_insert_with(|| self.opened.encoder());
        self.belt.write_buffer(writes, target, offset, size).copy_from_slice(bytes);
        Ok(())
    }

    /// Submits the queued writes.
    fn flush(&mut self) {
        if let Some(encoder) = self.writes.take() {
            self.belt.finish_and_recall_on_submit(&encoder);
            self.submit_alone(encoder);
        }
    }

    /// Waits for the oldest replay in flight, and divides the next replays of its program by its timings.
    fn finish_oldest(&mut self) -> Result<()> {
        let Some(replay) = self.in_flight.pop_front() else { return Ok(()) };
        let Some((timings, end)) = replay.wait(&self.opened, self.idle_since)? else { return Ok(()) };
        self.idle_since = end;
        if let Some(program) = self.programs.get_mut(&replay.program) {
            program.sizes = submission::sizes(&timings);
        }
        Ok(())
    }

    /// Submits commands that belong to no replay.
    fn submit_alone(&mut self, encoder: gpu::CommandEncoder) {
        let previous_end = Submission::new(&self.opened, encoder, 0).previous_end;
        self.set_end(previous_end);
    }

    /// Sets the end of the last replay, if it is known now and was not before.
    fn set_end(&mut self, end: Option<Instant>) {
        if let Some(last) = self.in_flight.back_mut().and_then(|r| r.submitted.last_mut()) {
            last.end = last.end.or(end);
        }
    }

    /// Waits for all replays in flight.
    fn finish_all(&mut self) -> Result<()> {
        (0..self.in_flight.len()).try_for_each(|_| self.finish_oldest())
    }

    /// Waits until the device is idle.
    fn wait(&self) -> Result<()> {
        let wait = gpu::PollType::wait_indefinitely();
        self.opened.device.poll(wait).map_err(|e| self.opened.error(e))?;
        self.opened.check()
    }

    /// Creates pipeline and bind group of a dispatch. `find` maps a binding to its buffer.
    fn call(&self, dispatch: &Dispatch, find: &impl Fn(&Binding) -> BufferId) -> Result<Call> {
        dispatch.check_turns(self.opened.max_turns(), &self.opened.name, || dispatch.label())?;
        let pipeline = self.opened.pipeline(dispatch.kernel.as_ref())?;
        let mut entries = Vec::with_capacity(dispatch.bindings.len());
        for (i, binding) in dispatch.bindings.iter().enumerate() {
            entries.push(gpu::BindGroupEntry {
                binding: i as u32,
                resource: gpu::BindingResource::Buffer(gpu::BufferBinding {
                    buffer: self.buffer(find(binding))?,
                    offset: 4 * binding.offset as u64,
                    size: std::num::NonZeroU64::new(4 * binding.len as u64),
                }),
            });
        }
        let group = self.opened.device.create_bind_group(&gpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries,
        });
        let grid = dispatch.kernel.grid();
        let label = format!("{} {grid:?}", pipeline.name);
        Ok(Call { pipeline, group, words: dispatch.kernel.params(), grid, label })
    }

    /// Creates the steps of a recording.
    fn steps(&self, recording: &Recording, find: &impl Fn(&Binding) -> BufferId) -> Result<Vec<Step>> {
        let call = |d: &Dispatch| Ok(Step::Call(self.call(d, find)?));
        let step = |command: &Command| {
            Ok(vec![match command {
                Command::Dispatch(d) => call(d)?,
                // A fused loop replaces the calls of its steps.
                Command::Repeat { fused, .. } if !fused.is_empty() => {
                    return fused.iter().map(call).collect();
                }
                Command::Repeat { steps, rows, backward, tiles, .. } => Step::Repeat {
                    steps: *steps,
                    rows: *rows,
                    backward: *backward,
                    tiles: tiles
                        .iter()
                        .map(|t| {
                            Ok((t.row, t.body.iter().map(|d| self.call(d, find)).collect::<Result<_>>()?))
                        })
                        .collect::<Result<_>>()?,
                },
                Command::Copy { from, to } => Step::Copy { from: (find(from), *from), to: (find(to), *to) },
            }])
        };
        let steps: Vec<Vec<Step>> = recording.commands.iter().map(step).collect::<Result<_>>()?;
        Ok(steps.into_iter().flatten().collect())
    }
}

impl Engine for WgpuEngine {
    fn allocate(&mut self, len: usize, label: &str) -> Result<BufferId> {
        let size = 4 * len.max(1) as u64;
        let limit = self.opened.device.limits().max_buffer_size;
        let too_large = |limit: u64| Error::TooLarge {
            what: label.to_string(),
            needed: size,
            limit,
            device: self.opened.name.clone(),
            hint: "use a smaller minibatch or fewer steps at once".into(),
        };
        if size > limit {
            return Err(too_large(limit));
        }
        let scope = self.opened.device.push_error_scope(gpu::ErrorFilter::OutOfMemory);
        let buffer = self.opened.device.create_buffer(&gpu::BufferDescriptor {
            label: Some(label),
            size,
            usage: gpu::BufferUsages::STORAGE | gpu::BufferUsages::COPY_SRC | gpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        if pollster::block_on(scope.pop()).is_some() {
            return Err(too_large(self.allocated_bytes()));
        }
        self.opened.check()?;
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
        let mut staging = std::mem::take(&mut self.staging);
        staging.resize(len, 0.0);
        fill(&mut staging);
        let result = self.upload(buffer, 4 * offset as u64, bytemuck::cast_slice(&staging));
        self.staging = staging;
        result?;
        self.opened.check()
    }

    fn read(&mut self, buffer: BufferId, offset: usize, len: usize) -> Result<Vec<f32>> {
        self.flush();
        let device = &self.opened.device;
        let size = 4 * len as u64;
        if len == 0 {
            return Ok(Vec::new());
        }
        let staging = device.create_buffer(&gpu::BufferDescriptor {
            label: Some("read"),
            size,
            usage: gpu::BufferUsages::MAP_READ | gpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.opened.encoder();
        encoder.copy_buffer_to_buffer(self.buffer(buffer)?, 4 * offset as u64, &staging, 0, size);
        self.submit_alone(encoder);
        staging.map_async(gpu::MapMode::Read, .., |_| {});
        self.finish_all()?;
        self.wait()?;
        let view = staging.get_mapped_range(..).map_err(|e| self.opened.error(e))?;
        Ok(bytemuck::cast_slice(&view).to_vec())
    }

    fn load(&mut self, recording: &Recording, shared: &[BufferId]) -> Result<Program> {
        let mut locals = Vec::with_capacity(recording.locals.len());
        let mut load = || {
            for (len, label) in &recording.locals {
                locals.push(self.allocate(*len, label)?);
            }
            let find = |b: &Binding| match b.buffer {
                BufferRef::Local(i) => locals[i],
                BufferRef::Shared(i) => shared[i],
            };
            self.steps(recording, &find)
        };
        match load() {
            Ok(steps) => {
                let dispatches = steps.iter().map(Step::dispatches).sum();
                self.programs.insert(self.next_id, Loaded { steps, dispatches, sizes: Vec::new() });
                self.next_id += 1;
                Ok(Program { id: self.next_id - 1, locals })
            }
            Err(error) => {
                locals.into_iter().for_each(|id| self.free(id));
                Err(error)
            }
        }
    }

    fn unload(&mut self, program: Program) {
        self.programs.remove(&program.id);
        program.locals.into_iter().for_each(|id| self.free(id));
    }

    fn submit(&mut self, programs: &[&Program], report: Option<(BufferId, usize)>) -> Result<()> {
        let encoder = self.writes.take().unwrap_or_else(|| self.opened.encoder());
        self.belt.finish_and_recall_on_submit(&encoder);
        let loaded = programs.iter().filter_map(|p| Some((p.id, self.programs.get(&p.id)?)));
        // The longest program determines the time of a replay. The programs before and after it may vary.
        let longest = loaded.clone().max_by_key(|(_, loaded)| loaded.dispatches);
        let (program, sizes) = longest.map_or((usize::MAX, &[][..]), |(id, loaded)| (id, &loaded.sizes[..]));
        let cuts = self.limit.map_or(Cuts::Sizes(sizes), Cuts::Every);
        let mut writer = Writer::new(&self.opened, encoder, cuts);
        for step in loaded.flat_map(|(_, loaded)| &loaded.steps) {
            writer.step(step, |id| self.buffer(id))?;
        }
        if let Some((buffer, len)) = report {
            let from = find(&self.buffers, &self.opened, buffer)?;
            self.reports.copy(&self.opened, writer.encoder(), from, len)?;
        }
        let (replay, before) = writer.finish(program);
        self.set_end(before);
        self.reports.map_full();
        self.in_flight.push_back(replay);
        if self.in_flight.len() > MAX_IN_FLIGHT {
            self.finish_oldest()?;
        }
        self.opened.check()
    }

    fn limit_submissions(&mut self, dispatches: Option<usize>) {
        self.limit = dispatches;
    }

    fn reports(&mut self, wait: bool) -> Result<Vec<Vec<f32>>> {
        if wait && !self.reports.is_empty() {
            self.finish_all()?;
        }
        self.reports.take(&self.opened, wait)
    }

    fn profile(&mut self, program: &Program, repeats: usize) -> Result<Vec<(String, f64)>> {
        self.flush();
        let mut timings = Vec::new();
        for step in self.programs.get(&program.id).map_or(&[][..], |p| &p.steps) {
            let calls = match step {
                Step::Call(call) => std::slice::from_ref(call),
                Step::Repeat { tiles, .. } => tiles.first().map_or(&[][..], |t| &t.1),
                _ => &[],
            };
            for call in calls {
                self.wait()?;
                let mut encoder = self.opened.encoder();
                let desc = gpu::ComputePassDescriptor::default();
                let mut pass = encoder.begin_compute_pass(&desc).forget_lifetime();
                (0..repeats).for_each(|_| call.dispatch(&mut pass, 0));
                drop(pass);
                let start = Instant::now();
                self.opened.queue.submit([encoder.finish()]);
                self.wait()?;
                timings.push((call.label.clone(), start.elapsed().as_secs_f64() / repeats as f64));
            }
        }
        Ok(timings)
    }

    fn allocated_bytes(&self) -> u64 {
        self.buffers.iter().flatten().map(gpu::Buffer::size).sum()
    }
}

/// Finds a buffer.
///
/// # Errors
/// [`Error::Device`] if it has been freed.
fn find<'a>(buffers: &'a [Option<gpu::Buffer>], opened: &Opened, id: BufferId) -> Result<&'a gpu::Buffer> {
    let buffer = buffers.get(id.0).and_then(Option::as_ref);
    buffer.ok_or_else(|| opened.error(format!("buffer {} has been freed", id.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Checks, Family, Tile};
    use crate::optim::accumulate::accumulate;

    const LEN: usize = 64;

    /// Two buffers that are added to each other in turn, with a copy between. Any other order gives other numbers.
    fn in_order() -> Recording {
        let at = |i| Binding { buffer: BufferRef::Local(i), offset: 0, len: LEN };
        let add = |to, from| accumulate(at(to), at(from), Family::Gpu);
        let tile = Tile { row: 0, body: vec![add(0, 1), add(1, 0)] };
        let repeat =
            Command::Repeat { steps: 10, rows: 1, backward: false, tiles: vec![tile], fused: Vec::new() };
        let copy = Command::Copy { from: at(1), to: at(2) };
        Recording {
            label: "in order".into(),
            locals: ["a", "b", "c"].map(|label| (LEN, label.to_string())).into(),
            commands: vec![
                Command::Dispatch(add(0, 1)),
                repeat,
                copy,
                Command::Dispatch(add(1, 2)),
                Command::Dispatch(add(0, 1)),
            ],
        }
    }

    #[test]
    fn division_into_submissions_does_not_change_the_bits() {
        let found = super::super::adapters();
        let software = found.iter().find(|(a, _)| a.kind == crate::engine::DeviceKind::Software);
        let (about, raw) = software.or(found.first()).expect("the tests need an adapter");
        let opened = Arc::new(Opened::open(raw, about, Checks::On).unwrap());
        let mut engine = WgpuEngine::new(opened);
        let program = engine.load(&in_order(), &[]).unwrap();
        let start: Vec<f32> = (0..LEN).map(|i| 0.1 * i as f32 + 0.01).collect();
        // Returns the bits of the report and of the buffers, and the dispatches of each submission.
        let mut replay = |limit: Option<usize>, cuts: &[usize]| {
            engine.limit_submissions(limit);
            engine.programs.get_mut(&program.id).unwrap().sizes = cuts.to_vec();
            engine.write_with(program.locals[0], 0, LEN, &mut |to| to.copy_from_slice(&start)).unwrap();
            engine.write_with(program.locals[1], 0, LEN, &mut |to| to.fill(1.0)).unwrap();
            engine.submit(&[&program], Some((program.locals[0], LEN))).unwrap();
            let sizes: Vec<usize> =
                engine.in_flight.back().unwrap().submitted.iter().map(|s| s.dispatches).collect();
            let report = engine.reports(true).unwrap().concat();
            let read: Vec<f32> =
                (0..3).flat_map(|i| engine.read(program.locals[i], 0, LEN).unwrap()).collect();
            let bits: Vec<u32> = report.iter().chain(&read).map(|x| x.to_bits()).collect();
            (bits, sizes)
        };
        let (whole, sizes) = replay(None, &[]);
        assert_eq!(sizes, [23], "one and ten times two, and two after the copy");
        assert!(whole.iter().all(|bits| f32::from_bits(*bits) >= 1.0));
        let cut: [(Option<usize>, &[usize], &[usize]); 5] = [
            (Some(1), &[], &[1; 23]),
            (Some(7), &[], &[7, 7, 7, 2]),
            (Some(21), &[], &[21, 2]),
            (None, &[2, 18], &[2, 18, 3]),
            (None, &[10, 10, 10], &[10, 10, 3]),
        ];
        for (limit, cuts, sizes) in cut {
            let (bits, submitted) = replay(limit, cuts);
            assert_eq!(submitted, sizes, "{limit:?} {cuts:?}");
            assert_eq!(bits, whole, "{limit:?} {cuts:?}");
        }
    }
}
