// B with any offset and stride. load_b returns four elements from `at` on; those from `left` on are zero and are not
// read. `left` is at least 1.
@group(0) @binding(1) var<storage, read> b: array<f32>;

fn load_b(at: u32, left: u32) -> vec4<f32> {
    let last = min(left, 4u) - 1u;
    let value = vec4(b[at], b[at + min(1u, last)], b[at + min(2u, last)], b[at + min(3u, last)]);
    return select(vec4<f32>(), value, vec4(0u, 1u, 2u, 3u) <= vec4(last));
}
