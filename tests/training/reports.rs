//! Reports of a training: losses, warnings, early stopping and resumed runs.

use super::penalties::partly_trained;
use crate::common::devices;
use crate::common::messages::Messages;
use ndarray::Array2;
use nengo_wgpu::internals::neuron::NeuronType;
use nengo_wgpu::network::{Activation, Connection, Init, Layer, Network, Neurons, Node, Target, Transform};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::train::{
    Backprop, Group, Loss, Objective, Optimiser, Over, Penalty, Schedule, Select, Spiking, Training,
};
use nengo_wgpu::{Data, Device, EarlyStopping, EpochReport, Fit, Options, Simulator};

/// One unit on three inputs.
pub(super) fn unit() -> Network {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(3)).unwrap();
    let y = net.layer("y", Layer::dense(1).init(Init::Values(vec![0.1, 0.2, 0.3])), x).unwrap();
    net.probe("p", y).unwrap();
    net
}

/// Ten examples of three numbers, with a number as target.
pub(super) fn examples() -> (Array2<f32>, Array2<f32>) {
    let x = Array2::from_shape_vec((10, 3), crate::common::uniform(5, 30, -1.0, 1.0)).unwrap();
    let y = x.map_axis(ndarray::Axis(1), |x| 2.0 * x[0] - x[1] + 0.5).insert_axis(ndarray::Axis(1));
    (x, y)
}

pub(super) fn data() -> (Data, Data) {
    let (x, y) = examples();
    (Data::new().with("x", x), Data::new().with("p", y))
}

pub(super) fn fitted(device: &Device, training: Training, minibatch: usize, epochs: u64) -> Vec<EpochReport> {
    let (x, y) = data();
    let options = Options { minibatch, ..Options::default() };
    let mut sim = Simulator::with(&unit(), device, options).unwrap();
    sim.compile(training.in_order()).unwrap();
    sim.fit(&x, &y, &Fit::epochs(epochs)).unwrap()
}

pub(super) fn squared() -> Training {
    Training::new(Objective::new().loss("p", Loss::MeanSquared), 0.1)
}

#[test]
fn of_groups_the_narrower_then_the_later_decides() {
    let group = |on: Select, rate| Group { parameters: on, rate };
    let (named, weights, all) = (Select::parameter("y/weights"), Select::Weights, Select::All);
    let moves = |groups: Vec<Group>| {
        let (x, y) = data();
        let mut sim =
            Simulator::with(&unit(), &devices()[1], Options { minibatch: 10, ..Options::default() }).unwrap();
        sim.compile(Training { groups, ..squared() }).unwrap();
        let start = sim.parameter("y/weights").unwrap();
        sim.fit(&x, &y, &Fit::epochs(1)).unwrap();
        (sim.parameter("y/weights").unwrap() - start)[[0, 0]]
    };
    let plain = moves(Vec::new());
    let cases = [
        (vec![group(all.clone(), 0.0), group(named.clone(), 1.0)], 1.0),
        (vec![group(named.clone(), 1.0), group(all.clone(), 0.0)], 1.0),
        (vec![group(weights.clone(), 2.0), group(all.clone(), 0.5)], 2.0),
        (vec![group(all.clone(), 0.5), group(all.clone(), 2.0)], 2.0),
        (vec![group(named.clone(), 4.0), group(weights.clone(), 0.0), group(named, 2.0)], 2.0),
    ];
    for (groups, factor) in cases {
        let (got, want) = (moves(groups.clone()), plain * factor);
        assert!((got - want).abs() < 1e-6, "{groups:?}: {got} for {want}");
    }
}

#[test]
fn a_training_of_nothing_is_an_error() {
    let said = Messages::of("a training of nothing is an error");
    let (x, y) = data();
    let mut sim = Simulator::new(&partly_trained(), &devices()[1]).unwrap();
    let frozen = squared().group(Group { parameters: Select::All, rate: 0.0 });
    sim.compile(frozen).unwrap();
    // An evaluation needs no trained parameter.
    sim.evaluate(&x, &y).unwrap();
    said.error(sim.fit(&x, &y, &Fit::epochs(1)));
    let alone = squared()
        .group(Group { parameters: Select::All, rate: 0.0 })
        .group(Group { parameters: Select::parameter("idle/weights"), rate: 1.0 });
    sim.compile(alone).unwrap();
    said.error(sim.prepare_fit(&x, &y, &Fit::epochs(1)));
}

#[test]
fn settings_without_effect_are_warnings_given_once() {
    let (x, y) = data();
    let mut sim = Simulator::new(&unit(), &devices()[1]).unwrap();
    let last = Objective::new().loss("p", Loss::MeanSquared).over(Over::Last);
    let stopping = Some(EarlyStopping { patience: 5, least: 0.0 });
    let cases: [(Training, Option<EarlyStopping>, &str); 10] = [
        (squared().spiking(Spiking::SmoothRateSwap(0.1)), None, "smooth-rate-swap"),
        (squared().spiking(Spiking::RateGradient(0.1)), None, "soft-lif"),
        (squared().optimiser(Optimiser::Sgd { momentum: 0.0, nesterov: true }), None, "nesterov"),
        (squared().schedule(Schedule::constant(0.0)), None, "nothing is learned"),
        (Training::new(last, 0.1), None, "over = \"last\""),
        (squared().backprop(Backprop::Truncated(3)), None, "backprop = \"truncated\""),
        (squared(), stopping, "early-stopping has no effect"),
        (squared().penalty(Select::Weights, Penalty::L1(0.0)), None, "strength is 0"),
        (
            squared()
                .group(Group { parameters: Select::parameter("y/bias"), rate: 2.0 })
                .group(Group { parameters: Select::parameter("y/bias"), rate: 3.0 }),
            None,
            "the group on 'y/bias' has no effect",
        ),
        (
            squared()
                .optimiser(Optimiser::adamw(0.1))
                .group(Group { parameters: Select::Weights, rate: 0.0 }),
            None,
            "decay has no effect",
        ),
    ];
    for (training, early_stopping, part) in cases {
        sim.compile(training).unwrap();
        let fit = Fit { early_stopping, ..Fit::epochs(2) };
        sim.prepare_fit(&x, &y, &fit).unwrap();
        sim.fit(&x, &y, &fit).unwrap();
        let warnings = sim.warnings();
        assert_eq!(warnings.iter().filter(|w| w.contains(part)).count(), 1, "{part}: {warnings:?}");
    }
    sim.compile(squared()).unwrap();
    sim.fit(&x, &y, &Fit::epochs(2)).unwrap();
    assert!(sim.warnings().is_empty(), "{:?}", sim.warnings());
    // Neurons that spike are trained through; a smooth swap moves those of LIF alone.
    for (neurons, idle) in
        [(NeuronType::lif(), false), (NeuronType::SpikingRectifiedLinear(Default::default()), true)]
    {
        let mut net = unit();
        let (a, x) = (net.neurons("a", Neurons::new(4, neurons)).unwrap(), net.find("x").unwrap());
        net.connect(x, a, Connection::new().transform(Transform::Dense(Init::He))).unwrap();
        let mut sim = Simulator::new(&net, &devices()[1]).unwrap();
        sim.compile(squared().spiking(Spiking::SmoothRateSwap(0.1))).unwrap();
        assert_eq!(sim.warnings().iter().any(|w| w.contains("smooth-rate-swap")), idle);
    }
    let mut net = unit();
    let x = net.find("x").unwrap();
    let aside = net.layer("aside", Layer::dense(2).dropout(0.5).trainable(false), x).unwrap();
    net.probe("aside", aside).unwrap();
    let before = net.layer("before", Layer::elementwise(Activation::Relu).dropout(0.5), x).unwrap();
    net.connect(before, net.find("y").unwrap(), Connection::new().transform(Transform::Dense(Init::He)))
        .unwrap();
    let mut sim = Simulator::new(&net, &devices()[1]).unwrap();
    sim.compile(squared()).unwrap();
    assert_eq!(sim.warnings(), ["the dropout of 'aside' has no effect: no loss depends on it"]);
}

/// A weight that starts at 0 and is drawn to 1, on validation data where 0.5 is right.
fn passes_by() -> (Network, Data, Data, (Data, Data)) {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let y = net.layer("y", Layer::dense(1).no_bias().init(Init::Values(vec![0.0])), x).unwrap();
    net.probe("p", y).unwrap();
    let one = |name: &str, value: f32| Data::new().with(name, Array2::from_elem((4, 1), value));
    (net, one("x", 1.0), one("p", 1.0), (one("x", 1.0), one("p", 0.5)))
}

#[test]
fn early_stopping_leaves_the_parameters_of_the_best_epoch() {
    let (net, x, y, validation) = passes_by();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for device in devices() {
        let simulator = || {
            let mut sim =
                Simulator::with(&net, device, Options { minibatch: 2, ..Options::default() }).unwrap();
            let objective = Objective::new().loss("p", Loss::MeanSquared);
            sim.compile(Training::new(objective, 0.03).optimiser(Optimiser::momentum(0.5))).unwrap();
            sim
        };
        let fit = |name: &str, epochs| Fit {
            validation: Some(validation.clone()),
            early_stopping: Some(EarlyStopping { patience: 4, least: 0.0 }),
            checkpoint: Some(path(name)),
            ..Fit::epochs(epochs)
        };
        let mut sim = simulator();
        let reports = sim.fit(&x, &y, &fit("whole", 100)).unwrap();
        let losses: Vec<f64> = reports.iter().map(|r| r.validation.as_ref().unwrap().loss).collect();
        let best = (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap();
        assert_eq!(losses.len(), best + 1 + 4, "{losses:?}");
        assert_eq!(sim.evaluate(&validation.0, &validation.1).unwrap().loss, losses[best]);
        assert_eq!(sim.restore_best().unwrap(), Some((best as u64 + 1, losses[best])));
        let kept = sim.parameter("y/weights").unwrap();

        let mut short = simulator();
        short.fit(&x, &y, &Fit::epochs(best as u64 + 1)).unwrap();
        assert_eq!(short.parameter("y/weights").unwrap(), kept);

        // Stopped twice, before and after its best epoch, it ends with the same bits.
        for epochs in [2, best as u64 + 1, 100, 100] {
            let mut sim = simulator();
            if path("parts").exists() {
                sim.load_checkpoint(path("parts")).unwrap();
            }
            sim.fit(&x, &y, &fit("parts", epochs)).unwrap();
            if epochs == 100 {
                assert_eq!(sim.parameter("y/weights").unwrap(), kept, "{device}");
            }
        }
        let [a, b] = ["whole", "parts"].map(|name| std::fs::read(path(name)).unwrap());
        assert!(a == b, "{device}: checkpoints differ");
        std::fs::remove_file(path("parts")).unwrap();
    }
}

#[test]
fn parameters_of_ensembles_that_no_loss_depends_on_are_left_out() {
    let toml = r#"
[[node]]
name = "x"
size = 3
[[ensemble]]
name = "a"
n-neurons = 10
neuron-type = "lif-rate"
[[connection]]
pre = "x"
post = "a.neurons"
transform = { dense = "glorot" }
[[layer]]
name = "y"
input = "a.neurons"
units = 1
[[probe]]
name = "p"
target = "y"
[train]
epochs = 1
learning-rate = 1e-5
loss = "mean-squared"
[[train.penalty]]
on = "weights"
l2-half = 1.0
"#;
    let spec = NetworkSpec::parse(toml, "net.toml").unwrap();
    let net = spec.build().unwrap();
    let (x, y) = data();
    for device in devices() {
        let mut sim = Simulator::with(&net, device, Options { minibatch: 10, ..Options::default() }).unwrap();
        sim.compile(spec.training(&net, 10).unwrap()).unwrap();
        let penalty = sim.fit(&x, &y, &Fit::epochs(1)).unwrap()[0].penalty.unwrap();
        assert!((2.0..4.0).contains(&penalty), "{device}: {penalty}");
        assert!(sim.warnings().iter().any(|w| w.contains("'a/encoders'")), "{:?}", sim.warnings());
    }
}

#[test]
fn slow_falls_of_a_loss_are_measured_from_the_last_one_that_counted() {
    let said = Messages::of("slow falls of a loss are measured from the last one that counted");
    let (net, x, y, validation) = passes_by();
    // The loss of a weight that is drawn to 1, where 0.5 is right, falls by less and less.
    let epochs = |least: f64| {
        let mut sim = Simulator::new(&net, &devices()[1]).unwrap();
        sim.compile(Training::new(Objective::new().loss("p", Loss::MeanSquared), 0.001)).unwrap();
        let fit = Fit {
            validation: Some(validation.clone()),
            early_stopping: Some(EarlyStopping { patience: 3, least }),
            ..Fit::epochs(20)
        };
        let reports = sim.fit(&x, &y, &fit).map_err(|e| e.to_string())?;
        Ok::<Vec<f64>, String>(reports.into_iter().map(|r| r.validation.unwrap().loss).collect())
    };
    let losses = epochs(0.0).unwrap();
    let falls: Vec<f64> = losses.windows(2).map(|w| w[0] - w[1]).collect();
    assert_eq!(losses.len(), 20);
    // Two falls together are enough, one is not.
    let least = 1.2 * falls[0];
    assert!(falls[17] + falls[18] > least && falls[0] < least, "{falls:?}");
    assert_eq!(epochs(least).unwrap(), losses);
    assert_eq!(epochs(1.0).unwrap().len(), 4);
    for least in [f64::NAN, -1.0] {
        said.error(epochs(least));
    }
}

#[test]
fn states_that_are_not_finite_end_a_training_however_its_runs_are_cut() {
    let said = Messages::of("states that are not finite end a training however its runs are cut");
    let file = |backprop: &str| {
        format!(
            "[[node]]\nname = \"x\"\nsize = 1\n[[node]]\nname = \"t\"\nfunction = \"0.02 - t\"\n\
             [[node]]\nname = \"f\"\npassthrough = 1\n\
             [[connection]]\npre = \"t\"\npost = \"f\"\nfunction = \"log(x)\"\n\
             [[neurons]]\nname = \"n\"\nn = 1\ntype = \"lif\"\ninput = [\"x\", \"f\"]\n\
             [[layer]]\nname = \"y\"\ninput = \"n\"\nunits = 1\n[[probe]]\nname = \"p\"\ntarget = \"y\"\n\
             [train]\nepochs = 1\nminibatch = 4\nsteps = 30\nover = \"last\"\nlearning-rate = 0.001\n\
             loss = \"mean-squared\"\nspiking = {{ surrogate = {{ fast-sigmoid = 5.0 }} }}\n{backprop}"
        )
    };
    let data = (
        Data::new().with("x", Array2::from_elem((10, 1), 0.5)),
        Data::new().with("p", Array2::from_elem((10, 1), 0.5)),
    );
    for backprop in
        ["full\"", "truncated\"\nwindow = 10", "checkpointed\"\nwindow = 10", "checkpointed\"\nwindow = 7"]
    {
        let spec = NetworkSpec::parse(&file(&format!("backprop = \"{backprop}\n")), "net.toml").unwrap();
        let net = spec.build().unwrap();
        for device in devices() {
            let mut sim =
                Simulator::with(&net, device, Options { minibatch: 4, ..Options::default() }).unwrap();
            sim.compile(spec.training(&net, 10).unwrap()).unwrap();
            let fit = Fit { n_steps: Some(30), ..Fit::epochs(1) };
            said.error(sim.fit(&data.0, &data.1, &fit));
            said.error(sim.evaluate_steps(&data.0, &data.1, Some(30)));
        }
    }
}

#[test]
fn a_checkpoint_of_another_network_gives_a_warning() {
    let build = |activation, dropout, synapse: Option<f64>| {
        let mut net = Network::new(0);
        let x = net.node("x", Node::Input(3)).unwrap();
        let layer = Layer::dense(2).activation(activation).dropout(dropout);
        let h = net.layer("h", layer, x).unwrap();
        let y = net.layer("y", Layer::dense(1), h).unwrap();
        net.add_probe("p", Target::Output(y, synapse.map(Into::into))).unwrap();
        net
    };
    let (dir, (x, y)) = (tempfile::tempdir().unwrap(), data());
    let path = dir.path().join("c");
    let simulator = |net: &Network| {
        let mut sim = Simulator::new(net, &devices()[1]).unwrap();
        sim.compile(squared()).unwrap();
        sim
    };
    let mut sim = simulator(&build(Activation::Relu, 0.0, None));
    sim.fit(&x, &y, &Fit { checkpoint: Some(path.clone()), ..Fit::epochs(1) }).unwrap();
    let warnings = |net: Network| {
        let mut sim = simulator(&net);
        sim.load_checkpoint(&path).unwrap();
        sim.warnings()
    };
    let otherwise =
        |what: &str| vec![format!("{what} is set otherwise than when the checkpoint was trained")];
    assert_eq!(warnings(build(Activation::Relu, 0.0, None)), Vec::<String>::new());
    assert_eq!(warnings(build(Activation::Tanh, 0.0, None)), otherwise("'h'"));
    assert_eq!(warnings(build(Activation::Relu, 0.5, None)), otherwise("'h'"));
    assert_eq!(warnings(build(Activation::Relu, 0.0, Some(0.1))), otherwise("probe 'p'"));
    let mut more = build(Activation::Relu, 0.0, None);
    more.node("z", Node::Constant(vec![1.0])).unwrap();
    assert_eq!(warnings(more), ["'z' was not there when the checkpoint was trained"]);
    // A reset simulator is as it was made.
    let mut sim = simulator(&build(Activation::Tanh, 0.0, None));
    sim.load_checkpoint(&path).unwrap();
    sim.reset().unwrap();
    assert!(sim.warnings().is_empty());
}
