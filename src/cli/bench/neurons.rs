//! Times steps of each neuron type on one thread, with data in cache.

use std::time::Instant;

use nengo_wgpu::internals::engine::BufferRef;
use nengo_wgpu::internals::graph::{Dims, Scope, Source, State, Type};
use nengo_wgpu::internals::neuron::{
    AdaptiveLif, AdaptiveLifRate, Izhikevich, Leaky, LeakyRelu, LifRate, NeuronType, RectifiedLinear,
    Sigmoid, SoftLifRate, Synaptic, Tanh,
};
use nengo_wgpu::internals::op::neurons::Setting;
use nengo_wgpu::internals::plan::{self, Carry, Output, Place, Request};
use nengo_wgpu::{Device, Result};

use super::{Measured, measured};

/// Neurons and steps of a replay; currents and outputs fit into the second-level cache.
const DIMS: (usize, usize) = (1024, 32);

/// Number of neuron types that are timed.
pub const TYPES: usize = 17;

/// Times each type, in millions of neuron steps per second. The ceiling is a copy from current to output.
pub fn run(device: &Device, repeats: usize, bandwidth: f64) -> Result<Vec<Measured>> {
    let device = device.clone().with_threads(1);
    let lif_rate = || NeuronType::from(LifRate::default());
    let types: [(&str, NeuronType); TYPES] = [
        ("lif", NeuronType::lif()),
        ("lif-rate", lif_rate()),
        ("soft-lif-rate", SoftLifRate::default().into()),
        ("adaptive-lif", AdaptiveLif::default().into()),
        ("adaptive-lif-rate", AdaptiveLifRate::default().into()),
        ("rectified-linear", RectifiedLinear::default().into()),
        ("spiking-rectified-linear", NeuronType::SpikingRectifiedLinear(RectifiedLinear::default())),
        ("leaky-relu", LeakyRelu::default().into()),
        ("spiking-leaky-relu", NeuronType::SpikingLeakyRelu(LeakyRelu::default())),
        ("sigmoid", Sigmoid::default().into()),
        ("tanh", Tanh::default().into()),
        ("izhikevich", Izhikevich::default().into()),
        ("regular-spiking lif-rate", NeuronType::regular_spiking(lif_rate())),
        ("stochastic-spiking lif-rate", NeuronType::stochastic_spiking(lif_rate())),
        ("poisson-spiking lif-rate", NeuronType::poisson_spiking(lif_rate())),
        ("leaky", Leaky::default().into()),
        ("synaptic", Synaptic::default().into()),
    ];
    let mut results = Vec::with_capacity(TYPES);
    for (name, neuron) in types {
        let seconds = sample(&device, &neuron, repeats)?;
        let work = (DIMS.0 * DIMS.1) as f64 / 1e6;
        results.push(measured(format!("neurons {name}"), "M/s", work, seconds, bandwidth * 1e3 / 8.0));
    }
    Ok(results)
}

/// Seconds per replay.
fn sample(device: &Device, neuron: &NeuronType, repeats: usize) -> Result<Vec<f64>> {
    let (n, steps) = DIMS;
    let scope = Scope::new(Dims { batch: 1, steps });
    let ty = Type::sequence(n);
    let current = scope.source(ty, Source::Feed(0));
    let random = neuron.is_random().then(|| scope.source(ty, Source::Feed(1)));
    let start = |(name, _)| State { name, start: (0..n).map(|i| i as f32 / n as f32).collect() };
    let states: Vec<State> = neuron.states().into_iter().map(start).collect();
    let setting = Setting { dt: 0.001, training: None, states: &states, random };
    let value = neuron.output(current, &setting).id;
    let graph = scope.finish()?;
    let carry = Carry::of(&graph);
    let (start, floats) = (carry.start(&graph), carry.len().max(4));
    let plan = plan::plan(Request {
        graph,
        outputs: vec![Output { value, place: Place::Keep }],
        parameters: &[],
        carry: (!carry.is_empty()).then_some((0, carry)),
        target: device.target(),
        label: "bench",
    })?;
    let mut engine = device.engine();
    let shared = engine.allocate(floats, "states")?;
    engine.write(shared, 0, &start)?;
    let program = engine.load(&plan.recording, &[shared])?;
    for (feed, placed) in &plan.feeds {
        let BufferRef::Local(local) = placed.binding.buffer else { continue };
        // Currents from silence to about 200 Hz, the same at all steps; different random numbers.
        engine.write_with(program.locals[local], 0, n * steps, &mut |to| {
            for (i, x) in to.iter_mut().enumerate() {
                let share = (i % n) as f32 / n as f32;
                *x = if *feed == 0 { 6.0 * share - 1.0 } else { (i * 7919 % 1009) as f32 / 1009.0 };
            }
        })?;
    }
    let mut seconds = |count: usize| -> Result<f64> {
        let begin = Instant::now();
        for _ in 0..count {
            engine.submit(&[&program], None)?;
        }
        engine.read(shared, 0, 1)?;
        Ok(begin.elapsed().as_secs_f64() / count as f64)
    };
    seconds(1)?;
    let count = ((0.02 / seconds(4)?.max(1e-7)) as usize).clamp(1, 1000);
    (0..repeats).map(|_| seconds(count)).collect()
}
