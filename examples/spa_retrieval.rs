//! Semantic pointers: a trace is a sum of roles bound to fillers, and a circular convolution of few neurons is trained to find the
//! filler of a role, as in NengoDL's example of a cognitive model.
//!
//! `cargo run --release --example spa_retrieval [DEVICE]`

use nengo_wgpu::network::library::CircularConvolution;
use nengo_wgpu::network::{Connection, Distribution, Network, Node, RectifiedLinear, bind};
use nengo_wgpu::train::{Loss, Objective, Optimiser, Training};
use nengo_wgpu::{Data, Device, Fit, Options, Result, Simulator};

use ndarray::{Array2, Axis, concatenate};

const DIMENSIONS: usize = 32;
const PAIRS: usize = 2;
const MINIBATCH: usize = 50;

fn main() -> Result<()> {
    let device = Device::select(&std::env::args().nth(1).unwrap_or_else(|| "auto".into()))?;
    println!("device: {device}");
    train(&device, 0, 100, &mut |epoch, loss, accuracy| {
        println!("epoch {epoch:3}: mean squared error {loss:.5}, {:.1} % found", 100.0 * accuracy);
    })
}

/// Trains for some epochs. At the start and every ten epochs it tells the loss, and which part of the test items is found: of 20
/// sets of 50, each of which has vectors of its own, as NengoDL's set has.
pub fn train(device: &Device, seed: u64, epochs: usize, tell: &mut dyn FnMut(usize, f64, f64)) -> Result<()> {
    let mut net = Network::new(seed);
    net.config.ensemble.neuron_type = Some(RectifiedLinear { amplitude: 1.0 }.into());
    // The convolution of a trace with the inverse of a role. All its matrices and numbers are trained.
    let cconv = CircularConvolution { invert_b: true, ..CircularConvolution::new(5, DIMENSIONS) };
    let cconv = cconv.add(&mut net, "cconv")?;
    let trace = net.node("trace", Node::Input(DIMENSIONS))?;
    let cue = net.node("cue", Node::Input(DIMENSIONS))?;
    net.connect(trace, cconv.input_a, Connection::new())?;
    net.connect(cue, cconv.input_b, Connection::new())?;
    net.probe("filler", cconv.output)?;

    let mut sim = Simulator::with(&net, device, Options { minibatch: MINIBATCH, ..Options::default() })?;
    let objective = Objective::new().loss("filler", Loss::MeanSquared);
    sim.compile(Training::new(objective, 2e-3).optimiser(Optimiser::rmsprop_keras()))?;
    let items = Items::new(5000, 100 * seed)?;
    let sets = (1..=20).map(|k| Items::new(50, 100 * seed + k)).collect::<Result<Vec<_>>>()?;
    let test = |sim: &mut Simulator| -> Result<f64> {
        let found = sets.iter().map(|set| set.found(sim)).sum::<Result<f64>>()?;
        Ok(found / sets.len() as f64)
    };
    let targets = Data::new().with("filler", items.fillers.clone());
    tell(0, f64::NAN, test(&mut sim)?);
    for epoch in 1..=epochs {
        let loss = sim.fit(&items.inputs(), &targets, &Fit::epochs(1))?[0].loss;
        if epoch % 10 == 0 {
            tell(epoch, loss, test(&mut sim)?);
        }
    }
    Ok(())
}

/// Traces with a role and its filler each, and all vectors that there are.
struct Items {
    traces: Array2<f32>,
    roles: Array2<f32>,
    fillers: Array2<f32>,
    vectors: Array2<f32>,
}

impl Items {
    fn new(n: usize, seed: u64) -> Result<Self> {
        // Each row has a role and a filler for each pair of an item.
        let drawn = Distribution::surface().sample("the vectors", 2 * PAIRS * n, DIMENSIONS, seed)?;
        let vector = |item: usize, which: usize| drawn.row(2 * PAIRS * item + which).to_owned();
        let mut traces = Array2::zeros((n, DIMENSIONS));
        for (item, mut trace) in traces.rows_mut().into_iter().enumerate() {
            for pair in 0..PAIRS {
                trace += &bind(&vector(item, 2 * pair), &vector(item, 2 * pair + 1));
            }
            trace /= trace.dot(&trace).sqrt();
        }
        let vectors = concatenate![Axis(0), drawn, traces].mapv(|x| x as f32);
        // The first pair is asked for, which is as random as any other.
        let first =
            |which| Array2::from_shape_fn((n, DIMENSIONS), |(i, d)| vectors[[2 * PAIRS * i + which, d]]);
        Ok(Self { roles: first(0), fillers: first(1), traces: traces.mapv(|x: f64| x as f32), vectors })
    }

    fn inputs(&self) -> Data {
        Data::new().with("trace", self.traces.clone()).with("cue", self.roles.clone())
    }

    /// The part of the items whose answer is more like the right filler than like any other vector.
    fn found(&self, sim: &mut Simulator) -> Result<f64> {
        let probe = sim.network().find_probe("filler")?;
        let answers = sim.predict(&self.inputs())?[&probe].index_axis(Axis(1), 0).to_owned();
        let similar = answers.dot(&self.vectors.t());
        let right = |(item, row): &(usize, ndarray::ArrayView1<f32>)| {
            let filler = row[2 * PAIRS * item + 1];
            row.iter().all(|x| *x <= filler)
        };
        let found = similar.rows().into_iter().enumerate().filter(right).count();
        Ok(found as f64 / similar.nrows() as f64)
    }
}
