// A linear scan in chunks of time: an invocation owns columns of an example in a chunk. It is dispatched twice: from
// zero states, for the final state due to a chunk's inputs; and from the initial states of the chunks, for the outputs.
// The host generates the loads, the step and the stores.

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
