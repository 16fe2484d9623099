// Initial states of the chunks of a linear scan, one after the other. The final state of a chunk is the part due to its
// inputs, in `ends`, plus its initial state times a power of the step's matrix. An invocation owns a column of an
// example.

#import fold

struct Params {
    row0: u32,
    width: u32,
    now: u32,           // index of the output before the first step
    states_start: u32,
}
var<immediate> p: Params;

#import bindings

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = linear(group, groups) * 64u + lane;
    if element >= p.width {
        return;
    }
#import load
    for (var k = 0u; k < CHUNKS; k++) {
        let chunk = select(k, CHUNKS - 1u - k, BACKWARD);
        // The last chunk in time may be shorter.
        let last = chunk == CHUNKS - 1u;
        let place = chunk * STATES * p.width + element;
#import advance
    }
#import store
}
