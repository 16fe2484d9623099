//! Connections between parts of objects, and through every transform.

use crate::common::messages::Messages;
use crate::common::{devices, uniform};
use ndarray::{Array2, Array3};
use nengo_wgpu::network::{Connection, Init, Network, Node, Slice, Sparse, Synapse, Transform};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Device, Error, Fit, Options, Simulator};

/// The record of probe `y` in 6 steps of two examples of random inputs `x`.
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
            let by_hand = Connection { synapse: synapse.clone(), ..c().transform(dense(&rows)) };
            let sliced = network(Connection { synapse: synapse.clone(), ..spec.clone() }).unwrap();
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
    let said = Messages::of("slices count as python does");
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
    for text in [
        "5",
        "[0, -6]",
        "0:6",
        "-7:",
        "2:2",
        "3:1",
        "::0",
        "",
        "[]",
        "a:b",
        "1:2:3:4",
        "1.5",
        "0:99999999999999999999",
    ] {
        said.error(of(text, 5));
    }
    // A number that wrapped around below zero is not taken for the last dimension.
    assert!(Slice::from(0_usize.wrapping_sub(1)).indices(5).is_err());
}

#[test]
fn slices_out_of_bounds_are_refused_with_object_index_and_size() {
    let said = Messages::of("slices out of bounds are refused with object index and size");
    let c = Connection::new;
    let refused = |spec: Connection| {
        said.error(network(spec.clone()));
    };
    refused(c().pre([0, 5]));
    refused(c().post(4));
    refused(c().pre(0..6));
    refused(c().post(2..2));
    refused(c().pre(Vec::<i32>::new()));
    refused(c().pre(0..3));
    refused(c().pre(0..3).post([0, 1]));
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
fn sparse_entries_out_of_bounds_are_refused() {
    let said = Messages::of("sparse entries out of bounds are refused");
    let refused = |rows: Vec<usize>, cols: Vec<usize>, init| {
        let spec = Connection::new().transform(Transform::Sparse(Sparse { rows, cols, init }));
        said.error(network(spec));
    };
    refused(vec![0, 4], vec![0, 0], Init::Zeros);
    refused(vec![0, 3], vec![5, 0], Init::Zeros);
    refused(vec![0, 3], vec![5], Init::Zeros);
    refused(vec![0], vec![0], Init::Values(vec![1.0, 2.0]));
    refused(vec![], vec![], Init::Zeros);
    refused(vec![0], vec![0], Init::Constant(f32::NAN));
}

#[test]
fn sparse_weights_learn_as_dense_ones_do() {
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
    let said = Messages::of("toml errors show the text and what is allowed");
    for (pre, more) in [
        ("x[0:a]", ""),
        ("x[]", ""),
        ("x[9]", ""),
        ("z[0]", ""),
        ("x", "transform = { sparse = { rows = [0], cols = [0] } }"),
        ("x", "transform = { sparce = 1 }"),
        ("x", "transform = \"one\""),
    ] {
        said.error(build(&connected(pre, "y", more)));
    }
}

#[test]
fn a_layer_takes_its_size_from_a_slice() {
    let said = Messages::of("a layer takes its size from a slice");
    let layer = "[[layer]]\nname = \"l\"\nactivation = \"relu\"\n";
    let net = build(&format!("{layer}{}", connected("x[1:3]", "l", ""))).unwrap();
    assert_eq!(net.size_out(net.find("l").unwrap()).unwrap(), 2);
    // Into a part of the layer, nothing follows.
    said.error(build(&format!("{layer}{}", connected("x[1:3]", "l[0:2]", ""))));
}
