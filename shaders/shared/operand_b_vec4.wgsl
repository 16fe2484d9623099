// B, loaded four elements at a time. Contiguous dimension, stride, offset and distance between groups are multiples of
// four.
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;

fn load_b(at: u32, left: u32) -> vec4<f32> {
    return b[at / 4u];
}
