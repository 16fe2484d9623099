// A with any offset and stride. load_a returns four elements from `at` on; those from `left` on are zero and are not
// read. `left` is at least 1.
@group(0) @binding(0) var<storage, read> a: array<f32>;

fn load_a(at: u32, left: u32) -> vec4<f32> {
    let last = min(left, 4u) - 1u;
    let value = vec4(a[at], a[at + min(1u, last)], a[at + min(2u, last)], a[at + min(3u, last)]);
    return select(vec4<f32>(), value, vec4(0u, 1u, 2u, 3u) <= vec4(last));
}
