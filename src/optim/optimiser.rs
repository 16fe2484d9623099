//! Optimisers: names and hyper-parameters of the rules in `optim/rule.rs`.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::optim::rule::{ClipMode, EpsilonAt, Hyper, Rule};

fn beta1() -> f32 {
    0.9
}
fn beta2() -> f32 {
    0.999
}
fn rho() -> f32 {
    0.99
}
fn small() -> f32 {
    1e-8
}
fn smaller() -> f32 {
    1e-10
}
fn decay() -> f32 {
    0.01
}

/// Optimiser with its hyper-parameters. Defaults are those of PyTorch.
///
/// Numbers out of their range are an error of [`Simulator::compile`](crate::Simulator::compile).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Optimiser {
    /// Stochastic gradient descent.
    Sgd {
        /// Momentum, at least 0 and below 1; 0 by default.
        #[serde(default)]
        momentum: f32,
        /// True for Nesterov's momentum; false by default.
        #[serde(default)]
        nesterov: bool,
    },
    /// Adam (Kingma and Ba 2015).
    Adam {
        /// Decay of the first moment, at least 0 and below 1; 0.9 by default.
        #[serde(default = "beta1")]
        beta1: f32,
        /// Decay of the second moment, at least 0 and below 1; 0.999 by default.
        #[serde(default = "beta2")]
        beta2: f32,
        /// Term that keeps the divisor from zero, at least 0; 1e-8 by default.
        #[serde(default = "small")]
        epsilon: f32,
        /// Place of epsilon; added to the root by default.
        #[serde(default)]
        epsilon_at: EpsilonAt,
        /// True for AMSGrad, which uses the largest second moment so far (Reddi et al. 2018); false by default.
        #[serde(default)]
        amsgrad: bool,
    },
    /// Adam with decoupled decay of all weights (Loshchilov and Hutter 2019). Biases do not decay.
    #[serde(rename = "adamw")]
    AdamW {
        /// Decay of the first moment, at least 0 and below 1; 0.9 by default.
        #[serde(default = "beta1")]
        beta1: f32,
        /// Decay of the second moment, at least 0 and below 1; 0.999 by default.
        #[serde(default = "beta2")]
        beta2: f32,
        /// Term that keeps the divisor from zero, at least 0; 1e-8 by default.
        #[serde(default = "small")]
        epsilon: f32,
        /// Share of the weights, times the learning rate, that each step subtracts; at least 0, 0.01 by default.
        #[serde(default = "decay")]
        decay: f32,
        /// True for AMSGrad; false by default.
        #[serde(default)]
        amsgrad: bool,
    },
    /// RMSprop (Hinton 2012).
    ///
    /// [`Optimiser::rmsprop_keras`] has the numbers of Keras, which the examples of NengoDL use.
    #[serde(rename = "rmsprop")]
    RmsProp {
        /// Decay of the second moment, at least 0 and below 1; 0.99 by default.
        #[serde(default = "rho")]
        rho: f32,
        /// Momentum, at least 0 and below 1; 0 by default.
        #[serde(default)]
        momentum: f32,
        /// Term that keeps the divisor from zero, at least 0; 1e-8 by default.
        #[serde(default = "small")]
        epsilon: f32,
        /// Place of epsilon; added to the root by default.
        #[serde(default)]
        epsilon_at: EpsilonAt,
        /// True to subtract the square of the mean gradient from the second moment; false by default.
        #[serde(default)]
        centered: bool,
    },
    /// Adagrad (Duchi et al. 2011).
    Adagrad {
        /// Term that keeps the divisor from zero, at least 0; 1e-10 by default.
        #[serde(default = "smaller")]
        epsilon: f32,
        /// Initial value of the sum of squares, at least 0; 0 by default.
        #[serde(default)]
        initial_accumulator: f32,
    },
}

impl Optimiser {
    /// Gradient descent without momentum.
    pub fn sgd() -> Self {
        Self::Sgd { momentum: 0.0, nesterov: false }
    }

    /// Gradient descent with momentum.
    pub fn momentum(momentum: f32) -> Self {
        Self::Sgd { momentum, nesterov: false }
    }

    /// Adam with the default numbers.
    pub fn adam() -> Self {
        let (beta1, beta2, epsilon) = (beta1(), beta2(), small());
        Self::Adam { beta1, beta2, epsilon, epsilon_at: EpsilonAt::Root, amsgrad: false }
    }

    /// Adam with decoupled decay, and default numbers otherwise.
    pub fn adamw(decay: f32) -> Self {
        Self::AdamW { beta1: beta1(), beta2: beta2(), epsilon: small(), decay, amsgrad: false }
    }

    /// RMSprop with the default numbers, which are those of PyTorch.
    pub fn rmsprop() -> Self {
        let (rho, epsilon) = (rho(), small());
        Self::RmsProp { rho, momentum: 0.0, epsilon, epsilon_at: EpsilonAt::Root, centered: false }
    }

    /// RMSprop with the numbers of `tf.optimizers.RMSprop`: rho 0.9, epsilon 1e-7, [`EpsilonAt::InsideRoot`].
    pub fn rmsprop_keras() -> Self {
        let epsilon_at = EpsilonAt::InsideRoot;
        Self::RmsProp { rho: 0.9, momentum: 0.0, epsilon: 1e-7, epsilon_at, centered: false }
    }

    pub(crate) fn rule(&self) -> Rule {
        match *self {
            Self::Sgd { nesterov, .. } => Rule::Sgd { nesterov },
            Self::Adam { amsgrad, epsilon_at, .. } => Rule::Adam { amsgrad, epsilon_at },
            Self::AdamW { amsgrad, .. } => Rule::Adam { amsgrad, epsilon_at: EpsilonAt::Root },
            Self::RmsProp { centered, epsilon_at, .. } => Rule::RmsProp { centered, epsilon_at },
            Self::Adagrad { .. } => Rule::Adagrad,
        }
    }

    pub(crate) fn momentum_of(&self) -> f32 {
        match *self {
            Self::Sgd { momentum, .. } | Self::RmsProp { momentum, .. } => momentum,
            _ => 0.0,
        }
    }

    /// True if it can continue with the state of `other`: the rule and the slots in use are the same.
    pub(crate) fn continues(&self, other: &Self) -> bool {
        let slots = |o: &Self| o.rule().slots(o.momentum_of());
        std::mem::discriminant(self) == std::mem::discriminant(other) && slots(self) == slots(other)
    }

    /// Initial value of the first slot.
    pub(crate) fn slot_start(&self) -> f32 {
        match *self {
            Self::Adagrad { initial_accumulator, .. } => initial_accumulator,
            _ => 0.0,
        }
    }

    /// Hyper-parameters of step `step`, counted from 0, at the learning rate `rate`.
    pub(crate) fn hyper(&self, rate: f32, step: u64, clip: Clip) -> Hyper {
        let (b1, b2, epsilon) = match *self {
            Self::Sgd { .. } => (0.0, 0.0, 0.0),
            Self::Adam { beta1, beta2, epsilon, .. } | Self::AdamW { beta1, beta2, epsilon, .. } => {
                (beta1, beta2, epsilon)
            }
            Self::RmsProp { rho, epsilon, .. } => (0.0, rho, epsilon),
            Self::Adagrad { epsilon, .. } => (0.0, 0.0, epsilon),
        };
        let correct = |beta: f32| (1.0 - f64::from(beta).powf((step + 1) as f64)) as f32;
        Hyper {
            rate,
            momentum: self.momentum_of(),
            beta1: b1,
            beta2: b2,
            epsilon,
            correct1: correct(b1),
            correct2: correct(b2),
            clip: clip.limit(),
        }
    }

    /// Checks the ranges of all numbers.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) fn check(&self) -> Result<()> {
        let hyper = self.hyper(0.0, 0, Clip::None);
        let share = |name: &str, x: f32| {
            let problem = format!("its {name} is {x}, but must be at least 0 and below 1");
            if (0.0..1.0).contains(&x) { Ok(()) } else { Err(Error::invalid("the optimiser", problem)) }
        };
        share("momentum", hyper.momentum)?;
        share("beta1", hyper.beta1)?;
        share(if matches!(self, Self::RmsProp { .. }) { "rho" } else { "beta2" }, hyper.beta2)?;
        let positive = |name: &str, x: f32| {
            let problem = format!("its {name} is {x}, but must be at least 0");
            if x.is_finite() && x >= 0.0 { Ok(()) } else { Err(Error::invalid("the optimiser", problem)) }
        };
        positive("epsilon", hyper.epsilon)?;
        positive("initial-accumulator", self.slot_start())?;
        match *self {
            Self::AdamW { decay, .. } => positive("decay", decay),
            _ => Ok(()),
        }
    }
}

/// Limit of the gradient, penalties included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clip {
    /// No limit. The default.
    #[default]
    None,
    /// Limit of the absolute value of each element, above 0.
    Value(f32),
    /// Limit of the norm of the whole gradient, above 0. A longer gradient is scaled down to it.
    GlobalNorm(f32),
}

impl Clip {
    pub(crate) fn mode(self) -> ClipMode {
        match self {
            Clip::None => ClipMode::None,
            Clip::Value(_) => ClipMode::Value,
            Clip::GlobalNorm(_) => ClipMode::GlobalNorm,
        }
    }

    fn limit(self) -> f32 {
        match self {
            Clip::None => 0.0,
            Clip::Value(limit) | Clip::GlobalNorm(limit) => limit,
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        let limit = self.limit();
        if self == Clip::None || (limit.is_finite() && limit > 0.0) {
            return Ok(());
        }
        Err(Error::invalid("clip", format!("its limit is {limit}, but must be above 0")))
    }
}
