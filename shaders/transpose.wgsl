// Transposition of each group's block of the input.

#import fold

struct Params {
    row0: u32,
    rows: u32,   // rows of a block of the input
    cols: u32,
    groups: u32,
    start: u32,
    in_start: u32,
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
    let i = linear(group, groups) * 64u + lane;
    let block = p.rows * p.cols;
    if i >= p.groups * block {
        return;
    }
    let first = i / block * block;
    let at = i - first;
    output[p.start + i] = input[p.in_start + first + at % p.rows * p.cols + at / p.rows];
}
