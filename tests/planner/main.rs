//! What the planner makes of a graph: passes, loops, windows of time, memory.

#[path = "../common/mod.rs"]
mod common;

mod growth;
mod identity;
mod loops;
mod memory;
mod merge;
mod plan;
mod windows;
