//! Schedules of the learning rate.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Decay of a learning rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Decay {
    /// No decay. The default.
    #[default]
    Constant,
    /// Multiplication by `factor` after every `every` steps.
    Step {
        /// Steps between two multiplications, at least 1.
        every: u64,
        /// Factor of the rate, above 0.
        factor: f64,
    },
    /// Exponential decay by `factor` over `every` steps.
    Exponential {
        /// Steps over which the rate is multiplied by `factor`, at least 1.
        every: u64,
        /// Factor of the rate, above 0.
        factor: f64,
    },
    /// Decay along half a cosine to `floor` times the rate, which is then constant (Loshchilov and Hutter 2017).
    Cosine {
        /// Steps until the floor is reached, at least 1.
        steps: u64,
        /// Share of the rate at the floor, from 0 to 1; 0 by default.
        #[serde(default)]
        floor: f64,
    },
}

/// Schedule of the learning rate over the steps of training: a linear warm-up, then a decay.
///
/// ```
/// use nengo_wgpu::train::{Decay, Schedule};
///
/// let schedule = Schedule::constant(0.8).decay(Decay::Step { every: 10, factor: 0.5 });
/// assert_eq!([schedule.at(9), schedule.at(10)], [0.8, 0.4]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Rate after the warm-up, at least 0.
    pub rate: f32,
    /// Decay after the warm-up.
    pub decay: Decay,
    /// Steps in which the rate rises linearly from zero. Steps of the decay count from their end.
    pub warm_up: u64,
}

impl Schedule {
    /// A constant rate, without warm-up.
    pub fn constant(rate: f32) -> Self {
        Self { rate, decay: Decay::Constant, warm_up: 0 }
    }

    /// Sets the decay.
    pub fn decay(mut self, decay: Decay) -> Self {
        self.decay = decay;
        self
    }

    /// Sets the number of steps of the warm-up.
    pub fn warm_up(mut self, steps: u64) -> Self {
        self.warm_up = steps;
        self
    }

    /// Checks the ranges of all numbers.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |problem: String| Err(Error::invalid("the learning rate's schedule", problem));
        if !(self.rate.is_finite() && self.rate >= 0.0) {
            let problem = format!("it is {}, but must be at least 0", self.rate);
            return Err(Error::invalid("learning-rate", problem));
        }
        match self.decay {
            Decay::Step { every: 0, .. }
            | Decay::Exponential { every: 0, .. }
            | Decay::Cosine { steps: 0, .. } => invalid("it decays over 0 steps; give it at least 1".into()),
            Decay::Step { factor, .. } | Decay::Exponential { factor, .. }
                if !(factor.is_finite() && factor > 0.0) =>
            {
                invalid(format!("its factor is {factor}, but must be above 0"))
            }
            Decay::Cosine { floor, .. } if !(0.0..=1.0).contains(&floor) => {
                invalid(format!("its floor is {floor}, but must be between 0 and 1"))
            }
            _ => Ok(()),
        }
    }

    /// Warning that the decay has no effect in a training of `steps` steps; `None` if it has.
    pub(crate) fn idle(&self, steps: u64) -> Option<String> {
        let (first, what) = match self.decay {
            Decay::Step { every, .. } => {
                (self.warm_up.saturating_add(every), "is reduced for the first time")
            }
            Decay::Exponential { .. } | Decay::Cosine { .. } => (self.warm_up, "begins to decay"),
            Decay::Constant => return None,
        };
        let why = format!("the rate {what} after step {first}, but the training has {steps} steps");
        (first >= steps).then(|| format!("the schedule's decay has no effect: {why}"))
    }

    /// Rate of step `step`, counted from 0.
    pub fn at(&self, step: u64) -> f32 {
        let rate = f64::from(self.rate);
        if step < self.warm_up {
            return (rate * (step + 1) as f64 / self.warm_up as f64) as f32;
        }
        let step = step - self.warm_up;
        let share = match self.decay {
            Decay::Constant => return self.rate,
            Decay::Step { every, factor } => factor.powi((step / every).min(i32::MAX as u64) as i32),
            Decay::Exponential { every, factor } => factor.powf(step as f64 / every as f64),
            Decay::Cosine { steps, floor } => {
                let done = (step as f64 / steps as f64).min(1.0);
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        };
        (rate * share) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_equal_known_values() {
        let s = Schedule::constant(0.8);
        assert_eq!(s.at(0), 0.8);
        assert_eq!(s.at(u64::MAX), 0.8);
        let step = s.decay(Decay::Step { every: 10, factor: 0.5 });
        assert_eq!([step.at(9), step.at(10), step.at(25)], [0.8, 0.4, 0.2]);
        let exponential = s.decay(Decay::Exponential { every: 10, factor: 0.25 });
        assert!((exponential.at(5) - 0.4).abs() < 1e-7);
        let cosine = s.decay(Decay::Cosine { steps: 100, floor: 0.1 });
        assert!((cosine.at(50) - 0.8 * 0.55).abs() < 1e-6);
        assert!((cosine.at(1000) - 0.08).abs() < 1e-7);
        let warm = cosine.warm_up(4);
        assert_eq!([warm.at(0), warm.at(3), warm.at(4)], [0.2, 0.8, 0.8]);
    }

    #[test]
    fn numbers_out_of_range_are_errors() {
        assert!(Schedule::constant(f32::NAN).check().is_err());
        assert!(Schedule::constant(-1.0).check().is_err());
        assert!(Schedule::constant(1.0).decay(Decay::Step { every: 0, factor: 0.5 }).check().is_err());
        assert!(Schedule::constant(1.0).decay(Decay::Cosine { steps: 5, floor: 2.0 }).check().is_err());
    }
}
