//! Networks that were trained with rates and run with spikes, and weights that a run has learned.

use std::path::Path;

use ndarray::{Array3, Axis};

use crate::common::messages::Messages;
use crate::program::{bad, good, project};

fn read(path: &Path) -> Array3<f32> {
    ndarray_npy::read_npy(path).unwrap()
}

/// The place of the largest number in each example's last row.
fn answers(path: &Path) -> Vec<usize> {
    let all = read(path);
    let last = all.index_axis(Axis(1), all.dim().1 - 1);
    let largest = |row: ndarray::ArrayView1<f32>| {
        row.iter().enumerate().fold((0, f32::MIN), |best, (i, x)| if *x > best.1 { (i, *x) } else { best }).0
    };
    last.outer_iter().map(largest).collect()
}

/// Handwritten digits through ReLUs, for few epochs.
fn digits() -> String {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let toml = std::fs::read_to_string(examples.join("digits.toml")).unwrap();
    let data = examples.join("data/digits.csv.gz");
    let path = toml.lines().find(|line| line.starts_with("path = ")).unwrap();
    toml.replace(path, &format!("path = {:?}", data.to_str().unwrap()))
}

#[test]
fn relus_run_as_spikes_give_the_answers_of_rates() {
    let said = Messages::of("relus run as spikes give the answers of rates");
    let dir = project(&digits());
    good(&dir, &["train", "net.toml", "--device", "cpu", "--quiet", "--epochs", "4", "--out", "t"]);
    let spiking = digits().replace("activation = \"relu\"", "neurons = \"spiking-rectified-linear\"");
    std::fs::write(dir.path().join("spiking.toml"), spiking).unwrap();
    let run = |toml: &str, out: &str, more: &[&str]| {
        let args =
            ["run", toml, "--device", "cpu", "--params", "t/params.safetensors", "--out", out, "--last"];
        good(&dir, &[&args[..], more].concat());
        answers(&dir.path().join(out).join("output.npy"))
    };
    let rates = run("net.toml", "rates", &[]);
    let agree = |other: Vec<usize>| {
        rates.iter().zip(&other).filter(|(a, b)| a == b).count() as f64 / rates.len() as f64
    };
    let how = ["--scale-firing-rates", "100", "--synapse", "0.01", "--steps", "100"];
    assert!(agree(run("net.toml", "swapped", &[&["--spiking"], &how[..]].concat())) > 0.97);
    assert!(agree(run("spiking.toml", "written", &how)) > 0.97);
    // Without either, spikes are too few and too high to tell.
    assert!(agree(run("net.toml", "bare", &["--spiking"])) < 0.5);

    let params = ["--params", "t/params.safetensors"];
    let of =
        |more: &[&str]| bad(&dir, &[&["run", "net.toml", "--device", "cpu"], &params[..], more].concat());
    said.text(of(&["--scale-firing-rates", "100"]));
    said.text(of(&["--spiking", "--scale-firing-rates", "0"]));
}

/// An ensemble whose decoders learn to send on what it represents.
const LEARNS: &str = r#"
[[node]]
name = "x"
function = "sin(6*t)"
[[ensemble]]
name = "a"
n-neurons = 50
input = "x"
[[node]]
name = "y"
passthrough = 1
[[connection]]
name = "c"
pre = "a"
post = "y"
function = "0*x"
learning-rule = { pes = { learning-rate = 1e-3 } }
[[node]]
name = "error"
passthrough = 1
[[connection]]
pre = "y"
post = "error"
[[connection]]
pre = "x"
post = "error"
transform = -1.0
[[connection]]
pre = "error"
post = "c/learning-rule"
synapse = 0.001
[[probe]]
name = "w"
connection = "c"
signal = "weights"
[[probe]]
name = "y"
target = "y"
synapse = 0.03
"#;

#[test]
fn learned_weights_of_a_run_are_saved_and_read_again() {
    let dir = project(LEARNS);
    let run = |more: &[&str]| good(&dir, &[&["run", "net.toml", "--device", "cpu"], more].concat()).0;
    let said = run(&["--steps", "2000", "--out", "o", "--save-params", "learned.safetensors"]);
    assert!(said.contains("learned.safetensors, with the weights that 1 connection has learned"), "{said}");
    let weights = read(&dir.path().join("o/w.npy"));
    let last: Vec<f32> = weights.index_axis(Axis(1), 1999).iter().copied().collect();
    let (tensors, _) = nengo_wgpu::io::params::load(dir.path().join("learned.safetensors")).unwrap();
    let (_, saved) = &tensors["c/weights"];
    let off = |other: &[f32]| other.iter().zip(&last).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(last.iter().any(|w| w.abs() > 1e-4) && off(saved) < 1e-6, "{}", off(saved));
    run(&["--steps", "1", "--out", "again", "--params", "learned.safetensors"]);
    let again = read(&dir.path().join("again/w.npy"));
    let again: Vec<f32> = again.iter().copied().collect();
    assert!(off(&again) < 1e-5, "{}", off(&again));
}
