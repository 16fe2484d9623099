// Elementwise functions. The importing shader defines F as f32 or vec4<f32>.

fn leaky_relu(x: F, slope: f32) -> F {
    return select(slope * x, x, x > F(0.0));
}

// Derivative of relu and leaky relu: 1 above zero, else slope.
fn step_up(x: F, slope: f32) -> F {
    return select(F(slope), F(1.0), x > F(0.0));
}

fn sigmoid(x: F) -> F {
    return 1.0 / (1.0 + exp(-x));
}

// Hyperbolic tangent: the built-in tanh has an error of 1e-5 on some drivers. (1 - e) / (1 + e) with e = exp(-2|x|) is
// inexact near zero, where the Taylor polynomial of degree 9 is used.
fn tangent(x: F) -> F {
    let a = abs(x);
    let e = exp(-2.0 * a);
    let far = sign(x) * (1.0 - e) / (1.0 + e);
    let s = x * x;
    let near = x + x * s * (-0.33333334 + s * (0.13333334 + s * (-0.05396825 + s * 0.021869488)));
    return select(far, near, a < F(0.3));
}

// ln(1 + exp(x)) = max(x, 0) + ln(1 + e) with e = exp(-|x|). For small e, the series e - e^2/2 + e^3/3 - e^4/4 has no
// rounding error of 1 + e.
fn softplus(x: F) -> F {
    let e = exp(-abs(x));
    let small = e * (1.0 - e * (0.5 - e * (0.33333334 - e * 0.25)));
    return max(x, F(0.0)) + select(log(1.0 + e), small, e < F(0.02));
}

fn gelu(x: F) -> F {
    return 0.5 * x * (1.0 + tangent(0.7978846 * (x + 0.044715 * x * x * x)));
}

// Derivative of gelu. Clamped, since squares of large numbers would be infinite.
fn gelu_slope(far: F) -> F {
    let x = clamp(far, F(-20.0), F(20.0));
    let t = tangent(0.7978846 * (x + 0.044715 * x * x * x));
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * 0.7978846 * (1.0 + 0.134145 * x * x);
}

// sin(x - n pi) for x - n pi between -pi/2 and pi/2, as in the CPU twin. The built-in sin may have an error of 5e-4.
fn sine_beside(x: F, n: F) -> F {
    let r = ((x - n * 3.140625) - n * 9.675026e-4) - n * 1.509958e-7;
    let s = r * r;
    let p = -0.16666667 + s * (8.333333e-3 + s * (-1.984127e-4 + s * (2.7557319e-6 - s * 2.5052108e-8)));
    return r + r * s * p;
}

// -1 if the integer n is odd, else 1.
fn parity(n: F) -> F {
    return 1.0 - 2.0 * (n - 2.0 * floor(0.5 * n));
}

fn sine(x: F) -> F {
    let n = floor(x * 0.31830987 + 0.5);
    return parity(n) * sine_beside(x, n);
}

fn cosine(x: F) -> F {
    let n = floor(x * 0.31830987);
    return -parity(n) * sine_beside(x, n + 0.5);
}

// NaN, for arguments without a result: log(-1) may be anything on a device. Made of the bits of x, so that the compiler
// cannot assume that it does not occur.
fn none(x: F) -> F {
    return bitcast<F>((bitcast<U>(x) & U(0x80000000u)) | U(0x7fc00000u));
}

// Natural logarithm. At zero it is minus infinity; the built-in log may give a finite number there.
fn logarithm(x: F) -> F {
    let edge = select(none(x), bitcast<F>(U(0xff800000u)), x == F(0.0));
    return select(edge, log(x), x > F(0.0));
}

fn square_root(x: F) -> F {
    return select(none(x), sqrt(x), x >= F(0.0));
}

fn logarithm_one_plus(x: F) -> F {
    return select(none(x), log_one_plus(x), x >= F(-1.0));
}

// a^b. A negative base needs an integer exponent, whose parity determines the sign; otherwise NaN.
fn power(a: F, b: F) -> F {
    let size = select(pow(abs(a), b), F(1.0), b == F(0.0));
    let signed = select(none(a), size * parity(b), floor(b) == b);
    return select(size, signed, a < F(0.0));
}

// 1 if x is not NaN, else 0. Tested on bits, since a compiler may assume that x == x.
fn not_nan(x: F) -> F {
    return select(F(1.0), F(0.0), (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u));
}

// a - b; 0 where b is NaN, which marks a missing target.
fn residual(a: F, b: F) -> F {
    return select(a - b, F(0.0), (bitcast<U>(b) & U(0x7fffffffu)) > U(0x7f800000u));
}

fn huber(x: F, limit: f32) -> F {
    let a = abs(x);
    return select(limit * (a - 0.5 * limit), 0.5 * x * x, a <= F(limit));
}

// exp(x) - 1. Near zero the difference is inexact, and the polynomial of the CPU twin is used.
fn exp_minus_one(x: F) -> F {
    let r = clamp(x, F(-0.5), F(0.5));
    let p = ((((1.9875691e-4 * r + 1.3982e-3) * r + 8.333452e-3) * r + 4.1665796e-2) * r + 0.16666665) * r + 0.5;
    return select(exp(x) - 1.0, r + r * r * p, abs(x) < F(0.5));
}

// ln(1 + x). The rounding error of u = 1 + x is corrected by (x - (u - 1)) / u. The logarithm of u is a series in its
// mantissa, since the built-in log may have an error of 3 ulp, and more near 1.
fn log_one_plus(x: F) -> F {
    let u = 1.0 + x;
    let bits = bitcast<I>(u) - I(0x3f3504f3);
    let k = bits >> U(23u);
    let m = bitcast<F>((bits & I(0x007fffff)) + I(0x3f3504f3));
    let kf = F(k);
    let near = k == I(0);
    let lost = select(x - (u - 1.0), 1.0 - (u - x), k >= I(2)) / u;
    let f = select(m - 1.0, x, near);
    let c = select(lost, F(0.0), near);
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (0.40000972 + w * 0.24279079);
    let odd = z * (0.6666666 + w * 0.28498787);
    let half = 0.5 * f * f;
    let y = s * (half + (odd + even)) + (kf * 9.058001e-6 + c) - half + f + kf * 0.6931381;
    // Infinity and NaN are returned as they are; -1 gives minus infinity.
    let edge = select(y, x, (bitcast<U>(x) & U(0x7fffffffu)) >= U(0x7f800000u));
    return select(edge, bitcast<F>(U(0xff800000u)), u == F(0.0));
}

// x, but at least 1e-30, so that its inverse is finite also for a silent neuron. NaN remains.
fn above_zero(x: F) -> F {
    return select(x, F(1e-30), x < F(1e-30));
}

fn lif_rate(x: F, a: f32, b: f32) -> F {
    return select(1.0 / (a + b * log_one_plus(1.0 / above_zero(x))), F(0.0), x <= F(0.0));
}

fn lif_slope(x: F, b: f32) -> F {
    let above = above_zero(x);
    return select(b / (above + above * above), F(0.0), x <= F(0.0));
}

// Surrogate derivative of a spike: the general form of all surrogates.
fn bump(u: F, height: f32, fall: f32, p: f32, q: f32) -> F {
    let far = abs(u);
    return height * max(F(0.0), 1.0 - fall * far) / (1.0 + (p + q * far) * far);
}

// Quantile `u` of the Poisson distribution, with a mean of at most 64.
fn poisson(mean: F, u: F) -> F {
    let m = min(mean, F(64.0));
    var n = F(0.0);
    var chance = exp(-m);
    var below = chance;
    for (var k = 1u; k <= 128u; k++) {
        n += select(F(0.0), F(1.0), below <= u);
        chance *= m / f32(k);
        below += chance;
    }
    return select(mean, n, not_nan(mean) != F(0.0));
}
