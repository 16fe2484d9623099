//! The program as users start it: help, plans, checks of gradients, and errors.

use crate::common::messages::Messages;
use crate::program::{NETWORK, bad, command, good, project, start};

fn train_bad(toml: &str) -> String {
    bad(&project(toml), &["train", "net.toml", "--device", "cpu"])
}

#[test]
fn faults_of_the_file_are_reported_with_their_place() {
    let said = Messages::of("faults of the file are reported with their place");
    said.text(train_bad(&NETWORK.replace("units = 8", "unit = 8")));
    said.text(train_bad(&NETWORK.replace("units = 8", "units = \"8\"")));
    said.text(train_bad(&NETWORK.replace("input = \"x\"", "input = \"y\"")));
    said.text(train_bad(&NETWORK.replace("on = \"weights\"", "on = \"weight\"")));
    said.text(train_bad(&NETWORK.replace("size = 2", "size = 5")));
    said.text(train_bad(&NETWORK.replace("units = 3", "units = 2")));
    said.text(train_bad(&NETWORK.replace("input = \"x\"", "input = [\"x\", \"class\"]\nsize-in = 2")));
    let cycle =
        "[[connection]]\npre = \"class\"\npost = \"hidden\"\ntransform = { dense = \"glorot\" }\n[[probe]]";
    said.text(train_bad(&NETWORK.replace("[[probe]]", cycle)));
    said.text(train_bad(NETWORK.split("[train]").next().unwrap()));
    said.text(bad(&project(NETWORK), &["train", "nothing.toml"]));
}

#[test]
fn faults_of_a_training_are_reported_by_key_and_leave_no_directory() {
    let said = Messages::of("faults of a training are reported by key and leave no directory");
    let penalty = "l2-half = 1e-3";
    let group = "l2-half = 1e-3\n[[train.group]]\non = \"class/bias\"\nrate = -2";
    let activity = "l2-half = 1e-3\n[[train.activity]]\nprobe = \"output\"\nl1 = -2";
    let optimiser = "{ kind = \"sgd\", momentum = 0.9 }";
    for (from, to) in [
        (penalty, "l2-half = -2"),
        (penalty, ""),
        (penalty, group),
        (penalty, activity),
        (optimiser, "{ kind = \"rmsprop\", rho = 2.0 }"),
        ("minibatch = 16", "report-every = 0"),
        ("epochs = 4", "epochs = 0"),
        ("epochs = 4", "epochs = 1000000000000000000000.0"),
        ("epochs = 4", "epochs = 4\nfoo = 1"),
        ("epochs = 4", ""),
        ("test = 30", "test = 180"),
    ] {
        let dir = project(&NETWORK.replace(from, to));
        said.text(bad(&dir, &["train", "net.toml", "--device", "cpu", "--plot", "deep/er"]));
        assert_eq!(crate::program::files_in(dir.path()), ["net.toml", "points.csv"], "{to}");
    }
}

#[test]
fn more_examples_than_the_data_have_give_a_warning() {
    let dir = project(NETWORK);
    let check = ["check", "net.toml", "--device", "cpu", "--elements", "1", "--examples", "1000"];
    let (_, stderr) = good(&dir, &check);
    assert!(
        stderr.contains("warning: --examples is 1000, but there are only 135; all are taken"),
        "{stderr}"
    );
    // As the training step that it shows.
    let (plan, _) = good(&dir, &["plan", "net.toml", "--device", "cpu", "--train", "--minibatch", "1000"]);
    assert!(plan.contains("1 steps of 135 examples"), "{plan}");
}

#[test]
fn faults_of_the_data_name_the_file() {
    let said = Messages::of("faults of the data name the file").hide(crate::common::root().display(), "ROOT");
    said.text(train_bad(&NETWORK.replace("points.csv", "nothing.csv")));
    let with = |text: &[u8]| {
        let dir = project(NETWORK);
        std::fs::write(dir.path().join("points.csv"), text).unwrap();
        bad(&dir, &["train", "net.toml", "--device", "cpu"])
    };
    said.text(with(b"1,2,0\n1,nan,1\n"));
    said.text(with(b"1,2,0\n1,2\n"));
    let packed = std::fs::read(crate::common::root().join("examples/data/digits.csv.gz")).unwrap();
    said.text(with(&packed[..packed.len() / 2]));
    // Data of another network, of another place than the file says.
    let digits = crate::common::root().join("examples/data/digits.csv.gz");
    let digits = digits.to_str().unwrap();
    said.text(bad(&project(NETWORK), &["train", "net.toml", "--device", "cpu", "--data", digits]));
}

#[test]
fn files_of_another_network_and_places_that_cannot_be_written_are_refused() {
    let said = Messages::of("files of another network and places that cannot be written are refused");
    let dir = project(NETWORK);
    good(&dir, &["train", "net.toml", "--device", "cpu", "--quiet"]);
    std::fs::write(dir.path().join("other.toml"), NETWORK.replace("units = 8", "units = 9")).unwrap();
    let params = "runs/net/params.safetensors";
    said.text(bad(&dir, &["run", "other.toml", "--device", "cpu", "--params", params]));
    said.text(bad(&dir, &["train", "other.toml", "--device", "cpu", "--resume", "--out", "runs/net"]));
    said.text(bad(&dir, &["train", "net.toml", "--device", "cpu", "--resume", "--out", "none"]));
    // A directory inside a file cannot be made, not even by root.
    for command in ["train", "run"] {
        said.text(bad(&dir, &[command, "net.toml", "--device", "cpu", "--out", "points.csv/out"]));
        // Told before the run, which would otherwise never end.
        let long = if command == "run" { ["--steps", "999999999999"] } else { ["--epochs", "999999999"] };
        let places = ["--out", "fresh", "--plot", "points.csv/out"];
        let args = [&[command, "net.toml", "--device", "cpu"], &places[..], &long[..]].concat();
        said.text(bad(&dir, &args));
    }
    let error = bad(&dir, &["train", "net.toml", "--device", "no such thing"]);
    assert!(error.contains("no device 'no such thing'; there is: ") && error.contains("cpu"), "{error}");
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
fn a_plan_of_a_training_needs_no_data_and_a_plan_of_a_run_has_the_steps_of_its_data() {
    let said =
        Messages::of("a plan of a training needs no data and a plan of a run has the steps of its data");
    let (data, split) = (NETWORK.find("[data]").unwrap(), NETWORK.find("[train]").unwrap());
    let toml = format!("{}{}", &NETWORK[..data], &NETWORK[split..]);
    let json = |toml: &str, more: &[&str]| {
        let args = [&["plan", "net.toml", "--device", "cpu", "--json"], more].concat();
        serde_json::from_str::<serde_json::Value>(&good(&project(toml), &args).0).unwrap()
    };
    let (with, without) = (json(NETWORK, &["--train"]), json(&toml, &["--train"]));
    assert_eq!(with["parts"][0], without["parts"][0]);
    // An input that comes step by step, and an array, are as long as they are.
    let in_steps = NETWORK.replace("size = 2", "size = 1\nsteps = 2");
    assert_eq!(json(&in_steps, &[])["steps"], 2);
    let array = "[[node]]\nname = \"x\"\narray = [[1], [2], [3]]\n[[probe]]\nname = \"p\"\ntarget = \"x\"\n";
    for toml in [in_steps.as_str(), array] {
        for command in ["plan", "run"] {
            said.text(bad(&project(toml), &[command, "net.toml", "--device", "cpu", "--steps", "5"]));
        }
    }
}

#[test]
fn wrong_use_ends_with_2_and_help_with_0() {
    let dir = tempfile::tempdir().unwrap();
    let code = |args: &[&str]| start(&dir, args).status.code();
    for args in [
        &["train"][..],
        &["tarin", "x"],
        &["train", "x", "--epoch", "3"],
        &["train", "x", "--epochs", "0"],
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
    let dir = project(NETWORK);
    let mut by_variable = command(&dir, &["plan", "net.toml", "--device", "cpu"]);
    let out = by_variable.env("NENGO_WGPU_MEMORY", "abc").output().unwrap();
    let error = String::from_utf8(out.stderr).unwrap();
    assert!(error.contains("NENGO_WGPU_MEMORY: 'abc' is not a size of memory"), "{error}");
}

/// Logits that are thousands apart, and a layer that no loss sees.
const FAR_APART: &str = r#"
[[node]]
name = "x"
size = 2
[[layer]]
name = "l"
input = "x"
units = 3
init = { values = [2000.0, 0.0, -2000.0, 100.0, 3.0, -2000.0] }
[[layer]]
name = "free"
input = "x"
units = 2
[[probe]]
name = "p"
target = "l"
[[probe]]
name = "q"
target = "free"
[train]
epochs = 1
learning-rate = 0.001
loss = [{ probe = "p", loss = "cross-entropy" }]
"#;

#[test]
fn check_ends_with_a_verdict_and_raises_no_false_alarm() {
    let relu = FAR_APART
        .replace("units = 3", "units = 3\nactivation = \"relu\"")
        .replace("init = { values = [2000.0, 0.0, -2000.0, 100.0, 3.0, -2000.0] }", "init = \"zeros\"");
    for (toml, verdict) in [(FAR_APART, "right"), (&relu, "kink")] {
        let dir = project(toml);
        for device in ["cpu", "software"] {
            let (stdout, _) = good(&dir, &["check", "net.toml", "--device", device]);
            assert_eq!(stdout.lines().last(), Some(verdict), "{stdout}");
            assert!(!stdout.contains("inf"), "{stdout}");
        }
    }
}

#[test]
fn check_prints_a_row_for_each_gradient_and_fails_where_one_is_off() {
    let (head, tail) = (NETWORK.find("[data]").unwrap(), NETWORK.find("[train]").unwrap());
    // Without data it draws random ones.
    let bare = format!("{}{}", &NETWORK[..head], &NETWORK[tail..]);
    let in_steps = bare.replace("size = 2", "size = 2\nsteps = 3").replace("[train]", "[train]\nsteps = 3");
    for toml in [NETWORK, &bare, &in_steps] {
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
        assert_eq!(stdout.lines().last(), Some("right"), "{stdout}");
        // No device is exact.
        let error = bad(&dir, &["check", "net.toml", "--device", "cpu", "--tolerance", "1e-12"]);
        assert!(error.contains("gradient of '") && error.contains("off by"), "{error}");
    }
}
