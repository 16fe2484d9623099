//! Spike rasters: a stroke for each spike, at its time and its neuron.

use ndarray::{ArrayView2, Axis as Dimension};

use crate::error::Result;
use crate::plot::{Axis, Marks, Panel, Picture, Scale, check, not_finite, shown, time};

/// More strokes than this make files that no viewer likes; fewer neurons are shown then.
const MOST_SPIKES: usize = 50_000;

/// The spikes of a population: a stroke at each time and neuron where `outputs` (steps × neurons) is neither 0 nor NaN.
///
/// Neurons are drawn in their order, the first at the bottom, and at most `most` of them, or fewer if the picture would
/// have more than fifty thousand spikes; a remark tells how many of how many. Step `k` is drawn at `(k + 1) · dt`
/// seconds. Without a spike the picture says so.
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
        if at.len() > MOST_SPIKES && neuron > 0 {
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

/// Whether values (steps × neurons) look like the output of spiking neurons: there are at least two steps, all values
/// are finite, at least half of them are exactly zero, and the others, of which there is at least one, are above zero
/// and have the same height (`1 / dt` times an amplitude) to one part in ten thousand.
///
/// Filtered spikes and rates have many heights. A population that never fires cannot be told from any other silent
/// object and does not look like spikes; a switch that is off for half of the time does.
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
