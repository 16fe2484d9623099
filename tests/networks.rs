//! Whole networks of neurons against Nengo's, and the training of a recurrent one against NengoDL's;
//! `tests/golden/README.md` describes the files.

mod common;

use std::collections::HashMap;

use common::devices;
use common::golden::{Golden, neuron};
use ndarray::{Array2, Array3, Ix2, Ix3};
use nengo_wgpu::network::{
    Activation, Connection, ConnectionId, Init, Layer, LearningRule, LinearFilter, Network, Neurons, Node,
    ObjectId, Slice, Synapse, Target, Transform,
};
use nengo_wgpu::train::{Loss, Objective, Penalty, Select, Training};
use nengo_wgpu::{Data, Fit, Options, Simulator};
use serde_json::Value;

fn synapse(spec: &Value) -> Option<Synapse> {
    let get = |name: &str| spec[name].as_f64().unwrap();
    let list = |name: &str| -> Vec<f64> {
        spec[name].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    Some(match spec["type"].as_str()? {
        "Lowpass" => Synapse::Lowpass(get("tau")),
        "Alpha" => Synapse::Alpha(get("tau")),
        "Triangle" => Synapse::Triangle(get("t")),
        "LinearFilter" => LinearFilter::new(&list("num"), &list("den")).into(),
        other => panic!("unknown synapse {other}"),
    })
}

fn indices(spec: &Value) -> Option<Vec<usize>> {
    Some(spec.as_array()?.iter().map(|i| i.as_u64().unwrap() as usize).collect())
}

fn size(spec: &Value, name: &str) -> usize {
    spec[name].as_u64().unwrap() as usize
}

/// The network that a file describes, built of the objects there are: an ensemble is a node for its input, encoders and
/// neurons, and what it sends is decoded by a connection's weights.
struct Reader {
    golden: Golden,
    net: Network,
    /// By name; an ensemble's neurons under its name, its input under `NAME input`, a connection's result likewise.
    objects: HashMap<String, ObjectId>,
    /// Connections with learning rules; those of Voja also under the ensemble's name.
    rules: HashMap<String, ConnectionId>,
}

impl Reader {
    fn new(file: &str) -> Self {
        let (objects, rules) = Default::default();
        Self { golden: Golden::open(file), net: Network::new(0), objects, rules }
    }

    fn values(&mut self, name: &str) -> Vec<f32> {
        self.golden.input(name).iter().copied().collect()
    }

    fn matrix(&mut self, name: &str) -> Array2<f32> {
        self.golden.input(name).into_dimensionality::<Ix2>().unwrap()
    }

    fn node(&mut self, name: &str, node: Node) -> ObjectId {
        let id = self.net.node(name, node).unwrap();
        self.objects.insert(name.to_string(), id);
        id
    }

    fn build(&mut self) -> Vec<(String, nengo_wgpu::network::ProbeId)> {
        let spec = self.golden.meta["network"].clone();
        let list = |name: &str| spec[name].as_array().unwrap().clone();
        let text = |v: &Value, name: &str| v[name].as_str().unwrap().to_string();
        for node in list("nodes") {
            let name = text(&node, "name");
            let kind = match node["kind"].as_str().unwrap() {
                "input" => Node::Array(self.matrix(&text(&node, "output"))),
                "constant" => Node::Constant(self.values(&text(&node, "output"))),
                _ => Node::Passthrough(size(&node, "size_out")),
            };
            self.node(&name, kind);
        }
        for ensemble in list("ensembles") {
            let name = text(&ensemble, "name");
            // Weights that are learned are those before the gain, so it stays apart.
            let learns = |c: &Value| {
                c["post"] == *name && c["post_kind"] == "neurons" && !c["learning_rule"].is_null()
            };
            let own_gain = list("connections").iter().any(learns);
            self.ensemble(&ensemble, &name, own_gain);
        }
        let rule = ["error", "weights"];
        let probes = list("probes").into_iter().filter(|p| rule.iter().all(|r| p["attr"] != *r));
        let probed: Vec<String> = probes.map(|p| text(&p, "target")).collect();
        for connection in list("connections") {
            self.connection(&connection, &text(&connection, "name"), &probed);
        }
        list("probes").iter().map(|probe| self.probe(probe, &text(probe, "name"))).collect()
    }

    fn ensemble(&mut self, spec: &Value, name: &str, own_gain: bool) {
        let input = self.node(&format!("{name} input"), Node::Passthrough(size(spec, "dimensions")));
        let bias = Init::Values(self.values(&format!("{name}.bias")));
        let mut neurons = Neurons::new(size(spec, "n_neurons"), neuron(&spec["neuron_type"]));
        let gain =
            if own_gain { Init::Values(self.values(&format!("{name}.gain"))) } else { Init::Constant(1.0) };
        neurons = neurons.tuned(gain, bias);
        for state in spec["states"].as_array().unwrap() {
            let state = state.as_str().unwrap();
            neurons = neurons.state(state, Init::Values(self.values(&format!("{name}.state.{state}"))));
        }
        let neurons = self.net.neurons(name, neurons).unwrap();
        self.objects.insert(name.to_string(), neurons);
        let encoders = if own_gain { "encoders" } else { "scaled_encoders" };
        assert!(!own_gain || spec["radius"] == 1.0, "encoders alone lack the radius of '{name}'");
        let encoders = Init::Values(self.values(&format!("{name}.{encoders}")));
        let encode = Connection::new().transform(Transform::Dense(encoders));
        self.net.connect(input, neurons, encode).unwrap();
    }

    fn connection(&mut self, spec: &Value, name: &str, probed: &[String]) {
        let text = |name: &str| spec[name].as_str().unwrap().to_string();
        let post = text("post");
        let to = match spec["post_kind"].as_str().unwrap() {
            "ensemble" => self.objects[&format!("{post} input")],
            "rule" => self.net.learning_rule_of(self.rules[&post]).unwrap(),
            "probe" => self.node(&post, Node::Passthrough(size(spec, "size_out"))),
            _ => self.objects[&post],
        };
        let mut first = Connection::new();
        if let Some(indices) = indices(&spec["pre_slice"]) {
            first = first.pre(indices);
        }
        let mut weights = spec["weights"].as_str().map(|w| self.matrix(w));
        if spec["post_kind"] == "neurons" && spec["learning_rule"].is_null() {
            // What comes to neurons is multiplied by their gain.
            let gain = self.values(&format!("{post}.gain"));
            let chosen = indices(&spec["post_slice"]).unwrap_or_else(|| (0..gain.len()).collect());
            let all = weights.get_or_insert_with(|| Array2::eye(chosen.len()));
            all.rows_mut().into_iter().zip(&chosen).for_each(|(mut row, &i)| row *= gain[i]);
        }
        if let Some(weights) = weights {
            first = first.transform(Transform::Dense(Init::Values(weights.iter().copied().collect())));
        }
        first.synapse = synapse(&spec["synapse"]);
        first.learning_rule = self.rule(&spec["learning_rule"], &post);
        let voja = matches!(first.learning_rule, Some(LearningRule::Voja { .. }));
        let learns = first.learning_rule.is_some();
        let slice = indices(&spec["post_slice"]).map(Slice::from);
        let from = self.objects[&text("pre")];
        if probed.iter().any(|p| p == name) {
            // A place to look at what the connection brings.
            let place = self.node(name, Node::Passthrough(size(spec, "size_out")));
            self.net.connect(from, place, first).unwrap();
            let second = slice.map_or(Connection::new(), |s| Connection::new().post(s));
            self.net.connect(place, to, second).unwrap();
        } else {
            let first = slice.into_iter().fold(first, Connection::post);
            let id = self.net.connect(from, to, first.named(&format!("{name} of the file"))).unwrap();
            let names = [learns.then_some(name), voja.then_some(&*post)];
            self.rules.extend(names.into_iter().flatten().map(|n| (n.to_string(), id)));
        }
    }

    fn rule(&mut self, spec: &Value, post: &str) -> Option<LearningRule> {
        let learning_rate = spec["learning_rate"].as_f64()?;
        let [pre_synapse, post_synapse, theta_synapse] =
            ["pre", "post", "theta"].map(|s| synapse(&spec[format!("{s}_synapse")]));
        Some(match spec["type"].as_str().unwrap() {
            "PES" => LearningRule::Pes { learning_rate, pre_synapse },
            "RLS" => LearningRule::Rls { learning_rate, pre_synapse },
            "BCM" => LearningRule::Bcm { learning_rate, pre_synapse, post_synapse, theta_synapse },
            "Oja" => {
                let beta = spec["beta"].as_f64().unwrap();
                LearningRule::Oja { learning_rate, pre_synapse, post_synapse, beta }
            }
            // Of a radius of 1, as all are that learn so.
            "Voja" => {
                let scale = Init::Values(self.values(&format!("{post}.gain")));
                LearningRule::Voja { learning_rate, post_synapse, scale }
            }
            other => panic!("unknown rule {other}"),
        })
    }

    fn probe(&mut self, spec: &Value, name: &str) -> (String, nengo_wgpu::network::ProbeId) {
        let text = |name: &str| spec[name].as_str().unwrap().to_string();
        let object = |name: &str| self.objects[name];
        let target = match text("attr").as_str() {
            "decoded_output" => Target::Output(object(name), None),
            "output" => Target::Output(object(&text("target")), synapse(&spec["synapse"])),
            "input" => Target::Output(object(&format!("{} input", text("target"))), None),
            "current" => Target::Input(object(&text("target"))),
            signal @ ("error" | "weights") => Target::Rule(self.rules[&text("target")], signal.to_string()),
            "scaled_encoders" => Target::Rule(self.rules[&text("target")], "encoders".to_string()),
            state => Target::State(object(&text("target")), state.to_string()),
        };
        let label = format!("{name} of the file");
        let id = match spec["sample_every"].as_f64() {
            Some(every) => self.net.probe_every(&label, target, every),
            None => self.net.add_probe(&label, target),
        };
        (name.to_string(), id.unwrap())
    }
}

/// How many times the file's tolerance an adapter may be off: its `exp` and logarithm may be off by several ulp.
fn factor(kind: nengo_wgpu::engine::DeviceKind) -> f64 {
    if kind == nengo_wgpu::engine::DeviceKind::Cpu { 1.0 } else { 4.0 }
}

fn check(file: &str) {
    let mut reader = Reader::new(file);
    let probes = reader.build();
    let (steps, dt) = (size(&reader.golden.meta["network"], "steps"), 0.001);
    let specs = reader.golden.meta["network"]["probes"].as_array().unwrap().clone();
    let mut worst = 0.0_f64;
    for device in devices() {
        let mut sim = Simulator::with(&reader.net, device, Options::default()).unwrap();
        sim.run_steps(steps, &Data::new()).unwrap();
        for ((name, probe), spec) in probes.iter().zip(&specs) {
            let array = format!("{name}.data");
            // The rest of the refractory time falls without bound while a neuron is silent.
            let silent = spec["attr"] == "refractory_time";
            let clamp = |x: f64| if silent { x.max(-dt) } else { x };
            let ours: Vec<f64> = sim.data(*probe).unwrap().iter().map(|x| clamp(f64::from(*x))).collect();
            let theirs = reader.golden.result(&array);
            let largest = theirs.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
            let theirs: Vec<f64> = theirs.iter().map(|x| clamp(*x)).collect();
            assert_eq!(ours.len(), theirs.len(), "{file} {name}");
            let tolerance = reader.golden.meta["tolerance"][&array].as_f64().unwrap();
            let limit = factor(device.kind()) * tolerance * if largest > 1e-30 { largest } else { 1.0 };
            let off = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            worst = worst.max(off / limit);
            let attr = &spec["attr"];
            assert!(
                off <= limit,
                "{file} {name} ({attr}) on {device}: off by {off:.2e}, allowed {limit:.2e}"
            );
        }
    }
    println!("{file}: worst {worst:.2} of the tolerance");
}

macro_rules! networks {
    ($($name:ident $file:literal)*) => {
        $(#[test]
        fn $name() {
            check($file);
        })*
    };
}
networks! {
    a_communication_channel_is_nengos "network_communication"
    an_integrator_is_nengos "network_integrator"
    a_product_is_nengos "network_product"
    a_circular_convolution_is_nengos "network_convolution"
    basal_ganglia_are_nengos "network_basal_ganglia"
    a_controlled_oscillator_is_nengos "network_oscillator"
    a_mixed_network_is_nengos "network_mixed_0"
    another_mixed_network_is_nengos "network_mixed_1"
    a_third_mixed_network_is_nengos "network_mixed_2"
    pes_learns_as_nengos_does "learning_pes"
    pes_with_slow_rates_learns_as_nengos_does "learning_pes_slow_rate"
    pes_on_weights_between_neurons_learns_as_nengos_does "learning_pes_neurons"
    rls_learns_as_nengos_does "learning_rls"
    bcm_learns_as_nengos_does "learning_bcm"
    oja_learns_as_nengos_does "learning_oja"
    voja_learns_as_nengos_does "learning_voja"
}

#[test]
fn a_recurrent_network_learns_as_in_nengo_dl() {
    let mut golden = Golden::open("training_recurrent");
    for (name, case) in golden.cases() {
        let mut start =
            |p: &str| Init::Values(golden.input(&format!("{name}/initial/{p}")).iter().copied().collect());
        let lowpass = |name: &str| case[name].as_f64().map(Synapse::Lowpass);
        let dense = |w: Init, name: &str| Connection::new().transform(Transform::Dense(w)).named(name);
        let mut net = Network::new(0);
        let x = net.node("x", Node::Input(3)).unwrap();
        let current = net.unconnected_layer("current", Layer::elementwise(Activation::Identity), 8).unwrap();
        let one = net.node("one", Node::Constant(vec![1.0])).unwrap();
        let hidden = net.layer("hidden", Layer::elementwise(Activation::Relu), current).unwrap();
        let out = net.node("out", Node::Passthrough(2)).unwrap();
        net.connect(x, current, dense(start("w_in"), "w_in")).unwrap();
        net.connect(one, current, dense(start("bias"), "bias")).unwrap();
        let back = Connection { synapse: lowpass("tau_rec"), ..dense(start("w_rec"), "w_rec") };
        net.connect(hidden, current, back).unwrap();
        let forth = Connection { synapse: lowpass("tau_out"), ..dense(start("w_out"), "w_out") };
        net.connect(hidden, out, forth).unwrap();
        let y = net.probe("y", out).unwrap();
        let mut data = |what: &str| -> Array3<f32> {
            golden.input(&format!("{name}/{what}")).into_dimensionality::<Ix3>().unwrap()
        };
        let (inputs, targets) = (Data::new().with("x", data("x")), Data::new().with("y", data("target")));
        let wide = |a: &[f32]| -> Vec<f64> { a.iter().map(|x| f64::from(*x)).collect() };
        for device in devices() {
            let options = Options { minibatch: 4, ..Options::default() };
            let mut sim = Simulator::with(&net, device, options).unwrap();
            let output = sim.predict(&inputs).unwrap().remove(&y).unwrap();
            golden.check(&format!("{name}/output"), device, &wide(output.as_slice().unwrap()));
            let objective = Objective::new().loss("y", Loss::MeanSquared);
            let rate = case["optimiser"]["lr"].as_f64().unwrap() as f32;
            let l2 = case["l2_half"].as_f64().unwrap();
            let mut training = Training::new(objective, rate).in_order();
            training.report_every = 1;
            for penalised in case["penalised"].as_array().unwrap() {
                let parameter = format!("{}/weights", penalised.as_str().unwrap());
                training = training.penalty(Select::parameter(&parameter), Penalty::L2Half(l2 as f32));
            }
            sim.compile(training).unwrap();
            let names = ["w_in", "bias", "w_rec", "w_out"];
            let read = |sim: &mut Simulator, name: &str| sim.parameter(&format!("{name}/weights")).unwrap();
            let mut paths = names.map(|n| wide(read(&mut sim, n).as_slice().unwrap()));
            let (mut losses, mut penalties) = (Vec::new(), Vec::new());
            for k in 0..5 {
                let before = names.map(|n| read(&mut sim, n));
                let report = sim.fit(&inputs, &targets, &Fit::epochs(1)).unwrap().remove(0);
                losses.push(report.loss);
                penalties.push(report.penalty);
                for ((n, path), before) in names.iter().zip(&mut paths).zip(&before) {
                    if k == 0 {
                        let decay = if *n == "bias" { 0.0 } else { l2 };
                        let gradient = sim.gradient(&format!("{n}/weights")).unwrap();
                        let whole: Vec<f64> = gradient
                            .iter()
                            .zip(before)
                            .map(|(g, w)| f64::from(*g) + decay * f64::from(*w))
                            .collect();
                        golden.check(&format!("{name}/gradient/{n}"), device, &whole);
                    }
                    path.extend(wide(read(&mut sim, n).as_slice().unwrap()));
                }
            }
            golden.check(&format!("{name}/data_loss"), device, &losses);
            golden.check(&format!("{name}/penalty"), device, &penalties);
            for (n, path) in names.iter().zip(&paths) {
                golden.check(&format!("{name}/path/{n}"), device, path);
            }
        }
    }
    println!("worst: {:.2} of the tolerance", golden.worst);
}
