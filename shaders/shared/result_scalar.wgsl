// Results written one at a time, at any offset and stride; the first `left` of the four are stored.
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

fn store4(value: vec4<f32>, at: u32, row: u32, col: u32, left: u32) {
    c[at] = epilogue1(value.x, row, col);
    if left > 1u { c[at + 1u] = epilogue1(value.y, row, col + 1u); }
    if left > 2u { c[at + 2u] = epilogue1(value.z, row, col + 2u); }
    if left > 3u { c[at + 3u] = epilogue1(value.w, row, col + 3u); }
}
