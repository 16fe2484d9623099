// Linear index of a workgroup in a grid over x and y. The host uses y where x alone would exceed 65,535.
fn linear(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
