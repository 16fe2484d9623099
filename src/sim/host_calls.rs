//! Host callbacks: programs in parts, and calls of host functions between the parts.

use crate::engine::{BufferId, BufferRef, Program};
use crate::error::{Error, Result, guarded};
use crate::graph::{Dims, Graph, Placed};
use crate::op::Callback;
use crate::plan::pass::host_call::parts;
use crate::plan::{Plan, Stage};
use crate::sim::core::Core;
use crate::sim::program::{Call, LoadedProgram};
use crate::sim::states::StateKey;
use crate::sim::window_input::WindowInput;

impl Core {
    /// Loads a plan, cut at host callbacks into programs that share their buffers. Gives the first program, and a call for each
    /// cut.
    pub(crate) fn load_parts(&mut self, plan: &Plan) -> Result<(Program, Vec<Call>)> {
        if plan.cuts.is_empty() {
            return Ok((self.engine.load(&plan.recording, self.shared.all())?, Vec::new()));
        }
        let mut locals: Vec<BufferId> = Vec::new();
        let mut programs: Vec<Program> = Vec::new();
        let mut make = || {
            for (len, label) in &plan.recording.locals {
                locals.push(self.engine.allocate(*len, label)?);
            }
            let all: Vec<BufferId> = self.shared.all().iter().chain(&locals).copied().collect();
            for part in parts(&plan.recording, &plan.cuts, self.shared.all().len()) {
                programs.push(self.engine.load(&part, &all)?);
            }
            Ok(())
        };
        if let Err(error) = make() {
            programs.into_iter().for_each(|p| self.engine.unload(p));
            locals.into_iter().for_each(|id| self.engine.free(id));
            return Err(error);
        }
        let find = |placed: &Placed| match placed.binding.buffer {
            BufferRef::Local(i) => (locals[i], placed.clone()),
            BufferRef::Shared(i) => (self.shared.at(i), placed.clone()),
        };
        let mut programs = programs.into_iter();
        let first = programs.next().map(|p| Program { locals: locals.clone(), ..p });
        let calls = plan.cuts.iter().zip(programs).map(|(cut, then)| Call {
            callback: cut.callback.clone(),
            number: cut.number,
            input: find(&cut.input),
            output: find(&cut.output),
            then,
        });
        let missing = || Error::invalid("a program", "it has no parts");
        Ok((first.ok_or_else(missing)?, calls.collect()))
    }

    /// Submits `before`, a loaded program and `after`, and calls the host functions of `key` where the program is cut. The
    /// last submission reads `report` (buffer and floats) back.
    pub(crate) fn submit_with_calls(
        &mut self,
        before: &[&Program],
        loaded: &LoadedProgram,
        after: &[&Program],
        report: Option<(BufferId, usize)>,
        (key, input): (StateKey, &WindowInput<'_>),
    ) -> Result<()> {
        let mut queue: Vec<&Program> = before.to_vec();
        queue.push(&loaded.program);
        for call in &loaded.calls {
            self.engine.submit(&queue, None)?;
            self.call(call, loaded.dims, key, input)?;
            queue = vec![&call.then];
        }
        queue.extend(after);
        self.engine.submit(&queue, report)
    }

    /// Reads a callback's input, calls the functions for each step and example, and writes their output.
    fn call(&mut self, call: &Call, dims: Dims, key: StateKey, input: &WindowInput<'_>) -> Result<()> {
        let Callback { what, size_in, size_out, factory } = &call.callback;
        let start = |p: &Placed| p.binding.offset + p.start;
        let (rows, (place, source)) = (dims.batch * dims.steps, &call.input);
        let x = self.engine.read(*place, start(source), rows * size_in)?;
        let mut y = Vec::with_capacity(rows * size_out);
        let whose = (what.clone(), call.number);
        let mut functions = match self.kept.entry(key).or_default().remove(&whose) {
            Some(functions) => functions,
            None => {
                let create =
                    |&example: &usize| guarded(&format!("{what} for example {example}"), || factory(example));
                input.batch.iter().map(create).collect::<Result<_>>()?
            }
        };
        for (r, x) in x.chunks_exact(*size_in).enumerate() {
            let (step, f) = (input.first + (r / dims.batch) as u64, &mut functions[r % dims.batch]);
            let t = (step + 1) as f64 * self.dt;
            let row = guarded(&format!("{what} at {t} s"), || f.call(t, x))?;
            if row.len() != *size_out {
                let got = format!("{} values at {t} s", row.len());
                return Err(Error::shape(what, size_out, "what its function gives", got));
            }
            if let Some(&value) = row.iter().find(|x| !x.is_finite()) {
                let hint = format!("its function must give finite numbers, also at {t} s");
                return Err(Error::NotFinite { what: what.clone(), value, step, hint });
            }
            y.extend(row);
        }
        self.kept.entry(key).or_default().insert(whose, functions);
        let (to, output) = &call.output;
        self.engine.write(*to, start(output), &y)
    }

    /// Submits a window of a run. If a host callback fails, the states before the window are restored.
    pub(crate) fn submit_restorable(
        &mut self,
        loaded: &LoadedProgram,
        key: StateKey,
        input: &WindowInput<'_>,
    ) -> Result<()> {
        if loaded.calls.is_empty() {
            return self.engine.submit(&[&loaded.program], None);
        }
        let kept = self.kept.get(&key).cloned();
        let save = self.backups(key)?.into_iter().map(|b| b.save).collect::<Vec<_>>();
        let before: Vec<&Program> = save.iter().collect();
        let result = self.submit_with_calls(&before, loaded, &[], None, (key, input));
        if result.is_err() {
            self.kept.insert(key, kept.unwrap_or_default());
            let restore = self.backups(key)?.into_iter().map(|b| b.restore).collect::<Vec<_>>();
            self.engine.submit(&restore.iter().collect::<Vec<_>>(), None)?;
        }
        result
    }

    /// Finds the callbacks on a cycle.
    pub(crate) fn find_callbacks_in_loops(&mut self, graph: &Graph, stages: &[Stage]) {
        let looped = stages.iter().filter(|s| matches!(s, Stage::Loop { .. })).flat_map(Stage::nodes);
        let nodes = looped.map(|n| graph.node(*n));
        let called = nodes.filter_map(|n| n.op.host_call());
        self.step_by_step = called.map(|c| c.what.clone()).collect();
    }
}
