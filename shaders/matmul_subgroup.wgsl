// Matrix product for software adapters with subgroups of exactly eight invocations (lavapipe with AVX). A workgroup is
// one subgroup and computes a tile of 32 x 32, with 32 rows of 4 columns per invocation. Each invocation loads 4 rows
// of A and broadcasts them, which is cheaper there than loading all rows in each.
#import matmul_params
#import operand_a
#import operand_b
#import epilogue
#import result
#import matmul_lane

@compute @workgroup_size(8)
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
    let col = t.n0 + 4u * lane;
    let row = t.m0 + 4u * lane;
    var at_a = place_a(row, range.x, t.group);
    var at_b = place_b(col, range.x, t.group);
    var c0 = vec4<f32>();
    var c1 = vec4<f32>();
    var c2 = vec4<f32>();
    var c3 = vec4<f32>();
    var c4 = vec4<f32>();
    var c5 = vec4<f32>();
    var c6 = vec4<f32>();
    var c7 = vec4<f32>();
    var c8 = vec4<f32>();
    var c9 = vec4<f32>();
    var c10 = vec4<f32>();
    var c11 = vec4<f32>();
    var c12 = vec4<f32>();
    var c13 = vec4<f32>();
    var c14 = vec4<f32>();
    var c15 = vec4<f32>();
    var c16 = vec4<f32>();
    var c17 = vec4<f32>();
    var c18 = vec4<f32>();
    var c19 = vec4<f32>();
    var c20 = vec4<f32>();
    var c21 = vec4<f32>();
    var c22 = vec4<f32>();
    var c23 = vec4<f32>();
    var c24 = vec4<f32>();
    var c25 = vec4<f32>();
    var c26 = vec4<f32>();
    var c27 = vec4<f32>();
    var c28 = vec4<f32>();
    var c29 = vec4<f32>();
    var c30 = vec4<f32>();
    var c31 = vec4<f32>();
    for (var k = range.x; k < range.y; k += 4u) {
        let left = range.y - k;
        let b = block_b(at_b, col, left);
        at_b += step_b();
        let a = block_a(at_a, row, left);
        at_a += step_a();
        c0 = mac(c0, subgroupBroadcast(a[0], 0u), b);
        c1 = mac(c1, subgroupBroadcast(a[1], 0u), b);
        c2 = mac(c2, subgroupBroadcast(a[2], 0u), b);
        c3 = mac(c3, subgroupBroadcast(a[3], 0u), b);
        c4 = mac(c4, subgroupBroadcast(a[0], 1u), b);
        c5 = mac(c5, subgroupBroadcast(a[1], 1u), b);
        c6 = mac(c6, subgroupBroadcast(a[2], 1u), b);
        c7 = mac(c7, subgroupBroadcast(a[3], 1u), b);
        c8 = mac(c8, subgroupBroadcast(a[0], 2u), b);
        c9 = mac(c9, subgroupBroadcast(a[1], 2u), b);
        c10 = mac(c10, subgroupBroadcast(a[2], 2u), b);
        c11 = mac(c11, subgroupBroadcast(a[3], 2u), b);
        c12 = mac(c12, subgroupBroadcast(a[0], 3u), b);
        c13 = mac(c13, subgroupBroadcast(a[1], 3u), b);
        c14 = mac(c14, subgroupBroadcast(a[2], 3u), b);
        c15 = mac(c15, subgroupBroadcast(a[3], 3u), b);
        c16 = mac(c16, subgroupBroadcast(a[0], 4u), b);
        c17 = mac(c17, subgroupBroadcast(a[1], 4u), b);
        c18 = mac(c18, subgroupBroadcast(a[2], 4u), b);
        c19 = mac(c19, subgroupBroadcast(a[3], 4u), b);
        c20 = mac(c20, subgroupBroadcast(a[0], 5u), b);
        c21 = mac(c21, subgroupBroadcast(a[1], 5u), b);
        c22 = mac(c22, subgroupBroadcast(a[2], 5u), b);
        c23 = mac(c23, subgroupBroadcast(a[3], 5u), b);
        c24 = mac(c24, subgroupBroadcast(a[0], 6u), b);
        c25 = mac(c25, subgroupBroadcast(a[1], 6u), b);
        c26 = mac(c26, subgroupBroadcast(a[2], 6u), b);
        c27 = mac(c27, subgroupBroadcast(a[3], 6u), b);
        c28 = mac(c28, subgroupBroadcast(a[0], 7u), b);
        c29 = mac(c29, subgroupBroadcast(a[1], 7u), b);
        c30 = mac(c30, subgroupBroadcast(a[2], 7u), b);
        c31 = mac(c31, subgroupBroadcast(a[3], 7u), b);
    }
    put(c0, t.m0, col, t);
    put(c1, t.m0 + 1u, col, t);
    put(c2, t.m0 + 2u, col, t);
    put(c3, t.m0 + 3u, col, t);
    put(c4, t.m0 + 4u, col, t);
    put(c5, t.m0 + 5u, col, t);
    put(c6, t.m0 + 6u, col, t);
    put(c7, t.m0 + 7u, col, t);
    put(c8, t.m0 + 8u, col, t);
    put(c9, t.m0 + 9u, col, t);
    put(c10, t.m0 + 10u, col, t);
    put(c11, t.m0 + 11u, col, t);
    put(c12, t.m0 + 12u, col, t);
    put(c13, t.m0 + 13u, col, t);
    put(c14, t.m0 + 14u, col, t);
    put(c15, t.m0 + 15u, col, t);
    put(c16, t.m0 + 16u, col, t);
    put(c17, t.m0 + 17u, col, t);
    put(c18, t.m0 + 18u, col, t);
    put(c19, t.m0 + 19u, col, t);
    put(c20, t.m0 + 20u, col, t);
    put(c21, t.m0 + 21u, col, t);
    put(c22, t.m0 + 22u, col, t);
    put(c23, t.m0 + 23u, col, t);
    put(c24, t.m0 + 24u, col, t);
    put(c25, t.m0 + 25u, col, t);
    put(c26, t.m0 + 26u, col, t);
    put(c27, t.m0 + 27u, col, t);
    put(c28, t.m0 + 28u, col, t);
    put(c29, t.m0 + 29u, col, t);
    put(c30, t.m0 + 30u, col, t);
    put(c31, t.m0 + 31u, col, t);
}
