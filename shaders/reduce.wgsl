// Sums of expression(row, col) over a dimension of a matrix. The order is fixed and there are no atomics, so that
// results are reproducible to the bit.
//
// The matrix is viewed as [outer, n, inner] and summed over n. `partial`: an invocation computes one sum over a chunk
// of n. `tree`: a workgroup computes the sum of all elements.

#import element
#import functions
#import fold
#import sums

struct Params {
    row0: u32,
    outer: u32,
    n: u32,
    inner: u32,     // number of columns
    splits: u32,    // number of chunks of n
    chunk: u32,
    limit: u32,     // number of elements; the last row of the view may be incomplete
    start: u32,
    scale: f32,
#import operand_members
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<F>;
#import operands
#import expression
#import place

fn element(e: u32) -> F {
    let at = place(e);
    return expression(p.row0 + at.x, at.y);
}

@compute @workgroup_size(64)
fn partial(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let width = p.inner / WIDTH;
    let at = linear(group, groups) * 64u + lane;
    if at >= p.outer * p.splits * width {
        return;
    }
    let i = (at % width) * WIDTH;
    let split = (at / width) % p.splits;
    let o = at / width / p.splits;
    var sum = nothing();
    let end = min((split + 1u) * p.chunk, p.n);
    for (var k = split * p.chunk; k < end; k++) {
        let e = (o * p.n + k) * p.inner + i;
        if e < p.limit {
            add(&sum, element(e));
        }
    }
    output[(p.start + p.row0) / WIDTH + at] = p.scale * whole(sum);
}

var<workgroup> sums: array<F, 64>;

@compute @workgroup_size(64)
fn tree(@builtin(local_invocation_index) lane: u32) {
    var sum = nothing();
    for (var e = lane; e < p.limit; e += 64u) {
        add(&sum, element(e));
    }
    sums[lane] = whole(sum);
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            sums[lane] += sums[lane + half];
        }
    }
    if lane == 0u {
        output[p.start + p.row0] = p.scale * sums[0];
    }
}
