//! NengoDL's training of a circular convolution, and its parameters; `tests/golden/README.md` describes the file.

use std::collections::HashSet;
use std::fs::File;

use ndarray::{Array2, ArrayD, Axis, Ix2, s};
use ndarray_npy::NpzReader;
use nengo_wgpu::internals::neuron::RectifiedLinear;
use nengo_wgpu::network::library::CircularConvolution;
use nengo_wgpu::network::{Connection, Network, Node, ProbeId};
use nengo_wgpu::train::{EpsilonAt, Loss, Objective, Optimiser, Training};
use nengo_wgpu::{Data, Fit, Options, Simulator};

use crate::common::devices;

/// The network of the file: the trace in `a`, the cue in `b`, and a probe of what was bound to the cue.
fn retrieval() -> (Network, ProbeId) {
    let mut net = Network::new(0);
    net.config.ensemble.neuron_type = Some(RectifiedLinear { amplitude: 1.0 }.into());
    let cconv = CircularConvolution { invert_b: true, ..CircularConvolution::new(3, 4) };
    let cconv = cconv.add(&mut net, "cconv").unwrap();
    for (name, input) in [("trace", cconv.input_a), ("cue", cconv.input_b)] {
        let node = net.node(name, Node::Input(4)).unwrap();
        net.connect(node, input, Connection::new()).unwrap();
    }
    let probe = net.probe("p", cconv.output).unwrap();
    (net, probe)
}

/// The names of parameters here and in the file.
fn names() -> Vec<(String, String)> {
    let mut names = vec![
        ("cconv.input_a->cconv.product.input_a/weights".to_string(), "in_a".to_string()),
        ("cconv.input_b->cconv.product.input_b/weights".into(), "in_b".into()),
        ("cconv.product.output->cconv.output/weights".into(), "out".into()),
    ];
    for q in ["sq1", "sq2"] {
        let mut add = |ours: String, file: &str| names.push((ours, format!("{q}/{file}")));
        add(format!("cconv.product.input_a->cconv.product.{q}/weights"), "scale_a");
        add(format!("cconv.product.input_b->cconv.product.{q}/weights"), "scale_b");
        add(format!("cconv.product.{q}.square->cconv.product.output/weights"), "scale_out");
        add(format!("cconv.product.{q}/encoders"), "encoders");
        add(format!("cconv.product.{q}/bias"), "bias");
        add(format!("cconv.product.{q}.square/decoders"), "square");
    }
    names
}

fn difference<'a>(a: impl IntoIterator<Item = &'a f32>, b: &ArrayD<f32>) -> f32 {
    a.into_iter().zip(b).fold(0.0, |m, (x, y)| m.max((x - y).abs()))
}

#[test]
fn a_circular_convolution_trains_as_in_nengo_dl() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/retrieval_small.npz");
    let mut file = NpzReader::new(File::open(path).unwrap()).unwrap();
    let mut get =
        |name: &str| -> ArrayD<f32> { file.by_name(name).unwrap_or_else(|e| panic!("{name}: {e}")) };
    let [trace, cue, target] =
        ["trace", "cue", "target"].map(|name| get(name).into_dimensionality::<Ix2>().unwrap());
    let part = |x: &Array2<f32>, i: usize| x.slice(s![5 * i..5 * (i + 1), ..]).to_owned();
    let inputs = |i: usize| Data::new().with("trace", part(&trace, i)).with("cue", part(&cue, i));
    let (net, probe) = retrieval();
    let trained: HashSet<_> = net.parameters().iter().filter(|p| p.trainable).map(|p| &p.name).collect();
    assert_eq!(trained, names().iter().map(|(ours, _)| ours).collect());
    let (rho, momentum, epsilon, epsilon_at) = (0.9, 0.0, 1e-7, EpsilonAt::Root);
    let outside = Optimiser::RmsProp { rho, momentum, epsilon, epsilon_at, centered: false };
    let inside = Optimiser::rmsprop_keras();
    let runs = [("sgd", Optimiser::sgd()), ("rmsprop_outside", outside), ("rmsprop_inside", inside)];
    for (device, (run, optimiser)) in devices().iter().flat_map(|d| runs.map(|run| (d, run))) {
        let mut sim = Simulator::with(&net, device, Options { minibatch: 5, ..Options::default() }).unwrap();
        for (ours, name) in names() {
            let (own, start) = (sim.parameter(&ours).unwrap(), get(&format!("initial/{name}")));
            assert_eq!(own.len(), start.len(), "{ours}");
            // Matrices and numbers start as Nengo's do; the rest is drawn and solved for.
            let is_given = name.starts_with("in_") || name == "out" || name.contains("scale");
            assert!(!is_given || difference(&own, &start) < 1e-6, "{ours}: {own} for {start}");
            let start = Array2::from_shape_vec(own.dim(), start.into_iter().collect()).unwrap();
            sim.set_parameter(&ours, &start).unwrap();
        }
        let first = sim.predict(&inputs(0)).unwrap()[&probe].index_axis(Axis(1), 0).to_owned();
        assert!(difference(&first, &get("output")) < 1e-6, "{run} on {device}");
        let rate = get(&format!("{run}/learning_rate"))[[]];
        let training = Training::new(Objective::new().loss("p", Loss::MeanSquared), rate);
        sim.compile(training.optimiser(optimiser).in_order()).unwrap();
        let losses = get(&format!("{run}/loss"));
        for (i, wanted) in losses.iter().enumerate() {
            let targets = Data::new().with("p", part(&target, i));
            let report = sim.fit(&inputs(i), &targets, &Fit::epochs(1)).unwrap().remove(0);
            let off = (report.loss / f64::from(*wanted) - 1.0).abs();
            assert!(off < 1e-5, "{run} on {device}: the loss of step {i} is {} for {wanted}", report.loss);
        }
        for (ours, name) in names() {
            let (gradient, after) =
                (get(&format!("{run}/gradient5/{name}")), get(&format!("{run}/after5/{name}")));
            let largest = gradient.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            let off = difference(&sim.gradient(&ours).unwrap(), &gradient);
            assert!(off < 1e-5 * largest, "{run} on {device}: the gradient of {ours} is off by {off:e}");
            let off = difference(&sim.parameter(&ours).unwrap(), &after);
            assert!(off < 1e-5, "{run} on {device}: {ours} is off by {off:e}");
        }
    }
}
