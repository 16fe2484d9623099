// Softmax cross-entropy of each row of logits with its target, and its adjoint. An invocation owns a
// row; in `_wide`, a workgroup owns a long row.
// A target is a class index (one column) or a weight for each class. NaN counts as zero.

#import fold
#import number
#import sums
#import row

struct Params {
    row0: u32, rows: u32, cols: u32, start: u32, stride: u32,
    start0: u32, period0: u32, stride0: u32,
    start1: u32, period1: u32, stride1: u32,
    start2: u32, period2: u32, stride2: u32,
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<f32>;
@group(0) @binding(3) var<storage, read> adjoint: array<f32>;  // backward only

// Weight of class c in a target. NaN is tested on bits, since a compiler may assume that x == x.
fn weight(at: u32, c: u32) -> f32 {
    if p.stride1 == 1u && p.cols > 1u {
        return select(0.0, 1.0, targets[at] == f32(c));
    }
    let w = targets[at + c];
    return select(w, 0.0, (bitcast<u32>(w) & 0x7fffffffu) > 0x7f800000u);
}

// Term of a class in the loss: zero without weight, even if the surprise is infinite.
fn term(weight: f32, surprise: f32) -> f32 {
    return select(weight * surprise, 0.0, weight == 0.0);
}

// loss = sum over classes of weight * (ln sum exp(x - max) - (x - max))
@compute @workgroup_size(64)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = linear(group, groups) * 64u + lane;
    if index >= p.rows {
        return;
    }
    let row = p.row0 + index;
    let x = p.start0 + (row % p.period0) * p.stride0;
    let at = p.start1 + (row % p.period1) * p.stride1;
    var top = logits[x];
    for (var c = 1u; c < p.cols; c++) {
        top = max(top, logits[x + c]);
    }
    var sum = nothing();
    for (var c = 0u; c < p.cols; c++) {
        add(&sum, exp(logits[x + c] - top));
    }
    let log_total = log(whole(sum));
    var loss = nothing();
    for (var c = 0u; c < p.cols; c++) {
        add(&loss, term(weight(at, c), log_total - (logits[x + c] - top)));
    }
    output[p.start + row * p.stride] = whole(loss);
}

// dx = (softmax(x) * sum(weights) - weight) * dloss
@compute @workgroup_size(64)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = linear(group, groups) * 64u + lane;
    if index >= p.rows {
        return;
    }
    let row = p.row0 + index;
    let x = p.start0 + (row % p.period0) * p.stride0;
    let at = p.start1 + (row % p.period1) * p.stride1;
    let dloss = adjoint[p.start2 + (row % p.period2) * p.stride2];
    let dx = p.start + row * p.stride;
    var top = logits[x];
    for (var c = 1u; c < p.cols; c++) {
        top = max(top, logits[x + c]);
    }
    var sum = nothing();
    var weight_sum = nothing();
    for (var c = 0u; c < p.cols; c++) {
        add(&sum, exp(logits[x + c] - top));
        add(&weight_sum, weight(at, c));
    }
    let total = whole(sum);
    let weights = whole(weight_sum);
    for (var c = 0u; c < p.cols; c++) {
        output[dx + c] = (exp(logits[x + c] - top) / total * weights - weight(at, c)) * dloss;
    }
}

@compute @workgroup_size(LANES)
fn forward_wide(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = linear(group, groups);
    if index >= p.rows {
        return;
    }
    let row = p.row0 + index;
    let x = p.start0 + (row % p.period0) * p.stride0;
    let at = p.start1 + (row % p.period1) * p.stride1;
    var own = logits[x];
    for (var c = lane; c < p.cols; c += LANES) {
        own = max(own, logits[x + c]);
    }
    let top = max_of_all(lane, own);
    var sum = nothing();
    for (var c = lane; c < p.cols; c += LANES) {
        add(&sum, exp(logits[x + c] - top));
    }
    let log_total = log(sum_of_all(lane, whole(sum)));
    var loss = nothing();
    for (var c = lane; c < p.cols; c += LANES) {
        add(&loss, term(weight(at, c), log_total - (logits[x + c] - top)));
    }
    let all = sum_of_all(lane, whole(loss));
    if lane == 0u {
        output[p.start + row * p.stride] = all;
    }
}

@compute @workgroup_size(LANES)
fn backward_wide(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = linear(group, groups);
    if index >= p.rows {
        return;
    }
    let row = p.row0 + index;
    let x = p.start0 + (row % p.period0) * p.stride0;
    let at = p.start1 + (row % p.period1) * p.stride1;
    let dloss = adjoint[p.start2 + (row % p.period2) * p.stride2];
    let dx = p.start + row * p.stride;
    var own = logits[x];
    for (var c = lane; c < p.cols; c += LANES) {
        own = max(own, logits[x + c]);
    }
    let top = max_of_all(lane, own);
    var sum = nothing();
    var weight_sum = nothing();
    for (var c = lane; c < p.cols; c += LANES) {
        add(&sum, exp(logits[x + c] - top));
        add(&weight_sum, weight(at, c));
    }
    let total = sum_of_all(lane, whole(sum));
    let weights = sum_of_all(lane, whole(weight_sum));
    for (var c = lane; c < p.cols; c += LANES) {
        output[dx + c] = (exp(logits[x + c] - top) / total * weights - weight(at, c)) * dloss;
    }
}
