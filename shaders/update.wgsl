// A step of an optimiser on all parameters: adds the penalties to the gradient, clips it, and updates parameters and
// slots.

#import segments
#import vector

struct Params {
    row0: u32,
    lines: u32,
    gradient_sum: u32,  // index of the sums over the whole gradient
}
var<immediate> p: Params;

const SGD = 0u;
const ADAM = 1u;
const RMSPROP = 2u;
const ADAGRAD = 3u;
override RULE: u32 = SGD;
override NESTEROV: bool = false;
override AMSGRAD: bool = false;
override CENTERED: bool = false;
// Place of epsilon: 0 added to the root after the bias correction, 1 added to the root before it, 2 inside of the root.
override EPSILON_AT: u32 = 0u;
// Neighbouring vectors per invocation, 1 to 16, all on one line. 1 is fast on GPUs, where neighbouring invocations
// should access neighbouring memory; 16 on software adapters, where each invocation loads the segment separately.
override VECTORS: u32 = 1u;
// Limit of the gradient: 0 none, 1 of each element, 2 of the norm of the whole gradient.
override CLIP: u32 = 0u;

struct Hyper {
    rate: f32,
    momentum: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    correct1: f32,  // 1 - beta1^t
    correct2: f32,  // 1 - beta2^t
    clip: f32,
}

@group(0) @binding(0) var<storage, read_write> parameters: array<V>;
@group(0) @binding(1) var<storage, read_write> slot0: array<V>;
@group(0) @binding(2) var<storage, read_write> slot1: array<V>;
@group(0) @binding(3) var<storage, read_write> slot2: array<V>;
@group(0) @binding(4) var<storage, read> gradients: array<V>;
@group(0) @binding(5) var<storage, read> table: array<u32>;        // lines, then segments of 8 words
@group(0) @binding(6) var<storage, read> sums: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read> hyper: Hyper;

fn segment(line: u32) -> Segment {
    let at = (p.lines + 63u) / 64u * 64u + table[line] * 8u;
    return Segment(
        bitcast<f32>(table[at]), bitcast<f32>(table[at + 1u]), bitcast<f32>(table[at + 2u]),
        bitcast<f32>(table[at + 3u]), bitcast<f32>(table[at + 4u]), 0u, 0u, 0u,
    );
}

// Zero for numbers below 1e-30, before they become denormal, which is slow on some processors.
fn flush(x: vec4<f32>) -> vec4<f32> {
    return select(x, vec4<f32>(), abs(x) < vec4<f32>(1e-30));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let first = (id.y * groups.x * 64u + id.x) * VECTORS;
    if first >= p.lines * 16u {
        return;
    }
    let line = first / 16u;
    let s = segment(line);
    if s.rate == 0.0 {
        return;
    }
    let length = sqrt(sums[table[line]].y);
    var scale = 1.0;
    if CLIP == 2u {
        let whole = sqrt(sums[p.gradient_sum].y);
        scale = select(1.0, hyper.clip / whole, whole > hyper.clip);
    }
    for (var k = 0u; k < VECTORS; k++) {
        step(first + k, s, length, scale);
    }
}

fn step(i: u32, s: Segment, length: f32, scale: f32) {
    let rate = hyper.rate * s.rate;
    var w = unpack(parameters[i]);
    var g = scale * penalised(w, unpack(gradients[i]), s, length);
    if CLIP == 1u {
        g = clamp(g, vec4<f32>(-hyper.clip), vec4<f32>(hyper.clip));
    }
    w -= rate * s.decay * w;
    if RULE == SGD {
        if hyper.momentum == 0.0 {
            w -= rate * g;
        } else {
            let v = flush(hyper.momentum * unpack(slot0[i]) + g);
            slot0[i] = pack(v);
            w -= rate * select(v, g + hyper.momentum * v, NESTEROV);
        }
    }
    if RULE == ADAM {
        let m = flush(hyper.beta1 * unpack(slot0[i]) + (1.0 - hyper.beta1) * g);
        var v = flush(hyper.beta2 * unpack(slot1[i]) + (1.0 - hyper.beta2) * g * g);
        slot0[i] = pack(m);
        slot1[i] = pack(v);
        if AMSGRAD {
            v = max(v, unpack(slot2[i]));
            slot2[i] = pack(v);
        }
        let root = sqrt(hyper.correct2);
        if EPSILON_AT == 1u {
            w -= rate * root / hyper.correct1 * m / (sqrt(v) + hyper.epsilon);
        } else {
            w -= rate / hyper.correct1 * m / (sqrt(v) / root + hyper.epsilon);
        }
    }
    if RULE == RMSPROP {
        var v = flush(hyper.beta2 * unpack(slot0[i]) + (1.0 - hyper.beta2) * g * g);
        slot0[i] = pack(v);
        if CENTERED {
            let mean = flush(hyper.beta2 * unpack(slot2[i]) + (1.0 - hyper.beta2) * g);
            slot2[i] = pack(mean);
            v -= mean * mean;
        }
        var step = g / (sqrt(v) + hyper.epsilon);
        if EPSILON_AT == 2u {
            step = g / sqrt(v + hyper.epsilon);
        }
        if hyper.momentum != 0.0 {
            step = flush(hyper.momentum * unpack(slot1[i]) + step);
            slot1[i] = pack(step);
        }
        w -= rate * step;
    }
    if RULE == ADAGRAD {
        let v = unpack(slot0[i]) + g * g;
        slot0[i] = pack(v);
        w -= rate * g / (sqrt(v) + hyper.epsilon);
    }
    parameters[i] = pack(w);
}
