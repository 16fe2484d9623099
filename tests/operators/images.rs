//! Convolutions, transposed convolutions and pools: the operators against their formulas in f64, the transforms against
//! sums over windows that are written here once more.

use crate::common::messages::Messages;
use crate::common::{check, devices, dims, uniform};
use ndarray::Array2;
use nengo_wgpu::internals::graph::Type;
use nengo_wgpu::internals::op::convolution::Form;
use nengo_wgpu::internals::op::pool::{Of, PoolAdjoint};
use nengo_wgpu::internals::op::{self, Window};
use nengo_wgpu::network::{Connection, Convolution, Init, Network, Node, Padding, Pool, Transform};
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Device, Fit, Options, Simulator};

/// Convolutions of one to three dimensions: odd sizes, strides, windows that begin before the image, groups.
fn convolutions() -> Vec<op::Convolution> {
    let of = |image, kernel, stride, before, windows, [large, small, groups]: [usize; 3]| {
        let window = Window { image, kernel, stride, before, windows };
        op::Convolution { window, large, small, groups, form: Form::Forward }
    };
    vec![
        of([1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 0], [1, 1, 1], [1, 1, 1]),
        of([1, 1, 7], [1, 1, 3], [1, 1, 2], [0, 0, 1], [1, 1, 4], [3, 5, 1]),
        of([1, 1, 2], [1, 1, 5], [1, 1, 1], [0, 0, 2], [1, 1, 2], [2, 1, 1]),
        of([1, 5, 6], [1, 3, 2], [1, 1, 1], [0, 0, 0], [1, 3, 5], [2, 3, 1]),
        of([1, 7, 5], [1, 3, 3], [1, 2, 3], [0, 1, 1], [1, 4, 2], [4, 6, 2]),
        of([1, 6, 6], [1, 2, 2], [1, 3, 3], [0, 0, 0], [1, 2, 2], [3, 3, 3]),
        of([3, 4, 5], [2, 3, 3], [1, 2, 1], [0, 1, 1], [2, 2, 5], [2, 4, 1]),
        of([4, 3, 2], [3, 1, 2], [2, 1, 1], [1, 0, 0], [2, 3, 1], [6, 4, 2]),
        of([1, 12, 12], [1, 5, 5], [1, 1, 1], [0, 2, 2], [1, 12, 12], [4, 8, 1]),
    ]
}

#[test]
fn convolutions_agree_in_every_form() {
    for (i, forward) in convolutions().into_iter().enumerate() {
        for batch in [1, 35] {
            check(&format!("convolution {i} of {batch}"), dims(batch, 2), 2e-5, |c| {
                let as_form = |form| op::Convolution { form, ..forward };
                let (large, small) = (forward.large_cols(), forward.small_cols());
                let (rows, cols) = forward.weights();
                let w = c.parameter(rows, cols);
                let (x, y) = (c.feed(Type::sequence(large)), c.feed(Type::sequence(small)));
                let (held, matrix) = (c.feed(Type::example(small)), c.parameter(3, large));
                vec![
                    x.convolve(forward, w),
                    matrix.convolve(forward, w),
                    y.convolve(as_form(Form::Transposed), w),
                    held.convolve(as_form(Form::Transposed), w),
                    c.scope.apply(as_form(Form::Kernel), &[y, x]),
                    c.scope.apply(as_form(Form::Kernel), &[c.parameter(3, small), matrix]),
                ]
            });
        }
    }
}

#[test]
fn pools_and_their_adjoints_agree() {
    for (i, op::Convolution { window, large: channels, .. }) in convolutions().into_iter().enumerate() {
        for batch in [1, 35] {
            check(&format!("pool {i} of {batch}"), dims(batch, 2), 1e-5, |c| {
                let [mean, max] = [Of::Average, Of::Max].map(|of| op::Pool { window, channels, of });
                let (cols, places) = (window.points() * channels, window.places() * channels);
                // Few values, so that some windows have several largest points; and numbers that went wrong.
                let x = c.feed_of(Type::sequence(cols), |_, x| (4.0 * x).round());
                let wrong = c.feed_of(Type::example(cols), |i, x| if i % 11 == 0 { f32::NAN } else { x });
                let (dy, held) = (c.feed(Type::sequence(places)), c.feed(Type::example(places)));
                vec![
                    x.pool(mean),
                    x.pool(max),
                    wrong.pool(max),
                    c.parameter(3, cols).pool(max),
                    c.scope.apply(PoolAdjoint(mean), &[dy]),
                    c.scope.apply(PoolAdjoint(mean), &[held]),
                    c.scope.apply(PoolAdjoint(max), &[dy, x, x.pool(max)]),
                    c.scope.apply(PoolAdjoint(max), &[held, wrong, wrong.pool(max)]),
                ]
            });
        }
    }
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
        (&[3, 4, 2], &[3, 3], &[2, 2], Same, 1, 3, &[5, 7]),
        (&[3, 4, 4], &[3, 2], &[1, 3], Valid, 2, 6, &[5, 11]),
        (&[3, 4, 4], &[2, 2], &[3, 3], Valid, 1, 1, &[8, 11]),
        (&[2, 3, 2, 2], &[2, 3, 1], &[2, 1, 1], Same, 1, 2, &[3, 3, 2]),
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

/// Of nengo 4.1.0, with the kernel 1, 2, 3… and the image 1, 2, 3….
#[test]
fn transposed_convolutions_have_nengos_sizes_and_values() {
    use Padding::{Same, Valid};
    type Recorded =
        (&'static [usize], &'static [usize], &'static [usize], Padding, &'static [usize], &'static [i32]);
    let recorded: [Recorded; 9] = [
        (&[3, 1], &[3], &[1], Valid, &[5], &[1, 4, 10, 12, 9]),
        (&[3, 1], &[3], &[2], Valid, &[7], &[1, 2, 5, 4, 9, 6, 9]),
        (&[3, 1], &[2], &[3], Valid, &[8], &[1, 2, 0, 2, 4, 0, 3, 6]),
        (
            &[2, 2, 1],
            &[2, 3],
            &[2, 1],
            Valid,
            &[4, 4],
            &[1, 4, 7, 6, 4, 13, 16, 12, 3, 10, 17, 12, 12, 31, 38, 24],
        ),
        (&[3, 1], &[3], &[1], Same, &[3], &[4, 10, 12]),
        (&[3, 1], &[3], &[2], Same, &[5], &[2, 5, 4, 9, 6]),
        (&[3, 1], &[2], &[3], Same, &[7], &[1, 2, 0, 2, 4, 0, 3]),
        (&[2, 2, 1], &[2, 3], &[2, 1], Same, &[3, 2], &[4, 7, 13, 16, 10, 17]),
        (
            &[2, 3, 1],
            &[3, 2],
            &[3, 3],
            Same,
            &[4, 7],
            &[3, 4, 0, 6, 8, 0, 9, 5, 6, 0, 10, 12, 0, 15, 4, 8, 0, 5, 10, 0, 6, 12, 16, 0, 15, 20, 0, 18],
        ),
    ];
    for (shape, kernel, strides, padding, out, values) in recorded {
        let weights = (1..=kernel.iter().product::<usize>()).map(|x| x as f32).collect();
        let described = Convolution::new(1, shape).kernel_size(kernel).strides(strides).padding(padding);
        let described = described.init(Init::Values(weights));
        assert_eq!(described.output_shape_transposed().unwrap(), [out, &[1]].concat(), "{described:?}");
        let x: Vec<f32> = (1..=shape.iter().product::<usize>()).map(|x| x as f32).collect();
        let want: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
        for device in devices() {
            let twice = [&x[..], &x[..]].concat();
            let transform = Transform::ConvolutionTranspose(described.clone());
            let (ours, _) = through(transform, values.len(), &twice, device);
            close(&format!("{described:?} on {device}"), &ours, &[&want[..], &want[..]].concat());
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

/// An input of 5 and a node of 4, connected by `spec`.
fn connected(spec: Connection) -> nengo_wgpu::Result<Network> {
    let mut net = Network::new(3);
    let x = net.node("x", Node::Input(5))?;
    let y = net.node("y", Node::Passthrough(4))?;
    net.connect(x, y, spec)?;
    Ok(net)
}

#[test]
fn images_of_the_wrong_shape_are_refused() {
    let said = Messages::of("images of the wrong shape are refused");
    let refused = |transform: Transform| {
        said.error(connected(Connection::new().transform(transform)));
    };
    let line = |filters| Convolution::new(filters, [5, 1]);
    let of = Transform::Convolution;
    refused(of(Convolution::new(1, [6, 1])));
    refused(of(line(2)));
    refused(of(line(1).kernel_size([6])));
    refused(of(line(1).kernel_size([3, 3])));
    refused(of(line(1).strides([0])));
    refused(of(line(3).groups(2)));
    refused(of(line(0)));
    refused(of(Convolution::new(1, [5])));
    refused(of(Convolution::new(1, vec![])));
    refused(of(Convolution::new(usize::MAX, [5, 1])));
    refused(of(line(1).kernel_size([2]).init(Init::Zeros).strides([usize::MAX])));
    refused(of(line(1).kernel_size([2]).init(Init::Values(vec![1.0]))));
    let back = Transform::ConvolutionTranspose;
    refused(back(line(1).strides([usize::MAX])));
    refused(back(line(1)));
    refused(Transform::Pool(Pool::max([5, 1]).pool_size([6])));
    refused(Transform::Pool(Pool::max([5, 1])));
    // The refused connections left nothing behind.
    let mut net = connected(Connection::new().pre(0..4)).unwrap();
    let (x, y) = (net.find("x").unwrap(), net.find("y").unwrap());
    assert!(net.connect(x, y, Connection::new().transform(of(line(2)))).is_err());
    assert!(net.parameters().is_empty());
}

#[test]
fn a_network_of_images_from_toml_learns_which_half_is_brighter() {
    let said = Messages::of("a network of images from toml learns which half is brighter");
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
    let build = |toml: &str| NetworkSpec::parse(toml, "net.toml").and_then(|spec| spec.build());
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
    said.error(build(&toml.replace("n-filters", "filters")));
    said.error(build(&toml.replace("[6, 6, 4]", "[6, 4]")));
}
