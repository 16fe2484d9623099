// output = expression(row, col), element by element; four columns at a time if all operands allow it. An invocation
// owns eight elements at a distance of 64, so that neighbouring invocations access neighbouring memory.

#import element
#import functions
#import fold

struct Params {
    row0: u32,
    rows: u32,
    width: u32,  // number of elements of type F in a row
    start: u32,
    stride: u32,
#import operand_members
}
var<immediate> p: Params;
// 0 if the output has the rows of a single step of a loop.
override MOVES: u32 = 1u;

@group(0) @binding(0) var<storage, read_write> output: array<F>;
#import operands
#import expression
#import place

fn element(i: u32) {
    let at = place(i);
    let row = p.row0 + at.x;
    let col = at.y * WIDTH;
    output[(p.start + (MOVES * p.row0 + at.x) * p.stride + col) / WIDTH] = expression(row, col);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = linear(group, groups) * 512u;
    let count = p.rows * p.width;
    let i = first + lane;
    // Unrolled by hand: some compilers do not unroll, and branches are expensive on software adapters.
    if first + 512u <= count {
        element(i);
        element(i + 64u);
        element(i + 128u);
        element(i + 192u);
        element(i + 256u);
        element(i + 320u);
        element(i + 384u);
        element(i + 448u);
    } else {
        for (var k = i; k < count; k += 64u) {
            element(k);
        }
    }
}
