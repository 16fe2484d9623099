//! Functions on connections from objects other than ensembles: exact, on the device or on the host.

use crate::common::devices;
use crate::common::messages::Messages;
use ndarray::{Array2, s};
use nengo_wgpu::network::{
    Connection, Ensemble, Function, Init, Layer, LearningRule, Network, Node, ObjectId, Process, Transform,
};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Device, Fit, Options, Simulator};

const STEPS: usize = 30;

/// Rows of three values between -1 and 1.
fn rows() -> Array2<f32> {
    Array2::from_shape_vec((STEPS, 3), crate::common::uniform(5, 3 * STEPS, -1.0, 1.0)).unwrap()
}

fn text(text: &str) -> Function {
    Function::parse(text).unwrap()
}

/// The values of a function for each row of a node, on a device.
fn through(function: &Function, size: usize, device: &Device) -> Array2<f32> {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Array(rows())).unwrap();
    let y = net.node("y", Node::Passthrough(size)).unwrap();
    net.connect(x, y, Connection::new().function(function.clone())).unwrap();
    let p = net.probe("p", y).unwrap();
    let mut sim = Simulator::new(&net, device).unwrap();
    sim.run_steps(STEPS, &Data::new()).unwrap();
    sim.data(p).unwrap().slice(s![0, .., ..]).to_owned()
}

type OfRow = fn(&[f64]) -> Vec<f64>;

#[test]
fn functions_of_signals_are_exact_on_every_device() {
    let cases: [(&str, OfRow); 18] = [
        ("identity", |x| x.to_vec()),
        ("square", |x| x.iter().map(|x| x * x).collect()),
        ("abs", |x| x.iter().map(|x| x.abs()).collect()),
        ("sin", |x| x.iter().map(|x| x.sin()).collect()),
        ("cos", |x| x.iter().map(|x| x.cos()).collect()),
        ("zero", |x| vec![0.0; x.len()]),
        ("product", |x| vec![x[0] * x[1] * x[2]]),
        ("sum", |x| vec![x[0] + x[1] + x[2]]),
        ("norm", |x| vec![(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]).sqrt()]),
        ("x0 * x1 - 2 * x2", |x| vec![x[0] * x[1] - 2.0 * x[2]]),
        ("x2; 0.25; -x0", |x| vec![x[2], 0.25, -x[0]]),
        ("x0^2 / (1 + abs(x1)); x1^-3 * x1^4", |x| vec![x[0] * x[0] / (1.0 + x[1].abs()), x[1]]),
        ("exp(x0) + log(1.5 + x1); sqrt(x2 + 1); (x2 + 1)^0.5", |x| {
            vec![x[0].exp() + (1.5 + x[1]).ln(), (x[2] + 1.0).sqrt(), (x[2] + 1.0).sqrt()]
        }),
        ("abs(x0)^x1; tan(x0); tanh(3 * x1)", |x| {
            vec![x[0].abs().powf(x[1]), x[0].tan(), (3.0 * x[1]).tanh()]
        }),
        ("sign(x0); floor(5 * x1); ceil(5 * x1); sin(pi * x2) + cos(20 * x2)", |x| {
            let (pi, sign) = (std::f64::consts::PI, x[0].signum());
            vec![sign, (5.0 * x[1]).floor(), (5.0 * x[1]).ceil(), (pi * x[2]).sin() + (20.0 * x[2]).cos()]
        }),
        ("min(x0, x1 + 0.1); max(x0, min(x1, x2)); 2 ^ 3 - 1", |x| {
            vec![x[0].min(x[1] + 0.1), x[0].max(x[1].min(x[2])), 7.0]
        }),
        ("x0 > 0; x0 <= x1; x1 >= x1; x0 == x0; x0 != x0; 2*x0 < x1 + x2", |x| {
            let one = |is: bool| f64::from(is);
            vec![one(x[0] > 0.0), one(x[0] <= x[1]), 1.0, 1.0, 0.0, one(2.0 * x[0] < x[1] + x[2])]
        }),
        (
            "where(x0 > 0, x1, -x2); where((x0 > 0) * (x1 > 0), 1, where(x2, 2, 3)); where(1 < 2, x0, x1)",
            |x| {
                let first = if x[0] > 0.0 { x[1] } else { -x[2] };
                vec![first, if x[0] > 0.0 && x[1] > 0.0 { 1.0 } else { 2.0 }, x[0]]
            },
        ),
    ];
    for (name, f) in cases {
        let size = f(&[0.0; 3]).len();
        for device in devices() {
            let found = through(&text(name), size, device);
            // The same function as a closure is called on the host.
            let called = through(&Function::new(f), size, device);
            for ((x, y), called) in rows().rows().into_iter().zip(found.rows()).zip(called.rows()) {
                let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
                for ((y, called), want) in y.iter().zip(called).zip(f(&x)) {
                    let near = |y: &f32| (f64::from(*y) - want).abs() <= 3e-6 * (1.0 + want.abs());
                    assert!(
                        near(y) && near(called),
                        "{name} of {x:?} on {device}: {y} and {called} for {want}"
                    );
                }
            }
        }
    }
}

/// Each step adds to x half of the function of the value a step before.
fn circle(function: Function, device: &Device) -> (Vec<f32>, Vec<String>) {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Array(rows())).unwrap();
    let sum = net.node("sum", Node::Passthrough(1)).unwrap();
    net.connect(x, sum, Connection::new().pre(0..1)).unwrap();
    let back = Connection::new().function(function).transform(Transform::Scalar(0.5)).synapse(0.0);
    net.connect(sum, sum, back).unwrap();
    let p = net.probe("p", sum).unwrap();
    let mut sim = Simulator::new(&net, device).unwrap();
    sim.run_steps(STEPS, &Data::new()).unwrap();
    (sim.data(p).unwrap().iter().copied().collect(), sim.warnings())
}

#[test]
fn functions_on_a_cycle_are_computed_step_by_step() {
    let f = |x: f64| (3.0 * x).sin() + x.abs().powf(1.5);
    let mut before = 0.0;
    let next = |x: &f32| {
        before = f64::from(*x) + 0.5 * before;
        let now = before;
        before = f(before);
        now
    };
    let wanted: Vec<f64> = rows().column(0).iter().map(next).collect();
    for device in devices() {
        let (found, warnings) = circle(text("sin(3 * x) + abs(x)^1.5"), device);
        let (called, warned) = circle(Function::new(move |x: &[f64]| vec![f(x[0])]), device);
        for ((y, called), want) in found.iter().zip(&called).zip(&wanted) {
            assert!((f64::from(*y) - want).abs() < 1e-4, "{device}: {found:?} for {wanted:?}");
            assert!((f64::from(*called) - want).abs() < 1e-4, "{device}: {called:?} for {wanted:?}");
        }
        assert!(warnings.is_empty());
        assert!(
            warned.len() == 1 && warned[0].contains("the function of connection 'sum->sum'"),
            "{warned:?}"
        );
    }
}

/// A layer whose units go through the function, and from there to the output.
fn layered(function: Function) -> Network {
    let mut net = Network::new(3);
    let x = net.node("x", Node::Input(2)).unwrap();
    let hidden = net.layer("hidden", Layer::dense(3), x).unwrap();
    let y = net.node("y", Node::Passthrough(2)).unwrap();
    let dense = Transform::Dense(Init::Glorot);
    net.connect(hidden, y, Connection::new().function(function).transform(dense)).unwrap();
    net.probe("p", y).unwrap();
    net
}

fn compiled(net: &Network, device: &Device) -> nengo_wgpu::Result<Simulator> {
    let mut sim = Simulator::with(net, device, Options { minibatch: 4, ..Options::default() })?;
    sim.compile(Training::new(Objective::new().loss("p", Loss::MeanSquared), 0.1))?;
    Ok(sim)
}

fn examples() -> (Data, Data) {
    let values = |seed| Array2::from_shape_vec((4, 2), crate::common::uniform(seed, 8, -1.0, 1.0)).unwrap();
    (Data::new().with("x", values(1)), Data::new().with("p", values(2)))
}

#[test]
fn weights_before_a_function_are_trained_through_it() {
    let functions = [
        "square",
        "product",
        "norm",
        "sin",
        "x0 * x1; (x2^2 + 1)^x0; exp(-x1^2)",
        "where(x0 > 0, x0^2, 3 * x1); max(x1, x2) * (x0 >= -1.5); min(x0, 0.2)",
    ];
    let (inputs, targets) = examples();
    for device in devices() {
        for name in functions {
            let mut sim = compiled(&layered(text(name)), device).unwrap();
            for checked in sim.check_gradients(&inputs, &targets, None, 20).unwrap() {
                assert!(checked.comparable && checked.error() < 1e-3, "{name} on {device}: {checked:?}");
            }
            let reports = sim.fit(&inputs, &targets, &Fit::epochs(20)).unwrap();
            assert!(reports[19].loss < reports[0].loss, "{name} on {device}");
        }
    }
}

#[test]
fn the_norm_and_the_zeroth_power_of_nothing_have_gradients() {
    let (inputs, targets) = (Data::new().with("x", Array2::zeros((4, 2))), examples().1);
    for name in ["norm", "x0^0 * x1"] {
        let mut sim = compiled(&layered(text(name)), &Device::cpu()).unwrap();
        // Layers begin with a bias of zero, so that the function is that of zeros.
        sim.fit(&inputs, &targets, &Fit::epochs(1)).unwrap();
        assert!(sim.parameter("hidden/weights").unwrap().iter().all(|w| w.is_finite()), "{name}");
    }
}

#[test]
fn nan_compares_with_nothing_on_every_device() {
    // Of one column each; the root of a number below zero is NaN.
    let function =
        text("sqrt(x0) > 0; sqrt(x0) <= 1; sqrt(x0) == sqrt(x0); sqrt(x0) != 1; where(sqrt(x0) < 1, 2, 3)");
    for device in devices() {
        let found = through(&function, 5, device);
        let is_nan = rows().column(0).map(|x| *x < 0.0);
        assert!(is_nan.iter().any(|nan| *nan));
        for (row, _) in found.rows().into_iter().zip(&is_nan).filter(|(_, nan)| **nan) {
            assert_eq!(row.to_vec(), [0.0, 0.0, 0.0, 1.0, 3.0], "on {device}");
        }
    }
}

#[test]
fn a_closure_passes_no_gradient_and_gives_a_warning() {
    let said = Messages::of("a closure passes no gradient and gives a warning");
    let net = layered(Function::new(|x: &[f64]| vec![x[0] * x[1]]));
    let sim = compiled(&net, &Device::cpu());
    let (inputs, targets) = examples();
    said.text(match sim.and_then(|mut sim| sim.fit(&inputs, &targets, &Fit::epochs(1))) {
        Ok(_) => panic!("a closure has no gradient"),
        Err(error) => error.to_string(),
    });
}

#[test]
fn the_transform_follows_the_function_and_slices_come_before_and_after() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Array(rows())).unwrap();
    let y = net.node("y", Node::Passthrough(4)).unwrap();
    let spread = Transform::Dense(Init::Values(vec![2.0, -1.0]));
    let connection =
        Connection::new().pre(vec![2, 0]).post(1..3).function(text("x0 - x1 * x1")).transform(spread);
    net.connect(x, y, connection).unwrap();
    let p = net.probe("p", y).unwrap();
    for device in devices() {
        let mut sim = Simulator::new(&net, device).unwrap();
        sim.run_steps(STEPS, &Data::new()).unwrap();
        for (x, y) in rows().rows().into_iter().zip(sim.data(p).unwrap().slice(s![0, .., ..]).rows()) {
            let f = x[2] - x[0] * x[0];
            for (y, want) in y.iter().zip([0.0, 2.0 * f, -f, 0.0]) {
                assert!((y - want).abs() < 1e-6, "{device}");
            }
        }
    }
}

#[test]
fn the_output_of_an_array_goes_through_a_function_as_it_is() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Constant(vec![0.5, -0.5])).unwrap();
    let array = net.ensemble("array", Ensemble::array(50, 2)).unwrap();
    let y = net.node("y", Node::Passthrough(1)).unwrap();
    net.connect(x, array, Connection::new()).unwrap();
    let output = net.output_of(array).unwrap();
    net.connect(output, y, Connection::new().function(text("x0 * x1"))).unwrap();
    let (decoded, product) = (net.probe("decoded", array).unwrap(), net.probe("product", y).unwrap());
    let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
    sim.run_steps(50, &Data::new()).unwrap();
    let decoded = sim.data(decoded).unwrap();
    for (x, y) in decoded.slice(s![0, .., ..]).rows().into_iter().zip(sim.data(product).unwrap().iter()) {
        assert!((x[0] * x[1] - y).abs() < 1e-6);
    }
}

#[test]
fn a_file_says_functions_of_signals_too() {
    let toml = r#"
        [[node]]
        name = "x"
        process = { piecewise = { times = [0.0], values = [[0.5, -2.0]] } }
        [[layer]]
        name = "y"
        [[connection]]
        pre = "x"
        post = "y"
        function = "x0 * x1; x1^2; 1"
        [[probe]]
        name = "p"
        target = "y"
    "#;
    // The layer has as many dimensions as the function gives values.
    let net = NetworkSpec::parse(toml, "net.toml").unwrap().build().unwrap();
    for device in devices() {
        let mut sim = Simulator::new(&net, device).unwrap();
        sim.run_steps(1, &Data::new()).unwrap();
        let p = net.find_probe("p").unwrap();
        assert_eq!(sim.data(p).unwrap().iter().copied().collect::<Vec<f32>>(), [-1.0, 4.0, 1.0]);
    }
}

fn refused(
    add: impl FnOnce(&mut Network, ObjectId) -> nengo_wgpu::Result<nengo_wgpu::network::ConnectionId>,
) -> String {
    let mut net = Network::new(0);
    let x = net.node("x", Node::process(Process::from(nengo_wgpu::network::Noise::white(2)))).unwrap();
    let before = net.parameters().len();
    let problem = add(&mut net, x).map(|_| ()).unwrap_err().to_string();
    assert_eq!((net.parameters().len(), net.connection_ids().count()), (before, 0));
    problem
}

#[test]
fn functions_that_do_not_fit_a_signal_are_refused() {
    let said = Messages::of("functions that do not fit a signal are refused");
    let to = |connection: fn() -> Connection| {
        refused(move |net, x| {
            let y = net.node("y", Node::Passthrough(3))?;
            net.connect(x, y, connection())
        })
    };
    let new = Connection::new;
    said.text(to(|| new_text("x0 * x1")));
    said.text(to(|| new_text("x0; x1; x2")));
    said.text(to(|| Connection::new().function(|_: &[f64]| Vec::new())));
    said.text(to(|| new_text("square").weights(Init::Zeros)));
    said.text(to(|| Connection::new().eval_points(Array2::zeros((3, 2)))));
    let mut two = new();
    two.decoding.functions = vec![text("square"), text("abs")];
    let problem = refused(move |net, x| {
        let y = net.node("y", Node::Passthrough(2))?;
        net.connect(x, y, two)
    });
    said.text(problem);
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(2)).unwrap();
    let a = net.layer("a", Layer::dense(2), x).unwrap();
    let y = net.node("y", Node::Passthrough(2)).unwrap();
    let learned =
        new_text("square").transform(Transform::Dense(Init::Zeros)).learning_rule(LearningRule::pes());
    said.error(net.connect(a, y, learned));
}

fn new_text(f: &str) -> Connection {
    Connection::new().function(text(f))
}

#[test]
fn a_closure_that_fails_ends_the_run_and_leaves_the_simulator_usable() {
    let said = Messages::of("a closure that fails ends the run and leaves the simulator usable");
    let run = |f: fn(&[f64]) -> Vec<f64>| {
        let mut net = Network::new(0);
        let x = net.node("x", Node::Input(1)).unwrap();
        let y = net.node("y", Node::Passthrough(1)).unwrap();
        net.connect(x, y, Connection::new().function(f)).unwrap();
        let p = net.probe("p", y).unwrap();
        let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
        let with = |x: f32| Data::new().with("x", Array2::from_elem((1, 1), x));
        let problem = sim.run_steps(3, &with(1.0)).unwrap_err().to_string();
        said.text(&problem);
        sim.run_steps(2, &with(-1.0)).unwrap();
        assert_eq!(sim.data(p).unwrap().iter().copied().collect::<Vec<f32>>(), [-2.0, -2.0]);
        problem
    };
    let size = run(|x| vec![2.0 * x[0]; if x[0] > 0.0 { 2 } else { 1 }]);
    said.text(&size);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let panicked = run(|x| if x[0] > 0.0 { panic!("out of coffee") } else { vec![2.0 * x[0]] });
    std::panic::set_hook(hook);
    said.text(&panicked);
}
