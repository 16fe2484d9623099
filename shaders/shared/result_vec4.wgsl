// C, stored four columns at a time. n, ldc and the offsets of C are multiples of four.
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>;

fn store4(value: vec4<f32>, at: u32, row: u32, col: u32, left: u32) {
    var x = value;
    if ADDS {
        x += c[at / 4u];
    }
    c[at / 4u] = epilogue4(x, row, col);
}
