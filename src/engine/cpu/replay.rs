//! Loaded commands of the CPU engine, and their replay on one thread.

use std::ops::Range;
use std::sync::Arc;

use crate::engine::cpu::io::Io;
use crate::engine::cpu::memory::{Own, View};
use crate::engine::cpu::pool::{Barrier, Share};
use crate::engine::{Access, Binding, BufferId, Dispatch, Kernel, Part, Split};
use crate::error::{Error, Result};

/// A dispatch with its buffers.
pub(super) struct Call {
    pub kernel: Arc<dyn Kernel>,
    bindings: Vec<(BufferId, Binding, Access)>,
    rolls: bool,
    /// Division of the work in the first step.
    split: Split,
    /// Elements by which each part advances per step; `None` if they do not advance evenly.
    advances: Option<Vec<usize>>,
}

impl Call {
    /// Creates a call of a dispatch with `buffers`, for `steps` steps of `rows` rows each, from row `row` of a step on.
    ///
    /// # Errors
    /// [`Error::Device`] if a written binding overlaps another binding.
    pub fn new(
        dispatch: &Dispatch,
        buffers: impl Fn(&Binding) -> BufferId,
        (steps, rows, row): (usize, usize, usize),
    ) -> Result<Self> {
        let access = dispatch.kernel.access();
        let bindings = dispatch.bindings.iter().zip(access).map(|(b, access)| (buffers(b), *b, access));
        let mut call = Self {
            kernel: dispatch.kernel.clone(),
            bindings: bindings.collect(),
            rolls: dispatch.rolls,
            split: dispatch.kernel.split(0),
            advances: None,
        };
        call.divide(steps, rows, row);
        call.check_disjoint()?;
        Ok(call)
    }

    /// Computes the division of the work for all steps.
    fn divide(&mut self, steps: usize, rows: usize, row: usize) {
        let at = |t: usize| self.kernel.split(if self.rolls { row } else { t * rows + row });
        let (first, second) = (at(0), at(1.min(steps.saturating_sub(1))));
        let pairs = first.parts.iter().zip(&second.parts);
        let advances: Option<Vec<usize>> = pairs.map(|(a, b)| b.start.checked_sub(a.start)).collect();
        let evenly = |advances: &Vec<usize>| {
            // A part may be periodic in time, so the middle and the last step are tested as well.
            [2, steps / 2, steps.saturating_sub(1)].iter().filter(|&&t| t < steps).all(|&t| {
                let parts = first.parts.iter().zip(advances);
                let parts = parts.map(|(p, by)| Part { start: p.start + t * by, ..*p }).collect();
                at(t) == Split { parts, ..first }
            })
        };
        self.advances = advances.filter(evenly);
        self.split = first;
    }

    /// Checks that no written binding overlaps another binding.
    fn check_disjoint(&self) -> Result<()> {
        let overlap = |a: &(BufferId, Binding, Access), b: &(BufferId, Binding, Access)| {
            a.0 == b.0 && a.1.offset < b.1.offset + b.1.len && b.1.offset < a.1.offset + a.1.len
        };
        for (i, a) in self.bindings.iter().enumerate().filter(|(_, a)| a.2 == Access::Write) {
            if self.bindings.iter().enumerate().any(|(j, b)| i != j && overlap(a, b)) {
                return Err(device_error(format!("{:?} writes what it also reads", self.kernel)));
            }
        }
        Ok(())
    }

    /// True if the work is so small that one thread does it all.
    fn is_small(&self) -> bool {
        self.split.units <= self.split.grain
    }
}

/// Mean number of grains in a call of a loop, from which on several threads share the loop.
///
/// A grain takes about half a microsecond, and a barrier follows each call.
const SHARED_GRAINS: usize = 8;

/// True if the work in each step of a loop is so small that one thread does it all.
pub(super) fn is_small(body: &[Call]) -> bool {
    let grains = |call: &Call| call.split.units.div_ceil(call.split.grain.max(1));
    body.iter().map(grains).sum::<usize>() < SHARED_GRAINS * body.len()
}

/// A command with its buffers.
pub(super) enum Step {
    Call(Call),
    /// A loop over `tiles`, each with its first row; `small` if one thread does it all.
    Repeat {
        steps: usize,
        rows: usize,
        backward: bool,
        tiles: Vec<(usize, Vec<Call>)>,
        small: bool,
    },
    Copy {
        from: (BufferId, Binding),
        to: (BufferId, Binding),
    },
}

impl Step {
    /// True if the work is so small that one thread does it all.
    pub fn is_small(&self) -> bool {
        match self {
            Step::Call(call) => call.is_small(),
            Step::Repeat { small, .. } => *small,
            Step::Copy { .. } => true,
        }
    }
}

/// Error of the CPU as a device.
pub(super) fn device_error(problem: String) -> Error {
    Error::Device { device: "cpu".into(), problem }
}

/// Replays this thread's share of a step. Returns when all threads are done with it.
pub(super) fn replay<'a>(step: &Step, views: &[View<'a>], io: &mut Io<'a>, share: Share, barrier: &Barrier) {
    match step {
        Step::Call(c) => {
            call(c, views, io, 0, [0, 0], share);
            barrier.wait();
        }
        Step::Repeat { steps, rows, backward, tiles, small } => {
            let time = |k: usize| if *backward { steps - 1 - k } else { k };
            if let ([(_, body)], false) = (&tiles[..], *small) {
                // All threads share each call.
                for t in (0..*steps).map(time) {
                    for c in body {
                        call(c, views, io, t, [t * rows, 0], share);
                        barrier.wait();
                    }
                }
                return;
            }
            // Each thread runs all steps of its own tiles, without barriers.
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
            if share.index == 0 {
                let source = views[from.0.0].range(from.1.offset, from.1.len).read();
                whole(views, to.0, to.1).block(0).copy_from_slice(source);
            }
            barrier.wait();
        }
    }
}

/// All elements of a binding, to write.
fn whole<'a>(views: &[View<'a>], id: BufferId, b: Binding) -> Own<'a> {
    Own::new(views[id.0].range(b.offset, b.len), Part::rows(0, 1), 0..b.len, b.len)
}

/// Runs this thread's share of a dispatch in step `t`. `row0` is its first row in the run, `in_step` in the step.
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
    let found = c.advances.is_none().then(|| c.kernel.split(if c.rolls { in_step } else { row0 }));
    let parts = found.as_ref().map_or(&c.split.parts, |split| &split.parts);
    let mut part = 0;
    for (id, b, access) in &c.bindings {
        let view = views[id.0].range(b.offset, b.len);
        match (access, parts.get(part)) {
            (Access::Write, Some(&own)) => {
                let advance = c.advances.as_ref().map_or(0, |advances| t * advances[part]);
                part += 1;
                let own = Part { start: own.start + advance, ..own };
                io.outputs.push(Own::new(view, own, units.clone(), c.split.units));
                io.views.push(View::none());
            }
            _ => io.views.push(view),
        }
    }
    c.kernel.run(io, units, row0);
}
