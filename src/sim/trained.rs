//! Which parameters a training moves.

use super::Simulator;
use super::targets::TargetKey;
use super::train::{Part, TrainKey};
use crate::build::gradient::gradient;
use crate::build::{self, Settings};
use crate::error::{Error, Result};
use crate::graph::{Dims, Scope, ValueId};
use crate::network::ProbeId;
use crate::op::Dropout;
use crate::plan::{self, Output, Place};
use crate::train::Training;

impl Simulator {
    /// Names of the parameters that [`Simulator::fit`] changes: those that are not frozen, and on which a loss or a penalty
    /// depends.
    ///
    /// # Errors
    /// None is trained, with the reason; or nothing has been compiled yet.
    pub fn trained(&self) -> Result<Vec<&str>> {
        let roles = &self.compiled()?.roles;
        let parameters = self.network.parameters();
        let moves = |at: &usize| {
            let s = &self.layout.segments.list[*at];
            let penalised = [s.l2, s.l1, s.norm, s.decay].iter().any(|&x| x != 0.0);
            s.rate != 0.0 && (roles.used[*at] || penalised)
        };
        let names: Vec<&str> =
            (0..parameters.len()).filter(moves).map(|at| parameters[at].name.as_str()).collect();
        if !names.is_empty() {
            return Ok(names);
        }
        let why = match parameters.len() {
            0 => "the network has no parameters".into(),
            n => roles.why_not(&self.network, &(0..n).collect::<Vec<_>>()),
        };
        let problem = format!("no parameter is trained: {why}; give one that feeds a loss a rate above 0");
        Err(Error::invalid("the training", problem))
    }

    /// Which parameters of those with a rate a loss depends on, and in sentences, which dropouts none depends on. Where that
    /// cannot be told before there are data, all parameters.
    pub(super) fn used(&self, training: &Training, rates: &[f32]) -> (Vec<bool>, Vec<String>) {
        let wanted: Vec<usize> = (0..rates.len()).filter(|&i| rates[i] != 0.0).collect();
        let mut used = vec![true; rates.len()];
        let Ok((connected, idle)) = self.connected(training, &wanted) else { return (used, Vec::new()) };
        wanted.iter().zip(connected).for_each(|(&i, connected)| used[i] = connected);
        let note = |name| format!("the dropout of '{name}' has no effect: no loss depends on it");
        (used, idle.into_iter().map(note).collect())
    }

    /// Whether the losses have a gradient for each of these parameters, on made-up data, and the layers of the dropouts that no
    /// loss depends on.
    ///
    /// # Errors
    /// An operator without a gradient, or a part of the objective that wants other targets.
    fn connected(&self, training: &Training, wanted: &[usize]) -> Result<(Vec<bool>, Vec<String>)> {
        let dims = Dims { batch: self.minibatch, steps: 1 };
        let settings =
            Settings { dims, dt: self.dt, training: true, spiking: training.spiking, held: &|_| true };
        let scope = Scope::new(dims);
        let mut built = build::build(&self.network, &scope, &settings)?;
        let probes = (0..self.network.probes.len()).map(ProbeId);
        let target = |p: ProbeId| {
            let (name, cols) = (self.network.probe_name(p).to_string(), self.network.probe_size(p)?);
            Some(TargetKey { name, held: true, cols, gaps: false })
        };
        let targets = probes.filter_map(target).collect();
        let key = TrainKey { dims, held: Vec::new(), targets, update: true, part: Part::Whole };
        let total = self.total(&scope, &mut built, &key, training)?;
        let values: Vec<ValueId> = wanted.iter().map(|&i| built.parameters[i].id).collect();
        let adjoints = gradient(&scope, total, &values, |_| String::new())?;
        let connected = adjoints.iter().map(Option::is_some).collect();
        let output = Output { value: total.id, place: Place::Keep };
        let graph = scope.finish()?;
        let live = plan::stages::live(&graph, &[output]);
        let nodes = graph.nodes.iter().zip(live);
        // The gradient's dropouts are others.
        let idle =
            nodes.filter(|(node, live)| !live && !node.backward && node.op.downcast::<Dropout>().is_some());
        Ok((connected, idle.map(|(node, _)| node.owner.to_string()).collect()))
    }
}
