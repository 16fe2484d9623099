//! Replays as submissions that are short: a longer one makes a desktop stutter, and a few times longer ones are killed by
//! drivers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wgpu as gpu;

use crate::engine::wgpu::Opened;
use crate::engine::wgpu::pipeline::Pipeline;
use crate::engine::{Binding, BufferId};
use crate::error::Result;

/// Longest submission, in seconds, and the length that they are cut to.
const LONG: f64 = 0.25;
const CUT: f64 = LONG / 2.0;
/// A shorter wait may be none: what was waited for was over before.
const A_WAIT: Duration = Duration::from_millis(1);

/// A dispatch with its pipeline and bind group made.
pub(super) struct Call {
    pub pipeline: Arc<Pipeline>,
    pub group: gpu::BindGroup,
    pub words: Vec<u32>,
    pub grid: [u32; 3],
    pub label: String,
}

impl Call {
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

pub(super) enum Step {
    Call(Call),
    Repeat { steps: usize, rows: usize, backward: bool, tiles: Vec<(usize, Vec<Call>)> },
    Copy { from: (BufferId, Binding), to: (BufferId, Binding) },
}

impl Step {
    /// How many dispatches it is.
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

/// Where a replay is cut.
#[derive(Clone, Copy)]
pub(super) enum Cuts<'a> {
    /// Dispatches of each submission, in order; the last one takes what is left.
    At(&'a [usize]),
    /// All of so many dispatches.
    Every(usize),
}

impl Cuts<'_> {
    /// Most dispatches of a submission after so many others.
    fn most(self, others: usize) -> usize {
        match self {
            Cuts::At(lengths) => lengths.get(others).copied().unwrap_or(usize::MAX),
            Cuts::Every(length) => length,
        }
    }
}

/// Writes steps into command buffers, in as few passes as copies allow (a pass costs as much as several dispatches), and
/// submits them.
pub(super) struct Writer<'a> {
    opened: &'a Opened,
    encoder: gpu::CommandEncoder,
    pass: Option<gpu::ComputePass<'static>>,
    cuts: Cuts<'a>,
    /// Of the submission that is being written.
    dispatches: usize,
    submitted: Vec<Submission>,
    /// When what was submitted before was over, if that is known.
    before: Option<Instant>,
}

impl<'a> Writer<'a> {
    /// Goes on with `encoder`.
    pub fn new(opened: &'a Opened, encoder: gpu::CommandEncoder, cuts: Cuts<'a>) -> Self {
        Self { opened, encoder, pass: None, cuts, dispatches: 0, submitted: Vec::new(), before: None }
    }

    /// Writes a step.
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
        if self.dispatches >= self.cuts.most(self.submitted.len()) {
            self.submit();
        }
        let Self { encoder, pass, .. } = self;
        let begin = || encoder.begin_compute_pass(&gpu::ComputePassDescriptor::default()).forget_lifetime();
        call.dispatch(pass.get_or_insert_with(begin), row0);
        self.dispatches += 1;
    }

    /// For what is not written in a pass.
    pub fn encoder(&mut self) -> &mut gpu::CommandEncoder {
        self.pass = None;
        &mut self.encoder
    }

    /// Submits what has been written, and begins anew.
    fn submit(&mut self) {
        let next = self.opened.device.create_command_encoder(&gpu::CommandEncoderDescriptor::default());
        let written = std::mem::replace(self.encoder(), next);
        let one = Submission::new(self.opened, written, std::mem::take(&mut self.dispatches));
        match self.submitted.last_mut() {
            Some(last) => last.over = one.before,
            None => self.before = one.before,
        }
        self.submitted.push(one);
    }

    /// Submits the rest of a replay, which is known by `program`. Also gives when what was submitted before was over, if that
    /// is known.
    pub fn finish(mut self, program: usize) -> (Replay, Option<Instant>) {
        self.submit();
        (Replay { program, submitted: self.submitted }, self.before)
    }
}

/// Commands under way.
pub(super) struct Submission {
    index: gpu::SubmissionIndex,
    pub dispatches: usize,
    /// When it was queued.
    at: Instant,
    /// When the one before it was over, if the driver let the host wait for that, as lavapipe does.
    pub before: Option<Instant>,
    /// When it was over itself, if the next one tells.
    pub over: Option<Instant>,
}

impl Submission {
    /// Submits what has been written.
    pub fn new(opened: &Opened, written: gpu::CommandEncoder, dispatches: usize) -> Self {
        let commands = written.finish();
        let at = Instant::now();
        let index = opened.queue.submit([commands]);
        let now = Instant::now();
        Self { index, dispatches, at, before: (now - at >= A_WAIT).then_some(now), over: None }
    }

    /// Waits for its end.
    fn wait(&self, opened: &Opened) -> Result<()> {
        let wait = gpu::PollType::Wait { submission_index: Some(self.index.clone()), timeout: None };
        opened.device.poll(wait).map(drop).map_err(|e| opened.error(e.to_string()))
    }
}

/// How many dispatches a part of a replay was, and how many seconds it took.
pub(super) type Part = (usize, f64);

/// A replay under way.
pub(super) struct Replay {
    /// The longest of its programs.
    pub program: usize,
    pub submitted: Vec<Submission>,
}

impl Replay {
    /// Waits for its end. Gives its parts and its end, unless it was over before the host looked: then nobody knows when.
    /// The latest end known of another is `free`.
    pub fn wait(&self, opened: &Opened, mut free: Instant) -> Result<Option<(Vec<Part>, Instant)>> {
        let (mut parts, mut open, mut watched) = (Vec::new(), None, false);
        for one in &self.submitted {
            let asked = Instant::now();
            one.wait(opened)?;
            let now = Instant::now();
            watched |= now - asked >= A_WAIT;
            // What was over at a time that is not known counts together with the next.
            let (from, dispatches) = open.take().unwrap_or((one.at.max(free), 0));
            let dispatches = dispatches + one.dispatches;
            match one.over.or(watched.then_some(now)) {
                Some(over) => {
                    parts.push((dispatches, over.saturating_duration_since(from).as_secs_f64()));
                    free = over;
                }
                None => open = Some((from, dispatches)),
            }
        }
        Ok(open.is_none().then_some((parts, free)))
    }
}

/// Dispatches of each submission of a replay, by the parts of an earlier one: parts that took long are cut, which finds the
/// long dispatches among them after a few replays, and short neighbours are joined. None if all is short.
pub(super) fn lengths(parts: &[Part]) -> Vec<usize> {
    if parts.iter().map(|(_, seconds)| seconds).sum::<f64>() <= LONG {
        return Vec::new();
    }
    let mut cut: Vec<Part> = Vec::new();
    for &(dispatches, seconds) in parts {
        let wanted = if seconds > LONG { (seconds / CUT).ceil() as usize } else { 1 };
        let pieces = wanted.min(dispatches).max(1);
        for i in 0..pieces {
            let n = dispatches * (i + 1) / pieces - dispatches * i / pieces;
            let piece = (n, seconds / pieces as f64);
            match cut.last_mut() {
                Some(last) if last.1 + piece.1 <= CUT => *last = (last.0 + piece.0, last.1 + piece.1),
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
    fn what_takes_long_is_cut_and_what_is_short_is_not() {
        assert!(lengths(&[(1000, 0.25)]).is_empty());
        assert_eq!(lengths(&[(1000, 0.5)]), [250; 4]);
        assert_eq!(lengths(&[(3, 60.0)]), [1; 3], "no dispatch can be cut");
        assert!(lengths(&[(5, 0.1), (5, 0.1)]).is_empty(), "it has become faster");
        assert_eq!(
            lengths(&[(5, 0.2), (1, 0.05), (1, 0.05), (7, 0.2)]),
            [5, 2, 7],
            "short neighbours are joined"
        );
        assert!(lengths(&[(0, 3.0)]).is_empty(), "copies alone");
    }

    #[test]
    fn few_long_dispatches_among_many_short_ones_are_found() {
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
            cut = lengths(&parts);
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
