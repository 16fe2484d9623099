// output = expression(row, col), element by element. Four columns at once where all operands allow it;
// eight elements a lane, 64 apart, so that neighbouring lanes touch neighbouring memory.

#import element
#import functions
#import fold

struct Params {
    row0: u32,
    rows: u32,
    width: u32,  // elements of type F in a row
    start: u32,
    stride: u32,
#import operand_members
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<F>;
#import operands
#import expression

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = linear(group, groups) * 512u + lane;
    for (var k = 0u; k < 8u; k++) {
        let i = first + k * 64u;
        if i < p.rows * p.width {
            let row = p.row0 + i / p.width;
            let col = (i % p.width) * WIDTH;
            output[(p.start + row * p.stride + col) / WIDTH] = expression(row, col);
        }
    }
}
