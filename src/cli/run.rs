//! `nengo-wgpu run`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ndarray::Array3;
use nengo_wgpu::io::atomic::write_atomic;
use nengo_wgpu::io::dataset::Dataset;
use nengo_wgpu::network::{NetworkSpec, Target};
use nengo_wgpu::{Data, Error, Options, Result, Simulator};

use super::pictures::PlotArgs;
use super::{DeviceArg, note, say, table};

/// Runs the network of a TOML file and shows what its probes record.
///
/// Input nodes read the test examples of [data], or all examples where there is no test part. --plot draws the trace of
/// each probe of an output, with its targets, and a raster and a histogram of rates where the values are spikes.
#[derive(clap::Args)]
#[command(
    after_help = "Example: nengo-wgpu run examples/digits.toml --params runs/digits/params.safetensors --out answers"
)]
pub struct RunArgs {
    /// The TOML file with the network
    file: PathBuf,
    /// Steps to run [default: [train] steps with data, the rows of an array, or 1000]
    #[arg(long, value_name = "N", conflicts_with = "time")]
    steps: Option<usize>,
    /// Simulated time to run, in seconds
    #[arg(long, value_name = "SECONDS")]
    time: Option<f64>,
    #[command(flatten)]
    device: DeviceArg,
    /// Parameters to run with, as train writes them; without them parameters are as they start
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Directory for a CSV file of each probe
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where the data are, instead of [data]: the directory of IDX files, or a CSV file or its directory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Examples to run over [default: all]
    #[arg(long, value_name = "N")]
    examples: Option<usize>,
    #[command(flatten)]
    plot: PlotArgs,
}

/// Runs.
pub fn run(args: &RunArgs) -> Result<()> {
    let mut spec = NetworkSpec::read(&args.file)?;
    if let Some(place) = &args.data {
        spec.set_data_path(place)?;
    }
    let network = spec.build()?;
    if network.probe_ids().next().is_none() {
        return Err(Error::invalid(
            "the network",
            "it has no probe, so nothing would be seen; add a [[probe]]",
        ));
    }
    let takes_data = spec.node.iter().any(|n| n.is_input());
    let examples = if takes_data { Some(read_examples(&spec, args.examples)?) } else { None };
    let device = args.device.open()?;
    // Better now than after a long run.
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).map_err(|e| Error::io("create", out, e))?;
    }
    let pictures = args.plot.open()?;
    let targets = match &examples {
        // The first example alone is drawn.
        Some(examples) if pictures.is_some() && spec.train.is_some() => {
            spec.signals(&network, &examples.select(&[0]))?.1
        }
        _ => Data::new(),
    };
    let inputs = match examples {
        Some(examples) => Some(Data::new().with(spec.input_node()?, spec.input_signal(&examples.inputs)?)),
        None => None,
    };
    note(&format!("device: {device}"));

    let steps = n_steps(args, &spec, takes_data)?;
    let minibatch = if takes_data { spec.train.as_ref().map_or(32, |t| t.minibatch) } else { 1 };
    let mut sim = Simulator::with(&network, &device, Options { minibatch, dt: spec.dt, seed: None })?;
    if let Some(params) = &args.params {
        sim.load_parameters(params)?;
    }
    let recorded: HashMap<_, _> = match &inputs {
        Some(inputs) => sim.predict_steps(inputs, steps)?,
        // Only a run that goes on in time can be longer than the device's memory.
        None => {
            sim.run_steps(steps, &Data::new())?;
            let data = network.probe_ids().map(|probe| Ok((probe, sim.data(probe)?)));
            data.collect::<Result<_>>()?
        }
    };
    let mut rows =
        vec![["probe", "examples", "steps", "size", "mean", "norm", "last"].map(String::from).to_vec()];
    for probe in network.probe_ids() {
        rows.push(row(network.probe_name(probe), &recorded[&probe]));
    }
    say(&table(&rows));
    let stems = file_stems(network.probe_ids().map(|probe| network.probe_name(probe)));
    if let Some(out) = &args.out {
        for (probe, stem) in network.probe_ids().zip(&stems) {
            save(&out.join(format!("{stem}.csv")), &recorded[&probe], spec.dt)?;
        }
        say(&format!("a file of each probe is in {}", out.display()));
    }
    if let Some(pictures) = &pictures {
        for (probe, stem) in network.probe_ids().zip(&stems) {
            let name = network.probe_name(probe);
            if let Some(Target::Output(..)) = network.probe_target(probe) {
                pictures.probe(stem, name, &recorded[&probe], targets.get(name), spec.dt)?;
            }
        }
        say(&format!("pictures are in {}", pictures.dir.display()));
    }
    Ok(())
}

fn read_examples(spec: &NetworkSpec, examples: Option<usize>) -> Result<Dataset> {
    let node = spec.input_node()?;
    if spec.data.is_none() {
        let problem =
            "it needs values, but the file has no [data]; add it, or give the node a constant or an array";
        return Err(Error::invalid(format!("node '{node}'"), problem));
    }
    let splits = spec.load_data()?;
    let examples_of = |all: Dataset| match examples {
        Some(n) if n < all.len() => all.select(&(0..n).collect::<Vec<_>>()),
        _ => all,
    };
    if examples == Some(0) {
        return Err(Error::invalid("--examples", "it is 0, but must be at least 1"));
    }
    Ok(examples_of(splits.test.unwrap_or(splits.train)))
}

fn n_steps(args: &RunArgs, spec: &NetworkSpec, data: bool) -> Result<usize> {
    match (args.steps, args.time) {
        (Some(steps), _) => Ok(steps),
        (None, Some(time)) => {
            let steps = (time / spec.dt).round();
            if (1.0..1e15).contains(&steps) {
                return Ok(steps as usize);
            }
            let problem = format!("it is {time} s, but must be at least one step of {} s", spec.dt);
            Err(Error::invalid("--time", problem))
        }
        (None, None) if data => Ok(spec.train.as_ref().map_or(1, |t| t.steps)),
        (None, None) => {
            let rows = spec.node.iter().filter_map(|n| n.array.as_ref()).map(Vec::len).min();
            Ok(rows.unwrap_or(1000))
        }
    }
}

/// A probe's row of the table.
fn row(name: &str, data: &Array3<f32>) -> Vec<String> {
    let (examples, steps, size) = data.dim();
    let n = data.len().max(1) as f64;
    let mean = data.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let norm = data.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let last: Vec<String> =
        data.iter().skip(data.len().saturating_sub(size)).take(4).map(|x| format!("{x:.4}")).collect();
    let more = if size > 4 { " …" } else { "" };
    let counts = [examples, steps, size].map(|n| n.to_string());
    let numbers = [format!("{mean:.4}"), format!("{norm:.4}"), format!("{}{more}", last.join(" "))];
    std::iter::once(name.to_string()).chain(counts).chain(numbers).collect()
}

/// Names of files for probes, all different: what a file system may not take is replaced, and names are cut.
fn file_stems<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut stems: Vec<String> = Vec::new();
    for name in names {
        let plain: String = name.chars().map(file_char).take(50).collect();
        let candidates = std::iter::once(plain.clone()).chain((2..).map(|n| format!("{plain}-{n}")));
        // Some file systems take capitals for small letters.
        let taken = |c: &String| stems.iter().any(|s| s.to_lowercase() == c.to_lowercase());
        stems.extend(candidates.skip_while(taken).take(1).collect::<Vec<_>>());
    }
    stems
}

/// Characters that every file system takes.
fn file_char(c: char) -> char {
    if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }
}

/// A row for each example and step.
fn save(path: &Path, data: &Array3<f32>, dt: f64) -> Result<()> {
    write_atomic(path, |to| {
        let (examples, steps, size) = data.dim();
        write!(to, "example,time")?;
        for i in 0..size {
            write!(to, ",{i}")?;
        }
        writeln!(to)?;
        for example in 0..examples {
            for step in 0..steps {
                // Nengo's probes give the time at the end of a step.
                write!(to, "{example},{:.6}", (step + 1) as f64 * dt)?;
                for i in 0..size {
                    write!(to, ",{}", data[[example, step, i]])?;
                }
                writeln!(to)?;
            }
        }
        Ok(())
    })
}
