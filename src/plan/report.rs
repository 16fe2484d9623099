//! Reports of plans, in the user's terms.

use std::fmt;

use serde::Serialize;

use crate::engine::Command;
use crate::plan::{Plan, Stage};

/// Stages of a plan, with their dispatches and memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Name of the plan.
    pub label: String,
    /// Examples at once.
    pub examples: usize,
    /// Steps of the window.
    pub steps: usize,
    /// Stages in order.
    pub stages: Vec<StageReport>,
    /// Dispatches of the window that belong to no object: norms and the update of the parameters.
    pub other_dispatches: usize,
    /// Dispatches of each step, all of them in loops.
    pub dispatches_per_step: usize,
    /// Dispatches of the whole window. Parts of the minibatch that walk through a loop side by side count as one.
    pub dispatches: usize,
    /// Bytes that one more step takes: inputs, histories of states and values between operators.
    pub bytes_per_step: u64,
    /// Bytes of all buffers of the window; parameters and carried states are not among them.
    pub bytes: u64,
}

/// A stage of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StageReport {
    /// Kind of stage.
    pub kind: StageKind,
    /// True for a part of the gradient, whose loops go from the last step to the first.
    pub backward: bool,
    /// Names of the user's objects that its operators belong to.
    pub objects: Vec<String>,
    /// Names of its operators.
    pub operators: Vec<&'static str>,
    /// Most rows of one dispatch.
    pub rows: usize,
    /// Dispatches; of a loop that is dispatched step by step, those of one step.
    pub dispatches: usize,
}

/// Kind of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StageKind {
    /// All steps at once.
    Batched,
    /// Each column of each example walks through time inside of one dispatch.
    Scan,
    /// Dispatched step by step.
    Loop,
    /// A loop that walks through time inside of its dispatches, with a tile of examples a workgroup.
    Fused,
    /// A call of a user's function on the host.
    Host,
}

impl Report {
    /// The report of a plan.
    pub fn of(plan: &Plan) -> Self {
        let dims = plan.graph.dims;
        let stages: Vec<StageReport> = (0..plan.stages.len()).map(|at| describe(plan, at)).collect();
        let sum = |looped: bool| {
            let those = stages.iter().filter(|s| (s.kind == StageKind::Loop) == looped);
            those.map(|s| s.dispatches).sum::<usize>()
        };
        let (once, per_step) = (sum(false), sum(true));
        let single = plan.recording.commands.iter().filter(|c| matches!(c, Command::Dispatch(_))).count()
            + plan.fused.iter().sum::<usize>();
        Self {
            label: plan.recording.label.clone(),
            examples: dims.batch,
            steps: dims.steps,
            stages,
            other_dispatches: single - once,
            dispatches_per_step: per_step,
            dispatches: single + per_step * dims.steps,
            bytes_per_step: 4 * plan.floats_per_step as u64,
            bytes: plan.recording.locals.iter().map(|(len, _)| 4 * *len as u64).sum(),
        }
    }
}

fn describe(plan: &Plan, at: usize) -> StageReport {
    let (stage, fused) = (&plan.stages[at], plan.fused[at]);
    let nodes: Vec<_> = stage.nodes().iter().map(|n| plan.graph.node(*n)).collect();
    let mut objects: Vec<String> = Vec::new();
    for node in nodes.iter().filter(|n| !n.owner.is_empty()) {
        if !objects.iter().any(|o| **o == *node.owner) {
            objects.push(node.owner.to_string());
        }
    }
    let rows = nodes.iter().map(|n| plan.graph.ty(n.output).total_rows(plan.graph.dims)).max();
    let backward = nodes.iter().any(|n| n.backward);
    let (kind, rows) = match stage {
        Stage::Batched(_) if nodes[0].op.host_call().is_some() => (StageKind::Host, rows),
        Stage::Batched(_) => (StageKind::Batched, rows),
        Stage::Scan(_) => (StageKind::Scan, rows),
        Stage::Loop { .. } if fused > 0 => (StageKind::Fused, Some(plan.graph.dims.batch)),
        Stage::Loop { .. } => (StageKind::Loop, Some(plan.graph.dims.batch)),
    };
    let dispatches = if fused > 0 { fused } else { plan.calls[at] };
    let operators = nodes.iter().map(|n| n.op.name()).collect();
    StageReport { kind, backward, objects, operators, rows: rows.unwrap_or(0), dispatches }
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            StageKind::Batched => "batched",
            StageKind::Scan => "scan",
            StageKind::Loop => "loop",
            StageKind::Fused => "fused",
            StageKind::Host => "host",
        })
    }
}

impl fmt::Display for StageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pass = if self.backward { "backward" } else { "forward" };
        let each = if self.kind == StageKind::Loop { "a step" } else { "" };
        let objects = if self.objects.is_empty() { "-".into() } else { self.objects.join(", ") };
        write!(
            f,
            "  {:<8}{pass:<9}{:>9} {:>10} {each:<7} {objects}  ({})",
            self.kind,
            self.rows,
            self.dispatches,
            self.operators.join(", ")
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} examples at once, {} steps", self.label, self.examples, self.steps)?;
        writeln!(f, "  stage   pass          rows dispatches         objects  (operators)")?;
        self.stages.iter().try_for_each(|stage| writeln!(f, "{stage}"))?;
        if self.other_dispatches > 0 {
            writeln!(f, "  and {} dispatches for norms and the update", self.other_dispatches)?;
        }
        writeln!(f, "  dispatches: {} a step, {} a window", self.dispatches_per_step, self.dispatches)?;
        write!(f, "  buffers: {} a step, {} a window", Bytes(self.bytes_per_step), Bytes(self.bytes))
    }
}

/// A number of bytes that prints with a binary unit: `1.50 MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(size, _)| self.0 >= *size) {
            Some((size, unit)) => write!(f, "{:.2} {unit}", self.0 as f64 / size as f64),
            None => write!(f, "{} bytes", self.0),
        }
    }
}
