// Reductions over a workgroup that owns a row: a tree in workgroup memory.

const LANES = 64u;
var<workgroup> found: array<f32, LANES>;

fn sum_of_all(lane: u32, x: f32) -> f32 {
    workgroupBarrier();
    found[lane] = x;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            found[lane] += found[lane + half];
        }
    }
    workgroupBarrier();
    return found[0];
}

fn max_of_all(lane: u32, x: f32) -> f32 {
    workgroupBarrier();
    found[lane] = x;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            found[lane] = max(found[lane], found[lane + half]);
        }
    }
    workgroupBarrier();
    return found[0];
}
