// Vectors of four floats in memory.
alias V = vec4<f32>;

fn unpack(x: V) -> vec4<f32> {
    return x;
}

fn pack(x: vec4<f32>) -> V {
    return x;
}
