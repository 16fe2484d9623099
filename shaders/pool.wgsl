// Mean or maximum over windows of images in rows, channels last. Points outside of an image do not count.

#import fold
#import geometry
#import number
#import sums
#import window

struct Params {
    row0: u32,
    rows: u32,
    start: u32,
    a_start: u32, a_period: u32,
    x_start: u32, x_period: u32,
    y_start: u32, y_period: u32,
    first: u32,  // `_long`: first of the points of a window, or of the windows that contain a point
    end: u32,
    adds: u32,   // `_long`: 1 to combine with the previous output
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;  // operand; for an adjoint, the adjoint of the result
@group(0) @binding(2) var<storage, read> x: array<f32>;  // adjoint only: operand of the pooling
@group(0) @binding(3) var<storage, read> y: array<f32>;  // adjoint only: result of the pooling

const POINTS = IMAGE.x * IMAGE.y * IMAGE.z;
const PLACES = WINDOWS.x * WINDOWS.y * WINDOWS.z;

fn is_nan(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

fn count(q: vec3<u32>) -> f32 {
    let size = kernel_to(q) - kernel_from(q);
    return f32(size.x * size.y * size.z);
}

@compute @workgroup_size(64)
fn average(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.rows * PLACES * CHANNELS {
        return;
    }
    let q = unravel(i / CHANNELS % PLACES, WINDOWS);
    let row = p.row0 + i / (PLACES * CHANNELS);
    let image = p.a_start + row % p.a_period * (POINTS * CHANNELS) + i % CHANNELS;
    let corner = q * STRIDE - BEFORE;
    let first = kernel_from(q);
    let end = kernel_to(q);
    var sum = nothing();
    for (var z = first.x; z < end.x; z++) {
        for (var y = first.y; y < end.y; y++) {
            for (var x = first.z; x < end.z; x++) {
                add(&sum, a[image + ravel(corner + vec3<u32>(z, y, x), IMAGE) * CHANNELS]);
            }
        }
    }
    output[p.start + row * (PLACES * CHANNELS) + i % (PLACES * CHANNELS)] = whole(sum) / count(q);
}

@compute @workgroup_size(64)
fn maximum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.rows * PLACES * CHANNELS {
        return;
    }
    let q = unravel(i / CHANNELS % PLACES, WINDOWS);
    let row = p.row0 + i / (PLACES * CHANNELS);
    let image = p.a_start + row % p.a_period * (POINTS * CHANNELS) + i % CHANNELS;
    let corner = q * STRIDE - BEFORE;
    let first = kernel_from(q);
    let end = kernel_to(q);
    var top = a[image + ravel(corner + first, IMAGE) * CHANNELS];
    for (var z = first.x; z < end.x; z++) {
        for (var y = first.y; y < end.y; y++) {
            for (var x = first.z; x < end.z; x++) {
                let v = a[image + ravel(corner + vec3<u32>(z, y, x), IMAGE) * CHANNELS];
                if v > top || is_nan(v) {
                    top = v;
                }
            }
        }
    }
    output[p.start + row * (PLACES * CHANNELS) + i % (PLACES * CHANNELS)] = top;
}

@compute @workgroup_size(64)
fn average_adjoint(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.rows * POINTS * CHANNELS {
        return;
    }
    let point = unravel(i / CHANNELS % POINTS, IMAGE);
    let row = p.row0 + i / (POINTS * CHANNELS);
    let adjoint = p.a_start + row % p.a_period * (PLACES * CHANNELS) + i % CHANNELS;
    let first = window_from(point);
    let end = window_to(point);
    var sum = nothing();
    for (var z = first.x; z < end.x; z++) {
        for (var y = first.y; y < end.y; y++) {
            for (var x = first.z; x < end.z; x++) {
                let q = vec3<u32>(z, y, x);
                add(&sum, a[adjoint + ravel(q, WINDOWS) * CHANNELS] / count(q));
            }
        }
    }
    output[p.start + row * (POINTS * CHANNELS) + i % (POINTS * CHANNELS)] = whole(sum);
}

// True if `point` is the first point of window q with the value `top`.
fn is_first(q: vec3<u32>, point: vec3<u32>, image: u32, top: f32) -> bool {
    let corner = q * STRIDE - BEFORE;
    let first = kernel_from(q);
    let end = kernel_to(q);
    for (var k = first.x; k < end.x; k++) {
        for (var j = first.y; j < end.y; j++) {
            for (var i = first.z; i < end.z; i++) {
                let at = corner + vec3<u32>(k, j, i);
                if x[image + ravel(at, IMAGE) * CHANNELS] == top {
                    return all(at == point);
                }
            }
        }
    }
    return false;
}

@compute @workgroup_size(64)
fn maximum_adjoint(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.rows * POINTS * CHANNELS {
        return;
    }
    let point = unravel(i / CHANNELS % POINTS, IMAGE);
    let row = p.row0 + i / (POINTS * CHANNELS);
    let adjoint = p.a_start + row % p.a_period * (PLACES * CHANNELS) + i % CHANNELS;
    let image = p.x_start + row % p.x_period * (POINTS * CHANNELS) + i % CHANNELS;
    let result = p.y_start + row % p.y_period * (PLACES * CHANNELS) + i % CHANNELS;
    let own = x[image + i / CHANNELS % POINTS * CHANNELS];
    let first = window_from(point);
    let end = window_to(point);
    var sum = nothing();
    for (var k = first.x; k < end.x; k++) {
        for (var j = first.y; j < end.y; j++) {
            for (var l = first.z; l < end.z; l++) {
                let q = vec3<u32>(k, j, l);
                let at = ravel(q, WINDOWS) * CHANNELS;
                let top = y[result + at];
                if own == top && is_first(q, point, image, top) {
                    add(&sum, a[adjoint + at]);
                }
            }
        }
    }
    output[p.start + row * (POINTS * CHANNELS) + i % (POINTS * CHANNELS)] = whole(sum);
}

// Variants of the entry points above over a range of the points of each window, or of the windows of each point, in the
// same order.

@compute @workgroup_size(64)
fn average_long(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.rows * PLACES * CHANNELS {
        return;
    }
    let q = unravel(i / CHANNELS % PLACES, WINDOWS);
    let row = p.row0 + i / (PLACES * CHANNELS);
    let image = p.a_start + row % p.a_period * (POINTS * CHANNELS) + i % CHANNELS;
    let corner = q * STRIDE - BEFORE;
    let first = kernel_from(q);
    let end = kernel_to(q);
    let to = p.start + row * (PLACES * CHANNELS) + i % (PLACES * CHANNELS);
    var sum = nothing();
    for (var k = p.first; k < p.end; k++) {
        let o = unravel(k, KERNEL);
        if all(o >= first) && all(o < end) {
            add(&sum, a[image + ravel(corner + o, IMAGE) * CHANNELS]);
        }
    }
    output[to] = whole(sum) / count(q) + select(0.0, output[to], p.adds == 1u);
}

@compute @workgroup_size(64)
fn maximum_long(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.rows * PLACES * CHANNELS {
        return;
    }
    let q = unravel(i / CHANNELS % PLACES, WINDOWS);
    let row = p.row0 + i / (PLACES * CHANNELS);
    let image = p.a_start + row % p.a_period * (POINTS * CHANNELS) + i % CHANNELS;
    let corner = q * STRIDE - BEFORE;
    let first = kernel_from(q);
    let end = kernel_to(q);
    let to = p.start + row * (PLACES * CHANNELS) + i % (PLACES * CHANNELS);
    var top = select(a[image + ravel(corner + first, IMAGE) * CHANNELS], output[to], p.adds == 1u);
    for (var k = p.first; k < p.end; k++) {
        let o = unravel(k, KERNEL);
        if all(o >= first) && all(o < end) {
            let v = a[image + ravel(corner + o, IMAGE) * CHANNELS];
            if v > top || is_nan(v) {
                top = v;
            }
        }
    }
    output[to] = top;
}

@compute @workgroup_size(64)
fn average_adjoint_long(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.rows * POINTS * CHANNELS {
        return;
    }
    let point = unravel(i / CHANNELS % POINTS, IMAGE);
    let row = p.row0 + i / (POINTS * CHANNELS);
    let adjoint = p.a_start + row % p.a_period * (PLACES * CHANNELS) + i % CHANNELS;
    let first = window_from(point);
    let end = window_to(point);
    let to = p.start + row * (POINTS * CHANNELS) + i % (POINTS * CHANNELS);
    var sum = nothing();
    for (var k = p.first; k < p.end; k++) {
        let q = first + unravel(k, SPAN);
        if all(q < end) {
            add(&sum, a[adjoint + ravel(q, WINDOWS) * CHANNELS] / count(q));
        }
    }
    output[to] = whole(sum) + select(0.0, output[to], p.adds == 1u);
}

@compute @workgroup_size(64)
fn maximum_adjoint_long(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.rows * POINTS * CHANNELS {
        return;
    }
    let point = unravel(i / CHANNELS % POINTS, IMAGE);
    let row = p.row0 + i / (POINTS * CHANNELS);
    let adjoint = p.a_start + row % p.a_period * (PLACES * CHANNELS) + i % CHANNELS;
    let image = p.x_start + row % p.x_period * (POINTS * CHANNELS) + i % CHANNELS;
    let result = p.y_start + row % p.y_period * (PLACES * CHANNELS) + i % CHANNELS;
    let own = x[image + i / CHANNELS % POINTS * CHANNELS];
    let first = window_from(point);
    let end = window_to(point);
    let to = p.start + row * (POINTS * CHANNELS) + i % (POINTS * CHANNELS);
    var sum = nothing();
    for (var k = p.first; k < p.end; k++) {
        let q = first + unravel(k, SPAN);
        if all(q < end) {
            let at = ravel(q, WINDOWS) * CHANNELS;
            let top = y[result + at];
            if own == top && is_first(q, point, image, top) {
                add(&sum, a[adjoint + at]);
            }
        }
    }
    output[to] = whole(sum) + select(0.0, output[to], p.adds == 1u);
}
