//! Asynchronous read-back of small values, one report per submission.
//!
//! Each submission copies its report into the next slot of a mappable buffer. A full buffer is mapped in the background
//! while the next one is filled. The host waits for the oldest buffer only if all are in flight.

use std::collections::VecDeque;

use futures::channel::oneshot;
use wgpu as gpu;

use crate::engine::wgpu::Opened;
use crate::error::Result;

/// Number of reports in a buffer.
const SLOTS: usize = 32;
/// Largest number of buffers in flight.
const BUFFERS: usize = 3;

/// A buffer of reports that is being filled or mapped.
struct Batch {
    buffer: gpu::Buffer,
    filled: usize,
    /// Receives the result of the mapping; `None` before it is requested.
    mapped: Option<oneshot::Receiver<Result<(), gpu::BufferAsyncError>>>,
}

/// Reports in flight, all of the same length.
#[derive(Default)]
pub(super) struct Reports {
    /// Length of a report, in floats.
    len: usize,
    batches: VecDeque<Batch>,
    spare: Vec<gpu::Buffer>,
    arrived: Vec<Vec<f32>>,
}

impl Reports {
    /// Records the copy of a report, the first `len` floats of `from`.
    pub fn copy(
        &mut self,
        opened: &Opened,
        encoder: &mut gpu::CommandEncoder,
        from: &gpu::Buffer,
        len: usize,
    ) -> Result<()> {
        if len != self.len {
            self.take(opened, true)?;
            self.spare.clear();
            self.len = len;
        }
        if self.batches.back().is_none_or(|b| b.filled == SLOTS) {
            if self.batches.len() == BUFFERS {
                self.take_oldest(opened)?;
            }
            let buffer = self.spare.pop().unwrap_or_else(|| {
                opened.device.create_buffer(&gpu::BufferDescriptor {
                    label: Some("reports"),
                    size: (4 * SLOTS * len) as u64,
                    usage: gpu::BufferUsages::MAP_READ | gpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            });
            self.batches.push_back(Batch { buffer, filled: 0, mapped: None });
        }
        if let Some(batch) = self.batches.back_mut() {
            let size = 4 * len as u64;
            encoder.copy_buffer_to_buffer(from, 0, &batch.buffer, size * batch.filled as u64, size);
            batch.filled += 1;
        }
        Ok(())
    }

    /// True if no report is in flight.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Requests the mapping of the last buffer if it is full. To be called after the submission that filled it.
    pub fn map_full(&mut self) {
        if let Some(batch) = self.batches.back_mut().filter(|b| b.filled == SLOTS) {
            batch.map();
        }
    }

    /// Returns the reports that have arrived, oldest first. With `wait`, waits for all of them.
    pub fn take(&mut self, opened: &Opened, wait: bool) -> Result<Vec<Vec<f32>>> {
        if wait {
            while !self.batches.is_empty() {
                self.take_oldest(opened)?;
            }
        } else {
            let _ = opened.device.poll(gpu::PollType::Poll);
            while self.batches.front_mut().is_some_and(Batch::is_mapped) {
                self.take_oldest(opened)?;
            }
        }
        Ok(std::mem::take(&mut self.arrived))
    }

    fn take_oldest(&mut self, opened: &Opened) -> Result<()> {
        let Some(mut batch) = self.batches.pop_front() else { return Ok(()) };
        batch.map();
        if !batch.is_mapped() {
            let wait = gpu::PollType::wait_indefinitely();
            opened.device.poll(wait).map_err(|e| opened.error(e))?;
        }
        opened.check()?;
        {
            let view = batch.buffer.get_mapped_range(..).map_err(|e| opened.error(e))?;
            let words: &[f32] = bytemuck::cast_slice(&view);
            self.arrived.extend(words.chunks(self.len).take(batch.filled).map(<[f32]>::to_vec));
        }
        batch.buffer.unmap();
        self.spare.push(batch.buffer);
        Ok(())
    }
}

impl Batch {
    fn map(&mut self) {
        if self.mapped.is_none() {
            let (done, mapped) = oneshot::channel();
            self.buffer.map_async(gpu::MapMode::Read, .., move |result| {
                let _ = done.send(result);
            });
            self.mapped = Some(mapped);
        }
    }

    fn is_mapped(&mut self) -> bool {
        self.mapped.as_mut().is_some_and(|m| matches!(m.try_recv(), Ok(Some(Ok(())))))
    }
}
