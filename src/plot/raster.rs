//! Spike rasters: a stroke per spike, at its time and neuron.

use ndarray::{ArrayView2, Axis as Dimension};

use crate::error::Result;
use crate::plot::{Axis, Marks, Panel, Picture, Scale, check, not_finite, shown, time};

/// Most strokes in a picture; more make files that viewers cannot handle. Fewer neurons are drawn then.
const MAX_SPIKES: usize = 50_000;

/// Spike raster of a population: a stroke wherever `outputs` (steps × neurons) is neither 0 nor NaN.
///
/// Neurons are drawn in order, the first at the bottom. At most `most` neurons are drawn, or fewer if there would be more than
/// 50,000 spikes; a remark gives both numbers. Step `k` is drawn at `(k + 1) · dt` seconds. A note marks a raster without
/// spikes.
///
/// # Errors
/// No steps, no neurons, or a `dt` in seconds that is not above 0.
pub fn raster(name: &str, outputs: ArrayView2<'_, f32>, dt: f64, most: usize) -> Result<Picture> {
    check(name, outputs, dt)?;
    let (steps, neurons) = outputs.dim();
    let mut at = Vec::new();
    let mut drawn = 0;
    for (neuron, column) in outputs.axis_iter(Dimension(1)).take(most.max(1)).enumerate() {
        let before = at.len();
        let spikes = column.into_iter().enumerate().filter(|(_, x)| is_spike(**x));
        at.extend(spikes.map(|(step, _)| (time(step, dt), neuron as f64)));
        if at.len() > MAX_SPIKES && neuron > 0 {
            at.truncate(before);
            break;
        }
        drawn += 1;
    }
    let mut y = Axis::new("neuron", -0.5, drawn as f64 - 0.5);
    y.scale = Scale::Whole;
    let mut panel = Panel::new(Axis::time(steps, dt), y, (140 + 4 * drawn as u32).clamp(240, 540));
    if at.is_empty() {
        panel.note = Some("no spikes".into());
    } else {
        panel = panel.with("", 0, Marks::Ticks { at, length: 0.8 });
    }
    let shown = shown(drawn, neurons, "neurons").or_else(|| Some(count(neurons)));
    let bad = not_finite(outputs.iter().filter(|x| !x.is_finite()).count());
    let remarks = shown.into_iter().chain(bad).collect();
    Ok(Picture { title: format!("spikes of {name}"), remarks, panels: vec![panel] })
}

fn count(neurons: usize) -> String {
    if neurons == 1 { "1 neuron".into() } else { format!("{neurons} neurons") }
}

fn is_spike(x: f32) -> bool {
    x != 0.0 && x.is_finite()
}

/// True if values (steps × neurons) look like the output of spiking neurons.
///
/// This requires at least two steps, only finite values, zeros in at least half of them, and at least one other value. The
/// others must be above zero and of equal height (`1 / dt` times an amplitude) to one part in ten thousand.
///
/// Filtered spikes and rates have many heights. A population that never fires is indistinguishable from any other silent
/// object, so it does not look like spikes; a switch that is off half of the time does.
pub fn looks_like_spikes(values: ArrayView2<'_, f32>) -> bool {
    let Some(&height) = values.iter().find(|x| **x != 0.0) else { return false };
    let equal = |x: f32| (x - height).abs() <= 1e-4 * height;
    let zeros = values.iter().filter(|x| **x == 0.0).count();
    values.nrows() >= 2
        && height > 0.0
        && height.is_finite()
        && values.iter().all(|&x| x == 0.0 || equal(x))
        && zeros >= values.len() - zeros
}
