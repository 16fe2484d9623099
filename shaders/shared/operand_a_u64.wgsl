// A with the alignment of operand_a_vec4, loaded as pairs of 64-bit words. llvmpipe checks and moves each word of a
// load separately, so half as many words make a load much cheaper.
@group(0) @binding(0) var<storage, read> a: array<vec2<u64>>;

fn load_a(at: u32, left: u32) -> vec4<f32> {
    let words = a[at / 4u];
    return bitcast<vec4<f32>>(vec4(u32(words.x), u32(words.x >> 32u), u32(words.y), u32(words.y >> 32u)));
}
