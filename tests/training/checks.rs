//! The check of gradients: no alarm where a gradient is right, however odd the network is, and one where it is not.

use crate::common::devices;
use ndarray::{Array2, Array3, array};
use nengo_wgpu::internals::engine::Dispatch;
use nengo_wgpu::internals::expr::Expr;
use nengo_wgpu::internals::expr::Unary;
use nengo_wgpu::internals::graph::{Adjoint, Lower, Operator, Reference, Tensor, Type};
use nengo_wgpu::internals::neuron::{
    AdaptiveLif, AdaptiveLifRate, Izhikevich, Leaky, LeakyRelu, Lif, LifRate, NeuronType, RectifiedLinear,
    Sigmoid, SoftLifRate, Spiking, Tanh,
};
use nengo_wgpu::internals::op::Map;
use nengo_wgpu::network::{
    Activation, Bound, Connection, Convolution, Ensemble, Function, Init, Layer, Network, Neurons, Node,
    ObjectId, Parameters, Pool, Sparse, Synapse, TensorNode, Transform,
};
use nengo_wgpu::train::{Loss, Objective, Over, Penalty, Surrogate, Training};
use nengo_wgpu::{CheckedGradient, Data, Device, Error, Options, Result, Signal, Simulator, Verdict};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Draws networks.
struct Draw(Pcg64Mcg);

/// An object and its dimensions.
type Block = Result<(ObjectId, usize)>;

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn numbers(&mut self, n: usize) -> Vec<f32> {
        let scale = self.one(&[1.0, 1.0, 1.0, 0.0, 100.0]);
        // Equal ones, and zeros.
        let whole = self.below(3) == 0;
        let mut one = || {
            let x: f32 = self.0.random_range(-1.0..1.0);
            scale * if whole { (2.0 * x).round() } else { x }
        };
        (0..n).map(|_| one()).collect()
    }

    fn init(&mut self) -> Init {
        let wide = Init::Uniform(-1.0, 1.0);
        let far = Init::Choice(vec![2000.0, 0.0, -2000.0, 100.0, 3.0]);
        let starts =
            [Init::Glorot, Init::He, wide, Init::Zeros, Init::Constant(0.5), Init::Uniform(-30.0, 30.0), far];
        // The ordinary ones more often.
        let at = self.below(12);
        starts[if at < 7 { at } else { at % 3 }].clone()
    }

    fn activation(&mut self) -> Activation {
        use Activation::*;
        self.one(&[Identity, Relu, LeakyRelu(0.1), Sigmoid, Tanh, Softplus, Gelu, Square, Abs, Softmax, Exp])
    }

    fn neuron(&mut self) -> NeuronType {
        let rate = || NeuronType::from(LifRate::default());
        self.one(&[
            Lif::default().into(),
            rate(),
            SoftLifRate::default().into(),
            AdaptiveLif::default().into(),
            AdaptiveLifRate::default().into(),
            RectifiedLinear::default().into(),
            NeuronType::SpikingRectifiedLinear(RectifiedLinear::default()),
            NeuronType::SpikingLeakyRelu(LeakyRelu::default()),
            LeakyRelu::default().into(),
            Sigmoid::default().into(),
            Tanh::default().into(),
            Izhikevich::default().into(),
            Leaky::default().into(),
            NeuronType::regular_spiking(rate()),
            NeuronType::poisson_spiking(rate()),
            NeuronType::stochastic_spiking(rate()),
        ])
    }

    fn synapse(&mut self) -> Synapse {
        self.one(&[
            Synapse::Lowpass(0.002),
            Synapse::Lowpass(0.1),
            Synapse::Alpha(0.005),
            Synapse::Lowpass(0.0),
        ])
    }

    fn dense(&mut self) -> Connection {
        Connection::new().transform(Transform::Dense(self.init()))
    }

    /// Another object behind `from`, of `size` dimensions, and its dimensions.
    fn block(&mut self, net: &mut Network, name: &str, from: ObjectId, size: usize) -> Block {
        let units = 1 + self.below(5);
        let to = match self.below(12) {
            0..=2 => {
                let dropout = self.one(&[0.0, 0.0, 0.3]);
                let layer = Layer::dense(units).activation(self.activation()).dropout(dropout);
                (net.layer(name, layer.init(self.init()), from)?, units)
            }
            3 => (net.layer(name, Layer::elementwise(self.activation()), from)?, size),
            4 => {
                let neuron = self.neuron();
                let neurons = net.neurons(name, Neurons::new(units, neuron))?;
                net.connect(from, neurons, self.dense())?;
                (neurons, units)
            }
            5 => {
                (net.layer(name, Layer::dense(units).neurons(self.neuron()).init(self.init()), from)?, units)
            }
            6 => self.ensemble(net, name, from, size)?,
            7 => {
                let layer = Layer::dense(units).activation(self.activation());
                let recurrent = net.unconnected_layer(name, layer.init(self.init()), size)?;
                net.connect(from, recurrent, Connection::new())?;
                let back = Transform::Dense(Init::Uniform(-0.5, 0.5));
                let back = Connection::new().transform(back).synapse(self.synapse());
                net.connect(recurrent, recurrent, back.named(&format!("{name} back")))?;
                (recurrent, units)
            }
            8 if size >= 3 => {
                let filters = 1 + self.below(2);
                let convolution = Convolution::new(filters, vec![size, 1]).init(self.init());
                let n = (size - 2) * filters;
                let image = net.node(name, Node::Passthrough(n))?;
                net.connect(from, image, Connection::new().transform(Transform::Convolution(convolution)))?;
                (image, n)
            }
            9 if size >= 2 => {
                let shape = vec![size, 1];
                let pool = if self.below(2) == 0 { Pool::max(shape) } else { Pool::average(shape) };
                let image = net.node(name, Node::Passthrough(size / 2))?;
                net.connect(from, image, Connection::new().transform(Transform::Pool(pool)))?;
                (image, size / 2)
            }
            10 if size >= 2 => {
                let texts =
                    ["max(x0, x1)", "abs(x0 - x1)", "min(x0, x1); x0 * x1", "sin(x0)", "x0 / (1 + x1^2)"];
                let function = Function::parse(self.one(&texts))?;
                let n = function.size_out("it", size)?;
                let result = net.node(name, Node::Passthrough(n))?;
                net.connect(from, result, Connection::new().function(function))?;
                (result, n)
            }
            _ => self.sum(net, name, from, size)?,
        };
        Ok(to)
    }

    /// An ensemble with a node that its decoded values, or their squares, go to.
    fn ensemble(&mut self, net: &mut Network, name: &str, from: ObjectId, size: usize) -> Block {
        let neuron =
            self.one(&[Lif::default().into(), LifRate::default().into(), RectifiedLinear::default().into()]);
        let neuron: NeuronType = neuron;
        let ensemble = net.ensemble(name, Ensemble::new(12, size).neuron_type(neuron))?;
        net.connect(from, ensemble, Connection::new())?;
        let sum = net.node(&format!("{name} out"), Node::Passthrough(size))?;
        let square = |x: &[f64]| x.iter().map(|x| x * x).collect();
        let synapse = Connection::new().synapse(self.synapse());
        net.connect(ensemble, sum, if self.below(2) == 0 { synapse.function(square) } else { synapse })?;
        Ok((sum, size))
    }

    /// A node behind one of the transforms that keep the size.
    fn sum(&mut self, net: &mut Network, name: &str, from: ObjectId, size: usize) -> Block {
        let sum = net.node(name, Node::Passthrough(size))?;
        let entries =
            Sparse { rows: (0..size).collect(), cols: (0..size).rev().collect(), init: self.init() };
        let transform = self.one(&[
            Transform::Identity,
            Transform::Scalar(-2.0),
            Transform::Vector(Init::Uniform(-1.0, 1.0)),
            Transform::Sparse(entries),
        ]);
        let connection = Connection::new().transform(transform);
        let filtered = self.below(2) == 0;
        net.connect(from, sum, if filtered { connection.synapse(self.synapse()) } else { connection })?;
        Ok((sum, size))
    }

    fn spiking(&mut self) -> Spiking {
        let surrogates = [
            Surrogate::FastSigmoid(5.0),
            Surrogate::Arctan(2.0),
            Surrogate::Triangle(1.0),
            Surrogate::StraightThrough,
        ];
        let surrogate = Spiking::Surrogate(self.one(&surrogates));
        self.one(&[Spiking::RateSwap, Spiking::SmoothRateSwap(0.1), surrogate, Spiking::RateGradient(0.1)])
    }

    fn objective(&mut self) -> Objective {
        let over = self.one(&[Over::Every, Over::Every, Over::Last, Over::Sum, Over::Mean]);
        let loss = self.one(&[
            Loss::MeanSquared,
            Loss::MeanAbsolute,
            Loss::Huber(0.5),
            Loss::CrossEntropy,
            Loss::CrossEntropy,
        ]);
        let objective = Objective::new().loss("y", loss).over(over);
        match self.below(5) {
            0 => objective
                .activity("y", self.one(&[Penalty::L1(0.1), Penalty::L2Half(0.1), Penalty::Norm(0.1)])),
            1 => objective.custom("norm", |terms| terms.output("y").square().sum_all().sqrt()),
            _ => objective,
        }
    }
}

/// The check of the network of a seed; nothing where its loss is not finite, or where it cannot be built.
fn checked(seed: u64, device: &Device) -> Option<Vec<CheckedGradient>> {
    let mut draw = Draw(Pcg64Mcg::seed_from_u64(seed));
    let (batch, steps, size) = (1 + draw.below(3), 1 + draw.below(6), 1 + draw.below(6));
    let mut net = Network::new(seed);
    let x = net.node("x", Node::Input(size)).unwrap();
    let mut end = (x, size);
    for k in 0..1 + draw.below(4) {
        // A name of its own for each.
        end = draw.block(&mut net, &format!("b{k}"), end.0, end.1).unwrap_or_else(|e| panic!("{seed}: {e}"));
    }
    let outputs = 1 + draw.below(4);
    let y = net.layer("y", Layer::dense(outputs).init(draw.init()), end.0).unwrap();
    net.probe("y", y).unwrap();
    let objective = draw.objective();
    let values = draw.numbers(batch * steps * size);
    let inputs: Signal = match draw.below(2) {
        0 => Array3::from_shape_vec((batch, steps, size), values).unwrap().into(),
        _ => Array2::from_shape_vec((batch, size), values[..batch * size].to_vec()).unwrap().into(),
    };
    let mut targets = Array2::from_shape_vec((batch, outputs), draw.numbers(batch * outputs)).unwrap();
    if objective.terms[0].loss == Loss::CrossEntropy {
        targets.mapv_inplace(f32::abs);
        if draw.below(2) == 0 {
            targets = Array2::from_shape_simple_fn((batch, 1), || draw.below(outputs) as f32);
        }
    }
    if draw.below(6) == 0 && targets.len() > 1 {
        targets[[0, 0]] = f32::NAN;
    }
    let training = Training::new(objective, 0.1).spiking(draw.spiking());
    let data = (Data::new().with("x", inputs), Data::new().with("y", targets));
    let mut sim = Simulator::with(&net, device, Options { minibatch: batch, ..Options::default() })
        .unwrap_or_else(|e| panic!("{seed}: {e}"));
    sim.compile(training).unwrap();
    match sim.check_gradients(&data.0, &data.1, Some(steps), 2) {
        Ok(checked) => Some(checked),
        // Some types of neurons have no rate that could take the place of their spikes.
        Err(Error::NotFinite { .. } | Error::NoGradient { .. }) => None,
        Err(error) => panic!("{seed}: {error}"),
    }
}

#[test]
fn no_random_network_raises_an_alarm() {
    let from = std::env::var("NENGO_WGPU_CHECK_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let count = std::env::var("NENGO_WGPU_CHECKS").ok().and_then(|s| s.parse().ok()).unwrap_or(300);
    let mut told = [0; 4];
    let mut wrong = Vec::new();
    for seed in from..from + count {
        for one in checked(seed, &Device::cpu()).into_iter().flatten() {
            told[one.verdict as usize] += 1;
            if one.verdict == Verdict::Wrong {
                wrong.push(format!("{seed}: {one:?}"));
            }
        }
    }
    println!("right, kink, unclear, wrong: {told:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(4 * told[0] > 3 * told.iter().sum::<usize>(), "right, kink, unclear, wrong: {told:?}");
}

/// `tanh`, with a gradient, or on devices a value, that is off by a factor.
#[derive(Clone, Debug, PartialEq)]
struct Off {
    right: Map,
    gradient: f32,
    value: f64,
}

impl Operator for Off {
    fn name(&self) -> &'static str {
        "off"
    }

    fn infer(&self, inputs: &[Type]) -> std::result::Result<Type, String> {
        self.right.infer(inputs)
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let one = at.output.scope.constant(1.0);
        at.each(|_| at.adjoint * (one - at.output.square()).scale(self.gradient))
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        self.right.lower(at)
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        self.right.reference(at).into_iter().map(|y| y * self.value).collect()
    }
}

struct OffNode(f32, f64);

impl TensorNode for OffNode {
    fn pre_build(&self, _: usize, _: usize, _: &mut Parameters) -> Result<()> {
        Ok(())
    }

    fn call<'s>(&self, _: Tensor<'s>, x: Tensor<'s>, _: &Bound<'s>) -> Tensor<'s> {
        let right = Map::new(Expr::unary(Unary::Tanh));
        x.scope.apply(Off { right, gradient: self.0, value: self.1 }, &[x])
    }
}

/// The worst verdict of a layer, `tanh` by an operator that may be off, and ReLUs of which some are at exactly 0.
fn with_fault(gradient: f32, value: f64, device: &Device) -> Verdict {
    let mut net = Network::new(4);
    let x = net.node("x", Node::Input(3)).unwrap();
    let a = net.layer("a", Layer::dense(4), x).unwrap();
    let off = net.tensor_node("off", 4, 4, OffNode(gradient, value)).unwrap();
    net.connect(a, off, Connection::new()).unwrap();
    let mixed = [0.5, -0.3, 0.0, 0.0, 0.4, 0.1, -0.7, 0.2].repeat(2);
    let relu = Layer::dense(4).activation(Activation::Relu).init(Init::Values(mixed));
    let b = net.layer("b", relu, off).unwrap();
    let y = net.layer("y", Layer::dense(2), b).unwrap();
    net.probe("y", y).unwrap();
    let mut sim = Simulator::with(&net, device, Options { minibatch: 3, ..Options::default() }).unwrap();
    sim.compile(Training::new(Objective::new().loss("y", Loss::MeanSquared), 0.1)).unwrap();
    // The first example gives zeros, so that all ReLUs are at their kinks.
    let x = array![[0.0, 0.0, 0.0], [0.3, -0.8, 0.5], [-0.9, 0.1, 0.7]];
    let data = (Data::new().with("x", x), Data::new().with("y", Array2::ones((3, 2))));
    let checked = sim.check_gradients(&data.0, &data.1, None, 6).unwrap();
    checked.iter().map(|c| c.verdict).max().unwrap()
}

#[test]
fn a_fault_in_the_middle_of_a_network_is_found_beside_kinks() {
    for device in devices() {
        assert!(with_fault(1.0, 1.0, device) <= Verdict::Kink, "{device}");
        for off in [1.01, 0.9, -1.0, 0.0] {
            assert_eq!(with_fault(off, 1.0, device), Verdict::Wrong, "a gradient times {off} on {device}");
        }
        assert_eq!(with_fault(1.0, 1.02, device), Verdict::Wrong, "a device that computes something else");
    }
}

/// The worst verdict of `y`, connected to `x` by `connection`, where `y` is what `x` is of both examples.
fn at(x: Array2<f32>, layer: Option<Activation>, connection: Connection, size: usize, loss: Loss) -> Verdict {
    let mut net = Network::new(0);
    let input = net.node("x", Node::Input(x.ncols())).unwrap();
    let mut y = net.node("sum", Node::Passthrough(size)).unwrap();
    net.connect(input, y, connection).unwrap();
    if let Some(activation) = layer {
        y = net.layer("y", Layer::elementwise(activation), y).unwrap();
    }
    net.probe("p", y).unwrap();
    let (minibatch, targets) = (x.nrows(), Array2::from_elem((x.nrows(), size), 0.25));
    let mut sim = Simulator::with(&net, &Device::cpu(), Options { minibatch, ..Options::default() }).unwrap();
    sim.compile(Training::new(Objective::new().loss("p", loss), 0.1)).unwrap();
    let data = (Data::new().with("x", x), Data::new().with("p", targets));
    let checked = sim.check_gradients(&data.0, &data.1, None, 16).unwrap();
    checked.iter().map(|c| c.verdict).max().unwrap()
}

#[test]
fn kinks_are_distinguished_from_faults() {
    let (square, plain) = (Loss::MeanSquared, Connection::new);
    let parsed = |text: &str| Connection::new().function(Function::parse(text).unwrap());
    let zeros = || Array2::zeros((2, 2));
    let cases = [
        ("a ReLU at 0", at(zeros(), Some(Activation::Relu), plain(), 2, square)),
        ("a leaky ReLU at 0", at(zeros(), Some(Activation::LeakyRelu(0.1)), plain(), 2, square)),
        ("a maximum of equals", at(array![[0.5, 0.5]], None, parsed("max(x0, x1)"), 1, square)),
        ("a minimum of equals", at(array![[0.5, 0.5]], None, parsed("min(x0, x1)"), 1, square)),
        (
            "a sum of kinks that is smooth",
            at(array![[0.0]], None, parsed("max(x0, 0) - max(0 - x0, 0)"), 1, square),
        ),
        (
            "a window of equals",
            at(
                array![[0.5, 0.5]],
                None,
                plain().transform(Transform::Pool(Pool::max(vec![2, 1]))),
                1,
                square,
            ),
        ),
    ];
    for (what, verdict) in cases {
        assert_eq!(verdict, Verdict::Kink, "{what}");
    }
    // The corner of Huber's loss has a derivative, and 0 is in the middle of the slopes on both sides of |x|.
    let smooth = [
        at(array![[0.75]], None, plain(), 1, Loss::Huber(0.5)),
        at(zeros(), Some(Activation::Abs), plain(), 2, square),
        at(Array2::from_elem((1, 1), 0.25), None, plain(), 1, Loss::MeanAbsolute),
    ];
    assert_eq!(smooth, [Verdict::Right; 3]);
}

#[test]
fn a_network_behind_a_callback_is_checked_as_far_as_gradients_go() {
    for device in devices() {
        let mut net = Network::new(0);
        let x = net.node("x", Node::Input(2)).unwrap();
        let z = net.node("z", Node::Input(2)).unwrap();
        let mut sum = 0.0;
        let node = Node::callback(2, 2, move |_, x| {
            sum += x[0];
            vec![sum, 2.0 * x[1]]
        });
        let f = net.node("f", node).unwrap();
        net.connect(x, f, Connection::new()).unwrap();
        let y = net.layer("y", Layer::dense(2), f).unwrap();
        net.connect(z, y, Connection::new()).unwrap();
        net.probe("y", y).unwrap();
        let mut sim = Simulator::with(&net, device, Options { minibatch: 2, ..Options::default() }).unwrap();
        sim.compile(Training::new(Objective::new().loss("y", Loss::MeanSquared), 0.1)).unwrap();
        let rows = || Array3::from_shape_fn((2, 3, 2), |(b, t, c)| (b + 2 * t + 3 * c) as f32 * 0.1);
        let inputs = Data::new().with("x", rows()).with("z", rows());
        let targets = Data::new().with("y", Array2::ones((2, 2)));
        let checked = sim.check_gradients(&inputs, &targets, None, 16).unwrap();
        let names: Vec<&str> = checked.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["y/weights", "y/bias", "z"], "nothing goes through the callback");
        assert!(checked.iter().all(|c| c.verdict == Verdict::Right && c.device < 1e-5), "{checked:?}");
    }
}
