//! The update of parameters and the norms that it needs: every rule with every family's kernels against the CPU twin.

use crate::common::{devices, targets, uniform};
use nengo_wgpu::Device;
use nengo_wgpu::internals::engine::{Binding, BufferRef, Command, Family, Recording};
use nengo_wgpu::internals::optim::norm::{NormBindings, Of, norms};
use nengo_wgpu::internals::optim::update::{
    ClipMode, EpsilonAt, Hyper, LINE, Rule, Segment, Segments, UpdateBindings, update,
};

/// Parameters of uneven sizes, one of them frozen, with every penalty.
fn segments() -> Segments {
    let mut first_line = 0;
    let segment = |(i, lines): (usize, usize)| {
        let on = |k: usize, x: f32| if (i + k).is_multiple_of(3) { x } else { 0.0 };
        let rate = [1.0, 0.5, 0.0][i % 3];
        let s = Segment {
            first_line,
            lines,
            l2: on(0, 0.1),
            l1: on(1, 0.2),
            norm: on(0, 0.3),
            decay: on(2, 0.1),
            rate,
        };
        first_line += lines;
        s
    };
    Segments { list: [1, 2, 1, 70, 3, 1, 17].into_iter().enumerate().map(segment).collect() }
}

/// Parameters, slots and sums after three updates.
fn run(device: &Device, family: Family, rule: Rule, clip: ClipMode) -> Vec<Vec<f32>> {
    let segments = segments();
    let floats = segments.lines() * LINE;
    let table = segments.table();
    let partials = (2 * segments.lines()).next_multiple_of(4);
    let sums = 4 * (segments.list.len() + 1);
    let hyper = Hyper {
        rate: 0.1,
        momentum: 0.9,
        beta1: 0.8,
        beta2: 0.9,
        epsilon: 1e-3,
        correct1: 0.2,
        correct2: 0.1,
        clip: 0.4,
    };
    let contents: Vec<Vec<f32>> = vec![
        uniform(1, floats, -1.0, 1.0),
        uniform(2, floats, -1.0, 1.0),
        vec![0.0; floats],
        vec![0.0; floats],
        vec![0.0; floats],
        table,
        vec![0.0; partials],
        vec![0.0; sums],
        bytemuck::cast_slice(&[hyper]).to_vec(),
    ];
    let mut engine = device.engine();
    let mut buffers = Vec::new();
    for values in &contents {
        let buffer = engine.allocate(values.len(), "test").unwrap();
        engine.write(buffer, 0, values).unwrap();
        buffers.push(buffer);
    }
    let whole = |i: usize| Binding { buffer: BufferRef::Shared(i), offset: 0, len: contents[i].len() };
    let (parameters, gradients, table, partials, sums) = (whole(0), whole(1), whole(5), whole(6), whole(7));
    let n = NormBindings { parameters, gradients, table, partials, sums };
    let slots = [whole(2), whole(3), whole(4)];
    let u = UpdateBindings { parameters, slots, gradients, table, sums, hyper: whole(8) };
    let mut dispatches: Vec<_> =
        [Of::Parameters, Of::Gradients].map(|of| norms(&segments, of, family, n)).concat();
    dispatches.push(update(&segments, rule, hyper.momentum, clip, family, u));
    let commands = dispatches.into_iter().map(Command::Dispatch).collect();
    let recording = Recording { label: "update".into(), locals: Vec::new(), commands };
    let program = engine.load(&recording, &buffers).unwrap();
    for _ in 0..3 {
        engine.submit(&[&program], None).unwrap();
    }
    [0, 2, 3, 4, 7].map(|i| engine.read(buffers[i], 0, contents[i].len()).unwrap()).into()
}

#[test]
fn every_rule_updates_alike_with_every_familys_kernels() {
    let [adapter, cpu] = devices();
    let mut rules = vec![Rule::Adagrad, Rule::Sgd { nesterov: false }, Rule::Sgd { nesterov: true }];
    for at in [EpsilonAt::Root, EpsilonAt::RootBeforeCorrection, EpsilonAt::InsideRoot] {
        for on in [false, true] {
            rules.push(Rule::Adam { amsgrad: on, epsilon_at: at });
            rules.push(Rule::RmsProp { centered: on, epsilon_at: at });
        }
    }
    for rule in rules {
        for clip in [ClipMode::None, ClipMode::Value, ClipMode::GlobalNorm] {
            let reference: Vec<Vec<f64>> = run(cpu, Family::Cpu, rule, clip)
                .iter()
                .map(|values| values.iter().map(|x| f64::from(*x)).collect())
                .collect();
            for target in targets(adapter) {
                let what = format!("{rule:?}, {clip:?} as {:?}", target.family);
                // A centered second moment is a difference that may be all rounding.
                crate::common::compare(&what, &run(adapter, target.family, rule, clip), &reference, 2e-5);
            }
        }
    }
}
