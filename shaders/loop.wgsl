// The operators of a loop, one after the other, through time: a workgroup owns TILE examples, and its lanes wait for
// each other between operators. What the operators compute is written by their kernels, as for dispatches of their own.

#import element
#import functions

struct Params {
    first: u32,  // step
    steps: u32,
}
var<immediate> p: Params;

override LANES: u32 = 8u;
override TILE: u32 = 8u;
override BACKWARD: bool = false;
#import buffers
#import phases

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let example = group.x * TILE;
    for (var k = 0u; k < p.steps; k++) {
        let t = select(p.first + k, p.first - k, BACKWARD);
#import step
    }
}
