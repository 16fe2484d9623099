//! Weight decay for a layer inside the simulator's time loop.
//!
//! A node with constant output 1, ten weights made once before the loop and used at each step, a probe. The objective is
//! `mean((output - 1)²) + 0.1 · ΣW²/2`. Ten calls of `fit` make one gradient step each; after each the norm of the weights
//! is printed beside its closed form `w* + (1 - lr (2/N + s))^k (w0 - w*)` with `w* = (2/N) / (2/N + s)`.
//!
//!     cargo run --release --example weight_decay [DEVICE]

use ndarray::Array2;
use nengo_wgpu::network::{Bound, Init, Network, Node, Parameters, TensorNode};
use nengo_wgpu::train::{Loss, Objective, Penalty, Select, Training};
use nengo_wgpu::{Data, Device, Fit, Result, Simulator, Tensor};

const N: usize = 10;
const RATE: f64 = 0.5;
const STRENGTH: f64 = 0.1;

/// `W x`: the weights are made once, before the loop.
struct Dense;

impl TensorNode for Dense {
    fn pre_build(&self, size_in: usize, size_out: usize, parameters: &mut Parameters) -> Result<()> {
        parameters.add("W", size_out, size_in, Init::Uniform(-1.0, 1.0));
        Ok(())
    }

    fn call<'s>(&self, _t: Tensor<'s>, x: Tensor<'s>, parameters: &Bound<'s>) -> Tensor<'s> {
        x.dot(parameters.get("W"))
    }
}

fn main() -> Result<()> {
    let device = match std::env::args().nth(1) {
        Some(selector) => Device::select(&selector)?,
        None => Device::from_env()?,
    };
    eprintln!("device: {device}");

    let mut net = Network::new(0);
    let one = net.node("one", Node::Constant(vec![1.0]))?;
    let dense = net.tensor_node("dense", 1, N, Dense)?;
    net.connect(one, dense, Default::default())?;
    net.probe("output", dense)?;

    let mut sim = Simulator::new(&net, &device)?;
    let objective = Objective::new().loss("output", Loss::MeanSquared);
    let decay = Penalty::L2Half(STRENGTH as f32);
    sim.compile(Training::new(objective, RATE as f32).penalty(Select::parameter("dense/W"), decay))?;

    let start: Vec<f64> = sim.parameter("dense/W")?.iter().map(|&w| f64::from(w)).collect();
    let targets = Data::new().with("output", Array2::ones((1, N)));
    let pull = 2.0 / N as f64;
    let limit = pull / (pull + STRENGTH);
    for k in 1..=10 {
        sim.fit(&Data::new(), &targets, &Fit::epochs(1))?;
        let left = (1.0 - RATE * (pull + STRENGTH)).powi(k);
        let closed_form = start.iter().map(|w| (limit + left * (w - limit)).powi(2)).sum::<f64>().sqrt();
        println!("{k} {:.7} {closed_form:.7}", sim.l2_norm("dense/W")?);
    }
    Ok(())
}
