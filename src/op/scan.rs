//! A system that steps through time: neurons, filters, and their adjoints.
//!
//! Each column of each example walks through time on its own, so a whole window is one dispatch. The adjoint of a scan is a
//! scan as well: the adjoint step with time reversed, over the states that the forward scan kept.

mod chunks;
mod fragment;

use std::any::TypeId;
use std::ops::Range;
use std::sync::Arc;

use crate::engine::cpu::Io;
use crate::engine::fused::{Fragment, Site};
use crate::engine::shader::Source;
use crate::engine::{Access, Dispatch, Family, Kernel, Part, Split, fold, turns};
use crate::error::Result;
use crate::expr::Step;
use crate::expr::operands::Operands;
use crate::expr::scan_cpu::{MAX_OPERANDS, ScanLoop};
use crate::graph::{
    Adjoint, Batchable, Batching, Extent, Identity, Lower, Memory, Operator, Placed, Reference, State,
    Tensor, Type,
};

/// Output of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Emits {
    /// The first result of this step, without delay.
    Result,
    /// The first result of the step before (a synapse on a connection): the step reads its previous one as a last input.
    Delayed,
}

/// A step applied through time, starting from given states.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Name for messages.
    pub name: &'static str,
    /// The step: its inputs are the operands, then the states, then, if [`Emits::Delayed`], its previous output.
    pub step: Step,
    /// Values carried from step to step in addition to a delayed output.
    pub states: Vec<State>,
    /// Its output.
    pub emits: Emits,
    /// The output is a linear function of one operand over time, the same at each step: its adjoint is itself, reversed.
    pub linear: bool,
    /// Time runs from the last step to the first.
    pub backward: bool,
}

impl Operator for Scan {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Type]) -> Result<Type, String> {
        let cols = inputs.iter().map(|ty| ty.cols).max().ok_or("it has no input")?;
        if inputs.len() > MAX_OPERANDS {
            return Err(format!(
                "it has {} inputs, more than the {MAX_OPERANDS} that a kernel can read",
                inputs.len()
            ));
        }
        match inputs.iter().find(|ty| ty.rows > 1 || (ty.cols != cols && ty.cols != 1)) {
            Some(bad) => Err(format!("an input of {bad} cannot be repeated to [step, example, {cols}]")),
            None => Ok(Type::sequence(cols)),
        }
    }

    fn instead_of_gradient(&self) -> &'static str {
        if self.step.is_differentiable() {
            return "";
        }
        // The steps without a gradient are those of spiking neurons.
        "; no rate can take the place of its spikes, so train through them with a surrogate: spiking = { surrogate = \
         { fast-sigmoid = 5.0 } } in a file, Spiking::Surrogate in Rust"
    }

    fn gradient<'s>(&self, at: &Adjoint<'s>) -> Option<Vec<Option<Tensor<'s>>>> {
        let scope = at.adjoint.scope;
        if !self.step.is_differentiable() {
            return None;
        }
        if self.linear {
            let dy = at.adjoint.expand(at.output.ty());
            return at.each(|i| {
                let reversed = Self { backward: !self.backward, ..self.clone() };
                scope.apply(reversed, &[dy]).reduce_to(at.inputs[i].ty())
            });
        }
        let (operands, states) = (at.inputs.len(), self.states.len());
        at.each(|i| {
            let step = self.step.adjoint(operands, states, i);
            let (used, step) = step.with_used(operands + states + 1, states);
            let all = |k: usize| match k {
                k if k < operands => at.inputs[k],
                k if k < operands + states => at.output.state(k - operands, false),
                _ => at.adjoint,
            };
            let inputs: Vec<Tensor<'s>> = used.into_iter().map(all).collect();
            if inputs.is_empty() {
                return scope.constant(0.0);
            }
            let states = self.states.iter().map(|s| State { name: s.name, start: vec![0.0] }).collect();
            let scan = Self {
                name: self.name,
                step,
                states,
                emits: Emits::Result,
                linear: false,
                backward: !self.backward,
            };
            // The result has the output's columns, also where all that is left of the inputs has one.
            let cols = at.output.ty().cols;
            let wide = inputs.iter().any(|x| x.ty().cols == cols);
            let mut inputs = inputs;
            if !wide {
                inputs[0] = inputs[0].expand(inputs[0].ty().with_cols(cols));
            }
            scope.apply(scan, &inputs).reduce_to(at.inputs[i].ty())
        })
    }

    fn memory(&self) -> Memory {
        match self.emits {
            Emits::Delayed => Memory::State { delays: true, backward: self.backward },
            Emits::Result => Memory::Scan { backward: self.backward },
        }
    }

    fn states(&self) -> &[State] {
        &self.states
    }

    fn reversed(&self) -> Option<Arc<dyn Operator>> {
        (self.linear && self.emits == Emits::Delayed)
            .then(|| Arc::new(Self { backward: !self.backward, ..self.clone() }) as Arc<dyn Operator>)
    }

    fn rolls(&self) -> bool {
        true
    }

    fn own_derivative(&self) -> bool {
        self.step.own_derivative()
    }

    fn batch(&self) -> Option<&dyn Batchable> {
        Some(self)
    }

    fn lower(&self, at: &mut Lower) -> Result<Vec<Dispatch>> {
        if let Some(dispatches) = chunks::lower(self, at) {
            return Ok(dispatches);
        }
        let list = (0..at.inputs.len()).map(|i| at.operand(i)).collect();
        let Type { cols, .. } = at.output.ty;
        let rows = at.dims.batch * at.dims.steps;
        let operands = Operands { expr: Default::default(), list, rows, cols };
        let flat = operands.list.iter().all(|o| {
            let one = o.period == 1 && (o.placed.ty.cols == 1 && cols > 1);
            one || (o.placed.ty.cols == cols && o.placed.ty.extent != Extent::Fixed)
        });
        let mut bindings = vec![at.output.binding];
        bindings.extend(at.states.iter().map(|s| s.placed.binding));
        bindings.extend(at.inputs.iter().map(|i| i.binding));
        let kernel = ScanKernel {
            op: self.clone(),
            step: self.step.forward(),
            operands,
            output: at.output.clone(),
            states: at.states.as_ref().map(|s| (s.placed.start, s.kept)),
            batch: at.dims.batch,
            rows: if at.in_loop { at.tile } else { at.dims.batch },
            first: 0,
            steps: at.steps(),
            all_steps: at.dims.steps,
            rolls: at.rolls,
            flat,
            family: at.target.family,
        };
        let windows = kernel.windows(at.target.max_turns);
        Ok(windows.into_iter().map(|kernel| Dispatch::new(kernel, bindings.clone())).collect())
    }

    fn reference(&self, at: &Reference) -> Vec<f64> {
        let (cols, width, first) = (at.ty.cols, at.rows * at.ty.cols, at.inputs.len());
        let before = |k: usize, e: usize| at.state[k * width + e];
        let mut results = vec![0.0; (1 + self.states.len()) * width];
        for e in 0..width {
            let step = self.step.reference_held(
                |x| at.held(x),
                |i| match i {
                    i if i < first => at.at(i, e / cols, e % cols),
                    // Block 0 is the output, the states follow.
                    i if i < first + self.states.len() => before(1 + i - first, e),
                    _ => before(0, e),
                },
            );
            step.into_iter().enumerate().for_each(|(k, value)| results[k * width + e] = value);
        }
        results
    }
}

impl Batchable for Scan {
    fn batching(&self) -> Batching {
        Batching::Columns { widens: false }
    }

    /// Without the states' starts, which each member keeps for its columns.
    fn key(&self) -> Identity {
        let Self { name, step, states, emits, linear, backward } = self;
        let names: Vec<&str> = states.iter().map(|s| s.name).collect();
        Identity::some(TypeId::of::<Self>(), &(name, names, emits, linear, backward, step))
    }

    fn batched(&self, members: &[&dyn Operator], ty: Type, _: usize) -> Arc<dyn Operator> {
        let (mut states, cols) = (self.states.clone(), ty.cols / members.len());
        for (k, state) in states.iter_mut().enumerate() {
            let starts = members.iter().filter_map(|op| op.states().get(k));
            state.start = starts.flat_map(|s: &State| (0..cols).map(|col| s.start(col))).collect();
            if state.start.iter().all(|x| x.to_bits() == state.start[0].to_bits()) {
                state.start.truncate(1);
            }
        }
        Arc::new(Self { states, ..self.clone() })
    }
}

/// One dispatch of `shaders/scan.wgsl`.
#[derive(Clone, Debug)]
struct ScanKernel {
    op: Scan,
    step: Step,
    operands: Operands,
    output: Placed,
    /// First element of the states, and true if their histories are kept.
    states: Option<(usize, bool)>,
    batch: usize,
    /// Examples that are walked through: all, or those of a tile.
    rows: usize,
    /// The step that comes first in time, counted from the row that a dispatch starts at, and how many there are.
    first: usize,
    steps: usize,
    all_steps: usize,
    rolls: bool,
    /// Rows do not matter: every operand has an element for each of the output's, or is one number.
    flat: bool,
    family: Family,
}

impl ScanKernel {
    /// The same in as many dispatches as the turns of a lane's loops ask for, in the order in which time runs.
    fn windows(self, limit: usize) -> Vec<Self> {
        let parts = turns::parts(self.steps, limit, self.step.turns());
        let mut windows: Vec<Self> =
            parts.map(|(first, steps)| Self { first, steps, ..self.clone() }).collect();
        if self.op.backward {
            windows.reverse();
        }
        windows
    }

    fn width(&self) -> usize {
        self.batch * self.output.ty.cols
    }

    fn vec4(&self) -> bool {
        let states = self.states.map_or(0, |(start, _)| start);
        self.operands.aligned() && [self.output.start, states].iter().all(|n| n.is_multiple_of(4))
    }

    fn kept(&self) -> bool {
        self.states.is_some_and(|(_, kept)| kept)
    }

    /// Blocks of each state.
    fn blocks(&self) -> usize {
        if self.kept() { self.all_steps + 1 } else { 1 }
    }

    fn delayed(&self) -> bool {
        self.op.emits == Emits::Delayed
    }

    fn on_cpu(&self) -> ScanLoop<'_> {
        ScanLoop {
            operands: &self.operands,
            states: self.op.states.len(),
            batch: self.batch,
            steps: self.steps,
            blocks: self.blocks(),
            kept: self.kept(),
            delayed: self.delayed(),
            rolls: self.rolls,
            backward: self.op.backward,
            flat: self.flat,
        }
    }
}

impl Kernel for ScanKernel {
    fn source(&self) -> Source {
        let (count, operands) = (self.op.states.len(), self.operands.list.len());
        let stride = self.blocks() * self.width();
        let each = |f: &dyn Fn(usize) -> String| (0..count).map(f).collect::<String>();
        let (lines, results) = self.step.wgsl(|i| match i {
            i if i < operands => format!("load{i}(row, col)"),
            i if i < operands + count => format!("s{}", i - operands),
            _ => "y".to_string(),
        });
        let store = |to: &str| each(&|k| format!("states[({to} + {}u) / WIDTH] = s{k};\n", k * stride));
        let next = format!("y = {};\n", results[0]) + &each(&|k| format!("s{k} = {};\n", results[1 + k]));
        let flags = format!(
            "const BACKWARD = {};\nconst DELAYED = {};\nconst BATCH = {}u;\nconst BLOCK = {};\nconst OUT = {};\n",
            self.op.backward,
            self.delayed(),
            self.batch,
            if self.kept() { "1u" } else { "0u" },
            if self.rolls { "0u" } else { "1u" }
        );
        let declared = "@group(0) @binding(1) var<storage, read_write> states: array<F>;\n";
        let first = 1 + usize::from(count > 0);
        let generated = [
            ("element", Operands::element(self.vec4(), self.family)),
            ("operand_members", self.operands.members()),
            ("states", flags + if count > 0 { declared } else { "" }),
            ("operands", self.operands.declare(first, self.vec4(), self.batch * self.all_steps)),
            ("load", each(&|k| format!("var s{k} = states[(first + {}u) / WIDTH];\n", k * stride))),
            ("advance", lines + &next + &if self.kept() { store("after") } else { String::new() }),
            ("store", if self.kept() { String::new() } else { store("first") }),
        ];
        Source::new("scan", "main", &generated)
    }

    fn access(&self) -> Vec<Access> {
        let mut access = vec![Access::Write; 1 + usize::from(self.states.is_some())];
        access.extend(self.operands.list.iter().map(|_| Access::Read));
        access
    }

    fn params(&self) -> Vec<u32> {
        let states = self.states.map_or(0, |(start, _)| start);
        let sizes = [self.first * self.batch, self.steps, self.output.ty.cols, self.output.start, states];
        let mut words: Vec<u32> = sizes.iter().map(|&n| n as u32).collect();
        words.extend(self.operands.words());
        words
    }

    fn grid(&self) -> [u32; 3] {
        let lanes = if self.vec4() { self.width() / 4 } else { self.width() };
        fold(lanes.div_ceil(64))
    }

    fn fragment(&self, site: &Site) -> Option<Fragment> {
        Some(self.write_fragment(site))
    }

    fn turns(&self) -> usize {
        turns::of(self.steps, self.step.turns())
    }

    fn split(&self, row0: usize) -> Split {
        let (width, cols) = (self.width(), self.output.ty.cols);
        let first = row0 % self.batch * cols;
        let part = |start: usize, outer| Part { start: start + first, outer, stride: width, inner: 1 };
        let blocks = if self.rolls { 1 } else { self.all_steps + usize::from(self.delayed()) };
        let mut parts = vec![part(self.output.start, blocks)];
        if let Some((start, _)) = self.states {
            parts.push(part(start, self.op.states.len() * self.blocks()));
        }
        // Threads write whole cache lines.
        let grain = 2048_usize.div_ceil(self.steps).next_multiple_of(16);
        Split { units: self.rows * cols, grain, parts }
    }

    fn run(&self, io: &mut Io<'_>, units: Range<usize>, row0: usize) {
        let row0 = row0 + self.first * self.batch;
        match self.step.compiled() {
            Some(compiled) => compiled.walk(&self.on_cpu(), io, units, row0),
            None => self.on_cpu().interpret(&self.step, io, units, row0),
        }
    }
}
