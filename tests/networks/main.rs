//! Networks in Rust and in files: their values, and the errors of invalid ones.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/toml.rs"]
mod file;

mod arrays;
mod callbacks;
mod decoder_cache;
mod decoders;
mod distributions;
mod ensemble_errors;
mod ensembles;
mod errors;
mod functions;
mod learning;
mod learning_errors;
mod learning_nengo;
mod learning_operator;
mod library;
mod long_loops;
mod messages;
mod nested;
mod networks;
mod not_finite;
mod probes;
mod scattered_points;
mod solvers;
mod toml;
mod toml_errors;
mod toml_schema;
mod toml_training;
mod toml_values;
mod trainable;
