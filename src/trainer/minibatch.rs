//! Submission of one minibatch: the passes over its windows, and the programs queued for them.

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
use crate::trainer::gradient_accumulator::GradientAccumulator;
use crate::trainer::key::{Pass, TrainKey};
use crate::trainer::sizes::report_len;
use crate::trainer::targets::target_weights;
use crate::trainer::update::{norms_apart, penalised};
use crate::trainer::windows::Windows;

/// The data of a minibatch.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub inputs: &'a Data,
    pub targets: &'a Data,
    /// Examples, as indices into the data.
    pub examples: &'a [usize],
    /// True if the penalty on parameters is reported.
    pub with_penalty: bool,
    /// True for the last two minibatches of an epoch, after which states are checked.
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

    /// Compiles all programs of a minibatch of the whole run `key`, on first use.
    pub(crate) fn make_programs(&mut self, core: &mut Core, key: &TrainKey, windows: Windows) -> Result<()> {
        for (pass, steps) in windows.passes() {
            let key = TrainKey { dims: Dims { steps, ..key.dims }, pass, ..key.clone() };
            if pass != Pass::Whole && self.sums.is_none() {
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

    /// Queues the passes of a minibatch, whose programs are loaded.
    fn submit_windows(
        &self,
        core: &mut Core,
        batch: Batch<'_>,
        key: &TrainKey,
        windows: Windows,
    ) -> Result<StepInFlight> {
        let (training, step) = (&self.training, self.step);
        let with_penalty = key.update && batch.with_penalty && penalised(core);
        let norms = with_penalty && norms_apart(core);
        let report = (core.shared.get(Shared::Report), report_len(core, training.scalars()));
        if key.update {
            let hyper = training.optimiser.hyper(training.schedule.at(step), step, training.clip);
            core.engine.write(core.shared.get(Shared::Hyper), 0, bytemuck::cast_slice(&[hyper]))?;
        }
        let queue = queue(core, key, windows);
        let last = queue.len() - 1;
        let (mut first, mut bad) = (true, None);
        // Host callbacks at the start of each window that is run twice.
        let mut borders = Vec::new();
        core.kept.remove(&key.states());
        for (at, QueuedPass { before, pass, window }) in queue.into_iter().enumerate() {
            let dims = Dims { steps: windows.range(window).len(), ..key.dims };
            let pass_key = TrainKey { dims, pass, ..key.clone() };
            let missing = || Error::invalid("training", "one of its programs is missing");
            let loaded = self.programs.peek(&pass_key).ok_or_else(missing)?;
            let input = window_input(batch, windows, window, step);
            core.upload(loaded, &input)?;
            if pass == Pass::Forward {
                borders.push(core.kept.get(&key.states()).cloned().unwrap_or_default());
            } else if let Some(kept) = borders.get(window) {
                core.kept.insert(key.states(), kept.clone());
            }
            let mut programs: Vec<&Program> = before.iter().collect();
            programs.extend((norms && at == last).then_some(&self.norms));
            let mut after: Vec<&Program> = Vec::new();
            if let (Pass::Window, Some(sums)) = (pass, &self.sums) {
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
            core.submit_with_calls(&programs, loaded, &after, report, (key.states(), &input))?;
            // The earlier windows' second passes overwrite the states of the run's end.
            if batch.ends && windows.twice && pass == Pass::Window && window + 1 == windows.count() {
                bad = core.nonfinite_state(key.states())?;
            }
        }
        let states_at = if windows.twice { windows.range(0).end } else { windows.steps };
        let run = window_input(batch, windows, 0, step);
        let weights = target_weights(training, core, key, &run)?;
        let examples = batch.examples.len();
        Ok(StepInFlight { step, examples, with_penalty, key: key.clone(), states_at, weights, bad })
    }
}

/// One pass over a window, in the queue of a minibatch.
struct QueuedPass {
    /// Programs before it that reset, save or restore states.
    before: Vec<Program>,
    pass: Pass,
    /// Number of the window, from 0.
    window: usize,
}

/// The passes of a minibatch in order. Checkpointed: forward to the last border, then from the last window to the first, each
/// from its restored border. Else: from the first window to the last.
fn queue(core: &Core, key: &TrainKey, windows: Windows) -> Vec<QueuedPass> {
    // The program of all states of this key.
    let programs = |select: &dyn Fn(&States) -> Option<Program>| -> Vec<Program> {
        core.states.iter().filter(|((k, _), _)| *k == key.states()).filter_map(|(_, s)| select(s)).collect()
    };
    let border =
        |select: &dyn Fn(&Borders) -> Program| programs(&|s: &States| s.borders.as_ref().map(select));
    let reset = programs(&|s: &States| Some(s.reset.clone()));
    let count = windows.count();
    if count == 1 {
        return vec![QueuedPass { before: reset, pass: Pass::Whole, window: 0 }];
    }
    let mut queue = Vec::with_capacity(2 * count);
    if !windows.twice {
        queue.push(QueuedPass { before: reset, pass: Pass::Window, window: 0 });
        queue.extend((1..count).map(|window| {
            let before = border(&|b| b.reset_adjoint.clone());
            QueuedPass { before, pass: Pass::Window, window }
        }));
        return queue;
    }
    for window in 0..count - 1 {
        let before = if window == 0 { reset.clone() } else { border(&|b| b.save[window - 1].clone()) };
        queue.push(QueuedPass { before, pass: Pass::Forward, window });
    }
    queue.push(QueuedPass { before: Vec::new(), pass: Pass::Window, window: count - 1 });
    for window in (0..count - 1).rev() {
        let select = |b: &Borders| match window {
            0 => b.reset_forward.clone(),
            _ => b.restore[window - 1].clone(),
        };
        queue.push(QueuedPass { before: border(&select), pass: Pass::Window, window });
    }
    queue
}

/// The data of one window of a minibatch.
fn window_input(batch: Batch<'_>, windows: Windows, window: usize, training_step: u64) -> WindowInput<'_> {
    let steps = windows.range(window);
    WindowInput {
        inputs: batch.inputs,
        targets: batch.targets,
        batch: batch.examples,
        first: steps.start as u64,
        data_first: steps.start,
        run: windows.steps,
        share: steps.len() as f32 / windows.steps as f32,
        ends: window + 1 == windows.count(),
        training_step,
    }
}
