//! Every shader that plans use is valid WGSL, and has the bindings and immediates of its kernel.

use std::collections::BTreeSet;

use crate::common::{devices, dims};
use naga::{AddressSpace, StorageAccess};
use nengo_wgpu::internals::engine::shader::{STEMS, validate};
use nengo_wgpu::internals::engine::{Access, Binding, BufferRef, Command, Dispatch, Family, Target, ceiling};
use nengo_wgpu::internals::expr::real::Real;
use nengo_wgpu::internals::expr::step::Step;
use nengo_wgpu::internals::graph::{Dims, Tensor, Type};
use nengo_wgpu::internals::op::Noise;
use nengo_wgpu::internals::op::filter::lowpass;
use nengo_wgpu::internals::op::scan::{Emits, Scan};
use nengo_wgpu::internals::optim::accumulate::accumulate;
use nengo_wgpu::internals::optim::norm::{NormBindings, Of, norms};
use nengo_wgpu::internals::optim::update::{
    ClipMode, EpsilonAt, Rule, Segment, Segments, UpdateBindings, update,
};

/// A graph with every operator, and its gradient.
fn everything(dims: Dims, n: usize, target: &Target) -> Vec<Dispatch> {
    let case = crate::common::Case::new(dims);
    let outputs = {
        let c = &case;
        let x = c.feed(Type::sequence(n)) * c.parameter(1, n);
        let random = c.feed(Type::fixed(1, 4));
        let class = c.feed_of(Type::sequence(1), |_, _| 0.0);
        let phase = c.feed_of(Type::fixed(1, 1), |_, _| 0.0);
        let filter = lowpass(0.5, 0.5, false);
        let y = (x.dot(c.parameter(n, n)) + c.parameter(1, n)).sigmoid().dropout(0.5, random);
        let state = c.scope.open(std::sync::Arc::new(lowpass(0.5, 0.5, true)), y.ty());
        let step = Step::new(2, |x| {
            vec![x[0] * x[1], (x[0] + x[1]).unary(nengo_wgpu::internals::expr::Unary::Tanh)]
        });
        let states = vec![nengo_wgpu::internals::graph::State::at("s", 0.5)];
        let (emits, name) = (Emits::Result, "steps");
        let y = y.dot(c.parameter(n, n).transpose(1));
        let scan = Scan { name, step, states, emits, linear: false, backward: false };
        let y = c.scope.apply(scan, &[y]);
        let z = (y + state.dot_groups(c.parameter(n, n), 1)).tanh().filter(&filter).softmax();
        c.scope.close(state, z);
        let wide = z.concat(&[x]).delay().pad(1, 2 * n + 2);
        let clock = c.feed(Type::fixed(1, nengo_wgpu::internals::op::noise::CLOCK));
        let noise = Noise { cols: n, normal: true, offset: 0.0, factor: 1.0 };
        let z = z + c.scope.apply(noise, &[clock]);
        let pattern = std::sync::Arc::new(
            nengo_wgpu::internals::op::Pattern::new(2, n, &[(0, 0), (1, n - 1)]).unwrap(),
        );
        let sparse = x
            .sparse(&pattern, Some(c.parameter(1, 2)))
            .sparse(&std::sync::Arc::new(pattern.transposed()), None);
        let window = nengo_wgpu::internals::op::Window {
            image: [1, 1, n],
            kernel: [1, 1, 2],
            stride: [1, 1, 2],
            before: [0, 0, 1],
            windows: [1, 1, n.div_ceil(2)],
        };
        let form = nengo_wgpu::internals::op::convolution::Form::Forward;
        let line = nengo_wgpu::internals::op::Convolution { window, large: 1, small: 2, groups: 1, form };
        let image = x.convolve(line, c.parameter(2, 2));
        let pooled = [nengo_wgpu::internals::op::pool::Of::Average, nengo_wgpu::internals::op::pool::Of::Max]
            .map(|of| x.pool(nengo_wgpu::internals::op::Pool { window, channels: 1, of }));
        let losses: Vec<Tensor<'_>> = [
            z.cross_entropy(class),
            wide.slice(1, n).square(),
            sparse.square(),
            image.square(),
            pooled[0],
            pooled[1].square(),
        ]
        .map(|l| l.mean_all())
        .into();
        let loss = c.scope.sum(&losses);
        let ids = c.parameter_ids();
        let adjoints =
            nengo_wgpu::internals::builder::gradient::gradient(&c.scope, loss, &ids, |_| "p".into()).unwrap();
        let adjoints = adjoints.into_iter().map(|a| a.unwrap().id);
        let change = [nengo_wgpu::internals::graph::State::at("change", 0.0)];
        let learn = nengo_wgpu::internals::op::Learn { rows: 2, cols: n, decays: true, based: true, change };
        let slow = c.feed(Type::sequence(2));
        let learnt = c.scope.apply(learn, &[x, slow, x, slow, c.parameter(2, n)]);
        adjoints.chain([loss.id, learnt.id, z.is_class(class).id, z.sample(2, phase).id]).collect()
    };
    let mut all = Vec::new();
    for command in case.ready(outputs).plan(target).recording.commands {
        match command {
            Command::Dispatch(dispatch) => all.push(dispatch),
            Command::Repeat { tiles, .. } => all.extend(tiles.into_iter().flat_map(|t| t.body)),
            Command::Copy { .. } => {}
        }
    }
    all
}

/// A filter over many steps, which runs in chunks of time.
fn chunks(cols: usize, target: &Target) -> Vec<Dispatch> {
    let case = crate::common::build(dims(1, 600), |c| {
        vec![c.feed(Type::sequence(cols)).filter(&lowpass(0.5, 0.5, true))]
    });
    let commands = case.plan(target).recording.commands;
    commands.into_iter().filter_map(|c| if let Command::Dispatch(d) = c { Some(d) } else { None }).collect()
}

/// Long rows and windows, on a device whose loops turn few times.
fn long(target: &Target) -> Vec<Dispatch> {
    use nengo_wgpu::internals::op::pool::{Of, PoolAdjoint};
    use nengo_wgpu::internals::op::{Convolution, Pool, Window, convolution::Form};
    const N: usize = 5000;
    let target = Target { max_turns: 400, ..target.clone() };
    let line = [1, 1, N];
    let whole = Window { image: line, kernel: line, stride: [1; 3], before: [0; 3], windows: [1; 3] };
    let point = Window { image: [1; 3], kernel: line, stride: [1; 3], before: [0, 0, N - 1], windows: line };
    let pool = |window, of| Pool { window, channels: 1, of };
    let convolution = |window, form| Convolution { window, large: 1, small: 1, groups: 1, form };
    let case = crate::common::build(dims(2, 1), |c| {
        let x = c.feed(Type::example(N));
        let (row, one) = (c.feed(Type::fixed(1, N)), c.feed(Type::example(1)));
        let pattern =
            nengo_wgpu::internals::op::Pattern::new(1, N, &(0..N).map(|j| (0, j)).collect::<Vec<_>>());
        vec![
            (x.dot(c.feed(Type::fixed(3, N))) + c.feed(Type::fixed(1, 3))).relu(),
            x.softmax(),
            x.cross_entropy(one),
            x.is_class(one),
            x.sparse(&std::sync::Arc::new(pattern.unwrap()), Some(row)),
            x.pool(pool(whole, Of::Average)),
            x.pool(pool(whole, Of::Max)),
            c.scope.apply(PoolAdjoint(pool(point, Of::Average)), &[x]),
            x.convolve(convolution(whole, Form::Forward), row),
            x.convolve(convolution(point, Form::Transposed), row),
        ]
    });
    let commands = case.plan(&target).recording.commands;
    commands.into_iter().filter_map(|c| if let Command::Dispatch(d) = c { Some(d) } else { None }).collect()
}

/// A loop that walks through time inside of its shader.
fn walk(batch: usize, cols: usize, target: &Target) -> Vec<Dispatch> {
    let case = crate::common::build(dims(batch, 3), |c| {
        let heard = c.scope.open(std::sync::Arc::new(lowpass(0.5, 0.5, true)), Type::sequence(cols));
        let y = (c.feed(Type::sequence(cols)) + heard.dot(c.parameter(cols, cols))).tanh();
        c.scope.close(heard, y);
        vec![y]
    });
    let all = |c| if let Command::Repeat { fused, .. } = c { fused } else { Vec::new() };
    case.plan(target).recording.commands.into_iter().flat_map(all).collect()
}

/// Updates by every rule, and the norms that they need.
fn updates(family: Family) -> Vec<Dispatch> {
    let segment = Segment { first_line: 0, lines: 2, l2: 0.1, l1: 0.1, norm: 0.1, decay: 0.1, rate: 1.0 };
    let segments = Segments { list: vec![segment] };
    let b = Binding { buffer: BufferRef::Shared(0), offset: 0, len: 128 };
    let n = NormBindings { parameters: b, gradients: b, table: b, partials: b, sums: b };
    let u = UpdateBindings { parameters: b, slots: [b; 3], gradients: b, table: b, sums: b, hyper: b };
    let sum = Binding { offset: 128, ..b };
    let mut all: Vec<Dispatch> =
        [Of::Parameters, Of::Gradients].map(|of| norms(&segments, of, family, n)).concat();
    all.push(accumulate(sum, b, family));
    for at in [EpsilonAt::Root, EpsilonAt::RootBeforeCorrection, EpsilonAt::InsideRoot] {
        for on in [false, true] {
            let rules = [
                Rule::Sgd { nesterov: on },
                Rule::Adam { amsgrad: on, epsilon_at: at },
                Rule::RmsProp { centered: on, epsilon_at: at },
                Rule::Adagrad,
            ];
            for clip in [ClipMode::None, ClipMode::Value, ClipMode::GlobalNorm] {
                all.extend(rules.map(|rule| update(&segments, rule, 0.5, clip, family, u)));
            }
        }
    }
    all
}

fn check(dispatch: &Dispatch) {
    let kernel = &dispatch.kernel;
    let source = kernel.source();
    let module = validate(&source).unwrap_or_else(|e| panic!("{e}\n{}", source.text));
    let what = format!("{} {}", source.stem, source.entry);
    assert!(module.entry_points.iter().any(|e| e.name == source.entry), "{what}: no such entry point");
    for (name, _) in &source.constants {
        let known = module.overrides.iter().any(|(_, o)| o.name.as_deref() == Some(name));
        assert!(known, "{what}: no override {name}");
    }
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).unwrap();
    // Bindings that an entry point does not reach belong to another entry of the file.
    let mut validator =
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all());
    validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
    validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
    let info = validator.validate(&module).unwrap();
    let entry = module.entry_points.iter().position(|e| e.name == source.entry).unwrap();
    let info = info.get_entry_point(entry);

    let access = kernel.access();
    assert_eq!(access.len(), dispatch.bindings.len(), "{what}: bindings given");
    let mut used = BTreeSet::new();
    for (handle, variable) in module.global_variables.iter() {
        if info[handle].is_empty() {
            continue;
        }
        match variable.space {
            AddressSpace::Immediate => {
                let size = layouter[variable.ty].size as usize;
                assert_eq!(size, 4 * kernel.params().len(), "{what}: size of the immediates");
            }
            AddressSpace::Storage { access: found } => {
                let binding = variable.binding.unwrap();
                assert_eq!(binding.group, 0, "{what}");
                let at = binding.binding as usize;
                let wanted = match access.get(at) {
                    Some(Access::Read) => StorageAccess::LOAD,
                    Some(Access::Write) => StorageAccess::LOAD | StorageAccess::STORE,
                    None => panic!("{what}: binding {at} is not in Kernel::access"),
                };
                assert_eq!(found, wanted, "{what}: access of binding {at}");
                used.insert(at);
            }
            AddressSpace::WorkGroup | AddressSpace::Private => {}
            other => panic!("{what}: a variable in {other:?}"),
        }
    }
    assert!(used.len() <= 8, "{what}: more storage buffers than every adapter has");
}

#[test]
fn every_shader_is_valid_and_has_the_bindings_of_its_kernel() {
    let own = devices()[0].target().clone();
    let output = Binding { buffer: BufferRef::Shared(0), offset: 0, len: ceiling::arithmetic_len() };
    let mut all = vec![ceiling::arithmetic(output, 1).0];
    let software = |subgroup, int64| Family::Software { subgroup, int64 };
    for family in [
        own.family,
        Family::Gpu,
        Family::Cpu,
        software(0, false),
        software(8, false),
        software(8, true),
        software(0, true),
    ] {
        all.extend(updates(family));
        all.extend(long(&Target { family, ..own.clone() }));
        all.extend([1, 4].into_iter().flat_map(|n| chunks(n, &Target { family, ..own.clone() })));
        all.extend([(1, 3), (40, 36)].map(|(b, n)| walk(b, n, &Target { family, ..own.clone() })).concat());
        for (batch, n) in [(1, 3), (5, 4), (40, 36), (33, 35), (700, 8)] {
            all.extend(everything(dims(batch, 2), n, &Target { family, ..own.clone() }));
        }
    }
    let mut seen = BTreeSet::new();
    let mut checked: Vec<(nengo_wgpu::internals::engine::shader::Source, usize)> = Vec::new();
    for dispatch in &all {
        let source = dispatch.kernel.source();
        let key = (source.clone(), dispatch.kernel.params().len());
        if !checked.contains(&key) {
            check(dispatch);
            checked.push(key);
        }
        seen.insert(source.stem);
    }
    let wanted: BTreeSet<&str> = STEMS.iter().copied().filter(|s| !s.starts_with("shared/")).collect();
    assert_eq!(seen, wanted, "shaders that no plan uses, or that STEMS lacks");
    println!("{} sources of {} files", checked.len(), seen.len());
}

#[test]
fn every_file_of_the_folder_is_known() {
    let root = crate::common::root().join("shaders");
    let mut found = BTreeSet::new();
    for (folder, prefix) in [(root.clone(), ""), (root.join("shared"), "shared/")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                found.insert(format!("{prefix}{}", path.file_stem().unwrap().to_str().unwrap()));
            }
        }
    }
    assert_eq!(found, STEMS.iter().map(|s| s.to_string()).collect());
}
