// Matrix product for software adapters, with subgroups of any size. A workgroup computes a tile of 16 x 64, with 16
// rows of 8 columns per invocation. These adapters load separately for each invocation, even if all load the same
// element, so the number of loads matters and a taller tile does not help.
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
    let t = tile(workgroup, grid.x, 16u, 64u);
    if !t.inside {
        return;
    }
    let range = k_range(t.split);
    let col = t.n0 + 4u * lane;
    var at_a0 = place_a(t.m0, range.x, t.group);
    var at_a1 = place_a(t.m0 + 4u, range.x, t.group);
    var at_a2 = place_a(t.m0 + 8u, range.x, t.group);
    var at_a3 = place_a(t.m0 + 12u, range.x, t.group);
    var at_b0 = place_b(col, range.x, t.group);
    var at_b1 = place_b(col + 32u, range.x, t.group);
    var c0_0 = vec4<f32>();
    var c0_1 = vec4<f32>();
    var c1_0 = vec4<f32>();
    var c1_1 = vec4<f32>();
    var c2_0 = vec4<f32>();
    var c2_1 = vec4<f32>();
    var c3_0 = vec4<f32>();
    var c3_1 = vec4<f32>();
    var c4_0 = vec4<f32>();
    var c4_1 = vec4<f32>();
    var c5_0 = vec4<f32>();
    var c5_1 = vec4<f32>();
    var c6_0 = vec4<f32>();
    var c6_1 = vec4<f32>();
    var c7_0 = vec4<f32>();
    var c7_1 = vec4<f32>();
    var c8_0 = vec4<f32>();
    var c8_1 = vec4<f32>();
    var c9_0 = vec4<f32>();
    var c9_1 = vec4<f32>();
    var c10_0 = vec4<f32>();
    var c10_1 = vec4<f32>();
    var c11_0 = vec4<f32>();
    var c11_1 = vec4<f32>();
    var c12_0 = vec4<f32>();
    var c12_1 = vec4<f32>();
    var c13_0 = vec4<f32>();
    var c13_1 = vec4<f32>();
    var c14_0 = vec4<f32>();
    var c14_1 = vec4<f32>();
    var c15_0 = vec4<f32>();
    var c15_1 = vec4<f32>();
    for (var k = range.x; k < range.y; k += 4u) {
        let left = range.y - k;
        let b0 = block_b(at_b0, col, left);
        at_b0 += step_b();
        let b1 = block_b(at_b1, col + 32u, left);
        at_b1 += step_b();
        let a0 = block_a(at_a0, t.m0, left);
        at_a0 += step_a();
        c0_0 = mac(c0_0, a0[0], b0);
        c0_1 = mac(c0_1, a0[0], b1);
        c1_0 = mac(c1_0, a0[1], b0);
        c1_1 = mac(c1_1, a0[1], b1);
        c2_0 = mac(c2_0, a0[2], b0);
        c2_1 = mac(c2_1, a0[2], b1);
        c3_0 = mac(c3_0, a0[3], b0);
        c3_1 = mac(c3_1, a0[3], b1);
        let a1 = block_a(at_a1, t.m0 + 4u, left);
        at_a1 += step_a();
        c4_0 = mac(c4_0, a1[0], b0);
        c4_1 = mac(c4_1, a1[0], b1);
        c5_0 = mac(c5_0, a1[1], b0);
        c5_1 = mac(c5_1, a1[1], b1);
        c6_0 = mac(c6_0, a1[2], b0);
        c6_1 = mac(c6_1, a1[2], b1);
        c7_0 = mac(c7_0, a1[3], b0);
        c7_1 = mac(c7_1, a1[3], b1);
        let a2 = block_a(at_a2, t.m0 + 8u, left);
        at_a2 += step_a();
        c8_0 = mac(c8_0, a2[0], b0);
        c8_1 = mac(c8_1, a2[0], b1);
        c9_0 = mac(c9_0, a2[1], b0);
        c9_1 = mac(c9_1, a2[1], b1);
        c10_0 = mac(c10_0, a2[2], b0);
        c10_1 = mac(c10_1, a2[2], b1);
        c11_0 = mac(c11_0, a2[3], b0);
        c11_1 = mac(c11_1, a2[3], b1);
        let a3 = block_a(at_a3, t.m0 + 12u, left);
        at_a3 += step_a();
        c12_0 = mac(c12_0, a3[0], b0);
        c12_1 = mac(c12_1, a3[0], b1);
        c13_0 = mac(c13_0, a3[1], b0);
        c13_1 = mac(c13_1, a3[1], b1);
        c14_0 = mac(c14_0, a3[2], b0);
        c14_1 = mac(c14_1, a3[2], b1);
        c15_0 = mac(c15_0, a3[3], b0);
        c15_1 = mac(c15_1, a3[3], b1);
    }
    put(c0_0, t.m0, col, t);
    put(c1_0, t.m0 + 1u, col, t);
    put(c2_0, t.m0 + 2u, col, t);
    put(c3_0, t.m0 + 3u, col, t);
    put(c4_0, t.m0 + 4u, col, t);
    put(c5_0, t.m0 + 5u, col, t);
    put(c6_0, t.m0 + 6u, col, t);
    put(c7_0, t.m0 + 7u, col, t);
    put(c8_0, t.m0 + 8u, col, t);
    put(c9_0, t.m0 + 9u, col, t);
    put(c10_0, t.m0 + 10u, col, t);
    put(c11_0, t.m0 + 11u, col, t);
    put(c12_0, t.m0 + 12u, col, t);
    put(c13_0, t.m0 + 13u, col, t);
    put(c14_0, t.m0 + 14u, col, t);
    put(c15_0, t.m0 + 15u, col, t);
    put(c0_1, t.m0, col + 32u, t);
    put(c1_1, t.m0 + 1u, col + 32u, t);
    put(c2_1, t.m0 + 2u, col + 32u, t);
    put(c3_1, t.m0 + 3u, col + 32u, t);
    put(c4_1, t.m0 + 4u, col + 32u, t);
    put(c5_1, t.m0 + 5u, col + 32u, t);
    put(c6_1, t.m0 + 6u, col + 32u, t);
    put(c7_1, t.m0 + 7u, col + 32u, t);
    put(c8_1, t.m0 + 8u, col + 32u, t);
    put(c9_1, t.m0 + 9u, col + 32u, t);
    put(c10_1, t.m0 + 10u, col + 32u, t);
    put(c11_1, t.m0 + 11u, col + 32u, t);
    put(c12_1, t.m0 + 12u, col + 32u, t);
    put(c13_1, t.m0 + 13u, col + 32u, t);
    put(c14_1, t.m0 + 14u, col + 32u, t);
    put(c15_1, t.m0 + 15u, col + 32u, t);
}
