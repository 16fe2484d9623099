//! cli
mod cli {
    pub mod bench;
}
use clap::Parser;
#[derive(Parser)]
struct A {
    #[command(subcommand)]
    c: C,
}
#[derive(clap::Subcommand)]
enum C {
    Bench(cli::bench::BenchArgs),
}
fn main() {
    let a = A::parse();
    let C::Bench(b) = a.c;
    if let Err(e) = cli::bench::run(&b) {
        eprintln!("error: {e}");
        std::process::exit(1)
    }
}
