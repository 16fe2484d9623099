// Parameters lie in segments that start on lines of 64 floats; the table says which segment a line belongs to, and
// what each segment's penalties are.

struct Segment {
    l2: f32,      // adds l2 * w to the gradient
    l1: f32,      // adds l1 * sign(w)
    norm: f32,    // adds norm * w / |w|
    decay: f32,   // decoupled: w shrinks by rate * decay * w, apart from the gradient
    rate: f32,    // factor on the learning rate; 0 leaves the segment as it is
    first_line: u32,
    lines: u32,
    unused: u32,
}

// The gradient of loss and penalties. `length` is the norm of the whole segment.
fn penalised(w: vec4<f32>, g: vec4<f32>, s: Segment, length: f32) -> vec4<f32> {
    let shrink = s.l2 + select(0.0, s.norm / length, length > 0.0 && s.norm != 0.0);
    return g + shrink * w + s.l1 * sign(w);
}
