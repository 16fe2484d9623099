//! Gradient checks: the device against the graph in `f64`, and that against central differences of the loss.

use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

use crate::builder::gradient::gradient;
use crate::builder::{self, Feed, Settings};
use crate::engine::BufferRef;
use crate::error::{Error, Result};
use crate::graph::{Extent, Graph, Placed, Scope, Source, ValueId};
use crate::network::{Kind, Node, ObjectId};
use crate::plan::{self, Output, Place, Request, stages};
use crate::sim::core::Core;
use crate::sim::data::Data;
use crate::sim::states::StateKey;
use crate::sim::window_input::WindowInput;
use crate::trainer::compiled::Trainer;
use crate::trainer::judge::{Point, Subject, Verdict, Wanted};
use crate::trainer::key::TrainKey;
use crate::trainer::losses::total;

/// Result of [`Simulator::check_gradients`](crate::Simulator::check_gradients) for one parameter or input.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CheckedGradient {
    /// Name of the parameter or input node.
    pub name: String,
    /// Number of elements.
    pub elements: usize,
    /// Number of elements compared with differences; a seeded sample if there are more than asked for.
    pub checked: usize,
    /// True if differences of the loss can be compared with it. False before a spiking neuron or another operator whose gradient is
    /// not the derivative of its output.
    pub comparable: bool,
    /// Largest error of the graph's gradient against central differences, both in `f64`, as a share of the gradient's largest
    /// element.
    pub differences: f64,
    /// Largest error of the device's gradient against the graph's in `f64`, over all elements, as a share of the gradient's
    /// largest element.
    pub device: f64,
    /// Element with the larger of the two errors: `[row, column]`, for inputs `[step, example, column]`.
    pub at: String,
    /// Verdict on the gradient.
    pub verdict: Verdict,
}

impl CheckedGradient {
    /// The larger of the two errors; that of the device if differences cannot be compared.
    pub fn error(&self) -> f64 {
        if self.comparable { self.differences.max(self.device) } else { self.device }
    }
}

/// A graph of loss and gradients.
struct Checked {
    subject: Subject,
    /// Number of operators before those of the gradient.
    nodes: usize,
    feeds: Vec<Feed>,
}

type Arrays = Vec<Vec<f32>>;

impl Trainer {
    /// Checks all gradients on the first minibatch of the data. Errors up to `tolerance` of a gradient's largest element pass.
    pub(crate) fn check_gradients_to(
        &self,
        core: &mut Core,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
        elements: usize,
        tolerance: f64,
    ) -> Result<Vec<CheckedGradient>> {
        let (_, key) = self.key(core, inputs, targets, n_steps, true)?;
        let Checked { mut subject, nodes, feeds } = self.checked_graph(core, &key, tolerance)?;
        let foreign = behind_foreign(&subject.graph, nodes, subject.loss);
        let called = callbacks(&subject.graph, nodes, subject.loss);
        let ids = subject.adjoints.iter().flatten().chain(&called).copied().collect::<Vec<_>>();
        let (given, mut found) = on_device(core, &subject.graph, &ids, &feeds, inputs, targets)?;
        let names: Vec<String> = core.network.parameters.iter().map(|p| p.name.clone()).collect();
        let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        let mut point = Point::default();
        for name in names {
            point.parameters.push(core.parameter(&name)?.iter().map(|x| f64::from(*x)).collect());
        }
        point.feeds = given.iter().map(|values| wide(values)).collect();
        // Feeds that the planner dropped have no influence.
        for value in &subject.graph.values {
            if let Source::Feed(i) = value.source {
                point.feeds[i].resize(value.ty.elements(subject.graph.dims), 0.0);
            }
        }
        // Outputs of host callbacks have no gradient. They become feeds with the device's values.
        let results = found.split_off(ids.len() - called.len());
        for (value, result) in called.into_iter().zip(results) {
            subject.graph.values[value.0].source = Source::Feed(point.feeds.len());
            point.feeds.push(wide(&result));
        }
        let mut found = found.into_iter();
        let zeros = |w: &Wanted| vec![0.0; w.ty.elements(subject.graph.dims)];
        let each = subject.wanted.iter().zip(&subject.adjoints);
        let found: Arrays =
            each.map(|(w, a)| a.and_then(|_| found.next()).unwrap_or_else(|| zeros(w))).collect();
        judged(core, &subject, point, &found, &foreign, elements)
    }

    /// The graph of the loss, and of the gradients of trained parameters and of inputs that have one.
    fn checked_graph(&self, core: &Core, key: &TrainKey, tolerance: f64) -> Result<Checked> {
        let mut without = Vec::new();
        loop {
            match self.graph_without(core, key, tolerance, &without) {
                Err(Error::NoGradient { parameter, .. }) if is_input(core, &parameter, &without) => {
                    without.push(parameter);
                }
                other => return other,
            }
        }
    }

    /// The graph of loss and gradients, without those of some inputs.
    fn graph_without(
        &self,
        core: &Core,
        key: &TrainKey,
        tolerance: f64,
        without: &[String],
    ) -> Result<Checked> {
        let scope = Scope::new(key.dims);
        let held = |id: ObjectId| key.held.contains(&id);
        let settings = Settings {
            dims: key.dims,
            dt: core.dt,
            training: true,
            spiking: self.training.spiking,
            held: &held,
        };
        let mut built = builder::build(&core.network, &scope, &settings)?;
        let total = total(core, &scope, &mut built, key, &self.training)?;
        let nodes = scope.read(|g| g.nodes.len());
        let mut wanted = Vec::new();
        for (i, p) in core.network.parameters.iter().enumerate() {
            if core.layout.segments.list[i].rate != 0.0 {
                let (value, ty) = (built.parameters[i].id, built.parameters[i].ty());
                wanted.push(Wanted { name: p.name.clone(), value, source: Source::Parameter(i), ty });
            }
        }
        for (i, feed) in built.feeds.iter().enumerate() {
            let Feed::Node(id) = *feed else { continue };
            let object = core.network.object(id)?;
            let source = Source::Feed(i);
            let value = scope.read(|g| g.values.iter().position(|v| v.source == source)).map(ValueId);
            let named = without.iter().any(|name| *name == format!("'{}'", object.name));
            if let (Kind::Node(Node::Input(_)), Some(value), false) = (&object.kind, value, named) {
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
        let subject = Subject { graph: scope.finish()?, loss, wanted, adjoints, tolerance };
        Ok(Checked { subject, nodes, feeds })
    }
}

/// Outputs of the host callbacks that the loss depends on.
fn callbacks(graph: &Graph, nodes: usize, loss: ValueId) -> Vec<ValueId> {
    let live = stages::live(graph, &[Output { value: loss, place: Place::Keep }]);
    let called = (0..nodes).filter(|&n| live[n] && graph.nodes[n].op.host_call().is_some());
    called.map(|n| graph.nodes[n].output).collect()
}

/// For each value, true if an operator between it and the loss has a gradient that is not the derivative of its output.
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

/// Compares the device's gradients `found` with those at `point`, and both with differences.
fn judged(
    core: &Core,
    subject: &Subject,
    point: Point,
    found: &[Vec<f32>],
    foreign: &[bool],
    elements: usize,
) -> Result<Vec<CheckedGradient>> {
    let spot = subject.spot(point)?;
    let loss = subject.loss_at(&spot)?;
    if !loss.is_finite() {
        let (what, value) = ("the loss, in 64-bit numbers,".into(), loss as f32);
        let hint = "there is nothing to compare; look at the data and the parameters".into();
        return Err(Error::NotFinite { what, value, step: 0, hint });
    }
    let (on_device, mut beside) = (subject.device(&spot, found)?, Vec::new());
    let mut rows = Vec::with_capacity(subject.wanted.len());
    for (i, w) in subject.wanted.iter().enumerate() {
        let exact = &spot.exact[i];
        let mut rng = Pcg64Mcg::new(u128::from(core.seed) << 64 | i as u128);
        let mut all: Vec<usize> = (0..exact.len()).collect();
        let (sample, _) = all.partial_shuffle(&mut rng, elements.min(exact.len()));
        let infinite = exact.iter().position(|x| !x.is_finite());
        let comparable = !foreign[w.value.0];
        let sample: Vec<usize> =
            if comparable { sample.iter().copied().chain(infinite).collect() } else { Vec::new() };
        let (mut verdict, device, mut at) = on_device[i];
        let mut differences = 0.0_f64;
        for &e in &sample {
            let (found, error) = subject.differences(&spot, &mut beside, (i, e))?;
            if error > differences.max(device) {
                at = e;
            }
            (verdict, differences) = (verdict.max(found), differences.max(error));
        }
        let (row, col, batch) = (at / w.ty.cols, at % w.ty.cols, subject.graph.dims.batch);
        let at = match w.ty.extent {
            Extent::Fixed => format!("[{row}, {col}]"),
            _ => format!("[{}, {}, {col}]", row / batch, row % batch),
        };
        let (name, elements, checked) = (w.name.clone(), exact.len(), sample.len());
        rows.push(CheckedGradient { name, elements, checked, comparable, differences, device, at, verdict });
    }
    Ok(rows)
}

/// Runs a graph once on the device. Gives the values of its feeds and the values `wanted`.
fn on_device(
    core: &mut Core,
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
        parameters: &core.layout.places,
        carry: None,
        target: core.device.target(),
        label: "check of gradients",
    })?;
    let loaded = core.load(plan, feeds)?;
    let batch: Vec<usize> = (0..dims.batch).collect();
    let (batch, run, share, ends) = (&batch[..], dims.steps, 1.0, true);
    let (first, data_first, training_step) = (0, 0, 0);
    let rows = WindowInput { inputs, targets, batch, first, data_first, run, share, ends, training_step };
    // Host callbacks of runs keep their states.
    let kept = std::mem::take(&mut core.kept);
    let mut go = || -> Result<(Arrays, Arrays)> {
        core.upload(&loaded, &rows)?;
        let mut given = vec![Vec::new(); feeds.len()];
        for &(feed, buffer, ty) in &loaded.feeds {
            let index = feeds.iter().position(|f| *f == feed).unwrap_or_default();
            given[index] = core.engine.read(buffer, 0, ty.elements(dims))?;
        }
        let states = StateKey::Predict(dims.batch);
        core.submit_with_calls(&[], &loaded, &[], None, (states, &rows))?;
        let read = |p: &Placed| {
            let id = match p.binding.buffer {
                BufferRef::Local(i) => loaded.program.locals[i],
                BufferRef::Shared(i) => core.shared.at(i),
            };
            core.engine.read(id, p.binding.offset + p.start, p.ty.elements(dims))
        };
        Ok((given, loaded.outputs.iter().map(read).collect::<Result<_>>()?))
    };
    let result = go();
    core.kept = kept;
    loaded.unload(core.engine.as_mut());
    result
}

/// True if `name`, in quotes, is an input node and not in `without`.
fn is_input(core: &Core, name: &str, without: &[String]) -> bool {
    let object = core.network.find(name.trim_matches('\'')).and_then(|id| core.network.object(id));
    let input = object.is_ok_and(|o| matches!(o.kind, Kind::Node(Node::Input(_))));
    input && !without.iter().any(|other| other == name)
}
