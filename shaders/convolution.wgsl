// Convolutions of images in rows, channels last, with weights [small channels, kernel elements * large channels /
// groups]: "large" is the image that windows slide over, "small" the image with a point for each window.

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
    b_start: u32, b_period: u32,  // weights; `kernel`: the large image
    chunk: u32,                   // `kernel`: windows per chunk, over the windows of all rows
    chunks: u32,
    first: u32,                   // `_long`: first term of each sum
    end: u32,
    adds: u32,                    // `_long`: 1 to add to the previous output
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;

const LARGE_GROUP = LARGE / GROUPS;
const SMALL_GROUP = SMALL / GROUPS;
const AREA = KERNEL.x * KERNEL.y * KERNEL.z;
const POINTS = IMAGE.x * IMAGE.y * IMAGE.z;
const PLACES = WINDOWS.x * WINDOWS.y * WINDOWS.z;
const DEPTH = AREA * LARGE_GROUP;

// An invocation sums over a window, for one channel of the small image.
@compute @workgroup_size(64)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.rows * PLACES * SMALL {
        return;
    }
    let channel = i % SMALL;
    let q = unravel(i / SMALL % PLACES, WINDOWS);
    let row = p.row0 + i / (SMALL * PLACES);
    let image = p.a_start + row % p.a_period * (POINTS * LARGE) + channel / SMALL_GROUP * LARGE_GROUP;
    let weights = p.b_start + channel * DEPTH;
    let first = kernel_from(q);
    let end = kernel_to(q);
    let corner = q * STRIDE - BEFORE;
    var sum = nothing();
    for (var z = first.x; z < end.x; z++) {
        for (var y = first.y; y < end.y; y++) {
            for (var x = first.z; x < end.z; x++) {
                let o = vec3<u32>(z, y, x);
                let at = image + ravel(corner + o, IMAGE) * LARGE;
                let w = weights + ravel(o, KERNEL) * LARGE_GROUP;
                for (var c = 0u; c < LARGE_GROUP; c++) {
                    add(&sum, a[at + c] * b[w + c]);
                }
            }
        }
    }
    output[p.start + row * (PLACES * SMALL) + i % (PLACES * SMALL)] = whole(sum);
}

// An invocation sums over the windows that contain a point, for one channel of the large image.
@compute @workgroup_size(64)
fn transposed(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.rows * POINTS * LARGE {
        return;
    }
    let channel = i % LARGE;
    let point = unravel(i / LARGE % POINTS, IMAGE);
    let row = p.row0 + i / (LARGE * POINTS);
    let part = channel / LARGE_GROUP;
    let image = p.a_start + row % p.a_period * (PLACES * SMALL) + part * SMALL_GROUP;
    let weights = p.b_start + part * SMALL_GROUP * DEPTH + channel % LARGE_GROUP;
    let first = window_from(point);
    let end = window_to(point);
    var sum = nothing();
    for (var z = first.x; z < end.x; z++) {
        for (var y = first.y; y < end.y; y++) {
            for (var x = first.z; x < end.z; x++) {
                let q = vec3<u32>(z, y, x);
                let at = image + ravel(q, WINDOWS) * SMALL;
                let w = weights + ravel(point + BEFORE - q * STRIDE, KERNEL) * LARGE_GROUP;
                for (var c = 0u; c < SMALL_GROUP; c++) {
                    add(&sum, a[at + c] * b[w + c * DEPTH]);
                }
            }
        }
    }
    output[p.start + row * (POINTS * LARGE) + i % (POINTS * LARGE)] = whole(sum);
}

// An invocation sums the products of one weight, over a chunk of the windows of all rows.
@compute @workgroup_size(64)
fn kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.chunks * SMALL * DEPTH {
        return;
    }
    let channel = i / DEPTH % SMALL;
    let o = unravel(i % DEPTH / LARGE_GROUP, KERNEL);
    let large = channel / SMALL_GROUP * LARGE_GROUP + i % LARGE_GROUP;
    let chunk = i / (SMALL * DEPTH);
    let end = min((chunk + 1u) * p.chunk, p.rows * PLACES);
    var sum = nothing();
    for (var k = chunk * p.chunk; k < end; k++) {
        // Points before the image wrap around to large numbers, which are outside of it as well.
        let point = unravel(k % PLACES, WINDOWS) * STRIDE + o - BEFORE;
        if all(point < IMAGE) {
            let at = p.b_start + (k / PLACES * POINTS + ravel(point, IMAGE)) * LARGE + large;
            add(&sum, a[p.a_start + k * SMALL + channel] * b[at]);
        }
    }
    output[p.start + i] = whole(sum);
}

// Variants of `forward` and `transposed` over a range of the terms of each sum, in the same order.

@compute @workgroup_size(64)
fn forward_long(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.rows * PLACES * SMALL {
        return;
    }
    let channel = i % SMALL;
    let q = unravel(i / SMALL % PLACES, WINDOWS);
    let row = p.row0 + i / (SMALL * PLACES);
    let image = p.a_start + row % p.a_period * (POINTS * LARGE) + channel / SMALL_GROUP * LARGE_GROUP;
    let weights = p.b_start + channel * DEPTH;
    let first = kernel_from(q);
    let end = kernel_to(q);
    let corner = q * STRIDE - BEFORE;
    let to = p.start + row * (PLACES * SMALL) + i % (PLACES * SMALL);
    var sum = nothing();
    for (var k = p.first; k < p.end; k++) {
        let o = unravel(k / LARGE_GROUP, KERNEL);
        if all(o >= first) && all(o < end) {
            let at = image + ravel(corner + o, IMAGE) * LARGE + k % LARGE_GROUP;
            add(&sum, a[at] * b[weights + k]);
        }
    }
    if p.adds == 1u {
        add(&sum, output[to]);
    }
    output[to] = whole(sum);
}

@compute @workgroup_size(64)
fn transposed_long(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear(group, groups) * 64u + lane;
    if i >= p.rows * POINTS * LARGE {
        return;
    }
    let channel = i % LARGE;
    let point = unravel(i / LARGE % POINTS, IMAGE);
    let row = p.row0 + i / (LARGE * POINTS);
    let part = channel / LARGE_GROUP;
    let image = p.a_start + row % p.a_period * (PLACES * SMALL) + part * SMALL_GROUP;
    let weights = p.b_start + part * SMALL_GROUP * DEPTH + channel % LARGE_GROUP;
    let first = window_from(point);
    let end = window_to(point);
    let to = p.start + row * (POINTS * LARGE) + i % (POINTS * LARGE);
    var sum = nothing();
    for (var k = p.first; k < p.end; k++) {
        let q = first + unravel(k / SMALL_GROUP, SPAN);
        if all(q < end) {
            let c = k % SMALL_GROUP;
            let at = image + ravel(q, WINDOWS) * SMALL + c;
            let w = weights + ravel(point + BEFORE - q * STRIDE, KERNEL) * LARGE_GROUP + c * DEPTH;
            add(&sum, a[at] * b[w]);
        }
    }
    if p.adds == 1u {
        add(&sum, output[to]);
    }
    output[to] = whole(sum);
}
