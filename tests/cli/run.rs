//! `nengo-wgpu run`: its output and its files.

use std::path::Path;
use std::process::Command;

use crate::common::messages::Messages;
use crate::program::{NETWORK, bad, command, good, project, spiking, start};

/// A network in which nothing happens.
const STILL: &str = "[[node]]\nname = \"c\"\nconstant = [1]\n[[probe]]\nname = \"p\"\ntarget = \"c\"\n";

#[test]
fn a_run_shows_and_writes_its_probes() {
    let said = Messages::of("a run shows and writes its probes");
    let dir = project(NETWORK);
    good(&dir, &["train", "net.toml", "--device", "cpu", "--quiet"]);
    let params = "runs/net/params.safetensors";
    let (stdout, _) = good(
        &dir,
        &["run", "net.toml", "--device", "cpu", "--params", params, "--out", "o", "--examples", "5"],
    );
    assert!(stdout.contains("output") && stdout.contains("norm"), "{stdout}");
    let read: ndarray::Array3<f32> = ndarray_npy::read_npy(dir.path().join("o/output.npy")).unwrap();
    assert_eq!(read.dim(), (5, 1, 3));
    let run = ["run", "net.toml", "--device", "cpu", "--params", params, "--examples", "5", "--out"];
    let (_, _) = good(&dir, &[&run[..], &["o", "--format", "csv"]].concat());
    good(&dir, &[&run[..], &["o/all.npz"]].concat());
    let file = std::fs::File::open(dir.path().join("o/all.npz")).unwrap();
    let all: ndarray::Array3<f32> = ndarray_npy::NpzReader::new(file).unwrap().by_name("output").unwrap();
    assert_eq!(all, read);
    let text = std::fs::read_to_string(dir.path().join("o/output.csv")).unwrap();
    assert_eq!(text.lines().next(), Some("example,time,0,1,2"));
    assert_eq!(text.lines().count(), 6);

    let constant =
        "[[node]]\nname = \"c\"\nconstant = [1]\n[[probe]]\nname = \"p\"\ntarget = \"c\"\nsynapse = 0.01\n";
    let dir = project(constant);
    let (stdout, _) = good(&dir, &["run", "net.toml", "--device", "cpu", "--time", "0.1"]);
    let row: Vec<&str> = stdout.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["p", "1", "100", "1"]);
    assert!((row[6].parse::<f64>().unwrap() - 1.0).abs() < 1e-3, "{stdout}");

    let dir = project("[[node]]\nname = \"x\"\nsize = 2\n[[probe]]\nname = \"p\"\ntarget = \"x\"\n");
    said.text(bad(&dir, &["run", "net.toml", "--device", "cpu"]));
}

/// Examples, times and values of a table.
fn table(path: &Path) -> Vec<(usize, f64, Vec<f32>)> {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let values = fields[2..].iter().map(|f| f.parse().unwrap()).collect();
        (fields[0].parse().unwrap(), fields[1].parse().unwrap(), values)
    };
    text.lines().skip(1).map(line).collect()
}

#[test]
fn a_table_of_many_windows_equals_an_array() {
    // The software adapter begins with windows of 64 steps and continues by its pace; the CPU twin takes 1024.
    let integrator = crate::common::root().join("examples/integrator.toml");
    let dir = project(&std::fs::read_to_string(integrator).unwrap());
    for device in ["cpu", "software"] {
        let run = ["run", "net.toml", "--device", device, "--steps", "2100", "--out", "o"];
        good(&dir, &run);
        good(&dir, &[&run[..], &["--format", "csv"]].concat());
        let array: ndarray::Array3<f32> = ndarray_npy::read_npy(dir.path().join("o/sum.npy")).unwrap();
        let table = table(&dir.path().join("o/sum.csv"));
        assert_eq!(table.len(), 2100);
        for (k, (example, time, values)) in table.iter().enumerate() {
            assert_eq!(*example, 0);
            assert!((time - 0.001 * (k + 1) as f64).abs() < 1e-9, "row {k} on {device}");
            assert_eq!(values[0], array[[0, k, 0]], "row {k} on {device}");
        }
    }
}

#[test]
fn the_last_row_alone_is_that_of_the_whole_run() {
    let more = "[[probe]]\nname = \"seldom\"\ntarget = \"class\"\nsample-every = 0.03\n\
        [[probe]]\nname = \"norm\"\nnorm = \"class/weights\"\n[data]";
    let toml = spiking().replace("[data]", more);
    let dir = project(&toml);
    // Forty steps, in minibatches of 16 and 14.
    let run = ["run", "net.toml", "--device", "cpu", "--out"];
    let go = |more: &[&str]| good(&dir, &[&run[..], more].concat()).0;
    go(&["whole"]);
    let text = go(&["last", "--last", "--plot", "pictures"]);
    go(&["last.npz", "--last"]);
    go(&["last", "--last", "--format", "csv"]);
    let read =
        |path: String| -> ndarray::Array3<f32> { ndarray_npy::read_npy(dir.path().join(path)).unwrap() };
    let mut npz =
        ndarray_npy::NpzReader::new(std::fs::File::open(dir.path().join("last.npz")).unwrap()).unwrap();
    for (name, examples, size, time) in [
        ("output", 30, 3, 0.04),
        ("spikes", 30, 14, 0.04),
        ("pause", 30, 14, 0.04),
        ("seldom", 30, 3, 0.03),
        ("norm", 1, 1, 0.04),
    ] {
        let whole = read(format!("whole/{name}.npy"));
        let last = whole.slice(ndarray::s![.., -1.., ..]);
        assert_eq!(last.dim(), (examples, 1, size), "{name}");
        assert_eq!(read(format!("last/{name}.npy")), last, "{name}");
        let packed: ndarray::Array3<f32> = npz.by_name(name).unwrap();
        assert_eq!(packed, last, "{name}");
        let table = table(&dir.path().join(format!("last/{name}.csv")));
        assert_eq!(table.len(), examples);
        for (k, (example, at, values)) in table.into_iter().enumerate() {
            assert_eq!((example, at), (k, time), "{name}");
            assert_eq!(values, last.slice(ndarray::s![k, 0, ..]).to_vec(), "{name}");
        }
        let row =
            text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>()).find(|r| r[0] == name).unwrap();
        assert_eq!(row[1..4], [examples.to_string(), "1".into(), size.to_string()], "{text}");
    }
    let svg = std::fs::read_to_string(dir.path().join("pictures/output.svg")).unwrap();
    assert!(svg.contains("the target is class"), "{svg}");
    // A run that ends before a row is due writes none.
    go(&["short", "--last", "--steps", "20"]);
    assert_eq!(read("short/seldom.npy".into()).dim(), (30, 0, 3));
}

#[cfg(unix)]
#[test]
fn a_full_disk_in_the_middle_of_a_run_leaves_no_half_file() {
    let dir = project(
        "[[node]]\nname = \"c\"\nconstant = [1, 2]\n[[probe]]\nname = \"p\"\ntarget = \"c\"\nsynapse = 0.01\n",
    );
    let program = env!("CARGO_BIN_EXE_nengo-wgpu");
    for out in ["o", "o/all.npz", "o --format csv"] {
        // A block of 512 bytes holds a part of the 8000 alone.
        let limited = format!(
            "trap '' XFSZ; ulimit -f 8; exec '{program}' run net.toml --device cpu --steps 1000 --out {out}"
        );
        let run = Command::new("sh").args(["-c", &limited]).current_dir(dir.path()).output().unwrap();
        let stderr = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("error: cannot write o/") && !stderr.contains("panicked"), "{stderr}");
        assert!(!dir.path().join("o").exists(), "{out}");
    }
    good(&dir, &["run", "net.toml", "--device", "cpu", "--steps", "1000", "--out", "o"]);
    let read: ndarray::Array3<f32> = ndarray_npy::read_npy(dir.path().join("o/p.npy")).unwrap();
    assert_eq!(read.dim(), (1, 1000, 2));
}

#[test]
fn a_probe_samples_as_the_file_says() {
    let said = Messages::of("a probe samples as the file says");
    let text =
        "[[node]]\nname = \"c\"\nconstant = [1]\n[[probe]]\nname = \"p\"\ntarget = \"c\"\nsynapse = 0.01\n";
    let dir = project(&format!("{text}sample-every = 0.02\n"));
    let run = ["run", "net.toml", "--device", "cpu", "--time", "0.11", "--out", "o", "--format", "csv"];
    good(&dir, &run);
    let csv = std::fs::read_to_string(dir.path().join("o/p.csv")).unwrap();
    let times: Vec<&str> = csv.lines().skip(1).map(|l| l.split(',').nth(1).unwrap()).collect();
    assert_eq!(times, ["0.020000", "0.040000", "0.060000", "0.080000", "0.100000"]);
    // Steps of a quarter of a microsecond do not become equal times.
    let dir_of_short = project(&format!("dt = 2.5e-7\n{text}"));
    good(
        &dir_of_short,
        &["run", "net.toml", "--device", "cpu", "--steps", "3", "--out", "o", "--format", "csv"],
    );
    let rows = table(&dir_of_short.path().join("o/p.csv"));
    assert_eq!(rows.iter().map(|row| row.1).collect::<Vec<_>>(), [2.5e-7, 5e-7, 7.5e-7]);
    let archive = ["run", "net.toml", "--device", "cpu", "--out", "o.npz", "--format", "csv"];
    said.text(bad(&dir_of_short, &archive));
    let dir = project(&format!("{text}sample-every = 0.0025\n"));
    said.text(bad(&dir, &run));
}

#[test]
fn options_that_a_run_cannot_follow_are_reported() {
    let said = Messages::of("options that a run cannot follow are reported");
    let toml = "[[node]]\nname = \"c\"\nfunction = \"t\"\n[[probe]]\nname = \"p\"\ntarget = \"c\"\nsample-every = 0.1\n";
    let dir = project(toml);
    let run = ["run", "net.toml", "--device", "cpu", "--steps"];
    let (_, stderr) = good(&dir, &[&run[..], &["99"]].concat());
    assert!(
        stderr.contains("warning: probe 'p' records a row every 100 steps, but the run ends after 99"),
        "{stderr}"
    );
    assert!(!good(&dir, &[&run[..], &["100"]].concat()).1.contains("warning"));
    for option in [["--examples", "3"], ["--data", "here"]] {
        said.text(bad(&project(&(toml.to_string() + DATA)), &[&run[..], &["100"], &option].concat()));
    }
    let fast = "dt = 0.003\n[[neurons]]\nname = \"n\"\nn = 50\ntype = \"lif\"\n[[probe]]\nname = \"p\"\ntarget = \"n\"\n";
    let (_, stderr) = good(&project(fast), &[&run[..], &["3"]].concat());
    assert!(stderr.contains("warning: the LIF neurons of 'n'"), "{stderr}");
}

const DATA: &str = "[data]\nformat = \"csv\"\npath = \"points.csv\"\n";

#[test]
fn runs_of_no_length_are_refused_with_what_was_given() {
    let said = Messages::of("runs of no length are refused with what was given");
    let dir = project(STILL);
    for (option, given) in [("--time", "0"), ("--time", "-1"), ("--time", "nan"), ("--time", "inf")] {
        said.text(bad(&dir, &["run", "net.toml", "--device", "cpu", &format!("{option}={given}")]));
    }
    for command in ["run", "plan"] {
        said.text(bad(
            &project(&format!("dt = 0.0\n{STILL}")),
            &[command, "net.toml", "--device", "cpu", "--time", "1"],
        ));
        for given in ["0", "-5", "1.5", "ten"] {
            let out = start(&dir, &[command, "net.toml", "--device", "cpu", "--steps", given]);
            let error = String::from_utf8(out.stderr).unwrap();
            assert_eq!(out.status.code(), Some(2), "{error}");
            let wanted = format!("'{given}' for '--steps <N>': it must be a whole number of at least 1");
            assert!(error.contains(&wanted), "{error}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_printed_are_a_failure() {
    let dir = project(STILL);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut run = command(&dir, &["run", "net.toml", "--device", "cpu"]);
    let out = run.stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the results could not be printed"), "{stderr}");
}

#[test]
fn rates_of_ensembles_are_shown() {
    let said = Messages::of("rates of ensembles are shown");
    let net = "[[node]]\nname = \"x\"\nconstant = [0.5]\n[[ensemble]]\nname = \"a\"\nn-neurons = 30\ndimensions = 1\n\
        [[connection]]\npre = \"x\"\npost = \"a\"\n[[output]]\nof = \"a\"\nname = \"square\"\n\
        function = \"x0 * x0\"\n[[probe]]\nname = \"p\"\ntarget = \"a.square\"\n";
    let dir = project(net);
    let (stdout, _) = good(&dir, &["run", "net.toml", "--device", "cpu", "--steps", "5", "--rates"]);
    let row = stdout.lines().find(|line| line.trim_start().starts_with("a ")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(&cells[..3], ["a", "30", "0"], "{stdout}");
    // The default's highest rates lie between 200 and 400 Hz.
    let highest: f64 = cells[5].parse().unwrap();
    assert!(highest > 200.0 && highest <= 401.0, "{stdout}");
    let dir = project(NETWORK);
    said.text(bad(&dir, &["run", "net.toml", "--device", "cpu", "--rates"]));
}
