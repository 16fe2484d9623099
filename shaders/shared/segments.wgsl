// Segments of parameters, which start at lines of 64 floats. The table has the segment of each line, and the penalties
// of each segment.

struct Segment {
    l2: f32,      // adds l2 * w to the gradient
    l1: f32,      // adds l1 * sign(w)
    norm: f32,    // adds norm * w / |w|
    decay: f32,   // decoupled decay: subtracts rate * decay * w from w
    rate: f32,    // factor of the learning rate; 0 freezes the segment
    first_line: u32,
    lines: u32,
    unused: u32,
}

// Gradient of loss and penalties. `length` is the norm of the segment.
fn penalised(w: vec4<f32>, g: vec4<f32>, s: Segment, length: f32) -> vec4<f32> {
    let shrink = s.l2 + select(0.0, s.norm / length, length > 0.0 && s.norm != 0.0);
    return g + shrink * w + s.l1 * sign(w);
}
