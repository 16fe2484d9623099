//! Recordings of `nengo-wgpu run`: consumes probe values window by window for a summary table and for files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use ndarray::{Array3, Axis, s};
use nengo_wgpu::internals::text::FileNames;
use nengo_wgpu::io::npy::{NpyFile, NpzFile};
use nengo_wgpu::io::table::{TableFile, Times};
use nengo_wgpu::network::ProbeId;
use nengo_wgpu::{Error, Recorded, Result, Simulator, Window};

use super::places::Places;

/// File formats of recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A NumPy file per probe, (examples, rows, size)
    Npy,
    /// One NumPy archive of all probes
    Npz,
    /// A table per probe, with a line per example and row
    Csv,
}

/// Destination and format of files.
pub struct Files {
    place: PathBuf,
    format: Format,
    archive: Option<NpzFile>,
}

/// The open file of a probe.
enum File {
    Npy(NpyFile),
    /// Index in the archive.
    Archived(usize),
    Csv(TableFile),
}

impl Files {
    /// Locks the directory, or starts the archive. Without a format, the extension decides.
    pub fn create(out: &Path, format: Option<Format>, places: &mut Places) -> Result<Self> {
        let archive = out.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"));
        let format = format.unwrap_or(if archive { Format::Npz } else { Format::Npy });
        if archive && format != Format::Npz {
            let problem = "it names an archive, but this format writes a file per probe: name a directory";
            return Err(Error::invalid(format!("--out {}", out.display()), problem));
        }
        let archive = match format {
            Format::Npz => {
                places.for_file(out)?;
                Some(NpzFile::create(out)?)
            }
            Format::Npy | Format::Csv => {
                places.take(out)?;
                None
            }
        };
        Ok(Self { place: out.into(), format, archive })
    }

    /// Starts the file for a probe with rows of this size.
    fn begin(&mut self, probe: &Probe, size: usize) -> Result<File> {
        let shape = [probe.examples, probe.rows, size];
        let path = |ending: &str| self.place.join(format!("{}.{ending}", probe.stem));
        Ok(match (&mut self.archive, self.format) {
            (Some(archive), _) => File::Archived(archive.add(&probe.member, shape)?),
            (None, Format::Csv) => File::Csv(TableFile::create(path("csv"), shape, probe.times)?),
            (None, _) => File::Npy(NpyFile::create(path("npy"), shape)?),
        })
    }

    /// Writes a probe's values, starting at this example and row.
    fn write(
        &mut self,
        probe: &mut Probe,
        (example, row): (usize, usize),
        values: &Array3<f32>,
    ) -> Result<()> {
        if probe.file.is_none() {
            probe.file = Some(self.begin(probe, values.dim().2)?);
        }
        match (&mut probe.file, &mut self.archive) {
            (Some(File::Npy(file)), _) => file.write(example, row, values.view()),
            (Some(File::Csv(table)), _) => table.write(example, row, values.view()),
            (Some(File::Archived(array)), Some(archive)) => {
                archive.write(*array, example, row, values.view())
            }
            _ => Ok(()),
        }
    }

    /// Truncates a probe's file to its current examples and rows.
    fn keep(&mut self, probe: &mut Probe) -> Result<()> {
        match (&mut probe.file, &mut self.archive) {
            (Some(File::Npy(file)), _) => file.keep(probe.examples, probe.rows),
            (Some(File::Csv(table)), _) => table.keep(probe.examples, probe.rows),
            (Some(File::Archived(array)), Some(archive)) => archive.keep(*array, probe.examples, probe.rows),
            _ => Ok(()),
        }
    }
}

/// State of a probe's recording.
struct Probe {
    id: ProbeId,
    name: String,
    /// Name of its files, without extension.
    stem: String,
    /// Name in an archive.
    member: String,
    /// Number of examples; 1 for a parameter.
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
    /// Latest row of a minibatch, if only the last row is recorded.
    latest: Option<Array3<f32>>,
    /// Number of rows written in the current minibatch.
    written: usize,
    /// Sums at the end of the last complete minibatch.
    settled: (f64, f64, Vec<f32>),
    file: Option<File>,
}

impl Probe {
    fn new(sim: &Simulator, id: ProbeId, span: Span, (stem, member): (String, String)) -> Self {
        let of_parameter = sim.is_of_parameter(id);
        let steps = span.steps;
        let all = if span.from_start { sim.predicted_rows_of(id, steps) } else { sim.rows_of(id, steps) };
        let rows = if span.last { all.min(1) } else { all };
        // A parameter is read once, after the last step.
        let (before, every) =
            if of_parameter { (steps.saturating_sub(1), 1) } else { (all - rows, sim.sample_every(id)) };
        Self {
            id,
            name: sim.network().probe_name(id).to_string(),
            stem,
            member,
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
            written: 0,
            settled: Default::default(),
            file: None,
        }
    }

    /// Adds values, starting at this example and row.
    fn take(
        &mut self,
        files: Option<&mut Files>,
        (example, row): (usize, usize),
        values: &Array3<f32>,
        first: bool,
    ) -> Result<()> {
        self.sum_up(values);
        self.written = row + values.dim().1;
        if first && !self.of_parameter {
            self.first.get_or_insert_default().push(values.slice(s![..1, .., ..]).to_owned());
        }
        let example = if self.of_parameter { 0 } else { example };
        files.map_or(Ok(()), |files| files.write(self, (example, row), values))
    }

    /// Marks a minibatch as complete.
    fn settle(&mut self) {
        self.written = 0;
        self.settled = (self.sum, self.squares, self.last.clone());
    }

    /// Truncates to the `whole` complete examples, or to the rows so far of those that have `begun`.
    fn end_early(&mut self, whole: usize, begun: usize) {
        if whole > 0 {
            (self.sum, self.squares, self.last) = std::mem::take(&mut self.settled);
        } else {
            self.rows = self.rows.min(self.written);
        }
        if !self.of_parameter {
            self.examples = if whole > 0 { whole } else { begun };
        }
    }

    /// The last row of a minibatch's run, if this window ends it.
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

/// Extent of a recording.
#[derive(Clone, Copy)]
pub struct Span {
    pub examples: usize,
    pub steps: usize,
    /// True if each example starts from the initial state; false if from the simulator's current state.
    pub from_start: bool,
    /// Record only the last row of each probe.
    pub last: bool,
}

/// Extent of a run that has been computed.
#[derive(Clone, Copy, Default)]
struct Reached {
    /// Complete examples.
    whole: usize,
    /// Examples up to the end of the current minibatch, and its steps so far.
    begun: usize,
    steps: usize,
}

/// Records the windows of a run.
pub struct Record {
    probes: Vec<Probe>,
    /// Index of each probe.
    index: HashMap<ProbeId, usize>,
    span: Span,
    reached: Reached,
    files: Option<Files>,
    keep_first: bool,
}

impl Record {
    /// Prepares the recording of a run. Each file gets its final size at once, so that a full disk is an error before the run. No
    /// file is named `avoid`.
    pub fn new(sim: &Simulator, span: Span, files: Option<Files>, avoid: Option<&str>) -> Result<Self> {
        let network = sim.network();
        let (mut names, mut members) = (FileNames::new(), FileNames::in_archive());
        avoid.into_iter().for_each(|name| drop(names.add(name)));
        let mut record = Self {
            probes: Vec::new(),
            index: HashMap::new(),
            span,
            reached: Reached::default(),
            files,
            keep_first: false,
        };
        for id in network.probe_ids() {
            let name = network.probe_name(id);
            let mut probe = Probe::new(sim, id, span, (names.add(name), members.add(name)));
            if let (Some(files), Some(size)) = (&mut record.files, network.probe_size(id)) {
                probe.file = Some(files.begin(&probe, size)?);
            }
            record.index.insert(id, record.probes.len());
            record.probes.push(probe);
        }
        Ok(record)
    }

    /// True if each example starts from the initial state; false if from the simulator's current state.
    pub fn is_from_start(&self) -> bool {
        self.span.from_start
    }

    /// Number of examples of the run.
    pub fn examples(&self) -> usize {
        self.span.examples
    }

    /// Keeps the recording of the first example in memory.
    pub fn keep_first(&mut self, keep: bool) {
        self.keep_first = keep;
    }

    /// Warnings about probes without a row within the run, and about names that files cannot have.
    pub fn warnings(&self, sim: &Simulator) -> Vec<String> {
        let none = self.probes.iter().filter(|p| p.rows == 0).map(|p| {
            format!(
                "probe '{}' records a row every {} steps, but the run ends after {}, so it records nothing",
                p.name,
                sim.sample_every(p.id),
                self.span.steps
            )
        });
        let archive = self.files.as_ref().map(|files| files.archive.is_some());
        let written = |p: &Probe| match archive {
            Some(true) => Some(p.member.clone()),
            Some(false) => Some(p.stem.clone()),
            None => None,
        };
        let renamed = self.probes.iter().filter_map(|p| {
            let name = written(p).filter(|name| *name != p.name)?;
            Some(format!("the recording of probe '{}' is written as '{name}'", p.name))
        });
        none.chain(renamed).collect()
    }

    /// Recordings of the first example, (1, rows, size), by probes of objects, with the names of their files.
    pub fn first_examples(&mut self) -> Result<Vec<(ProbeId, String, Array3<f32>)>> {
        let mut all = Vec::new();
        for probe in &mut self.probes {
            if let Some(parts) = probe.first.take() {
                let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
                let rows = ndarray::concatenate(Axis(1), &views)
                    .map_err(|e| Error::invalid(format!("probe '{}'", probe.name), e.to_string()))?;
                all.push((probe.id, probe.stem.clone(), rows));
            }
        }
        Ok(all)
    }

    /// Adds a window.
    pub fn take(&mut self, window: Window) -> Result<()> {
        let ends = window.steps.end == self.span.steps;
        for Recorded { probe: id, first_row, values } in window.recorded {
            let Some(&at) = self.index.get(&id) else { continue };
            let probe = &mut self.probes[at];
            let (row, values) = match self.span.last {
                false => (first_row, values),
                true => match probe.last_of(values, ends) {
                    Some(values) => (0, values),
                    None => continue,
                },
            };
            let first = self.keep_first && window.examples.start == 0;
            probe.take(self.files.as_mut(), (window.examples.start, row), &values, first)?;
        }
        self.reached.begun = window.examples.end;
        self.reached.steps = window.steps.end;
        if ends {
            self.reached.whole = window.examples.end;
            self.probes.iter_mut().for_each(Probe::settle);
        }
        Ok(())
    }

    /// Truncates the recording of a run that ended early to complete examples, or to the rows so far of the first ones. Describes
    /// how far the run came.
    pub fn end_early(&mut self) -> Result<String> {
        let Reached { whole, begun, steps } = self.reached;
        for probe in &mut self.probes {
            match probe.latest.take() {
                Some(values) if whole == 0 && values.dim().1 > 0 => {
                    probe.take(self.files.as_mut(), (0, 0), &values, self.keep_first)?;
                }
                _ => {}
            }
            probe.end_early(whole, begun);
            if let Some(files) = &mut self.files {
                files.keep(probe)?;
            }
        }
        Ok(match whole {
            0 => format!("{steps} of {} steps", self.span.steps),
            n => format!("{n} of {} examples", self.span.examples),
        })
    }

    /// Summary table with a line per probe.
    pub fn table(&self) -> Vec<Vec<String>> {
        let head = ["probe", "examples", "rows", "size", "mean", "norm", "last"].map(String::from).to_vec();
        let row = |p: &Probe| {
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

    /// Moves the files to their destination; describes where they are.
    pub fn finish(&mut self) -> Result<Option<String>> {
        let Some(files) = self.files.take() else { return Ok(None) };
        for file in self.probes.iter_mut().filter_map(|probe| probe.file.take()) {
            match file {
                File::Npy(file) => file.finish()?,
                File::Csv(table) => table.finish()?,
                File::Archived(_) => {}
            }
        }
        let place = files.place.display();
        Ok(Some(match files.archive {
            Some(archive) => {
                archive.finish()?;
                format!("all probes are in {place}")
            }
            None => format!("a file of each probe is in {place}"),
        }))
    }
}
