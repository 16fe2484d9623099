//! Operators, neurons, synapses and processes: each against its f64 reference, its CPU twin and central differences.

#[path = "../common/mod.rs"]
mod common;

mod discretisation;
mod dropout;
mod elementwise;
mod filters;
mod gradients;
mod images;
mod long_loops;
mod matmul;
mod neuron_gradients;
mod neurons;
mod operators;
mod processes;
mod scan;
mod shaders;
mod synapses;
mod transforms;
mod update;
