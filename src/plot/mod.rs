//! Curves as SVG files.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::error::{Error, Result};
use crate::io::atomic::write_atomic;

/// A curve with a name for the legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name.
    pub name: String,
    /// Pairs of x and y; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// Curves on common axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What the vertical axis shows.
    pub label: String,
    /// The curves; the panel is left out if none of them has points.
    pub curves: Vec<Curve>,
}

/// Colours that people with any kind of colour vision can tell apart (Okabe and Ito 2008).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];
const INK: RGBColor = RGBColor(51, 51, 51);
const GRID: RGBColor = RGBColor(225, 225, 225);
const WIDTH: u32 = 800;
const PANEL_HEIGHT: u32 = 320;
const TITLE_HEIGHT: u32 = 44;

/// Writes panels under each other, with one title, as an SVG file, atomically.
///
/// A vertical axis is logarithmic where its curves are above zero and span more than a factor of twenty.
///
/// # Errors
/// No points at all, or a file that cannot be written.
pub fn save(path: impl AsRef<Path>, title: &str, x_label: &str, panels: &[Panel]) -> Result<()> {
    let path = path.as_ref();
    let svg = draw(title, x_label, panels).map_err(|problem| Error::invalid("the plot", problem))?;
    write_atomic(path, |to| to.write_all(svg.as_bytes()))
}

fn draw(title: &str, x_label: &str, panels: &[Panel]) -> Result<String, String> {
    let finite = |curve: &Curve| Curve {
        name: curve.name.clone(),
        points: curve.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect(),
    };
    let mut shown: Vec<Panel> = Vec::new();
    for panel in panels {
        let curves: Vec<Curve> = panel.curves.iter().map(finite).filter(|c| !c.points.is_empty()).collect();
        if !curves.is_empty() {
            shown.push(Panel { label: panel.label.clone(), curves });
        }
    }
    if shown.is_empty() {
        return Err("there are no points to draw".into());
    }
    let mut svg = String::new();
    {
        let size = (WIDTH, TITLE_HEIGHT + PANEL_HEIGHT * shown.len() as u32);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(text)?;
        let area = root.titled(title, ("sans-serif", 22).into_font().color(&INK)).map_err(text)?;
        let parts = area.split_evenly((shown.len(), 1));
        for (i, (panel, area)) in shown.iter().zip(&parts).enumerate() {
            let x_label = if i + 1 == shown.len() { x_label } else { "" };
            let ys = || panel.curves.iter().flat_map(|c| &c.points).map(|p| p.1);
            let (low, high) = range(ys());
            if low > 0.0 && high / low > 20.0 {
                axes(area, panel, x_label, (low / 1.2..high * 1.2).log_scale())?;
            } else {
                let margin = if high > low { 0.06 * (high - low) } else { 0.5 * high.abs().max(1.0) };
                axes(area, panel, x_label, low - margin..high + margin)?;
            }
        }
        root.present().map_err(text)?;
    }
    Ok(svg)
}

/// One panel with a vertical axis of any kind.
fn axes<Y>(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    panel: &Panel,
    x_label: &str,
    y: Y,
) -> Result<(), String>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let (first, last) = range(panel.curves.iter().flat_map(|c| &c.points).map(|p| p.0));
    let x: Range<f64> = if last > first { first..last } else { first - 0.5..last + 0.5 };
    let mut chart = ChartBuilder::on(area)
        .margin_left(12)
        .margin_right(28)
        .margin_top(8)
        .margin_bottom(8)
        .x_label_area_size(44)
        .y_label_area_size(74)
        .build_cartesian_2d(x, y)
        .map_err(text)?;
    let font = ("sans-serif", 15).into_font().color(&INK);
    let ticks = (last - first).clamp(1.0, 10.0) as usize + 1;
    chart
        .configure_mesh()
        .x_labels(ticks)
        .y_labels(6)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .label_style(font.clone())
        .axis_desc_style(("sans-serif", 17).into_font().color(&INK))
        .x_desc(x_label)
        .y_desc(&panel.label)
        .axis_style(INK.stroke_width(1))
        .bold_line_style(GRID.stroke_width(1))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(text)?;
    for (curve, colour) in panel.curves.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        let line = LineSeries::new(curve.points.iter().copied(), style);
        let legend = move |(x, y): (i32, i32)| PathElement::new(vec![(x, y), (x + 22, y)], style);
        chart.draw_series(line).map_err(text)?.label(&curve.name).legend(legend);
        // A line of one point would not be seen, and marks show where epochs are.
        if curve.points.len() <= 40 {
            let marks = curve.points.iter().map(|p| Circle::new(*p, 3, colour.filled()));
            chart.draw_series(marks).map_err(text)?;
        }
    }
    let rises = panel.curves.iter().all(|c| c.points.last().map(|p| p.1) >= c.points.first().map(|p| p.1));
    let place = if rises { SeriesLabelPosition::LowerRight } else { SeriesLabelPosition::UpperRight };
    chart
        .configure_series_labels()
        .position(place)
        .margin(12)
        .legend_area_size(30)
        .label_font(font)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .draw()
        .map_err(text)
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

/// A number with up to three digits that matter.
fn number(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let digits = (2 - x.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let fixed = format!("{x:.digits$}");
    if fixed.contains('.') { fixed.trim_end_matches('0').trim_end_matches('.').into() } else { fixed }
}

fn text(problem: impl std::fmt::Display) -> String {
    problem.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_needless_digits() {
        let texts = [0.0, 1.0, 10.0, 0.25, 0.0123456, 1234.5, -0.5].map(number);
        assert_eq!(texts, ["0", "1", "10", "0.25", "0.0123", "1234", "-0.5"]);
    }

    #[test]
    fn curves_are_drawn_and_the_rest_is_left_out() {
        let curve = |name: &str, points: &[(f64, f64)]| Curve { name: name.into(), points: points.into() };
        let loss = Panel {
            label: "loss".into(),
            curves: vec![curve("training", &[(1.0, 2.0), (2.0, 0.01), (3.0, f64::NAN)]), curve("none", &[])],
        };
        let empty = Panel { label: "empty".into(), curves: vec![curve("nothing", &[])] };
        let svg = draw("a title", "epoch", &[loss, empty.clone()]).unwrap();
        for part in ["<svg", "a title", "epoch", "loss", "training"] {
            assert!(svg.contains(part), "{part}");
        }
        assert!(!svg.contains("nothing") && !svg.contains("NaN"));
        assert!(draw("t", "x", &[empty]).is_err());
        let one = Panel { label: "y".into(), curves: vec![curve("one point", &[(1.0, 0.5)])] };
        assert!(draw("t", "x", &[one]).unwrap().contains("one point"));
    }
}
