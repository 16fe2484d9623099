//! What `nengo-wgpu run` makes of what probes record, window by window: sums for its table, and files.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use ndarray::{Array3, Axis, s};
use nengo_wgpu::io::npy::{NpyFile, NpzFile};
use nengo_wgpu::io::table::{TableFile, Times};
use nengo_wgpu::network::ProbeId;
use nengo_wgpu::{Error, Recorded, Result, Simulator, Window};

/// Files for what probes record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A NumPy file of each probe, (examples, rows, size)
    Npy,
    /// One NumPy archive of all probes
    Npz,
    /// A table of each probe, a line for each example and row
    Csv,
}

/// Files that have been begun.
pub enum Files {
    /// A directory, and each probe's file once its shape is known.
    Npy(PathBuf, Vec<(ProbeId, NpyFile)>),
    /// The file, and each probe's number in it once its shape is known.
    Npz(PathBuf, Box<NpzFile>, Vec<(ProbeId, usize)>),
    /// A directory, and each probe's table once its shape is known.
    Csv(PathBuf, Vec<(ProbeId, TableFile)>),
}

impl Files {
    /// Makes the directory or begins the file. Without a format the name's ending decides.
    pub fn create(out: &Path, format: Option<Format>) -> Result<Self> {
        let archive = out.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"));
        let format = format.unwrap_or(if archive { Format::Npz } else { Format::Npy });
        if archive && format != Format::Npz {
            let problem =
                "it names an archive, but this format writes a file of each probe: name a directory";
            return Err(Error::invalid(format!("--out {}", out.display()), problem));
        }
        let directory = if format == Format::Npz { out.parent().unwrap_or(out) } else { out };
        if directory != Path::new("") {
            std::fs::create_dir_all(directory).map_err(|e| Error::io("create", directory, e))?;
        }
        Ok(match format {
            Format::Npy => Files::Npy(out.into(), Vec::new()),
            Format::Npz => Files::Npz(out.into(), Box::new(NpzFile::create(out)?), Vec::new()),
            Format::Csv => Files::Csv(out.into(), Vec::new()),
        })
    }

    /// Writes a probe's values from this example and row on.
    fn write(
        &mut self,
        id: ProbeId,
        probe: &Probe,
        from: (usize, usize),
        values: &Array3<f32>,
    ) -> Result<()> {
        let shape = [probe.examples, probe.rows, values.dim().2];
        let (example, row) = from;
        match self {
            Files::Npy(directory, files) => {
                if files.iter().all(|(of, _)| *of != id) {
                    let path = directory.join(format!("{}.npy", probe.stem));
                    files.push((id, NpyFile::create(path, shape)?));
                }
                let mut own = files.iter_mut().filter(|(of, _)| *of == id);
                own.try_for_each(|(_, file)| file.write(example, row, values.view()))
            }
            Files::Npz(_, file, arrays) => {
                if arrays.iter().all(|(of, _)| *of != id) {
                    arrays.push((id, file.add(&probe.name, shape)?));
                }
                let mut own = arrays.iter().filter(|(of, _)| *of == id);
                own.try_for_each(|(_, array)| file.write(*array, example, row, values.view()))
            }
            Files::Csv(directory, tables) => {
                if tables.iter().all(|(of, _)| *of != id) {
                    let path = directory.join(format!("{}.csv", probe.stem));
                    tables.push((id, TableFile::create(path, shape, probe.times)?));
                }
                let mut own = tables.iter_mut().filter(|(of, _)| *of == id);
                own.try_for_each(|(_, table)| table.write(example, row, values.view()))
            }
        }
    }
}

/// What is known of a probe's rows.
struct Probe {
    name: String,
    /// Name of its files, without an extension.
    stem: String,
    /// (1 for a parameter)
    examples: usize,
    rows: usize,
    times: Times,
    of_parameter: bool,
    size: usize,
    sum: f64,
    squares: f64,
    last: Vec<f32>,
    /// Rows of the first example, if they are kept.
    first: Option<Vec<Array3<f32>>>,
    /// The latest row of a minibatch, where the last one alone is taken.
    latest: Option<Array3<f32>>,
}

impl Probe {
    /// The last row of a minibatch's run, when the window that has come ends it.
    fn last_of(&mut self, values: Array3<f32>, ends: bool) -> Option<Array3<f32>> {
        // A window may end before a row is due.
        if values.dim().1 > 0 || self.latest.is_none() {
            self.latest = Some(values);
        }
        if ends { self.latest.take() } else { None }
    }

    fn sum_up(&mut self, values: &Array3<f32>) {
        self.size = values.dim().2;
        if self.of_parameter {
            (self.sum, self.squares) = (0.0, 0.0);
        }
        self.sum += values.iter().map(|&x| f64::from(x)).sum::<f64>();
        self.squares += values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        if values.dim().1 > 0 {
            let last = values.axis_iter(Axis(0)).next_back();
            self.last = last.map_or(Vec::new(), |rows| rows.slice(s![-1, ..]).to_vec());
        }
    }
}

/// What of which run is recorded.
#[derive(Clone, Copy)]
pub struct Span {
    pub examples: usize,
    pub steps: usize,
    /// Each example from the start, or from where the simulator stands.
    pub from_start: bool,
    /// The last row of each probe alone.
    pub last: bool,
}

/// Takes a run's windows.
pub struct Record {
    probes: Vec<(ProbeId, Probe)>,
    span: Span,
    files: Option<Files>,
    keep_first: bool,
}

impl Record {
    /// For a run that is still to come.
    pub fn new(sim: &Simulator, span: Span, files: Option<Files>) -> Self {
        let network = sim.network();
        let stems = file_stems(network.probe_ids().map(|id| network.probe_name(id)), &[]);
        let probes = network.probe_ids().zip(stems).map(|(id, stem)| {
            let of_parameter = sim.is_of_parameter(id);
            let steps = span.steps;
            let all = if span.from_start { sim.predicted_rows_of(id, steps) } else { sim.rows_of(id, steps) };
            let rows = if span.last { all.min(1) } else { all };
            // A parameter is read once, after the last step.
            let (before, every) =
                if of_parameter { (steps.saturating_sub(1), 1) } else { (all - rows, sim.sample_every(id)) };
            let probe = Probe {
                name: network.probe_name(id).to_string(),
                stem,
                examples: if of_parameter { 1 } else { span.examples },
                rows,
                times: Times { before, interval: every as f64 * sim.dt() },
                of_parameter,
                size: 0,
                sum: 0.0,
                squares: 0.0,
                last: Vec::new(),
                first: None,
                latest: None,
            };
            (id, probe)
        });
        Self { probes: probes.collect(), span, files, keep_first: false }
    }

    /// Keeps names of files off `stem`, which is that of another.
    pub fn avoid(&mut self, stem: &str) {
        let stems = file_stems(self.probes.iter().map(|(_, p)| p.name.as_str()), &[stem]);
        self.probes.iter_mut().zip(stems).for_each(|((_, p), stem)| p.stem = stem);
    }

    /// Keeps what is recorded of the first example.
    pub fn keep_first(&mut self, keep: bool) {
        self.keep_first = keep;
    }

    /// Probes whose first row is due after the end of the run.
    pub fn warnings(&self, sim: &Simulator) -> Vec<String> {
        let none = |(_, p): &&(ProbeId, Probe)| p.rows == 0;
        let warning = |(id, p): &(ProbeId, Probe)| {
            format!(
                "probe '{}' records a row every {} steps, but the run ends after {}, so it records nothing",
                p.name,
                sim.sample_every(*id),
                self.span.steps
            )
        };
        self.probes.iter().filter(none).map(warning).collect()
    }

    /// What probes of objects have recorded of the first example, (1, rows, size), with the stems of their files.
    pub fn first_examples(&mut self) -> Result<Vec<(ProbeId, String, Array3<f32>)>> {
        let mut all = Vec::new();
        for (id, probe) in &mut self.probes {
            if let Some(parts) = probe.first.take() {
                let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
                let rows = ndarray::concatenate(Axis(1), &views)
                    .map_err(|e| Error::invalid(format!("probe '{}'", probe.name), e.to_string()))?;
                all.push((*id, probe.stem.clone(), rows));
            }
        }
        Ok(all)
    }

    /// Takes a window.
    pub fn take(&mut self, window: Window) -> Result<()> {
        let ends = window.steps.end == self.span.steps;
        for Recorded { probe: id, first_row, values } in window.recorded {
            let own = self.probes.iter_mut().find(|(of, _)| *of == id);
            let Some((_, probe)) = own else { continue };
            let (row, values) = match self.span.last {
                false => (first_row, values),
                true => match probe.last_of(values, ends) {
                    Some(values) => (0, values),
                    None => continue,
                },
            };
            probe.sum_up(&values);
            if self.keep_first && !probe.of_parameter && window.examples.start == 0 {
                probe.first.get_or_insert_default().push(values.slice(s![..1, .., ..]).to_owned());
            }
            if let Some(files) = &mut self.files {
                let example = if probe.of_parameter { 0 } else { window.examples.start };
                files.write(id, probe, (example, row), &values)?;
            }
        }
        Ok(())
    }

    /// A line for each probe.
    pub fn table(&self) -> Vec<Vec<String>> {
        let head = ["probe", "examples", "rows", "size", "mean", "norm", "last"].map(String::from).to_vec();
        let row = |(_, p): &(ProbeId, Probe)| {
            let n = (p.examples * p.rows * p.size).max(1) as f64;
            let last: Vec<String> = p.last.iter().take(4).map(|x| format!("{x:.4}")).collect();
            let more = if p.size > 4 { " …" } else { "" };
            let numbers = [p.examples, p.rows, p.size].map(|n| n.to_string());
            let values = [p.sum / n, p.squares.sqrt()].map(|x| format!("{x:.4}"));
            let last = format!("{}{more}", last.join(" "));
            [vec![p.name.clone()], numbers.to_vec(), values.to_vec(), vec![last]].concat()
        };
        [head].into_iter().chain(self.probes.iter().map(row)).collect()
    }

    /// Puts the files in their places; says where they are.
    pub fn finish(&mut self) -> Result<Option<String>> {
        let place = match self.files.take() {
            None => return Ok(None),
            Some(Files::Npy(directory, files)) => {
                files.into_iter().try_for_each(|(_, file)| file.finish())?;
                format!("a file of each probe is in {}", directory.display())
            }
            Some(Files::Npz(path, file, _)) => {
                file.finish()?;
                format!("all probes are in {}", path.display())
            }
            Some(Files::Csv(directory, tables)) => {
                tables.into_iter().try_for_each(|(_, table)| table.finish())?;
                format!("a file of each probe is in {}", directory.display())
            }
        };
        Ok(Some(place))
    }
}

/// Names of files for probes, all different and none of them `others`: what a file system may not take is replaced, and
/// names are cut.
fn file_stems<'a>(names: impl Iterator<Item = &'a str>, others: &[&str]) -> Vec<String> {
    let mut stems: Vec<String> = Vec::new();
    for name in names {
        let plain: String = name.chars().map(file_char).take(50).collect();
        let candidates = std::iter::once(plain.clone()).chain((2..).map(|n| format!("{plain}-{n}")));
        // Some file systems take capitals for small letters.
        let taken = |c: &String| {
            let mut all = stems.iter().map(String::as_str).chain(others.iter().copied());
            all.any(|s| s.to_lowercase() == c.to_lowercase())
        };
        stems.extend(candidates.skip_while(taken).take(1).collect::<Vec<_>>());
    }
    stems
}

/// Characters that every file system takes.
fn file_char(c: char) -> char {
    if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }
}
