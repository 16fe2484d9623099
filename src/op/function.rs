//! Functions of one or two numbers: their WGSL text, their CPU twin, their value in f64, their derivative.

use crate::engine::cpu::math;

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// 0 where `x` is NaN, else 1.
    NotNan,
    /// `x` limited to `±limit`.
    Clamp(f32),
    /// `x^2 / 2` up to `|x| = limit`, then the straight line that continues it (Huber 1964).
    Huber(f32),
}

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// `a - b`, zero where `b` is NaN: the error against a target that may be left out.
    Residual,
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
            Unary::Log => format!("log({x})"),
            Unary::Sqrt => format!("sqrt({x})"),
            Unary::Square => format!("{x} * {x}"),
            Unary::Abs => format!("abs({x})"),
            Unary::Sign => format!("sign({x})"),
            Unary::Reciprocal => format!("1.0 / {x}"),
            Unary::NotNan => format!("not_nan({x})"),
            Unary::Clamp(limit) => format!("clamp({x}, F(-{limit:?}), F({limit:?}))"),
            Unary::Huber(limit) => format!("huber({x}, {limit:?})"),
        }
    }

    /// The CPU twin: `to[i] = f(x[i])`. One loop a function, so that each is vectorised.
    #[inline(always)]
    pub(crate) fn apply(self, x: &[f32], to: &mut [f32]) {
        #[inline(always)]
        fn each(x: &[f32], to: &mut [f32], f: impl Fn(f32) -> f32) {
            for (to, &x) in to.iter_mut().zip(x) {
                *to = f(x);
            }
        }
        match self {
            Unary::Identity => to.copy_from_slice(x),
            Unary::Neg => each(x, to, |x| -x),
            Unary::Relu => each(x, to, |x| if x <= 0.0 { 0.0 } else { x }),
            Unary::LeakyRelu(s) => each(x, to, |x| if x > 0.0 { x } else { s * x }),
            Unary::Step(s) => each(x, to, |x| if x > 0.0 { 1.0 } else { s }),
            Unary::Sigmoid => each(x, to, math::sigmoid),
            Unary::Tanh => each(x, to, math::tanh),
            Unary::Softplus => each(x, to, math::softplus),
            Unary::Gelu => each(x, to, math::gelu),
            Unary::GeluSlope => each(x, to, |x| {
                let t = math::tanh(GELU_A * (x + GELU_B * x * x * x));
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * GELU_A * (1.0 + 3.0 * GELU_B * x * x)
            }),
            Unary::Exp => each(x, to, math::exp),
            Unary::Log => each(x, to, math::ln),
            Unary::Sqrt => each(x, to, f32::sqrt),
            Unary::Square => each(x, to, |x| x * x),
            Unary::Abs => each(x, to, f32::abs),
            Unary::Sign => each(x, to, |x| f32::from(x > 0.0) - f32::from(x < 0.0)),
            Unary::Reciprocal => each(x, to, |x| 1.0 / x),
            Unary::NotNan => each(x, to, |x| if x.is_nan() { 0.0 } else { 1.0 }),
            Unary::Clamp(l) => each(x, to, |x| x.max(-l).min(l)),
            Unary::Huber(l) => each(x, to, |x| {
                let a = x.abs();
                if a <= l { 0.5 * x * x } else { l * (a - 0.5 * l) }
            }),
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
            Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Unary::Tanh => x.tanh(),
            Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Unary::Gelu => 0.5 * x * (1.0 + gelu_tanh(x)),
            Unary::GeluSlope => {
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
        }
    }

    /// The derivative; that of piecewise constants is zero.
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
            // -1 / x^2 and the second derivative of GELU: only in derivatives of derivatives, which no loss asks for.
            Unary::Reciprocal => Slope::OfOutput(Unary::Square, -1.0),
            Unary::Clamp(_) | Unary::Step(_) | Unary::Sign | Unary::NotNan | Unary::GeluSlope => {
                Slope::Constant(0.0)
            }
        }
    }
}

/// `sqrt(2 / pi)`
const GELU_A: f32 = 0.797_884_6;
const GELU_B: f32 = 0.044_715;

impl Binary {
    /// The expression in WGSL.
    pub fn wgsl(self, a: &str, b: &str) -> String {
        match self {
            Binary::Add => format!("{a} + {b}"),
            Binary::Sub => format!("{a} - {b}"),
            Binary::Mul => format!("{a} * {b}"),
            Binary::Div => format!("{a} / {b}"),
            Binary::Residual => format!("residual({a}, {b})"),
        }
    }

    /// The CPU twin on one pair.
    #[inline(always)]
    pub(crate) fn value(self, a: f32, b: f32) -> f32 {
        match self {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
            Binary::Residual => {
                if b.is_nan() {
                    0.0
                } else {
                    a - b
                }
            }
        }
    }

    /// The value in f64.
    pub fn reference(self, a: f64, b: f64) -> f64 {
        match self {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
            Binary::Residual => {
                if b.is_nan() {
                    0.0
                } else {
                    a - b
                }
            }
        }
    }
}
