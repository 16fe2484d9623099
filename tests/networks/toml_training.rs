//! Training as TOML files describe it.

use crate::common::messages::Messages;
use crate::file::{parse, place};
use nengo_wgpu::io::dataset::Dataset;
use nengo_wgpu::train::{Backprop, Decay, Loss, Metric, Optimiser, Over, Penalty, Select};
use nengo_wgpu::{Device, Fit, Options, Simulator};

const TRAIN: &str = r#"
[[node]]
name = "x"
size = 2

[[layer]]
name = "y"
input = "x"
units = 3

[[probe]]
name = "p"
target = "y"

[train]
epochs = 4
minibatch = 2
learning-rate = 0.5
metrics = ["accuracy", { mean-error = "p" }]
optimiser = { kind = "adam", epsilon-at = "root-before-correction" }
schedule = { kind = "cosine", warm-up = 2 }
clip = { global-norm = 1.0 }

[[train.loss]]
probe = "p"
loss = { huber = 1.5 }
weight = 2

[[train.penalty]]
on = "y/weights"
l2-half = 0.1
l1 = 0.2

[[train.activity]]
probe = "p"
l2-sum = 0.3

[[train.group]]
on = "biases"
rate = 0.5
"#;

#[test]
fn a_training_has_the_settings_of_the_file() {
    let spec = parse(TRAIN).unwrap();
    let training = spec.training(&spec.build().unwrap(), 5).unwrap();
    assert_eq!(training.objective.terms.len(), 1);
    let term = &training.objective.terms[0];
    assert_eq!((term.loss, term.weight), (Loss::Huber(1.5), 2.0));
    assert_eq!(training.objective.activities, [("p".to_string(), Penalty::L2Sum(0.3))]);
    let weights = || Select::parameter("y/weights");
    assert_eq!(training.penalties, [(weights(), Penalty::L2Half(0.1)), (weights(), Penalty::L1(0.2))]);
    assert_eq!(training.metrics, [Metric::Accuracy("p".into()), Metric::MeanError("p".into())]);
    assert!(matches!(training.optimiser, Optimiser::Adam { .. }));
    // Three minibatches an epoch, four epochs, two steps of warm-up.
    assert_eq!(training.schedule.decay, Decay::Cosine { steps: 10, floor: 0.0 });
    assert_eq!((training.groups[0].rate, training.groups[0].parameters.clone()), (0.5, Select::Biases));
}

#[test]
fn kinds_may_be_named_alone() {
    let said = Messages::of("kinds may be named alone");
    let training = |lines: &str| {
        let toml = TRAIN.find("optimiser").map_or(TRAIN.to_string(), |at| {
            let end = at + TRAIN[at..].find('\n').unwrap();
            format!("{}{lines}{}", &TRAIN[..at], &TRAIN[end..])
        });
        let toml = toml.replace("{ kind = \"cosine\", warm-up = 2 }", "\"cosine\"");
        parse(&toml).map(|spec| spec.training(&spec.build().unwrap(), 5).unwrap())
    };
    for (name, optimiser) in [("sgd", Optimiser::sgd()), ("adam", Optimiser::adam())] {
        assert_eq!(training(&format!("optimiser = \"{name}\"")).unwrap().optimiser, optimiser);
        assert_eq!(training(&format!("optimiser = {{ {name} = {{}} }}")).unwrap().optimiser, optimiser);
        assert_eq!(training(&format!("optimiser = {{ kind = \"{name}\" }}")).unwrap().optimiser, optimiser);
    }
    for name in ["adamw", "rmsprop", "adagrad"] {
        training(&format!("optimiser = \"{name}\"")).unwrap();
    }
    let early = parse(&TRAIN.replace("epochs = 4", "epochs = 4\nearly-stopping = 5")).unwrap();
    assert_eq!(early.train().unwrap().early_stopping.unwrap().patience, 5);
    let wrong = |lines: &str| {
        parse(&TRAIN.replace("epochs = 4", &format!("epochs = 4\n{lines}"))).unwrap_err().to_string()
    };
    said.error(training("optimiser = \"adan\""));
    said.text(wrong("early-stopping = \"soon\""));
    said.text(wrong("early-stopping = -1"));
    said.error(parse(&TRAIN.replace("clip = { global-norm = 1.0 }", "clip = 1.0")));
}

#[test]
fn a_training_from_toml_trains() {
    let said = Messages::of("a training from toml trains");
    let spec = parse(TRAIN).unwrap();
    let net = spec.build().unwrap();
    let options = Options { minibatch: 2, ..Options::default() };
    let mut sim = Simulator::with(&net, &Device::cpu(), options).unwrap();
    sim.compile(spec.training(&net, 3).unwrap()).unwrap();
    let examples = Dataset {
        inputs: ndarray::array![[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
        targets: ndarray::array![[0.0], [1.0], [2.0]],
    };
    let (inputs, targets) = spec.signals(&net, &examples).unwrap();
    let reports = sim.fit(&inputs, &targets, &Fit::epochs(30)).unwrap();
    assert!(reports[29].loss < reports[0].loss, "{reports:?}");

    let high = Dataset { targets: ndarray::array![[0.0], [1.0], [3.0]], ..examples };
    said.error(spec.signals(&net, &high));
}

/// A layer that is given, and should give, a row at each of four steps.
const ECHO: &str = r#"
[[node]]
name = "x"
size = 2
steps = 4

[[layer]]
name = "y"
input = "x"
units = 2

[[probe]]
name = "p"
target = "y"

[train]
epochs = 1
steps = 4
minibatch = 3
learning-rate = 0.3
loss = "mean-squared"
"#;

fn trained(toml: &str, examples: &Dataset) -> Vec<f64> {
    let spec = parse(toml).unwrap();
    let net = spec.build().unwrap();
    let options = Options { minibatch: 3, ..Options::default() };
    let mut sim = Simulator::with(&net, &Device::cpu(), options).unwrap();
    sim.compile(spec.training(&net, 3).unwrap()).unwrap();
    let (inputs, targets) = spec.signals(&net, examples).unwrap();
    let fit = Fit { n_steps: Some(4), ..Fit::epochs(200) };
    sim.fit(&inputs, &targets, &fit).unwrap().into_iter().map(|report| report.loss).collect()
}

#[test]
fn targets_may_have_a_row_for_each_step() {
    let said = Messages::of("targets may have a row for each step");
    let inputs = ndarray::Array2::from_shape_fn((3, 8), |(b, i)| ((7 * b + 3 * i) % 5) as f32 / 2.0 - 1.0);
    // The targets are the inputs: the layer learns the identity, at each step.
    let toml = ECHO.replace(
        "loss = \"mean-squared\"",
        "[[train.loss]]\nprobe = \"p\"\nloss = \"mean-squared\"\ntarget = \"input\"",
    );
    let examples = Dataset { inputs: inputs.clone(), targets: ndarray::array![[0.0], [1.0], [0.0]] };
    let losses = trained(&toml, &examples);
    assert!(losses[0] > 0.1 && losses[199] < 1e-4, "{losses:?}");

    // Numbers of the data, which are the input turned by a quarter; held ones have a row for all steps.
    let data = "[data]\nformat = \"csv\"\npath = \"a.csv\"\ntargets = 8\n[train]";
    let toml = ECHO.replace("[train]", data);
    let turned = ndarray::Array2::from_shape_fn((3, 8), |(b, i)| {
        if i % 2 == 0 { -inputs[[b, i + 1]] } else { inputs[[b, i - 1]] }
    });
    let losses = trained(&toml, &Dataset { inputs: inputs.clone(), targets: turned });
    assert!(losses[0] > 0.1 && losses[199] < 1e-4, "{losses:?}");
    let spec = parse(&toml).unwrap();
    let net = spec.build().unwrap();
    let signals = |columns: usize| {
        spec.signals(&net, &Dataset { inputs: inputs.clone(), targets: ndarray::Array2::ones((3, columns)) })
    };
    assert_eq!(signals(2).unwrap().1.get("p"), Some(&ndarray::Array2::ones((3, 2)).into()));
    said.error(signals(3));
}

#[test]
fn classes_and_numbers_are_not_taken_for_each_other() {
    let said = Messages::of("classes and numbers are not taken for each other");
    let problem = |target: &str, data: &str| {
        let toml = ECHO.replace(
            "loss = \"mean-squared\"",
            &format!("[[train.loss]]\nprobe = \"p\"\nloss = \"mean-squared\"\ntarget = \"{target}\""),
        );
        let spec = parse(&(toml + "[data]\nformat = \"csv\"\npath = \"a.csv\"\n" + data)).unwrap();
        let examples =
            Dataset { inputs: ndarray::Array2::ones((3, 8)), targets: ndarray::Array2::zeros((3, 1)) };
        spec.signals(&spec.build().unwrap(), &examples).unwrap_err().to_string()
    };
    said.text(problem("numbers", ""));
    said.text(problem("one-hot", "targets = 2"));
}

#[test]
fn settings_without_effect_are_refused() {
    let said = Messages::of("settings without effect are refused");
    let with = |from: &str, to: &str| {
        let spec = parse(&TRAIN.replace(from, to)).unwrap();
        spec.training(&spec.build().unwrap(), 5).unwrap_err().to_string()
    };
    said.text(with("warm-up = 2", "every = 3"));
    said.text(with("kind = \"cosine\"", "kind = \"step\""));
    said.text(with("l2-sum = 0.3", ""));
}

#[test]
fn files_set_windows_budgets_and_the_steps_of_a_loss() {
    let said = Messages::of("files set windows budgets and the steps of a loss");
    let training = |lines: &str| {
        let spec = parse(&TRAIN.replace("epochs = 4", &format!("epochs = 4\n{lines}"))).unwrap();
        spec.training(&spec.build().unwrap(), 5)
    };
    let of = |lines: &str| training(lines).map(|t| (t.backprop, t.memory_budget)).unwrap();
    assert_eq!(of(""), (None, None));
    assert_eq!(of("backprop = \"full\""), (Some(Backprop::Full), None));
    assert_eq!(of("backprop = \"truncated\"\nwindow = 5"), (Some(Backprop::Truncated(5)), None));
    let both = of("backprop = \"checkpointed\"\nwindow = 7\nmemory-budget = 1000");
    assert_eq!(both, (Some(Backprop::Checkpointed(7)), Some(1000)));
    for (text, bytes) in [("2 GiB", 2 << 30), ("1.5 kB", 1500), ("64MiB", 64 << 20), ("12 B", 12)] {
        assert_eq!(of(&format!("memory-budget = \"{text}\"")).1, Some(bytes), "{text}");
    }
    for text in ["2", "GiB", "two GiB", "-1 GiB", "1 TX"] {
        let (line, _, message) =
            place(&TRAIN.replace("epochs = 4", &format!("memory-budget = \"{text}\"\nepochs = 4")));
        assert!(line > 10, "{text}: {message}");
        said.text(&message);
    }
    for lines in ["window = 5", "backprop = \"full\"\nwindow = 5", "backprop = \"truncated\""] {
        said.error(training(lines));
    }
    said.error(training("over = \"last\""));
    for (name, over) in
        [("every", Over::Every), ("last", Over::Last), ("sum", Over::Sum), ("mean", Over::Mean)]
    {
        let spec = parse(&TRAIN.replace("weight = 2", &format!("over = \"{name}\""))).unwrap();
        assert_eq!(spec.training(&spec.build().unwrap(), 5).unwrap().objective.terms[0].over, over);
    }
}
