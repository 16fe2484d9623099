// Softmax over each row, and its adjoint. An invocation owns a row; in `_wide`, a workgroup owns a long row.

#import fold
#import number
#import sums
#import row

struct Params {
    row0: u32, rows: u32, cols: u32, start: u32, stride: u32,
    start0: u32, period0: u32, stride0: u32,
    start1: u32, period1: u32, stride1: u32,
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read> input: array<f32>;    // forward: x; backward: softmax(x)
@group(0) @binding(2) var<storage, read> adjoint: array<f32>;  // backward only

// y = exp(x - max) / sum exp(x - max)
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
    let y = p.start + row * p.stride;
    var top = input[x];
    for (var c = 1u; c < p.cols; c++) {
        top = max(top, input[x + c]);
    }
    var sum = nothing();
    for (var c = 0u; c < p.cols; c++) {
        add(&sum, exp(input[x + c] - top));
    }
    let total = whole(sum);
    for (var c = 0u; c < p.cols; c++) {
        output[y + c] = exp(input[x + c] - top) / total;
    }
}

// dx = y * (dy - sum(y * dy))
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
    let y = p.start0 + (row % p.period0) * p.stride0;
    let dy = p.start1 + (row % p.period1) * p.stride1;
    let dx = p.start + row * p.stride;
    var sum = nothing();
    for (var c = 0u; c < p.cols; c++) {
        add(&sum, input[y + c] * adjoint[dy + c]);
    }
    let dot = whole(sum);
    for (var c = 0u; c < p.cols; c++) {
        output[dx + c] = input[y + c] * (adjoint[dy + c] - dot);
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
    let y = p.start + row * p.stride;
    var own = input[x];
    for (var c = lane; c < p.cols; c += LANES) {
        own = max(own, input[x + c]);
    }
    let top = max_of_all(lane, own);
    var sum = nothing();
    for (var c = lane; c < p.cols; c += LANES) {
        add(&sum, exp(input[x + c] - top));
    }
    let total = sum_of_all(lane, whole(sum));
    for (var c = lane; c < p.cols; c += LANES) {
        output[y + c] = exp(input[x + c] - top) / total;
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
    let y = p.start0 + (row % p.period0) * p.stride0;
    let dy = p.start1 + (row % p.period1) * p.stride1;
    let dx = p.start + row * p.stride;
    var sum = nothing();
    for (var c = lane; c < p.cols; c += LANES) {
        add(&sum, input[y + c] * adjoint[dy + c]);
    }
    let dot = sum_of_all(lane, whole(sum));
    for (var c = lane; c < p.cols; c += LANES) {
        output[dx + c] = input[y + c] * (adjoint[dy + c] - dot);
    }
}
