//! Plans of graphs: passes, loops, windows of time, memory.

#[path = "../common/mod.rs"]
mod common;

mod growth;
mod identity;
mod loops;
mod memory;
mod merge;
mod outlines;
mod plan;
mod runs;
mod window_memory;
mod windows;
