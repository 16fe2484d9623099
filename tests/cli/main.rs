//! The program as a user starts it, its files and its pictures.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/program.rs"]
mod program;

mod bench;
mod cli;
mod converted;
mod files;
mod pictures;
mod plots;
mod resume;
mod run;
mod signals;
mod train;
