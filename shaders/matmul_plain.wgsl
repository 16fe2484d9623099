// Matrix product for any device: 4 rows of 4 columns per invocation, BANDS x 8 invocations per workgroup. One band
// suits matrices of few rows.
#import matmul_params
#import operand_a
#import operand_b
#import epilogue
#import result
#import matmul_lane

override BANDS: u32 = 8u;

@compute @workgroup_size(8u * BANDS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let t = tile(workgroup, grid.x, 4u * BANDS, 32u);
    if !t.inside {
        return;
    }
    let range = k_range(t.split);
    let row = t.m0 + lane / 8u * 4u;
    let col = t.n0 + lane % 8u * 4u;
    var at_a = place_a(row, range.x, t.group);
    var at_b = place_b(col, range.x, t.group);
    var c0 = vec4<f32>();
    var c1 = vec4<f32>();
    var c2 = vec4<f32>();
    var c3 = vec4<f32>();
    for (var k = range.x; k < range.y; k += 4u) {
        let left = range.y - k;
        let b = block_b(at_b, col, left);
        at_b += step_b();
        let a = block_a(at_a, row, left);
        at_a += step_a();
        c0 = mac(c0, a[0], b);
        c1 = mac(c1, a[1], b);
        c2 = mac(c2, a[2], b);
        c3 = mac(c3, a[3], b);
    }
    put(c0, row, col, t);
    put(c1, row + 1u, col, t);
    put(c2, row + 2u, col, t);
    put(c3, row + 3u, col, t);
}
