//! `nengo-wgpu bench net`: its output and its errors.

use crate::common::messages::Messages;
use crate::program::{bad, good, project, start};
use serde_json::Value;
use tempfile::TempDir;

const SMALL: [&str; 14] = [
    "--dimensions",
    "4",
    "--neurons-per-d",
    "5",
    "--steps",
    "3",
    "--repeats",
    "2",
    "--device",
    "cpu",
    "--n-ensembles",
    "3",
    "--connections",
    "2",
];

fn net<'a>(name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["bench", "net", name], &SMALL[..], more].concat()
}

fn json(dir: &TempDir, name: &str, more: &[&str]) -> Value {
    let (stdout, _) = good(dir, &[&net(name, more)[..], &["--json"]].concat());
    serde_json::from_str(stdout.trim()).unwrap()
}

#[test]
fn every_benchmark_network_is_timed() {
    let dir = project("");
    // An ensemble for each dimension has as many neurons as are asked for.
    for (name, neurons) in [("integrator", 20), ("pes", 20), ("basal_ganglia", 100), ("random-network", 60)] {
        let seen = json(&dir, name, &["--neuron-type", "lif"]);
        assert_eq!(seen["neurons"], neurons, "{seen}");
        assert_eq!((&seen["net"], &seen["train"]), (&name.replace('_', "-").into(), &false.into()));
        let (seconds, steps) =
            (seen["seconds"].as_f64().unwrap(), seen["steps_per_second"].as_f64().unwrap());
        assert!((seconds * steps - 3.0).abs() < 1e-6, "{seen}");
        assert!(seen["least"].as_f64() <= Some(seconds) && seen["most"].as_f64() >= Some(seconds));
        assert!(seen["build_seconds"].as_f64() > Some(0.0));
    }
    let seen = json(&dir, "cconv", &["--train", "--batch", "2"]);
    assert_eq!((&seen["batch"], &seen["train"]), (&2.into(), &true.into()));
    let (stdout, _) = good(&dir, &net("cconv", &[]));
    for part in
        ["cconv forward:", "rectified-linear neurons, batch 1, 3 steps", "neuron updates/s", "built in"]
    {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    // Of sizes that are their own.
    for name in ["lmu", "mnist"] {
        let (stdout, _) = good(&dir, &net(name, &[]));
        assert!(stdout.starts_with(&format!("{name} forward: batch 1, 3 steps")), "{stdout}");
    }
}

#[test]
fn a_peer_that_cannot_be_run_costs_no_figure_of_ours() {
    let said = Messages::of("a peer that cannot be run costs no figure of ours");
    let dir = project("");
    let args = net("integrator", &["--vs", "nengo=no-such-python"]);
    said.text(bad(&dir, &args));
    let stdout = String::from_utf8(start(&dir, &args).stdout).unwrap();
    assert!(stdout.contains("nengo-wgpu on cpu"), "{stdout}");
}

#[test]
fn peers_have_a_part_where_they_can() {
    let said = Messages::of("peers have a part where they can");
    let dir = project("");
    let bench = ["bench", "neurons", "--device", "cpu", "--repeats", "1", "--vs", "torch=no-such-python"];
    said.text(bad(&dir, &bench));
    let args = ["bench", "rnn", "--device", "cpu", "--repeats", "1", "--vs", "torch=no-such-python"];
    let out = start(&dir, &args);
    let (stdout, stderr) = (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
    assert!(stdout.contains("training") && stdout.contains("forward"), "{stdout}");
    assert!(stderr.contains("'no-such-python' cannot be run") && out.status.code() == Some(1), "{stderr}");
}

#[test]
fn benchmarks_that_cannot_be_timed_are_refused_by_name() {
    let said = Messages::of("benchmarks that cannot be timed are refused by name");
    let dir = project("");
    let unknown = String::from_utf8(start(&dir, &net("nope", &[])).stderr).unwrap();
    assert!(unknown.contains("'nope'") && unknown.contains("basal-ganglia"), "{unknown}");
    said.text(bad(&dir, &net("cconv", &["--neuron-type", "lift"])));
    said.text(bad(&dir, &net("pes", &["--train"])));
    let zero = |option| bad(&dir, &["bench", "net", "integrator", "--device", "cpu", option, "0"]);
    said.text(zero("--steps"));
    for option in ["--dimensions", "--neurons-per-d"] {
        said.text(zero(option));
    }
}
