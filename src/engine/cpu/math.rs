//! Elementary functions of `f32` without branches or tables, so that LLVM vectorises loops over slices.
//!
//! Call them in loops inside of [`vectorise`], which compiles the loop for the widest registers of the processor. They
//! use no `mul_add`: without FMA in the target it is a call of libm. Results are therefore the same bits on every
//! processor.
//!
//! Documented errors are the largest over every 37th `f32`, rounded up, in units in the last place (ulp) of the exact
//! result. NaN gives NaN.

use pulp::{Arch, NullaryFnOnce};

/// Runs `f`, compiled for the widest instruction set of the processor. `f` must be `#[inline(always)] || …`.
///
/// `Arch::dispatch` calls a closure through a shim. LLVM does not inline a large one, which then runs as baseline code
/// at a tenth of the speed. A call as `FnMut` needs no shim.
#[inline(always)]
pub fn vectorise<R>(f: impl FnMut() -> R) -> R {
    struct Loop<F>(F);
    impl<R, F: FnMut() -> R> NullaryFnOnce for Loop<F> {
        type Output = R;

        #[inline(always)]
        fn call(mut self) -> R {
            (self.0)()
        }
    }
    Arch::new().dispatch(Loop(f))
}

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts. The first has few enough bits that its product with an exponent is exact.
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;
/// 1.5·2²³: adding it rounds a small number to an integer, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;
/// Bits of √½. Mantissas are reduced to √½ … √2.
const SQRT_HALF: i32 = 0x3f35_04f3;

/// 2ⁿ for n in -126..=127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// Splits `x`, at most 2²¹, into n·ln 2 + r + rest, where |r| is at most about ½ ln 2 and the rest is below its last
/// place.
#[inline(always)]
fn reduce(x: f32) -> (i32, f32, f32) {
    let t = x * LOG2_E + ROUND;
    let n = t - ROUND;
    let high = x - n * LN2_HI;
    let low = n * LN2_LO;
    let r = high - low;
    ((t.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32), r, (high - r) - low)
}

/// (eʳ - 1 - r) / r² for |r| < 0.35.
#[inline(always)]
fn exp_tail(r: f32) -> f32 {
    let p = 1.987_569_1e-4 * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    p * r + 0.5
}

/// eˣ; error at most 1 ulp, denormal results included.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let (n, r, rest) = reduce(x.clamp(-104.0, 89.0));
    let p = (exp_tail(r) * (r * r) + rest) + r + 1.0;
    // Two factors, since 2ⁿ itself may be infinite or denormal.
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// eˣ - 1; error at most 1.5 ulp.
#[inline(always)]
pub fn expm1(x: f32) -> f32 {
    let (n, r, rest) = reduce(x.clamp(-20.0, 89.0));
    let p = r + (exp_tail(r) * (r * r) + rest);
    // Half of 2ⁿ, since 2¹²⁸ would overflow too early.
    let s = power_of_two(n.wrapping_sub(1));
    let y = 2.0 * (s * p + (s - 0.5));
    if x.abs() < 1e-7 { x } else { y }
}

/// Splits a positive normal number into 2ᵏ·m with m in √½ … √2.
#[inline(always)]
fn split(x: f32) -> (i32, f32) {
    let i = (x.to_bits() as i32).wrapping_sub(SQRT_HALF);
    (i >> 23, f32::from_bits((i & 0x007f_ffff).wrapping_add(SQRT_HALF) as u32))
}

/// k·ln 2 + ln(1 + f) + c, with 1 + f in √½ … √2 and a small c.
///
/// (ln(1 + f) - f + ½f²) / f³ is a polynomial, fitted for the least relative error of the logarithm (a tenth of an
/// ulp). The usual series in f / (2 + f) needs a quotient, which takes longer than all terms of the polynomial.
#[inline(always)]
fn log_sum(k: i32, f: f32, c: f32) -> f32 {
    let (z, k) = (f * f, k as f32);
    let low = (0.333_333_3 - 0.250_008_2 * f) + z * (0.200_012_27 - 0.166_233_57 * f);
    let high = (0.142_017_59 - 0.131_601_83 * f) + z * (0.127_615_75 - 0.076_344_93 * f);
    let cubic = f * z * (low + z * z * high);
    (cubic + (k * 9.058_001e-6 + c) - 0.5 * z) + f + k * 0.693_138_1
}

/// Correction lost / u of ln u, where `lost` is the rounding error of u = 2ᵏ(1 + f).
///
/// It is below the last place of the logarithm, so an approximate quotient suffices.
#[inline(always)]
fn log_of_rest(lost: f32, k: i32, f: f32) -> f32 {
    lost * power_of_two(-k.min(126)) * (1.0 - f + f * f)
}

/// ln x; error at most 1 ulp. Negative numbers give NaN.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let small = x < f32::MIN_POSITIVE;
    let (k, m) = split(if small { x * 33_554_432.0 } else { x });
    let y = log_sum(if small { k - 25 } else { k }, m - 1.0, 0.0);
    log_edges(x, y)
}

/// ln(1 + x); error at most 1 ulp. Numbers below -1 give NaN.
#[inline(always)]
pub fn log1p(x: f32) -> f32 {
    let u = 1.0 + x;
    let (k, m) = split(u);
    // Rounding error of 1 + x. There is none where k is 0, since x itself is used there.
    let lost = if k >= 2 { 1.0 - (u - x) } else { x - (u - 1.0) };
    let near = k == 0;
    let rest = if near { 0.0 } else { log_of_rest(lost, k, m - 1.0) };
    let y = log_sum(k, if near { x } else { m - 1.0 }, rest);
    let y = log_edges(u, y);
    if x == 0.0 { x } else { y }
}

/// ln(1 + 1/x) for x from 1e-30 to infinity; error at most 3 ulp. Unspecified for smaller numbers.
///
/// The rounding error of 1 + 1/x is not corrected: where 1/x itself is not used, the logarithm is at least 0.34.
#[inline(always)]
pub fn log1p_of_inverse(x: f32) -> f32 {
    let inverse = 1.0 / x;
    let (k, m) = split(1.0 + inverse);
    let y = log_sum(k, if k == 0 { inverse } else { m - 1.0 }, 0.0);
    if x.is_nan() { x } else { y }
}

/// Corrects the logarithm `y` of `x` for zero, infinity, negative numbers and NaN.
#[inline(always)]
fn log_edges(x: f32, y: f32) -> f32 {
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    let y = if x < f32::INFINITY { y } else { x };
    if x < 0.0 { f32::NAN } else { y }
}

/// Hyperbolic tangent; error at most 2.6 ulp.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let t = expm1(2.0 * x.abs().clamp(0.0, 10.0));
    (t / (t + 2.0)).copysign(x)
}

/// 1 / (1 + e⁻ˣ); error at most 2.5 ulp.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// ln(1 + eˣ); error at most 1.7 ulp.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    // ln(1 + e) as in `log1p`, with fewer cases for e in 0 … 1.
    let e = exp(-x.abs());
    let u = 1.0 + e;
    let far = u > std::f32::consts::SQRT_2;
    let m = if far { 0.5 * u } else { u };
    let (k, f) = (i32::from(far), m - 1.0);
    x.clamp(0.0, f32::INFINITY) + log_sum(k, f, log_of_rest(e - (u - 1.0), k, f))
}

/// π in three parts. The first two have so few bits that their products with integers up to some thousands are exact.
const PI_HI: f32 = 3.140_625;
const PI_MID: f32 = 9.675_026e-4;
const PI_LO: f32 = 1.509_958e-7;

/// sin(x - n·π) for x - n·π between -π/2 and π/2: the odd Taylor polynomial of degree 11.
#[inline(always)]
fn sine_beside(x: f32, n: f32) -> f32 {
    let r = ((x - n * PI_HI) - n * PI_MID) - n * PI_LO;
    let s = r * r;
    let p = -2.505_210_8e-8 * s + 2.755_731_9e-6;
    let p = p * s - 1.984_127e-4;
    let p = p * s + 8.333_333e-3;
    let p = p * s - 0.166_666_67;
    r + r * s * p
}

/// -1 if the integer `n` is odd, else 1.
#[inline(always)]
fn parity(n: f32) -> f32 {
    1.0 - 2.0 * (n - 2.0 * (0.5 * n).floor())
}

/// sin x; absolute error at most 2e-7 for |x| up to 10⁴, larger beyond.
#[inline(always)]
pub fn sin(x: f32) -> f32 {
    let n = (x * std::f32::consts::FRAC_1_PI + 0.5).floor();
    parity(n) * sine_beside(x, n)
}

/// cos x; absolute error at most 2e-7 for |x| up to 10⁴, larger beyond.
#[inline(always)]
pub fn cos(x: f32) -> f32 {
    let n = (x * std::f32::consts::FRAC_1_PI).floor();
    -parity(n) * sine_beside(x, n + 0.5)
}

/// Gaussian error linear unit in its tanh form, ½x(1 + tanh(√(2/π)(x + 0.044715x³))); error at most 3.8 ulp above -1,
/// and 1e-7 below.
///
/// It is computed as x·sigmoid(2√(2/π)(x + 0.044715x³)), which is equal and has no cancellation for negative x.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    let x = x.clamp(-20.0, f32::INFINITY);
    x * sigmoid(1.595_769 * (x + 0.044_715 * x * x * x))
}

/// 0 for |x| < 1e-30, else x. It keeps decaying traces from becoming denormal, which is slow.
#[inline(always)]
pub fn flush(x: f32) -> f32 {
    if x.abs() < 1e-30 { 0.0 } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance between tested bit patterns of `f32`. The documented bounds are from a distance of 37.
    const STRIDE: usize = 1021;

    /// Distance between `got` and `want`, in ulp of `want` as an `f32`.
    fn ulps(got: f32, want: f64) -> f64 {
        let near = want as f32;
        if near.is_infinite() || got.is_infinite() {
            return if got == near { 0.0 } else { f64::INFINITY };
        }
        let exponent = (near.abs().to_bits() >> 23).max(1) as i32;
        (f64::from(got) - want).abs() / 2f64.powi(exponent - 150)
    }

    /// Largest error over the numbers that `domain` accepts, and its argument.
    fn worst(f: fn(f32) -> f32, want: fn(f64) -> f64, domain: fn(f32) -> bool) -> (f64, f32) {
        let mut worst = (0.0, 0.0);
        for bits in (0..=u32::MAX).step_by(STRIDE) {
            let x = f32::from_bits(bits);
            let (got, want) = (f(x), want(f64::from(x)));
            assert_eq!(got.is_nan(), want.is_nan(), "{x:e}: {got} for {want}");
            if domain(x) && !want.is_nan() && ulps(got, want) > worst.0 {
                worst = (ulps(got, want), x);
            }
        }
        worst
    }

    fn within(name: &str, bound: f64, f: fn(f32) -> f32, want: fn(f64) -> f64) {
        let (error, x) = worst(f, want, |_| true);
        println!("{name}: {error:.3} ulp at {x:e}");
        assert!(error <= bound, "{name}({x:e}) is off by {error} ulp");
    }

    /// [`log1p_of_inverse`]; of 1 where it is unspecified.
    fn of_inverse(x: f32) -> f32 {
        log1p_of_inverse(if x < 1e-30 { 1.0 } else { x })
    }

    fn of_inverse64(x: f64) -> f64 {
        (1.0 / if x < f64::from(1e-30_f32) { 1.0 } else { x }).ln_1p()
    }

    fn gelu64(x: f64) -> f64 {
        if x < -100.0 {
            return -0.0;
        }
        let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
        x / (1.0 + (-2.0 * u).exp())
    }

    #[test]
    fn errors_stay_within_the_documented_bounds() {
        within("exp", 1.0, exp, f64::exp);
        within("expm1", 1.5, expm1, f64::exp_m1);
        within("ln", 1.0, ln, f64::ln);
        within("log1p", 1.0, log1p, f64::ln_1p);
        within("tanh", 2.6, tanh, f64::tanh);
        within("sigmoid", 2.5, sigmoid, |x| if x < -700.0 { 0.0 } else { 1.0 / (1.0 + (-x).exp()) });
        within("softplus", 1.7, softplus, |x| if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() });
        let (error, x) = worst(of_inverse, of_inverse64, |_| true);
        println!("log1p_of_inverse: {error:.3} ulp at {x:e}");
        assert!(error <= 3.0, "log1p_of_inverse({x:e}) is off by {error} ulp");
        let (error, x) = worst(gelu, gelu64, |x| x > -1.0);
        println!("gelu: {error:.3} ulp at {x:e}");
        assert!(error <= 3.8, "gelu({x:e}) is off by {error} ulp");
        let below = (0..=u32::MAX).step_by(STRIDE).map(f32::from_bits).filter(|x| *x <= -1.0);
        let error = below.map(|x| (f64::from(gelu(x)) - gelu64(f64::from(x))).abs()).fold(0.0, f64::max);
        println!("gelu: {error:e} below -1");
        assert!(error <= 1e-7, "gelu is off by {error} below -1");
    }

    #[test]
    fn sine_and_cosine_are_accurate_up_to_ten_thousand() {
        let angles =
            (-1_000_000..=1_000_000).map(|i| i as f32 * 0.01).chain((-4000..4000).map(|i| i as f32 * 1e-3));
        for x in angles {
            let (s, c) = f64::from(x).sin_cos();
            assert!((f64::from(sin(x)) - s).abs() < 2e-7, "sin({x}) = {}, but {s}", sin(x));
            assert!((f64::from(cos(x)) - c).abs() < 2e-7, "cos({x}) = {}, but {c}", cos(x));
        }
        assert!([f32::NAN, f32::INFINITY].into_iter().all(|x| sin(x).is_nan() && cos(x).is_nan()));
        assert_eq!(sin(0.0), 0.0);
    }

    #[test]
    fn zeros_infinities_and_denormals_give_exact_results() {
        let inf = f32::INFINITY;
        let functions: [fn(f32) -> f32; 9] = [exp, expm1, ln, log1p, tanh, sigmoid, softplus, gelu, flush];
        assert!(functions.iter().all(|f| f(f32::NAN).is_nan()));
        let bits = |f: fn(f32) -> f32, x: f32| f(x).to_bits();
        for f in [expm1, log1p, tanh, gelu] as [fn(f32) -> f32; 4] {
            assert_eq!([bits(f, 0.0), bits(f, -0.0)], [0.0f32.to_bits(), (-0.0f32).to_bits()]);
            assert!(f(1e-45) <= 1e-45 && f(-1e-45) >= -1e-45);
        }
        assert_eq!(
            [exp(0.0), exp(-0.0), exp(inf), exp(-inf), exp(88.73), exp(-104.0)],
            [1.0, 1.0, inf, 0.0, inf, 0.0]
        );
        assert!(exp(88.72) < inf && exp(-103.0) > 0.0);
        assert_eq!([expm1(inf), expm1(-inf), expm1(89.0), expm1(-50.0)], [inf, -1.0, inf, -1.0]);
        assert_eq!([ln(0.0), ln(-0.0), ln(1.0), ln(inf)], [-inf, -inf, 0.0, inf]);
        assert!([-1.0, -1e-45, -inf].into_iter().all(|x| ln(x).is_nan()) && ln(1e-45) > -103.3);
        assert_eq!([log1p(-1.0), log1p(inf), log1p(1e-45)], [-inf, inf, 1e-45]);
        assert!([-1.001, -inf].into_iter().all(|x| log1p(x).is_nan()));
        assert_eq!([tanh(inf), tanh(-inf), tanh(1e-45), tanh(20.0)], [1.0, -1.0, 1e-45, 1.0]);
        assert_eq!([sigmoid(0.0), sigmoid(inf), sigmoid(-inf)], [0.5, 1.0, 0.0]);
        assert_eq!([softplus(inf), softplus(-inf), softplus(100.0)], [inf, 0.0, 100.0]);
        assert_eq!([gelu(inf), gelu(-inf), gelu(-30.0)], [inf, 0.0, 0.0]);
        assert_eq!([flush(1e-31), flush(-1e-31), flush(1e-29), flush(-inf)], [0.0, 0.0, 1e-29, -inf]);
    }
}
