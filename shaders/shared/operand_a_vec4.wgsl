// A, loaded four elements at a time. Contiguous dimension, stride, offset and distance between groups are multiples of
// four.
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;

fn load_a(at: u32, left: u32) -> vec4<f32> {
    return a[at / 4u];
}
