//! Surrogate derivatives of spikes.

use std::f32::consts::FRAC_PI_2;

/// Surrogate of the derivative of a spike in training, as a function of the distance `u` to the threshold.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Surrogate {
    /// `1 / (1 + k|u|)^2` (Zenke and Ganguli 2018), with the slope `k`.
    FastSigmoid(f32),
    /// `(a/2) / (1 + (pi a u / 2)^2)` (Fang et al. 2021), with the width `a`.
    Arctan(f32),
    /// `k max(0, 1 - k|u|)`, a triangle of area 1 (Bellec et al. 2018), with the slope `k`.
    Triangle(f32),
    /// 1 everywhere (Bengio et al. 2013).
    StraightThrough,
}

/// `height max(0, 1 - fall |u|) / (1 + p |u| + q u^2)`: the form of all surrogates. One form without a choice, so that loops
/// over neurons are vectorised.
#[derive(Clone, Copy, Debug)]
pub struct Bump {
    height: f32,
    fall: f32,
    p: f32,
    q: f32,
}

impl Surrogate {
    /// Its form.
    pub fn bump(self) -> Bump {
        let flat = Bump { height: 1.0, fall: 0.0, p: 0.0, q: 0.0 };
        match self {
            Surrogate::FastSigmoid(k) => Bump { p: 2.0 * k, q: k * k, ..flat },
            Surrogate::Arctan(a) => Bump { height: 0.5 * a, q: (FRAC_PI_2 * a).powi(2), ..flat },
            Surrogate::Triangle(k) => Bump { height: k, fall: k, ..flat },
            Surrogate::StraightThrough => flat,
        }
    }
}

impl Bump {
    /// Its numbers, by their bits.
    pub(super) fn bits(self) -> [u32; 4] {
        let Self { height, fall, p, q } = self;
        [height, fall, p, q].map(f32::to_bits)
    }

    /// The call in WGSL.
    pub fn wgsl(self, u: &str) -> String {
        let Self { height, fall, p, q } = self;
        format!("bump({u}, {height:?}, {fall:?}, {p:?}, {q:?})")
    }

    /// The value.
    #[inline(always)]
    pub fn value(self, u: f32) -> f32 {
        let (Self { height, fall, p, q }, far) = (self, u.abs());
        height * (1.0 - fall * far).max(0.0) / (1.0 + (p + q * far) * far)
    }

    /// The value in f64.
    pub fn reference(self, u: f64) -> f64 {
        let far = u.abs();
        let [height, fall, p, q] = [self.height, self.fall, self.p, self.q].map(f64::from);
        height * (1.0 - fall * far).max(0.0) / (1.0 + (p + q * far) * far)
    }
}
