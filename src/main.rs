//! The program `nengo-wgpu`: trains and runs networks that TOML files describe.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
