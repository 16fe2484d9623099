// Multiply-add of a row with a block. Not fma(), which llvmpipe emulates slowly.
fn mac(sum: vec4<f32>, a: vec4<f32>, b: mat4x4<f32>) -> vec4<f32> {
    return sum + a.x * b[0] + a.y * b[1] + a.z * b[2] + a.w * b[3];
}

// The first `left` of four numbers, and zeros.
fn only(x: vec4<f32>, left: u32) -> vec4<f32> {
    return select(vec4<f32>(), x, vec4(0u, 1u, 2u, 3u) < vec4(left));
}
