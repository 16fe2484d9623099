// C with any offset and stride, stored one element at a time. store4 stores the first `left` of four elements.
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

fn store1(value: f32, at: u32, row: u32, col: u32) {
    var x = value;
    if ADDS {
        x += c[at];
    }
    c[at] = epilogue1(x, row, col);
}

fn store4(value: vec4<f32>, at: u32, row: u32, col: u32, left: u32) {
    store1(value.x, at, row, col);
    if left > 1u { store1(value.y, at + 1u, row, col + 1u); }
    if left > 2u { store1(value.z, at + 2u, row, col + 2u); }
    if left > 3u { store1(value.w, at + 3u, row, col + 3u); }
}
