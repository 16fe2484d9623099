//! Training and the shipped examples, against golden values and closed forms.

#[path = "../common/mod.rs"]
mod common;

mod checks;
mod examples;
mod golden;
mod penalties;
mod reports;
mod retrieval;
mod spiking;
mod spiking_errors;
mod targets;
mod training;
