//! Rules and hyper-parameters of an optimiser step.

/// Place of epsilon in the quotient by the root of the second moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EpsilonAt {
    /// Added to the root, after the bias correction: Adam and RMSprop in PyTorch. The default.
    #[default]
    Root,
    /// Added to the root, before the bias correction: Adam in Keras.
    RootBeforeCorrection,
    /// Added inside of the root: RMSprop in Keras (`tf.optimizers.RMSprop` since TensorFlow 2.11). The older one, now
    /// `tf.optimizers.legacy.RMSprop`, does so only with momentum, and otherwise adds it to the root.
    InsideRoot,
}

/// Update rule. Hyper-parameters are uploaded before each step, in [`Hyper`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Gradient descent. With momentum, `v <- mu v + g`, as in PyTorch.
    Sgd {
        /// True for Nesterov's momentum.
        nesterov: bool,
    },
    /// Adam (Kingma and Ba 2015).
    Adam {
        /// True to use the largest second moment so far (Reddi et al. 2018).
        amsgrad: bool,
        /// Place of epsilon.
        epsilon_at: EpsilonAt,
    },
    /// RMSprop (Hinton 2012).
    RmsProp {
        /// True to subtract the square of the mean gradient from the second moment.
        centered: bool,
        /// Place of epsilon.
        epsilon_at: EpsilonAt,
    },
    /// Adagrad (Duchi et al. 2011).
    Adagrad,
}

impl Rule {
    /// For each of the three slots, true if the rule uses it with this momentum.
    pub fn slots(&self, momentum: f32) -> [bool; 3] {
        match *self {
            Rule::Sgd { .. } => [momentum != 0.0, false, false],
            Rule::Adam { amsgrad, .. } => [true, true, amsgrad],
            Rule::RmsProp { centered, .. } => [true, momentum != 0.0, centered],
            Rule::Adagrad => [true, false, false],
        }
    }
}

/// Limit of gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipMode {
    /// No limit.
    None,
    /// Limit of the absolute value of each element.
    Value,
    /// Limit of the norm of the whole gradient.
    GlobalNorm,
}

/// Hyper-parameters of a step, as uploaded to the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Hyper {
    /// Learning rate.
    pub rate: f32,
    /// Momentum.
    pub momentum: f32,
    /// Decay of the first moment, beta1.
    pub beta1: f32,
    /// Decay of the second moment, beta2.
    pub beta2: f32,
    /// Term that keeps the divisor from zero.
    pub epsilon: f32,
    /// Bias correction `1 - beta1^t`, where `t` counts steps from 1.
    pub correct1: f32,
    /// Bias correction `1 - beta2^t`.
    pub correct2: f32,
    /// Limit of the gradient; see [`ClipMode`].
    pub clip: f32,
}
