//! One minibatch: its windows, what is submitted for them, and the report that comes back.

use super::Simulator;
use super::data::Data;
use super::feeds::Rows;
use super::programs::{GRADIENTS, HYPER, PARTS, REPORT};
use super::reports::{Means, StepReport};
use super::states::{BadState, Borders, States};
use super::train::{Compiled, Part, TrainKey};
use super::windows::Windows;
use crate::engine::{Binding, Command, Engine, Program, Recording};
use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::network::{Activation, Kind, Object};
use crate::op::accumulate::accumulate;
use crate::op::update::{LINE, Segment};

/// A submission whose report is under way.
pub(super) struct Pending {
    pub step: u64,
    pub examples: usize,
    /// Whether the norms of the parameters are in the report.
    pub looks: bool,
    pub key: TrainKey,
    /// The time step after which the states are what the device holds in the end.
    pub states_at: usize,
    /// Of each number of the report, the examples that it is the mean of: fewer where not all targets count.
    pub weights: Vec<f64>,
    /// A state of the run's end that is not finite, where it would be gone by the end of a pass.
    pub bad: Option<BadState>,
}

/// Programs that a run in several windows needs besides those of its windows.
pub(super) struct Sums {
    /// Takes a window's gradients and report for the run's, or adds them.
    set: Program,
    add: Program,
    /// The same of the report alone.
    set_report: Program,
    add_report: Program,
    update: Program,
}

impl Sums {
    /// Frees everything.
    pub fn drop(self, engine: &mut dyn Engine) {
        let Sums { set, add, set_report, add_report, update } = self;
        [set, add, set_report, add_report, update].into_iter().for_each(|p| engine.unload(p));
    }
}

/// The data of a minibatch.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    pub inputs: &'a Data,
    pub targets: &'a Data,
    /// Which examples.
    pub examples: &'a [usize],
    /// Whether the penalty on parameters is looked at.
    pub looks: bool,
    /// It is one of the last two of a pass, after which states are looked at.
    pub ends: bool,
}

impl Simulator {
    /// Queues one minibatch of the whole run `key`.
    pub(super) fn submit_batch(
        &mut self,
        batch: Batch<'_>,
        key: &TrainKey,
        windows: Windows,
    ) -> Result<Pending> {
        let key = TrainKey { dims: Dims { batch: batch.examples.len(), ..key.dims }, ..key.clone() };
        self.make_programs(&key, windows)?;
        let Some(mut compiled) = self.compiled.take() else {
            return Err(Error::invalid("training", "nothing has been compiled yet; call compile first"));
        };
        let result = self.submit_windows(batch, &key, windows, &compiled);
        if key.update && result.is_ok() {
            compiled.step += 1;
        }
        self.compiled = Some(compiled);
        result
    }

    /// Makes all programs that a minibatch of the whole run `key` needs, on first use.
    pub(super) fn make_programs(&mut self, key: &TrainKey, windows: Windows) -> Result<()> {
        for (part, steps) in windows.parts() {
            let key = TrainKey { dims: Dims { steps, ..key.dims }, part, ..key.clone() };
            if part != Part::Whole {
                self.make_sums()?;
            }
            self.training_program(&key)?;
        }
        if windows.count() > 1 {
            let states: Vec<_> = self.states.keys().filter(|(k, _)| *k == key.states()).copied().collect();
            states.into_iter().try_for_each(|key| self.make_borders(key, windows.borders()))?;
        }
        Ok(())
    }

    fn make_sums(&mut self) -> Result<()> {
        let compiled = self.compiled()?;
        if compiled.sums.is_some() {
            return Ok(());
        }
        let scalars = compiled.scalars();
        let (floats, report) = (self.layout.floats(), scalars * LINE);
        let mut update = Recording { label: "update".into(), ..Recording::default() };
        self.append_update(&mut update, scalars, &compiled.training);
        self.shared[PARTS] = self.engine.allocate(self.parts_len(scalars), "a window's gradients")?;
        let at = |buffer, offset, len| Binding { offset, ..self.whole(buffer, len) };
        let of_gradients = (at(GRADIENTS, 0, floats), at(PARTS, 0, floats));
        let of_report = (at(REPORT, 0, report), at(PARTS, floats, report));
        let family = self.device.target().family;
        let set = |(to, from): (Binding, Binding)| Command::Copy { from, to };
        let add = |(to, from): (Binding, Binding)| Command::Dispatch(accumulate(to, from, family));
        let both = [of_gradients, of_report];
        let mut load = |label: &str, commands: Vec<Command>| {
            let recording = Recording { label: label.into(), locals: Vec::new(), commands };
            self.engine.load(&recording, &self.shared)
        };
        let sums = Sums {
            set: load("first window", both.map(set).into())?,
            add: load("next window", both.map(add).into())?,
            set_report: load("first window's report", vec![set(of_report)])?,
            add_report: load("next window's report", vec![add(of_report)])?,
            update: load("update", update.commands)?,
        };
        if let Some(compiled) = &mut self.compiled {
            compiled.sums = Some(sums);
        }
        Ok(())
    }

    fn submit_windows(
        &mut self,
        batch: Batch<'_>,
        key: &TrainKey,
        windows: Windows,
        compiled: &Compiled,
    ) -> Result<Pending> {
        let (training, step) = (&compiled.training, compiled.step);
        let looks = key.update && batch.looks && self.penalised();
        let norms = looks && self.looks_apart();
        let report = (self.shared[REPORT], self.report_len(compiled.scalars()));
        if key.update {
            let hyper = training.optimiser.hyper(training.schedule.at(step), step, training.clip);
            self.engine.write(self.shared[HYPER], 0, bytemuck::cast_slice(&[hyper]))?;
        }
        let count = windows.count();
        let rows = |i: usize| {
            let steps = windows.range(i);
            let share = steps.len() as f32 / windows.steps as f32;
            let Batch { inputs, targets, examples, .. } = batch;
            let (first, data_first, run) = (steps.start as u64, steps.start, windows.steps);
            let (batch, ends) = (examples, i + 1 == count);
            Rows { inputs, targets, batch, first, data_first, run, share, ends, training_step: step }
        };
        // Programs before each window's: of all states of this key.
        let all = |of: &dyn Fn(&States) -> Option<Program>| -> Vec<Program> {
            self.states.iter().filter(|((k, _), _)| *k == key.states()).filter_map(|(_, s)| of(s)).collect()
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
        self.kept.remove(&key.states());
        for (at, (before, part, i)) in queue.into_iter().enumerate() {
            let part = if count == 1 { Part::Whole } else { part };
            let dims = Dims { steps: windows.range(i).len(), ..key.dims };
            let own = TrainKey { dims, part, ..key.clone() };
            let missing = || Error::invalid("training", "one of its programs is missing");
            let loaded = compiled.programs.peek(&own).ok_or_else(missing)?;
            let rows = rows(i);
            self.upload(loaded, &rows)?;
            if part == Part::Forward {
                borders.push(self.kept.get(&key.states()).cloned().unwrap_or_default());
            } else if let Some(kept) = borders.get(i) {
                self.kept.insert(key.states(), kept.clone());
            }
            let mut programs: Vec<&Program> = before.iter().collect();
            programs.extend((norms && at == last).then_some(&compiled.norms));
            let mut after: Vec<&Program> = Vec::new();
            if let (Part::Window, Some(sums)) = (part, &compiled.sums) {
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
            self.submit_with_calls(&programs, loaded, &after, report, (key.states(), &rows))?;
            // The states of the run's end are gone once its earlier windows have been run again.
            if batch.ends && windows.twice && part == Part::Window && i + 1 == count {
                bad = self.bad_state(key.states())?;
            }
        }
        let states_at = if windows.twice { windows.range(0).end } else { windows.steps };
        let (weights, examples) = (self.target_weights(key, compiled, &rows(0))?, batch.examples.len());
        Ok(Pending { step, examples, looks, key: key.clone(), states_at, weights, bad })
    }

    /// The numbers of a report, each with its weight in a mean over minibatches: losses and custom parts, then metrics.
    pub(super) fn weighted(&self, report: &[f32], of: &Pending) -> Result<Vec<(f64, f64)>> {
        let number = |i: usize| (f64::from(report[i * LINE]), of.weights[i]);
        let metrics = self.compiled()?.training.metrics.len();
        let all = of.weights.len();
        Ok((0..self.compiled()?.losses()).chain(all - metrics..all).map(number).collect())
    }

    fn report_len(&self, scalars: usize) -> usize {
        scalars * LINE + 2 * self.layout.segments.list.len().max(1)
    }

    /// The penalties on activities in a report; nothing where there are none.
    fn on_activity(&self, report: &[f32]) -> Option<f64> {
        let objective = self.compiled.as_ref().map(|c| &c.training.objective);
        let at = objective.filter(|o| !o.activities.is_empty()).map(|o| o.terms.len() + o.custom.len());
        at.map(|i| f64::from(report[i * LINE]))
    }

    /// A report's floats in words; `numbers` are those of [`Simulator::weighted`].
    pub(super) fn decode(
        &mut self,
        report: &[f32],
        numbers: &[(f64, f64)],
        of: &Pending,
    ) -> Result<StepReport> {
        let compiled = self.compiled()?;
        let training = &compiled.training;
        let objective = &training.objective;
        let (terms, custom) = (objective.terms.len(), objective.custom.len());
        let activities = usize::from(!objective.activities.is_empty());
        if let Some(i) = (0..terms + custom + activities).find(|i| !report[i * LINE].is_finite()) {
            let what =
                match (objective.terms.get(i), i.checked_sub(terms).and_then(|i| objective.custom.get(i))) {
                    (Some(term), _) => format!("the loss of probe '{}'", term.probe),
                    (_, Some(part)) => format!("the objective '{}'", part.name),
                    _ => "the penalty on activities".to_string(),
                };
            return Err(self.not_finite(what, report[i * LINE], of));
        }
        let activity = self.on_activity(report);
        let sums = &report[compiled.scalars() * LINE..];
        let on_parameters = of.looks.then(|| {
            let penalised = |(_, s): &(usize, &Segment)| s.l2 != 0.0 || s.l1 != 0.0 || s.norm != 0.0;
            let one = |(i, s): (usize, &Segment)| {
                let (absolute, square) = (f64::from(sums[2 * i]), f64::from(sums[2 * i + 1]));
                f64::from(s.l2) * square / 2.0
                    + f64::from(s.l1) * absolute
                    + f64::from(s.norm) * square.sqrt()
            };
            self.layout.segments.list.iter().enumerate().filter(penalised).map(one).sum::<f64>()
        });
        let penalty = match (on_parameters, activity) {
            (None, activity) => activity.filter(|_| !self.penalised()),
            (Some(on_parameters), activity) => Some(on_parameters + activity.unwrap_or(0.0)),
        };
        let mut means = Means::default();
        means.add(numbers);
        let (loss, metrics) = means.split(terms + custom);
        Ok(StepReport { step: of.step, examples: of.examples, loss, penalty, activity, metrics })
    }

    /// The error for a loss that is not finite, with the state that shows where it comes from.
    fn not_finite(&mut self, what: String, value: f32, of: &Pending) -> Error {
        let steep = |o: &&Object| matches!(&o.kind, Kind::Layer(l) if matches!(l.activation, Activation::Sqrt | Activation::Log));
        let advice = match self.network.objects.iter().find(steep) {
            Some(Object { name, .. }) => format!(
                "the derivative of the activation of layer '{name}' is infinite at 0: keep what comes into it above 0; else \
                 lower the learning rate or clip the gradient; what was saved before is kept"
            ),
            None => "lower the learning rate or clip the gradient; what was saved before is kept".to_string(),
        };
        let hint = match self.bad_state(of.key.states()) {
            Ok(Some(state)) => format!("{state}, after {} time steps; {advice}", of.states_at),
            // What is wrong with the device, if anything, matters less than the loss.
            _ => advice,
        };
        Error::NotFinite { what, value, step: of.step, hint }
    }
}
