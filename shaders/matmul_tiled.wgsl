// Matrix product for GPUs: tiles of 64 x 64 x 16 in workgroup memory, with 8 x 4 elements of C in each of 128
// invocations.
#import matmul_params
#import operand_a
#import operand_b
#import epilogue
#import result

// Tiles of the operands, as [k][row or column], with four rows or columns per vector.
var<workgroup> tile_a: array<vec4<f32>, 256>;
var<workgroup> tile_b: array<vec4<f32>, 256>;

// Four steps of k of A, each over four rows. Steps from `left` on are zero.
fn block_a(row: u32, k: u32, left: u32, group: u32) -> mat4x4<f32> {
    let base = p.a0 + group * p.a_group;
    if FORM == TN {
        let at = base + min(row, p.m - 1u) + k * p.lda;
        let rows = p.m - min(row, p.m - 1u);
        return ending(mat4x4(
            load_a(at, rows),
            load_a(at + min(1u, left - 1u) * p.lda, rows),
            load_a(at + min(2u, left - 1u) * p.lda, rows),
            load_a(at + min(3u, left - 1u) * p.lda, rows)), left);
    }
    let at = base + (A_MOVES * p.row0 + min(row + vec4(0u, 1u, 2u, 3u), vec4(p.m - 1u))) * p.lda + k;
    return transpose(mat4x4(load_a(at.x, left), load_a(at.y, left), load_a(at.z, left), load_a(at.w, left)));
}

fn block_b(col: u32, k: u32, left: u32, group: u32) -> mat4x4<f32> {
    let base = p.b0 + group * p.b_group;
    if FORM != NT {
        let at = base + min(col, p.n - 1u) + k * p.ldb;
        let cols = p.n - min(col, p.n - 1u);
        return ending(mat4x4(
            load_b(at, cols),
            load_b(at + min(1u, left - 1u) * p.ldb, cols),
            load_b(at + min(2u, left - 1u) * p.ldb, cols),
            load_b(at + min(3u, left - 1u) * p.ldb, cols)), left);
    }
    let at = base + min(col + vec4(0u, 1u, 2u, 3u), vec4(p.n - 1u)) * p.ldb + k;
    return transpose(mat4x4(load_b(at.x, left), load_b(at.y, left), load_b(at.z, left), load_b(at.w, left)));
}

// Block with zeros in the steps of k from `left` on.
fn ending(block: mat4x4<f32>, left: u32) -> mat4x4<f32> {
    return mat4x4(
        block[0],
        select(vec4<f32>(), block[1], left > 1u),
        select(vec4<f32>(), block[2], left > 2u),
        select(vec4<f32>(), block[3], left > 3u));
}

fn put(sum: vec4<f32>, row: u32, col: u32, t: Tile) {
    if row < p.m {
        let at = p.c0 + t.group * p.c_group + t.split * p.c_split + (C_MOVES * p.row0 + row) * p.ldc + col;
        store4(sum, at, p.row0 + row, t.group * p.c_group + col, p.n - col);
    }
}

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = tile(workgroup, grid.x, 64u, 64u);
    if !t.inside {
        return;
    }
    let range = k_range(t.split);
    let row = local / 16u * 8u;
    let col = local % 16u * 4u;

    // The first half of the invocations loads A, the second half B, a block of 4 x 4 each. Neighbouring invocations
    // load along the contiguous dimension.
    let i = local % 64u;
    let loads_a = local < 64u;
    let along_k = FORM == NT || (FORM == NN && loads_a);
    let block_k = select(i / 16u, i % 4u, along_k) * 4u;
    let block_line = select(i % 16u, i / 4u, along_k);
    let place = block_k * 16u + block_line;

    var c0 = vec4<f32>();
    var c1 = vec4<f32>();
    var c2 = vec4<f32>();
    var c3 = vec4<f32>();
    var c4 = vec4<f32>();
    var c5 = vec4<f32>();
    var c6 = vec4<f32>();
    var c7 = vec4<f32>();
    for (var k = range.x; k < range.y; k += 16u) {
        let first = k + block_k;
        var block = mat4x4<f32>();
        workgroupBarrier();
        if loads_a {
            if first < range.y {
                block = block_a(t.m0 + block_line * 4u, first, range.y - first, t.group);
            }
            tile_a[place] = block[0];
            tile_a[place + 16u] = block[1];
            tile_a[place + 32u] = block[2];
            tile_a[place + 48u] = block[3];
        } else {
            if first < range.y {
                block = block_b(t.n0 + block_line * 4u, first, range.y - first, t.group);
            }
            tile_b[place] = block[0];
            tile_b[place + 16u] = block[1];
            tile_b[place + 32u] = block[2];
            tile_b[place + 48u] = block[3];
        }
        workgroupBarrier();
        for (var j = 0u; j < 256u; j += 16u) {
            let upper = tile_a[j + row / 4u];
            let lower = tile_a[j + row / 4u + 1u];
            let b = tile_b[j + col / 4u];
            c0 += upper.x * b;
            c1 += upper.y * b;
            c2 += upper.z * b;
            c3 += upper.w * b;
            c4 += lower.x * b;
            c5 += lower.y * b;
            c6 += lower.z * b;
            c7 += lower.w * b;
        }
    }
    if t.n0 + col >= p.n {
        return;
    }
    put(c0, t.m0 + row, t.n0 + col, t);
    put(c1, t.m0 + row + 1u, t.n0 + col, t);
    put(c2, t.m0 + row + 2u, t.n0 + col, t);
    put(c3, t.m0 + row + 3u, t.n0 + col, t);
    put(c4, t.m0 + row + 4u, t.n0 + col, t);
    put(c5, t.m0 + row + 5u, t.n0 + col, t);
    put(c6, t.m0 + row + 6u, t.n0 + col, t);
    put(c7, t.m0 + row + 7u, t.n0 + col, t);
}
