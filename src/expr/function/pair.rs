//! Functions of two numbers: their WGSL text, their CPU twin, their value in f64.

use crate::engine::cpu::math;
use crate::engine::turns;

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// `a^b`; of a negative `a` for whole `b` alone, else NaN.
    Pow,
    /// The larger of two.
    Max,
    /// The smaller of two.
    Min,
    /// 1 where `a < b`, else 0.
    Less,
    /// `a`, with the derivative of `b`: for a value whose own derivative is of no use.
    Instead,
    /// The number of events of Poisson's law with mean `a` (at most 64: larger means count as 64) below which the share `b`
    /// of all draws is: a random number, if `b` is uniform in 0 … 1. Without derivative.
    Poisson,
}

/// The largest mean of [`Binary::Poisson`]; `e^-64` is still far from denormal.
const POISSON_MOST: f64 = 64.0;
/// Events at which [`Binary::Poisson`] stops: at the largest mean, one draw in 10^12 would have more.
const POISSON_EVENTS: f64 = 128.0;

impl Binary {
    /// Turns of the loops of the function in a shader.
    pub fn turns(self) -> usize {
        if self == Binary::Poisson { turns::of(POISSON_EVENTS as usize, 0) } else { 0 }
    }
}

/// [`Binary::Poisson`] of many pairs: all count on until the last has its number, so that no lane of a vector branches.
#[inline(always)]
pub(crate) fn poisson<const N: usize>(means: &[f32; N], draws: &[f32; N]) -> [f32; N] {
    let (mut n, mut mean, mut chance) = ([0.0; N], [0.0; N], [0.0; N]);
    for i in 0..N {
        mean[i] = if means[i] > POISSON_MOST as f32 { POISSON_MOST as f32 } else { means[i] };
        chance[i] = math::exp(-mean[i]);
    }
    let mut below = chance;
    for k in 1..=POISSON_EVENTS as u32 {
        let (mut open, k) = (0, k as f32);
        for i in 0..N {
            let on = below[i] <= draws[i];
            n[i] = if on { k } else { n[i] };
            open |= u32::from(on);
            chance[i] *= mean[i] / k;
            below[i] += chance[i];
        }
        if open == 0 {
            break;
        }
    }
    for i in 0..N {
        n[i] = if means[i].is_nan() { means[i] } else { n[i] };
    }
    n
}

impl Binary {
    /// The expression in WGSL.
    pub fn wgsl(self, a: &str, b: &str) -> String {
        match self {
            Binary::Add => format!("{a} + {b}"),
            Binary::Sub => format!("{a} - {b}"),
            Binary::Mul => format!("{a} * {b}"),
            Binary::Div => format!("{a} / {b}"),
            Binary::Residual => format!("residual({a}, {b})"),
            Binary::Pow => format!("power({a}, {b})"),
            // As on the CPU, NaN stays NaN, so that a run that went wrong is seen.
            Binary::Max => format!("select({a}, {b}, {a} < {b})"),
            Binary::Min => format!("select({a}, {b}, {b} < {a})"),
            Binary::Less => format!("select(F(0.0), F(1.0), {a} < {b})"),
            Binary::Instead => a.to_string(),
            Binary::Poisson => format!("poisson({a}, {b})"),
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
            Binary::Pow => a.powf(b),
            Binary::Max => {
                if a < b {
                    b
                } else {
                    a
                }
            }
            Binary::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Binary::Less => {
                if a < b {
                    1.0
                } else {
                    0.0
                }
            }
            Binary::Instead => a,
            Binary::Poisson => {
                if a.is_nan() {
                    return a;
                }
                let mean = a.min(POISSON_MOST as f32);
                let (mut n, mut chance) = (0.0, math::exp(-mean));
                let mut below = chance;
                while below <= b && n < POISSON_EVENTS as f32 {
                    n += 1.0;
                    chance *= mean / n;
                    below += chance;
                }
                n
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
            Binary::Pow => a.powf(b),
            Binary::Max => a.max(b),
            Binary::Min => a.min(b),
            Binary::Less => f64::from(a < b),
            Binary::Instead => a,
            Binary::Poisson => {
                if a.is_nan() {
                    return a;
                }
                let mean = a.min(POISSON_MOST);
                let (mut n, mut chance) = (0.0, (-mean).exp());
                let mut below = chance;
                while below <= b && n < POISSON_EVENTS {
                    n += 1.0;
                    chance *= mean / n;
                    below += chance;
                }
                n
            }
        }
    }
}
