// Windows over images (see src/op/window.rs). The host defines IMAGE, KERNEL, STRIDE, BEFORE, WINDOWS and SPAN, the
// largest number of windows that contain a point.

fn unravel(i: u32, size: vec3<u32>) -> vec3<u32> {
    return vec3<u32>(i / (size.y * size.z), i / size.z % size.y, i % size.z);
}

fn ravel(at: vec3<u32>, size: vec3<u32>) -> u32 {
    return (at.x * size.y + at.y) * size.z + at.z;
}

// First kernel element of window q inside of the image; `kernel_to`: the end.
fn kernel_from(q: vec3<u32>) -> vec3<u32> {
    let first = q * STRIDE;
    return max(BEFORE, first) - first;
}

fn kernel_to(q: vec3<u32>) -> vec3<u32> {
    return min(max(IMAGE + BEFORE, q * STRIDE) - q * STRIDE, KERNEL);
}

// First window that contains a point; `window_to`: the end.
fn window_from(point: vec3<u32>) -> vec3<u32> {
    let end = point + BEFORE + 1u;
    return (max(end, KERNEL) - KERNEL + STRIDE - 1u) / STRIDE;
}

fn window_to(point: vec3<u32>) -> vec3<u32> {
    return min((point + BEFORE) / STRIDE + 1u, WINDOWS);
}
