// Vectors of four floats in memory, as pairs of 64-bit words. llvmpipe checks and moves each word of a load separately,
// so half as many words cost half as much.
alias V = vec2<u64>;

fn unpack(x: V) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4(u32(x.x), u32(x.x >> 32u), u32(x.y), u32(x.y >> 32u)));
}

fn pack(x: vec4<f32>) -> V {
    let w = bitcast<vec4<u32>>(x);
    return vec2<u64>(u64(w.x) | (u64(w.y) << 32u), u64(w.z) | (u64(w.w) << 32u));
}
