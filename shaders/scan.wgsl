// A step applied over time: an invocation owns columns of an example. The host generates the loads, the step and the
// stores from the operator. A history has one block more than there are steps: forward in time, block t + 1 is computed
// from t, backward t from t + 1.

#import element
#import functions
#import fold

struct Params {
    row0: u32,
    steps: u32,
    cols: u32,
    start: u32,
    states_start: u32,
#import operand_members
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<F>;
#import states
#import operands

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = (linear(group, groups) * 64u + lane) * WIDTH;
    let width = BATCH * p.cols;
    if element >= width {
        return;
    }
    let example = element / p.cols;
    let col = element % p.cols;
    let t0 = p.row0 / BATCH;
    let now = t0 + select(0u, p.steps, BACKWARD);
    // States without a history have a single block.
    let first = p.states_start + BLOCK * now * width + element;
#import load
    var y = F(0.0);
    if DELAYED {
        y = output[(p.start + OUT * now * width + element) / WIDTH];
    }
    for (var k = 0u; k < p.steps; k++) {
        let t = t0 + select(k, p.steps - 1u - k, BACKWARD);
        let next = select(t + 1u, t, BACKWARD);
        let row = t * BATCH + example;
        let after = p.states_start + next * width + element;
#import advance
        output[(p.start + OUT * select(t, next, DELAYED) * width + element) / WIDTH] = y;
    }
#import store
}
