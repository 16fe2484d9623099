//! Runs of a planned network: cut into parts, reset, and repeated.

use crate::common::devices;
use ndarray::{Array2, Array3};
use nengo_wgpu::network::{Activation, Connection, Init, Layer, Network, Node, Synapse, Transform};
use nengo_wgpu::{Data, Options, Simulator};

/// A network that remembers: filters, a cycle, a probe with a synapse.
pub(super) fn remembering() -> Network {
    let mut net = Network::new(2);
    let x = net.node("x", Node::Input(3)).unwrap();
    let wave = net.node("wave", Node::function(1, |t| vec![(50.0 * t).sin() as f32])).unwrap();
    let a = net.layer("a", Layer::dense(5).activation(Activation::Tanh), x).unwrap();
    let dense = || Connection::new().transform(Transform::Dense(Init::Glorot));
    net.connect(a, a, dense().synapse(Synapse::Lowpass(0.005))).unwrap();
    net.connect(wave, a, dense()).unwrap();
    let b = net.layer("b", Layer::dense(2), a).unwrap();
    net.probe("raw", b).unwrap();
    net.add_probe("filtered", nengo_wgpu::network::Target::Output(b, Some(Synapse::Lowpass(0.01)))).unwrap();
    net
}

#[test]
fn ten_steps_at_once_are_ten_steps_and_three_and_seven() {
    let net = remembering();
    let x = Array2::from_shape_vec((2, 3), crate::common::uniform(4, 6, -1.0, 1.0)).unwrap();
    let inputs = Data::new().with("x", x);
    for device in devices() {
        let runs: [&[usize]; 4] = [&[10], &[1; 10], &[3, 7], &[7, 2, 1]];
        let results = runs.map(|run| {
            let mut sim =
                Simulator::with(&net, device, Options { minibatch: 2, ..Options::default() }).unwrap();
            for &steps in run {
                sim.run_steps(steps, &inputs).unwrap();
            }
            assert_eq!((sim.n_steps(), sim.time()), (10, 0.01));
            net.probe_ids().map(|p| sim.data(p).unwrap()).collect::<Vec<_>>()
        });
        for (result, run) in results.iter().zip(runs) {
            assert_eq!(result[0].dim(), (2, 10, 2));
            for (a, b) in result.iter().zip(&results[0]) {
                let off = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off < 1e-6, "{run:?} on {device}: off by {off:e}");
            }
        }
    }
}

#[test]
fn a_reset_run_is_the_first_run_again() {
    let net = remembering();
    let inputs = Data::new().with("x", Array3::ones((1, 20, 3)));
    for device in devices() {
        let mut sim = Simulator::new(&net, device).unwrap();
        let probe = net.find_probe("filtered").unwrap();
        let run = |sim: &mut Simulator| {
            sim.run_steps(20, &inputs).unwrap();
            sim.data(probe).unwrap()
        };
        let first = run(&mut sim);
        sim.reset().unwrap();
        assert_eq!(first, run(&mut sim), "{device}");
    }
}

#[test]
fn many_runs_take_no_more_memory() {
    let net = remembering();
    let inputs = Data::new().with("x", Array2::ones((1, 3)));
    for device in devices() {
        let mut sim = Simulator::new(&net, device).unwrap();
        // On a busy machine an adapter's windows become shorter, each length with a plan of its own.
        sim.limit_windows(Some(5)).unwrap();
        sim.run_steps(5, &inputs).unwrap();
        sim.predict(&inputs).unwrap();
        let before = sim.allocated_bytes();
        for _ in 0..200 {
            sim.run_steps(5, &inputs).unwrap();
            sim.predict(&inputs).unwrap();
        }
        assert_eq!(sim.allocated_bytes(), before, "{device}");
    }
}
