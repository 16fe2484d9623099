//! The check of gradients: what the device computes, against the graph in f64, against differences of the loss.

use ndarray::Array2;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

use super::Simulator;
use super::data::Data;
use super::feeds::Rows;
use super::train::TrainKey;
use crate::build::gradient::gradient;
use crate::build::{self, Feed, Settings};
use crate::engine::BufferRef;
use crate::error::{Error, Result};
use crate::graph::reference::evaluate;
use crate::graph::{Dims, Extent, Graph, Placed, Scope, Source, Type, ValueId};
use crate::network::{Kind, Node, ObjectId};
use crate::plan::{self, Output, Place, Request, stages};

/// The check of one parameter's, or one input's, gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedGradient {
    /// The parameter, or the input node.
    pub name: String,
    /// Elements there are.
    pub elements: usize,
    /// Elements that were compared with differences; a seeded sample where there are more than were asked for.
    pub checked: usize,
    /// Whether differences of the loss tell anything about it: not behind a spike or another operator whose derivative is
    /// not that of its output.
    pub comparable: bool,
    /// The largest error of the graph's gradient against central differences, both in f64, as a share of the largest element.
    pub differences: f64,
    /// The largest error of the device's gradient against the graph's in f64, of all elements, as a share of the largest.
    pub device: f64,
    /// The element with the larger of the two errors: `[row, column]`, for inputs `[step, example, column]`.
    pub at: String,
}

impl CheckedGradient {
    /// The larger of the two errors; that of the device where differences tell nothing.
    pub fn error(&self) -> f64 {
        if self.comparable { self.differences.max(self.device) } else { self.device }
    }
}

/// A value whose gradient is checked.
struct Wanted {
    name: String,
    value: ValueId,
    source: Source,
    ty: Type,
}

/// A graph of loss and gradients.
struct Checked {
    graph: Graph,
    /// Operators before those of the gradient.
    nodes: usize,
    loss: ValueId,
    wanted: Vec<Wanted>,
    /// Nothing where the loss does not depend on what is wanted.
    adjoints: Vec<Option<ValueId>>,
    feeds: Vec<Feed>,
}

type Arrays = Vec<Vec<f32>>;

/// Steps of central differences: the second one decides where the first one crossed a kink.
const STEPS: [f64; 2] = [1e-5, 1e-7];
/// Errors above it are looked at again.
const SUSPECT: f64 = 1e-5;

impl Simulator {
    /// Compares the gradient of the compiled objective for each trained parameter and each input, on the first minibatch of
    /// the data: the device's with the graph's in f64, and that with central differences of the loss in f64, for at most
    /// `elements` elements of each. The run is one window, in whatever way it is compiled, and parameters stay as they are.
    ///
    /// # Errors
    /// As [`Simulator::fit`].
    pub fn check_gradients(
        &mut self,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        elements: usize,
    ) -> Result<Vec<CheckedGradient>> {
        let (_, key) = self.key(inputs, targets, n_steps, true)?;
        let Checked { graph, nodes, loss, wanted, adjoints, feeds } = self.checked_graph(&key)?;
        let ids: Vec<ValueId> = adjoints.iter().flatten().copied().collect();
        let (given, found) = self.on_device(&graph, &ids, &feeds, inputs, targets)?;
        let names: Vec<String> = self.network.parameters.iter().map(|p| p.name.clone()).collect();
        let parameters: Vec<Array2<f32>> = names.iter().map(|n| self.parameter(n)).collect::<Result<_>>()?;
        let source = |source: &Source| -> Vec<f64> {
            match *source {
                Source::Parameter(i) => parameters[i].iter().map(|x| f64::from(*x)).collect(),
                Source::Feed(i) => {
                    let len = graph.values.iter().find(|v| v.source == *source).map(|v| v.ty);
                    let len = len.map_or(0, |ty| ty.elements(graph.dims));
                    // What the planner dropped has no influence.
                    let values: Vec<f64> = given[i].iter().map(|x| f64::from(*x)).collect();
                    if values.len() == len { values } else { vec![0.0; len] }
                }
                _ => Vec::new(),
            }
        };
        let mut exact = evaluate(&graph, &ids, source)?.into_iter();
        let mut found = found.into_iter();
        let foreign = behind_foreign(&graph, nodes, loss);
        let mut rows = Vec::with_capacity(wanted.len());
        for (w, adjoint) in wanted.iter().zip(&adjoints) {
            let n = w.ty.elements(graph.dims);
            let (exact, found) = match adjoint {
                Some(_) => (exact.next().unwrap_or_default(), found.next().unwrap_or_default()),
                None => (vec![0.0; n], vec![0.0; n]),
            };
            let loss_at = |e: usize, by: f64| {
                let moved = |s: &Source| {
                    let mut values = source(s);
                    if *s == w.source {
                        values[e] += by;
                    }
                    values
                };
                Ok::<f64, Error>(evaluate(&graph, &[loss], moved)?[0][0])
            };
            let mut rng = Pcg64Mcg::new(u128::from(self.seed) << 64 | rows.len() as u128);
            let mut all: Vec<usize> = (0..n).collect();
            let (sample, _) = all.partial_shuffle(&mut rng, elements.min(n));
            let comparable = !foreign[w.value.0];
            rows.push(compare(w, graph.dims, &exact, &found, sample, comparable, &loss_at)?);
        }
        Ok(rows)
    }

    /// The feeds' contents, and the values `wanted`, of one run of a graph on the device.
    fn on_device(
        &mut self,
        graph: &Graph,
        wanted: &[ValueId],
        feeds: &[Feed],
        inputs: &Data,
        targets: &Data,
    ) -> Result<(Arrays, Arrays)> {
        let outputs = wanted.iter().map(|&value| Output { value, place: Place::Keep }).collect();
        let dims = graph.dims;
        let plan = plan::plan(Request {
            graph: graph.clone(),
            outputs,
            parameters: &self.layout.places,
            carry: None,
            target: self.device.target(),
            label: "check of gradients",
        })?;
        let loaded = self.load(plan, feeds)?;
        let batch: Vec<usize> = (0..dims.batch).collect();
        let (batch, share, ends) = (&batch[..], 1.0, true);
        let rows = Rows { inputs, targets, batch, first: 0, data_first: 0, share, ends, training_step: 0 };
        let mut go = || -> Result<(Arrays, Arrays)> {
            self.upload(&loaded, &rows)?;
            let mut given = vec![Vec::new(); feeds.len()];
            for &(feed, buffer, ty) in &loaded.feeds {
                let at = feeds.iter().position(|f| *f == feed).unwrap_or_default();
                given[at] = self.engine.read(buffer, 0, ty.elements(dims))?;
            }
            self.engine.submit(&[&loaded.program], None)?;
            let read = |p: &Placed| {
                let id = match p.binding.buffer {
                    BufferRef::Local(i) => loaded.program.locals[i],
                    BufferRef::Shared(i) => self.shared[i],
                };
                self.engine.read(id, p.binding.offset + p.start, p.ty.elements(dims))
            };
            Ok((given, loaded.outputs.iter().map(read).collect::<Result<_>>()?))
        };
        let result = go();
        self.engine.unload(loaded.program);
        result
    }

    /// The graph of loss and gradients.
    fn checked_graph(&self, key: &TrainKey) -> Result<Checked> {
        let compiled = self.compiled()?;
        let scope = Scope::new(key.dims);
        let held = |id: ObjectId| key.held.contains(&id);
        let settings = Settings {
            dims: key.dims,
            dt: self.dt,
            training: true,
            spiking: compiled.training.spiking,
            held: &held,
        };
        let mut built = build::build(&self.network, &scope, &settings)?;
        let total = self.total(&scope, &mut built, key, &compiled.training)?;
        let nodes = scope.read(|g| g.nodes.len());
        let mut wanted = Vec::new();
        for (i, p) in self.network.parameters.iter().enumerate() {
            if self.layout.segments.list[i].rate != 0.0 {
                let (value, ty) = (built.parameters[i].id, built.parameters[i].ty());
                wanted.push(Wanted { name: p.name.clone(), value, source: Source::Parameter(i), ty });
            }
        }
        for (i, feed) in built.feeds.iter().enumerate() {
            let Feed::Node(id) = *feed else { continue };
            let object = self.network.object(id)?;
            let source = Source::Feed(i);
            let value = scope.read(|g| g.values.iter().position(|v| v.source == source)).map(ValueId);
            if let (Kind::Node(Node::Input(_)), Some(value)) = (&object.kind, value) {
                let ty = scope.tensor(value).ty();
                wanted.push(Wanted { name: object.name.clone(), value, source, ty });
            }
        }
        let ids: Vec<ValueId> = wanted.iter().map(|w| w.value).collect();
        let name = |value: ValueId| {
            let found = wanted.iter().find(|w| w.value == value);
            found.map_or_else(|| "a parameter".into(), |w| format!("'{}'", w.name))
        };
        let adjoints = gradient(&scope, total, &ids, name)?.into_iter().map(|a| a.map(|t| t.id)).collect();
        let (loss, feeds) = (total.id, built.feeds);
        Ok(Checked { graph: scope.finish()?, nodes, loss, wanted, adjoints, feeds })
    }
}

/// Which values have an operator between them and the loss whose derivative is not that of its output.
fn behind_foreign(graph: &Graph, nodes: usize, loss: ValueId) -> Vec<bool> {
    let live = stages::live(graph, &[Output { value: loss, place: Place::Keep }]);
    let foreign = (0..nodes).filter(|&n| live[n] && !graph.nodes[n].op.own_derivative());
    let mut stack: Vec<ValueId> = foreign.flat_map(|n| graph.nodes[n].inputs.clone()).collect();
    let mut behind = vec![false; graph.values.len()];
    while let Some(value) = stack.pop() {
        if !std::mem::replace(&mut behind[value.0], true)
            && let Some(node) = graph.producer(value)
        {
            stack.extend(&graph.node(node).inputs);
        }
    }
    behind
}

fn compare(
    w: &Wanted,
    dims: Dims,
    exact: &[f64],
    found: &[f32],
    sample: &[usize],
    comparable: bool,
    loss_at: &dyn Fn(usize, f64) -> Result<f64>,
) -> Result<CheckedGradient> {
    let largest = exact.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
    // Below this an error of the differences themselves would show.
    let scale = largest.max(1e-9);
    let (mut device, mut differences, mut at, mut worst) = (0.0_f64, 0.0_f64, 0, -1.0);
    let mut note = |e: usize, error: f64, kind: &mut f64| {
        let error = if error.is_finite() { error } else { f64::INFINITY };
        *kind = kind.max(error);
        if error > worst {
            (worst, at) = (error, e);
        }
    };
    for (e, (a, b)) in exact.iter().zip(found).enumerate() {
        note(e, (a - f64::from(*b)).abs() / scale, &mut device);
    }
    for &e in sample.iter().filter(|_| comparable) {
        let mut error = f64::INFINITY;
        for step in STEPS {
            let slope = (loss_at(e, step)? - loss_at(e, -step)?) / (2.0 * step);
            error = error.min((slope - exact[e]).abs() / scale);
            if error < SUSPECT {
                break;
            }
        }
        note(e, error, &mut differences);
    }
    let (row, col) = (at / w.ty.cols, at % w.ty.cols);
    let at = match w.ty.extent {
        Extent::Fixed => format!("[{row}, {col}]"),
        _ => format!("[{}, {}, {col}]", row / dims.batch, row % dims.batch),
    };
    let checked = if comparable { sample.len() } else { 0 };
    let (name, elements) = (w.name.clone(), exact.len());
    Ok(CheckedGradient { name, elements, checked, comparable, differences, device, at })
}
