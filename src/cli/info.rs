//! `nengo-wgpu info`.

use std::fmt::Write as _;

use nengo_wgpu::DeviceKind;
use nengo_wgpu::internals::op::matmul;
use nengo_wgpu::{Device, Result};

use super::{DeviceArg, say, table};

/// Lists the devices, and shows the selected one with its capabilities.
#[derive(clap::Args)]
#[command(after_help = "Example: nengo-wgpu info --device software")]
pub struct InfoArgs {
    #[command(flatten)]
    device: DeviceArg,
}

/// Prints adapters, the selected device, its limits and its kernels.
pub fn run(args: &InfoArgs) -> Result<()> {
    let row = |cells: [&str; 4]| cells.map(String::from).to_vec();
    let mut rows = vec![row(["name", "kind", "interface", "driver"])];
    for a in Device::list() {
        rows.push(row([&a.name, &a.kind.to_string(), &a.backend, &a.driver]));
    }
    say(&format!("devices:\n{}", table(&rows)));
    // Show the list even if a driver refuses to open an adapter.
    let auto = Device::select("auto");
    match &auto {
        Ok(device) => say(&format!("auto takes {device}: {}", reason(device.kind()))),
        Err(error) => say(&format!("auto fails: {error}")),
    }
    let device = args.device.open()?;
    let mut text = format!("{device}:\n");
    let limits = device.limits().into_iter();
    let mut rows: Vec<Vec<String>> =
        limits.map(|(name, value)| vec![name.to_string(), value.to_string()]).collect();
    rows.push(vec!["matrix products".into(), matmul::family_name(device.target()).into()]);
    let _ = write!(text, "{}", table(&rows));
    say(&text);
    Ok(())
}

fn reason(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Discrete => "a discrete GPU comes first",
        DeviceKind::Integrated => "there is no discrete GPU, and an integrated one comes next",
        DeviceKind::Other => "there is no discrete or integrated GPU, but an adapter of another kind",
        _ => "there is no GPU, and the CPU twin is faster than a software adapter",
    }
}
