//! A project of a user, and the program started in it.
#![allow(dead_code)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub const NETWORK: &str = r#"
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
pub fn project(toml: &str) -> TempDir {
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

pub fn command(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nengo-wgpu"));
    command.current_dir(dir.path()).args(args).env_remove("NENGO_WGPU_DEVICE");
    command
}

pub fn start(dir: &TempDir, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

/// Runs and expects success; gives stdout and stderr.
pub fn good(dir: &TempDir, args: &[&str]) -> (String, String) {
    let out = start(dir, args);
    let (stdout, stderr) = (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
    assert_eq!(out.status.code(), Some(0), "{args:?}: {stdout}{stderr}");
    (stdout, stderr)
}

/// Runs and expects exit code 1 with one line that starts with `error: `.
pub fn bad(dir: &TempDir, args: &[&str]) -> String {
    let out = start(dir, args);
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{args:?}: {stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
    let error = stderr.lines().find(|line| line.starts_with("error: ") && !line.contains("XDG_RUNTIME_DIR"));
    error.unwrap_or_else(|| panic!("no error in {stderr}")).to_string()
}

pub fn log(path: PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A layer of spiking neurons between input and classes, with probes of their states and of their spikes.
pub fn spiking() -> String {
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

/// Waits until a file is there.
pub fn wait_for(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a signal by its name.
#[cfg(unix)]
pub fn send(child: &Child, signal: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status().unwrap();
    assert!(sent.success());
}

pub fn files_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
