//! Long sums and long windows: on both devices beyond the 65,535 turns after which lavapipe leaves every loop, and exact.

use std::sync::Arc;

use crate::common::{Case, Ready, build, check, compare, devices, dims, targets};
use nengo_wgpu::internals::engine::cpu::form;
use nengo_wgpu::internals::engine::{Command, DeviceKind, Target};
use nengo_wgpu::internals::expr::real::{Real, Var};
use nengo_wgpu::internals::expr::step::Step;
use nengo_wgpu::internals::graph::{Dims, State, Tensor, Type};
use nengo_wgpu::internals::op::convolution::Form;
use nengo_wgpu::internals::op::cross_entropy::CrossEntropyAdjoint;
use nengo_wgpu::internals::op::filter::lowpass;
use nengo_wgpu::internals::op::pool::{Of, PoolAdjoint};
use nengo_wgpu::internals::op::scan::{Emits, Scan};
use nengo_wgpu::internals::op::softmax::SoftmaxAdjoint;
use nengo_wgpu::internals::op::sparse::SparseWeights;
use nengo_wgpu::internals::op::{Convolution, Learn, Matmul, Pattern, Pool, Window};
use nengo_wgpu::{Error, Result};

/// A long sum: its name, the sizes of its run, its graph, and what it gives.
type Sum = (&'static str, Dims, for<'s> fn(&'s Case, usize) -> Tensor<'s>, fn(f64) -> f64);

/// The terms of the sums: their rounding errors have one sign.
const X: f32 = 0.1;
const W: f32 = 0.7;

fn of(c: &Case, ty: Type, value: f32) -> Tensor<'_> {
    c.feed_of(ty, |_, _| value)
}

fn x(c: &Case, ty: Type) -> Tensor<'_> {
    of(c, ty, X)
}

fn w(c: &Case, rows: usize, cols: usize) -> Tensor<'_> {
    of(c, Type::fixed(rows, cols), W)
}

/// One window over the whole of an image of `k` points.
fn whole(k: usize) -> Window {
    Window { image: [1, 1, k], kernel: [1, 1, k], stride: [1; 3], before: [0; 3], windows: [1; 3] }
}

/// One point in `k` windows.
fn point(k: usize) -> Window {
    let line = [1, 1, k];
    Window { image: [1; 3], kernel: line, stride: [1; 3], before: [0, 0, k - 1], windows: line }
}

fn convolution(window: Window, [large, small]: [usize; 2], form: Form) -> Convolution {
    Convolution { window, large, small, groups: 1, form }
}

fn pattern(k: usize) -> Arc<Pattern> {
    let entries: Vec<(usize, usize)> = (0..k).flat_map(|j| [(0, j), (1, j)]).collect();
    Arc::new(Pattern::new(2, k, &entries).unwrap())
}

fn first_of(c: &Case, k: usize) -> Tensor<'_> {
    c.feed_of(Type::example(k), move |i, _| if i % k == 0 { 10.0 } else { 0.0 })
}

/// Each kernel that sums, over `k` terms: `k` columns of two examples, or one column of `k` steps where `long` is set.
fn sums(k: usize) -> Vec<Sum> {
    let (wide, long) = (dims(2, 1), dims(1, k));
    const P: f64 = X as f64 * W as f64;
    vec![
        ("rows", long, |c, _| x(c, Type::sequence(3)).reduce_to(Type::fixed(1, 3)), |k| k * f64::from(X)),
        ("columns", wide, |c, k| x(c, Type::example(k)).sum_cols(), |k| k * f64::from(X)),
        ("all", long, |c, _| x(c, Type::sequence(4)).sum_all(), |k| 4.0 * k * f64::from(X)),
        ("norm", wide, |c, k| x(c, Type::example(k)).norm(), |k| (2.0 * k).sqrt() * f64::from(X)),
        ("dense", wide, |c, k| x(c, Type::example(k)).dot(w(c, 3, k)), |k| k * P),
        (
            "dense with an epilogue",
            wide,
            |c, k| (x(c, Type::example(k)).dot(w(c, 8, k)) + of(c, Type::fixed(1, 8), 1.0)).relu(),
            |k| k * P + 1.0,
        ),
        (
            "dense, transposed",
            wide,
            |c, k| c.scope.apply(Matmul::dense(form::Form::Nn), &[x(c, Type::example(k)), w(c, k, 3)]),
            |k| k * P,
        ),
        (
            "dense over rows",
            long,
            |c, _| {
                let (a, b) = (x(c, Type::sequence(2)), of(c, Type::sequence(3), W));
                c.scope.apply(Matmul::dense(form::Form::Tn), &[a, b])
            },
            |k| k * P,
        ),
        ("groups", wide, |c, k| x(c, Type::example(2 * k)).dot_groups(w(c, 2, k), 2), |k| k * P),
        (
            "groups over rows",
            long,
            |c, _| {
                let (a, b) = (x(c, Type::sequence(2)), of(c, Type::sequence(4), W));
                c.scope.apply(Matmul { form: form::Form::Tn, groups: 2, epilogue: None }, &[a, b])
            },
            |k| k * P,
        ),
        ("sparse", wide, |c, k| x(c, Type::example(k)).sparse(&pattern(k), Some(w(c, 1, 2 * k))), |k| k * P),
        ("sparse ones", wide, |c, k| x(c, Type::example(k)).sparse(&pattern(k), None), |k| k * f64::from(X)),
        (
            "sparse weights",
            long,
            |c, _| {
                let (dy, x) = (of(c, Type::sequence(2), W), x(c, Type::sequence(3)));
                c.scope.apply(SparseWeights { pattern: pattern(3) }, &[dy, x])
            },
            |k| k * P,
        ),
        (
            "mean of a window",
            wide,
            |c, k| {
                let pool = Pool { window: whole(k), channels: 1, of: Of::Average };
                x(c, Type::example(k)).pool(pool)
            },
            |_| f64::from(X),
        ),
        (
            "maximum of a window",
            wide,
            |c, k| {
                let pool = Pool { window: whole(k), channels: 1, of: Of::Max };
                c.feed_of(Type::example(k), move |i, _| (i % k) as f32).pool(pool)
            },
            |k| k - 1.0,
        ),
        (
            "adjoint of means",
            wide,
            |c, k| {
                let pool = Pool { window: point(k), channels: 1, of: Of::Average };
                c.scope.apply(PoolAdjoint(pool), &[x(c, Type::example(k))])
            },
            |k| k * f64::from(X),
        ),
        (
            "convolution",
            wide,
            |c, k| x(c, Type::example(k)).convolve(convolution(whole(k), [1, 2], Form::Forward), w(c, 2, k)),
            |k| k * P,
        ),
        (
            "convolution of many channels",
            wide,
            |c, k| x(c, Type::example(k)).convolve(convolution(whole(1), [k, 2], Form::Forward), w(c, 2, k)),
            |k| k * P,
        ),
        (
            "transposed convolution",
            wide,
            |c, k| {
                let form = Form::Transposed;
                x(c, Type::example(k)).convolve(convolution(point(k), [1, 1], form), w(c, 1, k))
            },
            |k| k * P,
        ),
        (
            "transposed convolution of many channels",
            wide,
            |c, k| {
                let form = Form::Transposed;
                x(c, Type::example(k)).convolve(convolution(whole(1), [2, k], form), w(c, k, 2))
            },
            |k| k * P,
        ),
        (
            "weights of a convolution",
            long,
            |c, _| {
                let (small, large) = (x(c, Type::sequence(1)), of(c, Type::sequence(1), W));
                small.convolve(convolution(whole(1), [1, 1], Form::Kernel), large)
            },
            |k| k * P,
        ),
        ("softmax", wide, |c, k| first_of(c, k).softmax(), |k| 10f64.exp() / (10f64.exp() + k - 1.0)),
        (
            "adjoint of softmax",
            wide,
            |c, k| c.scope.apply(SoftmaxAdjoint, &[x(c, Type::example(k)), of(c, Type::example(k), W)]),
            |k| (f64::from(X) * (f64::from(W) - k * P)).abs(),
        ),
        (
            "cross-entropy of a class",
            wide,
            |c, k| of(c, Type::example(k), X).cross_entropy(of(c, Type::example(1), 1.0)),
            |k| k.ln(),
        ),
        (
            "cross-entropy of weights",
            wide,
            |c, k| of(c, Type::example(k), X).cross_entropy(of(c, Type::example(k), W)),
            |k| k * f64::from(W) * k.ln(),
        ),
        (
            "adjoint of cross-entropy",
            wide,
            |c, k| {
                let targets = of(c, Type::example(k), W);
                c.scope.apply(CrossEntropyAdjoint, &[first_of(c, k), targets, of(c, Type::example(1), 1.0)])
            },
            |k| f64::from(W) * (k * 10f64.exp() / (10f64.exp() + k - 1.0) - 1.0),
        ),
        (
            "accuracy",
            wide,
            |c, k| {
                let logits = c.feed_of(Type::example(k), move |i, _| (i % k) as f32);
                logits.is_class(of(c, Type::example(1), (k - 1) as f32))
            },
            |_| 1.0,
        ),
    ]
}

/// All kernels for a device that the sums are tried with.
fn kernels(device: &nengo_wgpu::Device) -> Vec<Target> {
    targets(device)[..if device.kind() == DeviceKind::Software { 2 } else { 1 }].to_vec()
}

fn made(sum: Sum, k: usize) -> Ready {
    let (_, dims, graph, _) = sum;
    build(dims, |c| vec![graph(c, k)])
}

/// The largest element, as a share of what is right.
fn share(values: &[f32], right: f64) -> f64 {
    values.iter().fold(0.0_f64, |a, x| a.max(f64::from(x.abs()))) / right
}

/// How far a sum of `k` equal terms may be off: products add up some thousand terms as they come.
fn allowed(what: &str, k: usize, device: DeviceKind) -> f64 {
    let plain = if device == DeviceKind::Cpu { 16_384 } else { 4_096 };
    let product = ["dense", "groups", "convolution"].iter().any(|name| what.contains(name));
    if product && k <= plain { 1e-4 } else { 1e-6 }
}

fn all_sums_are_exact(k: usize) {
    for sum in sums(k) {
        let ready = made(sum, k);
        for device in devices() {
            // The twin multiplies whole kernels, of which each window here sees one element.
            if sum.0 == "transposed convolution" && device.kind() == DeviceKind::Cpu {
                continue;
            }
            for target in kernels(device) {
                let off = share(&ready.run_as(device, &target)[0], sum.3(k as f64)) - 1.0;
                let what = format!("{} of {k} terms on {device} as {:?}", sum.0, target.family);
                println!("{off:.1e} {what}");
                assert!(off.abs() < allowed(sum.0, k, device.kind()), "{what}: off by {off:.2e}");
            }
        }
    }
}

#[test]
fn sums_of_some_thousand_terms_are_exact() {
    [500, 4_096, 16_384].into_iter().for_each(all_sums_are_exact);
}

#[test]
fn sums_up_to_the_border_of_a_loop_are_exact() {
    all_sums_are_exact(65_534);
}

#[test]
fn sums_beyond_the_border_of_a_loop_are_exact() {
    all_sums_are_exact(65_537);
}

#[test]
fn sums_of_a_million_equal_terms_are_exact() {
    all_sums_are_exact(1_000_000);
}

/// The turns of each dispatch of a plan.
fn turns(ready: &Ready, target: &Target) -> Result<Vec<usize>> {
    let of = |command: &Command| match command {
        Command::Dispatch(d) => vec![d.kernel.turns()],
        Command::Repeat { tiles, fused, .. } => {
            let body = tiles.iter().flat_map(|t| &t.body).filter(|_| fused.is_empty());
            body.chain(fused).map(|d| d.kernel.turns()).collect()
        }
        Command::Copy { .. } => Vec::new(),
    };
    Ok(ready.try_plan(target)?.recording.commands.iter().flat_map(of).collect())
}

/// A step that is not linear, of two operands and a state.
fn bent(backward: bool) -> Scan {
    let step = Step::new(3, |x| {
        let next = Var::number(0.9) * x[2] + x[0] * x[1];
        vec![next * next, next]
    });
    let states = vec![State::at("s", 0.5)];
    Scan { name: "bent", step, states, emits: Emits::Result, linear: false, backward }
}

fn learn(c: &Case, rows: usize, cols: usize) -> Tensor<'_> {
    let op = Learn { rows, cols, decays: true, based: false, change: [State::at("change", 0.25)] };
    let signal = |cols, scale: f32| c.feed_of(Type::sequence(cols), move |_, x| scale * x);
    let u = signal(rows, 0.1);
    let decay = c.feed_of(Type::sequence(rows), |_, x| 0.1 * x.abs());
    c.scope.apply(op, &[signal(cols, 1.0), u, signal(cols, 1.0), decay])
}

/// Scans in both directions, filters in chunks of time, and a learning rule.
fn through_time(c: &Case) -> Vec<Tensor<'_>> {
    let x = c.feed(Type::sequence(2));
    let both = [false, true].map(|backward| c.scope.apply(bent(backward), &[x, c.parameter(1, 2)]));
    let filter = c.feed(Type::sequence(1)).filter(&lowpass(0.99, 0.01, false));
    vec![both[0], both[0].state(0, true), both[1], filter, learn(c, 2, 3)]
}

#[test]
fn windows_are_as_long_as_wished() {
    // A step of a learning rule turns ten times, of a scan once.
    for steps in [6_553, 6_554, 65_534, 70_000] {
        check(&format!("{steps} steps"), dims(1, steps), 2e-5, through_time);
    }
}

#[test]
fn dispatches_keep_to_the_turns_that_a_device_allows() {
    const MOST: usize = 40;
    for device in devices().iter().filter(|d| d.kind() == DeviceKind::Software) {
        for target in targets(device) {
            let target = Target { max_turns: MOST, ..target };
            let mut cases: Vec<(String, Ready)> =
                sums(7).into_iter().map(|s| (s.0.into(), made(s, 7))).collect();
            // Rows of classes are shared by a workgroup where they are long.
            let rows = ["softmax", "cross-entropy", "accuracy"];
            let cut = sums(150).into_iter().filter(|s| !rows.iter().any(|row| s.0.contains(row)));
            cases.extend(cut.map(|s| (format!("long {}", s.0), made(s, 150))));
            cases.push(("through time".into(), build(dims(1, 600), through_time)));
            for (what, ready) in cases {
                let what = format!("{what} as {:?}", target.family);
                let turns = turns(&ready, &target).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert!(turns.iter().all(|n| *n <= MOST), "{what}: {turns:?}");
                compare(&what, &ready.run_as(device, &target), &ready.reference(), 1e-5);
            }
        }
    }
}

#[test]
fn windows_in_which_a_maximum_lies_are_searched_in_parts() {
    // 300 windows of 300 points: 90,000 looks whether the point is the first of the largest.
    let pool = Pool { window: point(300), channels: 1, of: Of::Max };
    check("adjoint of maxima", dims(2, 1), 1e-6, |c| {
        let (dy, x) = (c.feed(Type::example(300)), of(c, Type::example(1), X));
        vec![c.scope.apply(PoolAdjoint(pool), &[dy, x, of(c, Type::example(300), X)])]
    });
}

#[test]
fn uncuttable_loops_are_refused_with_both_numbers() {
    let [adapter, _] = devices();
    if adapter.kind() != DeviceKind::Software {
        return;
    }
    let pool = Pool { window: point(70_000), channels: 1, of: Of::Max };
    let ready = build(dims(1, 1), |c| {
        let (dy, x) = (x(c, Type::example(70_000)), x(c, Type::example(1)));
        vec![c.scope.apply(PoolAdjoint(pool), &[dy, x, of(c, Type::example(70_000), X)])]
    });
    match ready.try_plan(adapter.target()) {
        Err(Error::TooLong { needed, limit, what, .. }) => {
            assert!(
                needed > 70_000 && limit == 65_535 && what.contains("pool"),
                "{what}: {needed} of {limit}"
            );
        }
        other => panic!("{:?}", other.map(|p| p.calls)),
    }
}
