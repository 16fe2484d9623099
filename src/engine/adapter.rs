//! Adapters: what drivers show, and what is asked of them.

use std::fmt;

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    /// A graphics processor with its own memory.
    Discrete,
    /// A graphics processor that shares the system's memory.
    Integrated,
    /// An adapter whose kind its driver does not tell, or one inside a virtual machine.
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

/// Whether shaders run with the driver's bounds checks, bounded loops and zeroed workgroup memory.
///
/// Kernels never rely on them; the tests turn them on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Checks {
    /// Off: the shaders are this crate's own and validated.
    #[default]
    Off,
    /// On.
    On,
}

/// An adapter that could be chosen, for listings.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// The driver's name of it.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// The interface: `Vulkan`, `Metal`, `Dx12`; `none` for the CPU twin.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
}
