//! Networks whose kernels loop more often than the 65,535 turns after which lavapipe leaves every loop.

use crate::common::devices;
use crate::file::build;
use ndarray::Array3;
use nengo_wgpu::{Data, Device, Options, Simulator};

const POISSON: &str = r#"
seed = 0
[[node]]
name = "x"
constant = [0.5]
[[neurons]]
name = "n"
n = 1
type = { poisson-spiking = { base = "rectified-linear" } }
gain = { constant = 100.0 }
bias = { constant = 0.0 }
input = "x"
[[probe]]
name = "out"
target = "n"
"#;

/// A cycle, so that the neurons run step by step.
const CYCLE: &str = r#"
[[connection]]
pre = "n"
post = "n"
transform = { dense = { constant = 0.0 } }
synapse = { lowpass = 0.005 }
"#;

const POOL: &str = r#"
seed = 0
[[node]]
name = "t"
constant = [1.0]
[[layer]]
name = "x"
input = "t"
units = 66049
init = { constant = 1.0 }
[[node]]
name = "y"
passthrough = 1
[[connection]]
pre = "x"
post = "y"
transform = { pool = { of = "average", input-shape = [257, 257, 1], pool-size = [257, 257], strides = [257, 257] } }
[[probe]]
name = "out"
target = "y"
"#;

const CONVOLUTION: &str = r#"
seed = 0
[[node]]
name = "t"
constant = [1.0]
[[layer]]
name = "x"
input = "t"
units = 90000
init = { constant = 0.5 }
[[node]]
name = "y"
passthrough = 1
[[connection]]
pre = "x"
post = "y"
transform = { convolution = { n-filters = 1, input-shape = [300, 300, 1], kernel-size = [300, 300], init = { constant = 0.001 } } }
[[probe]]
name = "out"
target = "y"
"#;

fn run(toml: &str, device: &Device, steps: usize) -> Array3<f32> {
    let net = build(toml).unwrap();
    let mut sim = Simulator::with(&net, device, Options::default()).unwrap();
    sim.run_steps(steps, &Data::new()).unwrap();
    sim.data(net.find_probe("out").unwrap()).unwrap()
}

#[test]
fn poisson_neurons_fire_through_the_whole_of_a_long_window() {
    for toml in [POISSON.to_string(), format!("{POISSON}{CYCLE}")] {
        let [adapter, cpu] = devices().each_ref().map(|device| run(&toml, device, 5000));
        // Of the same draws the same spikes, but where an exponential differs in its last digit.
        let differ = adapter.iter().zip(&cpu).filter(|(a, b)| a != b).count();
        assert!(differ <= 5, "{differ} of 5000 steps differ");
        for spikes in [&adapter, &cpu] {
            let mean = spikes.sum() / 5000.0;
            assert!((mean - 50.0).abs() < 3.0, "{mean} Hz");
        }
    }
}

#[test]
fn a_mean_over_257_times_257_ones_is_one() {
    for device in devices() {
        assert_eq!(run(POOL, device, 1)[[0, 0, 0]], 1.0, "{device}");
    }
}

#[test]
fn a_kernel_of_300_times_300_sums_up_all_of_an_image() {
    for device in devices() {
        let sum = run(CONVOLUTION, device, 1)[[0, 0, 0]];
        assert!((sum - 45.0).abs() < 45e-6, "{device}: {sum}");
    }
}
