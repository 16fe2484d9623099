// 1 for each row whose largest element (the first of equals) is at the target's index, else 0. `main`: an invocation
// owns a row; `main_wide`: a workgroup owns a long row.

#import fold

struct Params {
    row0: u32, rows: u32, cols: u32, start: u32, stride: u32,
    start0: u32, period0: u32, stride0: u32,
    start1: u32, period1: u32, stride1: u32,
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read> outputs: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<f32>;

@compute @workgroup_size(64)
fn main(
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
    let t = p.start1 + (row % p.period1) * p.stride1;
    var best = 0u;
    var wanted = 0u;
    for (var c = 1u; c < p.cols; c++) {
        best = select(best, c, outputs[x + c] > outputs[x + best]);
        if p.stride1 > 1u {
            wanted = select(wanted, c, targets[t + c] > targets[t + wanted]);
        }
    }
    if p.stride1 == 1u && p.cols > 1u {
        wanted = u32(max(targets[t], 0.0));
    }
    output[p.start + row * p.stride] = select(0.0, 1.0, best == wanted);
}

const LANES = 64u;
var<workgroup> best_of: array<vec2<u32>, LANES>;

// Index of the larger of two elements, the first of equals.
fn output_place(x: u32, a: u32, b: u32) -> u32 {
    let before = outputs[x + b] == outputs[x + a] && b < a;
    return select(a, b, before || outputs[x + b] > outputs[x + a]);
}

fn target_place(t: u32, a: u32, b: u32) -> u32 {
    let before = targets[t + b] == targets[t + a] && b < a;
    return select(a, b, before || targets[t + b] > targets[t + a]);
}

@compute @workgroup_size(LANES)
fn main_wide(
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
    let t = p.start1 + (row % p.period1) * p.stride1;
    var best = vec2<u32>();
    for (var c = lane; c < p.cols; c += LANES) {
        best.x = output_place(x, best.x, c);
        if p.stride1 > 1u {
            best.y = target_place(t, best.y, c);
        }
    }
    best_of[lane] = best;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            let other = best_of[lane + half];
            best.x = output_place(x, best.x, other.x);
            if p.stride1 > 1u {
                best.y = target_place(t, best.y, other.y);
            }
            best_of[lane] = best;
        }
    }
    if lane == 0u {
        let given = u32(max(targets[t], 0.0));
        let wanted = select(best.y, given, p.stride1 == 1u && p.cols > 1u);
        output[p.start + row * p.stride] = select(0.0, 1.0, best.x == wanted);
    }
}
