// Random numbers of each step: output = offset + factor * x, with x standard normal, or uniform in [0, 1). They depend
// only on the key, the step since the last reset and the element of the step, so that windows of any length and
// minibatches of any size give the same numbers.

#import fold
#import philox

struct Params {
    row0: u32,
    steps: u32,
    width: u32,    // elements of a step
    cols: u32,
    start: u32,
    normal: u32,   // 1 for normal, 0 for uniform
    offset: f32,
    factor: f32,
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read> clock: array<u32>;  // key (2 words), first step (2 words), first example

// ln x for 0 < x <= 1. The built-in log may have an error of 5e-7 near 1, which would give its root an error of 7e-4.
fn natural_logarithm(x: f32) -> f32 {
    let i = bitcast<i32>(x) - 0x3f3504f3;
    let k = f32(i >> 23u);
    let f = bitcast<f32>((i & 0x007fffff) + 0x3f3504f3) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let series = z * (0.6666666 + w * 0.28498787) + w * (0.40000972 + w * 0.24279079);
    let half = 0.5 * f * f;
    return s * (half + series) + k * 9.058001e-6 - half + f + k * 0.6931381;
}

// Two normal numbers from two words (Box and Muller 1958). The upper two bits of the angle are its quadrant. The others
// range from -pi/4 to pi/4, where short series give cosine and sine.
fn normal_pair(a: u32, b: u32) -> vec2<f32> {
    let radius = sqrt(-2.0 * min(natural_logarithm(f32((a >> 8u) + 1u) * 5.9604645e-8), 0.0));
    let x = (f32((b >> 8u) & 0x3fffffu) * 2.3841858e-7 - 0.5) * 1.5707964;
    let z = x * x;
    let c = 1.0 + z * (-0.5 + z * (0.041666668 + z * (-0.0013888889 + z * 2.4801588e-5)));
    let s = x + x * z * (-0.16666667 + z * (0.008333333 + z * (-1.984127e-4 + z * 2.7557319e-6)));
    let quadrant = b >> 30u;
    let turned = select(vec2<f32>(c, s), vec2<f32>(-s, c), (quadrant & 1u) == 1u);
    return radius * select(turned, -turned, quadrant >= 2u);
}

fn add_wide(a: vec2<u32>, b: u32) -> vec2<u32> {
    let low = a.x + b;
    return vec2<u32>(low, a.y + select(0u, 1u, low < b));
}

// An invocation owns four elements of a step, those of one call of philox.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // The borders of the minibatch may divide the first and the last four.
    let fours = p.width / 4u + 2u;
    let job = linear(group, groups) * 64u + lane;
    if job >= fours * p.steps {
        return;
    }
    let step = p.row0 * p.cols / p.width + job / fours;
    // 64-bit numbers in two words: the first element of the minibatch, the four of this invocation, the step.
    let begin = vec2<u32>(clock[4] * p.cols, multiply_high(clock[4], p.cols));
    let four = add_wide(vec2<u32>(begin.x >> 2u | begin.y << 30u, begin.y >> 2u), job % fours);
    let time = add_wide(vec2<u32>(clock[2], clock[3]), step);
    let words = philox(vec4<u32>(four, time), vec2<u32>(clock[0], clock[1]));
    var drawn = vec4<f32>(words >> vec4<u32>(8u)) * 5.9604645e-8;
    if p.normal == 1u {
        drawn = vec4<f32>(normal_pair(words.x, words.y), normal_pair(words.z, words.w));
    }
    let cut = begin.x % 4u;
    for (var i = 0u; i < 4u; i++) {
        let e = job % fours * 4u + i;
        if e >= cut && e < cut + p.width {
            output[p.start + step * p.width + e - cut] = p.offset + p.factor * drawn[i];
        }
    }
}
