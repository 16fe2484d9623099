//! What a user does wrong is told in the user's own terms, and nothing is broken by it.

use crate::common::devices;
use ndarray::{Array2, Array3, array};
use nengo_wgpu::engine::Target;
use nengo_wgpu::expr::function::Surrogate;
use nengo_wgpu::graph::{Tensor, Type};
use nengo_wgpu::network::{
    Bound, Connection, Function, Init, Layer, Network, Neurons, Node, Parameters, Synapse, TensorNode,
    Transform,
};
use nengo_wgpu::neuron::{AdaptiveLif, Izhikevich, LifRate, NeuronType, Spiking};
use nengo_wgpu::train::{
    Backprop, Clip, Group, Loss, Objective, Optimiser, Over, Penalty, Schedule, Select, Training,
};
use nengo_wgpu::{Data, Device, Error, Fit, Options, Result, Simulator};

/// Fails unless `result` is an error whose text holds all `parts`.
#[track_caller]
fn says<T>(result: Result<T>, parts: &[&str]) {
    let text = match result {
        Ok(_) => panic!("no error, but one with {parts:?} was expected"),
        Err(e) => e.to_string(),
    };
    for part in parts {
        assert!(text.contains(part), "'{part}' is missing in: {text}");
    }
}

/// Inputs `x` of 3, outputs `y` of 2.
fn network() -> Network {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(3)).unwrap();
    let layer = net.layer("dense", Layer::dense(2), x).unwrap();
    net.probe("y", layer).unwrap();
    net
}

fn simulator(device: &Device) -> Simulator {
    Simulator::with(&network(), device, Options { minibatch: 2, ..Options::default() }).unwrap()
}

fn loss() -> Training {
    Training::new(Objective::new().loss("y", Loss::MeanSquared), 0.1)
}

fn cpu() -> &'static Device {
    &devices()[1]
}

fn data(name: &str, shape: (usize, usize)) -> Data {
    Data::new().with(name, Array2::from_elem(shape, 0.5))
}

#[test]
fn names_that_are_unknown_or_taken_are_told_with_those_there_are() {
    let mut net = network();
    says(net.node("x", Node::Input(1)), &["'x'", "unique"]);
    says(net.probe("y", net.find("x").unwrap()), &["'y'", "unique"]);
    says(net.node("", Node::Input(1)), &["''"]);
    says(net.node("a/b", Node::Input(1)), &["'a/b'"]);
    says(net.find("z"), &["'z'", "x, dense"]);
    says(net.find_probe("z"), &["probe", "'z'", "there is: y"]);
    says(
        net.add_probe("w", nengo_wgpu::network::Target::Parameter("z/w".into())),
        &["'z/w'", "dense/weights, dense/bias"],
    );
    let mut sim = simulator(cpu());
    says(sim.parameter("dense/W"), &["'dense/W'", "dense/weights"]);
    says(sim.run_steps(1, &data("image", (2, 3))), &["'image'", "x, dense"]);
    says(
        sim.compile(Training::new(Objective::new().loss("z", Loss::MeanSquared), 0.1)),
        &["probe", "'z'", "y"],
    );
    says(sim.compile(loss().penalty(Select::parameter("q"), Penalty::L1(0.1))), &["'q'", "dense/weights"]);
    sim.compile(loss()).unwrap();
    says(sim.fit(&data("x", (2, 3)), &data("z", (2, 2)), &Fit::epochs(1)), &["probe", "'z'"]);
    let objective = Objective::new().custom("mine", |t| t.parameter("dense/w").sum_all());
    sim.compile(Training::new(objective, 0.1)).unwrap();
    says(sim.fit(&data("x", (2, 3)), &Data::new(), &Fit::epochs(1)), &["'dense/w'", "dense/weights"]);
}

#[test]
fn shapes_that_do_not_fit_are_told_with_both_objects_and_shapes() {
    let mut net = network();
    let (x, dense) = (net.find("x").unwrap(), net.find("dense").unwrap());
    let narrow = net.node("narrow", Node::Passthrough(7)).unwrap();
    says(net.connect(x, narrow, Connection::new()), &["'x'", "'narrow'", "3", "7", "dense transform"]);
    says(net.connect(dense, x, Connection::new()), &["'x'", "takes no input", "'dense'"]);
    let init = Transform::Dense(Init::Values(vec![0.0; 5]));
    says(
        net.connect(x, narrow, Connection::new().transform(init)),
        &["x->narrow/weights", "[7, 3]", "5 values"],
    );
    let mut sim = simulator(cpu());
    says(sim.run_steps(1, &data("x", (2, 4))), &["'x'", "[2, 4]", "3 dimensions"]);
    says(sim.run_steps(1, &data("x", (5, 3))), &["minibatch", "2 examples", "5 examples"]);
    let steps = Data::new().with("x", Array3::zeros((2, 6, 3)));
    says(sim.run_steps(4, &steps), &["4 steps", "6 steps"]);
    says(sim.set_parameter("dense/weights", &array![[1.0]]), &["'dense/weights'", "[2, 3]", "[1, 1]"]);
    sim.compile(loss()).unwrap();
    says(sim.fit(&data("x", (4, 3)), &data("y", (4, 5)), &Fit::epochs(1)), &["'y'", "2]", "5]"]);
    says(
        sim.fit(&data("x", (4, 3)), &data("y", (3, 2)), &Fit::epochs(1)),
        &["'x'", "'y'", "4 examples", "3 examples"],
    );
    let objective = Objective::new().custom("mine", |t| t.output("y"));
    sim.compile(Training::new(objective, 0.1)).unwrap();
    says(sim.fit(&data("x", (2, 3)), &Data::new(), &Fit::epochs(1)), &["'mine'", "one number"]);
}

/// A tensor node that gives too many values, or multiplies what does not fit.
struct Wrong(bool);

impl TensorNode for Wrong {
    fn pre_build(&self, size_in: usize, _: usize, parameters: &mut Parameters) -> Result<()> {
        parameters.add("w", 4, size_in + usize::from(self.0), Init::Zeros);
        Ok(())
    }

    fn call<'s>(&self, _: Tensor<'s>, x: Tensor<'s>, parameters: &Bound<'s>) -> Tensor<'s> {
        x.dot(parameters.get("w"))
    }
}

/// A tensor node with two parameters of one name.
struct Broken;

impl TensorNode for Broken {
    fn pre_build(&self, _: usize, _: usize, parameters: &mut Parameters) -> Result<()> {
        parameters.add("w", 4, 2, Init::Zeros);
        parameters.add("w", 4, 2, Init::Zeros);
        Ok(())
    }

    fn call<'s>(&self, _: Tensor<'s>, x: Tensor<'s>, _: &Bound<'s>) -> Tensor<'s> {
        x
    }
}

#[test]
fn tensor_nodes_that_do_not_fit_are_named() {
    for (wrong, parts) in [(false, ["'mine'", "3", "4]"]), (true, ["'mine'", "matmul", "[4, 3]"])] {
        let mut net = Network::new(0);
        let x = net.node("x", Node::Input(2)).unwrap();
        let mine = net.tensor_node("mine", 2, 3, Wrong(wrong)).unwrap();
        net.connect(x, mine, Connection::new()).unwrap();
        net.probe("p", mine).unwrap();
        says(Simulator::new(&net, cpu()), &parts);
    }
}

#[test]
fn data_that_are_not_finite_are_refused_with_their_step() {
    for device in devices() {
        let mut sim = simulator(device);
        let mut x = Array3::zeros((2, 5, 3));
        for (bad, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
            x[[1, 3, 2]] = bad;
            says(sim.run_steps(5, &Data::new().with("x", x.clone())), &["'x'", name, "step 3"]);
        }
        sim.compile(loss()).unwrap();
        let targets = Data::new().with("y", array![[f32::INFINITY, 0.0]]);
        says(sim.fit(&data("x", (1, 3)), &targets, &Fit::epochs(1)), &["'y'", "inf"]);
        says(sim.set_parameter("dense/bias", &array![[f32::NAN, 0.0]]), &["'dense/bias'", "NaN"]);
        sim.run_steps(5, &data("x", (2, 3))).unwrap();
    }
    says(Network::new(0).node("c", Node::Constant(vec![f32::NAN])), &["'c'", "NaN"]);
}

#[test]
fn a_loss_that_explodes_names_probe_and_step_and_keeps_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    for device in devices() {
        let mut sim = simulator(device);
        sim.compile(loss().schedule(Schedule::constant(1e18))).unwrap();
        let (x, y) = (data("x", (2, 3)), data("y", (2, 2)));
        let good = {
            let mut sim = simulator(device);
            sim.compile(loss()).unwrap();
            sim.fit(&x, &y, &Fit { checkpoint: Some(path.clone()), ..Fit::epochs(2) }).unwrap();
            sim.parameter("dense/weights").unwrap()
        };
        let fit = Fit { checkpoint: Some(path.clone()), ..Fit::epochs(50) };
        let mut bytes = std::fs::read(&path).unwrap();
        let exploded = loop {
            // One epoch a call, to know the last checkpoint before.
            match sim.fit(&x, &y, &Fit { epochs: 1, ..fit.clone() }) {
                Ok(_) => bytes = std::fs::read(&path).unwrap(),
                Err(e) => break e,
            }
        };
        match &exploded {
            Error::NotFinite { what, .. } => {
                assert!(what.contains("'y'") || what.contains("dense"), "{exploded}")
            }
            other => panic!("{other}"),
        }
        assert!(exploded.to_string().contains("at step"), "{exploded}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "the last checkpoint is kept");
        let mut again = simulator(device);
        again.compile(loss()).unwrap();
        again.load_checkpoint(&path).unwrap();
        assert!(again.parameter("dense/weights").unwrap().iter().all(|w| w.is_finite()));
        assert!(good.iter().all(|w| w.is_finite()));
    }
}

#[test]
fn classes_out_of_range_are_refused_with_the_range() {
    let mut sim = simulator(cpu());
    sim.compile(Training::new(Objective::new().loss("y", Loss::CrossEntropy), 0.1)).unwrap();
    for bad in [2.0, -1.0, 0.5] {
        let targets = Data::new().with("y", array![[0.0], [bad]]);
        let text = format!("{bad}");
        says(sim.fit(&data("x", (2, 3)), &targets, &Fit::epochs(1)), &["'y'", &text, "0 to 1"]);
        says(sim.evaluate(&data("x", (2, 3)), &targets), &["'y'", &text]);
    }
}

#[test]
fn files_of_another_network_and_broken_files_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.safetensors");
    let mut other = Network::new(0);
    let x = other.node("x", Node::Input(3)).unwrap();
    other.layer("dense", Layer::dense(4).no_bias(), x).unwrap();
    other.layer("more", Layer::dense(2).no_bias(), x).unwrap();
    Simulator::new(&other, cpu()).unwrap().save_parameters(&path).unwrap();
    for device in devices() {
        let mut sim = simulator(device);
        let before = sim.parameter("dense/weights").unwrap();
        says(
            sim.load_parameters(&path),
            &["missing [dense/bias]", "unknown [more/weights]", "[4, 3]", "[2, 3]"],
        );
        let own = dir.path().join("own");
        sim.save_parameters(&own).unwrap();
        let bytes = std::fs::read(&own).unwrap();
        for len in [0, 7, 20, bytes.len() / 2, bytes.len() - 1] {
            let cut = dir.path().join("cut");
            std::fs::write(&cut, &bytes[..len]).unwrap();
            says(sim.load_parameters(&cut), &["cut"]);
        }
        says(sim.load_parameters(dir.path().join("none")), &["none"]);
        assert_eq!(sim.parameter("dense/weights").unwrap(), before);
        sim.load_parameters(&own).unwrap();
        sim.compile(loss()).unwrap();
        says(sim.load_checkpoint(&own), &["own", "no checkpoint"]);
        sim.save_checkpoint(&own).unwrap();
        sim.compile(loss().optimiser(Optimiser::adam())).unwrap();
        says(sim.load_checkpoint(&own), &["\"sgd\"", "\"adam\""]);
    }
}

#[test]
fn files_that_cannot_be_written_are_named_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut sim = simulator(cpu());
    sim.compile(loss()).unwrap();
    let gone = dir.path().join("gone").join("p");
    says(sim.save_parameters(&gone), &["gone", "No such file"]);
    says(sim.save_checkpoint(&gone), &["gone"]);
    says(sim.save_parameters(dir.path()), &[dir.path().to_str().unwrap()]);
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    says(sim.save_parameters(file.join("p")), &["file"]);
    let fit = Fit { checkpoint: Some(gone), ..Fit::epochs(1) };
    says(sim.fit(&data("x", (2, 3)), &data("y", (2, 2)), &fit), &["gone"]);
    // The simulator is not broken by it.
    sim.fit(&data("x", (2, 3)), &data("y", (2, 2)), &Fit::epochs(1)).unwrap();
}

#[test]
fn values_too_large_for_a_device_are_told_with_both_sizes() {
    let case = crate::common::build(crate::common::dims(100, 1), |c| vec![c.feed(Type::example(50)).relu()]);
    for device in devices() {
        let target = Target { max_binding: 4096, ..device.target().clone() };
        says(
            case.try_plan(&target),
            &["needs 20000 bytes", "allows 16384", "smaller minibatch", device.name()],
        );
    }
    let case = crate::common::build(crate::common::dims(100, 1), |c| {
        c.scope.set_owner("wide");
        vec![c.feed(Type::example(4)).dot(c.parameter(50, 4))]
    });
    says(case.try_plan(&Target { max_binding: 4096, ..cpu().target().clone() }), &["'wide'", "20000"]);
}

#[test]
fn a_device_that_is_not_there_is_told_with_those_there_are() {
    says(Device::select("voodoo"), &["'voodoo'", "cpu", devices()[0].name()]);
    says(Device::select(""), &["cpu"]);
}

#[test]
fn runs_and_settings_of_no_size_are_refused() {
    let net = network();
    says(Simulator::with(&net, cpu(), Options { minibatch: 0, ..Options::default() }), &["minibatch", "0"]);
    for dt in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        says(Simulator::with(&net, cpu(), Options { dt, ..Options::default() }), &["dt"]);
    }
    let mut sim = simulator(cpu());
    says(sim.run_steps(0, &data("x", (2, 3))), &["0 steps"]);
    says(sim.predict_steps(&data("x", (2, 3)), 0), &["0 steps"]);
    for seconds in [0.0, -1.0, f64::NAN, 1e-9] {
        says(sim.run(seconds), &["length of a run"]);
    }
    says(sim.run_steps(1, &Data::new()), &["'x'", "no data"]);
    says(sim.data(net.find_probe("y").unwrap()), &["'y'", "nothing has been run"]);
    says(sim.gradient("dense/bias"), &["nothing has been trained"]);
    says(sim.fit(&data("x", (2, 3)), &data("y", (2, 2)), &Fit::epochs(1)), &["compile"]);
    says(sim.save_checkpoint("p"), &["compile"]);
    sim.compile(loss()).unwrap();
    says(sim.fit(&data("x", (0, 3)), &data("y", (0, 2)), &Fit::epochs(1)), &["no examples"]);
    says(sim.fit(&data("x", (2, 3)), &Data::new(), &Fit::epochs(1)), &["'y'", "no targets"]);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let mut sim = simulator(cpu());
    says(sim.compile(Training::new(Objective::new(), 0.1)), &["objective", "no loss"]);
    says(sim.compile(loss().clip(Clip::Value(0.0))), &["clip", "above 0"]);
    says(sim.compile(loss().schedule(Schedule::constant(f32::NAN))), &["rate", "NaN"]);
    says(sim.compile(loss().optimiser(Optimiser::momentum(1.0))), &["momentum", "below 1"]);
    says(sim.compile(loss().penalty(Select::All, Penalty::L1(-1.0))), &["penalty", "-1"]);
    let group = Group { parameters: Select::All, rate: f32::NAN };
    says(sim.compile(loss().group(group)), &["group", "NaN"]);
    says(sim.compile(Training { report_every: 0, ..loss() }), &["report-every: it is 0"]);
    says(sim.compile(Training::new(Objective::new().loss("y", Loss::Huber(-1.0)), 0.1)), &["'y'", "above 0"]);
    let mut net = network();
    let x = net.find("x").unwrap();
    says(net.layer("l", Layer::dense(0), x), &["'l'"]);
    says(net.layer("l", Layer::dense(2).dropout(1.0), x), &["'l'", "below 1"]);
    says(net.layer("l", Layer::dense(2).init(Init::Normal(0.0, -1.0)), x), &["l/weights"]);
    let dense = net.find("dense").unwrap();
    let loop_of = Connection::new().synapse(Synapse::Lowpass(-0.1));
    says(net.connect(dense, dense, loop_of), &["dense->dense", "-0.1"]);
    let same = net.node("same", Node::Passthrough(2)).unwrap();
    let scalar = Connection::new().transform(Transform::Scalar(f32::NAN));
    says(net.connect(dense, same, scalar), &["dense->same", "NaN"]);
}

#[test]
fn refused_layers_leave_the_network_as_it_was() {
    let mut net = network();
    let x = net.find("x").unwrap();
    let (objects, parameters) = (net.find("z").err().unwrap().to_string(), net.parameters().len());
    assert!(net.layer("new", Layer::dense(2).init(Init::Normal(0.0, -1.0)), x).is_err());
    assert!(net.tensor_node("other", 2, 0, Wrong(false)).is_err());
    assert!(net.tensor_node("more", 2, 3, Broken).is_err());
    assert_eq!((net.find("z").err().unwrap().to_string(), net.parameters().len()), (objects, parameters));
    net.layer("new", Layer::dense(2), x).unwrap();
}

/// A tensor node whose call panics.
struct Fragile;

impl TensorNode for Fragile {
    fn pre_build(&self, _: usize, _: usize, _: &mut Parameters) -> Result<()> {
        Ok(())
    }

    fn call<'s>(&self, _: Tensor<'s>, _: Tensor<'s>, _: &Bound<'s>) -> Tensor<'s> {
        panic!("no idea")
    }
}

#[test]
fn functions_of_time_that_fail_are_named() {
    let run = |node: Node| {
        let mut net = Network::new(0);
        let f = net.node("wave", node).unwrap();
        net.probe("p", f).unwrap();
        let mut sim = Simulator::new(&net, cpu()).unwrap();
        sim.run_steps(20, &Data::new())
    };
    says(run(Node::function(2, |_| vec![1.0])), &["'wave'", "2", "1 values"]);
    says(
        run(Node::function(1, |t| vec![if t > 0.0095 { f32::NAN } else { 0.0 }])),
        &["'wave'", "NaN", "step 9"],
    );
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = run(Node::function(1, |_| panic!("out of coffee")));
    let in_call = {
        let mut net = Network::new(0);
        net.tensor_node("fragile", 1, 1, Fragile).unwrap();
        Simulator::new(&net, cpu()).map(drop)
    };
    std::panic::set_hook(hook);
    says(in_call, &["tensor node 'fragile'", "no idea"]);
    says(result, &["'wave'", "out of coffee"]);
    says(run(Node::Array(Array2::zeros((5, 1)))), &["'wave'", "5 steps", "step 20"]);
}

#[test]
fn neurons_that_are_silent_since_their_current_is_not_a_number_are_named() {
    for device in devices() {
        for neurons in [NeuronType::lif(), AdaptiveLif::default().into(), Izhikevich::default().into()] {
            let mut net = Network::new(0);
            let x = net.node("x", Node::Constant(vec![-0.5])).unwrap();
            let hidden = net.neurons("hidden", Neurons::new(4, neurons)).unwrap();
            let log = Function::parse("log(x); x; 1; 0").unwrap();
            net.connect(x, hidden, Connection::new().function(log)).unwrap();
            net.probe("p", hidden).unwrap();
            let mut sim = Simulator::new(&net, device).unwrap();
            let result = sim.run_steps(20, &Data::new());
            says(result, &["the voltage of 'hidden' is NaN", "element 0", "at step 0"]);
        }
        // A rate is not a number where its current is none.
        let rate = || NeuronType::from(LifRate::default());
        let random = [NeuronType::stochastic_spiking(rate()), NeuronType::poisson_spiking(rate())];
        for neurons in random.into_iter().chain([rate()]) {
            let mut net = Network::new(0);
            let x = net.node("x", Node::Constant(vec![-0.5])).unwrap();
            let rates = Neurons::new(1, neurons).tuned(Init::Constant(1.0), Init::Zeros);
            let hidden = net.neurons("hidden", rates).unwrap();
            let log = Function::parse("log(x)").unwrap();
            net.connect(x, hidden, Connection::new().function(log)).unwrap();
            net.probe("p", hidden).unwrap();
            let result = Simulator::new(&net, device).unwrap().run_steps(20, &Data::new());
            says(result, &["'p' is NaN", "step 0"]);
        }
    }
}

#[test]
fn the_step_at_which_a_state_is_no_number_is_told_in_long_runs() {
    let log = || Connection::new().function(Function::parse("log(x)").unwrap());
    let network = |called: bool| {
        let mut net = Network::new(0);
        let x = net.node("x", Node::function(1, |t| vec![if t > 1.4995 { -0.5 } else { 0.5 }])).unwrap();
        let hidden = net.neurons("hidden", Neurons::new(1, NeuronType::lif())).unwrap();
        net.connect(x, hidden, log()).unwrap();
        net.probe("spikes", hidden).unwrap();
        if called {
            net.node("twice", Node::callback(1, 1, |_, x| vec![2.0 * x[0]])).unwrap();
        }
        net
    };
    for device in devices() {
        for window in [None, Some(300)] {
            let mut sim = Simulator::new(&network(false), device).unwrap();
            sim.limit_windows(window).unwrap();
            sim.run_steps(400, &Data::new()).unwrap();
            let result = sim.run_steps(2600, &Data::new());
            says(result, &["the voltage of 'hidden' is NaN at step 1499", "element 0", "that step's inputs"]);
            sim.reset().unwrap();
            sim.run_steps(1499, &Data::new()).unwrap();
            says(sim.run_steps(1, &Data::new()), &["'hidden' is NaN at step 1499", "that step's inputs"]);
            says(sim.predict_steps(&Data::new(), 2000), &["'hidden' is NaN at step 1499"]);
        }
    }
    // A callback is called once a step, and not again to find out.
    let mut sim = Simulator::new(&network(true), cpu()).unwrap();
    says(sim.run_steps(2600, &Data::new()), &["'hidden' is NaN", "within 1024 steps"]);

    // A filter passes it on at once.
    let mut net = network(false);
    let (x, y) = (net.find("x").unwrap(), net.node("y", Node::Passthrough(1)).unwrap());
    net.connect(x, y, log().synapse(Synapse::Alpha(0.1))).unwrap();
    net.probe("y", y).unwrap();
    for device in devices() {
        let result = Simulator::new(&net, device).unwrap().run_steps(2600, &Data::new());
        says(result, &["'y' is NaN at step 1500", "since step 1499"]);
    }
}

#[test]
fn neurons_that_are_silent_in_training_are_told_of() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let hidden = net.neurons("hidden", Neurons::new(4, NeuronType::lif())).unwrap();
    let log = Connection::new().function(Function::parse("log(x); x; 1; 0").unwrap());
    net.connect(x, hidden, log).unwrap();
    let y = net.layer("y", Layer::dense(1), hidden).unwrap();
    net.probe("y", y).unwrap();
    for device in devices() {
        let mut sim = Simulator::new(&net, device).unwrap();
        let surrogate = Spiking::Surrogate(Surrogate::FastSigmoid(10.0));
        sim.compile(Training::new(Objective::new().loss("y", Loss::MeanSquared), 0.1).spiking(surrogate))
            .unwrap();
        let (x, y) = (Data::new().with("x", array![[-0.5]]), Data::new().with("y", array![[1.0]]));
        let fit = Fit { n_steps: Some(5), ..Fit::epochs(3) };
        says(
            sim.fit(&x, &y, &fit),
            &["the voltage of 'hidden' is NaN at step 0", "element 0", "function of a connection"],
        );
    }
}

#[test]
fn runs_and_data_of_other_lengths_are_told_with_the_node() {
    let mut sim = simulator(cpu());
    let x = Data::new().with("x", Array3::zeros((2, 3, 3)));
    says(sim.run_steps(5, &x), &["the run is 5 steps", "the data of node 'x' is 3 steps"]);
    sim.compile(loss()).unwrap();
    let fit = Fit { n_steps: Some(0), ..Fit::epochs(1) };
    says(
        sim.fit(&data("x", (2, 3)), &data("y", (2, 2)), &fit),
        &["length of a run", "0 steps", "at least 1"],
    );
}

#[test]
fn what_windows_cannot_do_is_told_before_training() {
    let run = |training: Training, y: Data| {
        let mut sim = simulator(cpu());
        sim.compile(training)?;
        sim.fit(&data("x", (2, 3)), &y, &Fit { n_steps: Some(6), ..Fit::epochs(1) }).map(drop)
    };
    let held = || data("y", (2, 2));
    let of = |over| Training::new(Objective::new().loss("y", Loss::MeanSquared).over(over), 0.1);
    for backprop in [Backprop::Truncated(0), Backprop::Checkpointed(0)] {
        says(run(loss().backprop(backprop), held()), &["window", "0 steps", "at least 1"]);
    }
    for over in [Over::Sum, Over::Mean] {
        let windows = of(over).backprop(Backprop::Checkpointed(4));
        says(run(windows, held()), &["'y'", "over time", "6 steps", "windows of 4", "full"]);
        run(of(over).backprop(Backprop::Checkpointed(6)), held()).unwrap();
        let each = Data::new().with("y", Array3::zeros((2, 6, 2)));
        says(run(of(over), each), &["'y'", "each step", "over time", "one row an example"]);
    }
    let custom = Objective::new().custom("mine", |t| t.output("y").sum_all());
    says(
        run(Training::new(custom, 0.1).backprop(Backprop::Truncated(2)), held()),
        &["'mine'", "whole run", "custom_mean", "windows of 2"],
    );
    says(
        run(Training::new(Objective::new().over(Over::Last).loss("y", Loss::MeanSquared), 0.1), held()),
        &["over", "after the loss"],
    );
    says(run(of(Over::Last).memory_budget(100), held()), &["100", "memory budget", "no window fits"]);
    says(run(of(Over::Sum).memory_budget(100), held()), &["100", "'y'", "sum over time", "cannot be cut"]);
    let other = Data::new().with("y", Array3::zeros((2, 5, 2)));
    says(run(of(Over::Every), other), &["5 steps", "6 steps"]);
}

#[test]
fn a_loss_that_is_not_finite_tells_the_state_that_is_not() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(3)).unwrap();
    let grow = net.unconnected_layer("grow", Layer::dense(2).init(Init::Values(vec![1e20; 4])), 2).unwrap();
    let first = Transform::Dense(Init::Values(vec![0.0, 0.0, 0.0, 1.0, 1.0, 1.0]));
    net.connect(x, grow, Connection::new().transform(first)).unwrap();
    net.connect(grow, grow, Connection::new().synapse(Synapse::Lowpass(0.005)).named("loop")).unwrap();
    net.probe("y", grow).unwrap();
    for device in devices() {
        for backprop in [Backprop::Full, Backprop::Truncated(3), Backprop::Checkpointed(4)] {
            let mut sim =
                Simulator::with(&net, device, Options { minibatch: 2, ..Options::default() }).unwrap();
            sim.compile(loss().backprop(backprop)).unwrap();
            let fit = Fit { n_steps: Some(12), ..Fit::epochs(1) };
            says(
                sim.predict_steps(&data("x", (2, 3)), 12),
                &["the output of probe 'y'", "the filter of 'loop'", "example 0", "since step 1"],
            );
            let step = if backprop == Backprop::Checkpointed(4) { "4 time steps" } else { "12 time steps" };
            says(
                sim.fit(&data("x", (2, 3)), &data("y", (2, 2)), &fit),
                &[
                    "the loss of probe 'y'",
                    "the filter of 'loop'",
                    "example 0",
                    "element 0",
                    step,
                    "learning rate",
                ],
            );
        }
    }
}
