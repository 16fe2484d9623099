//! Pictures of trainings and runs, as SVG and PNG files.
//!
//! A [`Picture`] is plain data. [`curves`], [`raster`], [`decoded`], [`states`], [`voltages`] and [`rates`] make one from arrays, and
//! [`Picture::save`] paints it in the format that the file's name asks for.
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

/// Panels under each other, with a title.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// What is shown.
    pub title: String,
    /// Remarks for a smaller line below the title, such as how much of the data is shown.
    pub remarks: Vec<String>,
    /// The panels, from above.
    pub panels: Vec<Panel>,
}

/// Series on common axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn, the first at the bottom.
    pub series: Vec<Series>,
    /// Words in the middle of the panel, where there is nothing to draw.
    pub note: Option<String>,
    /// Height in pixels, axis included.
    pub height: u32,
}

/// An axis of a panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it shows, with the unit; may be empty.
    pub label: String,
    /// The lower end; above zero on a logarithmic axis.
    pub low: f64,
    /// The upper end, above the lower.
    pub high: f64,
    /// How values are laid out on it.
    pub scale: Scale,
}

/// How values are laid out on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// Evenly, with labels at whole numbers alone.
    Whole,
    /// By their logarithm.
    Log,
}

/// Marks of one colour.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend; without a name it is not there.
    pub name: String,
    /// Index into the colours, which repeat.
    pub colour: usize,
    /// The marks.
    pub marks: Marks,
}

/// What a series is drawn with. Pairs are x and y in the units of the axes.
#[derive(Clone, Debug, PartialEq)]
pub enum Marks {
    /// A line through points; a point that is not finite leaves a gap.
    Line(Vec<(f64, f64)>),
    /// A dot at each point.
    Dots(Vec<(f64, f64)>),
    /// An upright stroke at each point.
    Ticks {
        /// The middles of the strokes.
        at: Vec<(f64, f64)>,
        /// Their length on the vertical axis.
        length: f64,
    },
    /// Bars on zero: left, right and height.
    Bars(Vec<(f64, f64, f64)>),
}

/// Pixels from side to side; a PNG has twice as many, and twice as many from top to bottom.
const WIDTH: u32 = 800;

impl Picture {
    /// With a further remark below the title.
    pub fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remarks.push(remark.into());
        self
    }

    /// Width and height in pixels, as an SVG gives them.
    pub fn size(&self) -> (u32, u32) {
        (WIDTH, self.panels.iter().fold(draw::TITLE_HEIGHT, |sum, panel| sum.saturating_add(panel.height)))
    }

    /// The text of an SVG file.
    ///
    /// # Errors
    /// An axis that is empty, not finite, or outside of what float32 can hold.
    pub fn svg(&self) -> Result<String> {
        draw::svg(self).map_err(|problem| self.fault(problem))
    }

    /// The bytes of a PNG file, with two pixels for each of an SVG.
    ///
    /// # Errors
    /// As [`Picture::svg`].
    pub fn png(&self) -> Result<Vec<u8>> {
        let (pixels, width, height) = draw::pixels(self).map_err(|problem| self.fault(problem))?;
        png::encode(&pixels, width, height).map_err(|e| self.fault(e.to_string()))
    }

    /// Writes a file, atomically: SVG or PNG, as the extension of its name says.
    ///
    /// # Errors
    /// Another extension, or a file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let extension = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
        let bytes = match extension.as_deref() {
            Some("svg") => self.svg()?.into_bytes(),
            Some("png") => self.png()?,
            _ => return Err(Error::file(path, "is no name for a picture: it must end in .svg or .png")),
        };
        write_atomic(path, |to| to.write_all(&bytes))
    }

    fn fault(&self, problem: String) -> Error {
        Error::invalid(format!("the picture '{}'", self.title), problem)
    }
}

impl Axis {
    /// An axis from `low` to `high` exactly.
    fn new(label: impl Into<String>, low: f64, high: f64) -> Self {
        Self { label: label.into(), low, high, scale: Scale::Linear }
    }

    /// An axis with room around all finite values; from -0.5 to 0.5 without any.
    fn around(label: impl Into<String>, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = range(values).unwrap_or((0.0, 0.0));
        let largest = high.abs().max(low.abs());
        // Where rounding would show, the values count as one.
        let even = high - low <= (1e-9 * largest).max(LEAST);
        let margin = if even { 0.5 * largest.max(1.0) } else { 0.06 * (high - low) };
        Self::new(label, low - margin, high + margin)
    }

    /// Refuses what cannot be drawn.
    fn check(&self) -> std::result::Result<(), String> {
        let (low, high) = (self.low, self.high);
        let largest = high.abs().max(low.abs());
        let drawable = match self.scale {
            Scale::Log => low >= LEAST && high > low && high <= MOST,
            _ => largest <= MOST && high - low >= (1e-12 * largest).max(LEAST / 10.0),
        };
        let problem = || format!("the axis '{}' from {low} to {high} cannot be drawn", self.label);
        if drawable { Ok(()) } else { Err(problem()) }
    }

    /// Simulated time of so many steps.
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

/// All float32 lie within these. plotters looks for the ticks of axes that are much shorter or longer without end.
const LEAST: f64 = 1e-60;
const MOST: f64 = 1e60;

/// The least and the greatest finite value.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|v| v.is_finite()).fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((low, high)) => Some((v.min(low), v.max(high))),
    })
}

/// The time at the end of a step, as Nengo's probes give it.
fn time(step: usize, dt: f64) -> f64 {
    (step + 1) as f64 * dt
}

/// Refuses arrays without steps or columns and time steps that are none.
fn check(what: &str, array: ArrayView2<'_, f32>, dt: f64) -> Result<()> {
    let of = || format!("the picture of '{what}'");
    if array.is_empty() {
        let (steps, columns) = array.dim();
        let problem = format!("there is nothing to draw: the array is {steps} steps × {columns} columns");
        return Err(Error::invalid(of(), problem));
    }
    let seconds = dt * array.nrows() as f64;
    if !(dt > 0.0 && seconds.is_finite()) {
        return Err(Error::invalid(of(), format!("dt is {dt} s, but must be above 0 and finite")));
    }
    Ok(())
}

/// A remark on values that are not drawn, if there are any.
fn not_finite(count: usize) -> Option<String> {
    match count {
        0 => None,
        1 => Some("1 value is not finite".into()),
        _ => Some(format!("{count} values are not finite")),
    }
}

/// A remark on what is shown, if that is not all.
fn shown(shown: usize, all: usize, what: &str) -> Option<String> {
    (shown < all).then(|| format!("the first {shown} of {all} {what}"))
}
