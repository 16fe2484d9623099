//! A layer of one's own: gated, with weights of low rank, and a penalty on one of its parameters by name.
//!
//! `y = relu(U V x + b) * sigmoid(G x)`: `U V` is a matrix of rank 16, and the gate `G` lets each output through or not.
//! Its parameters are declared once, before any loop; penalties, probes, files and `parameter()` know them as
//! `gated/U`, `gated/V`, `gated/G` and `gated/bias`. The gradient follows from the operators.
//!
//!     cargo run --release --example custom_layer [DEVICE]

use std::path::Path;

use nengo_wgpu::io::dataset::Dataset;
use nengo_wgpu::network::{Bound, Init, Layer, Network, Node, Parameters, TensorNode};
use nengo_wgpu::toml::{DataSpec, Part, SplitSpec};
use nengo_wgpu::train::{Loss, Metric, Objective, Optimiser, Penalty, Select, Training};
use nengo_wgpu::{Data, Device, Error, Fit, Options, Result, Simulator, Tensor};

/// A gated layer whose weights have at most this rank.
struct Gated {
    rank: usize,
}

impl TensorNode for Gated {
    fn pre_build(&self, size_in: usize, size_out: usize, parameters: &mut Parameters) -> Result<()> {
        if self.rank > size_in.min(size_out) {
            let problem =
                format!("it is {}, but a {size_out} x {size_in} matrix has no such rank", self.rank);
            return Err(Error::invalid("the rank", problem));
        }
        parameters.add("V", self.rank, size_in, Init::Glorot);
        parameters.add("U", size_out, self.rank, Init::Glorot);
        parameters.add("G", size_out, size_in, Init::Glorot);
        parameters.add("bias", 1, size_out, Init::Zeros);
        Ok(())
    }

    fn call<'s>(&self, _t: Tensor<'s>, x: Tensor<'s>, parameters: &Bound<'s>) -> Tensor<'s> {
        let thin = x.dot(parameters.get("V")).dot(parameters.get("U"));
        let gate = x.dot(parameters.get("G")).sigmoid();
        (thin + parameters.get("bias")).relu() * gate
    }
}

fn main() -> Result<()> {
    let device = match std::env::args().nth(1) {
        Some(selector) => Device::select(&selector)?,
        None => Device::from_env()?,
    };
    println!("device: {device}");

    let mut net = Network::new(0);
    let image = net.node("image", Node::Input(64))?;
    let gated = net.tensor_node("gated", 64, 128, Gated { rank: 16 })?;
    net.connect(image, gated, Default::default())?;
    let digit = net.layer("digit", Layer::dense(10), gated)?;
    net.probe("output", digit)?;

    let digits = DataSpec::Csv {
        path: "examples/data/digits.csv.gz".into(),
        label: None,
        targets: None,
        scale: 1.0 / 16.0,
    };
    let split = SplitSpec { test: Some(Part::Count(360)), ..SplitSpec::default() };
    let splits = digits.load(&split, Path::new(env!("CARGO_MANIFEST_DIR")))?;
    let data =
        |part: Dataset| (Data::new().with("image", part.inputs), Data::new().with("output", part.targets));

    let mut sim = Simulator::with(&net, &device, Options { minibatch: 32, ..Options::default() })?;
    // The gate is pulled towards a half everywhere: it has to earn its opening and closing.
    let training = Training::new(Objective::new().loss("output", Loss::CrossEntropy), 0.003)
        .optimiser(Optimiser::adam())
        .penalty(Select::parameter("gated/G"), Penalty::L2Half(1e-3))
        .metric(Metric::Accuracy("output".into()));
    sim.compile(training)?;

    let (inputs, targets) = data(splits.train);
    for _ in 0..6 {
        if let Some(report) = sim.fit(&inputs, &targets, &Fit::epochs(5))?.last() {
            let norm = sim.l2_norm("gated/G")?;
            let accuracy = 100.0 * report.metrics[0];
            println!(
                "epoch {:2}: loss {:.4}, accuracy {accuracy:.1} %, |G| {norm:.2}",
                report.epoch, report.loss
            );
        }
    }
    if let Some(test) = splits.test {
        let (inputs, targets) = data(test);
        println!("test: accuracy {:.1} %", 100.0 * sim.evaluate(&inputs, &targets)?.metrics[0]);
    }
    Ok(())
}
