//! Makes loops walk through time inside of their shader, with a tile of examples a workgroup.
//!
//! - Before: the dispatches of one step of a loop.
//! - After: dispatches of the whole window, or none where the steps are dispatched one by one.
//! - Keeps: the dispatches of the step.

use crate::engine::fused::{Fused, Tiling};
use crate::engine::{Dispatch, Family, Target, turns};
use crate::graph::Dims;

/// Most seconds of a fused loop's dispatch on a slow device: drivers reset a device that does not answer.
const LONGEST: f64 = 0.25;
/// Operations a second of a workgroup on a slow device.
const SLOW: f64 = 2e9;

/// Speed of a device in loops: measured on lavapipe with two cores; for graphics processors a cautious estimate, which
/// prefers dispatches of each step.
struct Speed {
    /// Operations a second of one workgroup that walks through time.
    walking: f64,
    /// Rows that could be multiplied in the time that it takes to read the weights once.
    weights: f64,
    /// Operations a second of all workgroups of an operator's own dispatch.
    at_once: f64,
    /// Seconds that a dispatch takes in addition.
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

/// Dispatches of a loop that walks through time inside of its shader, from the dispatches of one step. Empty if an operator
/// has no such form, if the device cannot bind all buffers at once, or if it would take longer.
pub fn persistent_loop(body: &[Dispatch], dims: Dims, backward: bool, target: &Target) -> Vec<Dispatch> {
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

/// Number of examples of a workgroup: all processors have work, and each workgroup reads all weights once a step.
fn tiling(batch: usize, target: &Target) -> Tiling {
    match target.family {
        Family::Gpu => {
            let rows = batch.div_ceil(target.workers).clamp(1, 8);
            Tiling { batch, rows, lanes: 64, broadcast: false }
        }
        family => {
            // Groups of at most 32 examples, the same number of them for each processor.
            let groups = batch.div_ceil(32).next_multiple_of(target.workers);
            let own = batch.div_ceil(groups);
            // Eight lanes share rows by eights.
            let rows = if own > 4 { own.next_multiple_of(8) } else { own };
            let broadcast = matches!(family, Family::Software { subgroup: 8, .. });
            Tiling { batch, rows, lanes: 8, broadcast }
        }
    }
}
