//! Traces over time: decoded output with its targets, membrane voltages and other neuron states.

use ndarray::{ArrayView1, ArrayView2, Axis as Dimension};

use crate::error::{Error, Result};
use crate::plot::{Axis, Marks, Panel, Picture, Scale, check, not_finite, range, shown, time};

/// Most stretches of a trace; longer traces are drawn as the minimum and maximum of each stretch, which looks the same.
const STRETCHES: usize = 2000;
/// Most steps of a run that are marked individually.
const MAX_DOTS: usize = 40;
/// Most dimensions of a single step that are drawn.
const MAX_BARS: usize = 1000;

/// Plots an output over time, with one panel per dimension and optional targets behind it.
///
/// `output` and `target` are (steps, dimensions); a target with one row holds for all steps. NaN in a target means no
/// target; NaN in an output leaves a gap and is counted in a remark. At most `most` panels are drawn; a remark gives both
/// numbers. Step `k` is drawn at `(k + 1) · dt` seconds.
///
/// The values of a single step are drawn as bars side by side, at most 1000, and its targets as dots.
///
/// # Errors
/// No steps, no dimensions, a `dt` in seconds that is not above 0, or a target of another shape.
pub fn decoded(
    name: &str,
    output: ArrayView2<'_, f32>,
    target: Option<ArrayView2<'_, f32>>,
    dt: f64,
    most: usize,
) -> Result<Picture> {
    check(name, output, dt)?;
    let (steps, size) = output.dim();
    let target = match target {
        Some(t) if t.ncols() == size && (t.nrows() == 1 || t.nrows() == steps) => {
            Some(t.broadcast((steps, size)).map_or_else(|| t.to_owned(), |t| t.to_owned()))
        }
        Some(t) => {
            let shape = |a: ArrayView2<'_, f32>| format!("{} steps × {} dimensions", a.nrows(), a.ncols());
            return Err(Error::shape(
                format!("the output of '{name}'"),
                shape(output),
                "its target",
                shape(t),
            ));
        }
        None => None,
    };
    if steps == 1 {
        return Ok(one_step(name, output.row(0), target.as_ref().map(|t| t.row(0))));
    }
    let panels = size.min(most.max(1));
    let mut picture = Picture { title: name.into(), remarks: Vec::new(), panels: Vec::new() };
    picture.remarks.extend(shown(panels, size, "dimensions"));
    picture.remarks.extend(not_finite(output.iter().filter(|x| !x.is_finite()).count()));
    for dimension in 0..panels {
        let output = output.index_axis(Dimension(1), dimension);
        let target = target.as_ref().map(|t| t.index_axis(Dimension(1), dimension));
        let values = output.iter().chain(target.iter().flatten()).map(|x| f64::from(*x));
        let label = if size == 1 { String::new() } else { format!("dimension {dimension}") };
        let mut panel = Panel::new(Axis::time(steps, dt), Axis::around(label, values), 180);
        if size == 1 {
            panel.height = 320;
        }
        if dimension + 1 < panels {
            panel.x.label.clear();
            panel.height -= 24;
        }
        let alone = target.is_none();
        for (series, colour, values) in [("target", 1, target), ("output", 0, Some(output))] {
            let Some(values) = values else { continue };
            let points = points(values, dt, 0.0);
            if steps <= MAX_DOTS {
                let finite = points.iter().copied().filter(|p| p.1.is_finite()).collect();
                panel = panel.with("", colour, Marks::Dots(finite));
            }
            // One legend suffices.
            let series = if alone || dimension > 0 { "" } else { series };
            panel = panel.with(series, colour, Marks::Line(points));
        }
        if output.iter().all(|x| !x.is_finite()) {
            panel.note = Some("no finite values".into());
        }
        picture.panels.push(panel);
    }
    Ok(picture)
}

/// Plots the values of a single step over their dimensions.
fn one_step(name: &str, output: ArrayView1<'_, f32>, target: Option<ArrayView1<'_, f32>>) -> Picture {
    let drawn = output.len().min(MAX_BARS);
    let points = |values: ArrayView1<'_, f32>| -> Vec<(f64, f64)> {
        let all = values.iter().take(drawn).enumerate().map(|(i, x)| (i as f64, f64::from(*x)));
        all.filter(|p| p.1.is_finite()).collect()
    };
    let (bars, dots) = (points(output), target.map(points).unwrap_or_default());
    let heights = bars.iter().chain(&dots).map(|p| p.1).chain([0.0]);
    let mut x = Axis::new("dimension", -0.5, drawn as f64 - 0.5);
    x.scale = Scale::Whole;
    let mut panel = Panel::new(x, Axis::around("", heights), 320);
    if bars.is_empty() {
        panel.note = Some("no finite values".into());
    }
    let alone = dots.is_empty();
    let bars = bars.into_iter().map(|(i, height)| (i - 0.4, i + 0.4, height)).collect();
    panel = panel.with(if alone { "" } else { "output" }, 0, Marks::Bars(bars));
    if !alone {
        panel = panel.with("target", 1, Marks::Dots(dots));
    }
    let mut picture = Picture { title: name.into(), remarks: Vec::new(), panels: vec![panel] };
    picture.remarks.extend(shown(drawn, output.len(), "dimensions"));
    picture.remarks.extend(not_finite(output.iter().filter(|x| !x.is_finite()).count()));
    picture
}

/// Plots membrane voltages (steps × neurons), as [`states`] does.
///
/// # Errors
/// As [`states`].
pub fn voltages(name: &str, voltages: ArrayView2<'_, f32>, dt: f64, most: usize) -> Result<Picture> {
    states(name, "voltage", voltages, dt, most)
}

/// Plots a neuron state (steps × neurons), named `state`. Neurons are stacked, the first at the bottom, each with its own zero
/// line.
///
/// The lines are separated by the largest swing of a neuron, rounded up. At most `most` neurons are drawn; a remark gives both
/// numbers.
///
/// # Errors
/// No steps, no neurons, or a `dt` in seconds that is not above 0.
pub fn states(name: &str, state: &str, values: ArrayView2<'_, f32>, dt: f64, most: usize) -> Result<Picture> {
    check(name, values, dt)?;
    let (steps, neurons) = values.dim();
    let drawn = neurons.min(most.max(1));
    let columns = || values.axis_iter(Dimension(1)).take(drawn);
    let ranges = columns().filter_map(|v| range(v.iter().map(|x| f64::from(*x))));
    // Each swing includes zero, so that a trace does not cross the next zero line.
    let swing = ranges.map(|(low, high)| high.max(0.0) - low.min(0.0)).fold(0.0, f64::max);
    let apart = if swing > 0.0 { round_up(swing) } else { 1.0 };
    let lines: Vec<Vec<(f64, f64)>> =
        columns().enumerate().map(|(i, v)| points(v, dt, i as f64 * apart)).collect();
    let state = state.replace('_', " ");
    let label = match drawn {
        1 => state.clone(),
        _ => format!("{state}, {} apart", crate::plot::draw::number(apart, 0.0)),
    };
    let y = Axis::around(label, lines.iter().flatten().map(|p| p.1));
    let mut panel = Panel::new(Axis::time(steps, dt), y, (140 + 40 * drawn as u32).clamp(240, 640));
    if lines.iter().flatten().all(|p| !p.1.is_finite()) {
        panel.note = Some("no finite values".into());
    }
    for (i, line) in lines.into_iter().enumerate() {
        panel = panel.with("", i, Marks::Line(line));
    }
    let mut picture =
        Picture { title: format!("{state} of {name}"), remarks: Vec::new(), panels: vec![panel] };
    picture.remarks.extend(shown(drawn, neurons, "neurons"));
    picture.remarks.extend(not_finite(values.iter().filter(|x| !x.is_finite()).count()));
    Ok(picture)
}

/// Rounds up to a multiple of half the number's power of ten.
fn round_up(x: f64) -> f64 {
    let half = 10.0_f64.powf(x.log10().floor()) / 2.0;
    (x / half).ceil() * half
}

/// Pairs of time and value + `offset`; long traces are reduced to the minimum and maximum of each stretch, in order of time.
fn points(values: ArrayView1<'_, f32>, dt: f64, offset: f64) -> Vec<(f64, f64)> {
    let all = || values.iter().enumerate().map(|(step, x)| (time(step, dt), f64::from(*x) + offset));
    if values.len() <= 2 * STRETCHES {
        return all().collect();
    }
    let all: Vec<(f64, f64)> = all().collect();
    let mut points = Vec::with_capacity(2 * STRETCHES);
    for stretch in all.chunks(values.len().div_ceil(STRETCHES)) {
        let finite = || stretch.iter().copied().filter(|p| p.1.is_finite());
        let least = finite().min_by(|a, b| a.1.total_cmp(&b.1));
        let greatest = finite().max_by(|a, b| a.1.total_cmp(&b.1));
        match (least, greatest) {
            (Some(a), Some(b)) if a.0 < b.0 => points.extend([a, b]),
            (Some(a), Some(b)) if a.0 > b.0 => points.extend([b, a]),
            (Some(a), Some(_)) => points.push(a),
            _ => points.push((stretch[0].0, f64::NAN)),
        }
    }
    points
}
