//! Signals that nodes make themselves: those that follow a rule, and noise.

use crate::common::devices;
use crate::common::golden::Golden;
use crate::common::messages::Messages;
use ndarray::{Array2, Array3, Axis, Ix2, array, s};
use nengo_wgpu::internals::graph::Type;
use nengo_wgpu::internals::op::{self, noise::CLOCK};
use nengo_wgpu::network::{
    Activation, Draw, Interpolation, Layer, Network, Node, Noise, ProbeId, Process, WhiteSignal,
};
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Device, Options, Simulator};

const DT: f64 = 0.001;

fn network(process: impl Into<Process>) -> (Network, ProbeId) {
    let mut net = Network::new(3);
    let node = net.node("signal", Node::process(process)).unwrap();
    let probe = net.probe("p", node).unwrap();
    (net, probe)
}

/// (minibatch, steps, size) of a process in parts of the given lengths.
fn run_parts(process: impl Into<Process>, device: &Device, minibatch: usize, parts: &[usize]) -> Array3<f32> {
    let (net, probe) = network(process);
    let mut sim = Simulator::with(&net, device, Options { minibatch, ..Options::default() }).unwrap();
    for &n in parts {
        sim.run_steps(n, &Data::new()).unwrap();
    }
    sim.data(probe).unwrap()
}

fn wide(array: &Array3<f32>) -> Vec<f64> {
    array.iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn signals_that_follow_a_rule_are_those_of_nengo() {
    let mut golden = Golden::open("processes");
    let matrix = |golden: &mut Golden, name| golden.input(name).into_dimensionality::<Ix2>().unwrap();
    let inputs = matrix(&mut golden, "present_input/inputs");
    let values = matrix(&mut golden, "piecewise/values");
    let times = golden.meta["cases"]["piecewise"]["times"].as_array().unwrap();
    let times: Vec<f64> = times.iter().map(|t| t.as_f64().unwrap()).collect();
    let between = |interpolation| Process::interpolated(&times, values.clone(), interpolation);
    let cases = [
        ("present_input", Process::present_input(inputs.clone(), 0.0033)),
        ("present_input_one_step", Process::present_input(inputs, DT)),
        ("piecewise", Process::piecewise(&times, values.clone())),
        ("piecewise_linear", between(Interpolation::Linear)),
        ("piecewise_nearest", between(Interpolation::Nearest)),
    ];
    for (name, process) in cases {
        for device in devices() {
            let ours = run_parts(process.clone(), device, 1, &[37, 63]);
            golden.check(&format!("{name}/output"), device, &wide(&ours));
        }
    }
}

#[test]
fn gradients_behind_noise_are_checked_at_every_step() {
    for device in devices() {
        let mut net = Network::new(3);
        let x = net.node("x", Node::process(Noise::white(2).unscaled())).unwrap();
        let y = net.layer("y", Layer::dense(3).activation(Activation::Tanh), x).unwrap();
        net.probe("p", y).unwrap();
        let mut sim = Simulator::new(&net, device).unwrap();
        sim.compile(Training::new(Objective::new().loss("p", Loss::MeanSquared), 0.1)).unwrap();
        let targets = Data::new().with("p", Array2::ones((1, 3)));
        for checked in sim.check_gradients(&Data::new(), &targets, Some(7), 20).unwrap() {
            assert!(checked.comparable && checked.error() < 1e-4, "{checked:?} on {device}");
        }
    }
}

/// One period of `seeds` white signals of four dimensions, as (steps, 4 seeds).
fn white_signals(signal: WhiteSignal, seeds: u64) -> Array2<f64> {
    let steps = (signal.period / DT).round() as usize;
    let parts: Vec<Array2<f64>> = (0..seeds)
        .map(|seed| {
            let f = Process::from(signal.seed(seed)).function("x", DT, 0).unwrap().unwrap();
            let rows = (1..=steps).flat_map(|k| f(k as f64 * DT)).map(f64::from).collect();
            Array2::from_shape_vec((steps, 4), rows).unwrap()
        })
        .collect();
    let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
    ndarray::concatenate(Axis(1), &views).unwrap()
}

/// Power of a signal at a whole number of periods.
fn power(signal: ndarray::ArrayView1<'_, f64>, periods: usize) -> f64 {
    let n = signal.len() as f64;
    let angle = |k: usize| std::f64::consts::TAU * (periods * k) as f64 / n;
    let sum = |f: fn(f64) -> f64| signal.iter().enumerate().map(|(k, y)| y * f(angle(k))).sum::<f64>();
    sum(f64::cos).hypot(sum(f64::sin)).powi(2)
}

#[test]
fn white_signals_have_the_statistics_of_nengo() {
    let golden = Golden::open("processes");
    let case = &golden.meta["cases"]["white_signal"];
    let number = |name: &str| case[name].as_f64().unwrap();
    let signal = WhiteSignal::new(4, number("period"), number("high")).rms(number("rms"));
    let y = white_signals(signal, 40);
    let rms: Vec<f64> = y.columns().into_iter().map(|c| c.dot(&c) / c.len() as f64).map(f64::sqrt).collect();
    let n = rms.len() as f64;
    let mean = rms.iter().sum::<f64>() / n;
    let std = (rms.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / n).sqrt();
    // Five standard errors of two means of 160 each; the spread itself has one of std / sqrt(2 n).
    let spread = number("rms_std");
    assert!((mean - number("rms_mean")).abs() < 5.0 * spread * (2.0 / n).sqrt(), "rms {mean}");
    assert!((std - spread).abs() < 5.0 * spread / n.sqrt(), "spread of the rms {std}");
    for column in y.columns().into_iter().take(4) {
        // 2 s and 20 Hz: 40 periods at most.
        let inside: f64 = (1..=40).map(|k| power(column, k)).sum::<f64>() / 40.0;
        assert!(power(column, 0) < 1e-10 * inside, "a mean");
        // Rounded to f32.
        let outside = (41..=1000).map(|k| power(column, k)).fold(0.0, f64::max);
        assert!(outside < 1e-10 * inside, "{outside} above the band, {inside} in it");
    }
}

#[test]
fn a_white_signal_repeats_and_starts_at_y0() {
    let signal = WhiteSignal::new(3, 0.25, 40.0).y0(0.2);
    for device in devices() {
        let y = run_parts(signal, device, 2, &[250, 250]);
        assert_eq!(y.slice(s![.., ..250, ..]), y.slice(s![.., 250.., ..]));
        assert_eq!(y.index_axis(Axis(0), 0), y.index_axis(Axis(0), 1));
        for column in y.index_axis(Axis(0), 0).columns() {
            let off = |x: &f32| (x - 0.2).abs();
            let nearest = column.iter().map(off).fold(f32::INFINITY, f32::min);
            assert_eq!(off(&column[0]), nearest, "{device}");
        }
    }
    let (y, again) =
        (white_signals(WhiteSignal::new(4, 0.1, 50.0), 1), white_signals(WhiteSignal::new(4, 0.1, 50.0), 2));
    assert_eq!(y, again.slice(s![.., ..4]));
    assert_ne!(again.slice(s![.., ..4]), again.slice(s![.., 4..]));
}

/// Moments of many numbers: mean, variance, skewness, kurtosis.
fn moments(x: &[f64]) -> [f64; 4] {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let central = |k| x.iter().map(|x| (x - mean).powi(k)).sum::<f64>() / n;
    let variance = central(2);
    [mean, variance, central(3) / variance.powf(1.5), central(4) / variance.powi(2)]
}

#[test]
fn white_noise_is_normal_and_scaled_by_the_time_step() {
    for device in devices() {
        let y = wide(&run_parts(Noise::white(7), device, 3, &[5_000]));
        let n = y.len() as f64;
        let [mean, variance, skewness, kurtosis] = moments(&y);
        // Five standard errors each.
        let near = |what: &str, x: f64, expected: f64, error: f64| {
            assert!((x - expected).abs() < 5.0 * error / n.sqrt(), "{what} {x} on {device}");
        };
        near("mean", mean, 0.0, 1000_f64.sqrt());
        near("variance", variance, 1000.0, 1000.0 * 2_f64.sqrt());
        near("skewness", skewness, 0.0, 6_f64.sqrt());
        near("kurtosis", kurtosis, 3.0, 24_f64.sqrt());
        // The distribution function at a few places.
        for (x, share) in
            [(-2.0, 0.022_750), (-1.0, 0.158_655), (0.0, 0.5), (0.5, 0.691_462), (2.5, 0.993_790)]
        {
            let below = y.iter().filter(|y| **y < x * 1000_f64.sqrt()).count() as f64 / n;
            near("a share", below, share, (share * (1.0 - share)).sqrt());
        }
    }
}

#[test]
fn neighbours_in_time_examples_and_dimensions_are_independent() {
    let y = run_parts(Noise::white(6).unscaled(), &devices()[1], 4, &[3_000]);
    let correlation = |a: ndarray::ArrayView3<'_, f32>, b: ndarray::ArrayView3<'_, f32>| {
        let n = a.len() as f64;
        a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>() / n * n.sqrt()
    };
    for (what, a, b) in [
        ("steps", s![.., 1.., ..], s![.., ..-1, ..]),
        ("examples", s![1.., .., ..], s![..-1, .., ..]),
        ("dimensions", s![.., .., 1..], s![.., .., ..-1]),
    ] {
        let z = correlation(y.slice(a), y.slice(b));
        assert!(z.abs() < 5.0, "{what} correlate by {z} standard errors");
    }
}

#[test]
fn uniform_noise_fills_its_range_evenly() {
    for device in devices() {
        let noise = Noise::white(3).unscaled().distribution(Draw::Uniform(-1.0, 3.0));
        let y = wide(&run_parts(noise, device, 2, &[8_000]));
        let mut bins = [0_f64; 16];
        for y in &y {
            assert!((-1.0..3.0).contains(y), "{y} on {device}");
            bins[((y + 1.0) * 4.0) as usize] += 1.0;
        }
        let expected = y.len() as f64 / 16.0;
        let chi: f64 = bins.iter().map(|n| (n - expected).powi(2) / expected).sum();
        // 15 degrees of freedom: exceeded once in a million draws.
        assert!(chi < 55.0, "chi square {chi} on {device}");
    }
}

#[test]
fn noise_depends_on_step_example_and_seed_alone() {
    for device in devices() {
        let noise = || Noise::white(5);
        let whole = run_parts(noise(), device, 3, &[1_500]);
        assert_eq!(whole, run_parts(noise(), device, 3, &[1_500]), "{device}");
        // Windows of any length.
        assert_eq!(whole, run_parts(noise(), device, 3, &[1, 2, 500, 997]), "{device}");
        // Minibatches of any size.
        let two = run_parts(noise(), device, 2, &[1_500]);
        assert_eq!(whole.slice(s![..2, .., ..]), two, "{device}");
        assert_ne!(two.slice(s![..1, .., ..]), two.slice(s![1.., .., ..]));
        let other = run_parts(noise().seed(1), device, 3, &[1_500]);
        let same = whole.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!(same < 3, "{same} numbers are the same with another seed on {device}");
    }
}

#[test]
fn both_devices_draw_the_same_noise() {
    for (batch, size, steps) in [(1, 1, 5), (3, 5, 7), (2, 8, 33), (5, 1, 40)] {
        for noise in [
            Noise::white(size).unscaled(),
            Noise::white(size).unscaled().distribution(Draw::Normal(0.5, 2.0)),
            Noise::white(size).unscaled().distribution(Draw::Uniform(-1.0, 2.0)),
        ] {
            let [a, b] = devices().each_ref().map(|d| run_parts(noise.clone(), d, batch, &[steps]));
            for (a, b) in a.iter().zip(&b) {
                assert!((a - b).abs() < 4e-6, "{a} and {b}: {batch} x {size}");
            }
        }
    }
}

#[test]
fn a_reset_starts_the_noise_again_and_examples_of_a_prediction_have_their_own() {
    let (net, probe) = network(Noise::white(3));
    for device in devices() {
        let mut sim = Simulator::with(&net, device, Options { minibatch: 2, ..Options::default() }).unwrap();
        sim.run_steps(20, &Data::new()).unwrap();
        let first = sim.data(probe).unwrap();
        sim.reset().unwrap();
        sim.run_steps(20, &Data::new()).unwrap();
        assert_eq!(first, sim.data(probe).unwrap(), "{device}");
    }
    let mut net = net;
    let x = net.node("x", Node::Input(3)).unwrap();
    let sum = net.node("sum", Node::Passthrough(3)).unwrap();
    net.connect(x, sum, nengo_wgpu::network::Connection::new()).unwrap();
    net.connect(net.find("signal").unwrap(), sum, nengo_wgpu::network::Connection::new()).unwrap();
    let probe = net.probe("q", sum).unwrap();
    for device in devices() {
        let predict = |minibatch| {
            let mut sim = Simulator::with(&net, device, Options { minibatch, ..Options::default() }).unwrap();
            let inputs = Data::new().with("x", Array2::zeros((5, 3)));
            sim.predict_steps(&inputs, 4).unwrap().remove(&probe).unwrap()
        };
        let whole = predict(5);
        assert_eq!(whole, predict(2), "{device}");
        assert_ne!(whole.slice(s![..2, .., ..]), whole.slice(s![2..4, .., ..]));
    }
}

#[test]
fn filtered_noise_has_the_statistics_of_nengo() {
    let golden = Golden::open("processes");
    let case = &golden.meta["cases"]["filtered_noise"];
    let number = |name: &str| case[name].as_f64().unwrap();
    for device in devices() {
        let noise = Noise::filtered(20, nengo_wgpu::network::Synapse::Lowpass(number("tau")));
        let y = run_parts(noise, device, 4, &[4_000]);
        let y: Vec<Vec<f64>> = y
            .lanes(Axis(1))
            .into_iter()
            .map(|l| l.iter().skip(200).map(|&y| f64::from(y)).collect())
            .collect();
        let std: Vec<f64> = y.iter().map(|y| moments(y)[1].sqrt()).collect();
        let mean = std.iter().sum::<f64>() / 80.0;
        // Eighty standard deviations of one spread, as in the file.
        let spread = number("std_std");
        assert!(
            (mean - number("std_mean")).abs() < 5.0 * spread * (2.0_f64 / 80.0).sqrt(),
            "{mean} on {device}"
        );
        let lag = |y: &Vec<f64>| {
            let product = y[5..].iter().zip(y).map(|(a, b)| a * b).sum::<f64>() / (y.len() - 5) as f64;
            product / (y.iter().map(|y| y * y).sum::<f64>() / y.len() as f64)
        };
        let lag = y.iter().map(lag).sum::<f64>() / 80.0;
        assert!((lag - number("autocorrelation_theory")).abs() < 0.02, "{lag} on {device}");
    }
}

#[test]
fn brown_noise_is_the_sum_of_white_noise() {
    for device in devices() {
        let [white, brown] = [Noise::white(3), Noise::brown(3)].map(|n| run_parts(n, device, 2, &[600, 500]));
        for (white, brown) in white.lanes(Axis(1)).into_iter().zip(brown.lanes(Axis(1))) {
            let mut sum = 0.0;
            for (white, brown) in white.iter().zip(brown) {
                sum += f64::from(*white) * DT;
                assert!((sum - f64::from(*brown)).abs() < 1e-5, "{brown} for {sum} on {device}");
            }
        }
        let many = run_parts(Noise::brown(100), device, 10, &[500]);
        let last: Vec<f64> = many.slice(s![.., 499, ..]).iter().map(|&x| f64::from(x)).collect();
        let [_, variance, ..] = moments(&last);
        // After half a second, of 1000 walks, five standard errors.
        assert!((variance - 0.5).abs() < 5.0 * 0.5 * (2.0_f64 / 1000.0).sqrt(), "{variance} on {device}");
    }
}

#[test]
fn invalid_processes_are_refused_by_name() {
    let said = Messages::of("invalid processes are refused by name");
    let refused = |process: Process| {
        let mut net = Network::new(0);
        let result =
            net.node("wave", Node::process(process)).and_then(|_| Simulator::new(&net, &Device::cpu()));
        said.error(result);
    };
    let one = || array![[1.0_f32]];
    refused(Process::present_input(one(), 0.0));
    refused(Process::present_input(Array2::zeros((0, 1)), 1.0));
    refused(Process::present_input(array![[f32::NAN]], 1.0));
    refused(Process::piecewise(&[0.1, 0.2], one()));
    refused(Process::piecewise(&[0.2, 0.1], array![[1.0], [2.0]]));
    refused(Process::piecewise(&[f64::NAN], one()));
    refused(WhiteSignal::new(1, 0.1, 5.0).into());
    refused(WhiteSignal::new(1, 1.0, 501.0).into());
    refused(WhiteSignal::new(1, -1.0, 5.0).into());
    refused(WhiteSignal::new(1, 1e9, 5.0).into());
    refused(WhiteSignal::new(1, 1.0, 5.0).rms(f64::NAN).into());
    refused(WhiteSignal::new(0, 1.0, 5.0).into());
    refused(Noise::white(1).distribution(Draw::Normal(0.0, -1.0)).into());
    refused(Noise::white(1).distribution(Draw::Uniform(1.0, 0.0)).into());
    let integrator = nengo_wgpu::network::LinearFilter::new(&[1.0], &[1.0, 0.0]);
    refused(Noise::filtered(1, integrator).into());
}

/// Two steps of uniform noise of 65,537 columns for three examples, the first of which has this number.
fn uniform_from(first: u32, device: &Device) -> Vec<f32> {
    let case = crate::common::build(crate::common::dims(3, 2), |c| {
        let clock =
            c.feed_of(Type::fixed(1, CLOCK), move |i, _| f32::from_bits([7, 9, u32::MAX, 1, first][i]));
        vec![c.scope.apply(op::Noise { cols: 65_537, normal: false, offset: 0.0, factor: 1.0 }, &[clock])]
    });
    case.run(device).remove(0)
}

#[test]
fn elements_past_32_bits_have_numbers_of_their_own() {
    let draw = |first| {
        let [cpu, gpu] = devices().each_ref().map(|device| uniform_from(first, device));
        assert_eq!(cpu, gpu, "from example {first}");
        cpu
    };
    let cols = 65_537;
    let (below, beyond) = (draw(65_534), draw(65_536));
    assert_eq!(
        below[2 * cols..3 * cols],
        beyond[..cols],
        "the last example of one is the first of the other"
    );
    // Where 32 bits would begin again: 65,537 * 65,537 - 2^32.
    assert_ne!(beyond[cols..cols + 100], draw(0)[131_073..131_173]);
}
