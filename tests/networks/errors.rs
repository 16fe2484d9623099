//! Mistakes of users are reported in the users' own terms, and leave networks and simulators as they were.

use crate::common::messages::Messages;
use crate::common::{devices, problem};
use ndarray::{Array2, Array3, array};
use nengo_wgpu::internals::engine::Target;
use nengo_wgpu::internals::graph::{Tensor, Type};
use nengo_wgpu::network::{
    Bound, Connection, Init, Layer, Network, Node, Parameters, Synapse, TensorNode, Transform,
};
use nengo_wgpu::train::{
    Backprop, Clip, Group, Loss, Objective, Optimiser, Over, Penalty, Schedule, Select, Training,
};
use nengo_wgpu::{Data, Device, Fit, Options, Result, Simulator};

/// Inputs `x` of 3, outputs `y` of 2.
fn network() -> Network {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(3)).unwrap();
    let layer = net.layer("dense", Layer::dense(2), x).unwrap();
    net.probe("y", layer).unwrap();
    net
}

pub(super) fn simulator(device: &Device) -> Simulator {
    Simulator::with(&network(), device, Options { minibatch: 2, ..Options::default() }).unwrap()
}

pub(super) fn loss() -> Training {
    Training::new(Objective::new().loss("y", Loss::MeanSquared), 0.1)
}

pub(super) fn cpu() -> &'static Device {
    &devices()[1]
}

pub(super) fn data(name: &str, shape: (usize, usize)) -> Data {
    Data::new().with(name, Array2::from_elem(shape, 0.5))
}

#[test]
fn unknown_and_taken_names_are_errors_that_list_the_valid_ones() {
    let said = Messages::of("unknown and taken names are errors that list the valid ones");
    let mut net = network();
    said.error(net.node("x", Node::Input(1)));
    said.error(net.probe("y", net.find("x").unwrap()));
    said.error(net.node("", Node::Input(1)));
    said.error(net.node("a/b", Node::Input(1)));
    said.error(net.find("z"));
    said.error(net.find_probe("z"));
    said.error(net.add_probe("w", nengo_wgpu::network::Target::Parameter("z/w".into())));
    let mut sim = simulator(cpu());
    said.error(sim.parameter("dense/W"));
    said.error(sim.run_steps(1, &data("image", (2, 3))));
    said.error(sim.compile(Training::new(Objective::new().loss("z", Loss::MeanSquared), 0.1)));
    said.error(sim.compile(loss().penalty(Select::parameter("q"), Penalty::L1(0.1))));
    sim.compile(loss()).unwrap();
    said.error(sim.fit(&data("x", (2, 3)), &data("z", (2, 2)), &Fit::epochs(1)));
    let objective = Objective::new().custom("mine", |t| t.parameter("dense/w").sum_all());
    sim.compile(Training::new(objective, 0.1)).unwrap();
    said.error(sim.fit(&data("x", (2, 3)), &Data::new(), &Fit::epochs(1)));
}

#[test]
fn shape_errors_name_both_objects_and_shapes() {
    let said = Messages::of("shape errors name both objects and shapes");
    let mut net = network();
    let (x, dense) = (net.find("x").unwrap(), net.find("dense").unwrap());
    let narrow = net.node("narrow", Node::Passthrough(7)).unwrap();
    said.error(net.connect(x, narrow, Connection::new()));
    said.error(net.connect(dense, x, Connection::new()));
    let init = Transform::Dense(Init::Values(vec![0.0; 5]));
    said.error(net.connect(x, narrow, Connection::new().transform(init)));
    let mut sim = simulator(cpu());
    said.error(sim.run_steps(1, &data("x", (2, 4))));
    said.error(sim.run_steps(1, &data("x", (5, 3))));
    let steps = Data::new().with("x", Array3::zeros((2, 6, 3)));
    said.error(sim.run_steps(4, &steps));
    said.error(sim.set_parameter("dense/weights", &array![[1.0]]));
    sim.compile(loss()).unwrap();
    said.error(sim.fit(&data("x", (4, 3)), &data("y", (4, 5)), &Fit::epochs(1)));
    said.error(sim.fit(&data("x", (4, 3)), &data("y", (3, 2)), &Fit::epochs(1)));
    let objective = Objective::new().custom("mine", |t| t.output("y"));
    sim.compile(Training::new(objective, 0.1)).unwrap();
    said.error(sim.fit(&data("x", (2, 3)), &Data::new(), &Fit::epochs(1)));
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
fn tensor_nodes_of_wrong_shapes_are_refused_by_name() {
    let said = Messages::of("tensor nodes of wrong shapes are refused by name");
    for wrong in [false, true] {
        let mut net = Network::new(0);
        let x = net.node("x", Node::Input(2)).unwrap();
        let mine = net.tensor_node("mine", 2, 3, Wrong(wrong)).unwrap();
        net.connect(x, mine, Connection::new()).unwrap();
        net.probe("p", mine).unwrap();
        said.error(Simulator::new(&net, cpu()));
    }
}

#[test]
fn classes_out_of_range_are_refused_with_the_range() {
    let said = Messages::of("classes out of range are refused with the range");
    let mut sim = simulator(cpu());
    sim.compile(Training::new(Objective::new().loss("y", Loss::CrossEntropy), 0.1)).unwrap();
    for bad in [2.0, -1.0, 0.5] {
        let targets = Data::new().with("y", array![[0.0], [bad]]);
        said.error(sim.fit(&data("x", (2, 3)), &targets, &Fit::epochs(1)));
        said.error(sim.evaluate(&data("x", (2, 3)), &targets));
    }
}

#[test]
fn files_of_another_network_and_broken_files_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let said = Messages::of("files of another network and broken files change nothing")
        .hide(dir.path().display(), "DIR");
    let path = dir.path().join("p.safetensors");
    let mut other = Network::new(0);
    let x = other.node("x", Node::Input(3)).unwrap();
    other.layer("dense", Layer::dense(4).no_bias(), x).unwrap();
    other.layer("more", Layer::dense(2).no_bias(), x).unwrap();
    Simulator::new(&other, cpu()).unwrap().save_parameters(&path).unwrap();
    for device in devices() {
        let mut sim = simulator(device);
        let before = sim.parameter("dense/weights").unwrap();
        said.error(sim.load_parameters(&path));
        let own = dir.path().join("own");
        sim.save_parameters(&own).unwrap();
        let bytes = std::fs::read(&own).unwrap();
        for len in [0, 7, 20, bytes.len() / 2, bytes.len() - 1] {
            let cut = dir.path().join("cut");
            std::fs::write(&cut, &bytes[..len]).unwrap();
            said.error(sim.load_parameters(&cut));
        }
        said.error(sim.load_parameters(dir.path().join("none")));
        assert_eq!(sim.parameter("dense/weights").unwrap(), before);
        sim.load_parameters(&own).unwrap();
        sim.compile(loss()).unwrap();
        said.error(sim.load_checkpoint(&own));
        sim.save_checkpoint(&own).unwrap();
        sim.compile(loss().optimiser(Optimiser::adam())).unwrap();
        said.error(sim.load_checkpoint(&own));
    }
}

#[test]
fn files_that_cannot_be_written_are_named_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let said = Messages::of("files that cannot be written are named with the reason")
        .hide(dir.path().display(), "DIR");
    let mut sim = simulator(cpu());
    sim.compile(loss()).unwrap();
    let gone = dir.path().join("gone").join("p");
    said.error(sim.save_parameters(&gone));
    said.error(sim.save_checkpoint(&gone));
    said.error(sim.save_parameters(dir.path()));
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    said.error(sim.save_parameters(file.join("p")));
    let fit = Fit { checkpoint: Some(gone), ..Fit::epochs(1) };
    said.error(sim.fit(&data("x", (2, 3)), &data("y", (2, 2)), &fit));
    // The simulator is not broken by it.
    sim.fit(&data("x", (2, 3)), &data("y", (2, 2)), &Fit::epochs(1)).unwrap();
}

#[test]
fn too_large_values_are_refused_with_both_sizes() {
    let [adapter, twin] = devices();
    let said = Messages::of("too large values are refused with both sizes").hide(adapter.name(), "DEVICE");
    let said = said.hide(twin.name(), "DEVICE");
    let case = crate::common::build(crate::common::dims(100, 1), |c| vec![c.feed(Type::example(50)).relu()]);
    for device in devices() {
        let target = Target { max_binding: 4096, ..device.target().clone() };
        said.error(case.try_plan(&target));
    }
    let case = crate::common::build(crate::common::dims(100, 1), |c| {
        c.scope.set_owner("wide");
        vec![c.feed(Type::example(4)).dot(c.parameter(50, 4))]
    });
    said.error(case.try_plan(&Target { max_binding: 4096, ..cpu().target().clone() }));
}

#[test]
fn unknown_device_error_lists_the_devices() {
    for name in ["voodoo", ""] {
        let text = problem(Device::select(name));
        assert!(text.starts_with(&format!("no device '{name}'; there is: ")), "{text}");
        assert!(text.contains("cpu") && text.contains(devices()[0].name()), "{text}");
    }
}

#[test]
fn runs_of_no_steps_and_calls_out_of_order_are_refused() {
    let said = Messages::of("runs of no steps and calls out of order are refused");
    let net = network();
    said.error(Simulator::with(&net, cpu(), Options { minibatch: 0, ..Options::default() }));
    for dt in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        said.error(Simulator::with(&net, cpu(), Options { dt, ..Options::default() }));
    }
    let mut sim = simulator(cpu());
    said.error(sim.run_steps(0, &data("x", (2, 3))));
    said.error(sim.predict_steps(&data("x", (2, 3)), 0));
    for seconds in [0.0, -1.0, f64::NAN, 1e-9] {
        said.error(sim.run(seconds));
    }
    said.error(sim.run_steps(1, &Data::new()));
    said.error(sim.data(net.find_probe("y").unwrap()));
    said.error(sim.gradient("dense/bias"));
    said.error(sim.fit(&data("x", (2, 3)), &data("y", (2, 2)), &Fit::epochs(1)));
    said.error(sim.save_checkpoint("p"));
    sim.compile(loss()).unwrap();
    said.error(sim.fit(&data("x", (0, 3)), &data("y", (0, 2)), &Fit::epochs(1)));
    said.error(sim.fit(&data("x", (2, 3)), &Data::new(), &Fit::epochs(1)));
}

#[test]
fn invalid_settings_are_refused() {
    let said = Messages::of("invalid settings are refused");
    let mut sim = simulator(cpu());
    said.error(sim.compile(Training::new(Objective::new(), 0.1)));
    said.error(sim.compile(loss().clip(Clip::Value(0.0))));
    said.error(sim.compile(loss().schedule(Schedule::constant(f32::NAN))));
    said.error(sim.compile(loss().optimiser(Optimiser::momentum(1.0))));
    said.error(sim.compile(loss().penalty(Select::All, Penalty::L1(-1.0))));
    let group = Group { parameters: Select::All, rate: f32::NAN };
    said.error(sim.compile(loss().group(group)));
    said.error(sim.compile(Training { report_every: 0, ..loss() }));
    said.error(sim.compile(Training::new(Objective::new().loss("y", Loss::Huber(-1.0)), 0.1)));
    let mut net = network();
    let x = net.find("x").unwrap();
    said.error(net.layer("l", Layer::dense(0), x));
    said.error(net.layer("l", Layer::dense(2).dropout(1.0), x));
    said.error(net.layer("l", Layer::dense(2).init(Init::Normal(0.0, -1.0)), x));
    let dense = net.find("dense").unwrap();
    let loop_of = Connection::new().synapse(Synapse::Lowpass(-0.1));
    said.error(net.connect(dense, dense, loop_of));
    let same = net.node("same", Node::Passthrough(2)).unwrap();
    let scalar = Connection::new().transform(Transform::Scalar(f32::NAN));
    said.error(net.connect(dense, same, scalar));
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
fn failing_functions_of_time_are_reported_with_the_node() {
    let said = Messages::of("failing functions of time are reported with the node");
    let run = |node: Node| {
        let mut net = Network::new(0);
        let f = net.node("wave", node).unwrap();
        net.probe("p", f).unwrap();
        let mut sim = Simulator::new(&net, cpu()).unwrap();
        sim.run_steps(20, &Data::new())
    };
    said.error(run(Node::function(2, |_| vec![1.0])));
    said.error(run(Node::function(1, |t| vec![if t > 0.0095 { f32::NAN } else { 0.0 }])));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = run(Node::function(1, |_| panic!("out of coffee")));
    let in_call = {
        let mut net = Network::new(0);
        net.tensor_node("fragile", 1, 1, Fragile).unwrap();
        Simulator::new(&net, cpu()).map(drop)
    };
    std::panic::set_hook(hook);
    said.error(in_call);
    said.error(result);
    said.error(run(Node::Array(Array2::zeros((5, 1)))));
}

#[test]
fn a_run_of_another_length_than_its_data_is_refused() {
    let said = Messages::of("a run of another length than its data is refused");
    let mut sim = simulator(cpu());
    let x = Data::new().with("x", Array3::zeros((2, 3, 3)));
    said.error(sim.run_steps(5, &x));
    sim.compile(loss()).unwrap();
    let fit = Fit { n_steps: Some(0), ..Fit::epochs(1) };
    said.error(sim.fit(&data("x", (2, 3)), &data("y", (2, 2)), &fit));
}

#[test]
fn settings_that_windows_cannot_train_are_refused_before_training() {
    let said = Messages::of("settings that windows cannot train are refused before training");
    let run = |training: Training, y: Data| {
        let mut sim = simulator(cpu());
        sim.compile(training)?;
        sim.fit(&data("x", (2, 3)), &y, &Fit { n_steps: Some(6), ..Fit::epochs(1) }).map(drop)
    };
    let held = || data("y", (2, 2));
    let of = |over| Training::new(Objective::new().loss("y", Loss::MeanSquared).over(over), 0.1);
    for backprop in [Backprop::Truncated(0), Backprop::Checkpointed(0)] {
        said.error(run(loss().backprop(backprop), held()));
    }
    for over in [Over::Sum, Over::Mean] {
        let windows = of(over).backprop(Backprop::Checkpointed(4));
        said.error(run(windows, held()));
        run(of(over).backprop(Backprop::Checkpointed(6)), held()).unwrap();
        let each = Data::new().with("y", Array3::zeros((2, 6, 2)));
        said.error(run(of(over), each));
    }
    let custom = Objective::new().custom("mine", |t| t.output("y").sum_all());
    said.error(run(Training::new(custom, 0.1).backprop(Backprop::Truncated(2)), held()));
    said.error(run(
        Training::new(Objective::new().over(Over::Last).loss("y", Loss::MeanSquared), 0.1),
        held(),
    ));
    said.error(run(of(Over::Last).memory_budget(100), held()));
    said.error(run(of(Over::Sum).memory_budget(100), held()));
    let other = Data::new().with("y", Array3::zeros((2, 5, 2)));
    said.error(run(of(Over::Every), other));
}
