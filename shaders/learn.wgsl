// Product with weights that change over time. A workgroup owns a row of an example's weights and loops over time: it
// adds the change of the previous step, then multiplies. Each invocation accesses the same elements in all steps.

#import fold
#import number
#import sums

struct Params {
    row0: u32,
    steps: u32,
    examples: u32,
    rows: u32, cols: u32,   // of the weights
    start: u32,
    change_start: u32,
    base_start: u32,
    x_start: u32, x_period: u32,
    u_start: u32, u_period: u32,
    v_start: u32, v_period: u32,
    decay_start: u32, decay_period: u32,
}
var<immediate> p: Params;

#import flags

@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read_write> changes: array<f32>;
@group(0) @binding(2) var<storage, read> xs: array<f32>;
@group(0) @binding(3) var<storage, read> us: array<f32>;
@group(0) @binding(4) var<storage, read> vs: array<f32>;
#import decay
#import base

const LANES = 64u;
var<workgroup> sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear(group, groups);
    if unit >= p.examples * p.rows {
        return;
    }
    let example = p.row0 % BATCH + unit / p.rows;
    let i = unit % p.rows;
    for (var k = 0u; k < p.steps; k++) {
        let t = p.row0 / BATCH + k;
        let row = t * BATCH + example;
        let x = p.x_start + (row % p.x_period) * p.cols;
        let v = p.v_start + (row % p.v_period) * p.cols;
        let u = us[p.u_start + (row % p.u_period) * p.rows + i];
        let c = decay(row, i);
        // Without a history there is a single block.
        let now = p.change_start + ((BLOCK * t * BATCH + example) * p.rows + i) * p.cols;
        let next = p.change_start + ((BLOCK * (t + 1u) * BATCH + example) * p.rows + i) * p.cols;
        var sum = nothing();
        for (var j = lane; j < p.cols; j += LANES) {
            let b = base(i * p.cols + j);
            let before = changes[now + j];
            var d = before + u * vs[v + j] - c * (b + before);
            d = select(d, 0.0, abs(d) < 1e-30);
            changes[next + j] = d;
            add(&sum, (b + d) * xs[x + j]);
        }
        sums[lane] = whole(sum);
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            workgroupBarrier();
            if lane < half {
                sums[lane] += sums[lane + half];
            }
        }
        if lane == 0u {
            output[p.start + (OUT * t * BATCH + example) * p.rows + i] = sums[0];
        }
        workgroupBarrier();
    }
}
