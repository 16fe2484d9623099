//! Deep-learning layers: weights, bias, activation, dropout.

use crate::expr::Unary;
use crate::network::Init;
use crate::neuron::NeuronType;

/// Activation function of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Activation {
    /// `x`
    #[default]
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `x` for `x > 0`, else `slope * x`.
    LeakyRelu(f32),
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `ln(1 + exp(x))`
    Softplus,
    /// GELU in its tanh form.
    Gelu,
    /// `e^x`
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `x^2`
    Square,
    /// `|x|`
    Abs,
    /// `exp(x) / sum(exp(x))` over the columns of each row.
    Softmax,
}

impl Activation {
    /// The elementwise function; `None` for softmax.
    pub(crate) fn function(self) -> Option<Unary> {
        Some(match self {
            Activation::Identity => Unary::Identity,
            Activation::Relu => Unary::Relu,
            Activation::LeakyRelu(slope) => Unary::LeakyRelu(slope),
            Activation::Sigmoid => Unary::Sigmoid,
            Activation::Tanh => Unary::Tanh,
            Activation::Softplus => Unary::Softplus,
            Activation::Gelu => Unary::Gelu,
            Activation::Exp => Unary::Exp,
            Activation::Log => Unary::Log,
            Activation::Sqrt => Unary::Sqrt,
            Activation::Square => Unary::Square,
            Activation::Abs => Unary::Abs,
            Activation::Softmax => return None,
        })
    }
}

/// A layer `dropout(activation(W x + b))`; each part is optional.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Rows of `W`. `None` means no weights; the output then has the input's size.
    pub units: Option<usize>,
    /// Add `b`; only with weights.
    pub bias: bool,
    /// Activation function.
    pub activation: Activation,
    /// Neurons, instead of an activation, with the current `W x + b`.
    pub neurons: Option<NeuronType>,
    /// Share of outputs set to zero in training; at least 0, below 1.
    pub dropout: f32,
    /// Initial values of `W`.
    pub weights_init: Init,
    /// Initial values of `b`.
    pub bias_init: Init,
    /// Train `W` and `b`; `None` takes [`crate::network::Config::trainable`].
    pub trainable: Option<bool>,
}

impl Layer {
    /// `W x + b` with `units` outputs. Weights start from [`Init::Glorot`], biases at zero.
    pub fn dense(units: usize) -> Self {
        Self {
            units: Some(units),
            bias: true,
            activation: Activation::Identity,
            neurons: None,
            dropout: 0.0,
            weights_init: Init::Glorot,
            bias_init: Init::Zeros,
            trainable: None,
        }
    }

    /// A layer without weights.
    pub fn elementwise(activation: Activation) -> Self {
        Self { units: None, bias: false, ..Self::dense(0).activation(activation) }
    }

    /// Sets the activation.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Uses neurons instead of an activation; their states start like those of [`crate::network::Neurons`].
    pub fn neurons(mut self, neurons: impl Into<NeuronType>) -> Self {
        self.neurons = Some(neurons.into());
        self
    }

    /// Sets the share of outputs that training drops.
    pub fn dropout(mut self, rate: f32) -> Self {
        self.dropout = rate;
        self
    }

    /// Leaves out the bias `b`.
    pub fn no_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Sets the initial weights.
    pub fn init(mut self, init: Init) -> Self {
        self.weights_init = init;
        self
    }

    /// Trains or freezes the layer, regardless of the network's default.
    pub fn trainable(mut self, trainable: bool) -> Self {
        self.trainable = Some(trainable);
        self
    }

    /// Freezes the layer.
    pub fn frozen(self) -> Self {
        self.trainable(false)
    }
}
