//! `nengo-wgpu train`: its files, its checkpoints, and the files after it was killed or has failed.

use std::process::Command;
use std::time::Duration;

use crate::common::messages::Messages;
use crate::program::{NETWORK, bad, command, files_in, good, log, project, wait_for};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::{Device, Options, Simulator};

#[test]
fn training_writes_its_four_files() {
    let dir = project(NETWORK);
    let (stdout, stderr) = good(&dir, &["train", "net.toml", "--device", "cpu"]);
    assert!(stderr.starts_with("device: cpu"), "{stderr}");
    let epochs: Vec<&str> = stderr.lines().filter(|line| line.starts_with("epoch ")).collect();
    assert_eq!(epochs.len(), 4);
    assert!(epochs.iter().all(|line| line.chars().count() <= 80 && line.contains("penalty")), "{stderr}");
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
        wait_for(&path);
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
        std::fs::remove_dir_all(dir.path().join("out")).unwrap();
    }
}

#[test]
fn a_training_that_was_not_finished_is_not_thrown_away() {
    let said = Messages::of("a training that was not finished is not thrown away");
    let dir = project(NETWORK);
    let (place, started) = (dir.path().join("out"), ["train", "net.toml", "--device", "cpu", "--out", "out"]);
    good(&dir, &started);
    let text = std::fs::read_to_string(place.join("log.jsonl")).unwrap();
    let epochs = text.lines().take(2).fold(String::new(), |all, line| all + line + "\n");
    std::fs::write(place.join("log.jsonl"), &epochs).unwrap();
    let before = std::fs::read(place.join("checkpoint.safetensors")).unwrap();
    said.text(bad(&dir, &started));
    assert_eq!(std::fs::read(place.join("checkpoint.safetensors")).unwrap(), before);
    assert_eq!(std::fs::read_to_string(place.join("log.jsonl")).unwrap(), epochs);
    good(&dir, &[&started[..], &["--overwrite"]].concat());
    assert_eq!(log(place.join("log.jsonl")).len(), 5);
    assert_eq!(files_in(&place), FILES);
}

const FILES: [&str; 4] = ["checkpoint.safetensors", "log.jsonl", "loss.svg", "params.safetensors"];

#[test]
fn a_finished_training_stays_whole_until_the_one_that_overwrites_it_is_finished() {
    let said = Messages::of("a finished training stays whole until the one that overwrites it is finished");
    let dir = project(NETWORK);
    let place = dir.path().join("runs/net");
    let train = ["train", "net.toml", "--device", "cpu"];
    good(&dir, &train);
    let whole = || FILES.map(|name| std::fs::read(place.join(name)).unwrap());
    let before = whole();
    said.text(bad(&dir, &train));
    assert!(whole() == before);

    // A training that overwrites it and is killed leaves it whole, and can be resumed.
    let again = [&train[..], &["--overwrite", "--seed", "3"]].concat();
    let mut child = command(&dir, &[&again[..], &["--epochs", "1000000"]].concat()).spawn().unwrap();
    wait_for(&place.join("unfinished/checkpoint.safetensors"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(whole() == before);
    said.text(bad(&dir, &train));
    assert!(whole() == before);
    let epochs = log(place.join("unfinished/log.jsonl")).len() as u64 + 1;
    good(&dir, &[&train[..], &["--resume", "--epochs", &epochs.to_string()]].concat());
    assert_eq!(log(place.join("log.jsonl")).len() as u64, epochs + 1);
    assert_eq!(files_in(&place), FILES);

    // One that fails leaves it whole, too.
    let before = whole();
    let steep =
        NETWORK.replace("learning-rate = 0.05", "learning-rate = 1e30").replace("\"tanh\"", "\"square\"");
    std::fs::write(dir.path().join("net.toml"), steep).unwrap();
    bad(&dir, &again);
    assert!(whole() == before);
    // One that was killed while its files took their places is brought to its end by the next start.
    std::fs::create_dir_all(place.join("unfinished")).unwrap();
    for name in ["log.jsonl", "loss.svg"] {
        std::fs::rename(place.join(name), place.join("unfinished").join(name)).unwrap();
    }
    said.text(bad(&dir, &train));
    assert_eq!(files_in(&place), FILES);
    assert!(whole() == before);
}

#[test]
fn a_resumed_training_with_other_settings_lists_them() {
    let dir = project(NETWORK);
    let train = |toml: &str, more: &[&str]| {
        std::fs::write(dir.path().join("net.toml"), toml).unwrap();
        good(&dir, &[&["train", "net.toml", "--device", "cpu", "--out", "o"], more].concat()).1
    };
    train(NETWORK, &["--epochs", "2"]);
    let same = train(NETWORK, &["--epochs", "3", "--resume"]);
    assert!(!same.contains("warning"), "{same}");
    let other = NETWORK.replace("minibatch = 16", "minibatch = 32").replace("rate = 0.05", "rate = 0.5");
    let other = format!("seed = 5\n{other}\n[train.schedule]\nkind = \"cosine\"\n");
    let said = train(&other, &["--epochs", "4", "--resume"]);
    for part in [
        "minibatches of 16, and goes on with 32",
        "the learning rate 0.05, and goes on with 0.5",
        "the checkpoint's seed, 0, is used in place of 5",
        "the schedule's learning rate is 0 at training step 27",
    ] {
        assert!(said.contains(part), "{part}: {said}");
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
fn a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint() {
    let said = Messages::of("a loss that is not finite ends the run and keeps the checkpoint");
    let toml =
        NETWORK.replace("learning-rate = 0.05", "learning-rate = 1e30").replace("\"tanh\"", "\"square\"");
    said.text(bad(&project(&toml), &["train", "net.toml", "--device", "cpu"]));
}
