//! Plots of trainings and runs, as SVG and PNG files.
//!
//! A [`Picture`] is plain data. [`curves`], [`raster`], [`decoded`], [`states`], [`voltages`] and [`rates`] create one from
//! arrays, and [`Picture::save`] renders it in the format of the file's extension.
//!
//! ```
//! use ndarray::array;
//! use nengo_wgpu::plot;
//!
//! # fn main() -> nengo_wgpu::Result<()> {
//! let spikes = array![[0.0, 1000.0], [0.0, 0.0], [1000.0, 0.0]]; // steps × neurons
//! let picture = plot::raster("population", spikes.view(), 0.001, 100)?;
//! assert!(picture.svg()?.contains("population"));
//! # Ok(())
//! # }
//! ```

mod curves;
mod draw;
mod histogram;
mod png;
mod raster;
mod traces;

use std::ffi::OsStr;
use std::path::Path;

use ndarray::ArrayView2;

pub use curves::{Curve, Curves, curves};
pub use histogram::rates;
pub use raster::{looks_like_spikes, raster};
pub use traces::{decoded, states, voltages};

use crate::error::{Error, Result};
use crate::io::atomic::write_atomic;

/// A title and panels, stacked vertically.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Title.
    pub title: String,
    /// Remarks in a smaller line below the title, such as the share of the data that is shown.
    pub remarks: Vec<String>,
    /// Panels from top to bottom.
    pub panels: Vec<Panel>,
}

/// Series on common axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// Series; later ones are drawn over earlier ones.
    pub series: Vec<Series>,
    /// Text in the middle of the panel, for panels without data.
    pub note: Option<String>,
    /// Height in pixels, including the axis.
    pub height: u32,
}

/// An axis of a panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Label with the unit; may be empty.
    pub label: String,
    /// Lower end; above zero on a logarithmic axis.
    pub low: f64,
    /// Upper end, above the lower.
    pub high: f64,
    /// Scale.
    pub scale: Scale,
}

/// Scale of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Linear.
    Linear,
    /// Linear, with labels at whole numbers only.
    Whole,
    /// Logarithmic.
    Log,
}

/// Marks of one colour.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend; empty names are left out of it.
    pub name: String,
    /// Index of the colour, modulo the number of colours.
    pub colour: usize,
    /// Shape of the marks.
    pub marks: Marks,
}

/// Marks of a series. Pairs are x and y in units of the axes.
#[derive(Clone, Debug, PartialEq)]
pub enum Marks {
    /// A line through points; a point that is not finite leaves a gap.
    Line(Vec<(f64, f64)>),
    /// A dot at each point.
    Dots(Vec<(f64, f64)>),
    /// A vertical stroke at each point.
    Ticks {
        /// Middles of the strokes.
        at: Vec<(f64, f64)>,
        /// Length of a stroke on the vertical axis.
        length: f64,
    },
    /// Bars standing on zero: left, right and height.
    Bars(Vec<(f64, f64, f64)>),
}

/// Width in pixels. A PNG has twice the pixels in both directions.
const WIDTH: u32 = 800;

impl Picture {
    /// Adds a remark below the title.
    pub fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remarks.push(remark.into());
        self
    }

    /// Width and height in pixels of the SVG.
    pub fn size(&self) -> (u32, u32) {
        (WIDTH, self.panels.iter().fold(draw::TITLE_HEIGHT, |sum, panel| sum.saturating_add(panel.height)))
    }

    /// Renders the picture as the text of an SVG file.
    ///
    /// # Errors
    /// An axis that is empty, not finite, or beyond the range of `f32`.
    pub fn svg(&self) -> Result<String> {
        draw::svg(self).map_err(|problem| self.fault(problem))
    }

    /// Renders the picture as the bytes of a PNG file, with two pixels per SVG pixel in each direction.
    ///
    /// # Errors
    /// As [`Picture::svg`].
    pub fn png(&self) -> Result<Vec<u8>> {
        let (pixels, width, height) = draw::pixels(self).map_err(|problem| self.fault(problem))?;
        png::encode(&pixels, width, height).map_err(|e| self.fault(e.to_string()))
    }

    /// Writes an SVG or PNG file atomically, by its extension.
    ///
    /// # Errors
    /// Another extension, or a file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let extension = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
        let bytes = match extension.as_deref() {
            Some("svg") => self.svg()?.into_bytes(),
            Some("png") => self.png()?,
            _ => return Err(Error::file(path, "is not the name of a picture: it must end in .svg or .png")),
        };
        write_atomic(path, |to| to.write_all(&bytes))
    }

    fn fault(&self, problem: String) -> Error {
        Error::invalid(format!("the picture '{}'", self.title), problem)
    }
}

impl Axis {
    /// An axis from exactly `low` to `high`.
    fn new(label: impl Into<String>, low: f64, high: f64) -> Self {
        Self { label: label.into(), low, high, scale: Scale::Linear }
    }

    /// An axis with a margin around all finite values; from -0.5 to 0.5 without any.
    fn around(label: impl Into<String>, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = range(values).unwrap_or((0.0, 0.0));
        let largest = high.abs().max(low.abs());
        // Values that differ only by rounding count as equal.
        let even = high - low <= (1e-9 * largest).max(SMALLEST);
        let margin = if even { 0.5 * largest.max(1.0) } else { 0.06 * (high - low) };
        Self::new(label, low - margin, high + margin)
    }

    /// Rejects axes that cannot be drawn.
    fn check(&self) -> std::result::Result<(), String> {
        let (low, high) = (self.low, self.high);
        let largest = high.abs().max(low.abs());
        let drawable = match self.scale {
            Scale::Log => low >= SMALLEST && high > low && high <= LARGEST,
            _ => largest <= LARGEST && high - low >= (1e-12 * largest).max(SMALLEST / 10.0),
        };
        let problem = || format!("the axis '{}' from {low} to {high} cannot be drawn", self.label);
        if drawable { Ok(()) } else { Err(problem()) }
    }

    /// Axis of simulated time over `steps` steps.
    fn time(steps: usize, dt: f64) -> Self {
        Self::new("time (s)", 0.0, steps as f64 * dt)
    }
}

impl Panel {
    fn new(x: Axis, y: Axis, height: u32) -> Self {
        Self { x, y, series: Vec::new(), note: None, height }
    }

    fn with(mut self, name: impl Into<String>, colour: usize, marks: Marks) -> Self {
        self.series.push(Series { name: name.into(), colour, marks });
        self
    }
}

/// Bounds of all `f32` values. plotters does not terminate for the ticks of axes far outside them.
const SMALLEST: f64 = 1e-60;
const LARGEST: f64 = 1e60;

/// Smallest and largest finite value.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|v| v.is_finite()).fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((low, high)) => Some((v.min(low), v.max(high))),
    })
}

/// Time at the end of a step, as Nengo's probes define it.
fn time(step: usize, dt: f64) -> f64 {
    (step + 1) as f64 * dt
}

/// Rejects arrays without steps or columns, and invalid time steps.
fn check(what: &str, array: ArrayView2<'_, f32>, dt: f64) -> Result<()> {
    let subject = || format!("the picture of '{what}'");
    if array.is_empty() {
        let (steps, columns) = array.dim();
        let problem = format!("there is nothing to draw: the array is {steps} steps × {columns} columns");
        return Err(Error::invalid(subject(), problem));
    }
    let seconds = dt * array.nrows() as f64;
    if !(dt > 0.0 && seconds.is_finite()) {
        return Err(Error::invalid(subject(), format!("dt is {dt} s, but must be above 0 and finite")));
    }
    Ok(())
}

/// Remark on the number of values that are not finite, if any.
fn not_finite(count: usize) -> Option<String> {
    match count {
        0 => None,
        1 => Some("1 value is not finite".into()),
        _ => Some(format!("{count} values are not finite")),
    }
}

/// Remark on the share that is shown, if it is not all.
fn shown(shown: usize, all: usize, what: &str) -> Option<String> {
    (shown < all).then(|| format!("the first {shown} of {all} {what}"))
}
