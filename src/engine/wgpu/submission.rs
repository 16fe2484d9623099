//! Division of replays into short submissions.
//!
//! A long submission makes a desktop stutter, and drivers abort those of several seconds. The length of submissions
//! follows from the times of earlier replays of the same program.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wgpu as gpu;

use crate::engine::wgpu::Opened;
use crate::engine::wgpu::pipeline::Pipeline;
use crate::engine::{Binding, BufferId};
use crate::error::Result;

/// Longest submission, in seconds.
const MAX_SECONDS: f64 = 0.25;
/// Length to which longer submissions are split, in seconds.
const TARGET_SECONDS: f64 = MAX_SECONDS / 2.0;
/// Shortest wait that shows the end of a submission. After a shorter one it may have ended before.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// A dispatch with its pipeline and bind group.
pub(super) struct Call {
    pub pipeline: Arc<Pipeline>,
    pub group: gpu::BindGroup,
    pub words: Vec<u32>,
    pub grid: [u32; 3],
    pub label: String,
}

impl Call {
    /// Records the dispatch, with `row0` as the first row.
    pub fn dispatch(&self, pass: &mut gpu::ComputePass<'static>, row0: usize) {
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.set_immediates(0, bytemuck::cast_slice(&self.words));
        if row0 > 0 {
            pass.set_immediates(0, &(row0 as u32).to_ne_bytes());
        }
        let [x, y, z] = self.grid;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// A command with its resources.
pub(super) enum Step {
    Call(Call),
    Repeat { steps: usize, rows: usize, backward: bool, tiles: Vec<(usize, Vec<Call>)> },
    Copy { from: (BufferId, Binding), to: (BufferId, Binding) },
}

impl Step {
    /// Number of dispatches.
    pub fn dispatches(&self) -> usize {
        match self {
            Step::Call(_) => 1,
            Step::Repeat { steps, tiles, .. } => {
                steps * tiles.iter().map(|(_, body)| body.len()).sum::<usize>()
            }
            Step::Copy { .. } => 0,
        }
    }
}

/// Division of a replay into submissions.
#[derive(Clone, Copy)]
pub(super) enum Cuts<'a> {
    /// Dispatches of each submission, in order. One more submission takes the rest.
    Sizes(&'a [usize]),
    /// Dispatches of every submission.
    Every(usize),
}

impl Cuts<'_> {
    /// Largest number of dispatches in submission `index`.
    fn size(self, index: usize) -> usize {
        match self {
            Cuts::Sizes(sizes) => sizes.get(index).copied().unwrap_or(usize::MAX),
            Cuts::Every(size) => size,
        }
    }
}

/// Records steps into command buffers and submits them.
///
/// A compute pass costs as much as several dispatches, so one pass holds all dispatches between two copies.
pub(super) struct Writer<'a> {
    opened: &'a Opened,
    encoder: gpu::CommandEncoder,
    pass: Option<gpu::ComputePass<'static>>,
    cuts: Cuts<'a>,
    /// Dispatches recorded for the next submission.
    dispatches: usize,
    submitted: Vec<Submission>,
    /// End of the submission before the first one, if it is known.
    before: Option<Instant>,
}

impl<'a> Writer<'a> {
    /// Creates a writer that continues `encoder`.
    pub fn new(opened: &'a Opened, encoder: gpu::CommandEncoder, cuts: Cuts<'a>) -> Self {
        Self { opened, encoder, pass: None, cuts, dispatches: 0, submitted: Vec::new(), before: None }
    }

    /// Records a step.
    pub fn step<'b>(
        &mut self,
        step: &Step,
        buffer: impl Fn(BufferId) -> Result<&'b gpu::Buffer>,
    ) -> Result<()> {
        match step {
            Step::Call(call) => self.call(call, 0),
            Step::Repeat { steps, rows, backward, tiles } => {
                for k in 0..*steps {
                    let t = if *backward { steps - 1 - k } else { k };
                    for (row, body) in tiles {
                        body.iter().for_each(|call| self.call(call, t * rows + row));
                    }
                }
            }
            Step::Copy { from, to } => {
                let at = |b: &Binding| 4 * b.offset as u64;
                let size = 4 * from.1.len as u64;
                let (source, target) = (buffer(from.0)?, buffer(to.0)?);
                self.encoder().copy_buffer_to_buffer(source, at(&from.1), target, at(&to.1), size);
            }
        }
        Ok(())
    }

    fn call(&mut self, call: &Call, row0: usize) {
        if self.dispatches >= self.cuts.size(self.submitted.len()) {
            self.submit();
        }
        let Self { encoder, pass, .. } = self;
        let begin = || encoder.begin_compute_pass(&gpu::ComputePassDescriptor::default()).forget_lifetime();
        call.dispatch(pass.get_or_insert_with(begin), row0);
        self.dispatches += 1;
    }

    /// Returns the encoder, outside of a pass.
    pub fn encoder(&mut self) -> &mut gpu::CommandEncoder {
        self.pass = None;
        &mut self.encoder
    }

    /// Submits the recorded commands, and starts a new command buffer.
    fn submit(&mut self) {
        let next = self.opened.encoder();
        let recorded = std::mem::replace(self.encoder(), next);
        let submission = Submission::new(self.opened, recorded, std::mem::take(&mut self.dispatches));
        match self.submitted.last_mut() {
            Some(last) => last.end = submission.previous_end,
            None => self.before = submission.previous_end,
        }
        self.submitted.push(submission);
    }

    /// Submits the rest. Returns the replay of `program`, and the end of the submission before it, if that is known.
    pub fn finish(mut self, program: usize) -> (Replay, Option<Instant>) {
        self.submit();
        (Replay { program, submitted: self.submitted }, self.before)
    }
}

/// A submission in flight.
pub(super) struct Submission {
    index: gpu::SubmissionIndex,
    pub dispatches: usize,
    /// Time of submission.
    queued: Instant,
    /// End of the previous submission. Known if the driver blocked until then, as lavapipe does.
    pub previous_end: Option<Instant>,
    /// End of this submission, if the next one has shown it.
    pub end: Option<Instant>,
}

impl Submission {
    /// Submits the commands of `encoder`.
    pub fn new(opened: &Opened, encoder: gpu::CommandEncoder, dispatches: usize) -> Self {
        let commands = encoder.finish();
        let queued = Instant::now();
        let index = opened.queue.submit([commands]);
        let now = Instant::now();
        let previous_end = (now - queued >= MIN_WAIT).then_some(now);
        Self { index, dispatches, queued, previous_end, end: None }
    }

    /// Waits until it has ended.
    fn wait(&self, opened: &Opened) -> Result<()> {
        let wait = gpu::PollType::Wait { submission_index: Some(self.index.clone()), timeout: None };
        opened.device.poll(wait).map(drop).map_err(|e| opened.error(e))
    }
}

/// Number of dispatches of a part of a replay, and its duration in seconds.
pub(super) type Timing = (usize, f64);

/// A replay in flight.
pub(super) struct Replay {
    /// Id of the longest of its programs.
    pub program: usize,
    pub submitted: Vec<Submission>,
}

impl Replay {
    /// Waits until it has ended. Returns the timings of its parts, and its end; `None` if it ended unobserved, before
    /// the host began to wait.
    ///
    /// `idle_since` is the latest known end of an earlier replay.
    pub fn wait(&self, opened: &Opened, mut idle_since: Instant) -> Result<Option<(Vec<Timing>, Instant)>> {
        let (mut timings, mut open, mut observed) = (Vec::new(), None, false);
        for submission in &self.submitted {
            let begin = Instant::now();
            submission.wait(opened)?;
            let now = Instant::now();
            observed |= now - begin >= MIN_WAIT;
            // A submission with an unknown end is timed together with the next one.
            let (start, dispatches) = open.take().unwrap_or((submission.queued.max(idle_since), 0));
            let dispatches = dispatches + submission.dispatches;
            match submission.end.or(observed.then_some(now)) {
                Some(end) => {
                    timings.push((dispatches, end.saturating_duration_since(start).as_secs_f64()));
                    idle_since = end;
                }
                None => open = Some((start, dispatches)),
            }
        }
        Ok(open.is_none().then_some((timings, idle_since)))
    }
}

/// Dispatches of each submission of a replay, by the timings of an earlier one; empty if a single submission is short
/// enough.
///
/// Long parts are split, and short neighbours are joined. After a few replays the long dispatches have submissions of
/// their own.
pub(super) fn sizes(timings: &[Timing]) -> Vec<usize> {
    if timings.iter().map(|(_, seconds)| seconds).sum::<f64>() <= MAX_SECONDS {
        return Vec::new();
    }
    let mut cut: Vec<Timing> = Vec::new();
    for &(dispatches, seconds) in timings {
        let wanted = if seconds > MAX_SECONDS { (seconds / TARGET_SECONDS).ceil() as usize } else { 1 };
        let pieces = wanted.min(dispatches).max(1);
        for i in 0..pieces {
            let n = dispatches * (i + 1) / pieces - dispatches * i / pieces;
            let piece = (n, seconds / pieces as f64);
            match cut.last_mut() {
                Some(last) if last.1 + piece.1 <= TARGET_SECONDS => {
                    *last = (last.0 + piece.0, last.1 + piece.1)
                }
                _ => cut.push(piece),
            }
        }
    }
    cut.into_iter().map(|(n, _)| n).filter(|n| *n > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_parts_are_split_and_short_ones_are_joined() {
        assert!(sizes(&[(1000, 0.25)]).is_empty());
        assert_eq!(sizes(&[(1000, 0.5)]), [250; 4]);
        assert_eq!(sizes(&[(3, 60.0)]), [1; 3], "no dispatch can be cut");
        assert!(sizes(&[(5, 0.1), (5, 0.1)]).is_empty(), "it has become faster");
        assert_eq!(
            sizes(&[(5, 0.2), (1, 0.05), (1, 0.05), (7, 0.2)]),
            [5, 2, 7],
            "short neighbours are joined"
        );
        assert!(sizes(&[(0, 3.0)]).is_empty(), "copies alone");
    }

    #[test]
    fn long_dispatches_get_submissions_of_their_own() {
        // A dispatch of two seconds and one of 0.2 among a thousand of 10 µs.
        let seconds =
            |i: usize| [(137, 2.0), (800, 0.2)].iter().find(|(at, _)| *at == i).map_or(1e-5, |x| x.1);
        let mut cut = vec![1000];
        for _ in 0..6 {
            let mut first = 0;
            let parts: Vec<(usize, f64)> = cut
                .iter()
                .map(|n| {
                    let part = (first..first + n).map(seconds).sum();
                    first += n;
                    (*n, part)
                })
                .collect();
            assert_eq!(first, 1000);
            cut = sizes(&parts);
        }
        let place = |at: usize| {
            cut.iter()
                .scan(0, |first, n| Some((std::mem::replace(first, *first + n), *n)))
                .find(|(first, n)| (*first..first + n).contains(&at))
        };
        assert_eq!(place(137), Some((137, 1)), "{cut:?}");
        assert!(cut.len() < 20, "{cut:?}");
    }
}
