//! Descriptions of adapters, and the checks their shaders run with.

use std::fmt;

/// Kind of a device, in order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DeviceKind {
    /// A graphics processor with its own memory.
    Discrete,
    /// A graphics processor that shares the system's memory.
    Integrated,
    /// An adapter of a kind its driver does not report, or one inside a virtual machine.
    Other,
    /// A driver that computes on the CPU: lavapipe, SwiftShader, WARP.
    Software,
    /// This processor's cores without any driver.
    Cpu,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeviceKind::Discrete => "discrete GPU",
            DeviceKind::Integrated => "integrated GPU",
            DeviceKind::Other => "adapter",
            DeviceKind::Software => "software adapter",
            DeviceKind::Cpu => "CPU twin",
        })
    }
}

/// Run-time checks in shaders: bounds checks, bounded loops and zeroed workgroup memory.
///
/// Kernels never rely on them. The tests turn them on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Checks {
    /// No checks: the shaders are this crate's own and validated. The default.
    #[default]
    Off,
    /// All checks.
    On,
}

/// An adapter that can be selected, for listings.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Adapter {
    /// Name, as the driver reports it.
    pub name: String,
    /// Kind of device.
    pub kind: DeviceKind,
    /// Graphics API: `Vulkan`, `Metal` or `Dx12`; `none` for the CPU twin.
    pub backend: String,
    /// Name and version of the driver.
    pub driver: String,
}
