//! The program as users start it: what it writes, what it prints, and how it fails.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nengo_wgpu::network::NetworkSpec;
use nengo_wgpu::{Device, Options, Simulator};
use serde_json::Value;
use tempfile::TempDir;

const NETWORK: &str = r#"
[[node]]
name = "x"
size = 2

[[layer]]
name = "hidden"
input = "x"
units = 8
activation = "tanh"
dropout = 0.1

[[layer]]
name = "class"
input = "hidden"
units = 3

[[probe]]
name = "output"
target = "class"

[data]
format = "csv"
path = "points.csv"

[split]
test = 30
validation = 0.1

[train]
epochs = 4
minibatch = 16
learning-rate = 0.05
loss = "cross-entropy"
optimiser = { kind = "sgd", momentum = 0.9 }

[[train.penalty]]
on = "weights"
l2-half = 1e-3
"#;

/// A directory with `net.toml` and its data: points around three centres.
fn project(toml: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for i in 0..180 {
        let (class, angle) = (i % 3, i as f64 * 2.4);
        let (x, y) = [(0.0, 1.5), (1.5, -1.0), (-1.5, -1.0)][class];
        let radius = 0.05 * (i % 17) as f64;
        writeln!(text, "{:.4},{:.4},{class}", x + radius * angle.cos(), y + radius * angle.sin()).unwrap();
    }
    std::fs::write(dir.path().join("points.csv"), text).unwrap();
    std::fs::write(dir.path().join("net.toml"), toml).unwrap();
    dir
}

fn command(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nengo-wgpu"));
    command.current_dir(dir.path()).args(args).env_remove("NENGO_WGPU_DEVICE");
    command
}

fn start(dir: &TempDir, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

/// Runs and expects success; gives stdout and stderr.
fn good(dir: &TempDir, args: &[&str]) -> (String, String) {
    let out = start(dir, args);
    let (stdout, stderr) = (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
    assert_eq!(out.status.code(), Some(0), "{args:?}: {stdout}{stderr}");
    (stdout, stderr)
}

/// Runs and expects exit code 1 with one line that starts with `error: `.
fn bad(dir: &TempDir, args: &[&str]) -> String {
    let out = start(dir, args);
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{args:?}: {stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
    let error = stderr.lines().find(|line| line.starts_with("error: ") && !line.contains("XDG_RUNTIME_DIR"));
    error.unwrap_or_else(|| panic!("no error in {stderr}")).to_string()
}

fn train_bad(toml: &str) -> String {
    bad(&project(toml), &["train", "net.toml", "--device", "cpu"])
}

fn log(path: PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn training_writes_four_files_with_what_is_promised() {
    let dir = project(NETWORK);
    let (stdout, stderr) = good(&dir, &["train", "net.toml", "--device", "cpu"]);
    assert!(stderr.starts_with("device: cpu"), "{stderr}");
    assert_eq!(stderr.lines().filter(|line| line.starts_with("epoch ")).count(), 4);
    assert!(stdout.contains("accuracy") && stdout.contains("runs/net"), "{stdout}");

    let out = dir.path().join("runs/net");
    for file in ["params.safetensors", "checkpoint.safetensors"] {
        let (tensors, _) = nengo_wgpu::io::params::load(out.join(file)).unwrap();
        assert!(tensors.contains_key("hidden/weights"), "{file}");
    }
    let svg = std::fs::read_to_string(out.join("loss.svg")).unwrap();
    for part in ["<svg", "epoch", "loss", "accuracy", "training", "validation"] {
        assert!(svg.contains(part), "{part}");
    }
    let lines = log(out.join("log.jsonl"));
    assert_eq!(lines.len(), 5);
    for (i, line) in lines[..4].iter().enumerate() {
        assert_eq!(line["epoch"], i + 1);
        assert_eq!(line["step"], 9 * (i + 1));
        for key in [
            "seconds",
            "loss",
            "penalty",
            "accuracy",
            "examples_per_s",
            "steps_per_s",
            "validation_loss",
            "validation_accuracy",
        ] {
            assert!(line[key].as_f64().is_some_and(|x| x > 0.0), "{key}: {line}");
        }
    }
    let last = &lines[4];
    assert_eq!(last["final"], true);
    assert!(last["test_accuracy"].as_f64().unwrap() > 0.9, "{last}");
    assert!(last["test_loss"].is_number() && last["device"].as_str().unwrap().starts_with("cpu"));
    for name in ["hidden/weights", "hidden/bias", "class/weights", "class/bias"] {
        assert!(last["l2_norm"][name].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn training_on_the_software_adapter_agrees_with_the_cpu() {
    let dir = project(NETWORK);
    good(&dir, &["train", "net.toml", "--device", "cpu", "--out", "a", "--quiet"]);
    let (_, stderr) = good(&dir, &["train", "net.toml", "--device", "software", "--out", "b", "--quiet"]);
    assert!(!stderr.contains("epoch"), "{stderr}");
    let [a, b] = ["a", "b"].map(|d| log(dir.path().join(d).join("log.jsonl")));
    assert!(b[4]["device"].as_str().unwrap().contains("software adapter"));
    for (a, b) in a.iter().zip(&b).take(4) {
        let (a, b) = (a["loss"].as_f64().unwrap(), b["loss"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-3 * a, "{a} {b}");
    }
}

#[test]
fn a_resumed_training_is_the_uninterrupted_one_bit_for_bit() {
    let dir = project(NETWORK);
    let train = |out: &str, more: &[&str]| {
        good(&dir, &[&["train", "net.toml", "--device", "cpu", "--quiet", "--out", out], more].concat());
    };
    train("whole", &["--epochs", "6"]);
    train("parts", &["--epochs", "2"]);
    train("parts", &["--epochs", "5", "--resume"]);
    train("parts", &["--epochs", "6", "--resume"]);
    // Nothing is left to train.
    train("parts", &["--epochs", "6", "--resume"]);
    for file in ["params.safetensors", "checkpoint.safetensors"] {
        let [a, b] = ["whole", "parts"].map(|out| std::fs::read(dir.path().join(out).join(file)).unwrap());
        assert!(a == b, "{file}");
    }
    let [a, b] = ["whole", "parts"].map(|out| log(dir.path().join(out).join("log.jsonl")));
    assert_eq!((a.len(), b.len()), (7, 7));
    for (a, b) in a.iter().zip(&b) {
        for key in ["epoch", "step", "loss", "accuracy", "validation_loss", "test_accuracy"] {
            assert_eq!(a.get(key), b.get(key), "{key}");
        }
    }
}

#[test]
fn a_killed_training_leaves_a_whole_checkpoint() {
    let dir = project(NETWORK);
    let path = dir.path().join("out/checkpoint.safetensors");
    let spec = NetworkSpec::read(dir.path().join("net.toml")).unwrap();
    let net = spec.build().unwrap();
    for wait in [0, 7, 23] {
        let args = ["train", "net.toml", "--device", "cpu", "--quiet", "--out", "out", "--epochs", "1000000"];
        let mut child = command(&dir, &args).spawn().unwrap();
        let start = Instant::now();
        while !path.exists() && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();

        let options = Options { minibatch: 16, ..Options::default() };
        let mut sim = Simulator::with(&net, &Device::cpu(), options).unwrap();
        sim.compile(spec.training(&net, 135).unwrap()).unwrap();
        sim.load_checkpoint(&path).unwrap();
        let done = sim.epochs_done();
        assert!(done > 0);
        let epochs = (done + 1).to_string();
        good(
            &dir,
            &["train", "net.toml", "--device", "cpu", "--out", "out", "--resume", "--epochs", &epochs],
        );
        let lines = log(dir.path().join("out/log.jsonl"));
        let epochs: Vec<u64> = lines.iter().filter_map(|line| line["epoch"].as_u64()).collect();
        assert_eq!(epochs, (1..=done + 1).collect::<Vec<_>>());
        std::fs::remove_file(&path).unwrap();
    }
}

/// A limit on file sizes stands for the full disk: a write past it fails in the middle, as there.
#[cfg(unix)]
#[test]
fn a_full_disk_ends_the_run_with_its_last_checkpoint_whole() {
    let dir = project(NETWORK);
    good(&dir, &["train", "net.toml", "--device", "cpu", "--epochs", "2", "--out", "out"]);
    let checkpoint = dir.path().join("out/checkpoint.safetensors");
    let before = std::fs::read(&checkpoint).unwrap();
    assert!(before.len() > 512, "the limit would not be met");
    let program = env!("CARGO_BIN_EXE_nengo-wgpu");
    let limited = format!(
        "trap '' XFSZ; ulimit -f 1; exec '{program}' train net.toml --device cpu --resume --epochs 4 --out out"
    );
    let out = Command::new("sh").args(["-c", &limited]).current_dir(dir.path()).output().unwrap();
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("error: cannot ") && !stderr.contains("panicked"), "{stderr}");
    assert_eq!(std::fs::read(&checkpoint).unwrap(), before);
    let left: Vec<_> =
        std::fs::read_dir(dir.path().join("out")).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("tmp")), "{left:?}");
    good(&dir, &["train", "net.toml", "--device", "cpu", "--resume", "--epochs", "4", "--out", "out"]);
}

#[test]
fn early_stopping_ends_where_it_would_without_a_stop() {
    // A rate of zero: the loss never falls after the first epoch.
    let toml =
        NETWORK.replace("learning-rate = 0.05", "learning-rate = 0.0\nearly-stopping = { patience = 3 }");
    let dir = project(&toml.replace("epochs = 4", "epochs = 50"));
    let train =
        |more: &[&str]| good(&dir, &[&["train", "net.toml", "--device", "cpu", "--out", "o"], more].concat());
    train(&["--epochs", "2"]);
    train(&["--resume"]);
    assert_eq!(log(dir.path().join("o/log.jsonl")).len(), 5);
    train(&["--resume"]);
    assert_eq!(log(dir.path().join("o/log.jsonl")).len(), 5);
}

#[test]
fn a_run_shows_and_writes_its_probes() {
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
    let error = bad(&dir, &["run", "net.toml", "--device", "cpu"]);
    assert!(error.contains("node 'x'") && error.contains("[data]"), "{error}");
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
fn a_table_of_many_windows_holds_what_an_array_does() {
    // The software adapter begins with windows of 64 steps and goes on by its pace; the CPU twin takes 1024.
    let integrator = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/integrator.toml");
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

fn files_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_run_draws_the_probes_of_outputs() {
    let toml =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/integrator.toml"));
    let more = "[[node]]\nname = \"pulses\"\narray = [[0], [0], [1000], [0], [1000], [0], [0], [0]]\n\
        [[probe]]\nname = \"a b\"\ntarget = \"pulses\"\n[[probe]]\nname = \"a/B\"\ntarget = \"sum\"\n";
    let dir = project(&format!("{}\n{more}", toml.unwrap()));
    let args = ["run", "net.toml", "--device", "cpu", "--steps", "8", "--plot", "new/pictures"];
    let (stdout, _) = good(&dir, &args);
    assert!(stdout.contains("pictures are in new/pictures"), "{stdout}");
    let pictures = dir.path().join("new/pictures");
    let files = ["a_B-2.svg", "a_b-raster.svg", "a_b-rates.svg", "a_b.svg", "sum.svg"];
    assert_eq!(files_in(&pictures), files);
    let svg = std::fs::read_to_string(pictures.join("a_b-raster.svg")).unwrap();
    let marks = svg.lines().filter(|l| l.starts_with("<polyline") && l.contains("#0072B2")).count();
    assert_eq!(marks, 2, "two pulses");
    let rates = std::fs::read_to_string(pictures.join("a_b-rates.svg")).unwrap();
    assert!(rates.contains("mean of 1 that fire: 250 Hz"));
    good(&dir, &[&args[..7], &["png-alone", "--plot-format", "png"]].concat());
    assert_eq!(files_in(&dir.path().join("png-alone")).len(), 5);
    assert!(std::fs::read(dir.path().join("png-alone/sum.png")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn a_run_over_examples_draws_the_first_with_its_target() {
    let decay = "[[probe]]\nname = \"weights\"\nnorm = \"class/weights\"\n[data]";
    let dir = project(&NETWORK.replace("[data]", decay));
    good(&dir, &["run", "net.toml", "--device", "cpu", "--steps", "3", "--plot", "p"]);
    assert_eq!(files_in(&dir.path().join("p")), ["output.svg"]);
    let svg = std::fs::read_to_string(dir.path().join("p/output.svg")).unwrap();
    assert!(svg.contains("example 0 of 30"));
    assert!((0..3).any(|class| svg.contains(&format!("the target is class {class}"))));
    let squared = NETWORK.replace("\"cross-entropy\"", "\"mean-squared\"");
    let dir = project(&squared);
    good(&dir, &["run", "net.toml", "--device", "cpu", "--examples", "1", "--steps", "3", "--plot", "p"]);
    let svg = std::fs::read_to_string(dir.path().join("p/output.svg")).unwrap();
    assert!(svg.contains("target") && !svg.contains("example 0"));
}

#[test]
fn a_training_draws_its_curves_where_it_is_told_as_well() {
    let dir = project(NETWORK);
    let args = ["train", "net.toml", "--device", "cpu", "--quiet", "--plot", "p", "--plot-format", "both"];
    good(&dir, &args);
    assert_eq!(files_in(&dir.path().join("p")), ["loss.png", "loss.svg", "output.png", "output.svg"]);
    let [a, b] = ["runs/net", "p"].map(|d| std::fs::read(dir.path().join(d).join("loss.svg")).unwrap());
    assert!(a == b);
    let svg = std::fs::read_to_string(dir.path().join("p/output.svg")).unwrap();
    assert!(svg.contains("example 0 of 30") && svg.contains("the target is class"), "{svg}");

    // A probe does not take the curves' place.
    let dir = project(&NETWORK.replace("name = \"output\"", "name = \"Loss\""));
    good(&dir, &args);
    let files = ["Loss-2.png", "Loss-2.svg", "loss.png", "loss.svg"];
    assert_eq!(files_in(&dir.path().join("p")), files);
}

/// A layer of spiking neurons between input and classes, with probes of their states and of their spikes.
fn spiking() -> String {
    let neurons = "[[neurons]]\nname = \"hidden\"\nn = 14\ntype = { lif = { amplitude = 0.01 } }\n\
        [[connection]]\npre = \"x\"\npost = \"hidden\"\ntransform = { dense = \"he\" }\n\
        [[probe]]\nname = \"v\"\ntarget = \"hidden\"\nstate = \"voltage\"\n\
        [[probe]]\nname = \"pause\"\ntarget = \"hidden\"\nstate = \"refractory_time\"\nsample-every = 0.002\n\
        [[probe]]\nname = \"spikes\"\ntarget = \"hidden\"\n";
    let (start, end) =
        (NETWORK.find("[[layer]]").unwrap(), NETWORK.find("[[layer]]\nname = \"class\"").unwrap());
    let toml = format!("{}{neurons}{}", &NETWORK[..start], &NETWORK[end..]);
    let loss = "[[train.loss]]\nprobe = \"output\"\nloss = \"cross-entropy\"\n[[train.penalty]]";
    let toml = toml.replace("loss = \"cross-entropy\"\n", "").replace("[[train.penalty]]", loss);
    toml.replace("[train]", "[train]\nsteps = 40\nspiking = { surrogate = { fast-sigmoid = 5.0 } }")
}

#[test]
fn traces_of_neurons_are_drawn_where_a_probe_reads_their_states() {
    let dir = project(&spiking());
    good(&dir, &["run", "net.toml", "--device", "cpu", "--examples", "2", "--plot", "run"]);
    good(&dir, &["train", "net.toml", "--device", "cpu", "--epochs", "1", "--quiet", "--plot", "train"]);
    for (place, examples) in [("run", 2), ("train", 30)] {
        let place = dir.path().join(place);
        let read = |stem: &str| std::fs::read_to_string(place.join(stem).with_extension("svg")).unwrap();
        let files = files_in(&place);
        for file in ["output.svg", "pause.svg", "spikes.svg", "spikes-raster.svg", "v.svg"] {
            assert!(files.iter().any(|f| f == file), "{file} in {files:?}");
        }
        assert!(!files.contains(&"v-raster.svg".into()) && !files.contains(&"pause-raster.svg".into()));
        for (stem, state, rows) in [("v", "voltage", 40), ("pause", "refractory time", 20)] {
            let svg = read(stem);
            let title = format!("{state} of {stem}");
            let all = [&title, "the first 12 of 14 neurons", &format!("example 0 of {examples}")];
            assert!(all.iter().all(|part| svg.contains(*part)), "{svg}");
            let points = |line: &&str| {
                line.split("points=\"")
                    .nth(1)
                    .map_or(0, |p| p.split_once('"').map_or(0, |p| p.0.split_whitespace().count()))
            };
            let traces = svg.lines().filter(|l| l.starts_with("<polyline") && points(l) == rows).count();
            assert_eq!(traces, 12, "{stem} in {place:?}");
        }
    }
    // The values of a single step are bars, and a probe of every second step has none.
    let one = ["run", "net.toml", "--device", "cpu", "--steps", "1", "--plot", "one"];
    let (_, stderr) = good(&dir, &one);
    assert!(stderr.contains("no picture of probe 'pause'"), "{stderr}");
    let svg = std::fs::read_to_string(dir.path().join("one/v.svg")).unwrap();
    assert!(svg.contains("dimension") && !svg.contains("voltage of v"), "{svg}");
}

#[test]
fn faults_of_the_file_are_told_with_their_place() {
    let error = train_bad(&NETWORK.replace("units = 8", "unit = 8"));
    assert!(error.contains("net.toml:9:1: ") && error.contains("`unit`"), "{error}");
    let error = train_bad(&NETWORK.replace("units = 8", "units = \"8\""));
    assert!(error.contains("net.toml:9:9: "), "{error}");
    let error = train_bad(&NETWORK.replace("input = \"x\"", "input = \"y\""));
    assert!(error.contains("no object named 'y'") && error.contains("hidden"), "{error}");
    let error = train_bad(&NETWORK.replace("on = \"weights\"", "on = \"weight\""));
    assert!(error.contains("no parameter named 'weight'"), "{error}");
    let error = train_bad(&NETWORK.replace("size = 2", "size = 5"));
    assert!(error.contains("node 'x'") && error.contains("135, 2") && error.contains('5'), "{error}");
    let error = train_bad(&NETWORK.replace("units = 3", "units = 2"));
    assert!(error.contains("'output'") && error.contains("class 2"), "{error}");
    let error = train_bad(&NETWORK.replace("input = \"x\"", "input = [\"x\", \"class\"]\nsize-in = 2"));
    assert!(error.contains("the output of 'class' is 3, but the input of 'hidden' is 2"), "{error}");
    let cycle =
        "[[connection]]\npre = \"class\"\npost = \"hidden\"\ntransform = { dense = \"glorot\" }\n[[probe]]";
    let error = train_bad(&NETWORK.replace("[[probe]]", cycle));
    assert!(error.contains("hidden -> class") && error.contains("synapse"), "{error}");
    let error = train_bad(NETWORK.split("[train]").next().unwrap());
    assert!(error.contains("[train]"), "{error}");
    let error = bad(&project(NETWORK), &["train", "nothing.toml"]);
    assert!(error.contains("cannot read nothing.toml"), "{error}");
}

#[test]
fn faults_of_the_data_name_the_file() {
    let error = train_bad(&NETWORK.replace("points.csv", "nothing.csv"));
    assert!(error.contains("cannot read") && error.contains("nothing.csv"), "{error}");
    let with = |text: &[u8]| {
        let dir = project(NETWORK);
        std::fs::write(dir.path().join("points.csv"), text).unwrap();
        bad(&dir, &["train", "net.toml", "--device", "cpu"])
    };
    let error = with(b"1,2,0\n1,nan,1\n");
    assert!(error.contains("points.csv") && error.to_lowercase().contains("nan"), "{error}");
    let error = with(b"1,2,0\n1,2\n");
    assert!(error.contains("points.csv"), "{error}");
    let packed =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/digits.csv.gz")).unwrap();
    let error = with(&packed[..packed.len() / 2]);
    assert!(error.contains("points.csv"), "{error}");
    // Data of another network, of another place than the file says.
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/digits.csv.gz");
    let digits = digits.to_str().unwrap();
    let error = bad(&project(NETWORK), &["train", "net.toml", "--device", "cpu", "--data", digits]);
    assert!(error.contains("node 'x'") && error.contains("64"), "{error}");
}

#[test]
fn files_of_another_network_and_places_that_cannot_be_written_are_refused() {
    let dir = project(NETWORK);
    good(&dir, &["train", "net.toml", "--device", "cpu", "--quiet"]);
    std::fs::write(dir.path().join("other.toml"), NETWORK.replace("units = 8", "units = 9")).unwrap();
    let params = "runs/net/params.safetensors";
    let error = bad(&dir, &["run", "other.toml", "--device", "cpu", "--params", params]);
    assert!(error.contains("another network") && error.contains("hidden/weights"), "{error}");
    let error = bad(&dir, &["train", "other.toml", "--device", "cpu", "--resume", "--out", "runs/net"]);
    assert!(error.contains("another network"), "{error}");
    let error = bad(&dir, &["train", "net.toml", "--device", "cpu", "--resume", "--out", "none"]);
    assert!(error.contains("no checkpoint"), "{error}");
    // A directory inside a file cannot be made, not even by root.
    for command in ["train", "run"] {
        let error = bad(&dir, &[command, "net.toml", "--device", "cpu", "--out", "points.csv/out"]);
        assert!(error.contains("cannot create points.csv/out"), "{error}");
        // Told before the run, which would otherwise never end.
        let long = if command == "run" { ["--steps", "999999999999"] } else { ["--epochs", "999999999"] };
        let args = [command, "net.toml", "--device", "cpu", "--plot", "points.csv/out", long[0], long[1]];
        let error = bad(&dir, &args);
        assert!(error.contains("cannot create points.csv/out"), "{error}");
    }
    let error = bad(&dir, &["train", "net.toml", "--device", "no such thing"]);
    assert!(error.contains("no device 'no such thing'; there is: ") && error.contains("cpu"), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint() {
    let toml =
        NETWORK.replace("learning-rate = 0.05", "learning-rate = 1e30").replace("\"tanh\"", "\"square\"");
    let error = train_bad(&toml);
    assert!(error.contains("at step") && error.contains("learning rate"), "{error}");
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
        assert_eq!(std::fs::read_dir(dir.path().join("o")).unwrap().count(), 0, "{out}");
    }
    good(&dir, &["run", "net.toml", "--device", "cpu", "--steps", "1000", "--out", "o"]);
    let read: ndarray::Array3<f32> = ndarray_npy::read_npy(dir.path().join("o/p.npy")).unwrap();
    assert_eq!(read.dim(), (1, 1000, 2));
}

#[test]
fn a_probe_samples_as_the_file_says() {
    let text =
        "[[node]]\nname = \"c\"\nconstant = [1]\n[[probe]]\nname = \"p\"\ntarget = \"c\"\nsynapse = 0.01\n";
    let dir = project(&format!("{text}sample-every = 0.02\n"));
    let run = ["run", "net.toml", "--device", "cpu", "--time", "0.11", "--out", "o", "--format", "csv"];
    good(&dir, &run);
    let csv = std::fs::read_to_string(dir.path().join("o/p.csv")).unwrap();
    let times: Vec<&str> = csv.lines().skip(1).map(|l| l.split(',').nth(1).unwrap()).collect();
    assert_eq!(times, ["0.020000", "0.040000", "0.060000", "0.080000", "0.100000"]);
    let dir = project(&format!("{text}sample-every = 0.0025\n"));
    let error = bad(&dir, &run);
    assert!(error.contains("probe 'p'") && error.contains("multiple"), "{error}");
}

#[test]
fn runs_of_no_length_are_refused_with_what_was_given() {
    let dir = project("[[node]]\nname = \"c\"\nconstant = [1]\n[[probe]]\nname = \"p\"\ntarget = \"c\"\n");
    for (option, given) in
        [("--steps", "0"), ("--time", "0"), ("--time", "-1"), ("--time", "nan"), ("--time", "inf")]
    {
        let error = bad(&dir, &["run", "net.toml", "--device", "cpu", &format!("{option}={given}")]);
        let said = if given == "nan" { "NaN" } else { given };
        assert!(error.contains(option) && error.contains(said) && error.contains("at least"), "{error}");
    }
    let error = bad(&dir, &["plan", "net.toml", "--device", "cpu", "--steps", "0"]);
    assert!(error.contains("--steps"), "{error}");
}

#[test]
fn a_plan_shows_stages_dispatches_and_bytes() {
    let dir = project(NETWORK);
    let (text, _) = good(&dir, &["plan", "net.toml", "--device", "cpu"]);
    for part in ["batched", "hidden", "matmul", "dispatches", "bytes in all"] {
        assert!(text.contains(part), "'{part}' in {text}");
    }
    let json = |more: &[&str]| {
        let args = [&["plan", "net.toml", "--device", "cpu", "--json"], more].concat();
        serde_json::from_str::<serde_json::Value>(&good(&dir, &args).0).unwrap()
    };
    let (run, train) = (json(&["--steps", "10", "--minibatch", "7"]), json(&["--train"]));
    assert_eq!((run["steps"].as_u64(), run["minibatch"].as_u64()), (Some(10), Some(7)));
    let dispatches = |v: &serde_json::Value| v["dispatches"].as_u64().unwrap();
    assert!(dispatches(&train) > dispatches(&run));
    assert!(train["parameter_bytes"].as_u64() > run["parameter_bytes"].as_u64());
    assert!(train["parts"][0]["program"]["stages"][0]["operators"].is_array());
    assert!(!dir.path().join("runs").exists(), "a plan writes nothing");
}

#[test]
fn wrong_use_ends_with_2_and_help_with_0() {
    let dir = tempfile::tempdir().unwrap();
    let code = |args: &[&str]| start(&dir, args).status.code();
    for args in [
        &["train"][..],
        &["tarin", "x"],
        &["train", "x", "--epoch", "3"],
        &["run", "x", "--steps", "-1"],
        &["run", "x", "--plot", "p", "--plot-format", "jpg"],
        &["run", "x", "--plot-format", "png"],
        &[],
    ] {
        assert_eq!(code(args), Some(2), "{args:?}");
    }
    for args in [
        &["--help"][..],
        &["--version"],
        &["train", "--help"],
        &["run", "--help"],
        &["plan", "--help"],
        &["info", "--help"],
    ] {
        assert_eq!(code(args), Some(0), "{args:?}");
    }
    for command in ["train", "run", "plan", "info"] {
        let (help, _) = good(&dir, &[command, "--help"]);
        assert!(help.contains("Example: nengo-wgpu") && help.contains("--device"), "{help}");
    }
    let (info, _) = good(&dir, &["info", "--device", "cpu"]);
    for part in ["CPU twin", "auto takes", "threads", "matrix products"] {
        assert!(info.contains(part), "{part}: {info}");
    }
    let mut by_variable = command(&dir, &["info"]);
    let out = by_variable.env("NENGO_WGPU_DEVICE", "nothing").output().unwrap();
    assert_eq!(out.status.code(), Some(1));
}

#[test]
fn check_prints_a_row_for_each_gradient_and_fails_where_one_is_off() {
    let (head, tail) = (NETWORK.find("[data]").unwrap(), NETWORK.find("[train]").unwrap());
    // Without data it draws random ones.
    let bare = format!("{}{}", &NETWORK[..head], &NETWORK[tail..]);
    for toml in [NETWORK, &bare] {
        let dir = project(toml);
        let (stdout, _) = good(&dir, &["check", "net.toml", "--device", "cpu", "--elements", "5"]);
        for name in ["hidden/weights", "hidden/bias", "class/weights", "class/bias", "x"] {
            let row = stdout.lines().find(|l| l.split_whitespace().next() == Some(name));
            let row = row.unwrap_or_else(|| panic!("no {name} in {stdout}"));
            let cells: Vec<&str> = row.split_whitespace().collect();
            let elements: usize = cells[1].parse().unwrap();
            assert_eq!(cells[2].parse::<usize>().unwrap(), elements.min(5), "{row}");
            assert!(
                cells[3].parse::<f64>().unwrap() < 1e-4 && cells[4].parse::<f64>().unwrap() < 1e-4,
                "{row}"
            );
        }
        // No device is exact.
        let error = bad(&dir, &["check", "net.toml", "--device", "cpu", "--tolerance", "1e-12"]);
        assert!(error.contains("gradient of '") && error.contains("off by"), "{error}");
    }
}
