//! Derivatives of neurons: of their rates, of surrogates through time, and of compiled adjoints.

use crate::common::{Case, check_gradients, devices, dims};
use nengo_wgpu::internals::builder::gradient::gradient;
use nengo_wgpu::internals::graph::{State, Tensor, Type};
use nengo_wgpu::internals::neuron::{
    AdaptiveLif, AdaptiveLifRate, Izhikevich, Leaky, LeakyRelu, Lif, LifRate, NeuronType, RectifiedLinear,
    Reset, Sigmoid, SoftLifRate, Synaptic, Tanh,
};
use nengo_wgpu::internals::op::neurons::Setting;
use nengo_wgpu::train::{Spiking, Surrogate};

const STEPS: usize = 40;

/// States that are not zero, but for a refractory time, in which nothing would happen.
fn starts(neuron: &NeuronType) -> Vec<State> {
    let start = |name: &str| if name == "refractory_time" { 0.0 } else { 0.2 };
    neuron.states().into_iter().map(|(name, _)| State::at(name, start(name))).collect()
}

fn output<'s>(neuron: &NeuronType, j: Tensor<'s>, training: Spiking) -> Tensor<'s> {
    let setting = Setting { dt: 0.001, training: Some(training), states: &starts(neuron), random: None };
    neuron.output(j, &setting)
}

#[test]
fn rates_have_their_derivatives() {
    let lif = || NeuronType::from(LifRate { amplitude: 0.01, ..LifRate::default() });
    let adaptive = AdaptiveLifRate { amplitude: 0.01, tau_n: 0.01, inc_n: 2.0, ..AdaptiveLifRate::default() };
    let types: [NeuronType; 9] = [
        RectifiedLinear::default().into(),
        LeakyRelu::default().into(),
        Sigmoid { tau_ref: 0.5 }.into(),
        Tanh { tau_ref: 0.5 }.into(),
        lif(),
        SoftLifRate { sigma: 0.7, amplitude: 0.01, ..SoftLifRate::default() }.into(),
        adaptive.into(),
        // In training these are rates.
        Lif { amplitude: 0.01, ..Lif::default() }.into(),
        NeuronType::regular_spiking(lif()),
    ];
    for neuron in types {
        let smooth = matches!(neuron, NeuronType::Lif(_)).then_some(Spiking::SmoothRateSwap(0.5));
        for swap in std::iter::once(Spiking::RateSwap).chain(smooth) {
            check_gradients(neuron.name(), dims(2, 4), |c| {
                let x = c.feed(Type::sequence(4)) + c.scope.constant(3.0);
                let j = (x * c.parameter(1, 4)).unary(nengo_wgpu::internals::expr::Unary::Softplus)
                    + c.scope.constant(1.1);
                (output(&neuron, j, swap) * c.feed(Type::sequence(4))).mean_all()
            });
        }
    }
}

/// The gradient of `sum_t g_t output(w x_t)` for `w`, on a device and by `forward`, which gives the derivative of each output.
fn surrogate_gradient(neuron: &NeuronType, training: Spiking, forward: &dyn Fn(f64, &[f64]) -> Vec<f64>) {
    const N: usize = 6;
    let case = Case::new(dims(1, STEPS));
    let (x, g): (Vec<f32>, Vec<f32>) =
        (crate::common::uniform(5, STEPS, 0.5, 3.0), crate::common::uniform(6, STEPS, -1.0, 1.0));
    // Of both signs, so that some fire whatever their weights are.
    let factors: Vec<f32> = (0..N).map(|i| [1.0, -1.0][i % 2] * (0.3 + 0.4 * i as f32)).collect();
    let outputs = {
        let all = |t: usize, i: usize| x[t] * factors[i];
        let x = case.feed_of(Type::sequence(N), |e, _| all(e / N, e % N));
        let w = case.parameter(1, N);
        let out = output(neuron, x * w, training);
        let loss = (out * case.feed_of(Type::sequence(1), |t, _| g[t])).sum_all();
        let adjoints = gradient(&case.scope, loss, &[w.id], |_| "w".into()).unwrap();
        vec![adjoints[0].unwrap().id]
    };
    let ready = case.ready(outputs);
    let w = ready.parameters[0].1.clone();
    let want: Vec<f64> = (0..N)
        .map(|i| {
            let x: Vec<f64> = x.iter().map(|x| f64::from(x * factors[i])).collect();
            forward(f64::from(w[i]), &x).iter().zip(&g).map(|(d, g)| d * f64::from(*g)).sum()
        })
        .collect();
    assert!(want.iter().filter(|x| x.abs() > 1e-3).count() > 1, "no gradient to speak of: {want:?}");
    for device in devices() {
        crate::common::compare(
            &format!("{neuron:?} on {device}"),
            &ready.run(device),
            std::slice::from_ref(&want),
            2e-4,
        );
    }
}

fn fast_sigmoid(u: f64) -> f64 {
    1.0 / (1.0 + 2.0 * u.abs()).powi(2)
}

#[test]
fn surrogates_give_the_gradient_that_a_walk_forward_in_time_gives() {
    let spiking = Spiking::Surrogate(Surrogate::FastSigmoid(2.0));
    for reset in [Reset::Subtract, Reset::Zero, Reset::None] {
        let leaky = Leaky { beta: 0.8, threshold: 1.3, reset };
        surrogate_gradient(&leaky.into(), spiking, &|w, x| {
            let (mut v, mut dv) = (0.2, 0.0);
            x.iter()
                .map(|x| {
                    let fired = v > 1.3;
                    (v, dv) = (0.8 * v + w * x, 0.8 * dv + x);
                    match reset {
                        Reset::Subtract if fired => v -= 1.3,
                        Reset::Zero if fired => (v, dv) = (0.0, 0.0),
                        _ => {}
                    }
                    fast_sigmoid(v - 1.3) * dv
                })
                .collect()
        });
    }
    let synaptic = Synaptic { alpha: 0.6, beta: 0.8, threshold: 1.3, reset: Reset::Subtract };
    surrogate_gradient(&synaptic.into(), spiking, &|w, x| {
        let (mut c, mut dc, mut v, mut dv) = (0.2, 0.0, 0.2, 0.0);
        x.iter()
            .map(|x| {
                let fired = v > 1.3;
                (c, dc) = (0.6 * c + w * x, 0.6 * dc + x);
                (v, dv) = (0.8 * v + c - if fired { 1.3 } else { 0.0 }, 0.8 * dv + dc);
                fast_sigmoid(v - 1.3) * dv
            })
            .collect()
    });
    let lif = Lif { amplitude: 0.001, ..Lif::default() };
    surrogate_gradient(&lif.into(), spiking, &|w, x| {
        let (mut v, mut dv, mut rest) = (0.2_f64, 0.0_f64, 0.0_f64);
        x.iter()
            .map(|x| {
                let j = w * x;
                rest -= 0.001;
                let part = ((0.001 - rest).clamp(0.0, 0.001) / -0.02).exp_m1();
                (v, dv) = (v - (j - v) * part, dv - (x - dv) * part);
                let d = fast_sigmoid(v - 1.0) * dv;
                if v > 1.0 {
                    rest = 0.002 + 0.001 + 0.02 * (-(v - 1.0) / (j - 1.0)).ln_1p();
                    (v, dv) = (0.0, 0.0);
                } else if v < 0.0 {
                    (v, dv) = (0.0, 0.0);
                }
                d
            })
            .collect()
    });
    let relu = NeuronType::SpikingRectifiedLinear(RectifiedLinear { amplitude: 0.001 });
    surrogate_gradient(&relu, Spiking::Surrogate(Surrogate::StraightThrough), &|w, x| {
        let mut dv = 0.0;
        x.iter()
            .map(|x| {
                dv += if w * x > 0.0 { 0.001 * x } else { 0.0 };
                dv
            })
            .collect()
    });
    // The rate's derivative, in each step for itself.
    let sigma = 0.5;
    let lif = Lif { amplitude: 0.01, ..Lif::default() };
    surrogate_gradient(&lif.into(), Spiking::RateGradient(sigma), &|w, x| {
        let soft = NeuronType::from(lif.rate().soft(sigma));
        let slope = |j: f64| (soft.rate(j + 1e-5).unwrap() - soft.rate(j - 1e-5).unwrap()) / 2e-5;
        x.iter().map(|x| slope(w * x) * x).collect()
    });
}

/// Machine code, shaders and the graph's instructions in f64, of more columns than the CPU twin takes at once.
#[test]
fn adjoints_of_all_spiking_types_are_those_of_their_instructions() {
    let base = || NeuronType::from(LifRate { amplitude: 0.3, ..LifRate::default() });
    let types: [NeuronType; 9] = [
        Lif { amplitude: 0.01, ..Lif::default() }.into(),
        // Steps that are long beside the membrane's time constant.
        Lif { amplitude: 0.01, tau_rc: 0.002, min_voltage: -0.5, ..Lif::default() }.into(),
        AdaptiveLif { amplitude: 0.01, inc_n: 0.5, tau_n: 0.02, ..AdaptiveLif::default() }.into(),
        Izhikevich::default().into(),
        Leaky { beta: 0.8, ..Leaky::default() }.into(),
        Synaptic::default().into(),
        NeuronType::SpikingRectifiedLinear(RectifiedLinear { amplitude: 0.3 }),
        NeuronType::SpikingLeakyRelu(LeakyRelu { amplitude: 0.3, slope: 0.4 }),
        NeuronType::regular_spiking(base()),
    ];
    let ways = [
        Spiking::Surrogate(Surrogate::Arctan(2.0)),
        Spiking::Surrogate(Surrogate::Triangle(0.7)),
        Spiking::RateGradient(0.5),
    ];
    for (neuron, spiking) in types.iter().flat_map(|n| ways.map(|w| (n, w))) {
        if neuron.rate_type(None).is_none() && matches!(spiking, Spiking::RateGradient(_)) {
            continue;
        }
        crate::common::check(&format!("{neuron:?}, {spiking:?}"), dims(3, 6), 2e-4, |c| {
            let x = c.feed(Type::sequence(67));
            let w = c.parameter(1, 67);
            let out = output(neuron, x * w + c.scope.constant(1.5), spiking);
            let loss = (out * c.feed(Type::sequence(67))).sum_all();
            gradient(&c.scope, loss, &[w.id], |_| "w".into()).unwrap().into_iter().flatten().collect()
        });
    }
}
