// Matrix product with long sums: 4 rows of 4 columns per invocation, 8 x 8 invocations per workgroup. Sums are
// compensated (Kahan 1965, Neumaier 1974).
#import matmul_params
#import operand_a
#import operand_b
#import epilogue
#import result
#import matmul_lane

struct Sums {
    total: vec4<f32>,
    lost: vec4<f32>,
    zero: vec4<u32>,
}

// Empty sum. `zero` is unknown to the compiler: otherwise some drivers simplify `(a + b) - a` to b, and `lost` to zero.
fn nothing() -> Sums {
    return Sums(vec4<f32>(), vec4<f32>(), vec4<u32>(p.row0 >> 31u));
}

fn add(sums: ptr<function, Sums>, a: vec4<f32>, b: mat4x4<f32>) {
    let x = mac(vec4<f32>(), a, b);
    let next = bitcast<vec4<f32>>(bitcast<vec4<u32>>((*sums).total + x) ^ (*sums).zero);
    (*sums).lost += x - (next - (*sums).total);
    (*sums).total = next;
}

// Corrected total. An infinite one has no correction; tested on bits, since a compiler may assume finite numbers.
fn whole(sums: Sums) -> vec4<f32> {
    let infinite = vec4<u32>(0x7f800000u);
    return sums.total + select(vec4<f32>(), sums.lost, (bitcast<vec4<u32>>(sums.lost) & infinite) < infinite);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let t = tile(workgroup, grid.x, 32u, 32u);
    if !t.inside {
        return;
    }
    let range = k_range(t.split);
    let row = t.m0 + lane / 8u * 4u;
    let col = t.n0 + lane % 8u * 4u;
    var at_a = place_a(row, range.x, t.group);
    var at_b = place_b(col, range.x, t.group);
    var c0 = nothing();
    var c1 = nothing();
    var c2 = nothing();
    var c3 = nothing();
    for (var k = range.x; k < range.y; k += 4u) {
        let left = range.y - k;
        let b = block_b(at_b, col, left);
        at_b += step_b();
        let a = block_a(at_a, row, left);
        at_a += step_a();
        add(&c0, a[0], b);
        add(&c1, a[1], b);
        add(&c2, a[2], b);
        add(&c3, a[3], b);
    }
    put(whole(c0), row, col, t);
    put(whole(c1), row + 1u, col, t);
    put(whole(c2), row + 2u, col, t);
    put(whole(c3), row + 3u, col, t);
}
