//! What `nengo-wgpu run` makes of what probes record, window by window: sums for its table, and files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use ndarray::{Array3, Axis, s};
use nengo_wgpu::io::npy::{NpyFile, NpzFile};
use nengo_wgpu::io::table::{TableFile, Times};
use nengo_wgpu::network::ProbeId;
use nengo_wgpu::text::FileNames;
use nengo_wgpu::{Error, Recorded, Result, Simulator, Window};

use super::places::Places;

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

/// Where files go, and as what.
pub struct Files {
    place: PathBuf,
    format: Format,
    archive: Option<NpzFile>,
}

/// The open file of a probe's rows.
enum File {
    Npy(NpyFile),
    /// A number in the archive.
    Archived(usize),
    Csv(TableFile),
}

impl Files {
    /// Takes the directory, or begins the archive. Without a format the name's ending decides.
    pub fn create(out: &Path, format: Option<Format>, places: &mut Places) -> Result<Self> {
        let archive = out.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"));
        let format = format.unwrap_or(if archive { Format::Npz } else { Format::Npy });
        if archive && format != Format::Npz {
            let problem =
                "it names an archive, but this format writes a file of each probe: name a directory";
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

    /// Begins what a probe's rows of this size are written into.
    fn begin(&mut self, probe: &Probe, size: usize) -> Result<File> {
        let shape = [probe.examples, probe.rows, size];
        let path = |ending: &str| self.place.join(format!("{}.{ending}", probe.stem));
        Ok(match (&mut self.archive, self.format) {
            (Some(archive), _) => File::Archived(archive.add(&probe.member, shape)?),
            (None, Format::Csv) => File::Csv(TableFile::create(path("csv"), shape, probe.times)?),
            (None, _) => File::Npy(NpyFile::create(path("npy"), shape)?),
        })
    }

    /// Writes a probe's values from this example and row on.
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

    /// Keeps of what is written the examples and rows that the probe has now.
    fn keep(&mut self, probe: &mut Probe) -> Result<()> {
        match (&mut probe.file, &mut self.archive) {
            (Some(File::Npy(file)), _) => file.keep(probe.examples, probe.rows),
            (Some(File::Csv(table)), _) => table.keep(probe.examples, probe.rows),
            (Some(File::Archived(array)), Some(archive)) => archive.keep(*array, probe.examples, probe.rows),
            _ => Ok(()),
        }
    }
}

/// What is known of a probe's rows.
struct Probe {
    id: ProbeId,
    name: String,
    /// Name of its files, without an extension.
    stem: String,
    /// Name in an archive.
    member: String,
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
    /// Rows of the minibatch under way.
    written: usize,
    /// The sums at the end of the last whole minibatch.
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

    /// Takes values from this example and row on.
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

    /// A minibatch is over.
    fn settle(&mut self) {
        self.written = 0;
        self.settled = (self.sum, self.squares, self.last.clone());
    }

    /// Forgets what is not of the `whole` examples that are over, or the rows to come of those that have `begun`.
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

/// The rows of a run that have been computed.
#[derive(Clone, Copy, Default)]
struct Reached {
    /// Examples that are over.
    whole: usize,
    /// Examples up to the end of the minibatch under way, and its steps so far.
    begun: usize,
    steps: usize,
}

/// Takes a run's windows.
pub struct Record {
    probes: Vec<Probe>,
    /// Where a probe is among them.
    index: HashMap<ProbeId, usize>,
    span: Span,
    reached: Reached,
    files: Option<Files>,
    keep_first: bool,
}

impl Record {
    /// Prepares the record of a run. Each file gets its final size at once, so that a full disk is an error before the run. No
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

    /// Whether each example starts from the states' start, and not where the last run ended.
    pub fn is_from_start(&self) -> bool {
        self.span.from_start
    }

    /// Examples of the run.
    pub fn examples(&self) -> usize {
        self.span.examples
    }

    /// Keeps what is recorded of the first example.
    pub fn keep_first(&mut self, keep: bool) {
        self.keep_first = keep;
    }

    /// Probes whose first row is due after the end of the run, and names that files cannot have.
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
            Some(format!("what probe '{}' records is written as '{name}'", p.name))
        });
        none.chain(renamed).collect()
    }

    /// What probes of objects have recorded of the first example, (1, rows, size), with the stems of their files.
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

    /// Takes a window.
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

    /// Keeps of a run that ended early the examples that are over, or what there is of the first ones; tells how far it came.
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

    /// A line for each probe.
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

    /// Puts the files in their places; says where they are.
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
