//! Reports of minibatches from their floats, and errors for losses and states that are not finite.

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

/// A submitted minibatch whose report has not arrived.
pub(crate) struct StepInFlight {
    pub step: u64,
    pub examples: usize,
    /// True if the norms of the parameters are in the report.
    pub with_penalty: bool,
    pub key: TrainKey,
    /// Time step after which the states are those that the device holds at the end.
    pub states_at: usize,
    /// For each scalar of the report, the number of examples that it is the mean of: fewer if some targets do not count.
    pub weights: Vec<f64>,
    /// A state at the end of the run that is not finite, if later windows overwrite it.
    pub bad: Option<NonFiniteState>,
}

impl Trainer {
    /// Losses, custom parts and metrics of a report, each with its weight in a mean over minibatches.
    pub(crate) fn weighted(&self, report: &[f32], step: &StepInFlight) -> Vec<(f64, f64)> {
        let number = |i: usize| (f64::from(report[i * LINE]), step.weights[i]);
        let metrics = self.training.metrics.len();
        let count = step.weights.len();
        (0..self.training.losses()).chain(count - metrics..count).map(number).collect()
    }

    /// Sum of penalties on activities in a report; `None` without any.
    fn on_activity(&self, report: &[f32]) -> Option<f64> {
        let line = self.training.losses();
        (!self.training.objective.activities.is_empty()).then(|| f64::from(report[line * LINE]))
    }

    /// The report from its floats; `numbers` are those of [`Trainer::weighted`].
    pub(crate) fn decode(
        &self,
        core: &mut Core,
        report: &[f32],
        numbers: &[(f64, f64)],
        step: &StepInFlight,
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
            return Err(not_finite(core, what, report[i * LINE], step));
        }
        let activity = self.on_activity(report);
        let sums = &report[self.training.scalars() * LINE..];
        let on_parameters = step.with_penalty.then(|| {
            let penalised = |(_, s): &(usize, &Segment)| s.l2 != 0.0 || s.l1 != 0.0 || s.norm != 0.0;
            let penalty_of = |(i, s): (usize, &Segment)| {
                let (absolute, square) = (f64::from(sums[2 * i]), f64::from(sums[2 * i + 1]));
                f64::from(s.l2) * square / 2.0
                    + f64::from(s.l1) * absolute
                    + f64::from(s.norm) * square.sqrt()
            };
            core.layout.segments.list.iter().enumerate().filter(penalised).map(penalty_of).sum::<f64>()
        });
        let penalty = match (on_parameters, activity) {
            (None, activity) => activity.filter(|_| !penalised(core)),
            (Some(on_parameters), activity) => Some(on_parameters + activity.unwrap_or(0.0)),
        };
        let mut means = WeightedMeans::default();
        means.add(numbers);
        let (loss, metrics) = means.split(terms + custom);
        Ok(StepReport { step: step.step, examples: step.examples, loss, penalty, activity, metrics })
    }

    /// Returns an error for states that are not finite after the last minibatches of `examples`. Such neurons are silent, so the
    /// loss need not show them.
    pub(crate) fn check_last_states(&self, core: &mut Core, key: &TrainKey, examples: usize) -> Result<()> {
        for batch in [key.dims.batch, examples % key.dims.batch].into_iter().filter(|&n| n > 0) {
            let key = TrainKey { dims: Dims { batch, ..key.dims }, ..key.clone() };
            let bad = core.nonfinite_state(key.states())?;
            self.refuse(bad)?;
        }
        Ok(())
    }

    /// The error for a state that is not finite, if there is one.
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

/// The error for a loss that is not finite, with the state that shows where it comes from.
fn not_finite(core: &mut Core, what: String, value: f32, step: &StepInFlight) -> Error {
    let steep = |o: &&Object| matches!(&o.kind, Kind::Layer(l) if matches!(l.activation, Activation::Sqrt | Activation::Log));
    let advice = match core.network.objects.iter().find(steep) {
        Some(Object { name, .. }) => format!(
            "the derivative of the activation of layer '{name}' is infinite at 0: keep what comes into it above 0; else \
             lower the learning rate or clip the gradient; what was saved before is kept"
        ),
        None => "lower the learning rate or clip the gradient; what was saved before is kept".to_string(),
    };
    let hint = match core.nonfinite_state(step.key.states()) {
        Ok(Some(state)) => format!("{state}, after {} time steps; {advice}", step.states_at),
        // An error of the device matters less than the loss.
        _ => advice,
    };
    Error::NotFinite { what, value, step: step.step, hint }
}
