//! Whole trainings against what NengoDL, Keras and PyTorch computed; `tests/golden/README.md` describes the files.

use crate::common::golden::Golden;
use ndarray::{Array2, Array3, ArrayD, Axis, Ix2, Ix3};
use nengo_wgpu::network::{Activation, Init, Layer, Network, Node};
use nengo_wgpu::train::{EpsilonAt, Loss, Objective, Optimiser, Penalty, Select, Training};
use nengo_wgpu::{Data, Device, Fit, Options, Simulator};
use serde_json::Value;

fn number(value: &Value, name: &str) -> f32 {
    value[name].as_f64().unwrap_or_else(|| panic!("no number {name} in {value}")) as f32
}

fn wide<'a>(values: impl IntoIterator<Item = &'a f32>) -> Vec<f64> {
    values.into_iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn the_founding_example_is_that_of_nengo_dl_and_its_closed_form() {
    let mut golden = Golden::open("training_founding");
    let w0: Vec<f32> = golden.input("w0").iter().copied().collect();
    let (n, s) = (w0.len(), number(&golden.meta, "s"));
    for (name, case) in golden.cases() {
        for device in crate::common::devices() {
            let mut net = Network::new(0);
            let one = net.node("one", Node::Constant(vec![1.0])).unwrap();
            let dense = Layer::dense(n).no_bias().init(Init::Values(w0.clone()));
            let dense = net.layer("dense", dense, one).unwrap();
            net.probe("output", dense).unwrap();
            let mut sim = Simulator::new(&net, device).unwrap();
            let objective = Objective::new().loss("output", Loss::MeanSquared);
            let mut training = Training::new(objective, number(&case, "lr"));
            training = training.penalty(Select::parameter("dense/weights"), Penalty::L2Half(s));
            training.report_every = 1;
            sim.compile(training).unwrap();
            let targets = Data::new().with("output", Array2::ones((1, n)));
            let mut paths = vec![wide(&w0)];
            let mut norms = vec![sim.l2_norm("dense/weights").unwrap()];
            let mut losses = Vec::new();
            for _ in 0..10 {
                let report = sim.fit(&Data::new(), &targets, &Fit::epochs(1)).unwrap().remove(0);
                losses.push(report.loss + report.penalty.unwrap_or(0.0));
                paths.push(wide(&sim.parameter("dense/weights").unwrap()));
                norms.push(sim.l2_norm("dense/weights").unwrap());
            }
            golden.check(&format!("{name}/weights"), device, &paths.concat());
            golden.check(&format!("{name}/closed_form"), device, &paths.concat());
            golden.check(&format!("{name}/norm"), device, &norms);
            golden.check(&format!("{name}/loss"), device, &losses);
        }
    }
    println!("worst: {:.2} of the tolerance", golden.worst);
}

fn optimiser(case: &Value) -> Optimiser {
    let or_zero = |name: &str| if case[name].is_null() { 0.0 } else { number(case, name) };
    let is = |name: &str| case[name].as_bool().unwrap_or(false);
    let epsilon_at = match case["epsilon_at"].as_str() {
        Some("sqrt(v)") => EpsilonAt::RootBeforeCorrection,
        Some("inside sqrt") => EpsilonAt::InsideRoot,
        _ => EpsilonAt::Root,
    };
    let (beta1, beta2, epsilon) = (or_zero("beta1"), or_zero("beta2"), or_zero("epsilon"));
    let (amsgrad, momentum) = (is("amsgrad"), or_zero("momentum"));
    match case["rule"].as_str().unwrap() {
        "sgd" => Optimiser::Sgd { momentum, nesterov: is("nesterov") },
        "adam" => Optimiser::Adam { beta1, beta2, epsilon, epsilon_at, amsgrad },
        "adamw" => Optimiser::AdamW { beta1, beta2, epsilon, decay: or_zero("weight_decay"), amsgrad },
        "rmsprop" => {
            let (rho, centered) = (number(case, "rho"), is("centered"));
            Optimiser::RmsProp { rho, momentum, epsilon, epsilon_at, centered }
        }
        "adagrad" => Optimiser::Adagrad { epsilon, initial_accumulator: number(case, "initial_accumulator") },
        other => panic!("unknown rule {other}"),
    }
}

/// The trainer fed with given gradients: they are the targets of a loss `sum(p * g)`.
fn optimisers(file: &str) {
    let mut golden = Golden::open(file);
    let p0 = golden.input("p0").insert_axis(Axis(0)).into_dimensionality::<Ix2>().unwrap();
    let gradients = golden.input("gradients").into_dimensionality::<Ix2>().unwrap();
    for (name, case) in golden.cases() {
        for device in crate::common::devices() {
            let mut sim = Simulator::new(&crate::common::raw(p0.ncols()), device).unwrap();
            let mut training = Training::new(crate::common::given_gradient(), number(&case, "lr"));
            training = training.optimiser(optimiser(&case));
            if case["rule"] != "adamw" && !case["weight_decay"].is_null() {
                training = training.penalty(Select::All, Penalty::L2Half(number(&case, "weight_decay")));
            }
            sim.compile(training).unwrap();
            sim.set_parameter("x/p", &p0).unwrap();
            let mut path = Vec::new();
            for gradient in gradients.rows() {
                let targets = Data::new().with("p", gradient.insert_axis(Axis(0)).to_owned());
                sim.fit(&Data::new(), &targets, &Fit::epochs(1)).unwrap();
                path.extend(wide(&sim.parameter("x/p").unwrap()));
            }
            golden.check(&format!("{name}/parameters"), device, &path);
        }
    }
    println!("worst: {:.2} of the tolerance", golden.worst);
}

#[test]
fn optimisers_are_those_of_keras() {
    optimisers("optimisers_keras");
}

#[test]
fn optimisers_are_those_of_pytorch() {
    optimisers("optimisers_torch");
}

/// Names in the file and in our network.
const NAMES: [(&str, &str); 4] =
    [("w_in", "hidden/weights"), ("bias", "hidden/bias"), ("w_out", "out/weights"), ("b_out", "out/bias")];

#[test]
fn perceptrons_learn_as_in_nengo_dl() {
    let mut golden = Golden::open("training_mlp");
    for (name, case) in golden.cases() {
        let (from, data) = (case["from"].as_str().unwrap(), case["data"].as_str().unwrap());
        let x = golden.input(&format!("{data}/x"));
        let target = golden.input(&format!("{data}/target"));
        let start = NAMES.map(|(theirs, _)| golden.input(&format!("{from}/initial/{theirs}")));
        for device in crate::common::devices() {
            perceptron(&mut golden, &name, &case, device, (&x, &target), &start);
        }
    }
    println!("worst: {:.2} of the tolerance", golden.worst);
}

fn perceptron(
    golden: &mut Golden,
    name: &str,
    case: &Value,
    device: &Device,
    (x, target): (&ArrayD<f32>, &ArrayD<f32>),
    start: &[ArrayD<f32>; 4],
) {
    let values = |i: usize| Init::Values(start[i].iter().copied().collect());
    let activation = match case["neuron_type"]["type"].as_str() {
        Some("Tanh") => Activation::Tanh,
        _ => Activation::Relu,
    };
    let layer = |units, w, b| Layer { bias_init: values(b), ..Layer::dense(units).init(values(w)) };
    let mut net = Network::new(0);
    let input = net.node("x", Node::Input(8)).unwrap();
    let hidden = net.layer("hidden", layer(16, 0, 1).activation(activation), input).unwrap();
    let out = net.layer("out", layer(4, 2, 3), hidden).unwrap();
    let probe = net.probe("y", out).unwrap();
    let mut sim = Simulator::with(&net, device, Options { minibatch: 6, ..Options::default() }).unwrap();
    let optimised = &case["optimiser"];
    let objective = Objective::new().loss("y", Loss::CrossEntropy);
    let mut training = Training::new(objective, number(optimised, "lr")).optimiser(optimiser(optimised));
    training.report_every = 1;
    let l2 = number(case, "l2_half");
    sim.compile(training.penalty(Select::Weights, Penalty::L2Half(l2))).unwrap();

    let minibatch = |a: &ArrayD<f32>, k: usize| -> Array3<f32> {
        a.index_axis(Axis(0), k).to_owned().into_dimensionality::<Ix3>().unwrap()
    };
    let output = sim.predict(&Data::new().with("x", minibatch(x, 0))).unwrap().remove(&probe).unwrap();
    golden.check(&format!("{name}/output"), device, &wide(&output));
    let mut paths = start.each_ref().map(wide);
    let (mut losses, mut penalties) = (Vec::new(), Vec::new());
    for k in 0..20 {
        let (x, target) = (minibatch(x, k), minibatch(target, k));
        let (inputs, targets) = (Data::new().with("x", x), Data::new().with("y", target));
        let report = sim.fit(&inputs, &targets, &Fit::epochs(1)).unwrap().remove(0);
        losses.push(report.loss);
        penalties.push(report.penalty.unwrap());
        for (i, (theirs, ours)) in NAMES.iter().enumerate() {
            if k == 0 {
                let l2 = if ours.ends_with("weights") { f64::from(l2) } else { 0.0 };
                let gradient = wide(&sim.gradient(ours).unwrap());
                let whole: Vec<f64> =
                    gradient.iter().zip(&start[i]).map(|(g, w)| g + l2 * f64::from(*w)).collect();
                golden.check(&format!("{name}/gradient/{theirs}"), device, &whole);
            }
            paths[i].extend(wide(&sim.parameter(ours).unwrap()));
        }
    }
    golden.check(&format!("{name}/data_loss"), device, &losses);
    golden.check(&format!("{name}/penalty"), device, &penalties);
    for ((theirs, _), path) in NAMES.iter().zip(&paths) {
        golden.check(&format!("{name}/path/{theirs}"), device, path);
    }
}
