//! Processes of nodes: functions of time, and the clocks of random processes.

use std::collections::HashMap;

use crate::error::Result;
use crate::network::{Kind, Network, Node, Object, Process, TimeFunction, seed_of};
use crate::op::noise::CLOCK;

/// Functions of time of the nodes whose process is one, by the node's name.
pub(crate) fn functions(network: &Network, dt: f64, seed: u64) -> Result<HashMap<String, TimeFunction>> {
    let mut functions = HashMap::new();
    for object in &network.objects {
        if let Kind::Node(Node::Process(process)) = &object.kind {
            let what = format!("node '{}'", object.name);
            if let Some(f) = process.function(&what, dt, own_seed(object, seed))? {
                functions.insert(object.name.clone(), f);
            }
        }
    }
    Ok(functions)
}

/// Words of a noise's clock (key, step and example), as the bits of floats.
pub(crate) fn clock(
    object: &Object,
    seed: u64,
    training_step: u64,
    first: u64,
    example: usize,
) -> [f32; CLOCK] {
    let own = match &object.kind {
        Kind::Node(Node::Process(Process::Noise(noise))) => noise.seed,
        _ => None,
    };
    let key = own.unwrap_or_else(|| own_seed(object, seed));
    // Each update has other noise, or the network would learn it.
    let key = key ^ training_step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let words = [key as u32, (key >> 32) as u32, first as u32, (first >> 32) as u32, example as u32];
    words.map(f32::from_bits)
}

fn own_seed(object: &Object, seed: u64) -> u64 {
    seed_of(seed, &object.name)
}
