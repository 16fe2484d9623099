//! Nengo's networks of ensembles, the benchmark networks, and semantic pointers.

use crate::common::devices;
use crate::common::messages::Messages;
use ndarray::{Array1, Axis, array, s};
use nengo_wgpu::internals::neuron::{LifRate, RectifiedLinear};
use nengo_wgpu::network::library::{
    AssociativeMemory, BasalGanglia, CircularConvolution, InputGatedMemory, Integrator, Oscillator, Product,
    Thalamus,
};
use nengo_wgpu::network::{
    Connection, Init, Network, Node, ProbeId, Process, Target, Vocabulary, benchmarks, bind, involution,
    similarity, superpose, unbind,
};
use nengo_wgpu::{Data, Device, Simulator};

/// A network of rate neurons, which answer without the noise of spikes.
fn rates() -> Network {
    seeded_rates(1)
}

fn seeded_rates(seed: u64) -> Network {
    let mut net = Network::new(seed);
    net.config.ensemble.neuron_type = Some(LifRate::default().into());
    net
}

/// The row of a probe after `steps`, on the CPU twin.
fn last(net: &Network, probe: ProbeId, steps: usize) -> Vec<f32> {
    let mut sim = Simulator::new(net, &Device::cpu()).unwrap();
    sim.run_steps(steps, &Data::new()).unwrap();
    sim.data(probe).unwrap().slice(s![0, -1, ..]).to_vec()
}

fn near(name: &str, ours: &[f32], wanted: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), wanted.len());
    for (a, b) in ours.iter().zip(wanted) {
        assert!((f64::from(*a) - b).abs() < tolerance, "{name}: {ours:?}, but {wanted:?}");
    }
}

fn filtered(net: &mut Network, name: &str, of: nengo_wgpu::network::ObjectId) -> ProbeId {
    net.add_probe(name, Target::Output(of, Some(0.01.into()))).unwrap()
}

#[test]
fn a_product_multiplies() {
    let mut net = rates();
    let product = Product::new(200, 3).add(&mut net, "product").unwrap();
    let a = net.node("a", Node::Constant(vec![0.9, -0.5, 0.3])).unwrap();
    let b = net.node("b", Node::Constant(vec![0.8, 0.7, 0.0])).unwrap();
    net.connect(a, product.input_a, Connection::new()).unwrap();
    net.connect(b, product.input_b, Connection::new()).unwrap();
    let p = filtered(&mut net, "p", product.output);
    assert_eq!(net.find("product.sq1").unwrap(), product.sq1);
    near("product", &last(&net, p, 100), &[0.72, -0.35, 0.0], 0.03);
}

#[test]
fn a_circular_convolution_convolves_and_correlates() {
    let pointers = |seed| {
        let mut words = Vocabulary::new(6, seed);
        words.add("A").unwrap().clone()
    };
    let (a, b) = (pointers(1), pointers(2));
    for (invert, wanted) in [(false, bind(&a, &b)), (true, unbind(&a, &b))] {
        let mut net = rates();
        let cconv = CircularConvolution { invert_b: invert, ..CircularConvolution::new(200, 6) };
        let cconv = cconv.add(&mut net, "cconv").unwrap();
        for (name, vector, input) in [("a", &a, cconv.input_a), ("b", &b, cconv.input_b)] {
            let values = vector.iter().map(|x| *x as f32).collect();
            let node = net.node(name, Node::Constant(values)).unwrap();
            net.connect(node, input, Connection::new()).unwrap();
        }
        let p = filtered(&mut net, "p", cconv.output);
        near("convolution", &last(&net, p, 100), wanted.as_slice().unwrap(), 0.08);
    }
}

#[test]
fn an_integrator_adds_up_its_input_and_holds_the_sum() {
    // The mean over seeds: each integrator drifts by some hundredths.
    let sums = (0..10).map(|seed| {
        let mut net = seeded_rates(seed);
        let integrator = Integrator { recurrent_tau: 0.1, n_neurons: 200, dimensions: 2 };
        let integrator = integrator.add(&mut net, "integrator").unwrap();
        let pulse = Process::piecewise(&[0.0, 0.5], array![[1.0, -0.6], [0.0, 0.0]]);
        let node = net.node("pulse", Node::process(pulse)).unwrap();
        net.connect(node, integrator.input, Connection::new()).unwrap();
        let p = filtered(&mut net, "p", integrator.ensemble);
        last(&net, p, 1000)
    });
    let mean = sums.reduce(|a, b| a.iter().zip(b).map(|(a, b)| a + b).collect()).unwrap();
    near("integral", &mean.iter().map(|x| x / 10.0).collect::<Vec<_>>(), &[0.5, -0.3], 0.05);
}

#[test]
fn an_oscillator_keeps_its_frequency() {
    let mut net = rates();
    let turns = 5.0;
    let oscillator =
        Oscillator { recurrent_tau: 0.1, frequency: turns * std::f64::consts::TAU, n_neurons: 200 };
    let oscillator = oscillator.add(&mut net, "oscillator").unwrap();
    let kick = Process::piecewise(&[0.0, 0.1], array![[1.0, 0.0], [0.0, 0.0]]);
    let node = net.node("kick", Node::process(kick)).unwrap();
    net.connect(node, oscillator.input, Connection::new()).unwrap();
    let p = net.probe("p", oscillator.ensemble).unwrap();
    let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
    sim.run_steps(2000, &Data::new()).unwrap();
    let data = sim.data(p).unwrap();
    let x = data.slice(s![0, 1000.., 0]).to_vec();
    let crossings = x.windows(2).filter(|w| w[0] <= 0.0 && w[1] > 0.0).count();
    assert!((4..=6).contains(&crossings), "{crossings} turns in a second");
    let largest = x.iter().fold(0.0_f32, |a, x| a.max(x.abs()));
    assert!((0.6..1.4).contains(&largest), "its radius is {largest}");
}

#[test]
fn basal_ganglia_select_the_largest_and_a_thalamus_turns_that_into_a_choice() {
    let mut net = rates();
    let bg = BasalGanglia::new(3).add(&mut net, "bg").unwrap();
    let thalamus = Thalamus::new(3).add(&mut net, "thalamus").unwrap();
    let input = net.node("input", Node::Constant(vec![0.6, 0.9, 0.5])).unwrap();
    net.connect(input, bg.input, Connection::new()).unwrap();
    net.connect(bg.output, thalamus.actions, net.config.connection.clone()).unwrap();
    let selected = filtered(&mut net, "selected", bg.output);
    let chosen = filtered(&mut net, "chosen", thalamus.actions);
    let answer = last(&net, selected, 300);
    assert!(answer[1] > -0.1 && answer[0] < -0.5 && answer[2] < -0.5, "{answer:?}");
    near("choice", &last(&net, chosen, 300), &[0.0, 1.0, 0.0], 0.15);
}

#[test]
fn a_thalamus_lets_the_winner_through() {
    let mut net = rates();
    let thalamus = Thalamus::new(3).add(&mut net, "thalamus").unwrap();
    // As basal ganglia answer: zero for the selected action.
    let ganglia = net.node("ganglia", Node::Constant(vec![-1.5, 0.0, -2.0])).unwrap();
    net.connect(ganglia, thalamus.actions, Connection::new()).unwrap();
    let p = filtered(&mut net, "p", thalamus.actions);
    near("actions", &last(&net, p, 200), &[0.0, 1.0, 0.0], 0.1);
}

#[test]
fn a_gated_memory_keeps_its_value_and_forgets_it() {
    let mut net = rates();
    let memory = InputGatedMemory::new(100, 2).add(&mut net, "memory").unwrap();
    let input = Process::piecewise(&[0.0, 0.6], array![[0.6, -0.5], [-0.4, 0.8]]);
    let input = net.node("input", Node::process(input)).unwrap();
    net.connect(input, memory.input, Connection::new()).unwrap();
    let gate = Process::piecewise(&[0.0, 0.6], array![[0.0], [1.0]]);
    let gate = net.node("gate", Node::process(gate)).unwrap();
    net.connect(gate, memory.gate, Connection::new()).unwrap();
    let reset = Process::piecewise(&[0.0, 1.2], array![[0.0], [1.0]]);
    let reset = net.node("reset", Node::process(reset)).unwrap();
    net.connect(reset, memory.reset, Connection::new()).unwrap();
    let p = filtered(&mut net, "p", memory.output);
    let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
    sim.run_steps(1500, &Data::new()).unwrap();
    let data = sim.data(p).unwrap();
    let at = |step: usize| data.slice(s![0, step, ..]).to_vec();
    near("stored", &at(590), &[0.6, -0.5], 0.1);
    near("kept", &at(1100), &[0.6, -0.5], 0.15);
    near("forgotten", &at(1499), &[0.0, 0.0], 0.05);
}

#[test]
fn an_associative_memory_cleans_up_a_noisy_vector() {
    let mut words = Vocabulary::new(32, 3);
    for name in ["A", "B", "C", "D"] {
        words.add(name).unwrap();
    }
    let noisy = words.parse("0.8 * B + 0.3 * D - 0.2 * A").unwrap();
    for (threshold_outputs, winner_take_all) in [(false, Some(1.5)), (true, None)] {
        let mut net = rates();
        let memory = AssociativeMemory {
            winner_take_all,
            threshold_outputs,
            inhibitable: true,
            threshold: 0.5,
            ..AssociativeMemory::new(words.matrix())
        };
        let memory = memory.add(&mut net, "memory").unwrap();
        let input = net.node("input", Node::Constant(noisy.iter().map(|x| *x as f32).collect())).unwrap();
        net.connect(input, memory.input, Connection::new()).unwrap();
        let inhibit = Process::piecewise(&[0.0, 0.5], array![[0.0], [1.0]]);
        let inhibit = net.node("inhibit", Node::process(inhibit)).unwrap();
        net.connect(inhibit, memory.inhibit.unwrap(), Connection::new()).unwrap();
        let p = filtered(&mut net, "p", memory.output);
        let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
        sim.run_steps(800, &Data::new()).unwrap();
        let data = sim.data(p).unwrap();
        let at = |step| -> Array1<f64> { data.slice(s![0, step, ..]).mapv(f64::from) };
        let answer = at(450);
        let (name, cosine) = words.most_similar(&answer).unwrap();
        assert!(name == "B" && cosine > 0.97, "{name} {cosine}");
        let length = answer.dot(&answer).sqrt();
        // Within the errors of its decoders.
        assert!((length - 1.0).abs() < 0.15, "length {length}");
        let silent = at(799);
        assert!(silent.dot(&silent).sqrt() < 0.1, "inhibited, it still answers {silent}");
    }
}

#[test]
fn an_associative_memory_gives_its_default_output_where_nothing_matches() {
    let said = Messages::of("an associative memory gives its default output where nothing matches");
    let vectors = array![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
    for threshold_outputs in [false, true] {
        let mut net = rates();
        let memory = AssociativeMemory {
            threshold_outputs,
            inhibitable: true,
            default_output_vector: Some(vec![0.0, 0.0, 0.8]),
            ..AssociativeMemory::new(vectors.clone())
        };
        let memory = memory.add(&mut net, "memory").unwrap();
        let nothing_then_b = array![[0.0, 0.0, 0.0], [0.0, 0.9, 0.0], [0.0, 0.0, 0.0]];
        let input =
            net.node("input", Node::process(Process::piecewise(&[0.0, 0.4, 0.8], nothing_then_b))).unwrap();
        net.connect(input, memory.input, Connection::new()).unwrap();
        let inhibit = Process::piecewise(&[0.0, 0.8], array![[0.0], [1.0]]);
        let inhibit = net.node("inhibit", Node::process(inhibit)).unwrap();
        net.connect(inhibit, memory.inhibit.unwrap(), Connection::new()).unwrap();
        let p = filtered(&mut net, "p", memory.output);
        let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
        sim.run_steps(1200, &Data::new()).unwrap();
        let data = sim.data(p).unwrap();
        let at = |step| data.slice(s![0, step, ..]).to_vec();
        near("nothing", &at(380), &[0.0, 0.0, 0.8], 0.1);
        near("b", &at(780), &[0.0, 1.0, 0.0], 0.15);
        near("inhibited", &at(1190), &[0.0, 0.0, 0.0], 0.1);
    }
    let mut net = rates();
    let wrong = |memory: AssociativeMemory, net: &mut Network| memory.add(net, "m").unwrap_err().to_string();
    let new = || AssociativeMemory::new(vectors.clone());
    said.text(wrong(AssociativeMemory { default_output_vector: Some(vec![1.0]), ..new() }, &mut net));
    said.text(wrong(AssociativeMemory { min_activation_value: 0.0, ..new() }, &mut net));
}

#[test]
fn binding_and_unbinding_are_opposites_and_superposition_is_similar_to_both() {
    let mut words = Vocabulary::new(256, 0);
    for name in ["A", "B", "C"] {
        words.add(name).unwrap();
    }
    let get = |name: &str| words.get(name).unwrap().clone();
    let (a, b) = (get("A"), get("B"));
    assert!((a.dot(&a) - 1.0).abs() < 1e-9);
    assert!(similarity(&a, &b) <= 0.1 + 1e-9);
    let bound = bind(&a, &b);
    // Cosines of random vectors of 256 dimensions have a standard deviation of 1/16.
    assert!(similarity(&bound, &a).abs() < 0.3);
    assert!(similarity(&unbind(&bound, &b), &a) > 0.6);
    assert!(similarity(&superpose(&a, &b), &a) > 0.6);
    let parsed = words.parse("A*B + 2*C - (~A)").unwrap();
    let wanted = bound + 2.0 * &get("C") - involution(&a);
    assert!((parsed - wanted).iter().all(|x| x.abs() < 1e-12));
    // A vector added later changes none before it.
    let mut more = words.clone();
    more.add("D").unwrap();
    assert_eq!(more.get("C").unwrap(), words.get("C").unwrap());
}

#[test]
fn a_pointer_syntax_error_is_reported_with_its_column() {
    let said = Messages::of("a pointer syntax error is reported with its column");
    let mut words = Vocabulary::new(8, 0);
    words.add("A").unwrap();
    let problem = |text: &str| words.parse(text).unwrap_err().to_string();
    said.text(problem("A + FOO"));
    said.text(problem("A + 2"));
    said.text(problem("(A"));
    said.text(problem("2 * 3"));
    said.error(words.clone().add("A"));
    said.error(words.add("2A"));
}

#[test]
fn benchmark_networks_run_and_stay_finite_on_every_device() {
    let said = Messages::of("benchmark networks run and stay finite on every device");
    let relu = RectifiedLinear { amplitude: 1.0 };
    let lif = nengo_wgpu::internals::neuron::NeuronType::lif;
    for net in [
        benchmarks::cconv(5, 8, relu).unwrap(),
        benchmarks::integrator(6, 10, lif()).unwrap(),
        benchmarks::random_network(4, 6, lif(), 5, 3).unwrap(),
        benchmarks::random_network(8, 8, relu, 5, 3).unwrap(),
        benchmarks::pes(3, 10, relu).unwrap(),
        benchmarks::basal_ganglia(3, 20, lif()).unwrap(),
    ] {
        for device in devices() {
            let mut sim = Simulator::new(&net, device).unwrap();
            let ones = |size| ndarray::Array2::from_elem((1, size), 1.0_f32);
            let inputs = net.inputs().fold(Data::new(), |data, (name, size)| data.with(name, ones(size)));
            sim.run_steps(20, &inputs).unwrap();
            let data = sim.data(net.find_probe("p").unwrap()).unwrap();
            assert!(data.iter().all(|x| x.is_finite()));
        }
    }
    said.error(benchmarks::random_network(4, 6, lif(), 2, 3));
}

#[test]
fn a_random_network_says_the_same_through_shared_decoders_as_through_own_ones() {
    let shared = benchmarks::random_network(3, 10, LifRate::default(), 4, 2).unwrap();
    let mut own = Network::new(0);
    own.config.ensemble.neuron_type = Some(LifRate::default().into());
    let inp = own.node("inp", Node::Input(3)).unwrap();
    let out = own.node("out", Node::Passthrough(3)).unwrap();
    let ensembles: Vec<_> = (0..4)
        .map(|i| own.ensemble(&format!("ens{i}"), nengo_wgpu::network::Ensemble::new(30, 3)).unwrap())
        .collect();
    own.probe("p", out).unwrap();
    let through = own.config.connection.clone();
    let decoders = || Init::Constant(1e-3 / (30.0 * 2.0));
    for &e in &ensembles {
        own.connect(inp, e, through.clone()).unwrap();
        own.connect(e, out, through.clone().weights(decoders())).unwrap();
    }
    for id in shared.connection_ids() {
        let (pre, post) = shared.connection_ends(id).unwrap();
        let (pre, post) = (shared.name(pre), shared.name(post));
        if let (Some(pre), true) = (pre.strip_suffix(".output"), post != "out") {
            let (pre, post) = (own.find(pre).unwrap(), own.find(post).unwrap());
            own.connect(pre, post, through.clone().weights(decoders())).unwrap();
        }
    }
    let run = |net: &Network| {
        let mut sim = Simulator::new(net, &Device::cpu()).unwrap();
        let inputs = Data::new().with("inp", ndarray::Array2::from_elem((1, 3), 0.0_f32));
        sim.run_steps(100, &inputs).unwrap();
        sim.data(net.find_probe("p").unwrap()).unwrap()
    };
    let (a, b) = (run(&shared), run(&own));
    let largest = a.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    assert!(largest > 0.01);
    assert!((&a - &b).iter().all(|x| x.abs() < 1e-3 * largest), "off by {}", (&a - &b).sum_axis(Axis(1)));
}
