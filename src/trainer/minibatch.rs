//! One minibatch: its windows, what is submitted for them, and the report that comes back.

use crate::engine::Program;
use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::sim::core::Core;
use crate::sim::data::Data;
use crate::sim::shared::Shared;
use crate::sim::states::{Borders, States};
use crate::sim::window_input::WindowInput;
use crate::trainer::compiled::Trainer;
use crate::trainer::decode::StepInFlight;
use crate::trainer::decode::report_len;
use crate::trainer::gradient_accumulator::GradientAccumulator;
use crate::trainer::key::{Part, TrainKey};
use crate::trainer::targets::target_weights;
use crate::trainer::update::looks_apart;
use crate::trainer::update::penalised;
use crate::trainer::windows::Windows;

/// The data of a minibatch.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub inputs: &'a Data,
    pub targets: &'a Data,
    /// Which examples.
    pub examples: &'a [usize],
    /// Whether the penalty on parameters is looked at.
    pub looks: bool,
    /// It is one of the last two of a pass, after which states are looked at.
    pub ends: bool,
}

impl Trainer {
    /// Queues one minibatch of the whole run `key`.
    pub(crate) fn submit_batch(
        &mut self,
        core: &mut Core,
        batch: Batch<'_>,
        key: &TrainKey,
        windows: Windows,
    ) -> Result<StepInFlight> {
        let key = TrainKey { dims: Dims { batch: batch.examples.len(), ..key.dims }, ..key.clone() };
        self.make_programs(core, &key, windows)?;
        let pending = self.submit_windows(core, batch, &key, windows)?;
        self.step += u64::from(key.update);
        Ok(pending)
    }

    /// Makes all programs that a minibatch of the whole run `key` needs, on first use.
    pub(crate) fn make_programs(&mut self, core: &mut Core, key: &TrainKey, windows: Windows) -> Result<()> {
        for (part, steps) in windows.parts() {
            let key = TrainKey { dims: Dims { steps, ..key.dims }, part, ..key.clone() };
            if part != Part::Whole && self.sums.is_none() {
                self.sums = Some(GradientAccumulator::new(core, &self.training)?);
            }
            self.training_program(core, &key)?;
        }
        if windows.count() > 1 {
            let states: Vec<_> = core.states.keys().filter(|(k, _)| *k == key.states()).copied().collect();
            states.into_iter().try_for_each(|key| core.make_borders(key, windows.borders()))?;
        }
        Ok(())
    }

    fn submit_windows(
        &mut self,
        core: &mut Core,
        batch: Batch<'_>,
        key: &TrainKey,
        windows: Windows,
    ) -> Result<StepInFlight> {
        let (training, step) = (&self.training, self.step);
        let looks = key.update && batch.looks && penalised(core);
        let norms = looks && looks_apart(core);
        let report = (core.shared.get(Shared::Report), report_len(core, self.training.scalars()));
        if key.update {
            let hyper = training.optimiser.hyper(training.schedule.at(step), step, training.clip);
            core.engine.write(core.shared.get(Shared::Hyper), 0, bytemuck::cast_slice(&[hyper]))?;
        }
        let count = windows.count();
        let rows = |i: usize| {
            let steps = windows.range(i);
            let share = steps.len() as f32 / windows.steps as f32;
            let Batch { inputs, targets, examples, .. } = batch;
            let (first, data_first, run) = (steps.start as u64, steps.start, windows.steps);
            let (batch, ends) = (examples, i + 1 == count);
            WindowInput { inputs, targets, batch, first, data_first, run, share, ends, training_step: step }
        };
        // Programs before each window's: of all states of this key.
        let all = |of: &dyn Fn(&States) -> Option<Program>| -> Vec<Program> {
            core.states.iter().filter(|((k, _), _)| *k == key.states()).filter_map(|(_, s)| of(s)).collect()
        };
        let border = |of: &dyn Fn(&Borders) -> Program| all(&|s: &States| s.borders.as_ref().map(of));
        let reset = all(&|s: &States| Some(s.reset.clone()));
        let mut queue: Vec<(Vec<Program>, Part, usize)> = Vec::with_capacity(2 * count);
        if windows.twice {
            for i in 0..count - 1 {
                let before = if i == 0 { reset.clone() } else { border(&|b| b.save[i - 1].clone()) };
                queue.push((before, Part::Forward, i));
            }
            queue.push((if count == 1 { reset.clone() } else { Vec::new() }, Part::Window, count - 1));
            for i in (0..count - 1).rev() {
                let before = |b: &Borders| if i == 0 { &b.reset_forward } else { &b.restore[i - 1] }.clone();
                queue.push((border(&before), Part::Window, i));
            }
        } else {
            queue.push((reset, if count == 1 { Part::Whole } else { Part::Window }, 0));
            queue.extend((1..count).map(|i| (border(&|b| b.reset_adjoint.clone()), Part::Window, i)));
        }
        let last = queue.len() - 1;
        let (mut first, mut bad) = (true, None);
        // What callbacks keep at the start of each window that is run again.
        let mut borders = Vec::new();
        core.kept.remove(&key.states());
        for (at, (before, part, i)) in queue.into_iter().enumerate() {
            let part = if count == 1 { Part::Whole } else { part };
            let dims = Dims { steps: windows.range(i).len(), ..key.dims };
            let own = TrainKey { dims, part, ..key.clone() };
            let missing = || Error::invalid("training", "one of its programs is missing");
            let loaded = self.programs.peek(&own).ok_or_else(missing)?;
            let rows = rows(i);
            core.upload(loaded, &rows)?;
            if part == Part::Forward {
                borders.push(core.kept.get(&key.states()).cloned().unwrap_or_default());
            } else if let Some(kept) = borders.get(i) {
                core.kept.insert(key.states(), kept.clone());
            }
            let mut programs: Vec<&Program> = before.iter().collect();
            programs.extend((norms && at == last).then_some(&self.norms));
            let mut after: Vec<&Program> = Vec::new();
            if let (Part::Window, Some(sums)) = (part, &self.sums) {
                after.push(match (key.update, first) {
                    (true, true) => &sums.set,
                    (true, false) => &sums.add,
                    (false, true) => &sums.set_report,
                    (false, false) => &sums.add_report,
                });
                after.extend((key.update && at == last).then_some(&sums.update));
                first = false;
            }
            let report = (at == last).then_some(report);
            core.submit_with_calls(&programs, loaded, &after, report, (key.states(), &rows))?;
            // The states of the run's end are gone once its earlier windows have been run again.
            if batch.ends && windows.twice && part == Part::Window && i + 1 == count {
                bad = core.nonfinite_state(key.states())?;
            }
        }
        let states_at = if windows.twice { windows.range(0).end } else { windows.steps };
        let (weights, examples) =
            (target_weights(&self.training, core, key, &rows(0))?, batch.examples.len());
        Ok(StepInFlight { step, examples, looks, key: key.clone(), states_at, weights, bad })
    }
}
