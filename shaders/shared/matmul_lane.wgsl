// Functions of the kernels without workgroup memory: an invocation reads both operands in blocks of 4 x 4, and sums in
// registers.

// Indices of the four vectors of a block of A: four rows, or four steps of k in TN.
fn place_a(row: u32, k: u32, group: u32) -> vec4<u32> {
    let base = p.a0 + group * p.a_group;
    let i = vec4(0u, 1u, 2u, 3u);
    if FORM == TN {
        return base + min(row, p.m - 1u) + (k + i) * p.lda;
    }
    return base + (A_MOVES * p.row0 + min(row + i, vec4(p.m - 1u))) * p.lda + k;
}

// Indices of the four vectors of a block of B: four columns in NT, else four steps of k.
fn place_b(col: u32, k: u32, group: u32) -> vec4<u32> {
    let base = p.b0 + group * p.b_group;
    let i = vec4(0u, 1u, 2u, 3u);
    if FORM == NT {
        return base + min(col + i, vec4(p.n - 1u)) * p.ldb + k;
    }
    return base + min(col, p.n - 1u) + (k + i) * p.ldb;
}

// Distance from one block to the next along k.
fn step_a() -> u32 {
    return select(4u, 4u * p.lda, FORM == TN);
}

fn step_b() -> u32 {
    return select(4u * p.ldb, 4u, FORM == NT);
}

// Indices of four steps of k from `at` on, clamped to the last one.
fn steps(at: u32, stride: u32, last: u32) -> vec4<u32> {
    return at + min(vec4(0u, 1u, 2u, 3u), vec4(last)) * stride;
}

// Block of four rows of A, each over four steps of k. Steps from `left` on are zero.
fn block_a(at: vec4<u32>, row: u32, left: u32) -> mat4x4<f32> {
    if FORM == TN {
        let i = steps(at.x, p.lda, left - 1u);
        let rows = p.m - min(row, p.m - 1u);
        return transpose(mat4x4(
            load_a(i.x, rows),
            select(vec4<f32>(), load_a(i.y, rows), left > 1u),
            select(vec4<f32>(), load_a(i.z, rows), left > 2u),
            select(vec4<f32>(), load_a(i.w, rows), left > 3u)));
    }
    return mat4x4(load_a(at.x, left), load_a(at.y, left), load_a(at.z, left), load_a(at.w, left));
}

// Block of four steps of k of B, each over four columns. Steps from `left` on are multiplied by zeros of A.
fn block_b(at: vec4<u32>, col: u32, left: u32) -> mat4x4<f32> {
    if FORM == NT {
        return transpose(mat4x4(load_b(at.x, left), load_b(at.y, left), load_b(at.z, left), load_b(at.w, left)));
    }
    let i = steps(at.x, p.ldb, left - 1u);
    let cols = p.n - min(col, p.n - 1u);
    return mat4x4(load_b(i.x, cols), load_b(i.y, cols), load_b(i.z, cols), load_b(i.w, cols));
}

// Multiply-add of a row with a block. Not fma(), which llvmpipe emulates slowly.
fn mac(sum: vec4<f32>, a: vec4<f32>, b: mat4x4<f32>) -> vec4<f32> {
    return sum + a.x * b[0] + a.y * b[1] + a.z * b[2] + a.w * b[3];
}

fn put(sum: vec4<f32>, row: u32, col: u32, t: Tile) {
    if row < p.m && col < p.n {
        let at = p.c0 + t.group * p.c_group + t.split * p.c_split + (C_MOVES * p.row0 + row) * p.ldc + col;
        store4(sum, at, p.row0 + row, t.group * p.c_group + col, p.n - col);
    }
}
