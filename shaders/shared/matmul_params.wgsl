// C = A·Bᵀ (NT: A [m,k], B [n,k]), A·B (NN: A [m,k], B [k,n]) or Aᵀ·B (TN: A [k,m], B [k,n]).
// Offsets, strides and distances between groups and splits count elements.
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
    splits: u32, // parts of the k range; part s is written at c0 + s * c_split
    c_split: u32,
    groups: u32,
#import operand_members
}
var<immediate> p: Params;

const NT = 0u;
const NN = 1u;
const TN = 2u;
override FORM: u32 = NT;
// 0 where A or C have the rows of one step of a loop.
override A_MOVES: u32 = 1u;
override C_MOVES: u32 = 1u;

// Whether the product is added to what is there.
override ADDS: bool = false;

struct Tile {
    m0: u32,
    n0: u32,
    group: u32,
    split: u32,
    inside: bool,
}

// Which tile of C a workgroup owns. The tiles of one matrix come one after the other, then those of the next; folded over y.
fn tile(workgroup: vec3<u32>, grid_x: u32, height: u32, width: u32) -> Tile {
    let across = (p.n + width - 1u) / width;
    let down = (p.m + height - 1u) / height;
    let number = workgroup.y * grid_x + workgroup.x;
    let matrix = number / (across * down);
    let i = number % (across * down);
    return Tile(i / across * height, i % across * width,
        matrix / p.splits, matrix % p.splits, matrix < p.groups * p.splits);
}

// The part of the k range that a split sums: whole fours, but for the end of the last one.
fn k_range(split: u32) -> vec2<u32> {
    let part = ((p.k + 3u) / 4u + p.splits - 1u) / p.splits * 4u;
    return min(vec2(split * part, split * part + part), vec2(p.k));
}
