// The number of this workgroup where the host folded the count into y (x alone ends at 65,535).
fn linear(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
