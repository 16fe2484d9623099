//! Messages of `nengo-wgpu train` on resumed trainings with other settings, trainings of nothing, and early stopping.

use crate::common::messages::Messages;
use crate::program::{bad, good, log};
use tempfile::TempDir;

/// A unit on three numbers.
const UNIT: &str = r#"
[[node]]
name = "x"
size = 3
[[layer]]
name = "y"
input = "x"
units = 1
init = { values = [0.1, 0.2, 0.3] }
[[probe]]
name = "p"
target = "y"
[data]
format = "csv"
path = "d.csv"
targets = 1
[train]
epochs = 2
minibatch = 4
shuffle = false
learning-rate = 0.1
loss = "mean-squared"
"#;

/// A directory with the data `d.csv`, and others as `other.csv`.
fn project() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let rows = |scale: f64| {
        let row = |i: usize| {
            let [a, b, c] = [1.3, 2.7, 4.1].map(|k| (k * i as f64).sin());
            format!("{a:.4},{b:.4},{c:.4},{:.4}\n", scale * (2.0 * a - b + 0.5))
        };
        (0..10).map(row).collect::<String>()
    };
    std::fs::write(dir.path().join("d.csv"), rows(1.0)).unwrap();
    std::fs::write(dir.path().join("other.csv"), rows(1.1)).unwrap();
    dir
}

/// The messages of a training of this file, in directory `o`.
fn train(dir: &TempDir, toml: &str, more: &[&str]) -> (String, String) {
    std::fs::write(dir.path().join("net.toml"), toml).unwrap();
    good(dir, &[&["train", "net.toml", "--device", "cpu", "--out", "o"], more].concat())
}

#[test]
fn a_resumed_training_names_each_setting_that_differs() {
    let dir = project();
    let start = UNIT.replace("loss =", "optimiser = { kind = \"sgd\", momentum = 0.5 }\nloss =");
    let changes: [(&str, &str, &str); 12] = [
        (
            "\"mean-squared\"",
            "\"mean-absolute\"",
            "the loss \"mean-squared\" on probe 'p', and goes on with \"mean-absolute\"",
        ),
        ("d.csv", "other.csv", "data of 10 examples (fingerprint"),
        ("momentum = 0.5", "momentum = 0.25", "the optimiser's momentum 0.5, and goes on with 0.25"),
        ("minibatch = 4", "minibatch = 5", "minibatches of 4, and goes on with 5"),
        ("shuffle = false", "shuffle = true", "shuffle false, and goes on with true"),
        ("rate = 0.1", "rate = 0.2", "the learning rate 0.1, and goes on with 0.2"),
        ("rate = 0.1", "rate = 0.1\nsteps = 3", "steps = 1, and goes on with 3"),
        (
            "rate = 0.1",
            "rate = 0.1\nschedule = \"cosine\"",
            "the schedule \"constant\", and goes on with \"cosine\"",
        ),
        (
            "rate = 0.1",
            "rate = 0.1\nclip = { value = 2.0 }",
            "clip \"none\", and goes on with { value = 2.0 }",
        ),
        (
            "[train]",
            "[split]\nvalidation = 2\n[train]",
            "validation data of 0 examples, and goes on with 2 examples",
        ),
        (
            "[train]",
            "[[train.penalty]]\non = \"weights\"\nl2-half = 0.5\n[train]",
            "the penalty none, and goes on with l2-half = 0.5 on weights",
        ),
        (
            "[train]",
            "[[train.group]]\non = \"y/bias\"\nrate = 0.5\n[train]",
            "the groups none, and goes on with rate = 0.5 on 'y/bias'",
        ),
    ];
    for (from, to, said) in changes {
        // Tables of [train] may stand before it.
        let other = start.replace(from, to).replace("epochs = 2", "epochs = 4");
        assert_ne!(other, start.replace("epochs = 2", "epochs = 4"), "{from}");
        train(&dir, &start, &["--overwrite"]);
        let (_, stderr) = train(&dir, &other, &["--resume"]);
        assert!(stderr.contains(said) && stderr.contains("warning: "), "{said}: {stderr}");
        if from != "[train]" || to.contains("[[") {
            assert_eq!(stderr.matches("warning: ").count(), 1, "{said}: {stderr}");
        }
    }
    let measured = start.replace("loss =", "metrics = [\"mean-error\"]\nloss =");
    for (before, after, said) in [
        (&measured, &start, "the metrics { mean-error = \"p\" }, and goes on with none"),
        (&start, &measured, "the metrics none, and goes on with { mean-error = \"p\" }"),
    ] {
        train(&dir, before, &["--overwrite"]);
        let (_, stderr) = train(&dir, after, &["--epochs", "3", "--resume"]);
        assert!(stderr.contains(said), "{stderr}");
    }
    train(&dir, &start, &["--overwrite"]);
    let (_, same) = train(&dir, &start, &["--epochs", "3", "--resume"]);
    assert!(!same.contains("warning"), "{same}");
}

#[test]
fn the_state_of_another_optimiser_is_refused_in_the_words_of_the_file() {
    let said = Messages::of("the state of another optimiser is refused in the words of the file");
    let dir = project();
    train(&dir, UNIT, &[]);
    for other in ["\"adam\"", "{ kind = \"sgd\", momentum = 0.9 }"] {
        std::fs::write(
            dir.path().join("net.toml"),
            UNIT.replace("loss =", &format!("optimiser = {other}\nloss =")),
        )
        .unwrap();
        let error = bad(&dir, &["train", "net.toml", "--device", "cpu", "--out", "o", "--resume"]);
        said.text(&error);
        assert!(!error.contains("Sgd") && !error.contains("Adam"), "{error}");
    }
}

#[test]
fn a_training_of_nothing_is_refused_before_a_file_is_touched() {
    let said = Messages::of("a training of nothing is refused before a file is touched");
    let dir = project();
    train(&dir, UNIT, &[]);
    let files = || {
        ["checkpoint.safetensors", "params.safetensors", "log.jsonl"]
            .map(|f| std::fs::read(dir.path().join("o").join(f)).unwrap())
    };
    let before = files();
    let all = format!("{UNIT}[[train.group]]\non = \"all\"\nrate = 0\n");
    std::fs::write(dir.path().join("net.toml"), &all).unwrap();
    said.text(bad(&dir, &["train", "net.toml", "--device", "cpu", "--out", "o", "--overwrite"]));
    assert!(files() == before);
    // A narrower group trains it again.
    train(&dir, &format!("{all}[[train.group]]\non = \"y/weights\"\nrate = 1\n"), &["--overwrite"]);
    let (tensors, _) = nengo_wgpu::io::params::load(dir.path().join("o/params.safetensors")).unwrap();
    assert_ne!(tensors["y/weights"].1, [0.1, 0.2, 0.3]);
    assert_eq!(tensors["y/bias"].1, [0.0]);
}

#[test]
fn a_penalty_is_in_the_log_where_there_is_one() {
    let dir = project();
    let (_, stderr) = train(&dir, UNIT, &[]);
    assert!(!stderr.contains("penalty"), "{stderr}");
    assert!(log(dir.path().join("o/log.jsonl")).iter().all(|line| line.get("penalty").is_none()));
    let penalised = format!("{UNIT}[[train.penalty]]\non = \"weights\"\nl2-half = 0.5\n");
    let penalties = |toml: &str| -> Vec<f64> {
        train(&dir, toml, &["--overwrite"]);
        let lines = log(dir.path().join("o/log.jsonl"));
        lines[..2].iter().map(|line| line["penalty"].as_f64().unwrap()).collect()
    };
    // One minibatch an epoch: the first is that of the start, 0.25 · (0.1² + 0.2² + 0.3²).
    for minibatch in ["minibatch = 4", "minibatch = 10"] {
        let toml = penalised.replace("minibatch = 4", minibatch);
        let default = penalties(&toml);
        assert_eq!(default, penalties(&toml.replace("epochs = 2", "epochs = 2\nreport-every = 1")));
        assert!(default.iter().all(|&x| x > 0.03));
        if minibatch.ends_with("10") {
            assert!((default[0] - 0.035).abs() < 1e-6, "{default:?}");
        }
    }
}

#[test]
fn early_stopping_saves_the_best_epoch_and_names_it() {
    // Noise in eight dimensions, and many units: the validation loss soon rises.
    let dir = tempfile::tempdir().unwrap();
    let number =
        |i: usize, j: usize| (f64::from(i as u32 * 9 + j as u32 + 1) * 12.9898).sin() * 43758.5453 % 1.0;
    let row =
        |i: usize| (0..9).map(|j| format!("{:.4}", 2.0 * number(i, j))).collect::<Vec<_>>().join(",") + "\n";
    std::fs::write(dir.path().join("d.csv"), (0..24).map(row).collect::<String>()).unwrap();
    let hidden = "[[layer]]\nname = \"h\"\ninput = \"x\"\nunits = 64\nactivation = \"tanh\"\n[[layer]]\nname = \"y\"\ninput = \"h\"";
    let toml = UNIT
        .replace("size = 3", "size = 8")
        .replace("[[layer]]\nname = \"y\"\ninput = \"x\"", hidden)
        .replace("init = { values = [0.1, 0.2, 0.3] }\n", "")
        .replace(
            "epochs = 2\nminibatch = 4",
            "epochs = 400\nearly-stopping = 10\noptimiser = \"adam\"\nminibatch = 8",
        )
        .replace("rate = 0.1", "rate = 0.01")
        .replace("[train]", "[split]\nvalidation = 8\n[train]");
    let (stdout, _) = train(&dir, &toml, &[]);
    let lines = log(dir.path().join("o/log.jsonl"));
    let (last, epochs) = lines.split_last().unwrap();
    let loss = |line: &serde_json::Value| line["validation_loss"].as_f64().unwrap();
    let best = epochs.iter().min_by(|a, b| loss(a).total_cmp(&loss(b))).unwrap();
    assert!(epochs.len() < 400);
    assert_eq!(last["best_epoch"], best["epoch"]);
    assert_eq!(last["best_validation_loss"], best["validation_loss"]);
    assert!(stdout.contains(&format!("kept epoch {} of {}", best["epoch"], epochs.len())), "{stdout}");
    let params = || std::fs::read(dir.path().join("o/params.safetensors")).unwrap();
    let kept = params();
    // A resumed one has nothing to do, and one of just that length has the same parameters.
    train(&dir, &toml, &["--resume"]);
    assert!(params() == kept);
    train(&dir, &toml, &["--overwrite", "--epochs", &best["epoch"].to_string()]);
    assert!(params() == kept);
}
