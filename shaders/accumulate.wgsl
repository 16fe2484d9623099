// sum += part, element by element.

#import fold
#import vector

struct Params {
    row0: u32,
    vectors: u32,  // number of vectors of four elements
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> sum: array<V>;
@group(0) @binding(1) var<storage, read> part: array<V>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i < p.vectors {
        sum[i] = pack(unpack(sum[i]) + unpack(part[i]));
    }
}
