//! Networks as users describe them, in Rust and in files: what they compute, and what bad ones get.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/toml.rs"]
mod file;

mod callbacks;
mod decoder_cache;
mod distributions;
mod ensemble_errors;
mod ensembles;
mod errors;
mod functions;
mod learning;
mod library;
mod long_loops;
mod nested;
mod networks;
mod probes;
mod solvers;
mod toml;
mod toml_errors;
mod toml_schema;
mod toml_training;
mod trainable;
