// Sums of absolute values and of squares of each segment of the parameters, or of their gradients with penalties, and
// of all segments. Two passes with a fixed order: a partial sum per line of 64 floats, then a workgroup per segment.

#import fold
#import segments
#import vector

// Pair of sums: of absolute values and of squares.
alias F = vec2<f32>;
alias U = vec2<u32>;
#import sums

struct Params {
    row0: u32,
    lines: u32,
    segments: u32,
    to: u32,      // index of the first pair of sums that is written
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> output: array<vec2<f32>>;  // partials, or sums
@group(0) @binding(1) var<storage, read> segments: array<Segment>;
@group(0) @binding(2) var<storage, read> values: array<V>;        // parameters; `total`: partials
@group(0) @binding(3) var<storage, read> gradients: array<V>;
@group(0) @binding(4) var<storage, read> line_segment: array<u32>;
@group(0) @binding(5) var<storage, read> sums: array<vec2<f32>>;          // of the parameters

@compute @workgroup_size(64)
fn parameters(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let line = id.y * groups.x * 64u + id.x;
    if line >= p.lines {
        return;
    }
    var absolute = vec4<f32>();
    var square = vec4<f32>();
    for (var i = 0u; i < 16u; i++) {
        let w = unpack(values[line * 16u + i]);
        absolute += abs(w);
        square += w * w;
    }
    let one = vec4<f32>(1.0);
    output[line] = vec2<f32>(dot(absolute, one), dot(square, one));
}

@compute @workgroup_size(64)
fn gradient(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let line = id.y * groups.x * 64u + id.x;
    if line >= p.lines {
        return;
    }
    let s = segments[line_segment[line]];
    let length = sqrt(sums[line_segment[line]].y);
    var absolute = vec4<f32>();
    var square = vec4<f32>();
    for (var i = 0u; i < 16u; i++) {
        let g = penalised(unpack(values[line * 16u + i]), unpack(gradients[line * 16u + i]), s, length);
        absolute += abs(g);
        square += g * g;
    }
    let one = vec4<f32>(select(0.0, 1.0, s.rate != 0.0));
    output[line] = vec2<f32>(dot(absolute, one), dot(square, one));
}

var<workgroup> shared_sums: array<vec2<f32>, 64>;

// A workgroup sums the partial sums of a segment; the last workgroup those of all segments.
@compute @workgroup_size(64)
fn total(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let segment = linear(group, groups);
    var first = 0u;
    var lines = p.lines;
    if segment < p.segments {
        first = segments[segment].first_line;
        lines = segments[segment].lines;
    }
    var sum = nothing();
    for (var i = lane; i < lines; i += 64u) {
        let at = first + i;
        let pair = unpack(values[at / 2u]);
        add(&sum, select(pair.xy, pair.zw, at % 2u == 1u));
    }
    shared_sums[lane] = whole(sum);
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            shared_sums[lane] += shared_sums[lane + half];
        }
    }
    if lane == 0u && segment <= p.segments {
        output[p.to + segment] = shared_sums[0];
    }
}
