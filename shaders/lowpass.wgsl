// state[next] = a * state[now] + b * input[t]: a lane owns columns of one example and walks through time. The history
// has one block more than there are steps; forward in time block t + 1 follows from t, backward t from t + 1.

#import element

struct Params {
    row0: u32,
    steps: u32,
    width: u32,     // columns of one block
    cols: u32,      // columns of one row
    start: u32,
    in_start: u32,
    in_stride: u32, // from one step's input to the next; 0 for an input that is held
    backward: u32,
    a: f32,
    b: f32,
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> history: array<F>;
@group(0) @binding(1) var<storage, read> input: array<F>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * WIDTH;
    if col >= p.width {
        return;
    }
    let first = p.row0 * p.cols;
    let input_first = p.row0 * p.cols / p.width * p.in_stride;
    let state_first = p.start + first + select(0u, p.steps * p.width, p.backward == 1u);
    var state = history[(state_first + col) / WIDTH];
    for (var k = 0u; k < p.steps; k++) {
        let t = select(k, p.steps - 1u - k, p.backward == 1u);
        state = p.a * state + p.b * input[(p.in_start + input_first + t * p.in_stride + col) / WIDTH];
        // Numbers this small are noise, and denormals are slow on processors that do not flush them.
        state = select(state, F(0.0), abs(state) < F(1e-30));
        let next = select(t + 1u, t, p.backward == 1u);
        history[(p.start + first + next * p.width + col) / WIDTH] = state;
    }
}
