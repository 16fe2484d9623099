//! Connections between parts of objects, and through every transform.

mod common;

use common::{devices, uniform};
use ndarray::{Array2, Array3};
use nengo_wgpu::network::{
    Connection, Convolution, Init, Network, NetworkSpec, Node, Padding, Pool, Slice, Sparse, Synapse,
    Transform,
};
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Device, Error, Fit, Options, Simulator};

/// What probe `y` of a network records in 6 steps of two examples of random inputs `x`.
fn outputs(net: &Network, device: &Device, size: usize) -> Array3<f32> {
    let mut sim = Simulator::with(net, device, Options { minibatch: 2, ..Options::default() }).unwrap();
    let x = Array3::from_shape_vec((2, 6, size), uniform(5, 12 * size, -1.0, 1.0)).unwrap();
    sim.run_steps(6, &Data::new().with("x", x)).unwrap();
    sim.data(net.find_probe("y").unwrap()).unwrap().clone()
}

/// An input of 5 and a node of 4, connected by `spec`, which gets half of what it had in the step before as well.
fn network(spec: Connection) -> nengo_wgpu::Result<Network> {
    let mut net = Network::new(3);
    let x = net.node("x", Node::Input(5))?;
    let y = net.node("y", Node::Passthrough(4))?;
    net.connect(x, y, spec)?;
    let back = Connection::new().synapse(Synapse::Lowpass(0.0)).transform(Transform::Scalar(0.5));
    net.connect(y, y, back)?;
    net.probe("y", y)?;
    Ok(net)
}

/// A dense transform with `rows` of numbers.
fn dense(rows: &[[f32; 5]; 4]) -> Transform {
    Transform::Dense(Init::Values(rows.concat()))
}

/// The text of what is wrong.
#[track_caller]
fn problem<T>(result: nengo_wgpu::Result<T>) -> String {
    result.err().map(|e| e.to_string()).expect("an error")
}

#[test]
fn a_sliced_connection_is_the_dense_one_built_by_hand() {
    let c = Connection::new;
    let (o, z) = (1.0, [0.0; 5]);
    let one = |i: usize| std::array::from_fn(|j| f32::from(i == j));
    let stepped = Slice::stepped(None, None, 2);
    let backward = Slice::stepped(Some(3), None, -1);
    for (spec, rows) in [
        (c().pre(0..4), [one(0), one(1), one(2), one(3)]),
        (c().pre(1..), [one(1), one(2), one(3), one(4)]),
        (c().pre(..2).post(2..4), [z, z, one(0), one(1)]),
        (c().pre(-2..).post(1..=2), [z, one(3), one(4), z]),
        (c().pre(-1).post(0), [one(4), z, z, z]),
        (c().pre([2, 0, 4]).post(0..3), [one(2), one(0), one(4), z]),
        (c().pre([1, 1, 1, -5]), [one(1), one(1), one(1), one(0)]),
        (c().pre(0..2).post([2, 0]), [one(1), z, one(0), z]),
        (c().pre(0..3).post([3, 1, 3]), [z, one(1), z, [o, 0.0, o, 0.0, 0.0]]),
        (c().pre(stepped).post(vec![0_usize, 3, 3]), [one(0), z, z, [0.0, 0.0, o, 0.0, o]]),
        (c().pre(backward), [one(3), one(2), one(1), one(0)]),
        (
            c().pre(3..5).post([0, 2]).transform(Transform::Dense(Init::Values(vec![1.0, 2.0, 3.0, 4.0]))),
            [[0.0, 0.0, 0.0, 1.0, 2.0], z, [0.0, 0.0, 0.0, 3.0, 4.0], z],
        ),
    ] {
        for synapse in [None, Some(Synapse::Lowpass(0.003))] {
            let by_hand = Connection { synapse, ..c().transform(dense(&rows)) };
            let sliced = network(Connection { synapse, ..spec.clone() }).unwrap();
            let by_hand = network(by_hand).unwrap();
            for device in devices() {
                let (ours, theirs) = (outputs(&sliced, device, 5), outputs(&by_hand, device, 5));
                assert!(theirs.iter().any(|x| *x != 0.0));
                let off = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off < 1e-6, "{spec:?} {synapse:?} on {device}: off by {off}\n{ours}\n{theirs}");
            }
        }
    }
}

#[test]
fn slices_count_as_python_does() {
    let of = |text: &str, size| {
        text.parse::<Slice>().and_then(|s| s.indices(size).map_err(|e| Error::invalid("", e)))
    };
    for (text, want) in [
        (":", vec![0, 1, 2, 3, 4]),
        ("2", vec![2]),
        ("-1", vec![4]),
        ("1:3", vec![1, 2]),
        (" 1 : 3 ", vec![1, 2]),
        ("-2:", vec![3, 4]),
        (":-3", vec![0, 1]),
        ("::2", vec![0, 2, 4]),
        ("1::3", vec![1, 4]),
        ("::-1", vec![4, 3, 2, 1, 0]),
        ("5::-2", vec![4, 2, 0]),
        ("3:0:-1", vec![3, 2, 1]),
        ("-1:-4:-2", vec![4, 2]),
        ("[2,0,1]", vec![2, 0, 1]),
        ("[-1, -1]", vec![4, 4]),
        ("0:5:100", vec![0]),
    ] {
        assert_eq!(of(text, 5).unwrap(), want, "{text}");
        let shown = text.parse::<Slice>().unwrap().to_string();
        assert_eq!(of(&shown, 5).unwrap(), want, "{text} is shown as {shown}");
    }
    for (text, parts) in [
        ("5", ["5", "5 dimensions"]),
        ("[0, -6]", ["-6", "5 dimensions"]),
        ("0:6", ["6", "5 dimensions"]),
        ("-7:", ["-7", "5 dimensions"]),
        ("2:2", ["none", "5 dimensions"]),
        ("3:1", ["none", "5 dimensions"]),
        ("::0", ["step", "0"]),
        ("", ["''", "start:stop"]),
        ("[]", ["'[]'", "[2, 0, 1]"]),
        ("a:b", ["'a:b'", "start:stop:step"]),
        ("1:2:3:4", ["'1:2:3:4'", "whole numbers"]),
        ("1.5", ["'1.5'", "whole numbers"]),
        ("0:99999999999999999999", ["'0:99999999999999999999'", "whole numbers"]),
    ] {
        let error = problem(of(text, 5));
        assert!(parts.iter().all(|p| error.contains(p)), "{text}: {error}");
    }
    // A number that wrapped around below zero is not taken for the last dimension.
    assert!(Slice::from(0_usize.wrapping_sub(1)).indices(5).is_err());
}

#[test]
fn slices_that_do_not_fit_are_told_with_object_index_and_size() {
    let c = Connection::new;
    let refused = |spec: Connection, parts: &[&str]| {
        let error = problem(network(spec.clone()));
        assert!(parts.iter().all(|p| error.contains(p)), "{spec:?}: {error}");
    };
    refused(c().pre([0, 5]), &["'x[[0, 5]]'", "index 5", "5 dimensions"]);
    refused(c().post(4), &["'y[[4]]'", "index 4", "4 dimensions"]);
    refused(c().pre(0..6), &["'x[0:6]'", "bound 6", "5 dimensions"]);
    refused(c().post(2..2), &["'y[2:2]'", "none of its 4"]);
    refused(c().pre(Vec::<i32>::new()), &["'x[[]]'", "none of its 5"]);
    refused(c().pre(0..3), &["'x[0:3]'", "is 3", "'y'", "is 4", "dense transform"]);
    refused(c().pre(0..3).post([0, 1]), &["'x[0:3]'", "is 3", "'y[[0, 1]]'", "is 2"]);
}

#[test]
fn a_sparse_transform_is_the_dense_one() {
    let values = vec![0.5, -2.0, 3.0, 0.25, 1.0];
    // Entry (3, 1) is there twice.
    let sparse = |init| Sparse { rows: vec![3, 0, 2, 3, 0], cols: vec![1, 4, 2, 1, 0], init };
    let rows = [[1.0, 0.0, 0.0, 0.0, -2.0], [0.0; 5], [0.0, 0.0, 3.0, 0.0, 0.0], [0.0, 0.75, 0.0, 0.0, 0.0]];
    let ours = Connection::new().transform(Transform::Sparse(sparse(Init::Values(values))));
    let (ours, theirs) =
        (network(ours).unwrap(), network(Connection::new().transform(dense(&rows))).unwrap());
    assert_eq!(ours.parameters()[0].init, Init::Values(vec![1.0, -2.0, 3.0, 0.75]));
    for device in devices() {
        let (ours, theirs) = (outputs(&ours, device, 5), outputs(&theirs, device, 5));
        let off = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-6, "{device}: {off}");
    }
    // Two entries meet in a sum at most, and as many leave an input: the limits are those of one row and column.
    let random = Connection::new().transform(Transform::Sparse(sparse(Init::Glorot)));
    let limit = 3.0_f32.sqrt();
    assert_eq!(network(random).unwrap().parameters()[0].init, Init::Uniform(-limit, limit));
}

#[test]
fn sparse_entries_that_do_not_fit_are_told() {
    let refused = |rows: Vec<usize>, cols: Vec<usize>, init, parts: &[&str]| {
        let spec = Connection::new().transform(Transform::Sparse(Sparse { rows, cols, init }));
        let error = problem(network(spec));
        assert!(parts.iter().all(|p| error.contains(p)), "{error}");
    };
    refused(vec![0, 4], vec![0, 0], Init::Zeros, &["x->y", "row 4", "[4, 5]"]);
    refused(vec![0, 3], vec![5, 0], Init::Zeros, &["x->y", "column 5", "[4, 5]"]);
    refused(vec![0, 3], vec![5], Init::Zeros, &["x->y", "2 rows", "1 columns"]);
    refused(vec![0], vec![0], Init::Values(vec![1.0, 2.0]), &["x->y", "1 rows", "2 values"]);
    refused(vec![], vec![], Init::Zeros, &["x->y", "no entries"]);
    refused(vec![0], vec![0], Init::Constant(f32::NAN), &["x->y/weights", "NaN"]);
}

#[test]
fn sparse_weights_learn_what_the_dense_ones_would() {
    // Each output is a fixed multiple of an input: the weights are found exactly.
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(3)).unwrap();
    let y = net.node("y", Node::Passthrough(2)).unwrap();
    let sparse = Sparse { rows: vec![0, 1], cols: vec![2, 0], init: Init::Zeros };
    net.connect(x, y, Connection::new().transform(Transform::Sparse(sparse))).unwrap();
    net.probe("p", y).unwrap();
    for device in devices() {
        let mut sim = Simulator::with(&net, device, Options { minibatch: 8, ..Options::default() }).unwrap();
        sim.compile(Training::new(Objective::new().loss("p", Loss::MeanSquared), 0.5)).unwrap();
        let x = Array2::from_shape_vec((32, 3), uniform(2, 96, -1.0, 1.0)).unwrap();
        let y =
            Array2::from_shape_fn((32, 2), |(i, j)| if j == 0 { 3.0 * x[(i, 2)] } else { -0.5 * x[(i, 0)] });
        sim.fit(&Data::new().with("x", x), &Data::new().with("p", y), &Fit::epochs(60)).unwrap();
        let weights = sim.parameter("x->y/weights").unwrap();
        let off = (weights[(0, 0)] - 3.0).abs().max((weights[(0, 1)] + 0.5).abs());
        assert!(off < 1e-3, "{device}: {weights}");
    }
}

fn build(toml: &str) -> nengo_wgpu::Result<Network> {
    NetworkSpec::parse(toml, "net.toml")?.build()
}

const NODES: &str = "[[node]]\nname = \"x\"\nsize = 5\n[[node]]\nname = \"y\"\npassthrough = 4\n";

/// A connection from one end to another with further settings, as TOML.
fn connected(pre: &str, post: &str, more: &str) -> String {
    let probe = "[[probe]]\nname = \"y\"\ntarget = \"y\"\n";
    format!("{NODES}{probe}[[connection]]\npre = \"{pre}\"\npost = \"{post}\"\n{more}\n")
}

#[test]
fn connections_from_toml_are_those_built_by_calls() {
    let c = Connection::new;
    let sparse = Sparse { rows: vec![3, 0], cols: vec![1, 4], init: Init::Values(vec![0.5, -2.0]) };
    for (pre, post, more, spec) in [
        ("x[0:4]", "y", "", c().pre(0..4)),
        ("x[[2,0,1]]", "y[1:]", "", c().pre([2, 0, 1]).post(1..)),
        ("x[-1]", "y[1]", "transform = 2", c().pre(-1).post(1).transform(Transform::Scalar(2.0))),
        ("x[::-2]", "y[[0, 3, 3]]", "", c().pre(Slice::stepped(None, None, -2)).post([0, 3, 3])),
        (
            "x",
            "y",
            "transform = { sparse = { rows = [3, 0], cols = [1, 4], init = { values = [0.5, -2] } } }",
            c().transform(Transform::Sparse(sparse)),
        ),
    ] {
        let ours = build(&connected(pre, post, more)).unwrap();
        let mut theirs = Network::new(0);
        let x = theirs.node("x", Node::Input(5)).unwrap();
        let y = theirs.node("y", Node::Passthrough(4)).unwrap();
        theirs.connect(x, y, spec).unwrap();
        theirs.probe("y", y).unwrap();
        assert_eq!(ours.parameters(), theirs.parameters());
        let [_, cpu] = devices();
        let (ours, theirs) = (outputs(&ours, cpu, 5), outputs(&theirs, cpu, 5));
        assert!(ours == theirs && ours.iter().any(|x| *x != 0.0), "{pre} -> {post} {more}");
    }
}

#[test]
fn toml_errors_show_the_text_and_what_is_allowed() {
    for (pre, more, parts) in [
        ("x[0:a]", "", &["'0:a'", "start:stop", "[2, 0, 1]"][..]),
        ("x[]", "", &["''", "start:stop"]),
        ("x[9]", "", &["'x[[9]]'", "index 9", "5 dimensions"]),
        ("z[0]", "", &["'z'", "x, y"]),
        ("x", "transform = { sparse = { rows = [0], cols = [0] } }", &["net.toml:", "init"]),
        ("x", "transform = { sparce = 1 }", &["sparce", "sparse", "dense"]),
        ("x", "transform = \"one\"", &["number", "dense"]),
    ] {
        let error = problem(build(&connected(pre, "y", more)));
        assert!(parts.iter().all(|p| error.contains(p)), "{pre} {more}: {error}");
    }
}

#[test]
fn a_layer_takes_its_size_from_a_slice() {
    let layer = "[[layer]]\nname = \"l\"\nactivation = \"relu\"\n";
    let net = build(&format!("{layer}{}", connected("x[1:3]", "l", ""))).unwrap();
    assert_eq!(net.size_out(net.find("l").unwrap()).unwrap(), 2);
    // Into a part of the layer, nothing follows.
    let error = problem(build(&format!("{layer}{}", connected("x[1:3]", "l[0:2]", ""))));
    assert!(error.contains("'l'") && error.contains("size-in"), "{error}");
}

/// Sizes of an image or window along its one to three dimensions, as three, the missing ones first.
fn three(sizes: &[usize], missing: usize) -> [usize; 3] {
    let mut all = [missing; 3];
    all[3 - sizes.len()..].copy_from_slice(sizes);
    all
}

/// All places in three sizes.
fn places(size: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..size[0]).flat_map(move |z| (0..size[1]).flat_map(move |y| (0..size[2]).map(move |x| [z, y, x])))
}

fn index(at: [usize; 3], size: [usize; 3]) -> usize {
    (at[0] * size[1] + at[1]) * size[2] + at[2]
}

/// Windows of an image as TensorFlow pads it: calls `f(window, kernel element, point)` with the numbers of each.
fn windows(
    image: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    out: [usize; 3],
    padding: Padding,
    mut f: impl FnMut(usize, usize, usize),
) {
    let before = [0, 1, 2].map(|i| {
        let over = (out[i] - 1) * stride[i] + kernel[i];
        if padding == Padding::Same { over.saturating_sub(image[i]) / 2 } else { 0 }
    });
    for q in places(out) {
        for o in places(kernel) {
            let at = [0, 1, 2].map(|i| (q[i] * stride[i] + o[i]) as isize - before[i] as isize);
            if (0..3).all(|i| at[i] >= 0 && (at[i] as usize) < image[i]) {
                f(index(q, out), index(o, kernel), index(at.map(|i| i as usize), image));
            }
        }
    }
}

/// An input through a transform to a node of the right size, and what the probe on it records of `x`.
fn through(transform: Transform, size_out: usize, x: &[f32], device: &Device) -> (Vec<f32>, Network) {
    let mut net = Network::new(1);
    let input = net.node("x", Node::Input(x.len() / 2)).unwrap();
    let y = net.node("y", Node::Passthrough(size_out)).unwrap();
    net.connect(input, y, Connection::new().transform(transform)).unwrap_or_else(|e| panic!("{e}"));
    net.probe("y", y).unwrap();
    let mut sim = Simulator::with(&net, device, Options { minibatch: 2, ..Options::default() }).unwrap();
    let x = Array2::from_shape_vec((2, x.len() / 2), x.to_vec()).unwrap();
    sim.run_steps(1, &Data::new().with("x", x)).unwrap();
    (sim.data(net.find_probe("y").unwrap()).unwrap().iter().copied().collect(), net)
}

#[track_caller]
fn close(what: &str, ours: &[f32], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let off = ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(off < 2e-5, "{what}: off by {off}");
}

/// Input shape, kernel, strides, padding, groups, filters, and the size of the result.
type Case = (&'static [usize], &'static [usize], &'static [usize], Padding, usize, usize, &'static [usize]);

#[test]
fn convolutions_are_the_sums_over_their_windows() {
    use Padding::{Same, Valid};
    let cases: [Case; 8] = [
        (&[9, 2], &[3], &[1], Valid, 1, 4, &[7]),
        (&[9, 2], &[4], &[2], Same, 1, 3, &[5]),
        (&[6, 5, 3], &[3, 3], &[1, 1], Valid, 1, 2, &[4, 3]),
        (&[6, 5, 3], &[3, 2], &[1, 1], Same, 1, 2, &[6, 5]),
        (&[7, 8, 4], &[3, 5], &[2, 3], Same, 2, 6, &[4, 3]),
        (&[7, 8, 4], &[2, 1], &[3, 2], Valid, 4, 4, &[2, 4]),
        (&[4, 5, 3, 2], &[2, 3, 3], &[1, 2, 1], Same, 1, 3, &[4, 3, 3]),
        (&[4, 5, 3, 2], &[4, 2, 1], &[1, 1, 2], Valid, 2, 2, &[1, 4, 2]),
    ];
    for (shape, kernel, strides, padding, groups, filters, out) in cases {
        let (sizes, channels) = (&shape[..shape.len() - 1], shape[shape.len() - 1]);
        let area: usize = kernel.iter().product();
        let group_in = channels / groups;
        // Nengo's kernel, `[.., group_in, filters]`; its transpose is what is stored.
        let nengo = uniform(9, area * group_in * filters, -1.0, 1.0);
        let stored: Vec<f32> = (0..nengo.len())
            .map(|i| nengo[i % (area * group_in) * filters + i / (area * group_in)])
            .collect();
        let x = uniform(4, 2 * shape.iter().product::<usize>(), -1.0, 1.0);
        let points = x.len() / 2;
        let size_out = filters * out.iter().product::<usize>();
        let mut want = vec![0.0; 2 * size_out];
        let (image, k, s, o) = (three(sizes, 1), three(kernel, 1), three(strides, 1), three(out, 1));
        windows(image, k, s, o, padding, |q, element, point| {
            for (b, f, c) in places([2, filters, group_in]).map(|[b, f, c]| (b, f, c)) {
                let from = f / (filters / groups) * group_in + c;
                want[b * size_out + q * filters + f] += f64::from(x[b * points + point * channels + from])
                    * f64::from(nengo[(element * group_in + c) * filters + f]);
            }
        });
        let described =
            Convolution::new(filters, shape).kernel_size(kernel).strides(strides).padding(padding);
        let described = described.groups(groups).init(Init::Values(stored));
        assert_eq!(described.output_shape().unwrap(), [out, &[filters]].concat());
        for device in devices() {
            let transform = Transform::Convolution(described.clone());
            let (ours, net) = through(transform, size_out, &x, device);
            let p = &net.parameters()[0];
            assert_eq!((p.name.as_str(), p.rows, p.cols), ("x->y/weights", filters, area * group_in));
            close(&format!("{described:?} on {device}"), &ours, &want);
        }
    }
}

#[test]
fn transposed_convolutions_write_a_kernel_for_each_point() {
    use Padding::{Same, Valid};
    let cases: [Case; 6] = [
        (&[4, 2], &[3], &[1], Valid, 1, 3, &[6]),
        (&[4, 2], &[3], &[2], Valid, 1, 3, &[9]),
        (&[3, 4, 2], &[3, 3], &[2, 2], Same, 1, 3, &[6, 8]),
        (&[3, 4, 4], &[3, 2], &[1, 3], Valid, 2, 6, &[5, 12]),
        (&[3, 4, 4], &[2, 2], &[3, 3], Valid, 1, 1, &[9, 12]),
        (&[2, 3, 2, 2], &[2, 3, 1], &[2, 1, 1], Same, 1, 2, &[4, 3, 2]),
    ];
    for (shape, kernel, strides, padding, groups, filters, out) in cases {
        let (sizes, channels) = (&shape[..shape.len() - 1], shape[shape.len() - 1]);
        let area: usize = kernel.iter().product();
        let (group_in, group_out) = (channels / groups, filters / groups);
        let weights = uniform(9, channels * area * group_out, -1.0, 1.0);
        let x = uniform(4, 2 * shape.iter().product::<usize>(), -1.0, 1.0);
        let points = x.len() / 2;
        let size_out = filters * out.iter().product::<usize>();
        let mut want = vec![0.0; 2 * size_out];
        let (small, k, s, o) = (three(sizes, 1), three(kernel, 1), three(strides, 1), three(out, 1));
        windows(o, k, s, small, padding, |q, element, point| {
            for [b, c, f] in places([2, channels, group_out]) {
                let to = point * filters + c / group_in * group_out + f;
                want[b * size_out + to] += f64::from(x[b * points + q * channels + c])
                    * f64::from(weights[(c * area + element) * group_out + f]);
            }
        });
        let described =
            Convolution::new(filters, shape).kernel_size(kernel).strides(strides).padding(padding);
        let described = described.groups(groups).init(Init::Values(weights));
        assert_eq!(described.output_shape_transposed().unwrap(), [out, &[filters]].concat());
        for device in devices() {
            let transform = Transform::ConvolutionTranspose(described.clone());
            let (ours, _) = through(transform, size_out, &x, device);
            close(&format!("{described:?} on {device}"), &ours, &want);
        }
    }
}

#[test]
fn pools_are_means_and_maxima_of_their_windows() {
    use Padding::{Same, Valid};
    let cases: [Case; 5] = [
        (&[7, 3], &[2], &[2], Valid, 1, 3, &[3]),
        (&[7, 3], &[3], &[2], Same, 1, 3, &[4]),
        (&[6, 5, 2], &[2, 2], &[2, 2], Valid, 1, 2, &[3, 2]),
        (&[6, 5, 2], &[3, 3], &[1, 2], Same, 1, 2, &[6, 3]),
        (&[4, 3, 5, 2], &[2, 3, 2], &[2, 1, 2], Same, 1, 2, &[2, 3, 3]),
    ];
    for (shape, kernel, strides, padding, _, channels, out) in cases {
        let x = uniform(6, 2 * shape.iter().product::<usize>(), -1.0, 1.0);
        let points = x.len() / 2;
        let size_out = channels * out.iter().product::<usize>();
        let mut seen: Vec<Vec<f64>> = vec![Vec::new(); 2 * size_out];
        let (image, k) = (three(&shape[..shape.len() - 1], 1), three(kernel, 1));
        windows(image, k, three(strides, 1), three(out, 1), padding, |q, _, point| {
            for [b, c, _] in places([2, channels, 1]) {
                seen[b * size_out + q * channels + c].push(f64::from(x[b * points + point * channels + c]));
            }
        });
        let means: Vec<f64> = seen.iter().map(|v| v.iter().sum::<f64>() / v.len() as f64).collect();
        let tops: Vec<f64> = seen.iter().map(|v| v.iter().copied().fold(f64::MIN, f64::max)).collect();
        for (pool, want) in [(Pool::average(shape), means), (Pool::max(shape), tops)] {
            let pool = pool.pool_size(kernel).strides(strides).padding(padding);
            assert_eq!(pool.output_shape().unwrap(), [out, &[channels]].concat());
            for device in devices() {
                let (ours, net) = through(Transform::Pool(pool.clone()), size_out, &x, device);
                assert!(net.parameters().is_empty());
                close(&format!("{pool:?} on {device}"), &ours, &want);
            }
        }
    }
    assert_eq!(Pool::max([6, 8, 2]).output_shape().unwrap(), [3, 4, 2]);
    assert_eq!(Pool::max([9, 2]).pool_size([3]).output_shape().unwrap(), [3, 2]);
}

#[test]
fn kernels_start_by_their_fans() {
    let start = |transform: Transform, size_out| through(transform, size_out, &[0.0; 64], &devices()[1]).1;
    // 3 x 3 elements of 2 channels meet in a sum; each input goes to 3 x 3 places of 4 filters.
    let described = Convolution::new(4, [4, 4, 2]).padding(Padding::Same);
    let net = start(Transform::Convolution(described.clone()), 64);
    let limit = (6.0_f32 / (18.0 + 36.0)).sqrt();
    assert_eq!(net.parameters()[0].init, Init::Uniform(-limit, limit));
    let net = start(Transform::Convolution(described.clone().init(Init::He)), 64);
    assert_eq!(net.parameters()[0].init, Init::Normal(0.0, (2.0_f32 / 18.0).sqrt()));
    let net = start(Transform::ConvolutionTranspose(described.init(Init::He)), 64);
    assert_eq!(net.parameters()[0].init, Init::Normal(0.0, (2.0_f32 / 18.0).sqrt()));
}

#[test]
fn images_that_do_not_fit_are_told() {
    let refused = |transform: Transform, parts: &[&str]| {
        let error = problem(network(Connection::new().transform(transform)));
        assert!(parts.iter().all(|p| error.contains(p)), "{parts:?}: {error}");
    };
    let line = |filters| Convolution::new(filters, [5, 1]);
    let of = Transform::Convolution;
    refused(of(Convolution::new(1, [6, 1])), &["x->y", "[6, 1]", "5 values"]);
    refused(of(line(2)), &["'x'", "transform", "is 6", "'y'", "is 4"]);
    refused(of(line(1).kernel_size([6])), &["x->y", "kernel of 6", "5"]);
    refused(of(line(1).kernel_size([3, 3])), &["x->y", "[3, 3]", "1 numbers", "[5, 1]"]);
    refused(of(line(1).strides([0])), &["x->y", "strides [0]", "at least 1"]);
    refused(of(line(3).groups(2)), &["x->y", "1 channels", "3 filters", "2 groups"]);
    refused(of(line(0)), &["x->y", "0 filters"]);
    refused(of(Convolution::new(1, [5])), &["x->y", "[5]", "channels"]);
    refused(of(Convolution::new(1, vec![])), &["x->y", "empty"]);
    refused(of(Convolution::new(usize::MAX, [5, 1])), &["x->y", "too large"]);
    refused(of(line(1).kernel_size([2]).init(Init::Zeros).strides([usize::MAX])), &["'x'", "is 1", "is 4"]);
    refused(
        of(line(1).kernel_size([2]).init(Init::Values(vec![1.0]))),
        &["x->y/weights", "[1, 2]", "1 values"],
    );
    let back = Transform::ConvolutionTranspose;
    refused(back(line(1).strides([usize::MAX])), &["x->y", "too large"]);
    refused(back(line(1)), &["'x'", "is 7", "is 4"]);
    refused(Transform::Pool(Pool::max([5, 1]).pool_size([6])), &["x->y", "kernel of 6", "5"]);
    refused(Transform::Pool(Pool::max([5, 1])), &["'x'", "is 2", "is 4"]);
    // What was refused left nothing behind.
    let mut net = network(Connection::new().pre(0..4)).unwrap();
    let (x, y) = (net.find("x").unwrap(), net.find("y").unwrap());
    assert!(net.connect(x, y, Connection::new().transform(of(line(2)))).is_err());
    assert!(net.parameters().is_empty());
}

#[test]
fn a_network_of_images_from_toml_learns_which_half_is_brighter() {
    let toml = r#"
[[node]]
name = "image"
size = 36

[[layer]]
name = "features"
activation = "relu"

[[layer]]
name = "small"

[[layer]]
name = "class"
input = "small"
units = 2

[[connection]]
pre = "image"
post = "features"
transform = { convolution = { n-filters = 4, input-shape = [6, 6, 1], padding = "same", init = "he" } }

[[connection]]
pre = "features"
post = "small"
transform = { pool = { of = "max", input-shape = [6, 6, 4] } }

[[probe]]
name = "p"
target = "class"
"#;
    let net = build(toml).unwrap();
    assert_eq!(net.size_out(net.find("small").unwrap()).unwrap(), 36);
    for device in devices() {
        let mut sim = Simulator::with(&net, device, Options { minibatch: 16, ..Options::default() }).unwrap();
        sim.compile(Training::new(Objective::new().loss("p", Loss::CrossEntropy), 0.1)).unwrap();
        let mut x = Array2::from_shape_vec((64, 36), uniform(1, 64 * 36, 0.0, 0.5)).unwrap();
        let y = Array2::from_shape_fn((64, 1), |(i, _)| (i % 2) as f32);
        for ((i, j), x) in x.indexed_iter_mut() {
            *x += f32::from((j % 6 < 3) == (i % 2 == 0));
        }
        let before = sim.parameter("image->features/weights").unwrap();
        let data = (Data::new().with("image", x), Data::new().with("p", y));
        let reports = sim.fit(&data.0, &data.1, &Fit::epochs(20)).unwrap();
        assert!(reports[19].loss < 0.1 * reports[0].loss, "{device}: {reports:?}");
        assert_ne!(sim.parameter("image->features/weights").unwrap(), before);
    }
    let error = problem(build(&toml.replace("n-filters", "filters")));
    assert!(
        error.contains("net.toml:") && error.contains("`filters`") && error.contains("`n-filters`"),
        "{error}"
    );
    let error = problem(build(&toml.replace("[6, 6, 4]", "[6, 4]")));
    assert!(
        error.contains("features->small") && error.contains("[6, 4]") && error.contains("144"),
        "{error}"
    );
}
