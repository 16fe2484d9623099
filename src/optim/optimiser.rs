//! Optimisers: names and numbers of the update rules in `op/update.rs`.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::optim::update::{ClipMode, EpsilonAt, Hyper, Rule};

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

/// How parameters follow the gradient. Defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Optimiser {
    /// Gradient descent.
    Sgd {
        /// Share of the last step that is added to the next.
        #[serde(default)]
        momentum: f32,
        /// Nesterov's momentum.
        #[serde(default)]
        nesterov: bool,
    },
    /// Adam.
    Adam {
        /// Decay of the first moment.
        #[serde(default = "beta1")]
        beta1: f32,
        /// Decay of the second moment.
        #[serde(default = "beta2")]
        beta2: f32,
        /// Kept from dividing by zero.
        #[serde(default = "small")]
        epsilon: f32,
        /// Where epsilon is added.
        #[serde(default)]
        epsilon_at: EpsilonAt,
        /// The largest second moment so far is used.
        #[serde(default)]
        amsgrad: bool,
    },
    /// Adam with decoupled decay of all weights (Loshchilov and Hutter 2019); biases are left out.
    #[serde(rename = "adamw")]
    AdamW {
        /// Decay of the first moment.
        #[serde(default = "beta1")]
        beta1: f32,
        /// Decay of the second moment.
        #[serde(default = "beta2")]
        beta2: f32,
        /// Kept from dividing by zero.
        #[serde(default = "small")]
        epsilon: f32,
        /// Weights shrink by this times the learning rate in each step.
        #[serde(default = "decay")]
        decay: f32,
        /// The largest second moment so far is used.
        #[serde(default)]
        amsgrad: bool,
    },
    /// RMSprop. Keras' numbers, and so those of NengoDL's examples, are rho 0.9, epsilon 1e-7 and
    /// [`EpsilonAt::InsideRoot`].
    #[serde(rename = "rmsprop")]
    RmsProp {
        /// Decay of the second moment; 0.99.
        #[serde(default = "rho")]
        rho: f32,
        /// Share of the last step that is added to the next.
        #[serde(default)]
        momentum: f32,
        /// Kept from dividing by zero.
        #[serde(default = "small")]
        epsilon: f32,
        /// Where epsilon is added.
        #[serde(default)]
        epsilon_at: EpsilonAt,
        /// The mean's square is taken off the second moment.
        #[serde(default)]
        centered: bool,
    },
    /// Adagrad.
    Adagrad {
        /// Kept from dividing by zero.
        #[serde(default = "smaller")]
        epsilon: f32,
        /// What the sum of squares starts from.
        #[serde(default)]
        initial_accumulator: f32,
    },
}

impl Optimiser {
    /// Plain gradient descent.
    pub fn sgd() -> Self {
        Self::Sgd { momentum: 0.0, nesterov: false }
    }

    /// Gradient descent with momentum.
    pub fn momentum(momentum: f32) -> Self {
        Self::Sgd { momentum, nesterov: false }
    }

    /// Adam with the usual numbers.
    pub fn adam() -> Self {
        let (beta1, beta2, epsilon) = (beta1(), beta2(), small());
        Self::Adam { beta1, beta2, epsilon, epsilon_at: EpsilonAt::Root, amsgrad: false }
    }

    /// Adam with decoupled decay.
    pub fn adamw(decay: f32) -> Self {
        Self::AdamW { beta1: beta1(), beta2: beta2(), epsilon: small(), decay, amsgrad: false }
    }

    /// RMSprop with PyTorch's numbers.
    pub fn rmsprop() -> Self {
        let (rho, epsilon) = (rho(), small());
        Self::RmsProp { rho, momentum: 0.0, epsilon, epsilon_at: EpsilonAt::Root, centered: false }
    }

    /// RMSprop with the numbers of `tf.optimizers.RMSprop`.
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

    /// Whether it can go on with the state of another: both keep the same, for the same rule.
    pub(crate) fn continues(&self, other: &Self) -> bool {
        let slots = |o: &Self| o.rule().slots(o.momentum_of());
        std::mem::discriminant(self) == std::mem::discriminant(other) && slots(self) == slots(other)
    }

    /// What its first slot starts from.
    pub(crate) fn slot_start(&self) -> f32 {
        match *self {
            Self::Adagrad { initial_accumulator, .. } => initial_accumulator,
            _ => 0.0,
        }
    }

    /// The numbers of step `step`, counted from 0.
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

    /// Refuses numbers that make no sense.
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

/// Limits of the gradient, penalties included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clip {
    /// None.
    #[default]
    None,
    /// Each element to ± this.
    Value(f32),
    /// The norm of all gradients together to this.
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
