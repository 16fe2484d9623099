//! Which loops walk through time inside of their shader, and with how many examples a workgroup.

use crate::engine::fused::{Fused, Tiling};
use crate::engine::{Dispatch, Family, Target, turns};
use crate::graph::Dims;

/// Seconds that a dispatch of a fused loop may take on a slow device: drivers reset one that keeps the screen for long.
const LONGEST: f64 = 0.25;
/// Operations a second of a workgroup on a slow device.
const SLOW: f64 = 2e9;

/// What a device takes for a step of a loop: measured on lavapipe, two cores; for graphics processors an estimate that
/// rather leaves a loop to dispatches of each step.
struct Speed {
    /// Operations a second of one workgroup that walks through time.
    walking: f64,
    /// To read weights once takes as long as to multiply so many rows more.
    weights: f64,
    /// Operations a second of all workgroups of an operator's own dispatch.
    at_once: f64,
    /// Seconds of a dispatch besides.
    dispatch: f64,
}

impl Speed {
    fn of(target: &Target) -> Self {
        match target.family {
            Family::Gpu => Self { walking: 1e11, weights: 2.0, at_once: 4e12, dispatch: 5e-6 },
            _ => {
                let at_once = 1e10 * target.workers as f64;
                Self { walking: 1.4e10, weights: 7.0, at_once, dispatch: 5e-5 }
            }
        }
    }
}

/// The dispatches of a loop that walks through time inside of its shader, of the calls of one of its steps; nothing where an
/// operator has no such form, where the device cannot bind all buffers at once, or where it would take longer.
pub fn fuse(body: &[Dispatch], dims: Dims, backward: bool, target: &Target) -> Vec<Dispatch> {
    if target.family == Family::Cpu || dims.steps < 2 || body.is_empty() {
        return Vec::new();
    }
    let tiling = tiling(dims.batch, target);
    let Some(fused) = Fused::new(body, tiling, target.family, backward) else { return Vec::new() };
    if fused.buffers() > target.max_buffers || fused.longest() > target.max_binding {
        return Vec::new();
    }
    let groups = dims.batch.div_ceil(tiling.rows);
    // Workgroups that one processor runs one after the other.
    let rounds = groups.div_ceil(target.workers) as f64;
    let speed = Speed::of(target);
    let tile = rounds * fused.work() * (tiling.rows as f64 + speed.weights);
    let inside = tile / speed.walking;
    let outside = fused.work() * (dims.batch as f64 + speed.weights) / speed.at_once
        + body.len() as f64 * speed.dispatch;
    let turns = fused.turns_of_step();
    if inside > outside || groups > 65_535 || turns >= target.max_turns {
        return Vec::new();
    }
    let steps = (LONGEST * SLOW / tile) as usize;
    fused.dispatches(dims.steps, steps.clamp(1, turns::rounds(target.max_turns, turns - 1)))
}

/// As many examples to a workgroup that all processors have work: each workgroup reads all weights once a step.
fn tiling(batch: usize, target: &Target) -> Tiling {
    match target.family {
        Family::Gpu => {
            let rows = batch.div_ceil(target.workers).clamp(1, 8);
            Tiling { batch, rows, lanes: 64, broadcast: false }
        }
        family => {
            // The same for all, in groups of at most 32 of which each processor has as many as the others.
            let groups = batch.div_ceil(32).next_multiple_of(target.workers);
            let own = batch.div_ceil(groups);
            // Eight lanes share rows by eights.
            let rows = if own > 4 { own.next_multiple_of(8) } else { own };
            let broadcast = matches!(family, Family::Software { subgroup: 8, .. });
            Tiling { batch, rows, lanes: 8, broadcast }
        }
    }
}
