//! Which processor runs a network, and how one is chosen.

use std::fmt;
use std::sync::Arc;

use crate::engine::adapter::{Adapter, Checks, DeviceKind};
use crate::engine::cpu::CpuEngine;
use crate::engine::wgpu::{Opened, WgpuEngine};
use crate::engine::{Engine, Family, Target};
use crate::error::{Error, Result};

/// An opened device. Copies share it.
#[derive(Clone)]
pub struct Device {
    target: Target,
    kind: DeviceKind,
    opened: Option<Arc<Opened>>,
    threads: usize,
}

/// Name of the environment variable that chooses a device where the program does not.
pub const DEVICE_VARIABLE: &str = "NENGO_WGPU_DEVICE";

/// Of a graphics processor, whose number of cores no driver tells.
const GPU_WORKERS: usize = 32;

impl Device {
    /// The CPU twin on all cores. Needs no driver and cannot fail.
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

    /// Opens what `NENGO_WGPU_DEVICE` says, or else what `auto` gives.
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
    /// - anything else: the first adapter with this in its name, in any case of letters.
    ///
    /// # Errors
    /// [`Error::NoDevice`] with what there is; [`Error::Device`] if the driver refuses to open it.
    pub fn select(selector: &str) -> Result<Self> {
        Self::select_with(selector, Checks::Off)
    }

    /// Like [`Device::select`], with or without checks in shaders.
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

    /// All adapters that a driver shows, and the CPU twin.
    pub fn list() -> Vec<Adapter> {
        let cpu = Adapter {
            name: "cpu".into(),
            kind: DeviceKind::Cpu,
            backend: "none".into(),
            driver: format!("{} threads", Self::cpu().threads),
        };
        crate::engine::wgpu::adapters().into_iter().map(|(a, _)| a).chain([cpu]).collect()
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// What it is.
    pub fn kind(&self) -> DeviceKind {
        self.kind
    }

    /// What kernels are chosen by.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Limits in the user's terms, a name and a number each.
    pub fn limits(&self) -> Vec<(&'static str, u64)> {
        match &self.opened {
            Some(opened) => opened.limits(),
            None => vec![("threads", self.threads as u64)],
        }
    }

    /// Bytes of memory, where a device takes that of this machine and the machine tells it: the CPU twin and software adapters
    /// on Linux. No driver tells what a graphics processor has.
    pub fn memory(&self) -> Option<u64> {
        matches!(self.kind, DeviceKind::Cpu | DeviceKind::Software)
            .then(crate::engine::host::memory)
            .flatten()
    }

    /// The device as if a kernel could bind no more bytes at once than these, rounded down to whole lines of 256: what runs
    /// on it then fits an adapter that allows less than this one.
    pub fn with_max_binding(mut self, bytes: u64) -> Self {
        let floats = usize::try_from(bytes / 256 * 64).unwrap_or(usize::MAX);
        self.target.max_binding = self.target.max_binding.min(floats.max(64));
        self
    }

    /// The CPU twin on another number of threads; adapters are not changed.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        if self.kind == DeviceKind::Cpu {
            self.target.threads = self.threads;
        }
        self
    }

    /// An engine with its own buffers.
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
