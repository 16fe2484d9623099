//! Whole networks of neurons against Nengo's, and the training of a recurrent one against NengoDL's;
//! `tests/golden/README.md` describes the files.

use std::collections::HashMap;

use crate::common::devices;
use crate::common::golden::{Golden, neuron};
use ndarray::{Array2, Array3, Ix2, Ix3};
use nengo_wgpu::internals::solve::Solver;
use nengo_wgpu::network::{
    Activation, Connection, ConnectionId, Ensemble, Init, Layer, LearningRule, LinearFilter, Network, Node,
    ObjectId, Synapse, Target, Transform,
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

/// The network that a file describes, with the encoders, gains, biases and weights that it holds.
struct Reader {
    golden: Golden,
    net: Network,
    /// By name.
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
            self.ensemble(&ensemble, &text(&ensemble, "name"));
        }
        let rule = ["error", "weights"];
        let probes = list("probes").into_iter().filter(|p| rule.iter().all(|r| p["attr"] != *r));
        let probed: Vec<String> = probes.map(|p| text(&p, "target")).collect();
        for connection in list("connections") {
            self.connection(&connection, &text(&connection, "name"), &probed);
        }
        list("probes").iter().map(|probe| self.probe(probe, &text(probe, "name"))).collect()
    }

    fn ensemble(&mut self, spec: &Value, name: &str) {
        let wide = |values: Vec<f32>, cols: usize| {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            Array2::from_shape_vec((values.len() / cols, cols), values).unwrap()
        };
        let (n, d) = (size(spec, "n_neurons"), size(spec, "dimensions"));
        let mut array = |what: &str, cols| wide(self.values(&format!("{name}.{what}")), cols);
        let mut ensemble = Ensemble::new(n, d)
            .neuron_type(neuron(&spec["neuron_type"]))
            .radius(spec["radius"].as_f64().unwrap())
            .encoders(array("encoders", d))
            .unnormalized()
            .gain_bias(array("gain", 1), array("bias", 1));
        for state in spec["states"].as_array().unwrap() {
            let state = state.as_str().unwrap();
            ensemble = ensemble.state(state, Init::Values(self.values(&format!("{name}.state.{state}"))));
        }
        let id = self.net.ensemble(name, ensemble).unwrap();
        self.objects.insert(name.to_string(), id);
    }

    fn connection(&mut self, spec: &Value, name: &str, probed: &[String]) {
        let text = |name: &str| spec[name].as_str().unwrap().to_string();
        let neurons = |net: &Network, id| net.neurons_of(id).unwrap();
        let mut connection = Connection::new();
        connection.synapse = synapse(&spec["synapse"]);
        let weights = spec["weights"].as_str().map(|w| Init::Values(self.values(w)));
        let mut from = self.objects[&text("pre")];
        if spec["pre_kind"] == "decoded" {
            connection = connection.weights(weights.unwrap());
        } else {
            if let Some(weights) = weights {
                connection = connection.transform(Transform::Dense(weights));
            }
            if let Some(indices) = indices(&spec["pre_slice"]) {
                connection = connection.pre(indices);
            }
            if spec["pre_kind"] == "neurons" {
                from = neurons(&self.net, from);
            }
        }
        if probed.iter().any(|p| p == name) {
            // A place to look at what the connection brings.
            let place = self.node(name, Node::Passthrough(size(spec, "size_out")));
            let same = connection.clone().named(&format!("{name} to look at"));
            self.net.connect(from, place, same).unwrap();
        }
        if let Some(slice) = indices(&spec["post_slice"]) {
            connection = connection.post(slice);
        }
        let post = text("post");
        let to = match spec["post_kind"].as_str().unwrap() {
            "probe" => self.node(&post, Node::Passthrough(size(spec, "size_out"))),
            "rule" => self.net.learning_rule_of(self.rules[&post]).unwrap(),
            "neurons" => neurons(&self.net, self.objects[&post]),
            "current" => {
                connection = connection.solver(Solver::default().weights());
                self.objects[&post]
            }
            _ => self.objects[&post],
        };
        connection.learning_rule = Self::rule(&spec["learning_rule"]);
        let voja = matches!(connection.learning_rule, Some(LearningRule::Voja { .. }));
        let learns = connection.learning_rule.is_some();
        let id = self.net.connect(from, to, connection.named(&format!("{name} of the file"))).unwrap();
        let names = [learns.then_some(name), voja.then_some(&*post)];
        self.rules.extend(names.into_iter().flatten().map(|n| (n.to_string(), id)));
    }

    fn rule(spec: &Value) -> Option<LearningRule> {
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
            "Voja" => {
                let scale = Init::Constant(1.0);
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
            "output" => {
                let target = object(&text("target"));
                let target = self.net.neurons_of(target).unwrap_or(target);
                Target::Output(target, synapse(&spec["synapse"]))
            }
            "input" => Target::Input(object(&text("target"))),
            "current" => Target::Input(self.net.neurons_of(object(&text("target"))).unwrap()),
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
fn factor(kind: nengo_wgpu::DeviceKind) -> f64 {
    if kind == nengo_wgpu::DeviceKind::Cpu { 1.0 } else { 4.0 }
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
                penalties.push(report.penalty.unwrap_or(0.0));
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
