// Copies a range of columns into a range of columns. Columns outside of the source become zero.

#import fold

struct Params {
    row0: u32, rows: u32,
    cols: u32,       // number of columns written in each row
    start: u32, stride: u32,
    to: u32,         // first column written
    first: u32,      // source column of the first column written; wraps around below zero
    in_start: u32, in_period: u32, in_cols: u32,
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read> input: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = linear(group, groups) * 512u + lane;
    for (var k = 0u; k < 8u; k++) {
        let i = start + k * 64u;
        if i < p.rows * p.cols {
            let row = p.row0 + i / p.cols;
            let col = i % p.cols;
            let source = p.first + col;
            var value = 0.0;
            if source < p.in_cols {
                value = input[p.in_start + (row % p.in_period) * p.in_cols + source];
            }
            output[p.start + row * p.stride + p.to + col] = value;
        }
    }
}
