//! Layers of deep learning: weights, bias, activation, dropout.

use crate::expr::Unary;
use crate::network::Init;
use crate::neuron::NeuronType;

/// An elementwise function at the end of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x`
    #[default]
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `x` above zero, the slope times `x` below.
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
    /// Over the columns of each row.
    Softmax,
}

impl Activation {
    /// The elementwise function; nothing for softmax, which is not one.
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

/// `dropout(activation(W x + b))`; each part may be missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Rows of `W`; without it there are no weights, and the output has the input's size.
    pub units: Option<usize>,
    /// Whether `b` is added (only with weights).
    pub bias: bool,
    /// The elementwise function.
    pub activation: Activation,
    /// Neurons in place of an activation: `W x + b` is their current.
    pub neurons: Option<NeuronType>,
    /// Share of outputs that training sets to zero.
    pub dropout: f32,
    /// How `W` starts.
    pub weights_init: Init,
    /// How `b` starts.
    pub bias_init: Init,
    /// Whether `W` and `b` are trained; as [`crate::network::Config::trainable`] says if not given.
    pub trainable: Option<bool>,
}

impl Layer {
    /// `W x + b` with `units` outputs; weights start by [`Init::Glorot`], biases at zero.
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

    /// With another activation.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// With neurons in place of an activation; their states start as those of [`crate::network::Neurons`].
    pub fn neurons(mut self, neurons: impl Into<NeuronType>) -> Self {
        self.neurons = Some(neurons.into());
        self
    }

    /// With dropout of a share `rate` in training.
    pub fn dropout(mut self, rate: f32) -> Self {
        self.dropout = rate;
        self
    }

    /// Without `b`.
    pub fn no_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// With another start of the weights.
    pub fn init(mut self, init: Init) -> Self {
        self.weights_init = init;
        self
    }

    /// Trained or not, whatever the network says.
    pub fn trainable(mut self, trainable: bool) -> Self {
        self.trainable = Some(trainable);
        self
    }

    /// Not trained.
    pub fn frozen(self) -> Self {
        self.trainable(false)
    }
}
