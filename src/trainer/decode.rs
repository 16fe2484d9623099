//! The report of a minibatch in words, and the errors for what is not finite.

use crate::error::{Error, Result};
use crate::graph::Dims;
use crate::network::{Activation, Kind, Object};
use crate::optim::update::{LINE, Segment};
use crate::sim::core::Core;
use crate::sim::states::NonFiniteState;
use crate::trainer::compiled::Trainer;
use crate::trainer::key::TrainKey;
use crate::trainer::reports::{StepReport, WeightedMeans};
use crate::trainer::update::penalised;

/// A submission whose report is under way.
pub(crate) struct StepInFlight {
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
    pub bad: Option<NonFiniteState>,
}

impl Trainer {
    /// The numbers of a report, each with its weight in a mean over minibatches: losses and custom parts, then metrics.
    pub(crate) fn weighted(&self, report: &[f32], of: &StepInFlight) -> Result<Vec<(f64, f64)>> {
        let number = |i: usize| (f64::from(report[i * LINE]), of.weights[i]);
        let metrics = self.training.metrics.len();
        let all = of.weights.len();
        Ok((0..self.training.losses()).chain(all - metrics..all).map(number).collect())
    }

    /// The penalties on activities in a report; nothing where there are none.
    fn on_activity(&self, report: &[f32]) -> Option<f64> {
        let objective = Some(&self.training.objective);
        let at = objective.filter(|o| !o.activities.is_empty()).map(|o| o.terms.len() + o.custom.len());
        at.map(|i| f64::from(report[i * LINE]))
    }

    /// A report's floats in words; `numbers` are those of `Trainer::weighted`.
    pub(crate) fn decode(
        &mut self,
        core: &mut Core,
        report: &[f32],
        numbers: &[(f64, f64)],
        of: &StepInFlight,
    ) -> Result<StepReport> {
        let training = &self.training;
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
            return Err(not_finite(core, what, report[i * LINE], of));
        }
        let activity = self.on_activity(report);
        let sums = &report[self.training.scalars() * LINE..];
        let on_parameters = of.looks.then(|| {
            let penalised = |(_, s): &(usize, &Segment)| s.l2 != 0.0 || s.l1 != 0.0 || s.norm != 0.0;
            let one = |(i, s): (usize, &Segment)| {
                let (absolute, square) = (f64::from(sums[2 * i]), f64::from(sums[2 * i + 1]));
                f64::from(s.l2) * square / 2.0
                    + f64::from(s.l1) * absolute
                    + f64::from(s.norm) * square.sqrt()
            };
            core.layout.segments.list.iter().enumerate().filter(penalised).map(one).sum::<f64>()
        });
        let penalty = match (on_parameters, activity) {
            (None, activity) => activity.filter(|_| !penalised(core)),
            (Some(on_parameters), activity) => Some(on_parameters + activity.unwrap_or(0.0)),
        };
        let mut means = WeightedMeans::default();
        means.add(numbers);
        let (loss, metrics) = means.split(terms + custom);
        Ok(StepReport { step: of.step, examples: of.examples, loss, penalty, activity, metrics })
    }

    /// Refuses states that are not finite, of the last minibatches of a pass through `examples`: such neurons are silent, and
    /// the loss is as if all were well.
    pub(crate) fn check_last_states(
        &mut self,
        core: &mut Core,
        key: &TrainKey,
        examples: usize,
    ) -> Result<()> {
        for batch in [key.dims.batch, examples % key.dims.batch].into_iter().filter(|&n| n > 0) {
            let key = TrainKey { dims: Dims { batch, ..key.dims }, ..key.clone() };
            let bad = core.nonfinite_state(key.states())?;
            self.refuse(bad)?;
        }
        Ok(())
    }

    /// Refuses a state of a minibatch that is not finite.
    pub(crate) fn refuse(&self, bad: Option<NonFiniteState>) -> Result<()> {
        let Some(NonFiniteState { what, value, place }) = bad else { return Ok(()) };
        let step = self.step.saturating_sub(1);
        let hint = format!(
            "at {place}; it comes from the data, a function of a connection or too high a learning rate; what was saved before \
             is kept"
        );
        Err(Error::NotFinite { what, value, step, hint })
    }
}

pub(crate) fn report_len(core: &Core, scalars: usize) -> usize {
    scalars * LINE + 2 * core.layout.segments.list.len().max(1)
}

/// The error for a loss that is not finite, with the state that shows where it comes from.
fn not_finite(core: &mut Core, what: String, value: f32, of: &StepInFlight) -> Error {
    let steep = |o: &&Object| matches!(&o.kind, Kind::Layer(l) if matches!(l.activation, Activation::Sqrt | Activation::Log));
    let advice = match core.network.objects.iter().find(steep) {
        Some(Object { name, .. }) => format!(
            "the derivative of the activation of layer '{name}' is infinite at 0: keep what comes into it above 0; else \
             lower the learning rate or clip the gradient; what was saved before is kept"
        ),
        None => "lower the learning rate or clip the gradient; what was saved before is kept".to_string(),
    };
    let hint = match core.nonfinite_state(of.key.states()) {
        Ok(Some(state)) => format!("{state}, after {} time steps; {advice}", of.states_at),
        // What is wrong with the device, if anything, matters less than the loss.
        _ => advice,
    };
    Error::NotFinite { what, value, step: of.step, hint }
}
