//! Histograms of firing rates.

use ndarray::{ArrayView2, Axis as Dimension};

use crate::error::Result;
use crate::plot::{Axis, Marks, Panel, Picture, Scale, check, range};

/// Histogram of the firing rates of a population. `outputs` is steps × neurons, and a neuron's rate is the mean of its output
/// over time.
///
/// Rates are in Hz if a spike has height `1 / dt`, as with Nengo's amplitude of 1. Silent neurons (output always zero) are
/// counted in a remark, not in the bars, and are excluded from the marked mean. Neurons with outputs that are not finite are
/// counted separately.
///
/// # Errors
/// No steps, no neurons, or a `dt` in seconds that is not above 0.
pub fn rates(name: &str, outputs: ArrayView2<'_, f32>, dt: f64) -> Result<Picture> {
    check(name, outputs, dt)?;
    let (steps, neurons) = outputs.dim();
    let (mut rates, mut silent) = (Vec::new(), 0);
    for column in outputs.axis_iter(Dimension(1)) {
        if column.iter().all(|x| *x == 0.0) {
            silent += 1;
        } else if column.iter().all(|x| x.is_finite()) {
            rates.push(column.iter().map(|x| f64::from(*x)).sum::<f64>() / steps as f64);
        }
    }
    let mut remarks = vec![format!("{silent} of {neurons} neurons silent")];
    let bad = neurons - silent - rates.len();
    if bad > 0 {
        remarks.push(format!("{bad} with values that are not finite"));
    }
    remarks.push(format!("over {} s", crate::plot::draw::number(steps as f64 * dt, 0.0)));
    let panel = match range(rates.iter().copied()) {
        Some(range) => bars(&rates, range),
        None => {
            let mut panel = Panel::new(Axis::new("", 0.0, 1.0), Axis::new("neurons", 0.0, 1.0), 320);
            panel.note = Some("no neuron fires".into());
            panel
        }
    };
    let mut picture = Picture { title: format!("firing rates of {name}"), remarks, panels: vec![panel] };
    picture.panels[0].x.label = "rate (Hz)".into();
    Ok(picture)
}

fn bars(rates: &[f64], (least, most): (f64, f64)) -> Panel {
    let low = least.min(0.0);
    let high = if most > low { most } else { low + 1.0 };
    // The square root of the sample size is a common choice.
    let bins = ((rates.len() as f64).sqrt().ceil() as usize).clamp(10, 50);
    let width = (high - low) / bins as f64;
    let mut counts = vec![0_usize; bins];
    for rate in rates {
        let bin = ((rate - low) / width) as usize;
        counts[bin.min(bins - 1)] += 1;
    }
    let tallest = counts.iter().copied().max().unwrap_or(0) as f64;
    let left = |bin: usize| low + bin as f64 * width;
    let bars = (0..bins).filter(|&bin| counts[bin] > 0);
    let bars = bars.map(|bin| (left(bin), left(bin + 1), counts[bin] as f64)).collect();
    let mut y = Axis::new("neurons", 0.0, 1.1 * tallest);
    y.scale = Scale::Whole;
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let name = format!("mean of {} that fire: {} Hz", rates.len(), crate::plot::draw::number(mean, 0.0));
    Panel::new(Axis::new("", low, high), y, 320).with("", 0, Marks::Bars(bars)).with(
        name,
        1,
        Marks::Line(vec![(mean, 0.0), (mean, 1.1 * tallest)]),
    )
}
