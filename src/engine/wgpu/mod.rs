//! Replays recordings on an adapter. The only folder that mentions wgpu.

mod pipeline;
mod replay;
mod reports;
mod submission;

use std::sync::{Arc, Mutex, PoisonError};

use wgpu as gpu;

pub use replay::WgpuEngine;

use crate::engine::adapter::{Adapter, Checks, DeviceKind};
use crate::engine::turns;
use crate::error::{Error, Result};
use pipeline::Pipelines;

/// All adapters of all drivers.
pub(super) fn adapters() -> Vec<(Adapter, gpu::Adapter)> {
    let mut desc = gpu::InstanceDescriptor::new_without_display_handle();
    desc.backends = gpu::Backends::VULKAN | gpu::Backends::METAL | gpu::Backends::DX12;
    desc.flags = gpu::InstanceFlags::empty();
    let instance = gpu::Instance::new(desc);
    let found = pollster::block_on(instance.enumerate_adapters(gpu::Backends::all()));
    found.into_iter().map(|raw| (describe(&raw.get_info()), raw)).collect()
}

fn describe(info: &gpu::AdapterInfo) -> Adapter {
    let kind = match info.device_type {
        gpu::DeviceType::DiscreteGpu => DeviceKind::Discrete,
        gpu::DeviceType::IntegratedGpu => DeviceKind::Integrated,
        gpu::DeviceType::Cpu => DeviceKind::Software,
        gpu::DeviceType::Other | gpu::DeviceType::VirtualGpu => DeviceKind::Other,
    };
    Adapter {
        name: info.name.clone(),
        kind,
        backend: format!("{:?}", info.backend),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
    }
}

/// An opened adapter: what all engines on it share.
pub struct Opened {
    name: String,
    device: gpu::Device,
    queue: gpu::Queue,
    checks: Checks,
    subgroup: u32,
    max_turns: usize,
    pipelines: Mutex<Pipelines>,
    /// What the driver complained of outside of any call that could return it.
    fault: Arc<Mutex<Option<String>>>,
}

impl Opened {
    pub(super) fn open(raw: &gpu::Adapter, adapter: &Adapter, checks: Checks) -> Result<Self> {
        let failed = |problem: String| Error::Device { device: adapter.name.clone(), problem };
        let features = raw.features();
        let optional = gpu::Features::SUBGROUP | gpu::Features::SHADER_INT64;
        let required = gpu::Features::IMMEDIATES;
        if !features.contains(required) {
            return Err(failed(
                "its driver lacks immediates (push constants), which the kernels need".into(),
            ));
        }
        let desc = gpu::DeviceDescriptor {
            label: Some("nengo-wgpu"),
            required_features: required | (features & optional),
            required_limits: raw.limits(),
            ..Default::default()
        };
        let (device, queue) =
            pollster::block_on(raw.request_device(&desc)).map_err(|e| failed(e.to_string()))?;
        let fault = Arc::new(Mutex::new(None));
        let keep = fault.clone();
        device.on_uncaptured_error(Arc::new(move |error: gpu::Error| keep_first(&keep, error.to_string())));
        let keep = fault.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != gpu::DeviceLostReason::Destroyed {
                keep_first(&keep, format!("it was lost: {message}"));
            }
        });
        let info = raw.get_info();
        // Only a fixed size lets a kernel rely on it.
        let fixed =
            info.subgroup_min_size == info.subgroup_max_size && features.contains(gpu::Features::SUBGROUP);
        let subgroup = if fixed { info.subgroup_min_size } else { 0 };
        let name = adapter.name.clone();
        let max_turns = match adapter.kind {
            DeviceKind::Software => turns::SOFTWARE,
            _ => turns::UNLIMITED,
        };
        Ok(Self { name, device, queue, checks, subgroup, max_turns, pipelines: Mutex::default(), fault })
    }

    /// Lanes that run together; 0 where the driver does not promise a number.
    pub(super) fn subgroup(&self) -> u32 {
        self.subgroup
    }

    /// Whether shaders may use 64-bit integers.
    pub(super) fn int64(&self) -> bool {
        self.device.features().contains(gpu::Features::SHADER_INT64)
    }

    /// Turns of a lane's loops in a dispatch.
    pub(super) fn max_turns(&self) -> usize {
        self.max_turns
    }

    /// Largest range that a kernel may bind, in floats.
    pub(super) fn max_binding(&self) -> usize {
        let limits = self.device.limits();
        (limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / 4) as usize
    }

    /// Storage buffers that a kernel may bind.
    pub(super) fn max_buffers(&self) -> usize {
        self.device.limits().max_storage_buffers_per_shader_stage as usize
    }

    pub(super) fn limits(&self) -> Vec<(&'static str, u64)> {
        let l = self.device.limits();
        vec![
            ("storage binding, bytes", l.max_storage_buffer_binding_size),
            ("buffer, bytes", l.max_buffer_size),
            ("storage buffers a kernel", l.max_storage_buffers_per_shader_stage.into()),
            ("workgroup memory, bytes", l.max_compute_workgroup_storage_size.into()),
            ("invocations a workgroup", l.max_compute_invocations_per_workgroup.into()),
            ("turns of a lane's loops", self.max_turns as u64),
            ("workgroups a dimension", l.max_compute_workgroups_per_dimension.into()),
            ("immediates, bytes", l.max_immediate_size.into()),
            ("subgroup size (0: not fixed)", self.subgroup.into()),
        ]
    }

    /// What the driver complained of since it was opened.
    fn check(&self) -> Result<()> {
        match &*self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(problem) => Err(self.error(problem.clone())),
            None => Ok(()),
        }
    }

    fn error(&self, problem: String) -> Error {
        Error::Device { device: self.name.clone(), problem }
    }
}

fn keep_first(fault: &Mutex<Option<String>>, message: String) {
    fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
}
