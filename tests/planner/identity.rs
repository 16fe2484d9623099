//! Operators, programs and plans are the same by their data, never by how they print.

use std::fmt;
use std::sync::Arc;

use crate::common::{devices, dims};
use ndarray::array;
use nengo_wgpu::internals::engine::{Binding, BufferRef, Command, Dispatch, Recording};
use nengo_wgpu::internals::expr::{Binary, Expr, Instr, Unary};
use nengo_wgpu::internals::graph::{Adjoint, Identity, Lower, Operator, Reference, Scope, Tensor, Type};
use nengo_wgpu::internals::op::{AtLast, Callback, Last, Map, Reduce, Slice};
use nengo_wgpu::network::{
    Bound, CallbackFactory, Connection, Ensemble, Network, Node, Parameters, TensorNode,
};
use nengo_wgpu::{Data, Device, Options, Result, Simulator};

/// An operator that multiplies by a number and does not print it.
#[derive(Clone)]
struct Times(f32);

impl Times {
    fn map(&self) -> Map {
        let tape = vec![Instr::Input(0), Instr::Constant(self.0), Instr::Binary(Binary::Mul, 0, 1)];
        Map::new(Expr { tape })
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Times")
    }
}

impl Operator for Times {
    fn name(&self) -> &'static str {
        "times"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        self.map().infer(inputs)
    }

    fn gradient<'s>(&self, _: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        None
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        self.map().lower(at)
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        self.map().reference(at)
    }
}

/// A tensor node that adds up what two operators of one description make.
struct Two<F>(F);

impl<F: for<'s> Fn(Tensor<'s>, Tensor<'s>, f32) -> Tensor<'s> + Send + Sync + 'static> TensorNode for Two<F> {
    fn pre_build(&self, _: usize, _: usize, _: &mut Parameters) -> Result<()> {
        Ok(())
    }

    fn call<'s>(&self, t: Tensor<'s>, x: Tensor<'s>, _: &Bound<'s>) -> Tensor<'s> {
        let x = x.expand_in_time();
        (self.0)(x, t, 1.0) + (self.0)(x, t, 10.0)
    }
}

fn sum_of_two(node: impl TensorNode + 'static, device: &Device) -> f32 {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(1)).unwrap();
    let y = net.tensor_node("y", 1, 1, node).unwrap();
    net.connect(x, y, Connection::new()).unwrap();
    let p = net.probe("p", y).unwrap();
    let mut sim = Simulator::new(&net, device).unwrap();
    sim.predict(&Data::new().with("x", array![[1.0]])).unwrap()[&p][[0, 0, 0]]
}

fn times<'s>(x: Tensor<'s>, _: Tensor<'s>, factor: f32) -> Tensor<'s> {
    x.scope.apply(Times(factor), &[x])
}

fn called<'s>(x: Tensor<'s>, t: Tensor<'s>, factor: f32) -> Tensor<'s> {
    let factory: CallbackFactory = Arc::new(move |_| Box::new(move |_: f64, x: &[f32]| vec![factor * x[0]]));
    let op = Callback { what: "mine".into(), size_in: 1, size_out: 1, factory };
    x.scope.apply(op, &[x, t])
}

#[test]
fn data_that_differ_in_one_bit_have_different_identities() {
    let map = |instr| Map::new(Expr { tape: vec![Instr::Input(0), instr] });
    let of = |instr| Identity::of(&map(instr));
    let constant = |c: f32| of(Instr::Constant(c));
    assert_eq!(constant(1.0), constant(1.0));
    assert_ne!(constant(0.0), constant(-0.0));
    assert_ne!(constant(1.0), constant(f32::from_bits(1.0_f32.to_bits() + 1)));
    assert_eq!(constant(f32::NAN), constant(f32::NAN));
    assert_ne!(of(Instr::Unary(Unary::Clamp(1.0), 0)), of(Instr::Unary(Unary::Huber(1.0), 0)));
    assert_ne!(of(Instr::Unary(Unary::LifRate(1.0, 2.0), 0)), of(Instr::Unary(Unary::LifRate(2.0, 1.0), 0)));
    let mean = |scale| Identity::of(&Reduce { expr: Expr::identity(), to: Type::fixed(1, 1), scale });
    assert_ne!(mean(0.5), mean(0.25));
}

#[test]
fn operators_of_two_types_with_the_same_data_have_different_identities() {
    assert_ne!(Identity::of(&Slice { start: 1, len: 2 }), Identity::of(&(1_usize, 2_usize)));
    assert_ne!(Identity::of(&Last), Identity::of(&AtLast));
}

#[test]
fn operators_that_print_the_same_stay_two() {
    for device in devices() {
        assert_eq!(sum_of_two(Two(times), device), 11.0, "{device}");
        assert_eq!(sum_of_two(Two(called), device), 11.0, "{device}");
    }
}

#[test]
fn numbers_that_differ_in_their_sign_alone_stay_two() {
    // 1/0 and 1/-0 are as far apart as numbers can be.
    let over = |x: f32| {
        let tape = vec![Instr::Input(0), Instr::Constant(x), Instr::Binary(Binary::Div, 0, 1)];
        Map::new(Expr { tape })
    };
    let scope = Scope::new(dims(1, 1));
    let x = scope.constant(1.0).expand(Type::fixed(1, 2));
    let (up, down) = (scope.apply(over(0.0), &[x]), scope.apply(over(-0.0), &[x]));
    let less = Map::new(Expr::binary(Binary::Less));
    let less = scope.apply(less, &[down, up]).id;
    let graph = scope.finish().unwrap();
    let outputs = vec![nengo_wgpu::internals::plan::Output {
        value: less,
        place: nengo_wgpu::internals::plan::Place::Keep,
    }];
    let ir = nengo_wgpu::internals::plan::pass::Ir::new(graph, outputs);
    let ir = nengo_wgpu::internals::plan::pass::run(ir, Device::cpu().target()).unwrap();
    let values =
        nengo_wgpu::internals::graph::reference::evaluate(&ir.graph, &[ir.outputs[0].value], |_| Vec::new())
            .unwrap();
    assert_eq!(values[0], [1.0, 1.0]);
}

#[test]
fn a_program_submitted_twice_at_once_stays_apart_from_another() {
    for device in devices() {
        let mut engine = device.engine();
        let shared: Vec<_> = (0..3).map(|i| engine.allocate(64, &format!("{i}")).unwrap()).collect();
        engine.write(shared[0], 0, &[1.0; 64]).unwrap();
        let at = |i| Binding { buffer: BufferRef::Shared(i), offset: 0, len: 64 };
        let copy = |from, to| Recording {
            label: "copy".into(),
            locals: vec![],
            commands: vec![Command::Copy { from: at(from), to: at(to) }],
        };
        let a = engine.load(&copy(0, 1), &shared).unwrap();
        let b = engine.load(&copy(1, 2), &shared).unwrap();
        engine.submit(&[&a, &a, &b], None).unwrap();
        assert_eq!(engine.read(shared[2], 0, 1).unwrap(), [1.0], "{device}");
        engine.write(shared[1], 0, &[7.0; 64]).unwrap();
        engine.submit(&[&b], None).unwrap();
        assert_eq!(engine.read(shared[2], 0, 1).unwrap(), [7.0], "{device}: b still copies 1 to 2");
        // A freed program's number is not given to the next.
        let old = a.clone();
        engine.unload(a);
        engine.load(&copy(2, 0), &shared).unwrap();
        engine.submit(&[&old], None).unwrap();
        assert_eq!(engine.read(shared[0], 0, 1).unwrap(), [1.0], "{device}");
    }
}

/// A recurrent network whose training has loops, copies of what loops compute, and several outputs.
fn network() -> Network {
    let mut net = Network::new(3);
    let x = net.node("x", Node::Input(2)).unwrap();
    for i in 0..6 {
        let e = net.ensemble(&format!("e{i}"), Ensemble::new(40 + i % 2, 2)).unwrap();
        net.connect(x, e, Connection::new()).unwrap();
        net.connect(e, e, Connection::new().synapse(0.1)).unwrap();
        net.probe(&format!("p{i}"), e).unwrap();
    }
    net
}

#[test]
fn the_same_network_gives_the_same_plan_each_time() {
    use nengo_wgpu::train::{Loss, Objective, Training};
    let inputs = Data::new().with("x", ndarray::Array2::ones((2, 2)));
    for device in devices() {
        let plans = (0..4).map(|_| {
            let options = Options { minibatch: 2, ..Options::default() };
            let mut sim = Simulator::planner(&network(), device, options).unwrap();
            let objective = (0..6).fold(Objective::new(), |o, i| o.loss(&format!("p{i}"), Loss::MeanSquared));
            sim.compile(Training::new(objective, 0.1)).unwrap();
            let targets =
                (0..6).fold(Data::new(), |d, i| d.with(&format!("p{i}"), ndarray::Array2::zeros((2, 2))));
            let run = sim.outline(20).unwrap();
            let training = sim.outline_training(&inputs, &targets, Some(20)).unwrap();
            let parts = run.parts.into_iter().chain(training.parts);
            parts.map(|p| format!("{:?}", p.program)).collect::<Vec<_>>()
        });
        let plans: Vec<Vec<String>> = plans.collect();
        assert!(plans.windows(2).all(|two| two[0] == two[1]), "{device}: {:#?}", &plans[..2]);
    }
}
