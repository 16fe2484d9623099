//! Buffers and loaded recordings on an adapter.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use wgpu as gpu;

use crate::engine::wgpu::Opened;
use crate::engine::wgpu::reports::Reports;
use crate::engine::wgpu::submission::{self, Call, Cuts, Replay, Step, Submission, Writer};
use crate::engine::{Binding, BufferId, BufferRef, Command, Dispatch, Engine, Program, Recording};
use crate::error::{Error, Result};

/// Replays that may be under way: more of them only take memory.
const AHEAD: usize = 4;
/// Bytes of one piece of the belt; larger writes do not go through it.
const CHUNK: u64 = 4 << 20;

/// A loaded recording.
struct Loaded {
    steps: Vec<Step>,
    dispatches: usize,
    /// Dispatches of each submission of a replay, as earlier ones were measured; none for a single one.
    cuts: Vec<usize>,
}

/// Buffers and programs on an adapter.
pub struct WgpuEngine {
    opened: Arc<Opened>,
    buffers: Vec<Option<gpu::Buffer>>,
    /// Places in `buffers` that hold none.
    free: Vec<usize>,
    /// By number; no number is given twice.
    programs: BTreeMap<usize, Loaded>,
    loaded: usize,
    reports: Reports,
    under_way: VecDeque<Replay>,
    /// The latest end of a replay that is known.
    over: Instant,
    /// Dispatches of a submission, if that does not follow from what was measured.
    limit: Option<usize>,
    /// Where callers write before it goes to the device.
    staging: Vec<f32>,
    /// Mapped memory that is used again and again; `queue.write_buffer` would take and fault in new pages each time.
    belt: gpu::util::StagingBelt,
    /// Copies out of the belt that the next submission begins with.
    writes: Option<gpu::CommandEncoder>,
}

impl WgpuEngine {
    /// An engine without buffers.
    pub(in crate::engine) fn new(opened: Arc<Opened>) -> Self {
        let belt = gpu::util::StagingBelt::new(opened.device.clone(), CHUNK);
        Self {
            opened,
            buffers: Vec::new(),
            free: Vec::new(),
            programs: BTreeMap::new(),
            loaded: 0,
            reports: Reports::default(),
            under_way: VecDeque::new(),
            over: Instant::now(),
            limit: None,
            staging: Vec::new(),
            belt,
            writes: None,
        }
    }

    fn buffer(&self, id: BufferId) -> Result<&gpu::Buffer> {
        let buffer = self.buffers.get(id.0).and_then(Option::as_ref);
        buffer.ok_or_else(|| self.opened.error(format!("buffer {} has been freed", id.0)))
    }

    /// Queues a write, in order with all others and before the next submission.
    fn upload(&mut self, buffer: BufferId, offset: u64, bytes: &[u8]) -> Result<()> {
        let Some(size) = gpu::BufferSize::new(bytes.len() as u64) else { return Ok(()) };
        if size.get() > CHUNK {
            self.flush();
            self.opened.queue.write_buffer(self.buffer(buffer)?, offset, bytes);
            return Ok(());
        }
        let mut writes = self.writes.take().unwrap_or_else(|| {
            self.opened.device.create_command_encoder(&gpu::CommandEncoderDescriptor::default())
        });
        let target = self.buffers.get(buffer.0).and_then(Option::as_ref);
        let target =
            target.ok_or_else(|| self.opened.error(format!("buffer {} has been freed", buffer.0)))?;
        self.belt.write_buffer(&mut writes, target, offset, size).copy_from_slice(bytes);
        self.writes = Some(writes);
        Ok(())
    }

    /// Submits the writes that wait for the next submission.
    fn flush(&mut self) {
        if let Some(encoder) = self.writes.take() {
            self.belt.finish_and_recall_on_submit(&encoder);
            self.submit_alone(encoder);
        }
    }

    /// Waits for the oldest replay under way, and cuts the next ones of its program by the time that it took.
    fn settle(&mut self) -> Result<()> {
        let Some(replay) = self.under_way.pop_front() else { return Ok(()) };
        let Some((parts, over)) = replay.wait(&self.opened, self.over)? else { return Ok(()) };
        self.over = over;
        if let Some(program) = self.programs.get_mut(&replay.program) {
            program.cuts = submission::lengths(&parts);
        }
        Ok(())
    }

    /// Submits what is no replay.
    fn submit_alone(&mut self, written: gpu::CommandEncoder) {
        let before = Submission::new(&self.opened, written, 0).before;
        self.ended(before);
    }

    /// Notes when the last replay was over, if that is known.
    fn ended(&mut self, at: Option<Instant>) {
        if let Some(last) = self.under_way.back_mut().and_then(|r| r.submitted.last_mut()) {
            last.over = last.over.or(at);
        }
    }

    /// Waits for all replays under way.
    fn settle_all(&mut self) -> Result<()> {
        (0..self.under_way.len()).try_for_each(|_| self.settle())
    }

    fn wait(&self) -> Result<()> {
        self.opened
            .device
            .poll(gpu::PollType::wait_indefinitely())
            .map_err(|e| self.opened.error(e.to_string()))?;
        self.opened.check()
    }

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

    fn make(&self, recording: &Recording, find: &impl Fn(&Binding) -> BufferId) -> Result<Vec<Step>> {
        let call = |d: &Dispatch| Ok(Step::Call(self.call(d, find)?));
        let step = |command: &Command| {
            Ok(vec![match command {
                Command::Dispatch(d) => call(d)?,
                // A loop that walks through time itself needs none of the calls of a step.
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
        let mut encoder = device.create_command_encoder(&gpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(self.buffer(buffer)?, 4 * offset as u64, &staging, 0, size);
        self.submit_alone(encoder);
        staging.map_async(gpu::MapMode::Read, .., |_| {});
        self.settle_all()?;
        self.wait()?;
        let view = staging.get_mapped_range(..).map_err(|e| self.opened.error(e.to_string()))?;
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
            self.make(recording, &find)
        };
        match load() {
            Ok(steps) => {
                let dispatches = steps.iter().map(Step::dispatches).sum();
                self.programs.insert(self.loaded, Loaded { steps, dispatches, cuts: Vec::new() });
                self.loaded += 1;
                Ok(Program { id: self.loaded - 1, locals })
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
        let encoder = self.writes.take().unwrap_or_else(|| {
            self.opened.device.create_command_encoder(&gpu::CommandEncoderDescriptor::default())
        });
        self.belt.finish_and_recall_on_submit(&encoder);
        let known = programs.iter().filter_map(|p| Some((p.id, self.programs.get(&p.id)?)));
        // It decides how long a replay takes; what comes before and after differs from time to time.
        let longest = known.clone().max_by_key(|(_, loaded)| loaded.dispatches);
        let (program, measured) =
            longest.map_or((usize::MAX, &[][..]), |(id, loaded)| (id, &loaded.cuts[..]));
        let cuts = self.limit.map_or(Cuts::At(measured), Cuts::Every);
        let mut writer = Writer::new(&self.opened, encoder, cuts);
        for step in known.flat_map(|(_, loaded)| &loaded.steps) {
            writer.step(step, |id| self.buffer(id))?;
        }
        if let Some((buffer, len)) = report {
            let from = self.buffers[buffer.0].as_ref();
            let from = from.ok_or_else(|| self.opened.error("the report's buffer has been freed".into()))?;
            self.reports.copy(&self.opened, writer.encoder(), from, len)?;
        }
        let (replay, before) = writer.finish(program);
        self.ended(before);
        self.reports.submitted();
        self.under_way.push_back(replay);
        if self.under_way.len() > AHEAD {
            self.settle()?;
        }
        self.opened.check()
    }

    fn limit_submissions(&mut self, dispatches: Option<usize>) {
        self.limit = dispatches;
    }

    fn reports(&mut self, wait: bool) -> Result<Vec<Vec<f32>>> {
        if wait && self.reports.any() {
            self.settle_all()?;
        }
        self.reports.take(&self.opened, wait)
    }

    fn profile(&mut self, program: &Program, repeats: usize) -> Result<Vec<(String, f64)>> {
        self.flush();
        let mut found = Vec::new();
        for step in self.programs.get(&program.id).map_or(&[][..], |p| &p.steps) {
            let calls = match step {
                Step::Call(call) => std::slice::from_ref(call),
                Step::Repeat { tiles, .. } => tiles.first().map_or(&[][..], |t| &t.1),
                _ => &[],
            };
            for call in calls {
                self.wait()?;
                let mut encoder =
                    self.opened.device.create_command_encoder(&gpu::CommandEncoderDescriptor::default());
                let desc = gpu::ComputePassDescriptor::default();
                let mut pass = encoder.begin_compute_pass(&desc).forget_lifetime();
                (0..repeats).for_each(|_| call.dispatch(&mut pass, 0));
                drop(pass);
                let start = std::time::Instant::now();
                self.opened.queue.submit([encoder.finish()]);
                self.wait()?;
                found.push((call.label.clone(), start.elapsed().as_secs_f64() / repeats as f64));
            }
        }
        Ok(found)
    }

    fn allocated_bytes(&self) -> u64 {
        self.buffers.iter().flatten().map(gpu::Buffer::size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Checks, Family, Tile};
    use crate::optim::accumulate::accumulate;

    const LEN: usize = 64;

    /// Two buffers that are added to each other in turn, with a copy between: any other order gives other numbers.
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
    fn a_replay_in_many_submissions_gives_the_same_bits() {
        let found = super::super::adapters();
        let software = found.iter().find(|(a, _)| a.kind == crate::engine::DeviceKind::Software);
        let (about, raw) = software.or(found.first()).expect("the tests need an adapter");
        let opened = Arc::new(Opened::open(raw, about, Checks::On).unwrap());
        let mut engine = WgpuEngine::new(opened);
        let program = engine.load(&in_order(), &[]).unwrap();
        let start: Vec<f32> = (0..LEN).map(|i| 0.1 * i as f32 + 0.01).collect();
        // What the host writes, the replay, what it copies for the host, and how many submissions that was.
        let mut go = |limit: Option<usize>, cuts: &[usize]| {
            engine.limit_submissions(limit);
            engine.programs.get_mut(&program.id).unwrap().cuts = cuts.to_vec();
            engine.write_with(program.locals[0], 0, LEN, &mut |to| to.copy_from_slice(&start)).unwrap();
            engine.write_with(program.locals[1], 0, LEN, &mut |to| to.fill(1.0)).unwrap();
            engine.submit(&[&program], Some((program.locals[0], LEN))).unwrap();
            let sizes: Vec<usize> =
                engine.under_way.back().unwrap().submitted.iter().map(|s| s.dispatches).collect();
            let report = engine.reports(true).unwrap().concat();
            let read: Vec<f32> =
                (0..3).flat_map(|i| engine.read(program.locals[i], 0, LEN).unwrap()).collect();
            let bits: Vec<u32> = report.iter().chain(&read).map(|x| x.to_bits()).collect();
            (bits, sizes)
        };
        let (whole, sizes) = go(None, &[]);
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
            let (bits, submitted) = go(limit, cuts);
            assert_eq!(submitted, sizes, "{limit:?} {cuts:?}");
            assert_eq!(bits, whole, "{limit:?} {cuts:?}");
        }
    }
}
