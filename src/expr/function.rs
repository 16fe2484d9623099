//! Functions of one number, and in `pair` of two: their WGSL text, their CPU twin, their value in f64, their derivative.

mod pair;
mod surrogate;

use std::hash::{Hash, Hasher};

use crate::engine::cpu::math;

pub use pair::Binary;
pub(crate) use pair::poisson;
pub use surrogate::{Bump, Surrogate};

/// A function of one number.
#[derive(Clone, Copy, Debug)]
pub enum Unary {
    /// `x`
    Identity,
    /// `-x`
    Neg,
    /// `max(x, 0)`; NaN stays NaN, so that a run that went wrong is seen.
    Relu,
    /// `x` above zero, `slope * x` below.
    LeakyRelu(f32),
    /// 1 above zero, else `slope`: the derivative of the two above, of `x` or of `y` alike.
    Step(f32),
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `ln(1 + exp(x))`
    Softplus,
    /// `x / 2 * (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`, Hendrycks and Gimpel 2016.
    Gelu,
    /// The derivative of [`Unary::Gelu`].
    GeluSlope,
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
    /// -1, 0 or 1.
    Sign,
    /// `1 / x`
    Reciprocal,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// 0 where `x` is NaN, else 1.
    NotNan,
    /// `x` limited to `±limit`.
    Clamp(f32),
    /// `x^2 / 2` up to `|x| = limit`, then the straight line that continues it (Huber 1964).
    Huber(f32),
    /// `e^x - 1`
    Expm1,
    /// `ln(1 + x)`
    Log1p,
    /// `1 / (a + b ln(1 + 1/x))` above zero, else 0: the rate of a leaky integrate-and-fire neuron at the current `x` above
    /// its threshold, with its refractory time and its time constant, both over its amplitude.
    LifRate(f32, f32),
    /// `b / (x (1 + x))` above zero, else 0: the derivative of [`Unary::LifRate`] over its square.
    LifSlope(f32),
    /// The largest whole number that is not larger.
    Floor,
    /// The whole part, towards zero.
    Trunc,
    /// 0 where `|x| < 1e-30`: what decays must not become denormal.
    Flush,
    /// 1 above zero, else 0, with a derivative that is not its own.
    Spike(Bump),
    /// The derivative that stands for that of [`Unary::Spike`].
    SpikeSlope(Bump),
}

impl Unary {
    /// Its constants, by their bits.
    fn constants(self) -> [u32; 4] {
        match self {
            Unary::LeakyRelu(c) | Unary::Step(c) | Unary::Clamp(c) | Unary::Huber(c) | Unary::LifSlope(c) => {
                [c.to_bits(), 0, 0, 0]
            }
            Unary::LifRate(a, b) => [a.to_bits(), b.to_bits(), 0, 0],
            Unary::Spike(bump) | Unary::SpikeSlope(bump) => bump.bits(),
            Unary::Identity
            | Unary::Neg
            | Unary::Relu
            | Unary::Sigmoid
            | Unary::Tanh
            | Unary::Softplus
            | Unary::Gelu
            | Unary::GeluSlope
            | Unary::Exp
            | Unary::Log
            | Unary::Sqrt
            | Unary::Square
            | Unary::Abs
            | Unary::Sign
            | Unary::Reciprocal
            | Unary::Sin
            | Unary::Cos
            | Unary::NotNan
            | Unary::Expm1
            | Unary::Log1p
            | Unary::Floor
            | Unary::Trunc
            | Unary::Flush => [0; 4],
        }
    }
}

/// Functions with constants are equal where the bits of these are.
impl PartialEq for Unary {
    fn eq(&self, other: &Self) -> bool {
        let kind = std::mem::discriminant::<Self>;
        kind(self) == kind(other) && self.constants() == other.constants()
    }
}

impl Eq for Unary {}

impl Hash for Unary {
    fn hash<H: Hasher>(&self, to: &mut H) {
        (std::mem::discriminant(self), self.constants()).hash(to);
    }
}

/// A derivative in terms of what a function read and made.
pub(crate) enum Slope {
    /// A number.
    Constant(f32),
    /// A function of the input.
    OfInput(Unary, f32),
    /// A function of the output: cheaper, and the input need not be kept.
    OfOutput(Unary, f32),
    /// `y * (1 - y)`
    Logistic,
    /// `1 - y^2`
    OneMinusSquare,
    /// `1 + y`
    OnePlus,
    /// `1 / (1 + x)`
    ReciprocalOnePlus,
    /// `y^2 f(x)`
    SquareTimes(Unary),
}

impl Unary {
    /// The call in WGSL; the functions stand in `shaders/shared/functions.wgsl`.
    pub fn wgsl(self, x: &str) -> String {
        match self {
            Unary::Identity => x.to_string(),
            Unary::Neg => format!("-{x}"),
            Unary::Relu => format!("select({x}, F(0.0), {x} <= F(0.0))"),
            Unary::LeakyRelu(slope) => format!("leaky_relu({x}, {slope:?})"),
            Unary::Step(slope) => format!("step_up({x}, {slope:?})"),
            Unary::Sigmoid => format!("sigmoid({x})"),
            Unary::Tanh => format!("tangent({x})"),
            Unary::Softplus => format!("softplus({x})"),
            Unary::Gelu => format!("gelu({x})"),
            Unary::GeluSlope => format!("gelu_slope({x})"),
            Unary::Exp => format!("exp({x})"),
            Unary::Log => format!("logarithm({x})"),
            Unary::Sqrt => format!("square_root({x})"),
            Unary::Square => format!("{x} * {x}"),
            Unary::Abs => format!("abs({x})"),
            Unary::Sign => format!("sign({x})"),
            Unary::Reciprocal => format!("1.0 / {x}"),
            Unary::Sin => format!("sine({x})"),
            Unary::Cos => format!("cosine({x})"),
            Unary::NotNan => format!("not_nan({x})"),
            Unary::Clamp(limit) => format!("clamp({x}, F(-{limit:?}), F({limit:?}))"),
            Unary::Huber(limit) => format!("huber({x}, {limit:?})"),
            Unary::Expm1 => format!("exp_minus_one({x})"),
            Unary::Log1p => format!("logarithm_one_plus({x})"),
            Unary::LifRate(a, b) => format!("lif_rate({x}, {a:?}, {b:?})"),
            Unary::LifSlope(b) => format!("lif_slope({x}, {b:?})"),
            Unary::Floor => format!("floor({x})"),
            Unary::Trunc => format!("trunc({x})"),
            Unary::Flush => format!("select({x}, F(0.0), abs({x}) < F(1e-30))"),
            Unary::Spike(_) => format!("step_up({x}, 0.0)"),
            Unary::SpikeSlope(bump) => bump.wgsl(x),
        }
    }

    /// The CPU twin: `to[i] = f(x[i])`. One loop a function, so that each is vectorised; `for_each` with a long function
    /// would be a call that is compiled without the processor's vectors.
    #[inline(always)]
    pub(crate) fn apply(self, x: &[f32], to: &mut [f32]) {
        macro_rules! each {
            ($($f:pat => $same:expr,)*) => {
                match self {
                    Unary::Identity => to.copy_from_slice(x),
                    $($f => for (to, &x) in to.iter_mut().zip(x) { *to = $same.value(x) },)*
                }
            };
        }
        each! {
            Unary::Neg => Unary::Neg,
            Unary::Relu => Unary::Relu,
            Unary::LeakyRelu(s) => Unary::LeakyRelu(s),
            Unary::Step(s) => Unary::Step(s),
            Unary::Sigmoid => Unary::Sigmoid,
            Unary::Tanh => Unary::Tanh,
            Unary::Softplus => Unary::Softplus,
            Unary::Gelu => Unary::Gelu,
            Unary::GeluSlope => Unary::GeluSlope,
            Unary::Exp => Unary::Exp,
            Unary::Log => Unary::Log,
            Unary::Sqrt => Unary::Sqrt,
            Unary::Square => Unary::Square,
            Unary::Abs => Unary::Abs,
            Unary::Sign => Unary::Sign,
            Unary::Reciprocal => Unary::Reciprocal,
            Unary::Sin => Unary::Sin,
            Unary::Cos => Unary::Cos,
            Unary::NotNan => Unary::NotNan,
            Unary::Clamp(l) => Unary::Clamp(l),
            Unary::Huber(l) => Unary::Huber(l),
            Unary::Expm1 => Unary::Expm1,
            Unary::Log1p => Unary::Log1p,
            Unary::LifRate(a, b) => Unary::LifRate(a, b),
            Unary::LifSlope(b) => Unary::LifSlope(b),
            Unary::Floor => Unary::Floor,
            Unary::Trunc => Unary::Trunc,
            Unary::Flush => Unary::Flush,
            Unary::Spike(s) => Unary::Spike(s),
            Unary::SpikeSlope(s) => Unary::SpikeSlope(s),
        }
    }

    /// The CPU twin on one number.
    #[inline(always)]
    pub(crate) fn value(self, x: f32) -> f32 {
        match self {
            Unary::Identity => x,
            Unary::Neg => -x,
            Unary::Relu => {
                if x <= 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Unary::LeakyRelu(s) => {
                if x > 0.0 {
                    x
                } else {
                    s * x
                }
            }
            Unary::Step(s) => {
                if x > 0.0 {
                    1.0
                } else {
                    s
                }
            }
            Unary::Sigmoid => math::sigmoid(x),
            Unary::Tanh => math::tanh(x),
            Unary::Softplus => math::softplus(x),
            Unary::Gelu => math::gelu(x),
            Unary::GeluSlope => {
                // 0 or 1 far out, where a square would be infinite.
                let x = x.clamp(-20.0, 20.0);
                let t = math::tanh(GELU_A * (x + GELU_B * x * x * x));
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * GELU_A * (1.0 + 3.0 * GELU_B * x * x)
            }
            Unary::Exp => math::exp(x),
            Unary::Log => math::ln(x),
            Unary::Sqrt => x.sqrt(),
            Unary::Square => x * x,
            Unary::Abs => x.abs(),
            Unary::Sign => f32::from(x > 0.0) - f32::from(x < 0.0),
            Unary::Reciprocal => 1.0 / x,
            Unary::Sin => math::sin(x),
            Unary::Cos => math::cos(x),
            Unary::NotNan => {
                if x.is_nan() {
                    0.0
                } else {
                    1.0
                }
            }
            Unary::Clamp(l) => x.max(-l).min(l),
            Unary::Huber(l) => {
                let a = x.abs();
                if a <= l { 0.5 * x * x } else { l * (a - 0.5 * l) }
            }
            Unary::Expm1 => math::expm1(x),
            Unary::Log1p => math::log1p(x),
            Unary::LifRate(a, b) => {
                let rate = 1.0 / (a + b * math::log1p_of_inverse(above_zero(x)));
                if x <= 0.0 { 0.0 } else { rate }
            }
            Unary::LifSlope(b) => {
                let above = above_zero(x);
                let slope = b / (above + above * above);
                if x <= 0.0 { 0.0 } else { slope }
            }
            Unary::Floor => x.floor(),
            Unary::Trunc => x.trunc(),
            Unary::Flush => math::flush(x),
            Unary::Spike(_) => {
                if x > 0.0 {
                    1.0
                } else {
                    0.0
                }
            }
            Unary::SpikeSlope(bump) => bump.value(x),
        }
    }

    /// The value in f64.
    pub fn reference(self, x: f64) -> f64 {
        let gelu_tanh = |x: f64| (GELU_A as f64 * (x + GELU_B as f64 * x * x * x)).tanh();
        match self {
            Unary::Identity => x,
            Unary::Neg => -x,
            Unary::Relu => x.max(0.0),
            Unary::LeakyRelu(s) => x.max(0.0) + f64::from(s) * x.min(0.0),
            Unary::Step(s) => {
                if x > 0.0 {
                    1.0
                } else {
                    f64::from(s)
                }
            }
            Unary::Sigmoid => {
                let e = (-x.abs()).exp();
                (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
            }
            Unary::Tanh => x.tanh(),
            Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Unary::Gelu => 0.5 * x * (1.0 + gelu_tanh(x)),
            Unary::GeluSlope => {
                let x = x.clamp(-20.0, 20.0);
                let (a, b, t) = (GELU_A as f64, GELU_B as f64, gelu_tanh(x));
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * a * (1.0 + 3.0 * b * x * x)
            }
            Unary::Exp => x.exp(),
            Unary::Log => x.ln(),
            Unary::Sqrt => x.sqrt(),
            Unary::Square => x * x,
            Unary::Abs => x.abs(),
            Unary::Sign => {
                if x == 0.0 {
                    0.0
                } else {
                    x.signum()
                }
            }
            Unary::Reciprocal => 1.0 / x,
            Unary::Sin => x.sin(),
            Unary::Cos => x.cos(),
            Unary::NotNan => {
                if x.is_nan() {
                    0.0
                } else {
                    1.0
                }
            }
            Unary::Clamp(l) => x.clamp(-f64::from(l), f64::from(l)),
            Unary::Huber(l) => {
                let (a, l) = (x.abs(), f64::from(l));
                if a <= l { 0.5 * x * x } else { l * (a - 0.5 * l) }
            }
            Unary::Expm1 => x.exp_m1(),
            Unary::Log1p => x.ln_1p(),
            Unary::LifRate(..) | Unary::LifSlope(_) if x <= 0.0 => 0.0,
            Unary::LifRate(a, b) => 1.0 / (f64::from(a) + f64::from(b) * (1.0 / x).ln_1p()),
            Unary::LifSlope(b) => f64::from(b) / (x * (1.0 + x)),
            Unary::Floor => x.floor(),
            Unary::Trunc => x.trunc(),
            Unary::Flush => x,
            Unary::Spike(_) => f64::from(x > 0.0),
            Unary::SpikeSlope(bump) => bump.reference(x),
        }
    }

    /// The derivative; that of piecewise constants is zero.
    #[inline(always)]
    pub(crate) fn slope(self) -> Slope {
        match self {
            Unary::Identity => Slope::Constant(1.0),
            Unary::Neg => Slope::Constant(-1.0),
            Unary::Relu => Slope::OfOutput(Unary::Step(0.0), 1.0),
            Unary::LeakyRelu(s) if s > 0.0 => Slope::OfOutput(Unary::Step(s), 1.0),
            Unary::LeakyRelu(s) => Slope::OfInput(Unary::Step(s), 1.0),
            Unary::Sigmoid => Slope::Logistic,
            Unary::Tanh => Slope::OneMinusSquare,
            Unary::Softplus => Slope::OfInput(Unary::Sigmoid, 1.0),
            Unary::Gelu => Slope::OfInput(Unary::GeluSlope, 1.0),
            Unary::Exp => Slope::OfOutput(Unary::Identity, 1.0),
            Unary::Log => Slope::OfInput(Unary::Reciprocal, 1.0),
            Unary::Sqrt => Slope::OfOutput(Unary::Reciprocal, 0.5),
            Unary::Square => Slope::OfInput(Unary::Identity, 2.0),
            Unary::Abs => Slope::OfInput(Unary::Sign, 1.0),
            Unary::Huber(l) => Slope::OfInput(Unary::Clamp(l), 1.0),
            Unary::Sin => Slope::OfInput(Unary::Cos, 1.0),
            Unary::Cos => Slope::OfInput(Unary::Sin, -1.0),
            // -1 / x^2 and the second derivative of GELU: only in derivatives of derivatives, which no loss asks for.
            Unary::Reciprocal => Slope::OfOutput(Unary::Square, -1.0),
            Unary::Expm1 => Slope::OnePlus,
            Unary::Log1p => Slope::ReciprocalOnePlus,
            Unary::LifRate(_, b) => Slope::SquareTimes(Unary::LifSlope(b)),
            Unary::Flush => Slope::Constant(1.0),
            Unary::Spike(bump) => Slope::OfInput(Unary::SpikeSlope(bump), 1.0),
            Unary::Clamp(_) | Unary::Step(_) | Unary::Sign | Unary::NotNan | Unary::GeluSlope => {
                Slope::Constant(0.0)
            }
            Unary::Floor | Unary::Trunc | Unary::SpikeSlope(_) | Unary::LifSlope(_) => Slope::Constant(0.0),
        }
    }
}

/// Where a neuron is silent, a number with a finite inverse. NaN stays, so that a run that went wrong is seen.
#[inline(always)]
fn above_zero(x: f32) -> f32 {
    if x < 1e-30 { 1e-30 } else { x }
}

/// `sqrt(2 / pi)`
const GELU_A: f32 = 0.797_884_6;
const GELU_B: f32 = 0.044_715;
