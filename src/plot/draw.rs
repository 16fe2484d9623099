//! Rendering with plotters, shared by all kinds of pictures: axes, colours and fonts.

use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::plot::{Axis, Marks, Panel, Picture, Scale, Series};

/// Colours that are distinguishable with any kind of colour vision (Okabe and Ito 2008).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];
const INK: RGBColor = RGBColor(51, 51, 51);
const PALE: RGBColor = RGBColor(110, 110, 110);
const GRID: RGBColor = RGBColor(225, 225, 225);
/// Height of title and remarks in pixels.
pub const TITLE_HEIGHT: u32 = 60;
/// Subdivision of an SVG's pixels. plotters uses whole pixels; a finer grid keeps lines smooth.
const FINE: u32 = 8;
/// Enlargement of a PNG, for high-resolution screens.
const SHARP: u32 = 2;
/// Longest title and longest remark in characters; longer ones are cut to stay within the picture.
const MAX_CHARS: (usize, usize) = (64, 110);

/// Font for machines without fonts (see `font/LICENSE`). An SVG uses the viewer's font, but is laid out with the widths of
/// this one.
static FONT: &[u8] = include_bytes!("font/DejaVuSans-subset.ttf");

/// Registers the font with plotters, once per process.
fn load_font() -> Result<(), String> {
    static LOADED: OnceLock<bool> = OnceLock::new();
    let load = || register_font("sans-serif", FontStyle::Normal, FONT).is_ok();
    if *LOADED.get_or_init(load) { Ok(()) } else { Err("the built-in font cannot be read".into()) }
}

/// Renders the picture as SVG.
pub fn svg(picture: &Picture) -> Result<String, String> {
    let (width, height) = picture.size();
    let mut svg = String::new();
    let fine = (width * FINE, height.checked_mul(FINE).ok_or("it is too tall")?);
    paint(&SVGBackend::with_string(&mut svg, fine).into_drawing_area(), picture, FINE as i32, false)?;
    let size = |(width, height): (u32, u32)| format!("width=\"{width}\" height=\"{height}\"");
    Ok(svg.replacen(&size(fine), &size((width, height)), 1))
}

/// Renders the picture as RGB pixels of three bytes; also returns width and height.
pub fn pixels(picture: &Picture) -> Result<(Vec<u8>, u32, u32), String> {
    let (width, height) = picture.size();
    // Bounds the memory, and stays below the limit of PNG viewers.
    let height = height.checked_mul(SHARP).filter(|h| *h <= 1 << 15).ok_or("it is too tall for a PNG")?;
    let width = width * SHARP;
    let mut pixels = vec![0; 3 * width as usize * height as usize];
    let backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
    paint(&backend.into_drawing_area(), picture, SHARP as i32, true)?;
    Ok((pixels, width, height))
}

type Area<DB> = DrawingArea<DB, Shift>;

/// Paints a picture on an area that is `k` times its size; `pixels` is true for raster images.
fn paint<DB: DrawingBackend>(root: &Area<DB>, picture: &Picture, k: i32, pixels: bool) -> Result<(), String> {
    load_font()?;
    picture.panels.iter().try_for_each(|panel| panel.x.check().and(panel.y.check()))?;
    root.fill(&WHITE).map_err(text)?;
    let (head, mut rest) = root.split_vertically(TITLE_HEIGHT as i32 * k);
    let middle = |y: i32| (crate::plot::WIDTH as i32 * k / 2, y * k);
    let centred = Pos::new(HPos::Center, VPos::Center);
    let title = fit(&picture.title, MAX_CHARS.0);
    head.draw_text(&title, &font(20 * k, &INK).pos(centred), middle(20)).map_err(text)?;
    let remarks = fit(&picture.remarks.join("; "), MAX_CHARS.1);
    if !remarks.is_empty() {
        head.draw_text(&remarks, &font(13 * k, &PALE).pos(centred), middle(43)).map_err(text)?;
    }
    for panel in &picture.panels {
        let (area, below) = rest.split_vertically(panel.height as i32 * k);
        match panel.y.scale {
            Scale::Log => paint_panel(&area, panel, (panel.y.low..panel.y.high).log_scale(), k, pixels)?,
            _ => paint_panel(&area, panel, panel.y.low..panel.y.high, k, pixels)?,
        }
        rest = below;
    }
    root.present().map_err(text)
}

fn font(size: i32, colour: &RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(colour)
}

/// Paints one panel with a vertical axis of any type.
fn paint_panel<DB: DrawingBackend, Y>(
    area: &Area<DB>,
    panel: &Panel,
    y: Y,
    k: i32,
    pixels: bool,
) -> Result<(), String>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let named = !panel.x.label.is_empty();
    let mut chart = ChartBuilder::on(area)
        .margin_left(12 * k)
        .margin_right(28 * k)
        .margin_top(6 * k)
        .margin_bottom(6 * k)
        .x_label_area_size(if named { 48 * k } else { 24 * k })
        .y_label_area_size(74 * k)
        .build_cartesian_2d(panel.x.low..panel.x.high, y)
        .map_err(text)?;
    let line = k as u32;
    let ticks = |axis: &Axis, most: usize| match axis.scale {
        Scale::Whole => ((axis.high - axis.low) as usize).clamp(1, most),
        _ => most,
    };
    chart
        .configure_mesh()
        .x_labels(ticks(&panel.x, 11))
        .y_labels(ticks(&panel.y, (panel.height as usize / 50).clamp(3, 8)))
        .x_label_formatter(&|x| label(*x, &panel.x))
        .y_label_formatter(&|y| label(*y, &panel.y))
        .set_all_tick_mark_size(5 * k)
        .label_style(font(13 * k, &INK))
        .axis_desc_style(font(15 * k, &INK))
        .x_desc(panel.x.label.as_str())
        .y_desc(fit(&panel.y.label, (panel.height / 10) as usize))
        .axis_style(INK.stroke_width(line))
        .bold_line_style(GRID.stroke_width(line))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(text)?;
    for series in &panel.series {
        paint_series(&mut chart, series, k, pixels)?;
    }
    if let Some(note) = &panel.note {
        let inside = chart.plotting_area().strip_coord_spec();
        let (width, height) = inside.dim_in_pixel();
        let style = font(15 * k, &PALE).pos(Pos::new(HPos::Center, VPos::Center));
        inside.draw_text(note, &style, (width as i32 / 2, height as i32 / 2)).map_err(text)?;
    }
    if panel.series.iter().any(|s| !s.name.is_empty()) {
        chart
            .configure_series_labels()
            .position(legend_position(panel))
            .margin((10 * k) as u32)
            .legend_area_size((30 * k) as u32)
            .label_font(font(13 * k, &INK))
            .background_style(WHITE.mix(0.85))
            .border_style(GRID.stroke_width(line))
            .draw()
            .map_err(text)?;
    }
    Ok(())
}

/// The chart of a panel.
type Chart<'a, DB, Y> = ChartContext<'a, DB, Cartesian2d<RangedCoordf64, Y>>;

/// Paints the marks of a series, and adds it to the legend if it has a name.
fn paint_series<DB: DrawingBackend, Y: Ranged<ValueType = f64>>(
    chart: &mut Chart<'_, DB, Y>,
    series: &Series,
    k: i32,
    pixels: bool,
) -> Result<(), String> {
    let line = k as u32;
    let colour = COLOURS[series.colour % COLOURS.len()];
    let style = colour.stroke_width(2 * line);
    let drawn = match &series.marks {
        Marks::Line(points) => {
            let runs = points.split(|(x, y)| !(x.is_finite() && y.is_finite())).filter(|r| !r.is_empty());
            if pixels {
                // plotters draws the corners of thick lines in pixels as long spikes. Draw each piece separately, and
                // a dot on each point to round the corner.
                let pieces = runs.clone().flat_map(|run| run.windows(2));
                let pieces = pieces.map(|piece| PathElement::new(piece.to_vec(), style));
                chart.draw_series(pieces).map_err(text)?;
                let dots = runs.flatten().map(|p| Circle::new(*p, line as i32, colour.filled()));
                chart.draw_series(dots)
            } else {
                chart.draw_series(runs.map(|run| PathElement::new(run.to_vec(), style)))
            }
        }
        Marks::Dots(points) => {
            chart.draw_series(points.iter().map(|p| Circle::new(*p, 3 * k, colour.filled())))
        }
        Marks::Ticks { at, length } => {
            let ends = |(x, y): (f64, f64)| vec![(x, y - length / 2.0), (x, y + length / 2.0)];
            let thin = colour.stroke_width(line);
            chart.draw_series(at.iter().map(|p| PathElement::new(ends(*p), thin)))
        }
        Marks::Bars(bars) => {
            let bar = |&(left, right, height): &(f64, f64, f64)| {
                let mut bar = Rectangle::new([(left, 0.0), (right, height)], colour.mix(0.7).filled());
                bar.set_margin(0, 0, line, 0);
                bar
            };
            chart.draw_series(bars.iter().map(bar))
        }
    };
    let drawn = drawn.map_err(text)?;
    if !series.name.is_empty() {
        let stroke = move |(x, y): (i32, i32)| PathElement::new(vec![(x, y), (x + 22 * k, y)], style);
        drawn.label(fit(&series.name, 40)).legend(stroke);
    }
    Ok(())
}

/// Legend position: at the bottom if all lines rise, else at the top.
fn legend_position(panel: &Panel) -> SeriesLabelPosition {
    let rises = |marks: &Marks| match marks {
        Marks::Line(points) => points.last().map(|p| p.1) >= points.first().map(|p| p.1),
        _ => true,
    };
    let bars = panel.series.iter().any(|s| matches!(s.marks, Marks::Bars(_)));
    if !bars && panel.series.iter().all(|s| rises(&s.marks)) {
        SeriesLabelPosition::LowerRight
    } else {
        SeriesLabelPosition::UpperRight
    }
}

/// Label of a tick.
fn label(x: f64, axis: &Axis) -> String {
    match axis.scale {
        Scale::Linear => number(x, axis.high - axis.low),
        Scale::Whole if (x - x.round()).abs() < 1e-6 => format!("{x:.0}"),
        Scale::Whole => String::new(),
        Scale::Log => number(x, 0.0),
    }
}

/// Formats a number with up to three significant digits, or more if the axis has a small `span` (0: none).
pub fn number(x: f64, span: f64) -> String {
    let magnitude = |x: f64| x.abs().log10().floor();
    // Rounding residues of zero are zero.
    if x == 0.0 || x.abs() < 1e-9 * span {
        return "0".into();
    }
    let last = if span > 0.0 { (magnitude(x) - 2.0).min(magnitude(span) - 1.0) } else { magnitude(x) - 2.0 };
    let trimmed = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_string();
    if !(1e-4..1e6).contains(&x.abs()) {
        let digits = (magnitude(x) - last).clamp(0.0, 9.0) as usize;
        let text = format!("{x:.digits$e}");
        return match text.split_once('e') {
            Some((m, e)) if m.contains('.') => format!("{}e{e}", trimmed(m)),
            _ => text,
        };
    }
    let digits = (-last).clamp(0.0, 9.0) as usize;
    let fixed = format!("{x:.digits$}");
    if fixed.contains('.') { trimmed(&fixed) } else { fixed }
}

/// Cuts to at most `most` characters, and replaces characters that files cannot contain.
fn fit(text: &str, most: usize) -> String {
    let plain = |c: char| if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) { ' ' } else { c };
    if text.chars().count() <= most {
        return text.chars().map(plain).collect();
    }
    text.chars().map(plain).take(most.saturating_sub(1)).chain(['…']).collect()
}

fn text(problem: impl std::fmt::Display) -> String {
    problem.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_needless_digits() {
        let texts =
            [0.0, 1.0, 10.0, 0.25, 0.0123456, 1234.5, -0.5, 1e-7, -2.5e9, 1e6].map(|x| number(x, 0.0));
        assert_eq!(texts, ["0", "1", "10", "0.25", "0.0123", "1234", "-0.5", "1e-7", "-2.5e9", "1e6"]);
    }

    #[test]
    fn ticks_of_a_short_axis_are_distinct() {
        assert_eq!([10.01, 10.02].map(|x| number(x, 0.05)), ["10.01", "10.02"]);
        assert_eq!([1e6 + 1.0, 1e6 + 2.0].map(|x| number(x, 4.0)), ["1.000001e6", "1.000002e6"]);
        assert_eq!(number(1e-17, 1.0), "0");
    }

    #[test]
    fn long_titles_are_cut_and_line_breaks_are_not_drawn() {
        assert_eq!(fit("a\nb\u{1}c", 10), "a b c");
        assert_eq!(fit("µµµµµ", 3), "µµ…");
    }
}
