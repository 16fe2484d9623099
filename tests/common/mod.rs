//! Shared by the tests: devices, small graphs with random sources, and their values in f64.
#![allow(dead_code)]

pub mod golden;
pub mod messages;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::OnceLock;

use nengo_wgpu::internals::builder::gradient::gradient;
use nengo_wgpu::internals::engine::{ALIGN, BufferRef, DeviceKind, Family, Target};
use nengo_wgpu::internals::graph::reference::evaluate;
use nengo_wgpu::internals::graph::{Dims, Graph, Scope, Source, Tensor, Type, ValueId};
use nengo_wgpu::internals::plan::{self, Output, ParameterPlace, Place, Plan, Request};
use nengo_wgpu::network::{Bound, Init, Network, Parameters, TensorNode};
use nengo_wgpu::train::Objective;
use nengo_wgpu::{Checks, Device};

/// Names the adapter that the tests use in place of the software adapter.
const VARIABLE: &str = "NENGO_WGPU_TEST_DEVICE";

/// The root of the project's files: as the test runner says when the tests run, so that they may run on another machine.
pub fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// An adapter and the CPU twin, opened once a process. Without an adapter no test passes.
pub fn devices() -> &'static [Device; 2] {
    static DEVICES: OnceLock<[Device; 2]> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let selector = std::env::var(VARIABLE).unwrap_or_else(|_| "software".into());
        let adapter = Device::select_with(&selector, Checks::On).unwrap_or_else(|e| {
            panic!(
                "the tests need an adapter: install mesa-vulkan-drivers (lavapipe), or name a GPU in {VARIABLE}: {e}"
            )
        });
        [adapter, Device::cpu()]
    })
}

/// The kernels that a device may be given: its own, and those of the other families.
pub fn targets(device: &Device) -> Vec<Target> {
    let own = device.target().clone();
    let mut families = vec![own.family];
    if let Family::Software { subgroup, int64 } = own.family {
        families.extend([Family::Gpu, Family::Software { subgroup: 0, int64: false }]);
        families.extend([int64, false].map(|int64| Family::Software { subgroup, int64 }));
        families.push(Family::Software { subgroup: 0, int64 });
    }
    families.dedup();
    families.into_iter().map(|family| Target { family, ..own.clone() }).collect()
}

/// `n` numbers between `low` and `high`, always the same for one seed (SplitMix64).
pub fn uniform(seed: u64, n: usize, low: f32, high: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    (0..n)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            low + (high - low) * ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
        })
        .collect()
}

/// Sizes of a run.
pub fn dims(batch: usize, steps: usize) -> Dims {
    Dims { batch, steps }
}

/// A graph under construction and the values of its sources.
pub struct Case {
    pub scope: Scope,
    parameters: RefCell<Vec<(Type, Vec<f32>)>>,
    feeds: RefCell<Vec<Vec<f32>>>,
    ids: RefCell<Vec<ValueId>>,
    seed: Cell<u64>,
}

impl Case {
    pub fn new(dims: Dims) -> Self {
        let (parameters, feeds, ids) = Default::default();
        Self { scope: Scope::new(dims), parameters, feeds, ids, seed: Cell::new(7) }
    }

    fn random(&self, ty: Type) -> Vec<f32> {
        self.seed.set(self.seed.get() + 1);
        uniform(self.seed.get(), ty.elements(self.scope.dims()), -1.0, 1.0)
    }

    /// A feed of random numbers between -1 and 1.
    pub fn feed(&self, ty: Type) -> Tensor<'_> {
        self.feed_of(ty, |_, x| x)
    }

    /// A feed with `f(place, random number)` for each element.
    pub fn feed_of(&self, ty: Type, f: impl Fn(usize, f32) -> f32) -> Tensor<'_> {
        let values = self.random(ty).into_iter().enumerate().map(|(i, x)| f(i, x)).collect();
        self.feeds.borrow_mut().push(values);
        self.scope.source(ty, Source::Feed(self.feeds.borrow().len() - 1))
    }

    /// A parameter of random numbers between -1 and 1.
    pub fn parameter(&self, rows: usize, cols: usize) -> Tensor<'_> {
        let ty = Type::fixed(rows, cols);
        let values = self.random(ty);
        self.parameters.borrow_mut().push((ty, values));
        let tensor = self.scope.source(ty, Source::Parameter(self.parameters.borrow().len() - 1));
        self.ids.borrow_mut().push(tensor.id);
        tensor
    }

    /// All parameters in order.
    pub fn parameter_ids(&self) -> Vec<ValueId> {
        self.ids.borrow().clone()
    }

    /// The graph with the values `outputs`, ready to be evaluated.
    pub fn ready(self, outputs: Vec<ValueId>) -> Ready {
        let graph = self.scope.finish().unwrap_or_else(|e| panic!("{e}"));
        Ready { graph, outputs, parameters: self.parameters.into_inner(), feeds: self.feeds.into_inner() }
    }
}

/// A graph, what is wanted of it, and its sources.
#[derive(Clone)]
pub struct Ready {
    pub graph: Graph,
    pub outputs: Vec<ValueId>,
    pub parameters: Vec<(Type, Vec<f32>)>,
    pub feeds: Vec<Vec<f32>>,
}

/// The graph that `f` makes.
pub fn build(dims: Dims, f: impl for<'s> FnOnce(&'s Case) -> Vec<Tensor<'s>>) -> Ready {
    let case = Case::new(dims);
    let outputs = f(&case).iter().map(|t| t.id).collect();
    case.ready(outputs)
}

impl Ready {
    /// The outputs in f64.
    pub fn reference(&self) -> Vec<Vec<f64>> {
        self.reference_with(&self.outputs, |_, _| 0.0)
    }

    /// The values `wanted` in f64 with `add(parameter, element)` added to the parameters.
    pub fn reference_with(&self, wanted: &[ValueId], add: impl Fn(usize, usize) -> f64) -> Vec<Vec<f64>> {
        let wide = |values: &[f32], i: Option<usize>| {
            let one = |(e, &x): (usize, &f32)| f64::from(x) + i.map_or(0.0, |i| add(i, e));
            values.iter().enumerate().map(one).collect()
        };
        let source = |source: &Source| match *source {
            Source::Parameter(i) => wide(&self.parameters[i].1, Some(i)),
            Source::Feed(i) => wide(&self.feeds[i], None),
            _ => Vec::new(),
        };
        evaluate(&self.graph, wanted, source).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Where the parameters lie in shared buffer 0, and its length.
    fn places(&self) -> (Vec<ParameterPlace>, usize) {
        let mut offset = 0;
        let place = |(ty, _): &(Type, Vec<f32>)| {
            let place = ParameterPlace { offset, ty: *ty };
            offset += (ty.rows * ty.cols).next_multiple_of(ALIGN);
            place
        };
        let places = self.parameters.iter().map(place).collect();
        (places, offset.max(ALIGN))
    }

    pub fn try_plan(&self, target: &Target) -> nengo_wgpu::Result<Plan> {
        let outputs = self.outputs.iter().map(|&value| Output { value, place: Place::Keep }).collect();
        plan::plan(Request {
            graph: self.graph.clone(),
            outputs,
            parameters: &self.places().0,
            carry: None,
            target,
            label: "test",
        })
    }

    pub fn plan(&self, target: &Target) -> Plan {
        self.try_plan(target).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The outputs as a device computes them with the kernels for `target`.
    pub fn run_as(&self, device: &Device, target: &Target) -> Vec<Vec<f32>> {
        let plan = self.plan(target);
        let go = || -> nengo_wgpu::Result<Vec<Vec<f32>>> {
            let (places, len) = self.places();
            let mut engine = device.engine();
            let shared = engine.allocate(len, "parameters")?;
            for (place, (_, values)) in places.iter().zip(&self.parameters) {
                engine.write(shared, place.offset, values)?;
            }
            let program = engine.load(&plan.recording, &[shared])?;
            let buffer = |b: BufferRef| match b {
                BufferRef::Local(i) => program.locals[i],
                BufferRef::Shared(_) => shared,
            };
            for (placed, value) in &plan.constants {
                engine.write(buffer(placed.binding.buffer), placed.binding.offset + placed.start, value)?;
            }
            for (feed, placed) in &plan.feeds {
                engine.write(buffer(placed.binding.buffer), placed.binding.offset, &self.feeds[*feed])?;
            }
            engine.submit(&[&program], None)?;
            let read = |p: &nengo_wgpu::internals::graph::Placed| {
                let len = p.ty.elements(self.graph.dims);
                engine.read(buffer(p.binding.buffer), p.binding.offset + p.start, len)
            };
            plan.outputs.iter().map(read).collect()
        };
        go().unwrap_or_else(|e| panic!("on {device}: {e}"))
    }

    pub fn run(&self, device: &Device) -> Vec<Vec<f32>> {
        self.run_as(device, device.target())
    }

    /// Both devices' outputs against f64; the adapter's also with the kernels for graphics processors.
    pub fn check(&self, what: &str, tolerance: f64) {
        let reference = self.reference();
        for device in devices() {
            for target in &targets(device)[..if device.kind() == DeviceKind::Software { 2 } else { 1 }] {
                let what = format!("{what} on {device} as {:?}", target.family);
                compare(&what, &self.run_as(device, target), &reference, tolerance);
            }
        }
    }
}

/// Builds a graph and compares both devices with f64.
pub fn check(what: &str, dims: Dims, tolerance: f64, f: impl for<'s> FnOnce(&'s Case) -> Vec<Tensor<'s>>) {
    build(dims, f).check(what, tolerance);
}

/// The largest difference, as a share of the largest element; infinite where only one of two is not finite.
pub fn deviation(ours: &[f32], reference: &[f64]) -> f64 {
    assert_eq!(ours.len(), reference.len(), "lengths differ");
    let scale = reference.iter().filter(|x| x.is_finite()).fold(1e-6_f64, |a, x| a.max(x.abs()));
    let difference = |(&x, &y): (&f32, &f64)| match (f64::from(x), y) {
        (x, y) if x.is_finite() && y.is_finite() => (x - y).abs() / scale,
        (x, y) if x == y || (x.is_nan() && y.is_nan()) => 0.0,
        _ => f64::INFINITY,
    };
    ours.iter().zip(reference).map(difference).fold(0.0, f64::max)
}

/// Fails where an output is off by more than `tolerance`, see [`deviation`].
pub fn compare(what: &str, ours: &[Vec<f32>], reference: &[Vec<f64>], tolerance: f64) {
    for (i, (ours, reference)) in ours.iter().zip(reference).enumerate() {
        let off = deviation(ours, reference);
        if off > tolerance {
            let at = ours.iter().zip(reference).position(|(x, y)| deviation(&[*x], &[*y]) > tolerance);
            let at = at.unwrap_or(0);
            panic!("{what}, output {i}: off by {off:.2e}, first at {at}: {} for {}", ours[at], reference[at]);
        }
    }
}

/// Gradients of what `f` gives for all parameters of the graph: `dloss/dp` by central differences in f64 against
/// the graph's own, evaluated in f64 (1e-6) and on both devices (1e-5).
pub fn check_gradients(what: &str, dims: Dims, f: impl for<'s> Fn(&'s Case) -> Tensor<'s>) {
    let case = Case::new(dims);
    let outputs: Vec<ValueId> = {
        let loss = f(&case);
        assert_eq!(loss.ty(), Type::fixed(1, 1), "{what}: the loss is one number");
        let parameters = case.parameter_ids();
        let adjoints =
            gradient(&case.scope, loss, &parameters, |_| "p".into()).unwrap_or_else(|e| panic!("{e}"));
        let adjoints = adjoints.into_iter().map(|a| a.unwrap_or_else(|| panic!("{what}: no path")).id);
        [loss.id].into_iter().chain(adjoints).collect()
    };
    let case = case.ready(outputs);
    let numeric = differences(&case);
    let symbolic = case.reference();
    for (i, (symbolic, numeric)) in symbolic[1..].iter().zip(&numeric).enumerate() {
        let narrow: Vec<f32> = symbolic.iter().map(|x| *x as f32).collect();
        let off = deviation(&narrow, numeric);
        assert!(off < 1e-6, "{what}, parameter {i} in f64: off by {off:.2e}\n{symbolic:?}\n{numeric:?}");
    }
    for device in devices() {
        let run = case.run(device);
        for (i, (ours, numeric)) in run[1..].iter().zip(&numeric).enumerate() {
            let off = deviation(ours, numeric);
            println!("{off:.1e} {what}, parameter {i} on {device}");
            assert!(off < 1e-5, "{what}, parameter {i} on {device}: off by {off:.2e}\n{ours:?}\n{numeric:?}");
        }
    }
}

/// Central differences of output 0 for each element of each parameter.
fn differences(case: &Ready) -> Vec<Vec<f64>> {
    const STEP: f64 = 1e-5;
    let loss = |i: usize, e: usize, by: f64| {
        let add = |j, d| if (i, e) == (j, d) { by } else { 0.0 };
        case.reference_with(&case.outputs[..1], add)[0][0]
    };
    let of = |i: usize| {
        let one = |e| (loss(i, e, STEP) - loss(i, e, -STEP)) / (2.0 * STEP);
        (0..case.parameters[i].1.len()).map(one).collect()
    };
    (0..case.parameters.len()).map(of).collect()
}

/// A parameter `p` as it is.
struct Raw;

impl TensorNode for Raw {
    fn pre_build(&self, _: usize, size_out: usize, parameters: &mut Parameters) -> nengo_wgpu::Result<()> {
        parameters.add("p", 1, size_out, Init::Uniform(-1.0, 1.0));
        Ok(())
    }

    fn call<'s>(&self, _: Tensor<'s>, _: Tensor<'s>, parameters: &Bound<'s>) -> Tensor<'s> {
        parameters.get("p")
    }
}

/// A network whose output, probe `p`, is its parameter `x/p` of `n` elements.
pub fn raw(n: usize) -> Network {
    let mut net = Network::new(0);
    let x = net.tensor_node("x", 1, n, Raw).unwrap();
    net.probe("p", x).unwrap();
    net
}

/// `sum(p * g)` with the targets `g` of probe `p`: the gradient is `g`.
pub fn given_gradient() -> Objective {
    Objective::new().custom("product", |t| (t.output("p") * t.target("p")).sum_all())
}

/// The text of what is wrong.
#[track_caller]
pub fn problem<T>(result: nengo_wgpu::Result<T>) -> String {
    result.err().map(|e| e.to_string()).expect("an error")
}
