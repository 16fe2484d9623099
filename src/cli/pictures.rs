//! `--plot`: pictures of a run and of training curves.

use std::path::PathBuf;

use clap::ValueEnum;
use ndarray::{Array2, ArrayView2, Axis, s};
use nengo_wgpu::network::Target;
use nengo_wgpu::plot::{self, Picture};
use nengo_wgpu::{Data, Result, Signal, Simulator};

use super::places::Places;
use super::record::Record;

/// Destination of pictures.
#[derive(clap::Args)]
pub struct PlotArgs {
    /// Directory for pictures
    #[arg(long = "plot", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Format of the pictures
    #[arg(long = "plot-format", value_name = "FORMAT", default_value = "svg", requires = "dir")]
    format: Format,
}

/// Picture formats.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Svg,
    Png,
    Both,
}

/// Most panels of a trace picture (enough for all digits), neurons with drawn states, and neurons of a raster.
const MAX_PANELS: usize = 10;
const MAX_STATES: usize = 12;
const MAX_NEURONS: usize = 100;

/// A directory for pictures.
pub struct Pictures {
    pub dir: PathBuf,
    extensions: &'static [&'static str],
}

impl PlotArgs {
    /// Creates and locks the directory if pictures are requested, so that problems show before a long run.
    pub fn open(&self, places: &mut Places) -> Result<Option<Pictures>> {
        let Some(dir) = &self.dir else { return Ok(None) };
        places.take(dir)?;
        let extensions: &[&str] = match self.format {
            Format::Svg => &["svg"],
            Format::Png => &["png"],
            Format::Both => &["svg", "png"],
        };
        Ok(Some(Pictures { dir: dir.clone(), extensions }))
    }
}

impl Pictures {
    /// Writes a picture as `stem` with the extension of each format.
    pub fn save(&self, stem: &str, picture: &Picture) -> Result<()> {
        self.extensions.iter().try_for_each(|ext| picture.save(self.dir.join(format!("{stem}.{ext}"))))
    }

    /// Writes pictures of each probe's recording of the first of `examples` examples.
    pub fn probes(
        &self,
        sim: &Simulator,
        record: &mut Record,
        targets: &Data,
        examples: usize,
    ) -> Result<()> {
        let network = sim.network();
        for (probe, stem, rows) in record.first_examples()? {
            let (name, every) = (network.probe_name(probe), sim.sample_every(probe));
            let rows = rows.index_axis(Axis(0), 0);
            if rows.is_empty() {
                super::note(&format!(
                    "no picture of probe '{name}': the run ends before its first row is due"
                ));
                continue;
            }
            let dt = every as f64 * sim.dt();
            match network.probe_target(probe) {
                // A single step has no time axis.
                Some(Target::State(_, state)) if rows.nrows() > 1 => {
                    let picture = plot::states(name, state, rows, dt, MAX_STATES)?;
                    self.save(&stem, &of_examples(picture, examples))?;
                }
                _ => {
                    // Targets have a row per recorded row, or one for all.
                    self.output((&stem, name), rows, targets.get(name), dt, examples)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the trace of an output; also a raster and a histogram of rates if it looks like spikes.
    fn output(
        &self,
        (stem, name): (&str, &str),
        rows: ArrayView2<'_, f32>,
        target: Option<&Signal>,
        dt: f64,
        examples: usize,
    ) -> Result<()> {
        let target = target.and_then(|signal| of_first(signal, rows.nrows()));
        let size = rows.ncols();
        let (values, class) = match &target {
            Some(t) if t.ncols() == size => (Some(t.view()), None),
            Some(t) => (None, class_of(t.view())),
            None => (None, None),
        };
        let mut trace = plot::decoded(name, rows, values, dt, MAX_PANELS)?;
        if let Some(class) = class {
            trace = trace.remark(format!("the target is class {class}"));
        }
        let mut pictures = vec![(stem.to_string(), trace)];
        if plot::looks_like_spikes(rows) {
            pictures.push((format!("{stem}-raster"), plot::raster(name, rows, dt, MAX_NEURONS)?));
            pictures.push((format!("{stem}-rates"), plot::rates(name, rows, dt)?));
        }
        pictures.into_iter().try_for_each(|(stem, picture)| self.save(&stem, &of_examples(picture, examples)))
    }
}

/// Adds a remark about the number of examples.
fn of_examples(picture: Picture, examples: usize) -> Picture {
    match examples {
        1 => picture,
        n => picture.remark(format!("example 0 of {n}")),
    }
}

/// The first example's targets: one constant row, or those of the last `rows` steps.
fn of_first(signal: &Signal, rows: usize) -> Option<Array2<f32>> {
    match signal {
        Signal::Held(a) if a.nrows() > 0 => Some(a.slice(s![..1, ..]).to_owned()),
        Signal::Steps(a) if a.len_of(Axis(0)) > 0 => {
            let all = a.index_axis(Axis(0), 0);
            Some(all.slice(s![all.nrows().saturating_sub(rows).., ..]).to_owned())
        }
        _ => None,
    }
}

/// The class given by a single constant target, if it is one.
fn class_of(target: ArrayView2<'_, f32>) -> Option<u64> {
    let class = *target.first().filter(|_| target.len() == 1)?;
    (class >= 0.0 && class.fract() == 0.0).then_some(class as u64)
}
