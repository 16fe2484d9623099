// Products with a sparse matrix. The table of `main` has the first entry of each row of the matrix and the end of the
// last row, then the column of each entry, then the index of its weight. The table of `weights` has the row of each
// entry, then its column.

#import fold
#import number
#import sums

struct Params {
    row0: u32,
    rows: u32,       // rows of the input
    cols: u32,       // columns of the output; `weights`: number of chunks of rows
    start: u32,
    in_start: u32, in_period: u32, in_cols: u32,
    other_start: u32, other_cols: u32,  // weights; `weights`: adjoint of the output
    entries: u32,
    chunk: u32,      // `weights`: rows of a chunk; `main`: number of entries of each row that are summed
    first: u32,      // `main`: first of these entries in each row
    adds: u32,       // `main`: 1 to add to the previous output
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read> other: array<f32>;

#import weight

// An invocation sums one element of the output, in the order of its entries, so that results are reproducible.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.rows * p.cols {
        return;
    }
    let row = p.row0 + i / p.cols;
    let col = i % p.cols;
    let first = p.in_start + (row % p.in_period) * p.in_cols;
    let begin = table[col] + p.first;
    let end = min(table[col + 1u], begin + p.chunk);
    let to = p.start + row * p.cols + col;
    var sum = nothing();
    for (var e = begin; e < end; e++) {
        add(&sum, weight(e) * input[first + table[p.cols + 1u + e]]);
    }
    if p.adds == 1u {
        add(&sum, output[to]);
    }
    output[to] = whole(sum);
}

// An invocation sums the adjoint of one entry over a chunk of rows.
@compute @workgroup_size(64)
fn weights(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.cols * p.entries {
        return;
    }
    let e = i % p.entries;
    let chunk = i / p.entries;
    let end = min((chunk + 1u) * p.chunk, p.rows);
    var sum = nothing();
    for (var row = chunk * p.chunk; row < end; row++) {
        add(&sum, other[p.other_start + row * p.other_cols + table[e]]
            * input[p.in_start + row * p.in_cols + table[p.entries + e]]);
    }
    output[p.start + i] = whole(sum);
}
