//! Populations of neurons in networks: runs, probes and training.

use crate::common::devices;
use crate::common::golden::Golden;
use crate::common::messages::Messages;
use ndarray::{Array2, Array3, Axis, Ix3};
use nengo_wgpu::internals::neuron::{Izhikevich, Leaky, Lif, LifRate, NeuronType, RectifiedLinear};
use nengo_wgpu::network::{Connection, Init, Layer, Network, Neurons, Node, Synapse, Target, Transform};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::train::{Loss, Objective, Spiking, Surrogate, Training};
use nengo_wgpu::{Data, Device, Fit, Options, Simulator};

const STEPS: usize = 40;

fn currents(examples: usize) -> Array3<f32> {
    let values = crate::common::uniform(3, examples * STEPS * 3, -1.0, 1.0);
    Array3::from_shape_vec((examples, STEPS, 3), values).unwrap()
}

/// Three inputs into ten neurons, with probes of their spikes, voltages and currents.
pub(super) fn network(neurons: Neurons, seed: u64) -> Network {
    let n = neurons.n;
    let mut net = Network::new(seed);
    let x = net.node("x", Node::Input(3)).unwrap();
    let a = net.neurons("a", neurons).unwrap();
    let dense = Connection::new().transform(Transform::Dense(Init::Uniform(-1.0, 1.0)));
    net.connect(x, a, dense).unwrap();
    let out = net.layer("out", Layer::dense(2).init(Init::Uniform(-0.01, 0.01)), a).unwrap();
    net.probe("spikes", a).unwrap();
    net.add_probe("current", Target::Input(a)).unwrap();
    net.probe("out", out).unwrap();
    assert_eq!(net.size_out(a).unwrap(), n);
    net
}

fn run(net: &Network, device: &Device, pieces: &[usize]) -> Vec<Array3<f32>> {
    let mut sim = Simulator::with(net, device, Options { minibatch: 2, ..Options::default() }).unwrap();
    let all = currents(2);
    let mut from = 0;
    for &n in pieces {
        let part = all.slice_axis(Axis(1), (from..from + n).into()).to_owned();
        sim.run_steps(n, &Data::new().with("x", part)).unwrap();
        from += n;
    }
    net.probe_ids().map(|p| sim.data(p).unwrap()).collect()
}

fn bits(arrays: &[Array3<f32>]) -> Vec<u32> {
    arrays.iter().flat_map(|a| a.iter().map(|x| x.to_bits())).collect()
}

#[test]
fn spikes_are_the_same_in_windows_of_any_length_and_again_from_the_same_seed() {
    for device in devices() {
        for neuron in [NeuronType::lif(), NeuronType::regular_spiking(LifRate::default())] {
            let mut net = network(Neurons::new(10, neuron.clone()), 1);
            let a = net.find("a").unwrap();
            net.add_probe("voltage", Target::State(a, "voltage".into())).unwrap();
            let whole = run(&net, device, &[STEPS]);
            assert!(whole[0].iter().filter(|x| **x > 0.0).count() > 10, "they are silent");
            assert_eq!(bits(&whole), bits(&run(&net, device, &[1, 7, 2, 30])));
            assert_eq!(bits(&whole), bits(&run(&net, device, &[STEPS])));
            let other = run(&network(Neurons::new(10, neuron), 2), device, &[STEPS]);
            assert_ne!(bits(&whole[..1]), bits(&other[..1]));
        }
    }
}

#[test]
fn a_neuron_that_fired_has_no_voltage_and_its_current_is_gain_times_input_plus_bias() {
    for device in devices() {
        let mut net = network(Neurons::new(10, Lif::default()), 1);
        let a = net.find("a").unwrap();
        net.add_probe("voltage", Target::State(a, "voltage".into())).unwrap();
        let data = run(&net, device, &[STEPS]);
        let (spikes, current, voltage) = (&data[0], &data[1], &data[3]);
        for (s, v) in spikes.iter().zip(voltage) {
            assert!(*s == 0.0 || (*s == 1000.0 && *v == 0.0), "a spike of {s} at {v}");
            assert!((0.0..=1.0).contains(v));
        }
        let mut sim = Simulator::new(&net, device).unwrap();
        let mut get = |name: &str| sim.parameter(name).unwrap();
        let (w, gain, bias) = (get("x->a/weights"), get("a/gain"), get("a/bias"));
        for ((e, t, i), j) in current.indexed_iter() {
            let x: f32 = (0..3).map(|k| w[[i, k]] * currents(2)[[e, t, k]]).sum();
            let want = gain[[0, i]] * x + bias[[0, i]];
            assert!((j - want).abs() < 1e-4 * (1.0 + want.abs()), "{j} for {want}");
        }
    }
}

#[test]
fn states_start_at_their_initial_values() {
    let start = Init::Values(vec![0.1, 0.2, 0.3]);
    let mut net = Network::new(0);
    let still = Neurons::new(3, Lif::default()).tuned(Init::Zeros, Init::Zeros).state("voltage", start);
    let a = net.neurons("a", still).unwrap();
    net.add_probe("v", Target::State(a, "voltage".into())).unwrap();
    for device in devices() {
        let mut sim = Simulator::new(&net, device).unwrap();
        sim.run_steps(2, &Data::new()).unwrap();
        let v = sim.data(net.find_probe("v").unwrap()).unwrap();
        for (i, start) in [0.1, 0.2, 0.3].into_iter().enumerate() {
            let want = start * (-0.002_f64 / 0.02).exp();
            assert!((f64::from(v[[0, 1, i]]) - want).abs() < 1e-6, "{} for {want}", v[[0, 1, i]]);
        }
    }
}

/// Spikes in each step of many neurons whose rate is 400 Hz.
fn chance(neuron: NeuronType, device: &Device, pieces: &[usize]) -> Vec<f32> {
    let mut net = Network::new(5);
    let a = net.neurons("a", Neurons::new(500, neuron).tuned(Init::Zeros, Init::Constant(400.0))).unwrap();
    let p = net.probe("p", a).unwrap();
    let mut sim = Simulator::new(&net, device).unwrap();
    pieces.iter().for_each(|n| sim.run_steps(*n, &Data::new()).unwrap());
    sim.data(p).unwrap().iter().map(|x| x * 0.001).collect()
}

#[test]
fn random_spikes_have_the_mean_and_spread_of_their_law_and_come_again() {
    let relu = RectifiedLinear::default;
    for device in devices() {
        // Of 20000 draws with mean 0.4, the mean is within 0.4 ± 0.018 (four standard deviations).
        let bernoulli = chance(NeuronType::stochastic_spiking(relu()), device, &[40]);
        let poisson = chance(NeuronType::poisson_spiking(relu()), device, &[40]);
        for (counts, variance) in [(&bernoulli, 0.24), (&poisson, 0.4)] {
            let mean = counts.iter().sum::<f32>() / counts.len() as f32;
            let spread = counts.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / counts.len() as f32;
            assert!((mean - 0.4).abs() < 0.018, "a mean of {mean} on {device}");
            assert!((spread - variance).abs() < 0.03, "a variance of {spread} on {device}");
            assert!(counts.iter().all(|x| (x - x.round()).abs() < 1e-6));
        }
        assert!(bernoulli.iter().all(|x| *x < 1.5) && poisson.iter().any(|x| *x > 1.5));
        assert_eq!(poisson, chance(NeuronType::poisson_spiking(relu()), device, &[1, 26, 13]));
    }
}

#[test]
fn steps_longer_than_the_membranes_time_constant_give_the_rate() {
    let lif = Lif { tau_rc: 0.0005, ..Lif::default() };
    let drive = [0.5, 1.2, 2.0, 5.0];
    for device in devices() {
        let mut net = Network::new(0);
        let x = net.node("x", Node::Constant(drive.to_vec())).unwrap();
        let brain = Neurons::new(4, lif).tuned(Init::Constant(1.0), Init::Zeros);
        let brain = net.neurons("brain", brain).unwrap();
        net.connect(x, brain, Connection::new()).unwrap();
        let p = net.probe("p", brain).unwrap();
        let mut sim = Simulator::new(&net, device).unwrap();
        sim.run_steps(2000, &Data::new()).unwrap();
        let rates = sim.data(p).unwrap().mean_axis(Axis(1)).unwrap();
        for (rate, j) in rates.iter().zip(drive) {
            let j = f64::from(j);
            let wanted = if j > 1.0 { 1.0 / (0.002 + 0.0005 * (1.0 / (j - 1.0)).ln_1p()) } else { 0.0 };
            assert!((f64::from(*rate) - wanted).abs() <= 1.0, "{rate} Hz for {wanted} at {j} on {device}");
        }
    }
}

fn train(net: &Network, device: &Device, spiking: Spiking, probe: &str) -> nengo_wgpu::Result<Vec<f64>> {
    train_by(1e-3, net, device, spiking, probe)
}

fn train_by(
    rate: f32,
    net: &Network,
    device: &Device,
    spiking: Spiking,
    probe: &str,
) -> nengo_wgpu::Result<Vec<f64>> {
    let mut sim = Simulator::with(net, device, Options { minibatch: 2, ..Options::default() })?;
    let objective = Objective::new().loss(probe, Loss::MeanSquared);
    sim.compile(Training::new(objective, rate).spiking(spiking).in_order())?;
    let size = if probe == "out" { 2 } else { 4 };
    let (inputs, targets) = (currents(4), Array3::from_elem((4, STEPS, size), 0.5));
    let (inputs, targets) = (Data::new().with("x", inputs), Data::new().with(probe, targets));
    Ok(sim.fit(&inputs, &targets, &Fit::epochs(4))?.iter().map(|r| r.loss).collect())
}

#[test]
fn training_lowers_the_loss_through_spikes_in_each_way_and_types_without_rates_ask_for_a_surrogate() {
    let said = Messages::of(
        "training lowers the loss through spikes in each way and types without rates ask for a surrogate",
    );
    let surrogate = Spiking::Surrogate(Surrogate::FastSigmoid(5.0));
    let lif = || Neurons::new(4, Lif { amplitude: 0.01, ..Lif::default() });
    let izhikevich =
        || Neurons::new(4, Izhikevich::default()).tuned(Init::Constant(10.0), Init::Constant(8.0));
    let leaky = || Neurons::new(4, Leaky::default());
    for device in devices() {
        for (neurons, spiking) in [
            (lif(), Spiking::RateSwap),
            (lif(), Spiking::SmoothRateSwap(1.0)),
            (lif(), surrogate),
            (lif(), Spiking::RateGradient(1.0)),
            (leaky(), surrogate),
        ] {
            let losses = train(&network(neurons, 3), device, spiking, "out").unwrap();
            assert!(losses[3] < losses[0], "{spiking:?} on {device}: {losses:?}");
        }
        // Its voltage is in mV and its equation quadratic: the gradient is steep.
        assert!(train_by(1e-9, &network(izhikevich(), 3), device, surrogate, "out").unwrap()[3].is_finite());
    }
    let refused = |net: &Network, spiking, probe: &str| {
        train(net, &Device::cpu(), spiking, probe).expect_err("it was trained").to_string()
    };
    said.text(refused(&network(izhikevich(), 3), Spiking::RateSwap, "out"));
    said.text(refused(&network(leaky(), 3), Spiking::default(), "out"));
    let mut net = network(lif(), 3);
    let a = net.find("a").unwrap();
    net.add_probe("v", Target::State(a, "voltage".into())).unwrap();
    for spiking in [Spiking::RateSwap, surrogate] {
        said.text(refused(&net, spiking, "v"));
    }
    said.text(refused(&net, Spiking::Surrogate(Surrogate::Triangle(0.0)), "out"));
}

#[test]
fn spiking_networks_learn_as_in_nengo_dl() {
    let mut golden = Golden::open("training_spiking");
    for (name, case) in golden.cases() {
        let input = |golden: &mut Golden, what: &str| golden.input(&format!("{name}/{what}"));
        let start = |golden: &mut Golden, p: &str| {
            Init::Values(input(golden, &format!("initial/{p}")).into_iter().collect())
        };
        let number = |name: &str| case["neuron_type"][name].as_f64().unwrap();
        let rate =
            LifRate { tau_rc: number("tau_rc"), tau_ref: number("tau_ref"), amplitude: number("amplitude") };
        let neuron: NeuronType = match case["neuron_type"]["type"].as_str().unwrap() {
            "LIF" => Lif { amplitude: rate.amplitude, ..Lif::default() }.into(),
            _ => rate.soft(number("sigma")).into(),
        };
        let smoothing = case["lif_smoothing"].as_f64();
        let spiking = smoothing.map_or(Spiking::RateSwap, Spiking::SmoothRateSwap);
        let dense = |w: Init| Connection::new().transform(Transform::Dense(w));
        let mut net = Network::new(0);
        let x = net.node("x", Node::Input(3)).unwrap();
        let mut hidden = Neurons::new(7, neuron).tuned(Init::Constant(1.0), start(&mut golden, "bias"));
        if case["inference"] == true {
            hidden = hidden.state("voltage", Init::Zeros);
        }
        let hidden = net.neurons("hidden", hidden).unwrap();
        let out = net.node("out", Node::Passthrough(2)).unwrap();
        net.connect(x, hidden, dense(start(&mut golden, "w_in")).named("in")).unwrap();
        let lowpass = || Synapse::Lowpass(0.005);
        net.connect(hidden, out, dense(start(&mut golden, "w_out")).named("w_out").synapse(lowpass()))
            .unwrap();
        let mut names = vec![("w_in", "in/weights"), ("bias", "hidden/bias"), ("w_out", "w_out/weights")];
        if case["parameters"].as_array().unwrap().len() == 4 {
            let rec = dense(start(&mut golden, "w_rec")).named("rec").synapse(lowpass());
            net.connect(hidden, hidden, rec).unwrap();
            names.push(("w_rec", "rec/weights"));
        }
        let (y, activity) = (net.probe("y", out).unwrap(), net.probe("a", hidden).unwrap());
        let data =
            |golden: &mut Golden, what: &str| input(golden, what).into_dimensionality::<Ix3>().unwrap();
        let (inputs, targets) = (data(&mut golden, "x"), data(&mut golden, "target"));
        let (inputs, targets) = (Data::new().with("x", inputs), Data::new().with("y", targets));
        let wide = |a: &Array3<f32>| -> Vec<f64> { a.iter().map(|x| f64::from(*x)).collect() };
        for device in devices() {
            let mut sim =
                Simulator::with(&net, device, Options { minibatch: 4, ..Options::default() }).unwrap();
            if case["inference"] == true {
                let outputs = sim.predict(&inputs).unwrap();
                golden.check(&format!("{name}/inference_output"), device, &wide(&outputs[&y]));
                golden.check(&format!("{name}/inference_activity"), device, &wide(&outputs[&activity]));
            }
            let objective = Objective::new().loss("y", Loss::MeanSquared);
            let rate = case["optimiser"]["lr"].as_f64().unwrap() as f32;
            sim.compile(Training::new(objective, rate).spiking(spiking).in_order()).unwrap();
            let matrix = |a: &Array2<f32>| -> Vec<f64> { a.iter().map(|x| f64::from(*x)).collect() };
            let mut paths: Vec<Vec<f64>> =
                names.iter().map(|(_, ours)| matrix(&sim.parameter(ours).unwrap())).collect();
            let mut losses = Vec::new();
            for k in 0..5 {
                losses.push(sim.fit(&inputs, &targets, &Fit::epochs(1)).unwrap()[0].loss);
                for ((theirs, ours), path) in names.iter().zip(&mut paths) {
                    if k == 0 {
                        let ours = matrix(&sim.gradient(ours).unwrap());
                        golden.check(&format!("{name}/gradient/{theirs}"), device, &ours);
                    }
                    path.extend(matrix(&sim.parameter(ours).unwrap()));
                }
            }
            golden.check(&format!("{name}/data_loss"), device, &losses);
            for ((theirs, _), path) in names.iter().zip(&paths) {
                golden.check(&format!("{name}/path/{theirs}"), device, path);
            }
        }
    }
    println!("worst: {:.2} of the tolerance", golden.worst);
}

#[test]
fn neurons_and_their_probes_can_be_written_in_toml() {
    let said = Messages::of("neurons and their probes can be written in toml");
    let text = r#"
        seed = 4
        [[node]]
        name = "x"
        size = 3
        [[neurons]]
        name = "a"
        n = 3
        type = { lif = { tau-rc = 0.03, min-voltage = -inf } }
        input = "x"
        max-rates = { choice = [100, 200] }
        intercepts = { constant = 0.5 }
        state = { voltage = "zeros" }
        [[neurons]]
        name = "b"
        n = 3
        type = { regular-spiking = { base = "tanh", amplitude = 0.1 } }
        input = "a"
        gain = { constant = 2 }
        train-bias = false
        [[layer]]
        name = "c"
        input = "b"
        units = 2
        neurons = "lif-rate"
        [[probe]]
        name = "v"
        target = "a"
        state = "voltage"
        [[probe]]
        name = "j"
        input = "a"
        [train]
        epochs = 1
        learning-rate = 0.1
        loss = [{ probe = "j", loss = "mean-squared" }]
        spiking = { surrogate = { fast-sigmoid = 10 } }
    "#;
    let spec = NetworkSpec::parse(text, "a.toml").unwrap();
    let written = spec.build().unwrap();
    let mut net = Network::new(4);
    let x = net.node("x", Node::Input(3)).unwrap();
    let lif = Lif { tau_rc: 0.03, min_voltage: f64::NEG_INFINITY, ..Lif::default() };
    let a = Neurons::new(3, lif).rates(Init::Choice(vec![100.0, 200.0]), Init::Constant(0.5));
    let a = net.neurons("a", a.state("voltage", Init::Zeros)).unwrap();
    assert_eq!(written.parameters()[..2], {
        net.connect(x, a, Connection::new()).unwrap();
        net.parameters().to_vec()
    });
    assert!(!written.parameters().iter().find(|p| p.name == "b/bias").unwrap().trainable);
    let training = spec.training(&written, 1).unwrap();
    assert_eq!(training.spiking, Spiking::Surrogate(Surrogate::FastSigmoid(10.0)));
    for name in ["soft-lif", "rate-gradient"] {
        let text = text.replace("surrogate = { fast-sigmoid = 10 }", &format!("{name} = 0.1"));
        let training = NetworkSpec::parse(&text, "a.toml").unwrap().training(&written, 1).unwrap();
        assert_eq!(training.spiking, Spiking::RateGradient(0.1));
    }
    let mut sim = Simulator::new(&written, &Device::cpu()).unwrap();
    let outputs = sim.predict(&Data::new().with("x", Array2::ones((1, 3)))).unwrap();
    assert_eq!(outputs.values().map(|o| o.dim()).collect::<Vec<_>>(), [(1, 1, 3), (1, 1, 3)]);
    let wrong = |from: &str, to: &str| {
        NetworkSpec::parse(&text.replace(from, to), "a.toml")
            .and_then(|s| s.build())
            .err()
            .unwrap()
            .to_string()
    };
    said.text(wrong("tau-rc", "tau"));
    said.text(wrong("\"lif-rate\"", "\"lif-late\""));
    said.text(wrong("gain = {", "intercepts = { constant = 0 }\n gain = {"));
}
