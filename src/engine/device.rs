//! Devices, and their selection.

use std::fmt;
use std::sync::Arc;

use crate::engine::adapter::{Adapter, Checks, DeviceKind};
use crate::engine::cpu::CpuEngine;
use crate::engine::wgpu::{Opened, WgpuEngine};
use crate::engine::{Engine, Family, Target};
use crate::error::{Error, Result};

/// An opened device. Clones share it.
///
/// ```
/// # use nengo_wgpu::Device;
/// assert_eq!(Device::cpu().with_threads(2).to_string(), "cpu (CPU twin, 2 threads)");
/// ```
#[derive(Clone)]
pub struct Device {
    target: Target,
    kind: DeviceKind,
    opened: Option<Arc<Opened>>,
    threads: usize,
}

/// Environment variable that [`Device::from_env`] reads.
pub const DEVICE_VARIABLE: &str = "NENGO_WGPU_DEVICE";

/// Workgroups that a GPU is assumed to run at once. No driver reports its number of cores.
const GPU_WORKERS: usize = 32;

impl Device {
    /// The CPU twin on all cores. It needs no driver and cannot fail.
    pub fn cpu() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let target = Target {
            family: Family::Cpu,
            max_binding: usize::MAX / 8,
            max_buffers: 8,
            max_turns: usize::MAX,
            threads,
            workers: threads,
            name: "cpu".into(),
        };
        Self { target, kind: DeviceKind::Cpu, opened: None, threads }
    }

    /// Opens the device that `NENGO_WGPU_DEVICE` selects; `auto` if the variable is unset.
    ///
    /// # Errors
    /// As [`Device::select`].
    pub fn from_env() -> Result<Self> {
        Self::select(&std::env::var(DEVICE_VARIABLE).unwrap_or_else(|_| "auto".into()))
    }

    /// Opens a device.
    ///
    /// - `auto`: a discrete GPU, else an integrated one, else the CPU twin;
    /// - `gpu`: a discrete or integrated GPU;
    /// - `software`: lavapipe, SwiftShader or WARP;
    /// - `cpu`: the CPU twin;
    /// - anything else: the first adapter whose name contains it, ignoring case.
    ///
    /// # Errors
    /// [`Error::NoDevice`] with the available devices; [`Error::Device`] if the driver cannot open it.
    pub fn select(selector: &str) -> Result<Self> {
        Self::select_with(selector, Checks::Off)
    }

    /// Opens a device as [`Device::select`] does, with or without run-time checks in shaders.
    ///
    /// # Errors
    /// As [`Device::select`].
    pub fn select_with(selector: &str, checks: Checks) -> Result<Self> {
        let wanted = selector.to_lowercase();
        if wanted == "cpu" {
            return Ok(Self::cpu());
        }
        let found = crate::engine::wgpu::adapters();
        let gpu = |kind: DeviceKind| kind <= DeviceKind::Other;
        let chosen = match wanted.as_str() {
            "auto" | "gpu" => found.iter().filter(|(a, _)| gpu(a.kind)).min_by_key(|(a, _)| a.kind),
            "software" => found.iter().find(|(a, _)| a.kind == DeviceKind::Software),
            part => found.iter().find(|(a, _)| !part.is_empty() && a.name.to_lowercase().contains(part)),
        };
        let Some((adapter, raw)) = chosen else {
            if wanted == "auto" {
                return Ok(Self::cpu());
            }
            let names = found.iter().map(|(a, _)| format!("{} ({})", a.name, a.kind)).chain(["cpu".into()]);
            let known = names.collect::<Vec<_>>().join(", ");
            return Err(Error::NoDevice { selector: selector.into(), known });
        };
        let opened = Opened::open(raw, adapter, checks)?;
        let family = match adapter.kind {
            DeviceKind::Software => Family::Software { subgroup: opened.subgroup(), int64: opened.int64() },
            _ => Family::Gpu,
        };
        let workers = match family {
            Family::Software { .. } => std::thread::available_parallelism().map_or(1, usize::from),
            _ => GPU_WORKERS,
        };
        let target = Target {
            family,
            max_binding: opened.max_binding(),
            max_buffers: opened.max_buffers(),
            max_turns: opened.max_turns(),
            threads: 1,
            workers,
            name: adapter.name.clone(),
        };
        Ok(Self { target, kind: adapter.kind, opened: Some(Arc::new(opened)), threads: 1 })
    }

    /// All adapters of all drivers, then the CPU twin.
    pub fn list() -> Vec<Adapter> {
        let cpu = Adapter {
            name: "cpu".into(),
            kind: DeviceKind::Cpu,
            backend: "none".into(),
            driver: format!("{} threads", Self::cpu().threads),
        };
        crate::engine::wgpu::adapters().into_iter().map(|(a, _)| a).chain([cpu]).collect()
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// Kind of the device.
    pub fn kind(&self) -> DeviceKind {
        self.kind
    }

    /// Properties by which kernels are chosen.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Limits of the device, as names and values.
    pub fn limits(&self) -> Vec<(&'static str, u64)> {
        match &self.opened {
            Some(opened) => opened.limits(),
            None => vec![("threads", self.threads as u64)],
        }
    }

    /// Memory in bytes, for devices that use the host's memory: the CPU twin and software adapters on Linux.
    ///
    /// `None` for all others: drivers do not report the memory of a GPU.
    pub fn memory(&self) -> Option<u64> {
        matches!(self.kind, DeviceKind::Cpu | DeviceKind::Software)
            .then(crate::engine::host::memory)
            .flatten()
    }

    /// Lowers the largest binding of a kernel to `bytes`, rounded down to a multiple of 256 and at least 256.
    ///
    /// Plans made for this device then also run on an adapter with that limit.
    pub fn with_max_binding(mut self, bytes: u64) -> Self {
        let floats = usize::try_from(bytes / 256 * 64).unwrap_or(usize::MAX);
        self.target.max_binding = self.target.max_binding.min(floats.max(64));
        self
    }

    /// Sets the number of threads of the CPU twin, at least 1. Adapters ignore it.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        if self.kind == DeviceKind::Cpu {
            self.target.threads = self.threads;
        }
        self
    }

    /// Creates an engine with its own buffers.
    pub fn engine(&self) -> Box<dyn Engine> {
        match &self.opened {
            Some(opened) => Box::new(WgpuEngine::new(opened.clone())),
            None => Box::new(CpuEngine::new(self.threads)),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.opened {
            Some(_) => write!(f, "{} ({})", self.target.name, self.kind),
            None => write!(f, "cpu ({}, {} threads)", self.kind, self.threads),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({self})")
    }
}
