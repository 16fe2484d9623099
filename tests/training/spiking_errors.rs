//! Settings of neurons that are refused, and those that give a warning.

use super::spiking::network;
use crate::common::messages::Messages;
use nengo_wgpu::internals::neuron::{Leaky, Lif, LifRate, NeuronType, SoftLifRate};
use nengo_wgpu::network::{Distribution, Ensemble, Init, Network, Neurons, Target};
use nengo_wgpu::{Device, Options, Simulator};

/// The error of making a network of these neurons, a simulator of it or a training.
fn error(neurons: Neurons, options: Options) -> String {
    let mut net = Network::new(0);
    let made = net.neurons("brain", neurons).and_then(|_| Simulator::with(&net, &Device::cpu(), options));
    made.err().expect("it was made").to_string()
}

#[test]
fn invalid_settings_of_neurons_are_refused_by_name() {
    let said = Messages::of("invalid settings of neurons are refused by name");
    let lif = |lif: Lif| Neurons::new(4, lif);
    let rates = |rate, at| lif(Lif::default()).rates(Init::Constant(rate), Init::Constant(at));
    let soft = SoftLifRate { sigma: 0.0, ..SoftLifRate::default() };
    let base = NeuronType::regular_spiking(Lif::default());
    let slow = Options { dt: 0.0041, ..Options::default() };
    for (neurons, options) in [
        (lif(Lif { tau_rc: f64::INFINITY, ..Lif::default() }), Options::default()),
        (rates(600.0, 0.0), Options::default()),
        (rates(500.0, 0.0), Options::default()),
        (rates(0.0, 0.0), Options::default()),
        (rates(100.0, 1.0), Options::default()),
        (lif(Lif { tau_rc: -0.02, ..Lif::default() }), Options::default()),
        (lif(Lif { min_voltage: 0.5, ..Lif::default() }), Options::default()),
        (Neurons::new(4, soft), Options::default()),
        (Neurons::new(4, base), Options::default()),
        (lif(Lif::default()), slow),
        (lif(Lif::default()), Options { dt: 1e-9, ..slow }),
        (lif(Lif::default()).state("volts", Init::Zeros), Options::default()),
        (Neurons::new(4, Leaky { beta: 1.5, ..Leaky::default() }), Options::default()),
    ] {
        said.text(error(neurons, options));
    }
    let mut net = network(Neurons::new(4, Lif::default()), 0);
    let (a, out) = (net.find("a").unwrap(), net.find("out").unwrap());
    said.error(net.add_probe("p", Target::State(a, "u".into())));
    said.error(net.add_probe("p", Target::State(out, "u".into())));
    let x = net.find("x").unwrap();
    said.error(net.add_probe("p", Target::Input(x)));
}

#[test]
fn rates_that_the_time_step_does_not_allow_give_a_warning() {
    let said = Messages::of("rates that the time step does not allow give a warning");
    let warnings = |neurons: Neurons, dt: f64| {
        let mut net = Network::new(0);
        net.neurons("brain", neurons).unwrap();
        let options = Options { dt, ..Options::default() };
        Simulator::with(&net, &Device::cpu(), options).unwrap().warnings()
    };
    let lif = |tau_ref: f64| Neurons::new(50, Lif { tau_ref, ..Lif::default() });
    let none = |neurons: Neurons, dt| assert_eq!(warnings(neurons, dt), [""; 0]);
    none(lif(0.002), 0.001);
    none(lif(0.002), 0.0025);
    // Not more often than once a step.
    none(lif(0.0).rates(Init::Constant(400.0), Init::Zeros), 0.0025);
    // Those that may spike several times in a step.
    none(Neurons::new(50, NeuronType::regular_spiking(LifRate::default())), 0.0025);
    let told = warnings(lif(0.002), 0.003);
    said.text(&told[0]);
    let fast = warnings(lif(0.0).rates(Init::Constant(150.0), Init::Zeros), 0.01);
    said.text(&fast[0]);
    // With gains and biases the rate follows from these.
    let given = warnings(lif(0.0).tuned(Init::Constant(3.0), Init::Constant(2.0)), 0.01);
    said.text(&given[0]);

    let mut net = Network::new(0);
    net.ensemble("value", Ensemble::new(50, 1).max_rates(Distribution::Uniform(340.0, 400.0))).unwrap();
    let sim = Simulator::with(&net, &Device::cpu(), Options { dt: 0.003, ..Options::default() }).unwrap();
    let told = sim.warnings();
    assert_eq!(told.len(), 1, "{told:?}");
    said.text(&told[0]);
}
