//! Programs that a signal ends: their records, their messages, and no half-written file.
#![cfg(unix)]

use std::path::Path;
use std::process::Stdio;

use ndarray::Array3;

use crate::program::{NETWORK, bad, command, files_in, good, log, project, send, wait_for};

/// A network that runs as long as it is let.
const ENDLESS: &str = "[[node]]\nname = \"x\"\nfunction = \"sin(t)\"\n[[ensemble]]\nname = \"a\"\nn-neurons = 100\n\
    input = \"x\"\n[[probe]]\nname = \"p\"\ntarget = \"x\"\nsynapse = 0.01\n[[probe]]\nname = \"q\"\ntarget = \"a\"\n\
    sample-every = 1.0\n";

fn read(path: &Path) -> Array3<f32> {
    ndarray_npy::read_npy(path).unwrap()
}

#[test]
fn a_training_ended_by_a_signal_resumes_bit_for_bit() {
    let dir = project(NETWORK);
    let train = |out: &str, more: &[&str]| {
        [&["train", "net.toml", "--device", "cpu", "--quiet", "--out", out], more]
            .concat()
            .iter()
            .map(|a| a.to_string())
            .collect::<Vec<String>>()
    };
    let of = |args: &[String]| command(&dir, &args.iter().map(String::as_str).collect::<Vec<_>>());
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("KILL", 0)] {
        let mut start = of(&train(signal, &["--epochs", "1000000"]));
        let child = start.stderr(Stdio::piped()).spawn().unwrap();
        let out = dir.path().join(signal);
        wait_for(&out.join("checkpoint.safetensors"));
        send(&child, signal);
        let ended = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        if code > 0 {
            assert_eq!(ended.status.code(), Some(code), "{stderr}");
            let advice =
                format!("ended by SIG{signal}; --resume continues from {signal}/checkpoint.safetensors");
            assert!(stderr.contains(&advice), "{stderr}");
            assert_eq!(files_in(&out), ["checkpoint.safetensors", "log.jsonl"]);
        } else {
            // The next start removes the files that a kill may have left.
            std::fs::write(out.join(".nengo-wgpu-left.tmp"), "half").unwrap();
        }
        let epochs = (log(out.join("log.jsonl")).len() + 1).to_string();
        assert!(of(&train(signal, &["--resume", "--epochs", &epochs])).status().unwrap().success());
        assert!(of(&train("whole", &["--overwrite", "--epochs", &epochs])).status().unwrap().success());
        let files = ["checkpoint.safetensors", "log.jsonl", "loss.svg", "params.safetensors"];
        assert_eq!(files_in(&out), files);
        for file in ["params.safetensors", "checkpoint.safetensors"] {
            let [a, b] = [signal, "whole"].map(|out| std::fs::read(dir.path().join(out).join(file)).unwrap());
            assert!(a == b, "{file} after SIG{signal}");
        }
    }
}

#[test]
fn a_run_that_a_signal_ends_keeps_its_rows() {
    let dir = project(ENDLESS);
    let steps = "20000000";
    good(&dir, &["run", "net.toml", "--device", "cpu", "--steps", "3000", "--out", "whole"]);
    let whole = read(&dir.path().join("whole/p.npy"));
    for (place, format, signal) in [("o", "npy", "TERM"), ("o/all.npz", "npz", "INT"), ("t", "csv", "TERM")] {
        let args =
            ["run", "net.toml", "--device", "cpu", "--steps", steps, "--out", place, "--format", format];
        let child = command(&dir, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1500));
        send(&child, signal);
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(if signal == "TERM" { 143 } else { 130 }), "{said}");
        if !said.contains(&format!("of {steps} steps; what was recorded so far is kept")) {
            // It was still making ready.
            assert!(said.contains("ended by SIG"), "{said}");
            continue;
        }
        let path = dir.path().join(place);
        let rows: Vec<f32> = match format {
            "npy" => read(&path.join("p.npy")).into_iter().collect(),
            "npz" => {
                let file = std::fs::File::open(&path).unwrap();
                let all: Array3<f32> = ndarray_npy::NpzReader::new(file).unwrap().by_name("p").unwrap();
                all.into_iter().collect()
            }
            _ => {
                let text = std::fs::read_to_string(path.join("p.csv")).unwrap();
                text.lines().skip(1).map(|l| l.rsplit(',').next().unwrap().parse().unwrap()).collect()
            }
        };
        let n = rows.len().min(whole.len());
        assert!(n > 0 && rows.len() < 20_000_000);
        // Windows of other lengths round otherwise.
        let off = rows.iter().zip(&whole).take(n).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-4, "{format}: {off}");
        let table = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(
            table.lines().nth(1).unwrap().split_whitespace().nth(2),
            Some(rows.len().to_string().as_str())
        );
    }
    assert!(files_in(&dir.path().join("t")).iter().all(|name| name.ends_with(".csv")));
}

#[test]
fn of_two_trainings_into_one_directory_the_second_is_refused() {
    let dir = project(NETWORK);
    for wait in [0, 20, 100] {
        let out = format!("o{wait}");
        let args = ["train", "net.toml", "--device", "cpu", "--quiet", "--out", &out, "--epochs", "1000000"];
        let mut first = command(&dir, &args).spawn().unwrap();
        wait_for(&dir.path().join(&out).join("log.jsonl"));
        std::thread::sleep(std::time::Duration::from_millis(wait));
        for second in [&["--seed", "7"][..], &["--resume"], &["--overwrite"]] {
            let error = bad(&dir, &[&args[..7], second].concat());
            assert!(error.contains("in use") && error.contains(&out), "{error}");
        }
        for option in ["--out", "--plot"] {
            let error = bad(&dir, &["run", "net.toml", "--device", "cpu", option, &out]);
            assert!(error.contains("in use") && error.contains(&out), "{error}");
        }
        wait_for(&dir.path().join(&out).join("checkpoint.safetensors"));
        first.kill().unwrap();
        first.wait().unwrap();
        let epochs: Vec<u64> = log(dir.path().join(&out).join("log.jsonl"))
            .iter()
            .map(|l| l["epoch"].as_u64().unwrap())
            .collect();
        assert_eq!(epochs, (1..=epochs.len() as u64).collect::<Vec<_>>());
        // The lock of a killed process holds nobody up.
        let more = (epochs.len() + 1).to_string();
        good(&dir, &[&args[..7], &["--resume", "--epochs", &more]].concat());
    }
}
