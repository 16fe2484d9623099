// A linear scan in chunks of time: a lane owns columns of one example in one chunk. Twice over: from zero, to find the
// state that a chunk's own inputs leave behind, and from where the chunk really starts, to make the outputs. What is
// loaded, stepped and stored is written by the host.

#import element
#import functions
#import fold

struct Params {
    row0: u32,
    steps: u32,
    cols: u32,
    start: u32,
    in_start: u32,
}
var<immediate> p: Params;

#import bindings

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let width = BATCH * p.cols;
    let lanes = width / WIDTH;
    let job = linear(group, groups) * 64u + lane;
    let chunk = job / lanes;
    if chunk >= CHUNKS {
        return;
    }
    let element = job % lanes * WIDTH;
    let begin = chunk * LENGTH;
    let count = min(LENGTH, p.steps - begin);
    let place = chunk * STATES * width + element;
#import load
    for (var k = 0u; k < count; k++) {
        let t = begin + select(k, count - 1u - k, BACKWARD);
        let x = input[(p.in_start + t * width + element) / WIDTH];
#import advance
    }
#import store
}
