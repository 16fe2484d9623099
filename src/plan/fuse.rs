//! Which loops walk through time inside of their shader, and with how many examples a workgroup.

use crate::engine::fused::{Fused, Tiling};
use crate::engine::{Dispatch, Family, Target};
use crate::graph::Dims;

/// Seconds that a dispatch of a fused loop may take on a slow device: drivers reset one that keeps the screen for long.
const LONGEST: f64 = 0.25;
/// Operations a second of a workgroup on a slow device.
const SLOW: f64 = 2e9;

/// What a device takes for a loop, measured on lavapipe and estimated for graphics processors.
struct Speed {
    /// Operations a second of one workgroup that walks through time.
    walking: f64,
    /// Seconds that the lanes of a workgroup wait for each other between two operators.
    waiting: f64,
    /// Operations a second of all workgroups of an operator's own dispatch.
    at_once: f64,
    /// Seconds of a dispatch besides.
    dispatch: f64,
}

impl Speed {
    fn of(target: &Target) -> Self {
        match target.family {
            Family::Gpu => Self { walking: 5e10, waiting: 1e-6, at_once: 1e12, dispatch: 5e-6 },
            _ => {
                Self { walking: 1e10, waiting: 1e-6, at_once: 1e10 * target.workers as f64, dispatch: 1.5e-5 }
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
    let turns = groups.div_ceil(target.workers) as f64;
    let tile = turns * fused.work() * tiling.rows as f64;
    let speed = Speed::of(target);
    let calls = body.len() as f64;
    let inside = tile / speed.walking + calls * speed.waiting;
    let outside = fused.work() * dims.batch as f64 / speed.at_once + calls * speed.dispatch;
    if inside > outside || groups > 65_535 {
        return Vec::new();
    }
    fused.dispatches(dims.steps, ((LONGEST * SLOW / tile) as usize).max(1))
}

/// As many examples to a workgroup that all processors have work: each workgroup reads all weights once a step.
fn tiling(batch: usize, target: &Target) -> Tiling {
    match target.family {
        Family::Gpu => {
            let rows = batch.div_ceil(target.workers).clamp(1, 8);
            Tiling { batch, rows, lanes: 64, broadcast: false }
        }
        family => {
            let own = batch.div_ceil(target.workers).clamp(1, 32);
            // Eight lanes share rows by eights.
            let rows = if own > 4 { own.next_multiple_of(8) } else { own };
            let broadcast = matches!(family, Family::Software { subgroup: 8, .. });
            Tiling { batch, rows, lanes: 8, broadcast }
        }
    }
}
