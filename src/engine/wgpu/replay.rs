//! Buffers and loaded recordings on an adapter.

use std::collections::VecDeque;
use std::sync::Arc;

use wgpu as gpu;

use super::Opened;
use super::pipeline::Pipeline;
use super::reports::Reports;
use crate::engine::{Binding, BufferId, BufferRef, Command, Dispatch, Engine, Program, Recording};
use crate::error::{Error, Result};

/// Submissions that may be under way: more of them only take memory.
const AHEAD: usize = 4;
/// Bytes of one piece of the belt; larger writes do not go through it.
const CHUNK: u64 = 4 << 20;

/// A dispatch with its pipeline and bind group made.
struct Call {
    pipeline: Arc<Pipeline>,
    group: gpu::BindGroup,
    words: Vec<u32>,
    grid: [u32; 3],
    label: String,
}

enum Step {
    Call(Call),
    Repeat { steps: usize, rows: usize, backward: bool, tiles: Vec<(usize, Vec<Call>)> },
    Copy { from: (BufferId, Binding), to: (BufferId, Binding) },
}

/// Buffers and programs on an adapter.
pub struct WgpuEngine {
    opened: Arc<Opened>,
    buffers: Vec<Option<gpu::Buffer>>,
    programs: Vec<Option<Vec<Step>>>,
    reports: Reports,
    under_way: VecDeque<gpu::SubmissionIndex>,
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
            programs: Vec::new(),
            reports: Reports::default(),
            under_way: VecDeque::new(),
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
            self.opened.queue.submit([encoder.finish()]);
        }
    }

    fn wait(&self) -> Result<()> {
        self.opened
            .device
            .poll(gpu::PollType::wait_indefinitely())
            .map_err(|e| self.opened.error(e.to_string()))?;
        self.opened.check()
    }

    fn call(&self, dispatch: &Dispatch, find: &impl Fn(&Binding) -> BufferId) -> Result<Call> {
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
        Ok(Call {
            pipeline,
            group,
            words: dispatch.kernel.params(),
            grid: dispatch.kernel.grid(),
            label: dispatch.label(),
        })
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
        let free = self.buffers.iter().position(Option::is_none);
        let id = free.unwrap_or(self.buffers.len());
        match free {
            Some(id) => self.buffers[id] = Some(buffer),
            None => self.buffers.push(Some(buffer)),
        }
        Ok(BufferId(id))
    }

    fn free(&mut self, buffer: BufferId) {
        if let Some(slot) = self.buffers.get_mut(buffer.0) {
            *slot = None;
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
        self.opened.queue.submit([encoder.finish()]);
        staging.map_async(gpu::MapMode::Read, .., |_| {});
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
                self.programs.push(Some(steps));
                Ok(Program { id: self.programs.len() - 1, locals })
            }
            Err(error) => {
                locals.into_iter().for_each(|id| self.free(id));
                Err(error)
            }
        }
    }

    fn unload(&mut self, program: Program) {
        if let Some(slot) = self.programs.get_mut(program.id) {
            *slot = None;
        }
        program.locals.into_iter().for_each(|id| self.free(id));
    }

    fn submit(&mut self, programs: &[&Program], report: Option<(BufferId, usize)>) -> Result<()> {
        let mut encoder = self.writes.take().unwrap_or_else(|| {
            self.opened.device.create_command_encoder(&gpu::CommandEncoderDescriptor::default())
        });
        let steps = programs.iter().filter_map(|p| self.programs.get(p.id)?.as_ref()).flatten();
        encode(&mut encoder, steps, |id| self.buffer(id))?;
        if let Some((buffer, len)) = report {
            let from = self.buffers[buffer.0].as_ref();
            let from = from.ok_or_else(|| self.opened.error("the report's buffer has been freed".into()))?;
            self.reports.copy(&self.opened, &mut encoder, from, len)?;
        }
        self.belt.finish_and_recall_on_submit(&encoder);
        let index = self.opened.queue.submit([encoder.finish()]);
        self.reports.submitted();
        self.under_way.push_back(index);
        if self.under_way.len() > AHEAD
            && let Some(oldest) = self.under_way.pop_front()
        {
            let wait = gpu::PollType::Wait { submission_index: Some(oldest), timeout: None };
            self.opened.device.poll(wait).map_err(|e| self.opened.error(e.to_string()))?;
        }
        self.opened.check()
    }

    fn reports(&mut self, wait: bool) -> Result<Vec<Vec<f32>>> {
        self.reports.take(&self.opened, wait)
    }

    fn profile(&mut self, program: &Program, repeats: usize) -> Result<Vec<(String, f64)>> {
        self.flush();
        let mut found = Vec::new();
        for step in self.programs.get(program.id).and_then(Option::as_ref).into_iter().flatten() {
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
                (0..repeats).for_each(|_| dispatch(&mut pass, call, 0));
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

/// Writes steps into a command buffer, in as few passes as copies allow: a pass costs as much as several dispatches.
fn encode<'a>(
    encoder: &mut gpu::CommandEncoder,
    steps: impl Iterator<Item = &'a Step>,
    buffer: impl Fn(BufferId) -> Result<&'a gpu::Buffer>,
) -> Result<()> {
    let mut pass: Option<gpu::ComputePass<'static>> = None;
    for step in steps {
        match step {
            Step::Call(_) | Step::Repeat { .. } => {
                let begin =
                    || encoder.begin_compute_pass(&gpu::ComputePassDescriptor::default()).forget_lifetime();
                let pass = pass.get_or_insert_with(begin);
                match step {
                    Step::Repeat { steps, rows, backward, tiles } => {
                        for k in 0..*steps {
                            let t = if *backward { steps - 1 - k } else { k };
                            for (row, body) in tiles {
                                body.iter().for_each(|call| dispatch(pass, call, t * rows + row));
                            }
                        }
                    }
                    Step::Call(call) => dispatch(pass, call, 0),
                    _ => {}
                }
            }
            Step::Copy { from, to } => {
                pass = None;
                let bytes = |b: &Binding| 4 * b.offset as u64;
                let size = 4 * from.1.len as u64;
                encoder.copy_buffer_to_buffer(
                    buffer(from.0)?,
                    bytes(&from.1),
                    buffer(to.0)?,
                    bytes(&to.1),
                    size,
                );
            }
        }
    }
    Ok(())
}

fn dispatch(pass: &mut gpu::ComputePass<'static>, call: &Call, row0: usize) {
    pass.set_pipeline(&call.pipeline.pipeline);
    pass.set_bind_group(0, &call.group, &[]);
    pass.set_immediates(0, bytemuck::cast_slice(&call.words));
    if row0 > 0 {
        pass.set_immediates(0, &(row0 as u32).to_ne_bytes());
    }
    let [x, y, z] = call.grid;
    pass.dispatch_workgroups(x, y, z);
}
