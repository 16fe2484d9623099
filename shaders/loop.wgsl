// A fused loop over time: a workgroup owns TILE examples and runs all operators of a step, with barriers between them.
// The host generates the operators' functions from their kernels (see src/engine/fused.rs).

#import element
#import functions

struct Params {
    first: u32,  // first step
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
