// output = input / (1 - rate), or 0 by a random mask. The mask depends only on the seed, the training step, the number
// of the dropout, the time step and the element. The adjoint therefore generates it again instead of storing it.

#import fold
#import philox

struct Params {
    row0: u32,
    elements: u32,
    cols: u32,
    start: u32,
    in_start: u32,
    block: u32,      // elements of one time step
    timed: u32,      // 1 for a mask per time step
    stream: u32,
    threshold: u32,  // words below it are dropped
    scale: f32,
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> random: array<u32>;  // seed (2 words), training step, first time step

// An invocation owns four elements of a time step, those of one call of philox.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let fours = (p.block + 3u) / 4u;
    let i = linear(group, groups) * 64u + lane;
    let t = i / fours;
    if t * p.block >= p.elements {
        return;
    }
    let four = i % fours;
    let begin = p.row0 * p.cols + t * p.block;
    let time = select(0u, random[3] + begin / p.block, p.timed == 1u);
    let words = philox(vec4<u32>(four, p.stream, random[2], time), vec2<u32>(random[0], random[1]));
    for (var k = 0u; k < 4u; k++) {
        let e = four * 4u + k;
        if e < p.block {
            let at = begin + e;
            output[p.start + at] = select(p.scale * input[p.in_start + at], 0.0, words[k] < p.threshold);
        }
    }
}
