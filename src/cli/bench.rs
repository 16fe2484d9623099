//! `nengo-wgpu bench`.

/// What `bench` is told.
#[derive(clap::Args)]
pub struct BenchArgs {}

/// Measures.
pub fn run(_args: &BenchArgs) -> nengo_wgpu::Result<()> {
    Ok(())
}
