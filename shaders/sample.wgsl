// Rows of every k-th step of a sequence. The phase is the number of steps since the last of them.

#import fold

struct Params {
    row0: u32,
    elements: u32,   // number of elements of the output
    start: u32,
    in_start: u32,
    step: u32,       // elements of a step: examples times columns
    steps: u32,
    every: u32,
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> phase: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = p.every - 1u - u32(phase[0]);
    let start = linear(group, groups) * 512u + lane;
    for (var k = 0u; k < 8u; k++) {
        let i = start + k * 64u;
        if i < p.elements {
            let step = first + (i / p.step) * p.every;
            var value = 0.0;
            // A window may contain one row less than its capacity.
            if step < p.steps {
                value = input[p.in_start + step * p.step + i % p.step];
            }
            output[p.start + i] = value;
        }
    }
}
