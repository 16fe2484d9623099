// C = A·Bᵀ (NT: A [m,k], B [n,k]), A·B (NN: A [m,k], B [k,n]) or Aᵀ·B (TN: A [k,m], B [k,n]).
// Offsets, strides and distances between groups and splits are in elements.
struct Params {
    row0: u32, // first row of A and of C; zero in TN
    m: u32,
    n: u32,
    k: u32,
    lda: u32,
    ldb: u32,
    ldc: u32,
    a0: u32,
    b0: u32,
    c0: u32,
    a_group: u32,
    b_group: u32,
    c_group: u32,
    splits: u32, // number of parts of the k range; part s is written at c0 + s * c_split
    c_split: u32,
    groups: u32,
#import operand_members
}
var<immediate> p: Params;

const NT = 0u;
const NN = 1u;
const TN = 2u;
override FORM: u32 = NT;
// 0 if A or C has the rows of a single step of a loop.
override A_MOVES: u32 = 1u;
override C_MOVES: u32 = 1u;

// True to add the product to the previous contents of C.
override ADDS: bool = false;

struct Tile {
    m0: u32,
    n0: u32,
    group: u32,
    split: u32,
    inside: bool,
}

// Tile of C of a workgroup. Workgroups are numbered over x and y: tiles of a matrix are contiguous, matrices follow.
fn tile(workgroup: vec3<u32>, grid_x: u32, height: u32, width: u32) -> Tile {
    let across = (p.n + width - 1u) / width;
    let down = (p.m + height - 1u) / height;
    let number = workgroup.y * grid_x + workgroup.x;
    let matrix = number / (across * down);
    let i = number % (across * down);
    return Tile(i / across * height, i % across * width,
        matrix / p.splits, matrix % p.splits, matrix < p.groups * p.splits);
}

// Part of the k range that a split sums: multiples of four, except for the end of the last part.
fn k_range(split: u32) -> vec2<u32> {
    let part = ((p.k + 3u) / 4u + p.splits - 1u) / p.splits * 4u;
    return min(vec2(split * part, split * part + part), vec2(p.k));
}
