// Multiplications and additions in registers, at the peak rate of the device: eight independent chains per invocation.

struct Params {
    row0: u32,
    rounds: u32,
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var a = vec4<f32>(1.0);
    var b = vec4<f32>(2.0);
    var c = vec4<f32>(3.0);
    var d = vec4<f32>(4.0);
    var e = vec4<f32>(5.0);
    var f = vec4<f32>(6.0);
    var g = vec4<f32>(7.0);
    var h = vec4<f32>(8.0);
    let x = 0.999999;
    for (var i = 0u; i < p.rounds; i++) {
        a = a * x + 1e-9;
        b = b * x + 1e-9;
        c = c * x + 1e-9;
        d = d * x + 1e-9;
        e = e * x + 1e-9;
        f = f * x + 1e-9;
        g = g * x + 1e-9;
        h = h * x + 1e-9;
    }
    let sum = a + b + c + d + e + f + g + h;
    output[id.x] = sum.x + sum.y + sum.z + sum.w;
}
