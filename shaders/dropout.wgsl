// output = input / (1 - rate) where a random word says so, else 0. The mask depends on the seed, the training step, the
// dropout's number and the element alone, so that the adjoint draws it again instead of keeping it.

#import fold
#import philox

struct Params {
    row0: u32,
    elements: u32,
    cols: u32,
    start: u32,
    in_start: u32,
    stream: u32,
    threshold: u32,  // words below it are dropped
    scale: f32,
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> random: array<u32>;  // seed (2 words), step (2 words)

// A lane owns the four elements that one call of philox gives.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let begin = p.row0 * p.cols;
    let end = begin + p.elements;
    let four = begin / 4u + linear(group, groups) * 64u + lane;
    if four * 4u >= end {
        return;
    }
    let words = philox(vec4<u32>(four, p.stream, random[2], random[3]), vec2<u32>(random[0], random[1]));
    for (var i = 0u; i < 4u; i++) {
        let e = four * 4u + i;
        if e >= begin && e < end {
            output[p.start + e] = select(p.scale * input[p.in_start + e], 0.0, words[i] < p.threshold);
        }
    }
}
